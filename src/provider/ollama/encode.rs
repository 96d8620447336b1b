//! The client's request in Ollama's words.

use super::super::parameter::{Parameter, Set};
use super::super::{Call, Outbound};
use super::messages::{self, Turn};
use crate::config::target::Operation;
use crate::error::{Error, Result};
use crate::wire::chat::parameters::{self, Form};
use crate::wire::doc::Doc;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Turn<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<&'a RawValue>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Think<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Set::is_empty")]
    options: Set<Parameter<'a>>,
}

/// `format`: any JSON, or what a schema describes.
#[derive(Serialize)]
#[serde(untagged)]
enum Format<'a> {
    Json(&'static str),
    Schema(&'a RawValue),
}

/// `think`: not at all, or how hard.
#[derive(Serialize)]
#[serde(untagged)]
enum Think<'a> {
    Switch(bool),
    Effort(&'a RawValue),
}

pub(super) fn request(call: &Call<'_>) -> Result<Outbound> {
    let doc = call.doc;
    let chat = call.conf.route_type == Operation::Chat;
    let request = Request {
        model: call.model,
        messages: chat.then(|| messages::turns(doc)).transpose()?,
        prompt: if chat { None } else { prompt(doc)? },
        suffix: if chat { None } else { doc.field("suffix")? },
        stream: call.stream,
        format: format(doc)?,
        think: think(doc)?,
        tools: doc.field("tools")?,
        tool_choice: doc.field("tool_choice")?,
        options: options(call)?,
    };
    Ok(Outbound::json(call.write(&request)?))
}

/// A string, or a list of one string: Ollama answers one prompt at a time.
fn prompt(doc: &Doc) -> Result<Option<&RawValue>> {
    let Some(raw) = doc.field::<&RawValue>("prompt")? else { return Ok(None) };
    if raw.get().starts_with('"') {
        return Ok(Some(raw));
    }
    match serde_json::from_str::<[&RawValue; 1]>(raw.get()) {
        Ok([only]) if only.get().starts_with('"') => Ok(Some(only)),
        _ => Err(Error::bad_request("'prompt' must be a single string for the ollama format")),
    }
}

/// `response_format` has the same two forms under another name.
fn format(doc: &Doc) -> Result<Option<Format<'_>>> {
    Ok(parameters::form(doc)?.map(|form| match form {
        Form::Json => Format::Json("json"),
        Form::Schema(schema) => Format::Schema(schema),
    }))
}

/// `reasoning_effort`: Ollama knows the words between OpenAI's outer ones.
fn think(doc: &Doc) -> Result<Option<Think<'_>>> {
    let Some(raw) = doc.field::<&RawValue>("reasoning_effort")? else { return Ok(None) };
    Ok(Some(match raw.get() {
        "\"none\"" => Think::Switch(false),
        "\"minimal\"" => Think::Switch(true),
        _ => Think::Effort(raw),
    }))
}

/// The configured options, or else the client's.
///
// KONG(llm/drivers/shared.lua): Kong sends options only if the target has some configured, and
// drops the client's otherwise.
fn options<'a>(call: &'a Call<'_>) -> Result<Set<Parameter<'a>>> {
    let mut set = Set::default();
    set.put("num_predict", call.max_tokens()?);
    set.put("temperature", call.temperature()?);
    set.put("top_p", call.top_p()?);
    set.put("top_k", call.top_k()?);
    for name in ["seed", "presence_penalty", "frequency_penalty"] {
        set.put(name, call.asked(name)?);
    }
    set.put("stop", call.stop()?);
    Ok(set)
}
