//! docs/configuration.md is what the schemas say, and nothing else.
//!
//! `BLESS=1 cargo test --test reference` rewrites it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write;
use std::path::PathBuf;
use tollgate::config::records::COLLECTIONS;
use tollgate::config::schema::{Field, Kind, Record, Rule};
use tollgate::plugins::KINDS;

const HEAD: &str = "\
# Configuration reference

Generated from the schemas that check configurations. A field in **bold** is required; *reference* may be a
`{vault://env/NAME}` reference; *secret* is masked by the Admin API.

";

/// The type of a field, in a word or two.
fn kind(kind: &Kind) -> String {
    let infinite = |number: f64| number <= f64::MIN || number >= f64::MAX;
    match kind {
        Kind::Text { one_of, .. } if !one_of.is_empty() => words(one_of.iter().map(ToString::to_string)),
        Kind::Text { .. } => "text".to_owned(),
        Kind::Integer { one_of, .. } if !one_of.is_empty() => words(one_of.iter().map(ToString::to_string)),
        Kind::Integer { min: i64::MIN, max: i64::MAX, .. } => "integer".to_owned(),
        Kind::Integer { min, max, .. } => format!("integer, {min} to {max}"),
        Kind::Number { above: Some(above), .. } => format!("number over {above}"),
        Kind::Number { min, max, .. } if infinite(*min) || infinite(*max) => "number".to_owned(),
        Kind::Number { min, max, .. } => format!("number, {min} to {max}"),
        Kind::Boolean => "boolean".to_owned(),
        Kind::Record(_) => "record".to_owned(),
        Kind::List { of, unique, .. } => {
            format!("{} of {}", if *unique { "set" } else { "list" }, self::kind(of))
        }
        Kind::Foreign(to) => format!("one of the {to}"),
        Kind::Map { of, .. } => format!("map to {}", self::kind(of)),
        Kind::Any => "any".to_owned(),
        Kind::Shorthand { of, .. } => format!("{}, shorthand", self::kind(of)),
    }
}

fn words(words: impl Iterator<Item = String>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn rows(record: &Record, path: &str, out: &mut String) {
    for field in record.fields.iter().filter(|field| !field.name.starts_with('_')) {
        row(field, path, out);
        let below = format!("{path}{}.", field.name);
        match &field.kind {
            Kind::Record(inner) => rows(inner, &below, out),
            Kind::List { of, .. } => {
                if let Kind::Record(inner) = &**of {
                    rows(inner, &format!("{path}{}[].", field.name), out);
                }
            }
            _ => {}
        }
    }
}

fn row(field: &Field, path: &str, out: &mut String) {
    let name = format!("`{path}{}`", field.name);
    let name = if field.required && field.default.is_none() { format!("**{name}**") } else { name };
    let default = field.default.as_ref().map(|value| format!("`{value}`")).unwrap_or_default();
    let mut marks = String::new();
    for (is, mark) in [(field.referenceable, " *reference*"), (field.secret, " *secret*")] {
        if is {
            marks.push_str(mark);
        }
    }
    writeln!(out, "| {name} | {} | {default} | {}{marks} |", kind(&field.kind), field.doc).unwrap();
}

fn table(title: &str, record: &Record, out: &mut String) {
    write!(out, "## {title}\n\n| field | type | default | |\n|---|---|---|---|\n").unwrap();
    rows(record, "", out);
    let rules: Vec<String> = record.rules.iter().filter_map(rule).collect();
    for rule in &rules {
        write!(out, "\n- {rule}").unwrap();
    }
    out.push_str(if rules.is_empty() { "\n" } else { "\n\n" });
}

fn rule(rule: &Rule) -> Option<String> {
    let names = |names: &[&str]| words(names.iter().map(ToString::to_string));
    match rule {
        Rule::AllOrNone(all) => Some(format!("all or none of {}", names(all))),
        Rule::AtLeastOneNonEmpty(all) => Some(format!("at least one of {}", names(all))),
        Rule::ExactlyOneNonEmpty(all) => Some(format!("exactly one of {}", names(all))),
        Rule::Conditional(_) | Rule::Check(_) => None,
    }
}

#[test]
fn the_reference_is_what_the_schemas_say() {
    let mut made = HEAD.to_owned();
    for collection in COLLECTIONS {
        table(collection.name, &(collection.record)(), &mut made);
    }
    for plugin in KINDS {
        table(&format!("plugin {}: config", plugin.name), &(plugin.schema)(), &mut made);
    }
    let made = format!("{}\n", made.trim_end());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    } else {
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "docs/configuration.md is old: run BLESS=1 cargo test --test reference");
    }
}
