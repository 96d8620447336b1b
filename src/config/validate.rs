//! The engine behind `schema`: checks a value in place, fills its defaults, words what is wrong.
//!
//! `null` counts as absent and is dropped, so that what passed holds every default and no `null`.
//! Nothing stops at the first problem.

use super::problems::Problems;
use super::rules;
use super::schema::{Field, Kind, Record};
use super::vault;
use serde_json::{Map, Value};

/// Checks a record's value and fills it.
pub fn validate(record: &Record, value: &mut Value, out: &mut Problems<'_>) {
    // KONG(db/schema/init.lua): an empty Lua table is both; `config: []` comes from such exports.
    if value.as_array().is_some_and(Vec::is_empty) {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else {
        out.push("expected a record");
        return;
    };
    let spelled = expand_shorthands(record, map, out);
    for name in map.keys() {
        if record.field(name).is_none() {
            out.at(name).push("unknown field");
        }
    }
    for field in &record.fields {
        if !matches!(field.kind, Kind::Shorthand { .. }) {
            check_field(field, spelled, map, out);
        }
    }
    rules::run(record, value, out);
}

/// Whether all of them could be spelled out.
fn expand_shorthands(record: &Record, map: &mut Map<String, Value>, out: &mut Problems<'_>) -> bool {
    let before = out.count();
    for field in &record.fields {
        let Kind::Shorthand { of, expand } = &field.kind else { continue };
        // `shift_remove` keeps the order of the others.
        let Some(mut value) = map.shift_remove(field.name).filter(|value| !value.is_null()) else { continue };
        let out = &mut out.at(field.name);
        let since = out.count();
        check_kind(of, field.referenceable, &mut value, out);
        if out.count() == since
            && let Err(message) = expand(field.name, value, map)
        {
            out.push(message);
        }
    }
    out.count() == before
}

/// What a shorthand would have set is not missing if the shorthand is wrong (not `spelled`).
fn check_field(field: &Field, spelled: bool, map: &mut Map<String, Value>, out: &mut Problems<'_>) {
    if map.get(field.name).is_some_and(Value::is_null) {
        map.shift_remove(field.name);
    }
    if let Some(value) = map.get_mut(field.name) {
        return check_kind(&field.kind, field.referenceable, value, &mut out.at(field.name));
    }
    if let Some(default) = &field.default {
        map.insert(field.name.to_owned(), default.clone());
    } else if field.required && (spelled || matches!(field.kind, Kind::Record(_))) {
        let out = &mut out.at(field.name);
        match &field.kind {
            Kind::Record(record) => match filled(record, out) {
                Some(value) => drop(map.insert(field.name.to_owned(), value)),
                None => out.push("required field missing"),
            },
            _ => out.push("required field missing"),
        }
    }
}

/// The record with nothing but defaults, if it needs nothing else.
fn filled(record: &Record, out: &mut Problems<'_>) -> Option<Value> {
    let since = out.count();
    let mut value = Value::Object(Map::new());
    validate(record, &mut value, out);
    let complete = out.count() == since;
    out.retain(since, |_| false);
    complete.then_some(value)
}

fn check_kind(kind: &Kind, referenceable: bool, value: &mut Value, out: &mut Problems<'_>) {
    match kind {
        Kind::Text { .. } => match value.as_str() {
            Some(text) if referenceable && vault::is_reference(text) => {
                if let Err(message) = vault::parse(text) {
                    out.push(message);
                }
            }
            Some(text) => check_text(kind, text, out),
            None => out.push("expected a string"),
        },
        Kind::Integer { .. } => check_integer(kind, value, out),
        Kind::Number { min, max, above } => match value.as_f64() {
            Some(number) => check_number(number, (*min, *max), *above, out),
            None => out.push("expected a number"),
        },
        Kind::Boolean => {
            if !value.is_boolean() {
                out.push("expected a boolean");
            }
        }
        Kind::Record(record) => validate(record, value, out),
        Kind::List { of, unique, min, max } => check_list(of, *unique, (*min, *max), value, out),
        Kind::Map { of, key } => check_map(of, *key, value, out),
        Kind::Shorthand { of, .. } => check_kind(of, referenceable, value, out),
        // What it refers to is settled before (`references`), where the other entities are known.
        Kind::Foreign(_) if value.is_string() || value.is_object() => {}
        Kind::Foreign(_) => out.push("expected a string"),
        Kind::Any => {}
    }
}

fn check_text(kind: &Kind, text: &str, out: &mut Problems<'_>) {
    let Kind::Text { min, max, one_of, check } = kind else { return };
    if !one_of.is_empty() {
        if !one_of.contains(&text) {
            out.push(format!("expected one of: {}", one_of.join(", ")));
        }
        return;
    }
    // KONG(db/schema/init.lua): counts bytes, which halves the room of most of the world's writing.
    if !check_length(text.chars().count(), (*min, *max), out) {
        return;
    }
    if let Some(Err(message)) = check.map(|check| check(text)) {
        out.push(message);
    }
}

fn check_length(length: usize, (min, max): (usize, usize), out: &mut Problems<'_>) -> bool {
    if length < min {
        out.push(format!("length must be at least {min}"));
    } else if length > max {
        out.push(format!("length must be at most {max}"));
    }
    (min..=max).contains(&length)
}

fn check_integer(kind: &Kind, value: &mut Value, out: &mut Problems<'_>) {
    let Kind::Integer { min, max, above, one_of } = kind else { return };
    let Some(integer) = whole(value) else {
        out.push("expected an integer");
        return;
    };
    *value = integer.into();
    if !one_of.is_empty() {
        if !one_of.contains(&integer) {
            let words: Vec<String> = one_of.iter().map(ToString::to_string).collect();
            out.push(format!("expected one of: {}", words.join(", ")));
        }
    } else if let Some(above) = above.filter(|above| integer <= *above) {
        out.push(format!("value must be greater than {above}"));
    } else if !(*min..=*max).contains(&integer) {
        out.push(format!("value should be between {min} and {max}"));
    }
}

/// The integer that a number is, also if written with a fraction of zero.
fn whole(value: &Value) -> Option<i64> {
    // Beyond 2^53 a float no longer says which integer it is.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(integer) = value.as_i64() {
        return Some(integer);
    }
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded and whole")]
    Some(number as i64)
}

