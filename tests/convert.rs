//! `tollgate convert`: what is written loads to the same entities, and the report names what does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

#[path = "convert/files.rs"]
mod files;
mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::gateway::finish;
use tollgate::config::check::sources;
use tollgate::config::entities::Document;
use tollgate::config::parse_with;
use tollgate::convert::{Converted, Form, convert};

fn texts(text: &str) -> Vec<(String, String)> {
    vec![("x.yaml".to_owned(), text.to_owned())]
}

fn made(text: &str, form: Form) -> Converted {
    convert(&sources(&texts(text)), form).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

fn tree(text: &str) -> Value {
    serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(text).unwrap()).unwrap()
}

/// The entities in an order of their own. Ids of plugins are left out: they are made of how a file
/// writes what a plugin is bound to.
fn entities(text: &str) -> Vec<String> {
    let Document { services, routes, plugins, consumers, consumer_groups, certificates } =
        parse_with(&texts(text), &|_| None).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    let mut all: Vec<String> = services.iter().map(|one| format!("{one:?}")).collect();
    all.extend(routes.iter().map(|one| format!("{one:?}")));
    all.extend(consumer_groups.iter().map(|one| format!("{one:?}")));
    all.extend(
        certificates.iter().map(|one| format!("{} {:?} {:?} {:?}", one.cert, one.key, one.snis, one.id)),
    );
    all.extend(plugins.iter().map(|one| {
        let scope = (one.service, one.route, one.consumer, one.consumer_group);
        format!("{} {:?} {scope:?} {} {}", one.kind.name, one.instance_name, one.enabled, sorted(&one.config))
    }));
    all.extend(consumers.into_iter().map(|mut one| {
        one.keys.sort_by_key(|key| key.to_string());
        one.acl_groups.sort();
        one.groups.sort();
        let names = (&one.username, &one.custom_id, &one.tags);
        format!("{} {names:?} {:?} {:?} {:?}", one.id, one.keys, one.acl_groups, one.groups)
    }));
    all.sort();
    all
}

/// The same value with the keys of objects in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Converts there, and once more from there.
fn round_trip(text: &str) {
    for form in [Form::Kong, Form::Deck] {
        let Converted { text: once, report } = made(text, form);
        // What only this gateway knows is not for Kong, and then the report says so.
        if !report.notes.iter().any(|note| note.message == "Kong does not know the field") {
            assert_eq!(entities(text), entities(&once), "{form:?} of\n{text}\nis\n{once}");
        }
        assert_eq!(once, made(&once, form).text, "a clean file is its own conversion");
    }
}

