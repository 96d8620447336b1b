use super::*;
use crate::config::check::{check, sources};
use crate::state::State;

fn read(text: &str) -> Map<String, Value> {
    document::read(&sources(&[("f".to_owned(), text.to_owned())]).remove(0)).unwrap()
}

/// The entities of a file, without what no file says.
fn entities(text: &str) -> Map<String, Value> {
    let items = check(&sources(&[("f".to_owned(), text.to_owned())]));
    let mut tree = State::of(&items.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))).tree();
    for entities in tree.values_mut().filter_map(Value::as_array_mut) {
        for entity in entities.iter_mut().filter_map(Value::as_object_mut) {
            entity.retain(|name, _| {
                !["id", "created_at", "updated_at", "route", "service"].contains(&name.as_str())
            });
        }
        entities.sort_by_key(ToString::to_string);
    }
    tree
}

const STATE: &str = r#"{"_format_version": "3.0", "_workspace": "default", "_info": {"defaults": {}},
    "services": [{"name": "s", "host": "h", "port": 80, "protocol": "http", "retries": 5, "created_at": 1}],
    "routes": [{"name": "r", "service": {"name": "s"}, "paths": ["~/x$"], "strip_path": true, "made_up": 1}],
    "plugins": [
        {"name": "ai-proxy", "route": "r", "config": {"route_type": "llm/v1/chat", "auth": {"header_name": "a",
            "header_value": "{vault://env/a}"}, "model": {"provider": "openai", "name": "m", "options": {"temperature": 1}}}},
        {"name": "oauth2", "service": "s"},
        {"name": "key-auth", "route": "r", "consumer": null},
        {"name": "rate-limiting", "service": "s", "consumer": "bob", "config": {"minute": 5, "policy": "local"}}],
    "upstreams": [{"name": "u"}],
    "consumer_groups": [{"name": "gold", "consumers": ["bob"]}],
    "consumers": [{"username": "bob", "keyauth_credentials": [{"key": "k"}], "basicauth_credentials": [{}]}]}"#;

#[test]
fn what_comes_out_means_what_went_in() {
    let mut report = Report::default();
    let text = convert(read(STATE), &mut report).unwrap();
    let mut again = Report::default();
    assert_eq!(convert(read(&text), &mut again).unwrap(), text, "clean is clean");
    assert!(again.dropped.is_empty() && again.approximated.is_empty(), "{again:?}");
    assert_eq!(again.exact, report.exact);
    let dropped = report.dropped.join("\n");
    for part in ["_workspace", "made_up", "oauth2", "upstreams", "basicauth_credentials", "times of creation"]
    {
        assert!(dropped.contains(part), "{part} in:\n{dropped}");
    }
    let mut kept = read(STATE);
    sieve::pass(&mut kept, &mut Report::default()).unwrap();
    assert_eq!(entities(&text), entities(&Value::Object(kept).to_string()));
}

#[test]
fn what_comes_out_is_clean() {
    let text = convert(read(STATE), &mut Report::default()).unwrap();
    for part in ["retries", "strip_path", "created_at", "protocols", "max_request_body_size", "id:"] {
        assert!(!text.contains(part), "{part} in:\n{text}");
    }
    let tree = read(&text);
    let route = &tree["services"][0]["routes"][0];
    assert_eq!(route["plugins"][0]["config"]["model"]["options"]["temperature"], 1);
    assert_eq!(tree["plugins"][0]["consumer"], "bob", "of several scopes: by name, for itself");
    assert_eq!(tree["consumers"][0]["groups"][0]["name"], "gold");
    assert_eq!(tree["consumers"][0]["keyauth_credentials"][0]["key"], "k");
}

#[test]
fn a_slip_is_refused_and_not_dropped() {
    let wrong =
        r#"{"_format_version": "3.0", "services": [{"name": "s", "host": "h", "port": "x", "bad": 1}]}"#;
    let mut report = Report::default();
    let problems = convert(read(wrong), &mut report).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "services[0].port");
}

#[test]
fn old_paths_are_marked() {
    let mut report = Report::default();
    let mut root = Map::new();
    let old = r#"{"_format_version": "1.1", "services": [{"name": "s", "host": "h", "routes": [{"name": "r", "paths": ["/a/(x|y)$", "/b"]}]}]}"#;
    merge(&mut root, read(old), "f", &mut report).unwrap();
    let text = convert(root, &mut report).unwrap();
    assert_eq!(read(&text)["services"][0]["routes"][0]["paths"], serde_json::json!(["~/a/(x|y)$", "/b"]));
    assert_eq!(report.approximated.len(), 1);
    assert!(report.to_string().contains("exact: 1 services, 1 routes"));
}
