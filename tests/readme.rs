//! The README's table of providers says what the golden files show, and nothing else.
//!
//! `BLESS=1 cargo test --test readme` rewrites it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tollgate::config::target::Operation;
use tollgate::provider::{PROVIDERS, Provider};

const BEGIN: &str = "<!-- providers -->\n";
const END: &str = "<!-- /providers -->";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The cases of a provider: folder name, and the folder.
fn cases(provider: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    collect(&root().join("tests/fixtures").join(provider), &mut found);
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.join("case.json").exists() {
            found.push((entry.file_name().to_string_lossy().into_owned(), path));
        } else if path.is_dir() {
            collect(&path, found);
        }
    }
}

fn text(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_default()
}

/// Whether some case of the provider carries `mark` from the client's request to the upstream's.
fn carries(cases: &[(String, PathBuf)], ours: &str, theirs: &[&str]) -> bool {
    cases.iter().any(|(_, folder)| {
        let sent = text(folder, "upstream-request.json");
        text(folder, "request.json").contains(ours) && theirs.iter().any(|mark| sent.contains(mark))
    })
}

/// The usage classes beyond prompt and completion that some case meters.
fn classes(cases: &[(String, PathBuf)]) -> String {
    let metered = |class: &str| {
        cases.iter().any(|(_, folder)| {
            let meter: Value = serde_json::from_str(&text(folder, "meter.json")).unwrap_or_default();
            meter.get(class).is_some_and(Value::is_u64)
        })
    };
    let mut all = vec!["prompt, completion"];
    for (class, shown) in [("cached", "cached"), ("cache_write", "cache write"), ("reasoning", "reasoning")] {
        if metered(class) {
            all.push(shown);
        }
    }
    all.join(", ")
}

fn row(provider: &dyn Provider) -> String {
    let name = provider.name();
    let cases = cases(name);
    let yes = |is: bool| if is { "yes" } else { "–" };
    let serves = |operation| yes(provider.operations().contains(&operation));
    let shown = |part: &str| yes(cases.iter().any(|(case, _)| case.contains(part)));
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} |\n",
        serves(Operation::Chat),
        serves(Operation::Completions),
        shown("stream"),
        shown("tools"),
        shown("image"),
        yes(carries(&cases, "json_schema", &["schema", "Schema"])),
        classes(&cases),
    )
}

fn table() -> String {
    let head = "| provider | chat | completions | streams | tools | images | JSON schema | usage metered |\n\
                |---|---|---|---|---|---|---|---|\n";
    PROVIDERS.iter().fold(head.to_owned(), |table, provider| table + &row(*provider))
}

#[test]
fn the_table_of_providers_is_true() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    let made = format!("\n{}\n", table());
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert_eq!(shown, made, "run BLESS=1 cargo test --test readme");
    }
}
