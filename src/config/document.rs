//! A declarative file as text, and what YAML or JSON makes of it.
//!
//! The only place that knows the YAML library.

use super::problems::{Problem, Problems};
use serde::Deserialize;
use serde_json::{Map, Number, Value};
use std::sync::Arc;

/// One file, read but not judged.
pub struct Source {
    /// Its name, for problems.
    pub name: Arc<str>,
    /// As it was read.
    pub text: String,
}

/// What a file holds.
pub enum Content {
    /// A configuration in Kong's declarative format.
    Declarative(Map<String, Value>),
    /// Kubernetes objects, one a document; empty documents are `null`.
    Manifests(Vec<Value>),
}

/// Reads a file's text into trees; what cannot be read is one problem.
pub fn read(source: &Source) -> Result<Content, Vec<Problem>> {
    let json = source.text.trim_start().starts_with('{');
    if json && let Ok(value) = serde_json::from_str(&source.text) {
        return content(vec![value], source);
    }
    match yaml(&source.text) {
        Ok(documents) => content(documents, source),
        Err((message, line)) => Err(unreadable(source, &message, line)),
    }
}

/// A tree as YAML text.
pub fn write(root: &Map<String, Value>) -> Result<String, String> {
    serde_yaml::to_string(root).map_err(|error| error.to_string())
}

/// Any text of one document as a tree.
pub fn value(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| yaml(text).ok()?.pop())
}

fn content(mut documents: Vec<Value>, source: &Source) -> Result<Content, Vec<Problem>> {
    if documents.iter().any(is_manifest) {
        return Ok(Content::Manifests(documents));
    }
    documents.retain(|document| !document.is_null());
    match (documents.pop(), documents.is_empty()) {
        (Some(Value::Object(map)), true) => Ok(Content::Declarative(map)),
        (_, true) => Err(unreadable(source, "expected an object", None)),
        (_, false) => {
            let why = "more than one document, and none is a Kubernetes object with 'apiVersion' and 'kind'";
            Err(unreadable(source, why, None))
        }
    }
}

fn is_manifest(document: &Value) -> bool {
    let has = |name| document.get(name).is_some();
    (has("apiVersion") || has("kind")) && !has("_format_version")
}

fn unreadable(source: &Source, why: &str, line: Option<usize>) -> Vec<Problem> {
    let mut list = Vec::new();
    Problems::of_file(Arc::clone(&source.name), &mut list)
        .push(format!("failed parsing declarative configuration: {why}"));
    for problem in &mut list {
        problem.line = line;
    }
    list
}

fn yaml(text: &str) -> Result<Vec<Value>, (String, Option<usize>)> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut value = serde_yaml::Value::deserialize(document).map_err(|error| {
            let line = error.location().map(|location| location.line());
            (error.to_string(), line)
        })?;
        // `<<: *defaults`, which files of many similar routes live by.
        value.apply_merge().map_err(|error| (error.to_string(), None))?;
        documents.push(tree(value));
    }
    Ok(documents)
}

/// The same in JSON's terms. What JSON does not have becomes text, for the schema to refuse.
fn tree(value: serde_yaml::Value) -> Value {
    use serde_yaml::Value as Yaml;
    match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(truth) => truth.into(),
        Yaml::Number(number) => scalar(&number),
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => items.into_iter().map(tree).collect(),
        Yaml::Mapping(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key_text(key), tree(value))).collect())
        }
        Yaml::Tagged(tagged) => tree(tagged.value),
    }
}

fn scalar(number: &serde_yaml::Number) -> Value {
    let integer = number.as_u64().map(Number::from).or_else(|| number.as_i64().map(Number::from));
    let json = integer.or_else(|| number.as_f64().and_then(Number::from_f64));
    json.map_or_else(|| number.to_string().into(), Value::Number)
}

fn key_text(key: serde_yaml::Value) -> String {
    match tree(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(text: &str) -> Source {
        Source { name: "x.yaml".into(), text: text.to_owned() }
    }

    fn only(text: &str) -> Problem {
        let mut problems = read(&source(text)).err().unwrap();
        assert_eq!(problems.len(), 1);
        problems.remove(0)
    }

    fn tree_of(text: &str) -> Value {
        match read(&source(text)) {
            Ok(Content::Declarative(map)) => Value::Object(map),
            Ok(Content::Manifests(documents)) => Value::Array(documents),
            Err(problems) => unreachable!("{problems:?}"),
        }
    }

    #[test]
    fn reads_yaml_and_json_alike() {
        let want = json!({"a": {"1": [1, 1.5, true, null, "x"]}});
        assert_eq!(tree_of("a: {1: [1, 1.5, true, null, x]}\n"), want);
        assert_eq!(tree_of(" {\"a\": {\"1\": [1, 1.5, true, null, \"x\"]}}"), want);
        assert_eq!(tree_of("d: &d {p: 1}\ne:\n  <<: *d\n  q: 2\n")["e"], json!({"q": 2, "p": 1}));
        assert_eq!(tree_of("a: .inf\nb: 18446744073709551615"), json!({"a": ".inf", "b": u64::MAX}));
    }

    #[test]
    fn says_where_it_stops_understanding() {
        let problem = only("a: 1\nservices: [\n");
        assert!(problem.message.starts_with("failed parsing declarative configuration: "), "{problem}");
        assert!(problem.line.is_some());
        assert!(only("just words").message.ends_with(": expected an object"));
        assert!(only("").message.ends_with(": expected an object"));
        assert!(only("a: 1\na: 2\n").message.contains("duplicate"));
    }

    #[test]
    fn tells_manifests_from_declarative_files() {
        let manifests = "kind: A\napiVersion: v1\n---\n---\napiVersion: v1\n";
        assert_eq!(
            tree_of(manifests),
            json!([{"kind": "A", "apiVersion": "v1"}, null, {"apiVersion": "v1"}])
        );
        assert_eq!(tree_of("{\"kind\": \"A\"}"), json!([{"kind": "A"}]));
        assert_eq!(tree_of("---\n_format_version: '3.0'\n---\n"), json!({"_format_version": "3.0"}));
        assert!(only("a: 1\n---\nb: 2\n").message.contains("more than one document"));
    }
}
