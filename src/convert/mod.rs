//! `tollgate convert`: whatever Kong's tools wrote, as one clean declarative file that Kong's tools read
//! again, and a report of what became of it.
//!
//! What this gateway does not know is dropped and named; what is merely wrong is not dropped but
//! refused, or a slip would cost a guard its route.

mod clean;
mod sieve;

use crate::config::{check, document};
use clap::Args;
use serde_json::{Map, Value};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// `tollgate convert`.
#[derive(Debug, Args)]
pub struct Convert {
    /// Declarative files of Kong or decK; several become one.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where to write [default: stdout].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What became of a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many entities of each kind are as they were.
    pub exact: Vec<(&'static str, usize)>,
    /// What says the same in other words.
    pub approximated: Vec<String>,
    /// What is gone, and why.
    pub dropped: Vec<String>,
}

/// Converts the files: writes the result and gives the report.
pub fn run(flags: &Convert, stdout: &mut dyn Write) -> Result<String, String> {
    let lines = |problems: Vec<crate::config::problems::Problem>| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let mut report = Report::default();
    let mut root = Map::new();
    for source in check::sources(&crate::config::read(&flags.files).map_err(lines)?) {
        let tree = document::read(&source).map_err(lines)?;
        merge(&mut root, tree, &source.name, &mut report)?;
    }
    let text = convert(root, &mut report).map_err(lines)?;
    let written = match &flags.output {
        None => stdout.write_all(text.as_bytes()),
        // It may hold keys.
        Some(path) => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes())),
    };
    written.map_err(|error| format!("cannot write the result: {error}"))?;
    Ok(report.to_string())
}

/// The clean text of a tree.
pub fn convert(
    mut root: Map<String, Value>,
    report: &mut Report,
) -> Result<String, Vec<crate::config::problems::Problem>> {
    let items = sieve::pass(&mut root, report)?;
    let tree = clean::tree(&items, report);
    document::write(&tree).map_err(|why| vec![crate::config::problems::Problem::new("", why)])
}

/// Adds a file to those before it. In the current format: what older ones leave unsaid is said.
fn merge(
    root: &mut Map<String, Value>,
    tree: Map<String, Value>,
    name: &str,
    report: &mut Report,
) -> Result<(), String> {
    let version = tree.get("_format_version").and_then(Value::as_str).unwrap_or_default().to_owned();
    let known = ["1.1", "2.1", "3.0"].contains(&version.as_str());
    if !known {
        return Err(format!("{name}: _format_version: expected one of: 1.1, 2.1, 3.0"));
    }
    root.insert("_format_version".to_owned(), "3.0".into());
    for (key, mut value) in tree {
        if key == "_format_version" {
            continue;
        }
        if version != "3.0" {
            mark_expressions(&key, &mut value, report);
        }
        match (root.get_mut(&key), value) {
            (Some(Value::Array(list)), Value::Array(mut more)) => list.append(&mut more),
            (_, value) => drop(root.insert(key, value)),
        }
    }
    Ok(())
}

/// Before 3.0 a path was a regular expression if it looked like one.
fn mark_expressions(collection: &str, value: &mut Value, report: &mut Report) {
    let Value::Array(entities) = value else { return };
    for entity in entities.iter_mut().filter_map(Value::as_object_mut) {
        if collection == crate::config::records::ROUTES {
            let paths = entity.get_mut("paths").and_then(Value::as_array_mut);
            for path in paths.into_iter().flatten() {
                let Some(text) = path.as_str() else { continue };
                let marked = crate::config::route_paths::migrate(text);
                if marked != text {
                    report.approximated.push(format!("path '{text}' is written '{marked}' since format 3.0"));
                    *path = marked.into();
                }
            }
        }
        for (name, children) in entity.iter_mut() {
            mark_expressions(name, children, report);
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exact: Vec<String> = self.exact.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "exact: {}", if exact.is_empty() { "nothing".to_owned() } else { exact.join(", ") })?;
        for (word, list) in [("approximated", &self.approximated), ("dropped", &self.dropped)] {
            writeln!(
                f,
                "{word}: {}",
                if list.is_empty() { "nothing".to_owned() } else { list.len().to_string() }
            )?;
            for line in list {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
