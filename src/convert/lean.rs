//! A checked value without what its schema would fill in again.

use super::Form;
use crate::config::schema::{Field, Kind, Record};
use serde_json::{Map, Value};

/// Leaves out defaults; `own` gets the paths of fields that had to go because Kong does not know them.
pub struct Lean<'a> {
    /// For whom it is written.
    pub form: Form,
    /// Where they are put.
    pub own: &'a mut Vec<String>,
}

impl Lean<'_> {
    /// The record's fields in the order of its schema.
    pub fn record(&mut self, record: &Record, value: &Map<String, Value>, path: &str) -> Map<String, Value> {
        let mut lean = Map::new();
        for field in &record.fields {
            let Some(value) = value.get(field.name).filter(|value| field.default.as_ref() != Some(*value))
            else {
                continue;
            };
            let path = format!("{path}.{}", field.name);
            if field.own && self.form == Form::Deck {
                self.own.push(path);
                continue;
            }
            let value = self.kind(&field.kind, value, &path);
            if !returns(field, &value) {
                lean.insert(field.name.to_owned(), value);
            }
        }
        lean
    }

    fn kind(&mut self, kind: &Kind, value: &Value, path: &str) -> Value {
        match (kind, value) {
            (Kind::Record(record), Value::Object(map)) => self.record(record, map, path).into(),
            (Kind::List { of, .. }, Value::Array(items)) => {
                let items = items.iter().enumerate();
                items.map(|(index, item)| self.kind(of, item, &format!("{path}[{index}]"))).collect()
            }
            (Kind::Map { of, .. }, Value::Object(map)) => {
                let entries = map.iter();
                let lean = entries
                    .map(|(name, value)| (name.clone(), self.kind(of, value, &format!("{path}.{name}"))));
                Value::Object(lean.collect())
            }
            (_, value) => value.clone(),
        }
    }
}

/// Whether a record of nothing but defaults comes back by itself.
fn returns(field: &Field, value: &Value) -> bool {
    let empty = value.as_object().is_some_and(Map::is_empty);
    empty && field.required && field.default.is_none() && matches!(field.kind, Kind::Record(_))
}
