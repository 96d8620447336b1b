//! A Converse request as OpenAI's clients would have written it, for guards and the meter. What has
//! no place there, and what cannot be read, is left out.

use crate::error::Result;
use crate::provider::native::{Link, Said, Seen, Shown};
use crate::wire::chat::ToolUse;
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::doc::Doc;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Turn<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Lenient<Vec<Lenient<Block<'a>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    image: Lenient<Image<'a>>,
    #[serde(borrow)]
    tool_use: Lenient<Called<'a>>,
    #[serde(borrow)]
    tool_result: Lenient<Answered<'a>>,
    /// Of a tool's result.
    #[serde(borrow)]
    json: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow)]
    format: Text<'a>,
    #[serde(borrow)]
    source: Source<'a>,
}

#[derive(Deserialize)]
struct Source<'a> {
    /// Base64.
    #[serde(borrow)]
    bytes: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    #[serde(borrow, default)]
    tool_use_id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    #[serde(borrow, default)]
    tool_use_id: Text<'a>,
    #[serde(borrow, default)]
    content: Lenient<Vec<Lenient<Block<'a>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Inference<'a> {
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    top_p: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_sequences: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolConfig<'a> {
    #[serde(borrow)]
    tools: Lenient<Vec<Lenient<Listed<'a>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(borrow)]
    tool_spec: Spec<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_schema: Lenient<Schema<'a>>,
}

#[derive(Deserialize)]
struct Schema<'a> {
    #[serde(borrow)]
    json: &'a RawValue,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Defined<'a>,
}

#[derive(Serialize)]
struct Defined<'a> {
    name: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
}

/// The view.
pub(super) fn of(native: &Doc) -> Result<Doc> {
    let mut doc = Doc::empty();
    let system: Vec<Block<'_>> = field(native, "system").unwrap_or_default();
    let turns: Vec<Turn<'_>> = field(native, "messages").unwrap_or_default();
    let mut seen: Vec<Seen<'_>> = Vec::with_capacity(system.len() + turns.len());
    for text in system.iter().filter_map(|block| block.text.as_deref()) {
        let content = Some(Said::Text(Cow::Borrowed(text)));
        seen.push(Seen { role: "system", content, ..Seen::default() });
    }
    for turn in &turns {
        see(turn, &mut seen);
    }
    doc.set("messages", &seen)?;
    let inference: Inference<'_> = field(native, "inferenceConfig").unwrap_or_default();
    let options = [
        ("max_tokens", inference.max_tokens),
        ("temperature", inference.temperature),
        ("top_p", inference.top_p),
        ("stop", inference.stop_sequences),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            doc.set_raw(name, value);
        }
    }
    let config: ToolConfig<'_> = field(native, "toolConfig").unwrap_or_default();
    let tools: Vec<Tool<'_>> =
        present(config.tools.0.as_ref()).map(|listed| tool(&listed.tool_spec)).collect();
    if !tools.is_empty() {
        doc.set("tools", &tools)?;
    }
    Ok(doc)
}

fn field<'a, T: Deserialize<'a>>(native: &'a Doc, name: &str) -> Option<T> {
    native.field(name).ok().flatten()
}

fn present<T>(list: Option<&Vec<Lenient<T>>>) -> impl Iterator<Item = &T> {
    list.into_iter().flatten().filter_map(|item| item.0.as_ref())
}

fn tool<'a>(spec: &Spec<'a>) -> Tool<'a> {
    let parameters = spec.input_schema.0.as_ref().map(|schema| schema.json);
    Tool {
        kind: "function",
        function: Defined { name: spec.name, description: spec.description, parameters },
    }
}

/// The results of tools are messages of their own.
fn see<'s>(turn: &'s Turn<'_>, seen: &mut Vec<Seen<'s>>) {
    let (mut parts, mut tool_calls) = (Vec::new(), Vec::new());
    for block in present(turn.content.0.as_ref()) {
        if let Some(result) = &block.tool_result.0 {
            let content = Some(Said::Text(Cow::Owned(answer(result))));
            let tool_call_id = Some(Cow::Borrowed(&*result.tool_use_id));
            seen.push(Seen { role: "tool", content, tool_call_id, ..Seen::default() });
        } else if let Some(called) = &block.tool_use.0 {
            let arguments = called.input.map_or("{}", RawValue::get);
            let id = (*called.tool_use_id).to_owned();
            tool_calls.push(ToolUse { id, name: &called.name, arguments });
        } else if let Some(text) = &block.text {
            parts.push(Shown::Text { text });
        } else if let Some(image) = &block.image.0 {
            let url = format!("data:image/{};base64,{}", &*image.format, &*image.source.bytes);
            parts.push(Shown::ImageUrl { image_url: Link { url: Cow::Owned(url) } });
        }
    }
    if parts.is_empty() && tool_calls.is_empty() {
        return;
    }
    let content = Said::of(parts);
    seen.push(Seen { role: &turn.role, content, tool_calls, ..Seen::default() });
}

fn answer(result: &Answered<'_>) -> String {
    let pieces = present(result.content.0.as_ref());
    let texts = pieces.filter_map(|block| block.text.as_deref().or(block.json.map(RawValue::get)));
    texts.collect::<Vec<_>>().join("\n")
}
