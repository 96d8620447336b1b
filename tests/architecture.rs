//! The shape of the crate, held by a scan of its source: which room may know which, and what may
//! stand only in its own room. It reads text, not syntax; what it cannot see, a review has to.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may import of the others. A new edge belongs here with a thought, or not at all.
const EDGES: &[(&str, &[&str])] = &[
    // Used by all: they know nobody.
    ("error", &[]),
    ("wire", &["error"]),
    ("clock", &[]),
    ("gather", &[]),
    ("heap", &[]),
    ("node", &[]),
    ("polling", &["meter"]),
    ("turns", &[]),
    // The stages, in the order of a request's way.
    ("listen", &["accept", "error", "meter", "respond"]),
    ("accept", &["clock", "error", "gather", "turns", "wire"]),
    ("route", &["config"]),
    // A plugin's configuration becomes targets, switches and sinks when it is loaded: the two rooms
    // in which load and request meet.
    (
        "plugins",
        &["config", "error", "exchange", "log", "meter", "provider", "target", "turns", "upstream", "wire"],
    ),
    ("target", &["config", "error", "meter", "provider", "upstream", "wire"]),
    ("provider", &["config", "error", "wire"]),
    ("upstream", &["clock", "error", "gather", "turns", "wire"]),
    ("respond", &["error"]),
    ("meter", &["error", "node", "wire"]),
    ("log", &["config"]),
    // The configuration asks plugins and providers for the schemas of their options.
    ("config", &["error", "listen", "plugins", "process", "provider", "wire"]),
    // Beside the stages.
    ("mock", &["meter", "wire"]),
    ("convert", &["config", "plugins"]),
    ("init", &["config", "error", "plugins", "provider", "upstream"]),
    ("state", &["config", "meter", "snapshot"]),
    (
        "admin",
        &[
            "config", "error", "listen", "log", "meter", "node", "plugins", "process", "respond", "snapshot",
            "state",
        ],
    ),
];

/// Where the stages meet. They may import what they need, but nobody's entry points.
const ROOTS: &[&str] = &[
    "snapshot", "edge", "exchange", "express", "gateway", "serving", "attempts", "plain", "journal",
    "settle", "phases", "echo", "process", "lib", "main",
];

/// Who may know `gateway` and `process`: nothing below hangs on how it is started.
const TOPS: &[(&str, &[&str])] = &[
    ("express", &["process", "lib"]),
    ("gateway", &["express", "process", "serving", "lib"]),
    ("process", &["main", "lib", "config", "admin"]),
    ("serving", &["express", "gateway", "lib"]),
    ("settle", &["express", "gateway", "lib"]),
];

/// Names that stand only where they are at home, and the rooms that are their home.
const PROVIDERS: (&str, &[&str]) = ("provider", &["provider", "mock"]);
const PLUGINS: (&str, &[&str]) = ("plugins", &["plugins"]);

/// A file, its room, its code and its tests.
struct Source {
    path: PathBuf,
    room: String,
    whole: String,
    /// Without comments and without its tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let relative = path.strip_prefix(&root).unwrap().to_path_buf();
                let whole = fs::read_to_string(&path).unwrap();
                let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
                let place = first.trim_end_matches(".rs").to_owned();
                let test = relative.file_stem().is_some_and(|stem| stem == "tests")
                    || relative.components().any(|part| part.as_os_str() == "tests");
                let code = if test { String::new() } else { code(&whole) };
                found.push(Source { path: relative, room: place, whole, code });
            }
        }
    }
    assert!(found.len() > 50, "only {} files found", found.len());
    found
}

/// Source text up to its tests, without comments.
fn code(whole: &str) -> String {
    let before_tests = whole.split("#[cfg(test)]").next().unwrap_or_default();
    before_tests
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.to_owned() + "\n")
        .collect()
}

/// The rooms that code imports: `crate::room`, and `use crate::{room::…, room::…}`.
fn imports(code: &str) -> BTreeSet<String> {
    let name =
        |text: &str| -> String { text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect() };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group).map(name)),
            None => {
                found.insert(name(rest));
            }
        }
    }
    found.remove("");
    found
}

/// The members of a group of imports, without what is nested in them.
fn members(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let mut end = group.len();
    let mut starts = vec![0];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                end = at;
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    let inside = &group[..end];
    starts.into_iter().filter_map(|start| inside.get(start..)).map(str::trim_start)
}

/// Fails with all violations at once.
fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

#[test]
fn the_scan_sees_both_forms_of_an_import() {
    let code = "use crate::wire::{a, b::{c}};\nuse crate::{error::Error, meter::{cost, tally}, log};\nfn f() { crate::route::x() }";
    let seen: Vec<_> = imports(code).into_iter().collect();
    assert_eq!(seen, ["error", "log", "meter", "route", "wire"]);
}

#[test]
fn a_stage_imports_what_it_may() {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut violations = Vec::new();
    for source in sources() {
        let room = source.room.as_str();
        for other in imports(&source.code).iter().filter(|other| *other != room) {
            let path = source.path.display();
            if let Some((_, friends)) = TOPS.iter().find(|(top, _)| top == other)
                && !friends.contains(&room)
            {
                violations.push(format!("{path}: {room} → {other}, which only {friends:?} may know"));
            } else if !ROOTS.contains(&room) {
                match allowed.get(room) {
                    Some(list) if list.contains(&other.as_str()) => {}
                    Some(_) => violations.push(format!("{path}: {room} → {other}")),
                    None => violations.push(format!("{path}: the room {room} is in no list")),
                }
            }
        }
    }
    assert_none("imports that are not in the table", &violations);
}

