//! `flatten_errors`: problems of a declarative configuration by entity, for tools that made each
//! entity from something of their own.

use super::view;
use crate::config::document::{self, Content, Source};
use crate::config::problems::Problem;
use crate::config::records::{self, Collection};
use crate::config::vault::is_reference;
use serde_json::{Map, Value, json};

/// The problems of entities, one object for each entity; and the problems that are of none.
pub fn flatten(problems: &[Problem], text: &str) -> (Vec<Value>, Vec<Problem>) {
    let source = Source { name: "".into(), text: text.to_owned() };
    let root = match document::read(&source) {
        Ok(Content::Declarative(root)) => Value::Object(root),
        _ => Value::Null,
    };
    let mut groups: Vec<(String, Vec<&Problem>)> = Vec::new();
    let mut rest = Vec::new();
    for problem in problems {
        match entity_path(&problem.path) {
            None => rest.push(problem.clone()),
            Some(path) => match groups.iter_mut().find(|(other, _)| other == path) {
                Some((_, list)) => list.push(problem),
                None => groups.push((path.to_owned(), vec![problem])),
            },
        }
    }
    let flat = groups.iter().filter_map(|(path, list)| describe(path, list, &root)).collect();
    (flat, rest)
}

/// The part of a path that leads to the innermost entity: `services[0].routes[1]`.
fn entity_path(path: &str) -> Option<&str> {
    let mut end = None;
    let mut at = 0;
    for part in path.split('.') {
        let Some((name, rest)) = part.split_once('[') else { break };
        if records::find(name).is_none() || !rest.ends_with(']') {
            break;
        }
        at += part.len();
        end = Some(at);
        at += 1;
    }
    path.get(..end?)
}

fn describe(path: &str, problems: &[&Problem], root: &Value) -> Option<Value> {
    let mut value = root;
    let mut collection = None;
    for part in path.split('.') {
        let (name, rest) = part.split_once('[')?;
        collection = records::find(name);
        value = value.get(name)?.get(rest.trim_end_matches(']').parse::<usize>().ok()?)?;
    }
    let collection = collection?;
    let mut entity = value.as_object().cloned().unwrap_or_default();
    // Its children are entities of their own, and its keys are nobody's business.
    entity.retain(|name, _| records::find(name).is_none());
    hide(collection, &mut entity);
    let errors: Vec<Value> = problems.iter().map(|problem| error(problem, path)).collect();
    let mut out = Map::new();
    out.insert("entity_type".to_owned(), collection.name.trim_end_matches('s').into());
    for (name, field) in [("entity_id", "id"), ("entity_name", "name"), ("entity_tags", "tags")] {
        if let Some(value) = entity.get(field) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    out.insert("entity".to_owned(), entity.into());
    out.insert("errors".to_owned(), errors.into());
    Some(out.into())
}

fn error(problem: &Problem, path: &str) -> Value {
    let field = problem.path.get(path.len()..).unwrap_or_default().trim_start_matches('.');
    if problem.entity || field.is_empty() {
        return json!({"message": problem.message, "type": "entity"});
    }
    json!({"field": field, "message": problem.message, "type": "field"})
}

/// An entity that did not pass its schema may hold a key where the schema has none: besides the
/// fields that are secrets, everything is masked that is called like one.
fn hide(collection: &Collection, entity: &mut Map<String, Value>) {
    view::mask(collection, entity);
    for value in entity.values_mut() {
        hide_value(value);
    }
}

fn hide_value(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let name = name.to_ascii_lowercase();
                let telling = ["_value", "secret", "password", "token", "api_key", "apikey", "_json"];
                match value {
                    Value::String(text) if telling.iter().any(|part| name.ends_with(part)) => {
                        if !is_reference(text) {
                            view::MASK.clone_into(text);
                        }
                    }
                    other => hide_value(other),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(hide_value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_entity_is_found() {
        assert_eq!(entity_path("services[0].routes[1].paths[0]"), Some("services[0].routes[1]"));
        assert_eq!(entity_path("plugins[2].config.targets[0].model"), Some("plugins[2]"));
        assert_eq!(entity_path("services[3]"), Some("services[3]"));
        assert_eq!(entity_path("_format_version"), None);
        assert_eq!(entity_path(""), None);
    }

    #[test]
    fn each_entity_is_told_once_and_without_its_keys() {
        let text = r#"{"services": [{"name": "s", "tags": ["t"], "port": "x", "routes": [{"name": "r"}]}],
            "plugins": [{"name": "ai-proxy", "config": {"auth": {"header_value": "Bearer key"}, "bad": {"password": "p"}}}]}"#;
        let mut whole = Problem::new("services[0].routes[0]", "must set one of");
        whole.entity = true;
        let (flat, rest) = flatten(
            &[
                Problem::new("_format_version", "required field missing"),
                Problem::new("services[0].port", "expected an integer"),
                Problem::new("services[0].host", "required field missing"),
                whole,
                Problem::new("plugins[0].config.bad", "unknown field"),
            ],
            text,
        );
        assert_eq!(rest.len(), 1);
        assert_eq!(
            flat[0],
            json!({"entity_type": "service", "entity_name": "s", "entity_tags": ["t"],
                "entity": {"name": "s", "tags": ["t"], "port": "x"},
                "errors": [
                    {"field": "port", "message": "expected an integer", "type": "field"},
                    {"field": "host", "message": "required field missing", "type": "field"}]})
        );
        assert_eq!(flat[1]["errors"], json!([{"message": "must set one of", "type": "entity"}]));
        assert_eq!(flat[2]["errors"][0]["field"], "config.bad");
        assert!(!Value::from(flat).to_string().contains("Bearer key"));
    }
}