fn check_number(number: f64, (min, max): (f64, f64), above: Option<f64>, out: &mut Problems<'_>) {
    if let Some(above) = above.filter(|above| number <= *above) {
        out.push(format!("value must be greater than {above}"));
    } else if !(min..=max).contains(&number) {
        out.push(format!("value should be between {min} and {max}"));
    }
}

fn check_list(of: &Kind, unique: bool, bounds: (usize, usize), value: &mut Value, out: &mut Problems<'_>) {
    if value.as_object().is_some_and(Map::is_empty) {
        *value = Value::Array(Vec::new());
    }
    let Value::Array(items) = value else {
        out.push(if unique { "expected a set" } else { "expected an array" });
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        let out = &mut out.item(index);
        if item.is_null() {
            out.push("required field missing");
        } else {
            check_kind(of, false, item, out);
        }
    }
    if unique {
        let mut seen: Vec<Value> = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            if !seen.contains(&item) {
                seen.push(item);
            }
        }
        *items = seen;
    }
    check_length(items.len(), bounds, out);
}

fn check_map(of: &Kind, key: Option<super::schema::TextCheck>, value: &mut Value, out: &mut Problems<'_>) {
    if value.as_array().is_some_and(Vec::is_empty) {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else {
        out.push("expected a map");
        return;
    };
    for (name, value) in map {
        if let Some(Err(message)) = key.map(|check| check(name)) {
            out.push(message);
        }
        let out = &mut out.at(name);
        if value.is_null() {
            out.push("required field missing");
        } else {
            check_kind(of, false, value, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(record: &Record, mut value: Value) -> (Value, Vec<String>) {
        let mut list = Vec::new();
        validate(record, &mut value, &mut Problems::new(&mut list));
        (value, list.iter().map(ToString::to_string).collect())
    }

    fn sample() -> Record {
        Record::new(vec![
            Field::text("name").required(),
            Field::integer("port", 0, 9).default(5),
            Field::number("heat", 0.0, 5.0),
            Field::above("cost", 0.0),
            Field::new("tags", Kind::text().set()),
            Field::record("inner", Record::new(vec![Field::flag("on", true)])).required(),
            Field::record("other", Record::new(vec![Field::flag("on", true)])),
        ])
    }

    #[test]
    fn fills_defaults_of_what_is_required_and_drops_nulls() {
        let (value, problems) = run(&sample(), json!({"name": "a", "heat": null, "port": null}));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(value, json!({"name": "a", "port": 5, "inner": {"on": true}}));
    }

    #[test]
    fn reports_everything_at_once() {
        let value = json!({"port": 10, "heat": 5.1, "cost": 0, "tags": "x", "inner": {"on": "yes"}, "z": 1});
        assert_eq!(
            run(&sample(), value).1,
            [
                "z: unknown field",
                "name: required field missing",
                "port: value should be between 0 and 9",
                "heat: value should be between 0 and 5",
                "cost: value must be greater than 0",
                "tags: expected a set",
                "inner.on: expected a boolean",
            ]
        );
    }

    #[test]
    fn takes_whole_floats_as_integers_and_nothing_else() {
        let (value, problems) = run(&sample(), json!({"name": "a", "port": 3.0}));
        assert_eq!((value["port"].as_i64(), problems.len()), (Some(3), 0));
        assert_eq!(run(&sample(), json!({"name": "a", "port": 3.5})).1, ["port: expected an integer"]);
        assert_eq!(run(&sample(), json!({"name": "a", "port": "3"})).1, ["port: expected an integer"]);
    }

    #[test]
    fn removes_repetitions_from_sets() {
        let (value, problems) = run(&sample(), json!({"name": "a", "tags": ["x", "y", "x"]}));
        assert_eq!((&value["tags"], problems.len()), (&json!(["x", "y"]), 0));
        assert_eq!(
            run(&sample(), json!({"name": "a", "tags": ["", null]})).1,
            ["tags[0]: length must be at least 1", "tags[1]: required field missing"]
        );
    }
}
