//! Tool calls: which tool a request demands, and arguments that fit its schema.

use super::refusal::Refusal;
use super::request::Text;
use super::schema;
use crate::meter::estimate;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A tool that the model may call.
#[derive(Debug)]
pub struct Tool<'a> {
    /// What it is called by.
    pub name: Cow<'a, str>,
    /// What its arguments have to be.
    pub schema: Option<&'a RawValue>,
}

/// What a request says about calling.
#[derive(Debug, Default)]
pub enum Choice<'a> {
    /// The model may: the simulated one does not.
    #[default]
    Free,
    /// Any tool, but one.
    Any,
    /// This one.
    Named(Cow<'a, str>),
}

/// The tools of a request.
#[derive(Debug, Default)]
pub struct Tools<'a> {
    /// In their order.
    pub all: Vec<Tool<'a>>,
    /// Whether one is to be called.
    pub choice: Choice<'a>,
}

/// A call of a tool.
#[derive(Debug)]
pub struct ToolCall {
    /// Of the tool.
    pub name: String,
    /// That fit its schema.
    pub arguments: Value,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

impl<'a> Choice<'a> {
    /// What a word means; OpenAI's words, and those that others have for the same.
    pub fn word(word: &str) -> Option<Self> {
        match word {
            "auto" | "none" => Some(Self::Free),
            "required" | "any" => Some(Self::Any),
            _ => None,
        }
    }

    /// OpenAI's `tool_choice`.
    fn openai(choice: &'a RawValue) -> Option<Self> {
        let json = choice.get();
        match json.as_bytes().first() {
            Some(b'n') => Some(Self::Free),
            Some(b'"') => Self::word(&serde_json::from_str::<Text<'_>>(json).ok()?.0),
            _ => {
                let named: Named<'a> = serde_json::from_str(json).ok()?;
                Some(named.function.map_or(Self::Any, |function| Self::Named(function.name.0)))
            }
        }
    }
}

impl<'a> Tools<'a> {
    /// Tools and choice in OpenAI's shape.
    pub fn openai(tools: Option<&'a RawValue>, choice: Option<&'a RawValue>) -> Result<Self, Refusal> {
        let choice = choice.map_or(Some(Choice::Free), Choice::openai).ok_or_else(|| {
            Refusal::field("tool_choice", "'tool_choice' must be none, auto, required or a function")
        })?;
        Ok(Self { all: entries(tools)?, choice })
    }

    /// The call that the request demands; `None` if it leaves the choice to the model, which never calls.
    pub fn demanded(&self, question: &str) -> Result<Option<ToolCall>, Refusal> {
        let tool = match &self.choice {
            Choice::Free => return Ok(None),
            Choice::Any => self.all.first(),
            Choice::Named(name) => self.all.iter().find(|tool| tool.name == *name),
        };
        let tool = tool.ok_or_else(|| {
            Refusal::field("tool_choice", "'tool_choice' demands a tool that 'tools' does not have")
        })?;
        let arguments = match tool.schema {
            Some(schema) => schema::example(schema, question.trim()),
            None => Value::Object(serde_json::Map::new()),
        };
        Ok(Some(ToolCall { name: tool.name.clone().into_owned(), arguments }))
    }
}

fn entries<'a>(tools: Option<&'a RawValue>) -> Result<Vec<Tool<'a>>, Refusal> {
    let Some(tools) = tools else { return Ok(Vec::new()) };
    let entries: Option<Vec<Entry<'a>>> = serde_json::from_str(tools.get())
        .map_err(|_| Refusal::field("tools", "each of 'tools' must be a function with a name"))?;
    let tool = |entry: Entry<'a>| Tool { name: entry.function.name.0, schema: entry.function.parameters };
    Ok(entries.into_iter().flatten().map(tool).collect())
}

impl ToolCall {
    /// The arguments as OpenAI writes them.
    pub fn json(&self) -> String {
        self.arguments.to_string()
    }

    /// What it counts as.
    pub fn tokens(&self) -> u64 {
        estimate::tokens(&self.name) + estimate::tokens(&self.json())
    }
}

/// JSON as it is streamed, in pieces that are not JSON.
pub fn pieces(json: &str) -> impl Iterator<Item = &str> {
    json.split_inclusive([',', ':'])
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
        Tools::openai(Some(&raw(&tools)), Some(&raw(choice)))?.demanded("Kyoto")
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
        assert_eq!(pieces(&call.json()).collect::<String>(), call.json());
        assert_eq!(demanded(&json!("any")).unwrap().unwrap().json(), "{}");
    }
}
