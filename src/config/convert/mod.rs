//! Any configuration as one clean declarative file: nested, in a stable order, without defaults.
//!
//! What is written loads to the same entities as what was read, but for what the report names.

mod lean;
mod prepare;
mod tree;

use super::check;
use super::document::{self, Source};
use super::items::Item;
use super::manifests::Note;
use super::problems::Problem;
use super::records::COLLECTIONS;
use std::fmt;

/// For whom it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// This gateway.
    Declarative,
    /// `deck`, and Kong behind it: without what only this gateway knows.
    Deck,
}

/// A file, and what became of what was read.
pub struct Converted {
    pub text: String,
    pub report: Report,
}

/// What was exact, approximated and dropped.
pub struct Report {
    /// How many entities of each collection were written.
    pub entities: Vec<(&'static str, usize)>,
    pub notes: Vec<Note>,
}

/// Converts these files, taken as one configuration.
pub fn convert(sources: &[Source], form: Form) -> Result<Converted, Vec<Problem>> {
    let mut notes = Vec::new();
    let mut prepare = |file: &_, root: &mut _| prepare::prepare(file, root, form, &mut notes);
    let (items, of_manifests) = check::check_prepared(sources, &mut prepare)?;
    notes.extend(of_manifests);
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
