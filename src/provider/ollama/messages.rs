//! OpenAI's messages as Ollama's: content is one string with the images beside it, and the
//! arguments of tool calls are objects.

use crate::error::{Error, Result};
use crate::wire::chat::{self, Content, Message, Part, ToolCall};
use crate::wire::doc::Doc;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A message of Ollama's.
#[derive(Serialize)]
pub(super) struct Turn<'a> {
    role: Cow<'a, str>,
    content: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Cow<'a, str>>,
    /// Base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Use<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
}

/// Text as the client wrote it, or put together from parts.
#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Raw(&'a RawValue),
    Joined(String),
}

#[derive(Serialize)]
struct Use<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    arguments: Box<RawValue>,
}

/// The messages of a request.
pub(super) fn turns(doc: &Doc) -> Result<Vec<Turn<'_>>> {
    let messages = chat::messages(doc)?;
    let mut turns = Vec::with_capacity(messages.len());
    // Ollama names the tool of a result where OpenAI gives the id of the call.
    let mut called: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for message in messages {
        let calls = message.tool_calls().iter();
        called.extend(calls.filter_map(|call| Some((call.id.clone()?.0, call.function.name.0.clone()))));
        turns.push(turn(message, &called)?);
    }
    Ok(turns)
}

fn turn<'a>(message: Message<'a>, called: &[(Cow<'a, str>, Cow<'a, str>)]) -> Result<Turn<'a>> {
    let (content, images) = content(&message)?;
    let tool_calls = message.tool_calls().iter().map(tool_use).collect::<Result<_>>()?;
    let role = match &*message.role {
        // OpenAI's newer word for instructions, and its older one for a tool's result.
        "developer" => Cow::Borrowed("system"),
        "function" => Cow::Borrowed("tool"),
        _ => message.role.0,
    };
    let tool_call_id = message.tool_call_id.map(|id| id.0);
    let tool_name = (role == "tool").then(|| {
        let of_call = || called.iter().rev().find(|(id, _)| Some(id) == tool_call_id.as_ref());
        message.name.map(|name| name.0).or_else(|| of_call().map(|(_, name)| name.clone()))
    });
    Ok(Turn {
        role,
        content,
        thinking: message.reasoning_content.map(|text| text.0),
        images,
        tool_calls,
        tool_name: tool_name.flatten(),
        tool_call_id,
    })
}

fn content<'a>(message: &Message<'a>) -> Result<(Text<'a>, Vec<Cow<'a, str>>)> {
    if let Some(raw) = message.content.filter(|raw| raw.get().starts_with('"')) {
        return Ok((Text::Raw(raw), Vec::new()));
    }
    let parts = match message.content()? {
        Content::None => return Ok((Text::Joined(String::new()), Vec::new())),
        Content::Text(text) => return Ok((Text::Joined(text.into_owned()), Vec::new())),
        Content::Parts(parts) => parts,
    };
    let (mut joined, mut images) = (String::new(), Vec::new());
    for part in &parts {
        if let Some(text) = part.text() {
            if !joined.is_empty() {
                joined.push('\n');
            }
            joined.push_str(text);
        } else {
            images.push(image(part)?);
        }
    }
    Ok((Text::Joined(joined), images))
}

/// The base64 of a part's data URL.
fn image<'a>(part: &Part<'a>) -> Result<Cow<'a, str>> {
    if &*part.kind != "image_url" {
        let kind = &*part.kind;
        return Err(Error::bad_request(format!("cannot transform part of type '{kind}' to ollama format")));
    }
    let Some(url) = part.image() else {
        return Err(Error::bad_request(
            "message part type is 'image_url' but is missing .image_url.url block",
        ));
    };
    let data = |url: &str| {
        let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
        head.ends_with(";base64").then_some(url.len() - data.len())
    };
    match (data(&url), url) {
        (Some(start), Cow::Borrowed(url)) => Ok(Cow::Borrowed(url.get(start..).unwrap_or_default())),
        (Some(start), Cow::Owned(mut url)) => Ok(Cow::Owned(url.split_off(start))),
        (None, _) => Err(Error::bad_request(
            "the ollama format takes images only as data URLs with base64 ('data:image/png;base64,...')",
        )),
    }
}

fn tool_use<'a>(call: &ToolCall<'a>) -> Result<Use<'a>> {
    let arguments = call.function.arguments();
    let object = arguments.trim_start().starts_with('{');
    let arguments = object.then(|| RawValue::from_string(arguments.into_owned()).ok()).flatten();
    let Some(arguments) = arguments else {
        return Err(Error::bad_request(format!(
            "the arguments of tool call '{}' are not a JSON object",
            &*call.function.name
        )));
    };
    let function = Function { name: call.function.name.0.clone(), arguments };
    Ok(Use { id: call.id.clone().map(|id| id.0), function })
}
