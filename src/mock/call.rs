//! Tool calls: which tool a request demands, and arguments that fit its schema.

use super::reply::Refusal;
use crate::meter::estimate;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Schemas may refer to themselves; below this depth only `null` is written.
const DEEPEST: usize = 8;

/// A call of a tool.
#[derive(Debug)]
pub struct ToolCall {
    pub name: String,
    pub arguments: Value,
}

#[derive(Deserialize)]
struct Tool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Value,
}

impl ToolCall {
    /// The call that the request demands; `None` if it leaves the choice to the model, which never calls.
    pub fn demanded(
        tools: Option<&RawValue>,
        choice: Option<&RawValue>,
        question: &str,
    ) -> Result<Option<Self>, Refusal> {
        let choice: Value =
            choice.and_then(|choice| serde_json::from_str(choice.get()).ok()).unwrap_or_default();
        let named = match &choice {
            Value::Null => return Ok(None),
            Value::String(word) if word == "auto" || word == "none" => return Ok(None),
            Value::String(word) if word == "required" || word == "any" => None,
            Value::Object(choice) => {
                choice.get("function").and_then(|function| function.get("name")?.as_str())
            }
            _ => {
                return Err(Refusal::field(
                    "tool_choice",
                    "'tool_choice' must be none, auto, required or a function",
                ));
            }
        };
        let tools: Vec<Tool> = match tools {
            Some(tools) => serde_json::from_str(tools.get())
                .map_err(|_| Refusal::field("tools", "each of 'tools' must be a function with a name"))?,
            None => Vec::new(),
        };
        let mut wanted = tools
            .into_iter()
            .map(|tool| tool.function)
            .filter(|tool| named.is_none_or(|name| name == tool.name));
        let Function { name, parameters } = wanted.next().ok_or_else(|| {
            Refusal::field("tool_choice", "'tool_choice' demands a tool that 'tools' does not have")
        })?;
        Ok(Some(Self { name, arguments: example(&parameters, question, 0) }))
    }

    /// The arguments as OpenAI writes them.
    pub fn json(&self) -> String {
        self.arguments.to_string()
    }

    /// What it counts as.
    pub fn tokens(&self) -> u64 {
        estimate::tokens(&self.name) + estimate::tokens(&self.json())
    }
}

/// A value that fits the schema, as far as a guess can.
fn example(schema: &Value, question: &str, depth: usize) -> Value {
    let field = |name: &str| schema.get(name);
    let given = field("const")
        .or_else(|| field("default"))
        .or_else(|| field("enum")?.get(0))
        .or_else(|| field("examples")?.get(0));
    if let Some(value) = given {
        return value.clone();
    }
    if depth >= DEEPEST {
        return Value::Null;
    }
    if let Some(schema) = ["anyOf", "oneOf", "allOf"].iter().find_map(|name| field(name)?.get(0)) {
        return example(schema, question, depth + 1);
    }
    let kind = field("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind {
        Some("string") => text(field("format").and_then(Value::as_str), question).into(),
        Some("integer" | "number") => field("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => true.into(),
        Some("array") => match field("items") {
            Some(items) => vec![example(items, question, depth + 1)].into(),
            None => Value::Array(Vec::new()),
        },
        Some("null") => Value::Null,
        _ => object(schema, question, depth),
    }
}

/// The required properties, or all if none is.
fn object(schema: &Value, question: &str, depth: usize) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array).filter(|required| !required.is_empty());
    let wanted = |name: &str| required.is_none_or(|required| required.iter().any(|one| one == name));
    let filled: Map<_, _> = properties
        .into_iter()
        .flatten()
        .filter(|(name, _)| wanted(name))
        .map(|(name, schema)| (name.clone(), example(schema, question, depth + 1)))
        .collect();
    filled.into()
}

fn text<'a>(format: Option<&str>, question: &'a str) -> &'a str {
    match format {
        Some("date") => "2025-01-31",
        Some("time") => "12:00:00Z",
        Some("date-time") => "2025-01-31T12:00:00Z",
        Some("email") => "someone@example.com",
        Some("uri" | "url") => "https://example.com/",
        Some("uuid") => "6f1c2f0e-7a35-4b55-9d3e-0c8a4f1b2d3e",
        _ if question.is_empty() => "example",
        _ => question.char_indices().nth(60).and_then(|(end, _)| question.get(..end)).unwrap_or(question),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn demanded(choice: &Value) -> Result<Option<ToolCall>, Refusal> {
        let properties = json!({
            "city": {"type": "string"}, "unit": {"enum": ["C", "F"]}, "days": {"type": "integer", "minimum": 3}
        });
        let parameters = json!({"type": "object", "required": ["city", "days"], "properties": properties});
        let tools = json!([
            {"type": "function", "function": {"name": "now"}},
            {"type": "function", "function": {"name": "weather", "parameters": parameters}}
        ]);
        let raw = |value: &Value| serde_json::value::to_raw_value(value).unwrap();
        ToolCall::demanded(Some(&raw(&tools)), Some(&raw(choice)), "Kyoto")
    }

    #[test]
    fn only_a_demand_makes_a_call() {
        for choice in [json!("auto"), json!("none"), json!(null)] {
            assert!(demanded(&choice).unwrap().is_none(), "{choice}");
        }
        assert_eq!(demanded(&json!("required")).unwrap().unwrap().name, "now");
        for choice in
            [json!("sometimes"), json!(3), json!({"type": "function", "function": {"name": "other"}})]
        {
            assert_eq!(demanded(&choice).unwrap_err().param, Some("tool_choice"), "{choice}");
        }
    }

    #[test]
    fn arguments_fit_the_schema() {
        let call = demanded(&json!({"type": "function", "function": {"name": "weather"}})).unwrap().unwrap();
        assert_eq!(call.arguments, json!({"city": "Kyoto", "days": 3}));
        assert_eq!(call.json(), r#"{"city":"Kyoto","days":3}"#);
        let schema = json!({"properties": {
            "at": {"type": ["string", "null"], "format": "date"},
            "list": {"type": "array", "items": {"type": "boolean"}},
            "one": {"anyOf": [{"type": "number"}]}, "fixed": {"const": 7}
        }});
        assert_eq!(
            example(&schema, "", 0),
            json!({"at": "2025-01-31", "list": [true], "one": 1, "fixed": 7})
        );
    }

    #[test]
    fn deep_schemas_end() {
        let deep =
            (0..100).fold(json!({"type": "string"}), |inner, _| json!({"type": "array", "items": inner}));
        assert!(example(&deep, "", 0).to_string().len() < 40);
    }
}
