//! The rules that span several fields of a record: Kong's entity checks.
//!
//! A rule that touches a field which holds a `{vault://…}` reference does not run: what the field
//! will hold is not known yet.

use super::problems::Problems;
use super::schema::{Conditional, Match, Record, Rule};
use super::vault;
use serde_json::Value;

/// Runs a record's rules over its value.
pub fn run(record: &Record, value: &Value, out: &mut Problems<'_>) {
    for rule in &record.rules {
        apply(rule, record, value, out);
    }
}

/// Runs one rule; `record` tells which fields may hold references.
pub fn apply(rule: &Rule, record: &Record, value: &Value, out: &mut Problems<'_>) {
    let deferred = |names: &[&str]| names.iter().any(|name| is_deferred(record, value, name));
    let set = |names: &[&str]| names.iter().filter(|name| is_set(get(value, name))).count();
    match rule {
        Rule::AllOrNone(names) => {
            if !deferred(names) && !matches!(set(names), 0) && set(names) != names.len() {
                out.push_entity(format!("all or none of these fields must be set: {}", quoted(names)));
            }
        }
        Rule::AtLeastOneNonEmpty(names) => {
            if set(names) == 0 {
                out.push_entity(format!("at least one of these fields must be non-empty: {}", quoted(names)));
            }
        }
        Rule::ExactlyOneNonEmpty(names) => {
            if !deferred(names) && set(names) != 1 {
                out.push_entity(format!("exactly one of these fields must be non-empty: {}", quoted(names)));
            }
        }
        Rule::Conditional(rule) => {
            if !deferred(&[rule.when, rule.then]) {
                conditional(rule, value, out);
            }
        }
        Rule::Check(check) => {
            let since = out.count();
            check(value, out);
            out.mark_entity(since);
        }
    }
}

/// The value at a dotted path.
pub fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| value.get(step))
}

/// Names as Kong lists them: `'a', 'b'`.
pub fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    names.join(", ")
}

/// Whether a value is more than `null`, `""`, `[]` or `{}`.
pub fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(_) => true,
    }
}

fn is_deferred(record: &Record, value: &Value, path: &str) -> bool {
    record.find(path).is_some_and(|field| field.referenceable)
        && get(value, path).and_then(Value::as_str).is_some_and(vault::is_reference)
}

fn conditional(rule: &Conditional, value: &Value, out: &mut Problems<'_>) {
    let when = get(value, rule.when);
    let then = get(value, rule.then);
    if when.is_none() || !matches(rule.is, when) || matches(rule.must, then) {
        return;
    }
    out.at(rule.then).push(demand(rule.must));
    out.push_entity(rule.message.map_or_else(
        || format!("failed conditional validation given value of field '{}'", rule.when),
        ToOwned::to_owned,
    ));
}

fn matches(condition: Match, value: Option<&Value>) -> bool {
    let text = value.and_then(Value::as_str);
    match condition {
        Match::Text(word) => text == Some(word),
        Match::NoneOf(words) => text.is_some_and(|text| !words.contains(&text)),
        Match::Truth(truth) => value.and_then(Value::as_bool) == Some(truth),
        Match::Set => value.is_some(),
        Match::Unset => value.is_none(),
    }
}

fn demand(condition: Match) -> String {
    match condition {
        Match::Text(word) => format!("value must be {word}"),
        Match::NoneOf(words) => format!("must not be one of: {}", words.join(", ")),
        Match::Truth(truth) => format!("value must be {truth}"),
        Match::Set => "required field missing".to_owned(),
        Match::Unset => "value must be null".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Field;
    use serde_json::json;

    fn run_one(rule: Rule, value: &Value) -> Vec<String> {
        let inner = Record::new(vec![Field::text("x").referenceable(), Field::text("y")]);
        let record = Record::new(vec![Field::record("in", inner), Field::boolean("on")]).rules(vec![rule]);
        let mut list = Vec::new();
        run(&record, value, &mut Problems::new(&mut list).at("config"));
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_or_none_waits_for_references() {
        let rule = || Rule::AllOrNone(&["in.x", "in.y"]);
        assert_eq!(
            run_one(rule(), &json!({"in": {"x": "a"}})),
            ["config: all or none of these fields must be set: 'in.x', 'in.y'"]
        );
        assert!(run_one(rule(), &json!({"in": {"x": "{vault://env/a}"}})).is_empty());
        assert_eq!(
            run_one(rule(), &json!({"in": {"y": "{vault://env/a}"}})).len(),
            1,
            "y holds no references"
        );
        assert!(run_one(rule(), &json!({"in": {"x": "a", "y": "b"}})).is_empty());
        assert!(run_one(rule(), &json!({})).is_empty());
    }

    #[test]
    fn a_condition_names_both_fields() {
        let rule = || {
            Rule::Conditional(Conditional {
                when: "in.y",
                is: Match::Text("b"),
                then: "on",
                must: Match::Truth(false),
                message: None,
            })
        };
        assert_eq!(
            run_one(rule(), &json!({"in": {"y": "b"}, "on": true})),
            [
                "config.on: value must be false",
                "config: failed conditional validation given value of field 'in.y'"
            ]
        );
        assert!(run_one(rule(), &json!({"in": {"y": "c"}, "on": true})).is_empty());
        assert!(run_one(rule(), &json!({"in": {"y": "b"}, "on": false})).is_empty());
    }

    #[test]
    fn exactly_one_counts() {
        let rule = || Rule::ExactlyOneNonEmpty(&["in.x", "in.y"]);
        assert_eq!(run_one(rule(), &json!({})).len(), 1);
        assert_eq!(run_one(rule(), &json!({"in": {"x": "a", "y": "b"}})).len(), 1);
        assert!(run_one(rule(), &json!({"in": {"x": "a", "y": ""}})).is_empty());
    }
}
