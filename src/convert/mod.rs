//! Any configuration as one clean declarative file: nested, in a stable order, without defaults.
//!
//! What is written loads to the same entities as what was read, but for what the report names.

mod lean;
mod prepare;
mod tree;
mod unknown;

use crate::config::check;
use crate::config::document::{self, Source};
use crate::config::items::Item;
use crate::config::manifests::Note;
use crate::config::problems::Problem;
use crate::config::records::COLLECTIONS;
use clap::{Args, ValueEnum};
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use unknown::Unknown;

/// For whom it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Kong's declarative format, with what only tollgate knows.
    Kong,
    /// What `deck` accepts, and Kong behind it: without what only tollgate knows.
    Deck,
}

/// A file, and what became of what was read.
pub struct Converted {
    /// The file.
    pub text: String,
    /// What became of what was read.
    pub report: Report,
}

/// What was exact, approximated and dropped.
pub struct Report {
    /// How many entities of each collection were written.
    pub entities: Vec<(&'static str, usize)>,
    /// One for each thing that was not exact.
    pub notes: Vec<Note>,
}

/// `tollgate convert`.
#[derive(Debug, Args)]
pub struct Convert {
    /// Kong declarative configuration, decK state or Kubernetes manifests; several are merged.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// For whom.
    #[arg(long, value_enum, default_value_t = Form::Kong, value_name = "FORM")]
    pub to: Form,
    /// Where to write [default: stdout].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Converts the files: writes the result and gives the report.
pub fn run(flags: &Convert, stdout: &mut dyn Write) -> Result<String, String> {
    let lines =
        |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let texts = crate::config::read(&flags.files).map_err(lines)?;
    let converted = convert(&check::sources(&texts), flags.to).map_err(lines)?;
    let text = converted.text.as_bytes();
    let written = match &flags.output {
        None => stdout.write_all(text),
        // It may hold keys.
        Some(path) => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text)),
    };
    written.map_err(|error| format!("cannot write the result: {error}"))?;
    Ok(converted.report.to_string())
}

/// Converts these files, taken as one configuration.
pub fn convert(sources: &[Source], form: Form) -> Result<Converted, Vec<Problem>> {
    let mut unknown = Unknown::default();
    let (items, mut notes) = loop {
        let mut notes = Vec::new();
        let mut prepare = |file: &_, root: &mut _| {
            unknown.remove(file, root, &mut notes);
            prepare::prepare(file, root, form, &mut notes)
        };
        match check::check_prepared(sources, &mut prepare) {
            Ok((items, of_manifests)) => {
                notes.extend(of_manifests);
                break (items, notes);
            }
            // Once more without what is unknown; what is merely wrong is refused.
            Err(problems) => {
                if !unknown.add(sources, &problems) {
                    return Err(problems);
                }
            }
        }
    };
    let tree = tree::make(&items, form, &mut notes);
    let text = document::write(&tree).map_err(|why| vec![Problem::new("", why)])?;
    Ok(Converted { text, report: Report { entities: count(&items), notes } })
}

fn count(items: &[Item]) -> Vec<(&'static str, usize)> {
    let of = |name: &str| items.iter().filter(|item| item.collection.name == name).count();
    let all = COLLECTIONS.iter().map(|collection| (collection.name, of(collection.name)));
    all.filter(|(_, count)| *count > 0).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (dropped, what) in [(false, "approximated"), (true, "dropped")] {
            for note in self.notes.iter().filter(|note| note.dropped == dropped) {
                writeln!(f, "{what}: {note}")?;
            }
        }
        let counts: Vec<String> =
            self.entities.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let all = if self.notes.is_empty() { "everything" } else { "everything else" };
        let counts = if counts.is_empty() { "no entities".to_owned() } else { counts.join(", ") };
        write!(f, "exact: {all} ({counts})")
    }
}
