//! An entity as the Admin API shows it: every field of its schema, `null` where nothing is set, and
//! no literal key.
//!
//! KONG(api/endpoints.lua): Kong shows keys to whoever may read. Here they are masked unless the
//! server settings say otherwise; references to a vault are shown. A mask that comes back in a write
//! stands for the key that it hid.

use crate::config::records::{self, Collection};
use crate::config::schema::{Field, Kind, Record};
use crate::config::vault::is_reference;
use crate::state::{Fields, text};
use serde_json::{Map, Value};

/// What stands in the place of a key.
pub const MASK: &str = "(masked)";

/// The description of an entity.
pub fn description(collection: &Collection, fields: &Fields) -> Record {
    records::description(collection, text(fields, "name"))
}

/// An entity as it is shown.
pub fn show(collection: &Collection, fields: &Fields, reveal: bool) -> Value {
    shown(&description(collection, fields), fields, reveal)
}

fn shown(record: &Record, fields: &Fields, reveal: bool) -> Value {
    let mut out = Map::new();
    for field in &record.fields {
        // What starts with `_` is for the readers of a file.
        if matches!(field.kind, Kind::Shorthand { .. }) || field.name.starts_with('_') {
            continue;
        }
        let value = fields.get(field.name).unwrap_or(&Value::Null);
        out.insert(field.name.to_owned(), shown_field(field, value, reveal));
    }
    Value::Object(out)
}

fn shown_field(field: &Field, value: &Value, reveal: bool) -> Value {
    if !field.secret || reveal {
        return shown_kind(&field.kind, value, reveal);
    }
    let mut value = value.clone();
    veil(&mut value);
    value
}

/// Masks every text of a secret field, which may hold several under names that are none.
fn veil(value: &mut Value) {
    match value {
        Value::String(text) if !is_reference(text) => *value = MASK.into(),
        Value::Array(items) => items.iter_mut().for_each(veil),
        Value::Object(map) => map.values_mut().for_each(veil),
        _ => {}
    }
}

fn shown_kind(kind: &Kind, value: &Value, reveal: bool) -> Value {
    match (kind, value) {
        (Kind::Record(record), Value::Object(fields)) => shown(record, fields, reveal),
        (Kind::List { of, .. }, Value::Array(items)) => {
            items.iter().map(|item| shown_kind(of, item, reveal)).collect()
        }
        (Kind::Map { of, .. }, Value::Object(map)) => {
            map.iter().map(|(name, value)| (name.clone(), shown_kind(of, value, reveal))).collect()
        }
        (Kind::Foreign(_), Value::String(id)) => serde_json::json!({"id": id}),
        _ => value.clone(),
    }
}

/// Masks the keys of an entity and leaves everything else as it is.
pub fn mask(collection: &Collection, fields: &mut Fields) {
    let record = description(collection, fields);
    let mut value = Value::Object(std::mem::take(fields));
    mask_record(&record, &mut value);
    if let Value::Object(map) = value {
        *fields = map;
    }
}

fn mask_record(record: &Record, value: &mut Value) {
    for field in &record.fields {
        let Some(slot) = value.get_mut(field.name) else { continue };
        if field.secret { veil(slot) } else { mask_kind(&field.kind, slot) }
    }
}

fn mask_kind(kind: &Kind, value: &mut Value) {
    match (kind, value) {
        (Kind::Record(record), value) => mask_record(record, value),
        (Kind::List { of, .. }, Value::Array(items)) => {
            for item in items {
                mask_kind(of, item);
            }
        }
        (Kind::Map { of, .. }, Value::Object(map)) => map.values_mut().for_each(|item| mask_kind(of, item)),
        _ => {}
    }
}

/// Puts the keys of `old` back where `new` holds the mask; both are checked. What is left masked is
/// told by its path: its key is not known.
pub fn unmask(record: &Record, new: &mut Value, old: &Value, path: &str, left: &mut Vec<String>) {
    for field in &record.fields {
        let Some(slot) = new.get_mut(field.name) else { continue };
        let before = old.get(field.name).unwrap_or(&Value::Null);
        let joint = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{joint}{}", field.name);
        if field.secret {
            unveil(slot, before, path, left);
        } else {
            unmask_kind(&field.kind, slot, before, &path, left);
        }
    }
}

