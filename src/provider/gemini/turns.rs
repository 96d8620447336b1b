//! OpenAI's messages as Gemini's turns.
//!
//! Instructions stand beside the conversation; the results of parallel calls are one turn; and a
//! result bears the name of its function where OpenAI's bears the id of its call.

use super::parts::{self, FunctionCall, FunctionResponse, Part, Response};
use crate::error::{Error, Result};
use crate::wire::chat::{Message, ToolCall};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What stands in for the signature that Gemini 3 wants with every call of the model, and that
/// OpenAI's messages have no place for. Google documents it for histories from elsewhere.
const UNSIGNED: &str = "skip_thought_signature_validator";

/// A conversation.
#[derive(Default)]
pub(super) struct Turns<'a> {
    /// The texts of all system and developer messages.
    pub system: Vec<String>,
    /// In order.
    pub contents: Vec<Turn<'a>>,
}

#[derive(Serialize)]
pub(super) struct Turn<'a> {
    role: Role,
    parts: Vec<Part<'a>>,
    /// Whether it holds results of calls, and takes more of them.
    #[serde(skip)]
    results: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Model,
}

impl<'a> Turns<'a> {
    /// The turns of these messages for that model.
    pub fn of(messages: &'a [Message<'a>], model: &str) -> Result<Self> {
        let signed = wants_signatures(model);
        let mut turns = Self::default();
        for (index, message) in messages.iter().enumerate() {
            let position = index + 1;
            match &*message.role {
                "system" | "developer" => {
                    let text = message.content.map(|raw| parts::text_of(raw, position)).transpose()?;
                    turns.system.extend(text.filter(|text| !text.is_empty()));
                }
                "assistant" => turns.assistant(message, position, signed)?,
                "tool" | "function" => {
                    let before = messages.get(..index).unwrap_or_default();
                    turns.result(message, position, before)?;
                }
                _ => {
                    let parts = message.content.map(|raw| parts::of(raw, position)).transpose()?;
                    turns.push(Role::User, parts.unwrap_or_default(), false);
                }
            }
        }
        Ok(turns)
    }

    fn assistant(&mut self, message: &'a Message<'a>, position: usize, signed: bool) -> Result<()> {
        let mut parts = message.content.map(|raw| parts::of(raw, position)).transpose()?.unwrap_or_default();
        let calls = message.tool_calls();
        if !calls.is_empty() {
            parts.retain(|part| !matches!(part, Part::Text { text } if text.is_empty()));
        }
        for (index, call) in calls.iter().enumerate() {
            // Parallel calls bear one signature, on the first.
            let thought_signature = (signed && index == 0).then_some(UNSIGNED);
            parts.push(Part::Call { function_call: called(call)?, thought_signature });
        }
        self.push(Role::Model, parts, false);
        Ok(())
    }

    // KONG(llm/drivers/gemini.lua): Kong calls every function `get_product_info`.
    fn result(&mut self, message: &'a Message<'a>, position: usize, before: &'a [Message<'a>]) -> Result<()> {
        let id = message.tool_call_id.as_deref();
        let mut calls = before.iter().rev().flat_map(Message::tool_calls);
        let called = calls.find(|call| id.is_some() && call.id.as_deref() == id);
        let name = called.map(|call| &call.function.name.0).or(message.name.as_ref().map(|name| &name.0));
        let Some(name) = name else {
            let id = id.unwrap_or_default();
            return Err(Error::bad_request(format!(
                "message at position {position} answers tool call '{id}', which no message before it makes"
            )));
        };
        let response =
            message.content.map_or_else(|| Ok(String::new()), |raw| parts::text_of(raw, position))?;
        let part =
            Part::FunctionResponse(FunctionResponse { name: name.clone(), response: wrapped(response) });
        match self.contents.last_mut() {
            Some(turn) if turn.results => turn.parts.push(part),
            _ => self.push(Role::User, vec![part], true),
        }
        Ok(())
    }

    /// Gemini refuses a turn without parts.
    fn push(&mut self, role: Role, parts: Vec<Part<'a>>, results: bool) {
        if !parts.is_empty() {
            self.contents.push(Turn { role, parts, results });
        }
    }
}

fn called<'a>(call: &ToolCall<'a>) -> Result<FunctionCall<'a>> {
    let arguments = call.function.arguments();
    let object = arguments.trim_start().starts_with('{');
    let args = object.then(|| RawValue::from_string(arguments.trim().to_owned()).ok()).flatten();
    let args = args.ok_or_else(|| {
        let name = &*call.function.name;
        Error::bad_request(format!("the arguments of tool call '{name}' are not a JSON object"))
    })?;
    Ok(FunctionCall { name: call.function.name.0.clone(), args })
}

fn wrapped<'a>(text: String) -> Response<'a> {
    let trimmed = text.trim();
    let object = trimmed.starts_with('{').then(|| RawValue::from_string(trimmed.to_owned()).ok()).flatten();
    object.map_or(Response::Output { output: Cow::Owned(text) }, Response::Object)
}

/// Whether the model is of the third generation or later.
fn wants_signatures(model: &str) -> bool {
    generation(model).is_some_and(|number| number >= 3)
}

/// The generation in a model's name: 2 of `gemini-2.5-pro`.
pub(super) fn generation(model: &str) -> Option<u32> {
    let name = model.rsplit('/').next()?.strip_prefix("gemini-")?;
    name.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