#[test]
fn every_example_survives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut files: Vec<PathBuf> = vec![root.join("kong.yaml")];
    files.extend(std::fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path()));
    assert!(files.len() > 20);
    for file in files {
        round_trip(&std::fs::read_to_string(file).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_file_survives(file in files::file()) {
        round_trip(&file.to_string());
    }
}

#[test]
fn writes_a_clean_file() {
    let text = "
_format_version: '1.1'
plugins:
- {name: prometheus, config: {per_consumer: false}}
- {name: key-auth, route: b, created_at: 5}
- {name: rate-limiting, route: b, consumer: alice, config: {minute: 5, policy: local}}
routes:
- {name: b, service: s, paths: ['/a/\\d'], strip_path: true, regex_priority: 0}
- {name: a, service: s, paths: [/b], https_redirect_status_code: 426}
services: [{name: s, url: 'http://h/p', retries: 5, connect_timeout: 60000}]
consumers: [{username: alice}]
keyauth_credentials: [{consumer: alice, key: k}]
";
    let expected = "_format_version: '3.0'
services:
- name: s
  host: h
  path: /p
  routes:
  - name: a
    paths:
    - /b
  - name: b
    paths:
    - ~/a/\\d
    plugins:
    - name: key-auth
plugins:
- name: prometheus
- name: rate-limiting
  config:
    minute: 5
  route: b
  consumer: alice
consumers:
- username: alice
  keyauth_credentials:
  - key: k
";
    let made = made(text, Form::Kong);
    assert_eq!(made.text, expected);
    let counts = "services 1, consumers 1, routes 2, plugins 3, keyauth_credentials 1";
    assert_eq!(made.report.to_string(), format!("exact: everything ({counts})"));
}

#[test]
fn reads_decks_state_and_reports_what_is_not_here() {
    let text = "
_format_version: '3.0'
_info: {select_tags: [ours], defaults: {service: {retries: 9}}}
_plugin_configs: {limits: {minute: 5, hour: 6}}
upstreams: [{name: u}]
services:
- name: s
  host: ${{ env \"DECK_HOST\" }}.local
  routes:
  - name: r
    paths: [/r]
    plugins:
    - {name: bot-detection, config: {}}
    - {name: rate-limiting, _config: limits, config: {hour: 7}, ordering: {before: {}}, run_on: first}
consumers:
- {username: alice, basicauth_credentials: [{username: a}]}
";
    let refused = convert(&sources(&texts(text)), Form::Kong).err().expect("the host is no host");
    assert!(refused.iter().all(|problem| problem.path == "services[0].host"), "{refused:?}");
    let text = text
        .replace("${{ env \"DECK_HOST\" }}.local", "h")
        .replace("username: alice", "username: '${{ env \"DECK_U\" }}'");
    let made = made(&text, Form::Kong);
    let tree = tree(&made.text);
    assert_eq!(tree["services"][0]["retries"], 9);
    let plugins = &tree["services"][0]["routes"][0]["plugins"];
    assert_eq!(
        plugins,
        &json!([{"name": "rate-limiting", "config": {"hour": 7, "minute": 5}}])
            .as_array()
            .map(|all| sorted_keys(plugins, all))
            .unwrap()
    );
    let report = made.report.to_string();
    let lines: Vec<&str> = report.lines().map(|line| line.split(": ").nth(2).unwrap_or(line)).collect();
    assert_eq!(
        lines,
        [
            "consumers[0].username",
            "_info.select_tags",
            "services[0].routes[0].plugins[0]",
            "services[0].routes[0].plugins[1].ordering",
            "services[0].routes[0].plugins[1].run_on",
            "consumers[0].basicauth_credentials",
            "upstreams",
            "exact: everything else (services 1, consumers 1, routes 1, plugins 1)"
        ]
    );
    assert!(
        report.contains("this gateway has no plugin 'bot-detection': what it did is not done any more"),
        "{report}"
    );
}

/// What is expected, if it is the same but for the order of keys.
fn sorted_keys(found: &Value, expected: &[Value]) -> Value {
    let same = sorted(found) == sorted(&expected.to_vec().into());
    if same { found.clone() } else { expected.to_vec().into() }
}

#[test]
fn deck_gets_nothing_that_kong_does_not_know() {
    let text = json!({"_format_version": "3.0", "plugins": [{"name": "ai-proxy-advanced", "config": {
        "balancer": {"first_token_timeout": 5, "retries": 2},
        "targets": [{"route_type": "llm/v1/chat", "model": {"provider": "openai"}}]}}]});
    let own = made(&text.to_string(), Form::Kong);
    assert!(own.text.contains("first_token_timeout: 5") && own.report.notes.is_empty());
    let deck = made(&text.to_string(), Form::Deck);
    assert!(!deck.text.contains("first_token_timeout") && deck.text.contains("retries: 2"), "{}", deck.text);
    let report = deck.report.to_string();
    let first =
        "dropped: x.yaml: plugins[0].config.balancer.first_token_timeout: Kong does not know the field";
    assert_eq!(report.lines().next(), Some(first));
}

#[test]
fn the_command_writes_the_file_to_stdout_and_the_report_to_stderr() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/examples/kubernetes.yaml");
    let (status, file, report) = finish(&["convert", example]);
    assert_eq!(status, 0, "{report}");
    let tree = tree(&file);
    assert_eq!(tree["services"][0]["routes"][0]["name"], "default.chat.model..443");
    assert_eq!(tree["plugins"][0]["name"], "prometheus");
    assert!(report.starts_with("approximated: "), "{report}");
    assert!(
        report.ends_with(
            "exact: everything else (services 1, consumers 1, routes 1, plugins 3, keyauth_credentials 1)\n"
        ),
        "{report}"
    );
    let (status, deck, _) = finish(&["convert", "--to", "deck", example]);
    assert_eq!((status, deck), (0, file));
    let (status, file, problems) = finish(&["convert", "nowhere.yaml"]);
    assert_eq!((status, file.as_str()), (1, ""));
    assert!(problems.starts_with("cannot read 'nowhere.yaml'"), "{problems}");
}

#[test]
fn files_of_both_kinds_become_one() {
    let example =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/examples/kubernetes.yaml"));
    let declarative = "_format_version: '3.0'
plugins: [{name: rate-limiting, route: default.chat.model..443, consumer: alice, config: {minute: 5}}]
";
    let both = [("k.yaml".to_owned(), example.unwrap()), ("d.yaml".to_owned(), declarative.to_owned())];
    let made = convert(&sources(&both), Form::Kong).unwrap_or_else(|problems| panic!("{problems:?}"));
    let tree = tree(&made.text);
    let limit = json!({"name": "rate-limiting", "config": {"minute": 5}, "route": "default.chat.model..443", "consumer": "alice"});
    assert_eq!(tree["plugins"][1], limit);
    assert_eq!(tree["services"][0]["routes"][0]["plugins"].as_array().map(Vec::len), Some(2));
}

#[test]
fn fields_of_other_releases_are_dropped_and_slips_refused() {
    let text = "
_format_version: '2.1'
routes: [{name: r, paths: ['/a/(x|y)$', /b], plugins: [{name: ai-prompt-guard, config: {deny_patterns: [x], new: {a: 1}}},
  {name: ai-proxy-advanced, config: {targets: [{route_type: llm/v1/chat, newer: 1, model: {provider: openai}}]}}]}]
";
    let made = made(text, Form::Kong);
    let mut dropped: Vec<&str> = made.report.notes.iter().map(|note| note.path.as_str()).collect();
    dropped.sort_unstable();
    assert_eq!(dropped, ["routes[0].plugins[0].config.new", "routes[0].plugins[1].config.targets[0].newer"]);
    assert_eq!(tree(&made.text)["routes"][0]["paths"], json!(["~/a/(x|y)$", "/b"]));
    let wrong = text.replace("deny_patterns: [x]", "deny_patterns: x");
    let refused = convert(&sources(&texts(&wrong)), Form::Kong).err().expect("no list");
    assert_eq!(refused[0].path, "routes[0].plugins[0].config.deny_patterns");
}

#[test]
fn the_result_may_go_to_a_file_of_ones_own() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.yaml");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/kong.yaml");
    assert_eq!(finish(&["convert", example, "-o", file.to_str().unwrap()]).0, 0);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(finish(&["check", file.to_str().unwrap()]).0, 0);
}