/// The texts of a secret field, each from what stood under its name.
fn unveil(new: &mut Value, old: &Value, path: String, left: &mut Vec<String>) {
    match new {
        Value::String(text) if text == MASK && old.is_string() => *new = old.clone(),
        Value::String(text) if text == MASK => left.push(path),
        Value::Object(map) => {
            for (name, item) in map {
                unveil(item, old.get(name).unwrap_or(&Value::Null), format!("{path}.{name}"), left);
            }
        }
        _ => {}
    }
}

fn unmask_kind(kind: &Kind, new: &mut Value, old: &Value, path: &str, left: &mut Vec<String>) {
    match (kind, new) {
        (Kind::Record(record), new) => unmask(record, new, old, path, left),
        (Kind::List { of, .. }, Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                // An item may have moved, and a key must not go to another target than it came from:
                // only what is the same but for its keys gets them back.
                let same = old.as_array().into_iter().flatten().find(|before| {
                    let mut masked = (*before).clone();
                    mask_kind(of, &mut masked);
                    masked == *item
                });
                unmask_kind(of, item, same.unwrap_or(&Value::Null), &format!("{path}[{index}]"), left);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::records::find;
    use serde_json::json;

    fn plugin(value: &Value) -> Fields {
        let mut fields = value.as_object().unwrap().clone();
        let problems = crate::config::check::check_entity(find("plugins").unwrap(), &mut fields);
        assert!(problems.is_empty(), "{problems:?}");
        fields
    }

    fn target(name: &str, key: &str) -> Value {
        json!({"route_type": "llm/v1/chat", "auth": {"header_name": "Authorization", "header_value": key},
            "model": {"provider": "openai", "name": name}})
    }

    fn balanced(targets: &[Value]) -> Fields {
        plugin(&json!({"name": "ai-proxy-advanced", "config": {"targets": targets}}))
    }

    #[test]
    fn keys_are_masked_and_references_are_not() {
        let collection = find("plugins").unwrap();
        let fields = balanced(&[target("a", "Bearer 1"), target("b", "{vault://env/key}")]);
        let shown = show(collection, &fields, false);
        let auth = |index: usize| shown["config"]["targets"][index]["auth"].clone();
        assert_eq!(auth(0)["header_value"], MASK);
        assert_eq!(auth(0)["header_name"], "Authorization");
        assert_eq!(auth(1)["header_value"], "{vault://env/key}");
        assert_eq!(shown["route"], Value::Null);
        assert!(shown.get("_comment").is_none() && shown.get("tags").is_some_and(Value::is_null));
        assert!(show(collection, &fields, true).to_string().contains("Bearer 1"));
    }

    #[test]
    fn secrets_under_names_are_masked_and_put_back_one_by_one() {
        let log = |headers: Value| {
            plugin(
                &json!({"name": "http-log", "config": {"http_endpoint": "http://h.test", "headers": headers}}),
            )
        };
        let collection = find("plugins").unwrap();
        let old = log(json!({"X-Key": "s3cret", "X-Other": "other"}));
        let mut masked = old.clone();
        mask(collection, &mut masked);
        for shown in [show(collection, &old, false), Value::Object(masked)] {
            assert_eq!(shown["config"]["headers"], json!({"X-Key": MASK, "X-Other": MASK}));
        }
        assert_eq!(show(collection, &old, true)["config"]["headers"]["X-Key"], "s3cret");
        let record = description(collection, &old);
        let mut new = Value::Object(log(json!({"X-Key": MASK, "X-Other": "new", "X-More": MASK})));
        let mut left = Vec::new();
        unmask(&record, &mut new, &Value::Object(old), "", &mut left);
        let headers = &new["config"]["headers"];
        assert_eq!((&headers["X-Key"], &headers["X-Other"]), (&json!("s3cret"), &json!("new")));
        assert_eq!(left, ["config.headers.X-More"]);
    }

    #[test]
    fn a_mask_that_comes_back_is_the_key_that_it_hid_and_no_other() {
        let old = balanced(&[target("a", "Bearer 1"), target("b", "Bearer 2")]);
        let swapped = balanced(&[target("b", MASK), target("a", MASK), target("c", MASK)]);
        let record = description(find("plugins").unwrap(), &old);
        let mut new = Value::Object(swapped);
        let mut left = Vec::new();
        unmask(&record, &mut new, &Value::Object(old), "", &mut left);
        let key = |index: usize| new["config"]["targets"][index]["auth"]["header_value"].clone();
        assert_eq!((key(0), key(1)), ("Bearer 2".into(), "Bearer 1".into()));
        assert_eq!(left, ["config.targets[2].auth.header_value"]);
    }
}
