//! The client's request in the words of v2: OpenAI's messages under stricter rules.

use super::super::Call;
use super::super::parameter::Schema;
use super::body::{Body, Value};
use crate::config::target::Operation;
use crate::error::{Error, Result};
use crate::wire::chat::parameters::{self, Function, ToolChoice};
use crate::wire::chat::{self, Content, Message, Part, ToolCall};
use crate::wire::doc::Doc;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Cohere's own fields, for clients that know them.
const OWN: &[&str] = &["documents", "citation_options", "safety_mode", "thinking", "priority"];

/// A message.
#[derive(Serialize)]
pub(super) struct Turn<'a> {
    role: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Said<'a>>,
    /// What the assistant says where it calls tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_plan: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Use<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    /// A plain string, as the client wrote it.
    Raw(&'a RawValue),
    Text(Cow<'a, str>),
    Parts(Vec<Block<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: Cow<'a, str> },
    ImageUrl { image_url: Image<'a> },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Image<'a> {
    /// An object, as the client wrote it.
    Raw(&'a RawValue),
    Named {
        url: Cow<'a, str>,
    },
}

#[derive(Serialize)]
struct Use<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    r#type: &'static str,
    function: Called<'a>,
}

#[derive(Serialize)]
struct Called<'a> {
    name: Cow<'a, str>,
    arguments: Cow<'a, str>,
}

/// An item of `tools`.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Tool<'a> {
    Function { r#type: &'static str, function: Definition<'a> },
    Own(&'a RawValue),
}

#[derive(Serialize)]
pub(super) struct Definition<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    parameters: Schema<'a>,
}

/// The whole request; a completion is asked for as a chat of one message.
pub(super) fn request<'a>(call: &'a Call<'_>) -> Result<Body<'a>> {
    let doc = call.doc;
    let mut body = Body::new(call)?;
    let turns = match call.conf.route_type {
        Operation::Completions => vec![Turn::user(parameters::prompt(doc)?)],
        Operation::Chat | Operation::Preserve => {
            chat::messages(doc)?.into_iter().map(turn).collect::<Result<_>>()?
        }
    };
    body.set("messages", Value::Messages(turns));
    tools(doc, &mut body)?;
    body.form(call, true)?;
    body.pass(call, OWN)?;
    Ok(body)
}

/// Whether a request can only be said in v2.
pub(super) fn has_tools(doc: &Doc) -> Result<bool> {
    let given = doc.field::<Vec<&RawValue>>("tools")?.is_some_and(|tools| !tools.is_empty());
    let used = |message: &Message<'_>| &*message.role == "tool" || !message.tool_calls().is_empty();
    Ok(given || chat::messages(doc)?.iter().any(used))
}

/// The tools, and which of them must be called. Where one is named it is the only one on offer,
/// because v2 can only demand that any be called.
fn tools<'a>(doc: &'a Doc, body: &mut Body<'a>) -> Result<()> {
    let choice = parameters::tool_choice(doc);
    let offered = |tool: &parameters::Tool<'_>| match (&choice, tool) {
        (Some(ToolChoice::Named(name)), parameters::Tool::Function(function)) => *function.name == **name,
        (Some(ToolChoice::Named(_)), parameters::Tool::Other(_)) => false,
        _ => true,
    };
    let tools: Vec<_> = parameters::tools(doc)?.into_iter().filter(offered).map(define).collect();
    if !tools.is_empty() {
        body.set("tools", Value::Tools(tools));
    }
    let choice = match choice {
        Some(ToolChoice::Required | ToolChoice::Named(_)) => "REQUIRED",
        Some(ToolChoice::None) => "NONE",
        // What v2 does unasked.
        Some(ToolChoice::Auto) | None => return Ok(()),
    };
    body.set("tool_choice", Value::Text(Cow::Borrowed(choice)));
    Ok(())
}

fn define(tool: parameters::Tool<'_>) -> Tool<'_> {
    match tool {
        parameters::Tool::Function(Function { name, description, parameters }) => Tool::Function {
            r#type: "function",
            function: Definition {
                name: name.0,
                description: description.map(|text| text.0),
                parameters: parameters.into(),
            },
        },
        parameters::Tool::Other(own) => Tool::Own(own),
    }
}

impl<'a> Turn<'a> {
    fn user(prompt: &'a RawValue) -> Self {
        Self {
            role: Cow::Borrowed("user"),
            content: Some(Said::Raw(prompt)),
            tool_plan: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }
}

fn turn(message: Message<'_>) -> Result<Turn<'_>> {
    let said = said(&message)?;
    let tool_calls: Vec<_> = message.tool_calls().iter().map(tool_use).collect();
    let (content, tool_plan) = if tool_calls.is_empty() { (said, None) } else { (None, said) };
    let role = match &*message.role {
        // OpenAI's newer word for instructions, and its older one for a tool's result.
        "developer" => Cow::Borrowed("system"),
        "function" => Cow::Borrowed("tool"),
        _ => message.role.0,
    };
    let tool_call_id = message.tool_call_id.map(|id| id.0);
    Ok(Turn { role, content, tool_plan, tool_calls, tool_call_id })
}

/// What a message says. Where it calls tools, that is the plan, which is one string.
fn said<'a>(message: &Message<'a>) -> Result<Option<Said<'a>>> {
    if let Some(raw) = message.content.filter(|raw| raw.get().starts_with('"')) {
        let silent = raw.get() == "\"\"" && !message.tool_calls().is_empty();
        return Ok((!silent).then_some(Said::Raw(raw)));
    }
    let parts = match message.content()? {
        Content::None => return Ok(None),
        Content::Text(text) => return Ok(Some(Said::Text(text))),
        Content::Parts(parts) => parts,
    };
    if message.tool_calls().is_empty() {
        return Ok(Some(Said::Parts(parts.into_iter().map(block).collect::<Result<_>>()?)));
    }
    let text = super::older::joined(&parts)?;
    Ok((!text.is_empty()).then_some(Said::Text(Cow::Owned(text))))
}

fn block(part: Part<'_>) -> Result<Block<'_>> {
    if &*part.kind == "image_url" {
        let missing = "message part type is 'image_url' but is missing .image_url.url block";
        let url = part.image().ok_or_else(|| Error::bad_request(missing))?;
        let object = part.image_url.filter(|raw| raw.get().starts_with('{'));
        return Ok(Block::ImageUrl { image_url: object.map_or(Image::Named { url }, Image::Raw) });
    }
    Ok(Block::Text { text: part.into_text(foreign)? })
}

pub(super) fn foreign(kind: &str) -> Error {
    Error::bad_request(format!("cannot transform part of type '{kind}' to cohere format"))
}

fn tool_use<'a>(call: &ToolCall<'a>) -> Use<'a> {
    let function = Called { name: call.function.name.0.clone(), arguments: call.function.arguments() };
    Use { id: call.id.clone().map(|id| id.0), r#type: "function", function }
}
