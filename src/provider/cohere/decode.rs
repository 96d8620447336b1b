//! Cohere's replies in OpenAI's words: of v2, of v1's chat and of its generate.

use super::super::{Call, Decoded};
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Count, Lenient, Text};
use crate::wire::chat::{Answer, Reply, ToolUse, tool_call_id};
use crate::wire::usage::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A reply of any of the three.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow)]
    id: Lenient<Text<'a>>,
    /// Of v1's chat.
    #[serde(borrow)]
    generation_id: Lenient<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    /// Of v1's generate.
    #[serde(borrow)]
    generations: Lenient<Vec<Generation<'a>>>,
    /// Of v2; in an error, what went wrong.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Lenient<Text<'a>>,
    meta: Lenient<Spent>,
    usage: Lenient<Spent>,
    token_count: Lenient<Tokens>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Generation<'a> {
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    finish_reason: Lenient<Text<'a>>,
}

/// The assistant's message in v2.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    /// Blocks, or a string.
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_plan: Lenient<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Lenient<Vec<ToolCall<'a>>>,
}

/// A block of content, or a piece of one.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    pub(super) text: Lenient<Text<'a>>,
    #[serde(borrow)]
    pub(super) thinking: Lenient<Text<'a>>,
}

/// A call of a tool, or a piece of one.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolCall<'a> {
    #[serde(borrow)]
    pub(super) id: Lenient<Text<'a>>,
    #[serde(borrow)]
    pub(super) function: Function<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    pub(super) name: Lenient<Text<'a>>,
    #[serde(borrow)]
    pub(super) arguments: Lenient<Text<'a>>,
}

/// `meta` in v1, `usage` in v2.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Spent {
    billed_units: Lenient<Units>,
    tokens: Lenient<Units>,
    cached_tokens: Count,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Units {
    input_tokens: Count,
    output_tokens: Count,
}

/// `token_count`, as v1 had it first.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tokens {
    prompt_tokens: Count,
    response_tokens: Count,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// With this reason, in OpenAI's words.
    Whole(&'static str),
    /// Before it was complete.
    Failed,
}

impl Finish {
    /// Reads Cohere's word.
    ///
    // KONG(llm/drivers/cohere.lua): Kong passes v2's words on, says `stop` of all that v1 sends, and
    // nothing in streams.
    pub(super) fn read(reason: Option<&str>, tools: bool) -> Self {
        let reason = reason.map(str::to_ascii_uppercase);
        Self::Whole(match reason.as_deref() {
            Some("ERROR" | "TIMEOUT" | "USER_CANCEL") => return Self::Failed,
            Some("MAX_TOKENS" | "ERROR_LIMIT") => "length",
            Some("ERROR_TOXIC") => "content_filter",
            Some("TOOL_CALL") => "tool_calls",
            _ if tools => "tool_calls",
            _ => "stop",
        })
    }
}

/// The counts: what is billed, or else what was counted. What Cohere adds to a prompt of its own
/// accord is counted and not billed.
pub(super) fn usage(spent: Lenient<Spent>, counted: Lenient<Tokens>) -> Usage {
    let spent = spent.0.unwrap_or_default();
    let of = |units: Lenient<Units>| {
        let units = units.0.unwrap_or_default();
        (units.input_tokens.0, units.output_tokens.0)
    };
    let old = counted.0.unwrap_or_default();
    let counts = [of(spent.billed_units), of(spent.tokens), (old.prompt_tokens.0, old.response_tokens.0)];
    let (prompt, completion) =
        counts.into_iter().find(|counts| *counts != (None, None)).unwrap_or((None, None));
    // The cache's share is counted over all of the prompt.
    let cached = spent.cached_tokens.0.map(|cached| cached.min(prompt.unwrap_or(cached)));
    Usage { prompt, completion, cached, ..Usage::default() }
}

pub(super) fn undecodable() -> Error {
    Error::bad_reply("failed to decode cohere response")
}

/// What the client reads of an answer that Cohere gave up on.
pub(super) fn given_up(reason: Option<&str>) -> String {
    format!("cohere ended its answer with {}", reason.unwrap_or("an error"))
}

