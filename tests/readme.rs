//! The README's table of providers says what the golden files show, and nothing else; its curls are
//! answered as it says.
//!
//! `BLESS=1 cargo test --test readme` rewrites the table.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::gateway::{Gateway, free};
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
    let answered = |folder: &Path| {
        ["client-reply.json", "client-stream.txt"].iter().any(|file| folder.join(file).exists())
    };
    let shown = |part: &str| yes(cases.iter().any(|(case, folder)| case.contains(part) && answered(folder)));
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

/// A curl of the README: its URL's path, its headers and its body.
struct Curl {
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    status: u16,
    says: String,
}

impl Curl {
    fn read(line: &str) -> Option<Self> {
        let (command, expected) = line.strip_prefix("curl ")?.rsplit_once("   # ")?;
        let (status, says) = expected.split_once(' ')?;
        let mut curl = Self {
            path: String::new(),
            headers: Vec::new(),
            body: None,
            status: status.parse().ok()?,
            says: says.to_owned(),
        };
        let mut words = words(command).into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-s" => {}
                "-H" => {
                    let (name, value) =
                        words.next()?.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned()))?;
                    curl.headers.push((name, value));
                }
                "--json" => curl.body = words.next(),
                url => url.strip_prefix("localhost:8000")?.clone_into(&mut curl.path),
            }
        }
        Some(curl)
    }
}

/// The words of a command; those in single quotes are one.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, piece) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The examples of the plugins, with the simulated model at another address.
fn examples(model: &str) -> Vec<String> {
    let folder = fs::read_dir(root().join("conf/examples")).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let plugins = paths
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("plugin-")));
    plugins.map(|path| fs::read_to_string(path).unwrap().replace("127.0.0.1:8090", model)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugins_answer_as_it_says() {
    let model = free().to_string();
    let files = examples(&model);
    let folder = tempfile::tempdir().unwrap();
    let mut extra = vec!["--mock-llm".to_owned(), model];
    for (index, file) in files.iter().enumerate().skip(1) {
        let path = folder.path().join(format!("{index}.yaml"));
        fs::write(&path, file).unwrap();
        extra.extend(["--config".to_owned(), path.to_str().unwrap().to_owned()]);
    }
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    let gateway = Gateway::start_with(&files[0], &extra).await;
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split_once("<!-- plugins -->").unwrap().1.split_once("<!-- /plugins -->").unwrap().0;
    let lines: Vec<_> = section.lines().filter(|line| line.starts_with("curl")).collect();
    assert!(lines.len() >= files.len(), "each of the {} files has a curl", files.len());
    for line in lines {
        let curl = Curl::read(line).unwrap_or_else(|| panic!("cannot be read: {line}"));
        let client = reqwest::Client::new();
        let mut request = match curl.body {
            Some(body) => {
                client.post(gateway.url(&curl.path)).header("content-type", "application/json").body(body)
            }
            None => client.get(gateway.url(&curl.path)),
        };
        for (name, value) in curl.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert_eq!(status, curl.status, "{line}: {text}");
        assert!(text.contains(&curl.says), "{line}: {text}");
    }
}
