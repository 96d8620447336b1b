//! Tools and the choice among them.

use crate::error::{Error, Result};
use crate::wire::chat::lenient::Text;
use crate::wire::doc::Doc;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// `toolConfig`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'a> {
    tools: Vec<Listed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Listed<'a> {
    ToolSpec(Spec<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    input_schema: Schema<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Schema<'a> {
    Json(&'a RawValue),
    /// A tool that takes nothing.
    #[serde(rename = "json")]
    None(Nothing),
}

#[derive(Serialize)]
struct Nothing {
    #[serde(rename = "type")]
    kind: &'static str,
    properties: Empty,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Choice<'a> {
    Auto(Empty),
    Any(Empty),
    Tool(Named<'a>),
}

#[derive(Serialize)]
struct Named<'a> {
    name: Cow<'a, str>,
}

/// What OpenAI's clients write.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Tool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
}

/// The tools of a request, in whose messages some were `used`.
pub(super) fn config(doc: &Doc, used: bool) -> Result<Option<ToolConfig<'_>>> {
    let tools: Vec<Tool<'_>> = doc.field("tools")?.unwrap_or_default();
    let (forbidden, tool_choice) = choice(doc)?;
    // Converse cannot forbid tools. To name none does, but not where messages hold some.
    if tools.is_empty() || (forbidden && !used) {
        return Ok(None);
    }
    let tools = tools.into_iter().map(listed).collect::<Result<_>>()?;
    Ok(Some(ToolConfig { tools, tool_choice }))
}

fn listed(tool: Tool<'_>) -> Result<Listed<'_>> {
    let Some(function) = tool.function else {
        let kind = tool.kind.as_deref().unwrap_or_default();
        return Err(Error::bad_request(format!("cannot transform tool of type '{kind}' to Bedrock format")));
    };
    let nothing = Nothing { kind: "object", properties: Empty {} };
    Ok(Listed::ToolSpec(Spec {
        name: function.name.0,
        // Converse refuses one that is empty.
        description: function.description.map(|text| text.0).filter(|text| !text.is_empty()),
        input_schema: function.parameters.map_or(Schema::None(nothing), Schema::Json),
    }))
}

/// Whether tools are forbidden, and which are wanted.
///
// KONG(llm/drivers/bedrock.lua): Kong loses `tool_choice`.
fn choice(doc: &Doc) -> Result<(bool, Option<Choice<'_>>)> {
    let Some(raw) = doc.field::<&RawValue>("tool_choice")? else { return Ok((false, None)) };
    let unknown =
        || Error::bad_request("'tool_choice' must be 'auto', 'none', 'required' or name a function");
    let choice = if let Ok(word) = serde_json::from_str::<Text<'_>>(raw.get()) {
        match &*word {
            "none" => return Ok((true, None)),
            "auto" => Choice::Auto(Empty {}),
            "required" | "any" => Choice::Any(Empty {}),
            _ => return Err(unknown()),
        }
    } else {
        let tool: Tool<'_> = serde_json::from_str(raw.get()).map_err(|_| unknown())?;
        Choice::Tool(Named { name: tool.function.ok_or_else(unknown)?.name.0 })
    };
    Ok((false, Some(choice)))
}
