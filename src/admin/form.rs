//! Forms as trees: `config.targets[1].model.name=x`, `paths[]=/a`. A form knows only texts; what they
//! are is told by the schema of the entity.

use crate::config::schema::{Kind, Record};
use serde_json::{Map, Value};

/// Lists in a form may not be longer: an index is an allocation.
const LONGEST: usize = 1000;

/// Items that a form may leave out of its lists, all together: each is an allocation that it does not pay for.
const GAPS: usize = 1000;

/// How deep a name may lead: trees are walked by recursion. No entity is half as deep.
const DEEPEST: usize = 64;

enum Step<'a> {
    Field(&'a str),
    /// From 0.
    Item(usize),
    /// One more at the end.
    Next,
}

/// The tree of a form's pairs; every value is a text. An error names the field that makes no sense.
pub fn tree(pairs: &[(String, String)]) -> Result<Map<String, Value>, String> {
    let mut root = Value::Object(Map::new());
    let mut gaps = GAPS;
    for (name, text) in pairs {
        let path = steps(name).ok_or_else(|| format!("'{}' is not the name of a field", shown(name)))?;
        let fits = put(&mut root, &path, text, &mut gaps);
        fits.ok_or_else(|| format!("'{}' does not fit the fields before it", shown(name)))?;
    }
    match root {
        Value::Object(map) => Ok(map),
        _ => Err("expected fields".to_owned()),
    }
}

/// So much of a name as an error may repeat.
fn shown(name: &str) -> &str {
    name.char_indices().nth(100).and_then(|(at, _)| name.get(..at)).unwrap_or(name)
}

fn steps(name: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    if name.bytes().filter(|byte| b".[".contains(byte)).count() >= DEEPEST {
        return None;
    }
    for part in name.split('.') {
        let mut pieces = part.split('[');
        match pieces.next() {
            Some(field) if !field.is_empty() => steps.push(Step::Field(field)),
            _ => return None,
        }
        for piece in pieces {
            let inner = piece.strip_suffix(']')?;
            steps.push(match inner.parse::<usize>() {
                Ok(index) => Step::Item(index.checked_sub(1).filter(|index| *index < LONGEST)?),
                Err(_) if inner.is_empty() => Step::Next,
                Err(_) => Step::Field(inner),
            });
        }
    }
    Some(steps)
}

fn put(at: &mut Value, path: &[Step<'_>], text: &str, gaps: &mut usize) -> Option<()> {
    let Some((step, rest)) = path.split_first() else {
        return set(at, text);
    };
    match step {
        Step::Field(name) => {
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
            put(at.as_object_mut()?.entry((*name).to_owned()).or_insert(Value::Null), rest, text, gaps)
        }
        Step::Item(_) | Step::Next => {
            if at.is_null() {
                *at = Value::Array(Vec::new());
            }
            let list = at.as_array_mut()?;
            let index = if let Step::Item(index) = step { *index } else { list.len() };
            *gaps = gaps.checked_sub(index.saturating_sub(list.len()))?;
            while list.len() <= index {
                list.push(Value::Null);
            }
            put(list.get_mut(index)?, rest, text, gaps)
        }
    }
}

/// A name that occurs twice is a list.
fn set(at: &mut Value, text: &str) -> Option<()> {
    match at {
        Value::Null => *at = text.into(),
        Value::String(first) => *at = vec![std::mem::take(first), text.to_owned()].into(),
        Value::Array(list) => list.push(text.into()),
        _ => return None,
    }
    Some(())
}

/// Makes of the texts what the schema says they are. What does not fit stays a text, for the schema
/// to refuse.
pub fn infer(record: &Record, fields: &mut Map<String, Value>) {
    for field in &record.fields {
        if let Some(value) = fields.get_mut(field.name) {
            infer_kind(&field.kind, value);
        }
    }
}

fn infer_kind(kind: &Kind, value: &mut Value) {
    if value.as_str() == Some("") {
        *value = Value::Null;
        return;
    }
    match (kind, value) {
        (Kind::Integer { .. } | Kind::Number { .. }, value) => {
            let number = value.as_str().and_then(|text| text.parse::<serde_json::Number>().ok());
            if let Some(number) = number {
                *value = number.into();
            }
        }
        (Kind::Boolean, value) => match value.as_str() {
            Some("true") => *value = true.into(),
            Some("false") => *value = false.into(),
            _ => {}
        },
        (Kind::Record(record), Value::Object(map)) => infer(record, map),
        (Kind::Map { of, .. }, Value::Object(map)) => map.values_mut().for_each(|item| infer_kind(of, item)),
        (Kind::List { of, .. }, value) => {
            if value.is_string() {
                *value = vec![value.take()].into();
            }
            value.as_array_mut().into_iter().flatten().for_each(|item| infer_kind(of, item));
        }
        (Kind::Shorthand { of, .. }, value) => infer_kind(of, value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Field;
    use serde_json::json;

    fn read(form: &str) -> Result<Value, String> {
        let pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        tree(&pairs).map(Value::Object)
    }

    #[test]
    fn names_are_paths() {
        assert_eq!(
            read("config.targets[1].model.name=a&config.targets%5B2%5D.model.name=b&paths[]=/x&paths[]=/y")
                .unwrap(),
            json!({"config": {"targets": [{"model": {"name": "a"}}, {"model": {"name": "b"}}]},
                "paths": ["/x", "/y"]})
        );
        assert_eq!(read("tags=a&tags=b&tags=c").unwrap(), json!({"tags": ["a", "b", "c"]}));
        assert_eq!(read("headers[x-a][]=1").unwrap(), json!({"headers": {"x-a": ["1"]}}));
        assert_eq!(read("a[3]=1").unwrap(), json!({"a": [null, null, "1"]}));
        for bad in ["a.=1", "=1", "a[=1", "a[0]=1", "a[5000]=1", "a=1&a.b=2", "a[]=1&a.b=2"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_small_form_makes_no_large_tree() {
        let deep = format!("a{}=1", ".a".repeat(1_000_000));
        assert!(read(&deep).unwrap_err().len() < 200);
        assert!(read(&format!("a{}=1", "[a]".repeat(100_000))).is_err());
        assert!(read("a[900]=1").is_ok());
        assert!(read("a[900][900]=1").is_err());
        assert!(read("a[900]=1&b[900]=1").is_err());
        assert!(read(&format!("a{}=1", ".a".repeat(60))).is_ok());
    }

    #[test]
    fn types_are_those_of_the_schema() {
        let record = Record::new(vec![
            Field::text("text"),
            Field::integer("port", 0, 9),
            Field::number("heat", 0.0, 1.0),
            Field::boolean("on"),
            Field::list("list", Kind::integer()),
            Field::record("inner", Record::new(vec![Field::boolean("on")])),
        ]);
        let mut fields = read("text=5&port=5&heat=0.5&on=true&list=1&list=2&inner.on=false&other=7").unwrap();
        infer(&record, fields.as_object_mut().unwrap());
        assert_eq!(
            fields,
            json!({"text": "5", "port": 5, "heat": 0.5, "on": true, "list": [1, 2],
                "inner": {"on": false}, "other": "7"})
        );
        let mut fields = read("text=&port=five&list=3").unwrap();
        infer(&record, fields.as_object_mut().unwrap());
        assert_eq!(fields, json!({"text": null, "port": "five", "list": [3]}));
    }
}
