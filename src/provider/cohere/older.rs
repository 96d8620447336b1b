//! The client's request in the words of v1: one message, and the history before it.

use super::super::Call;
use super::body::{Body, Value};
use super::chat::{foreign, has_tools};
use crate::config::target::Operation;
use crate::error::{Error, Result};
use crate::wire::chat::{self, Content, Message, Part, parameters};
use serde::Serialize;
use serde_json::value::RawValue;

/// Cohere's own fields, for clients that know them.
///
// KONG(llm/drivers/cohere.lua): Kong passes on every field, and v1 refuses those of OpenAI's that it
// does not know.
const OWN: &[&str] = &[
    "preamble",
    "conversation_id",
    "prompt_truncation",
    "connectors",
    "search_queries_only",
    "documents",
    "citation_quality",
    "safety_mode",
    "max_input_tokens",
    "raw_prompting",
];

/// Whose words instructions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// Those of v1's role for them.
    Named,
    /// The user's, as Kong has it.
    AsUser,
}

/// An earlier message.
#[derive(Serialize)]
pub(super) struct Turn<'a> {
    role: &'static str,
    message: Said<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    /// As the client wrote it.
    Raw(&'a RawValue),
    Read(String),
}

/// The request of `/v1/chat`.
pub(super) fn chat<'a>(call: &'a Call<'_>, system: System) -> Result<Body<'a>> {
    let doc = call.doc;
    let mut body = Body::new(call)?;
    if call.conf.route_type == Operation::Completions {
        body.set("message", Value::Raw(parameters::prompt(doc)?));
        body.pass(call, OWN)?;
        return Ok(body);
    }
    if has_tools(doc)? {
        return Err(Error::bad_request(
            "tools need Cohere's v2 API: let model.options.upstream_url name it (https://api.cohere.com/v2/chat)",
        ));
    }
    let mut turns =
        chat::messages(doc)?.iter().map(|message| turn(message, system)).collect::<Result<Vec<_>>>()?;
    let last = turns.pop().ok_or_else(|| Error::bad_request("'messages' must not be empty"))?;
    body.set("message", last.message.into());
    body.set("chat_history", Value::History(turns));
    body.form(call, false)?;
    body.pass(call, OWN)?;
    Ok(body)
}

/// The request of `/v1/generate`.
pub(super) fn generate<'a>(call: &'a Call<'_>) -> Result<Body<'a>> {
    let mut body = Body::new(call)?;
    body.set("prompt", Value::Raw(parameters::prompt(call.doc)?));
    Ok(body)
}

fn turn<'a>(message: &Message<'a>, system: System) -> Result<Turn<'a>> {
    let role = match (&*message.role, system) {
        ("assistant", _) => "CHATBOT",
        ("system" | "developer", System::Named) => "SYSTEM",
        _ => "USER",
    };
    if let Some(raw) = message.content.filter(|raw| raw.get().starts_with('"')) {
        return Ok(Turn { role, message: Said::Raw(raw) });
    }
    let text = match message.content()? {
        Content::None => String::new(),
        Content::Text(text) => text.into_owned(),
        Content::Parts(parts) => joined(&parts)?,
    };
    Ok(Turn { role, message: Said::Read(text) })
}

/// The text of parts, a line each; nothing else fits into a string.
pub(super) fn joined(parts: &[Part<'_>]) -> Result<String> {
    let mut joined = String::new();
    for part in parts {
        let text = part.text().ok_or_else(|| foreign(&part.kind))?;
        if !joined.is_empty() {
            joined.push('\n');
        }
        joined.push_str(text);
    }
    Ok(joined)
}

impl<'a> From<Said<'a>> for Value<'a> {
    fn from(said: Said<'a>) -> Self {
        match said {
            Said::Raw(raw) => Self::Raw(raw),
            Said::Read(text) => Self::Text(text.into()),
        }
    }
}
