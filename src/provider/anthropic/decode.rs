//! Anthropic's replies in OpenAI's words.

use super::super::{Call, Decoded, error_text};
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Count, Lenient, Text};
use crate::wire::chat::{Answer, Reply, Shape, ToolUse, tool_call_id};
use crate::wire::usage::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A message, or what Text Completions answer.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow)]
    id: Lenient<Text<'a>>,
    #[serde(borrow)]
    model: Lenient<Text<'a>>,
    #[serde(borrow)]
    content: Option<Vec<Block<'a>>>,
    #[serde(borrow)]
    completion: Option<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Lenient<Text<'a>>,
    usage: Lenient<Counts>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A content block; those of server-side tools have nothing that a client of OpenAI's could read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    /// What the block is.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Of a text.
    #[serde(borrow)]
    pub text: Lenient<Text<'a>>,
    /// Of a thought.
    #[serde(borrow)]
    pub thinking: Lenient<Text<'a>>,
    /// Of a call.
    #[serde(borrow)]
    pub id: Lenient<Text<'a>>,
    /// Of a call.
    #[serde(borrow)]
    pub name: Lenient<Text<'a>>,
    /// Of a call: its arguments.
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
}

/// Token counts as Anthropic states them: those of the cache stand beside `input_tokens`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    output_tokens_details: Lenient<Details>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    thinking_tokens: Count,
}

impl Counts {
    /// Takes over what is stated later: the counts of a stream are cumulative, the last one is right.
    ///
    // KONG(llm/drivers/anthropic.lua): Kong adds the two up.
    pub(super) fn update(&mut self, later: Self) {
        let last = |earlier: &mut Count, later: Count| *earlier = Count(later.0.or(earlier.0));
        last(&mut self.input_tokens, later.input_tokens);
        last(&mut self.output_tokens, later.output_tokens);
        last(&mut self.cache_read_input_tokens, later.cache_read_input_tokens);
        last(&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens);
        self.output_tokens_details = Lenient(later.output_tokens_details.0.or(self.output_tokens_details.0));
    }

    /// In OpenAI's sense, where the prompt includes what the cache had of it.
    pub(super) fn usage(self) -> Usage {
        let (cached, cache_write) = (self.cache_read_input_tokens.0, self.cache_creation_input_tokens.0);
        let outside = cached.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
        Usage {
            prompt: self.input_tokens.0.map(|input| input.saturating_add(outside)),
            completion: self.output_tokens.0,
            cached,
            cache_write,
            reasoning: self.output_tokens_details.0.and_then(|details| details.thinking_tokens.0),
            total: None,
        }
    }
}

/// Why the answer ended, in OpenAI's words.
///
// KONG(llm/drivers/anthropic.lua): Kong passes Anthropic's word on, and none in streams.
pub(super) fn finish_reason(reason: Option<&str>, tools: bool) -> &'static str {
    match reason {
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("refusal") => "content_filter",
        Some("tool_use") => "tool_calls",
        _ if tools => "tool_calls",
        _ => "stop",
    }
}

pub(super) fn undecodable() -> Error {
    Error::bad_reply("failed to decode anthropic response")
}

pub(super) fn reply(call: &Call<'_>, body: &[u8]) -> Result<Decoded> {
    if body.is_empty() {
        return Err(Error::bad_reply("no response body found when transforming response"));
    }
    let said: Said<'_> = serde_json::from_slice(body).map_err(|_| undecodable())?;
    if let Some(error) = said.error {
        return Err(Error::bad_reply(error_text(error)));
    }
    let blocks = blocks(&said, call.shape())?;
    let text = match &said.completion {
        Some(completion) if said.content.is_none() => Cow::Borrowed(&**completion),
        _ => joined(blocks, "text", |block| block.text.0.as_deref()),
    };
    let reasoning = joined(blocks, "thinking", |block| block.thinking.0.as_deref());
    let uses = blocks.iter().filter(|block| &*block.kind == "tool_use").enumerate();
    let tools: Vec<_> = uses.map(|(index, block)| tool_use(call, index, block)).collect();
    let usage = said.usage.0.map(Counts::usage).unwrap_or_default();
    let given = said.id.0.as_deref().filter(|id| !id.is_empty());
    let id = given.map_or_else(|| Cow::Owned(call.shape().reply_id(call.id)), Cow::Borrowed);
    let reply = Reply {
        shape: call.shape(),
        id: &id,
        created: call.now,
        model: said.model.0.as_deref().unwrap_or(call.model),
        answer: Answer {
            text: &text,
            reasoning: Some(&*reasoning).filter(|text| !text.is_empty()),
            tools: &tools,
        },
        finish_reason: finish_reason(said.stop_reason.0.as_deref(), !tools.is_empty()),
        usage,
    };
    let body = reply.write()?;
    Ok(Decoded { body, usage, model: said.model.0.as_ref().map(|model| model.0.clone().into_owned()) })
}

/// The content, or the complaint that the reply has none.
fn blocks<'s, 'a>(said: &'s Said<'a>, shape: Shape) -> Result<&'s [Block<'a>]> {
    match (&said.content, shape) {
        (Some(blocks), _) => Ok(blocks),
        (None, Shape::Text) if said.completion.is_some() => Ok(&[]),
        (None, Shape::Chat) => Err(Error::bad_reply("'content' not in anthropic://llm/v1/chat response")),
        // KONG(llm/drivers/anthropic.lua): its message names the other operation.
        (None, Shape::Text) => Err(Error::bad_reply("'completion' not in anthropic://llm/v1/chat response")),
    }
}

/// The text of all blocks of a kind, a line each.
fn joined<'s, 'a>(
    blocks: &'s [Block<'a>],
    kind: &str,
    read: impl Fn(&'s Block<'a>) -> Option<&'s str>,
) -> Cow<'s, str> {
    let mut texts = blocks.iter().filter(|block| &*block.kind == kind).filter_map(read);
    let mut all = Cow::Borrowed(texts.find(|text| !text.is_empty()).unwrap_or_default());
    for text in texts.filter(|text| !text.is_empty()) {
        let all = all.to_mut();
        all.push('\n');
        all.push_str(text);
    }
    all
}

fn tool_use<'s>(call: &Call<'_>, index: usize, block: &'s Block<'_>) -> ToolUse<'s> {
    let given = block.id.0.as_deref().filter(|id| !id.is_empty());
    ToolUse {
        id: given.map_or_else(|| tool_call_id(call.id, index), str::to_owned),
        name: block.name.0.as_deref().unwrap_or_default(),
        arguments: block.input.map_or("{}", RawValue::get),
    }
}
