//! A declarative file as text, and what YAML or JSON makes of it.
//!
//! The only place that knows the YAML library.

use super::problems::{Problem, Problems};
use serde_json::{Map, Number, Value};
use std::sync::Arc;

/// One file, read but not judged.
pub struct Source {
    /// Its name, for problems.
    pub name: Arc<str>,
    pub text: String,
}

/// Reads a file's text into a tree; what cannot be read is one problem.
pub fn read(source: &Source) -> Result<Map<String, Value>, Vec<Problem>> {
    let json = source.text.trim_start().starts_with('{');
    if json && let Ok(value) = serde_json::from_str(&source.text) {
        return object(value, source);
    }
    match yaml(&source.text) {
        Ok(value) => object(value, source),
        Err((message, line)) => Err(unreadable(source, &message, line)),
    }
}

/// A tree as YAML text.
pub fn write(root: &Map<String, Value>) -> Result<String, String> {
    serde_yaml::to_string(root).map_err(|error| error.to_string())
}

fn object(value: Value, source: &Source) -> Result<Map<String, Value>, Vec<Problem>> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(unreadable(source, "expected an object", None)),
    }
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

fn yaml(text: &str) -> Result<Value, (String, Option<usize>)> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        (error.to_string(), line)
    })?;
    // `<<: *defaults`, which files of many similar routes live by.
    value.apply_merge().map_err(|error| (error.to_string(), None))?;
    Ok(tree(value))
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
        let mut problems = read(&source(text)).unwrap_err();
        assert_eq!(problems.len(), 1);
        problems.remove(0)
    }

    fn tree_of(text: &str) -> Value {
        Value::Object(read(&source(text)).unwrap())
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
}
