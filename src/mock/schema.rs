//! Values that fit a JSON schema, as far as a guess can: `OpenAPI`'s dialect of schemas too, whose types
//! Gemini writes in capitals.

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use std::iter;

/// Schemas may refer to themselves; below this depth only `null` is written.
const DEEPEST: usize = 16;

/// A value that fits the schema. Its strings repeat the question, unless they must be something else.
pub fn example(schema: &RawValue, question: &str) -> Value {
    let root: Value = serde_json::from_str(schema.get()).unwrap_or_default();
    Guess { root: &root, question }.value(&root, 0)
}

struct Guess<'a> {
    root: &'a Value,
    question: &'a str,
}

impl Guess<'_> {
    fn value(&self, schema: &Value, depth: usize) -> Value {
        let field = |name: &str| schema.get(name);
        let given = field("const")
            .or_else(|| field("default"))
            .or_else(|| field("enum")?.get(0))
            .or_else(|| field("examples")?.get(0))
            .or_else(|| field("example"));
        if let Some(value) = given {
            return value.clone();
        }
        if depth >= DEEPEST {
            return Value::Null;
        }
        let named = field("$ref").and_then(|name| self.root.pointer(name.as_str()?.strip_prefix('#')?));
        let one = ["anyOf", "oneOf", "allOf"].iter().find_map(|name| field(name)?.get(0));
        if let Some(schema) = named.or(one) {
            return self.value(schema, depth + 1);
        }
        let kind = field("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
        match kind.unwrap_or_default().to_ascii_lowercase().as_str() {
            "string" => self.text(schema).into(),
            "integer" | "number" => number(schema),
            "boolean" => true.into(),
            "array" => self.array(schema, depth),
            "null" => Value::Null,
            _ => self.object(schema, depth),
        }
    }

    /// One element, unless there must be more or may be none.
    fn array(&self, schema: &Value, depth: usize) -> Value {
        let size =
            |name| schema.get(name).and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
        let count = size("minItems").unwrap_or(1).max(1).min(size("maxItems").unwrap_or(usize::MAX));
        let item = schema.get("items").map(|items| self.value(items, depth + 1));
        item.map_or_else(Vec::new, |item| vec![item; count]).into()
    }

    /// The required properties, or all if none is.
    fn object(&self, schema: &Value, depth: usize) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let required =
            schema.get("required").and_then(Value::as_array).filter(|required| !required.is_empty());
        let wanted = |name: &str| required.is_none_or(|required| required.iter().any(|one| one == name));
        let filled: Map<_, _> = properties
            .into_iter()
            .flatten()
            .filter(|(name, _)| wanted(name))
            .map(|(name, schema)| (name.clone(), self.value(schema, depth + 1)))
            .collect();
        filled.into()
    }

    fn text(&self, schema: &Value) -> String {
        let text = match schema.get("format").and_then(Value::as_str) {
            Some("date") => "2025-01-31",
            Some("time") => "12:00:00Z",
            Some("date-time") => "2025-01-31T12:00:00Z",
            Some("email") => "someone@example.com",
            Some("uri" | "url") => "https://example.com/",
            Some("uuid") => "6f1c2f0e-7a35-4b55-9d3e-0c8a4f1b2d3e",
            _ if self.question.is_empty() => "example",
            _ => self.question,
        };
        let size =
            |name| schema.get(name).and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
        let least = size("minLength").unwrap_or(0);
        let most = size("maxLength").unwrap_or(60.max(least));
        let missing = least.saturating_sub(text.chars().count());
        text.chars().chain(iter::repeat_n('.', missing)).take(most).collect()
    }
}

/// The least number that there may be, one, or the most.
fn number(schema: &Value) -> Value {
    let field = |name: &str| schema.get(name).and_then(Value::as_number);
    let above = |number: &Number| number.as_i64().map(|number| Number::from(number + 1));
    let least = field("minimum").cloned().or_else(|| above(field("exclusiveMinimum")?));
    let most = field("maximum").filter(|most| most.as_f64().is_some_and(|most| most < 1.0));
    let step = field("multipleOf").cloned();
    least.or_else(|| most.cloned()).or(step).unwrap_or_else(|| 1.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example_of(schema: &Value, question: &str) -> Value {
        example(&serde_json::value::to_raw_value(schema).unwrap(), question)
    }

    #[test]
    fn values_fit_the_schema() {
        let schema = json!({"properties": {
            "at": {"type": ["string", "null"], "format": "date"},
            "list": {"type": "array", "items": {"type": "boolean"}},
            "two": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            "none": {"type": "array", "items": {"type": "integer"}, "maxItems": 0},
            "one": {"anyOf": [{"type": "number"}]}, "fixed": {"const": 7},
            "below": {"type": "number", "maximum": -2}, "above": {"type": "integer", "exclusiveMinimum": 4},
            "short": {"type": "string", "maxLength": 3}, "long": {"type": "string", "minLength": 12},
            "capital": {"type": "OBJECT", "properties": {"x": {"type": "STRING"}}}
        }});
        let fitting = json!({
            "at": "2025-01-31", "list": [true], "two": [1, 1], "none": [], "one": 1, "fixed": 7,
            "below": -2, "above": 5, "short": "Whe", "long": "When is it..", "capital": {"x": "When is it"}
        });
        assert_eq!(example_of(&schema, "When is it"), fitting);
    }

    #[test]
    fn names_are_looked_up() {
        let schema = json!({
            "$defs": {"Step": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}}},
            "type": "object",
            "properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}}, "no": {"$ref": "x"}},
            "required": ["steps"]
        });
        assert_eq!(example_of(&schema, ""), json!({"steps": [{"n": 3}]}));
    }

    #[test]
    fn deep_schemas_end() {
        let deep =
            (0..100).fold(json!({"type": "string"}), |inner, _| json!({"type": "array", "items": inner}));
        assert!(example_of(&deep, "").to_string().len() < 60);
        let endless = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(example_of(&endless, "").to_string().len() < 200);
    }
}
