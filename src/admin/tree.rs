//! Problems as the tree that Kong's errors are, and the texts that Kong makes of such a tree.

use crate::config::problems::Problem;
use serde_json::{Map, Value, json};

/// The list of what is wrong with a record as a whole.
pub const ENTITY: &str = "@entity";

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field of an object.
    Field(String),
    /// From 0.
    Item(usize),
}

/// The steps of `a.b[2].c`.
pub fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let mut pieces = part.split('[');
        let field = pieces.next().unwrap_or_default();
        if !field.is_empty() {
            steps.push(Step::Field(field.to_owned()));
        }
        for piece in pieces {
            let inner = piece.trim_end_matches(']');
            steps.push(inner.parse().map_or_else(|_| Step::Field(inner.to_owned()), Step::Item));
        }
    }
    steps
}

/// The tree of errors.
pub fn of(problems: &[Problem]) -> Map<String, Value> {
    let mut root = Value::Object(Map::new());
    for problem in problems {
        let path = steps(&problem.path);
        // A problem of the whole has nowhere else to stand.
        let entity = problem.entity || path.is_empty();
        put(&mut root, &path, &problem.message, entity);
    }
    match root {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn put(at: &mut Value, path: &[Step], message: &str, entity: bool) {
    match path.split_first() {
        None if entity => {
            if let Some(map) = object(at) {
                let list = map.entry(ENTITY).or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(message.into());
                }
            }
        }
        None => {
            if at.is_null() {
                *at = message.into();
            }
        }
        Some((Step::Field(name), rest)) => {
            if let Some(map) = object(at) {
                put(map.entry(name.clone()).or_insert(Value::Null), rest, message, entity);
            }
        }
        Some((Step::Item(index), rest)) => {
            if at.is_null() {
                *at = json!([]);
            }
            if let Some(list) = at.as_array_mut() {
                while list.len() <= *index {
                    list.push(Value::Null);
                }
                if let Some(slot) = list.get_mut(*index) {
                    put(slot, rest, message, entity);
                }
            }
        }
    }
}

/// The object here; one is made of nothing, but not of a text that already says what is wrong.
fn object(at: &mut Value) -> Option<&mut Map<String, Value>> {
    if at.is_null() {
        *at = Value::Object(Map::new());
    }
    at.as_object_mut()
}

/// The texts of a tree: those of the whole bare and first, then by field.
/// KONG(db/errors.lua): deeper levels are dumps of Lua tables there; here their paths go on.
pub fn texts(fields: &Map<String, Value>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let whole = fields.get(ENTITY).and_then(Value::as_array).into_iter().flatten();
    found.extend(whole.filter_map(Value::as_str).map(ToOwned::to_owned));
    let mut names: Vec<_> = fields.iter().filter(|(name, _)| *name != ENTITY).collect();
    names.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in names {
        collect(name, value, &mut found);
    }
    found
}

fn collect(path: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(format!("{path}: {text}")),
        Value::Array(list) if path.ends_with(ENTITY) => {
            found.extend(list.iter().filter_map(Value::as_str).map(|text| format!("{path}: {text}")));
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                collect(&format!("{path}.{}", index + 1), value, found);
            }
        }
        Value::Object(map) => {
            let mut names: Vec<_> = map.iter().collect();
            names.sort_by_key(|(name, _)| name.as_str());
            for (name, value) in names {
                collect(&format!("{path}.{name}"), value, found);
            }
        }
        _ => {}
    }
}

/// The texts of a tree by dotted path, those of a whole record by the record's path.
pub fn leaves(fields: &Map<String, Value>) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (name, value) in fields {
        leaf(if name == ENTITY { "" } else { name }, value, &mut found);
    }
    found
}

fn leaf(path: &str, value: &Value, found: &mut Vec<(String, Vec<String>)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), vec![text.clone()])),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            let texts = list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
            found.push((path.to_owned(), texts));
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(index, value)| leaf(&format!("{path}[{index}]"), value, found));
        }
        Value::Object(map) => {
            for (name, value) in map {
                let path = if name == ENTITY { path.to_owned() } else { format!("{path}.{name}") };
                leaf(&path, value, found);
            }
        }
        _ => {}
    }
}

/// A value as Kong prints Lua tables: `{name="x",route={id="…"}}`.
pub fn lua(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut names: Vec<_> = map.iter().collect();
            names.sort_by_key(|(name, _)| name.as_str());
            let plain = |name: &str| {
                name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            let pairs = names.iter().map(|(name, value)| {
                if plain(name) {
                    format!("{name}={}", lua(value))
                } else {
                    format!("[\"{name}\"]={}", lua(value))
                }
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => {
            format!("{{{}}}", list.iter().map(lua).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_steps() {
        let field = |name: &str| Step::Field(name.to_owned());
        assert_eq!(
            steps("config.targets[1].model"),
            [field("config"), field("targets"), Step::Item(1), field("model")]
        );
        assert_eq!(steps("[0]"), [Step::Item(0)]);
        assert!(steps("").is_empty());
    }

    #[test]
    fn a_tree_holds_every_problem_at_its_place() {
        let mut whole = Problem::new("config", "all or none");
        whole.entity = true;
        let tree = of(&[
            Problem::new("config.targets[1].model.name", "no"),
            whole,
            Problem::new("name", "first"),
            Problem::new("name", "second"),
            Problem::new("name.deeper", "third"),
        ]);
        assert_eq!(
            Value::Object(tree.clone()),
            json!({"config": {"targets": [null, {"model": {"name": "no"}}], "@entity": ["all or none"]},
                "name": "first"})
        );
        assert_eq!(
            texts(&tree),
            ["config.@entity: all or none", "config.targets.2.model.name: no", "name: first"]
        );
    }

    #[test]
    fn lua_tables_are_sorted_and_quoted() {
        assert_eq!(lua(&json!({"b": [1, "x"], "a": null, "@e": true})), "{[\"@e\"]=true,a=null,b={1,\"x\"}}");
    }
}