#[test]
fn codecs_providers_and_the_meter_do_not_know_the_proxy_engine() {
    let pure = ["wire", "provider", "meter", "target", "config", "route", "log", "mock"];
    let knows = |source: &Source| source.code.contains("pingora::") || source.code.contains("pingora_");
    let violations: Vec<_> = sources()
        .iter()
        .filter(|source| pure.contains(&source.room.as_str()) && knows(source))
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("files that import pingora", &violations);
}

/// The names of a room's entries: `name: "x"`, `PluginKind::new("x"`, and `fn name(&self) -> … { "x" }`.
fn names(of: &str, sources: &[Source]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources.iter().filter(|source| source.room == of) {
        for mark in ["name: \"", "PluginKind::new(\"", "fn name(&self) -> &'static str {\n        \""] {
            let values = source.code.match_indices(mark).map(|(at, _)| &source.code[at + mark.len()..]);
            found.extend(values.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    // Words that are names and other things, too.
    found.retain(|name| !name.is_empty() && !name.contains(' '));
    found
}

fn strangers(sources: &[Source], (of, homes): (&str, &[&str]), known: &[&str]) -> Vec<String> {
    let names = names(of, sources);
    assert!(known.iter().all(|name| names.contains(*name)), "the scan has lost the names: {names:?}");
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| !homes.contains(&source.room.as_str())) {
        for (number, line) in source.code.lines().enumerate() {
            for name in names.iter().filter(|name| line.contains(&format!("\"{name}\""))) {
                violations.push(format!("{} (code line {}): \"{name}\"", source.path.display(), number + 1));
            }
        }
    }
    violations
}

#[test]
fn no_providers_name_stands_outside_its_room() {
    assert_none("names of providers", &strangers(&sources(), PROVIDERS, &["openai", "mistral", "llama2"]));
}

#[test]
fn no_plugins_name_stands_outside_its_room() {
    assert_none("names of plugins", &strangers(&sources(), PLUGINS, &["ai-proxy", "prometheus", "file-log"]));
}

#[test]
fn yaml_has_one_door() {
    let violations: Vec<_> = sources()
        .iter()
        .filter(|source| source.room != "config" && source.whole.contains("serde_yaml"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("files beside config/ that know serde_yaml", &violations);
}

#[test]
fn nothing_is_spawned_beside_the_services() {
    // A task that nobody waits for outlives its request: only services and log sinks have such, busy polling,
    // whose tasks belong to no request, and what tells a server of requests that were counted before.
    let may = |source: &Source| {
        ["log", "polling", "process", "mock"].contains(&source.room.as_str())
            || source.path.ends_with("rate_limiting/synced.rs")
    };
    let spawns =
        |source: &Source| source.code.contains("tokio::spawn") || source.code.contains("task::spawn");
    let violations: Vec<_> = sources()
        .iter()
        .filter(|source| !may(source) && spawns(source))
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("files that spawn tasks", &violations);
}

#[test]
fn no_file_is_longer_than_400_lines_and_the_entry_points_are_short() {
    let mut violations = Vec::new();
    for source in sources() {
        let bound = match source.path.to_str().unwrap() {
            "main.rs" => 100,
            "gateway.rs" => 300,
            _ => 400,
        };
        let lines = source.whole.lines().count();
        if lines > bound {
            violations.push(format!("{}: {lines} lines, at most {bound}", source.path.display()));
        }
    }
    assert_none("files that are too long", &violations);
}

#[test]
fn the_house_rules_that_text_can_show_hold() {
    let mut violations = Vec::new();
    for source in sources() {
        let path = source.path.display();
        if !source.whole.starts_with("//!") && !source.path.ends_with("tests.rs") {
            violations.push(format!("{path}: does not begin by saying what it is (`//!`)"));
        }
        for word in ["utils", "helpers", "common", "manager", "handler"] {
            if source.path.to_str().unwrap().contains(word) {
                violations.push(format!("{path}: named {word}"));
            }
        }
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")] {
            if source.whole.contains(mark) {
                violations.push(format!("{path}: holds {mark}"));
            }
        }
    }
    assert_none("house rules", &violations);
}

#[test]
fn the_ways_through_the_code_lead_through_functions_that_are_there() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let ways = page.split_once("<!-- ways -->").unwrap().1.split_once("<!-- /ways -->").unwrap().0;
    let code: BTreeMap<String, String> =
        sources().into_iter().map(|source| (source.path.display().to_string(), source.code)).collect();
    let (mut violations, mut steps, mut file) = (Vec::new(), 0, None);
    let pieces: Vec<&str> = ways.split('`').collect();
    for pair in pieces.chunks_exact(2) {
        let (between, span) = (pair[0], pair[1]);
        if Path::new(span).extension().is_some_and(|kind| kind == "rs") {
            file = Some(span);
            violations.extend((!code.contains_key(span)).then(|| format!("there is no {span}")));
        } else if let Some(name) = file.filter(|_| ["", ","].contains(&between.trim())) {
            steps += 1;
            let has = |code: &String| ["(", "<"].iter().any(|end| code.contains(&format!("fn {span}{end}")));
            violations.extend((!code.get(name).is_some_and(has)).then(|| format!("{name} has no fn {span}")));
        } else {
            file = None;
        }
    }
    assert!(steps > 80, "only {steps} functions were found");
    assert_none("ARCHITECTURE.md, the ways", &violations);
}
