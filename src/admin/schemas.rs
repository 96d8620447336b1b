//! `/schemas/…`: what entities may hold, as Kong prints it, and a check without a change.

use super::body;
use super::fault::Fault;
use super::reply::{Answer, Flavour};
use super::{Facts, place, references};
use crate::config::check::check_entity;
use crate::config::records::{self, Collection, PLUGINS};
use crate::config::schema::{Field, Kind, Record, Rule};
use crate::plugins;
use axum::extract::{Path, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

/// `GET /schemas/{entity}`.
pub async fn entity(Path(name): Path<String>) -> Response {
    Flavour::Kong.respond(find(&name).map(|collection| answer(&(collection.record)())))
}

/// `GET /schemas/plugins/{name}`.
pub async fn plugin(Path(name): Path<String>) -> Response {
    let kind = plugins::find(&name)
        .ok_or_else(|| Fault::message(StatusCode::NOT_FOUND, format!("No plugin named '{name}'")));
    Flavour::Kong.respond(kind.map(|kind| answer(&records::plugin(kind))))
}

/// `POST /schemas/{entity}/validate`.
pub async fn validate(Shared(facts): Shared<Facts>, Path(name): Path<String>, request: Request) -> Response {
    Flavour::Kong.respond(judge(&facts, &name, request).await)
}

/// `POST /schemas/plugins/validate`.
pub async fn validate_plugin(Shared(facts): Shared<Facts>, request: Request) -> Response {
    Flavour::Kong.respond(judge(&facts, PLUGINS, request).await)
}

async fn judge(facts: &Facts, name: &str, request: Request) -> Result<Answer, Fault> {
    let collection = find(name)?;
    let (head, body) = request.into_parts();
    let args = body::read(&head.headers, body).await?;
    let mut fields = args.fields(&records::description(collection, args.text("name")))?;
    references::resolve(&facts.control.state(), collection, &mut fields)?;
    let problems = check_entity(collection, &mut fields);
    if !problems.is_empty() {
        return Err(Fault::schema(&problems));
    }
    Ok(Answer::Json(StatusCode::OK, json!({"message": "schema validation successful"})))
}

/// A collection by the name it has in paths, or in files.
fn find(name: &str) -> Result<&'static Collection, Fault> {
    let all = records::COLLECTIONS.iter();
    let mut found = all.filter(|collection| collection.name == name || place::path_name(collection) == name);
    found.next().ok_or_else(|| Fault::message(StatusCode::NOT_FOUND, format!("No entity named '{name}'")))
}

fn answer(record: &Record) -> Answer {
    Answer::Json(StatusCode::OK, describe(record))
}

/// A record: its fields, each an object with one key, and the rules that have a name in Kong.
fn describe(record: &Record) -> Value {
    let shown = |field: &&Field| !field.name.starts_with('_');
    let plain = |field: &&Field| shown(field) && !matches!(field.kind, Kind::Shorthand { .. });
    let fields: Vec<Value> = record.fields.iter().filter(plain).map(field).collect();
    let mut out = json!({"fields": fields});
    let checks: Vec<Value> = record.rules.iter().filter_map(rule).collect();
    let shorthands: Vec<Value> =
        record.fields.iter().filter(|field| !plain(field) && shown(field)).map(field).collect();
    if let Some(map) = out.as_object_mut() {
        if !checks.is_empty() {
            map.insert("entity_checks".to_owned(), checks.into());
        }
        if !shorthands.is_empty() {
            map.insert("shorthand_fields".to_owned(), shorthands.into());
        }
    }
    out
}

fn field(field: &Field) -> Value {
    let mut about = kind(&field.kind);
    let mut note = |name: &str, value: Value| drop(about.insert(name.to_owned(), value));
    if field.required {
        note("required", true.into());
    }
    if let Some(default) = &field.default {
        note("default", default.clone());
    }
    if field.referenceable {
        note("referenceable", true.into());
    }
    if field.secret {
        note("encrypted", true.into());
    }
    if !field.doc.is_empty() {
        note("description", field.doc.into());
    }
    json!({field.name: about})
}

fn kind(kind: &Kind) -> Map<String, Value> {
    let about = match kind {
        Kind::Text { one_of, .. } if !one_of.is_empty() => json!({"type": "string", "one_of": one_of}),
        Kind::Text { min, max, .. } => lengths(json!({"type": "string"}), *min, *max, 1),
        Kind::Integer { one_of, .. } if !one_of.is_empty() => json!({"type": "integer", "one_of": one_of}),
        Kind::Integer { min: i64::MIN, max: i64::MAX, above, .. } => {
            above_of(json!({"type": "integer"}), above.map(Value::from))
        }
        Kind::Integer { min, max, above, .. } => {
            above_of(json!({"type": "integer", "between": [min, max]}), above.map(Value::from))
        }
        Kind::Number { min, max, above } => {
            let bounded = *min > f64::MIN && *max < f64::MAX;
            let about = if bounded {
                json!({"type": "number", "between": [min, max]})
            } else {
                json!({"type": "number"})
            };
            above_of(about, above.map(Value::from))
        }
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Record(record) => {
            let mut about = describe(record);
            if let Some(map) = about.as_object_mut() {
                map.insert("type".to_owned(), "record".into());
            }
            about
        }
        Kind::List { of, unique, min, max } => {
            let name = if *unique { "set" } else { "array" };
            lengths(json!({"type": name, "elements": self::kind(of)}), *min, *max, 0)
        }
        Kind::Map { of, .. } => json!({"type": "map", "keys": {"type": "string"}, "values": self::kind(of)}),
        Kind::Foreign(to) => json!({"type": "foreign", "reference": to}),
        Kind::Any => json!({"type": "any"}),
        Kind::Shorthand { of, .. } => Value::Object(self::kind(of)),
    };
    if let Value::Object(map) = about { map } else { Map::new() }
}

fn above_of(mut about: Value, above: Option<Value>) -> Value {
    if let (Some(map), Some(above)) = (about.as_object_mut(), above) {
        map.insert("gt".to_owned(), above);
    }
    about
}

/// Bounds of a length, where they say more than what goes without saying.
fn lengths(mut about: Value, min: usize, max: usize, usual: usize) -> Value {
    if let Some(map) = about.as_object_mut() {
        if min != usual {
            map.insert("len_min".to_owned(), min.into());
        }
        if max != usize::MAX {
            map.insert("len_max".to_owned(), max.into());
        }
    }
    about
}

fn rule(rule: &Rule) -> Option<Value> {
    match rule {
        Rule::AllOrNone(names) => Some(json!({"all_or_none_of": names})),
        Rule::AtLeastOneNonEmpty(names) => Some(json!({"at_least_one_of": names})),
        Rule::ExactlyOneNonEmpty(names) => Some(json!({"only_one_of": names})),
        Rule::Conditional(rule) => Some(
            json!({"conditional": {"if_field": rule.when, "then_field": rule.then, "then_err": rule.message}}),
        ),
        Rule::Check(_) => None,
    }
}
