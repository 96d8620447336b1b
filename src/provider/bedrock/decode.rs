//! Converse's replies in OpenAI's words.

use super::super::{Call, Decoded};
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Count, Lenient, Text};
use crate::wire::chat::{Answer, Reply, ToolUse, tool_call_id};
use crate::wire::doc::Doc;
use crate::wire::usage::Usage;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Said<'a> {
    #[serde(borrow)]
    output: Lenient<Output<'a>>,
    #[serde(borrow)]
    stop_reason: Lenient<Text<'a>>,
    usage: Lenient<Counts>,
    /// What a guardrail did.
    #[serde(borrow)]
    trace: Option<&'a RawValue>,
    /// Of an error that comes in the place of a reply.
    #[serde(borrow)]
    message: Lenient<Text<'a>>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Block<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    tool_use: Option<Called<'a>>,
    #[serde(borrow)]
    reasoning_content: Lenient<Thought<'a>>,
    #[serde(borrow)]
    citations_content: Lenient<Cited<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    #[serde(borrow, default)]
    tool_use_id: Lenient<Text<'a>>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thought<'a> {
    #[serde(borrow)]
    reasoning_text: Spoken<'a>,
}

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
}

/// A text with its sources, which OpenAI's form has no place for.
#[derive(Deserialize)]
struct Cited<'a> {
    #[serde(borrow, default)]
    content: Vec<Spoken<'a>>,
}

/// `usage`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    #[serde(rename = "inputTokens")]
    input: Count,
    #[serde(rename = "outputTokens")]
    output: Count,
    #[serde(rename = "totalTokens")]
    total: Count,
    #[serde(rename = "cacheReadInputTokens")]
    read: Count,
    #[serde(rename = "cacheWriteInputTokens")]
    written: Count,
}

impl Counts {
    /// Converse counts what its cache had to do with beside the input, OpenAI within it.
    pub(super) fn usage(&self) -> Usage {
        let (read, written) = (self.read.0, self.written.0);
        let cache = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        Usage {
            prompt: self.input.0.map(|input| input.saturating_add(cache)),
            completion: self.output.0,
            cached: read,
            cache_write: written,
            reasoning: None,
            // Whether it includes the cache differs from model to model.
            total: self.total.0.filter(|_| cache == 0),
        }
    }
}

/// OpenAI's word for why the answer ended.
pub(super) fn finish_reason(stop_reason: &str) -> &'static str {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        // KONG(llm/drivers/bedrock.lua): kept, although OpenAI's word would be `content_filter`.
        "guardrail_intervened" => "guardrail_intervened",
        // KONG(llm/drivers/bedrock.lua): Kong calls it a `stop`.
        "content_filtered" => "content_filter",
        _ => "stop",
    }
}

pub(super) fn reply(call: &Call<'_>, body: &[u8]) -> Result<Decoded> {
    let said: Said<'_> = serde_json::from_slice(body)
        .map_err(|_| Error::bad_reply("failed to decode response from Bedrock"))?;
    let silent =
        || Error::bad_reply("no generation candidates received from Bedrock, or max_tokens too short");
    if let (None, Some(message)) = (&said.output.0, &said.message.0) {
        return Err(Error::bad_reply(message.to_string()));
    }
    let blocks = said.output.0.ok_or_else(silent)?.message.content;
    let stopped = said.stop_reason.0;
    if blocks.is_empty() && stopped.is_none() {
        return Err(silent());
    }
    let (mut text, mut reasoning, mut tools) = (String::new(), String::new(), Vec::new());
    for block in &blocks {
        text.push_str(block.text.as_deref().unwrap_or_default());
        let cited = block.citations_content.0.iter().flat_map(|cited| &cited.content);
        cited.for_each(|piece| text.push_str(&piece.text));
        reasoning
            .push_str(block.reasoning_content.0.as_ref().map_or("", |thought| &thought.reasoning_text.text));
        if let Some(called) = &block.tool_use {
            let id = called.tool_use_id.0.as_deref().map(str::to_owned);
            let id = id.unwrap_or_else(|| tool_call_id(call.id, tools.len()));
            tools.push(ToolUse {
                id,
                name: &called.name,
                arguments: called.input.map_or("{}", RawValue::get),
            });
        }
    }
    let usage = said.usage.0.map(|counts| counts.usage()).unwrap_or_default();
    let reply = Reply {
        shape: call.shape(),
        id: &call.shape().reply_id(call.id),
        created: call.now,
        model: call.model,
        answer: Answer {
            text: &text,
            reasoning: (!reasoning.is_empty()).then_some(&*reasoning),
            tools: &tools,
        },
        finish_reason: finish_reason(stopped.as_deref().unwrap_or_default()),
        usage,
    };
    Ok(Decoded { body: traced(reply.write()?, said.trace)?, usage, model: None })
}

/// What a guardrail did is told beside OpenAI's fields.
fn traced(reply: Bytes, trace: Option<&RawValue>) -> Result<Bytes> {
    let Some(trace) = trace else { return Ok(reply) };
    let mut doc = Doc::parse(reply)?;
    doc.set_raw("trace", trace);
    Ok(doc.bytes())
}