pub(super) fn reply(call: &Call<'_>, body: &[u8]) -> Result<Decoded> {
    if body.is_empty() {
        return Err(Error::bad_reply("no response body found when transforming response"));
    }
    let said: Said<'_> = serde_json::from_slice(body).map_err(|_| undecodable())?;
    let message = message(&said)?;
    let calls = message.tool_calls.0.as_deref().unwrap_or_default();
    let tools: Vec<_> = calls.iter().enumerate().map(|(index, tool)| used(call, index, tool)).collect();
    let (text, reasoning) = text(&said, &message);
    let generation = said.generations.0.as_deref().and_then(<[_]>::first);
    let own = generation.and_then(|generation| generation.finish_reason.0.as_deref());
    let reason = said.finish_reason.0.as_deref().or(own);
    let Finish::Whole(finish_reason) = Finish::read(reason, !tools.is_empty()) else {
        return Err(Error::bad_reply(given_up(reason)));
    };
    let usage = usage(Lenient(said.usage.0.or(said.meta.0)), said.token_count);
    let given = said.generation_id.0.as_deref().or(said.id.0.as_deref()).filter(|id| !id.is_empty());
    let id = given.map_or_else(|| Cow::Owned(call.shape().reply_id(call.id)), Cow::Borrowed);
    let reply = Reply {
        shape: call.shape(),
        id: &id,
        created: call.now,
        model: call.model,
        answer: Answer {
            text: &text,
            reasoning: Some(&*reasoning).filter(|text| !text.is_empty()),
            tools: &tools,
        },
        finish_reason,
        usage,
    };
    let body = reply.write()?;
    Ok(Decoded { body, usage, model: None })
}

/// The message of v2, empty in a reply of v1; or the complaint that the reply is none.
fn message<'a>(said: &Said<'a>) -> Result<Message<'a>> {
    if said.text.is_some() || said.generations.0.is_some() {
        return Ok(Message::default());
    }
    let raw = said.message.map_or("null", RawValue::get);
    if let Ok(message) = serde_json::from_str::<Text<'_>>(raw) {
        return Err(Error::bad_reply(message.0.into_owned()));
    }
    serde_json::from_str::<Option<Message<'_>>>(raw)
        .map_err(|_| undecodable())?
        .ok_or_else(|| Error::bad_reply("'text' or 'generations' missing from cohere response body"))
}

/// What was said, and what was thought before.
fn text<'s>(said: &'s Said<'_>, message: &'s Message<'_>) -> (Cow<'s, str>, String) {
    if let Some(text) = &said.text {
        return (Cow::Borrowed(text), String::new());
    }
    if let Some(first) = said.generations.0.as_deref().and_then(<[_]>::first) {
        return (Cow::Borrowed(&first.text), String::new());
    }
    let (mut text, mut reasoning) = (String::new(), String::new());
    let content = message.content.map_or("null", RawValue::get);
    if let Ok(plain) = serde_json::from_str::<Text<'_>>(content) {
        text.push_str(&plain);
    }
    for block in serde_json::from_str::<Vec<Block<'_>>>(content).unwrap_or_default() {
        text.push_str(block.text.0.as_deref().unwrap_or_default());
        reasoning.push_str(block.thinking.0.as_deref().unwrap_or_default());
    }
    // Where tools are called, the plan is all that is said.
    let plan = message.tool_plan.0.as_deref().filter(|_| text.is_empty());
    (plan.map_or(Cow::Owned(text), Cow::Borrowed), reasoning)
}

fn used<'s>(call: &Call<'_>, index: usize, tool: &'s ToolCall<'_>) -> ToolUse<'s> {
    let given = tool.id.0.as_deref().filter(|id| !id.is_empty());
    let arguments = tool.function.arguments.0.as_deref().filter(|arguments| !arguments.is_empty());
    ToolUse {
        id: given.map_or_else(|| tool_call_id(call.id, index), str::to_owned),
        name: tool.function.name.0.as_deref().unwrap_or_default(),
        arguments: arguments.unwrap_or("{}"),
    }
}
