//! The files in `conf/` by which others start the gateway: where no engine is at hand to build an image,
//! and no manager to start a unit, they are at least read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// A file's instructions: a word and the rest, with lines that go on joined and comments left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            (word.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

const KNOWN: [&str; 12] = [
    "FROM",
    "RUN",
    "COPY",
    "WORKDIR",
    "USER",
    "ENV",
    "EXPOSE",
    "STOPSIGNAL",
    "ENTRYPOINT",
    "CMD",
    "ARG",
    "LABEL",
];

#[test]
fn the_container_file_is_well_formed_and_its_image_is_from_scratch() {
    let all = instructions(&read("conf/Containerfile"));
    for (word, rest) in &all {
        assert!(KNOWN.contains(&word.as_str()) && !rest.is_empty(), "{word} {rest}");
    }
    assert_eq!(all[0].0, "FROM");
    let stages: Vec<_> =
        all.iter().filter(|(word, _)| word == "FROM").map(|(_, rest)| rest.as_str()).collect();
    assert!(stages.len() == 2 && stages[1] == "scratch", "{stages:?}");
    let (image, name) = stages[0].split_once(" AS ").unwrap();
    assert!(
        image.rsplit_once(':').is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest"),
        "a pinned {image}"
    );
    let toolchain = read("Cargo.toml")
        .lines()
        .find_map(|line| Some(line.strip_prefix("rust-version = \"")?.trim_end_matches('"').to_owned()));
    assert!(image.contains(&toolchain.unwrap()), "{image} is not the toolchain that this is built with");
    let last: Vec<_> = all.iter().skip_while(|(word, rest)| !(word == "FROM" && rest == "scratch")).collect();
    for (word, rest) in &last {
        assert_ne!(word, "RUN", "there is nothing in it to run: {rest}");
        if word == "COPY" {
            assert!(rest.starts_with(&format!("--from={name} ")), "{rest}");
        }
    }
    let of = |word: &str| last.iter().find(|(own, _)| own == word).map(|(_, rest)| rest.as_str()).unwrap();
    assert!(!of("USER").starts_with('0') && !of("USER").contains("root"));
    let command: Vec<String> = [of("ENTRYPOINT"), of("CMD")]
        .iter()
        .flat_map(|list| serde_json::from_str::<Vec<String>>(list).unwrap())
        .collect();
    assert_eq!(command, ["/usr/local/bin/tollgate", "run"]);
    let built = all.iter().any(|(word, rest)| {
        word == "RUN" && rest.contains("--locked") && rest.contains("/image/usr/local/bin/tollgate")
    });
    assert!(built, "the program of the image is the one that was built");
    for (_, rest) in all.iter().filter(|(word, _)| word == "RUN") {
        for file in rest.split_whitespace().filter(|word| word.starts_with("conf/")) {
            assert!(root().join(file).exists(), "{file} is copied, but not there");
        }
    }
}

#[test]
fn the_image_names_settings_that_there_are() {
    let help = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let all = instructions(&read("conf/Containerfile"));
    let variables = all.iter().filter(|(word, _)| word == "ENV").flat_map(|(_, rest)| rest.split(' '));
    let names = variables.map(|pair| pair.split_once('=').unwrap().0);
    let names: Vec<_> = names.filter(|name| name.starts_with("TOLLGATE_")).collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        assert!(help.contains(&format!("[env: {name}=")), "{name} is not in\n{help}");
    }
}

#[test]
fn the_unit_starts_what_there_is_and_lets_it_be_replaced() {
    let text = read("conf/tollgate.service");
    let mut section = "";
    let mut entries: HashMap<(&str, &str), &str> = HashMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
            entries.insert((section, key), value);
        }
    }
    let service = |key: &'static str| *entries.get(&("Service", key)).unwrap_or_else(|| panic!("no {key}"));
    assert_eq!((service("Type"), service("NotifyAccess")), ("notify", "all"), "a new process names itself");
    assert_eq!(service("ExecReload"), "/bin/kill -HUP $MAINPID");
    let stop: u64 = service("TimeoutStopSec").parse().unwrap();
    let settings = read("conf/tollgate.yaml");
    let grace = settings.lines().find_map(|line| line.strip_prefix("grace_seconds: ")).unwrap();
    let grace = grace.split('#').next().unwrap().trim();
    assert!(stop > grace.parse().unwrap(), "killed before it has drained");
    for key in ["NoNewPrivileges", "DynamicUser", "MemoryDenyWriteExecute", "RestrictNamespaces"] {
        assert_eq!(service(key), "yes", "{key}");
    }
    // Its flags are ours: with files that are not there they are refused for that, not for their names.
    let flags: Vec<_> = service("ExecStart").split(' ').skip(1).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(&flags).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("/etc/tollgate/tollgate.yaml"), "{stderr}");
}
