//! Ollama's replies and streams in OpenAI's words.

use super::super::{Call, Decoded, StreamDecoder, error_text};
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Count, Lenient, Text};
use crate::wire::chat::{Answer, Reply, ToolUse, tool_call_id};
use crate::wire::client_stream::ClientStream;
use crate::wire::frame::Frame;
use crate::wire::usage::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A reply, or a line of a stream.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow)]
    model: Lenient<Text<'a>>,
    /// RFC 3339.
    #[serde(borrow)]
    created_at: Lenient<Text<'a>>,
    /// Of `/api/chat`.
    #[serde(borrow)]
    message: Option<Spoken<'a>>,
    /// Of `/api/generate`.
    #[serde(borrow)]
    response: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    done: bool,
    #[serde(borrow)]
    done_reason: Option<Text<'a>>,
    prompt_eval_count: Count,
    eval_count: Count,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spoken<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    /// An object.
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl<'a> Said<'a> {
    fn read(json: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(|_| undecodable())
    }

    fn text(&self) -> &str {
        let chat = self.message.as_ref().and_then(|message| message.content.as_deref());
        chat.or(self.response.as_deref()).unwrap_or_default()
    }

    fn thinking(&self) -> Option<&str> {
        let chat = self.message.as_ref().and_then(|message| message.thinking.as_deref());
        chat.or(self.thinking.as_deref()).filter(|text| !text.is_empty())
    }

    fn tool_calls(&self) -> &[ToolCall<'a>] {
        self.message.as_ref().and_then(|message| message.tool_calls.as_deref()).unwrap_or_default()
    }

    fn created(&self) -> Option<u64> {
        let time: jiff::Timestamp = self.created_at.0.as_deref()?.parse().ok()?;
        u64::try_from(time.as_second()).ok()
    }

    fn usage(&self) -> Usage {
        Usage { prompt: self.prompt_eval_count.0, completion: self.eval_count.0, ..Usage::default() }
    }

    /// Why the answer ended.
    ///
    // KONG(llm/drivers/shared.lua): Kong reads a `finish_reason` that Ollama does not send. Its rule
    // for answers that give no reason, as old servers' did, is kept: as long as was allowed is too long.
    fn finish_reason(&self, tools: bool, limit: Option<u64>) -> &'static str {
        match self.done_reason.as_deref() {
            _ if tools => "tool_calls",
            Some("length") => "length",
            None if limit.is_some() && limit == self.eval_count.0 => "length",
            _ => "stop",
        }
    }
}

impl<'a> ToolCall<'a> {
    fn id(&self, exchange: &str, index: usize) -> String {
        let given = self.id.as_deref().filter(|id| !id.is_empty());
        given.map_or_else(|| tool_call_id(exchange, index), str::to_owned)
    }

    fn arguments(&self) -> &'a str {
        self.function.arguments.map_or("{}", RawValue::get)
    }
}

pub(super) fn reply(call: &Call<'_>, body: &[u8]) -> Result<Decoded> {
    let said = Said::read(body)?;
    if let Some(error) = said.error {
        return Err(Error::bad_reply(error_text(error)));
    }
    if said.message.is_none() && said.response.is_none() {
        return Err(undecodable());
    }
    let tools: Vec<_> =
        said.tool_calls().iter().enumerate().map(|(i, tool)| used(call.id, i, tool)).collect();
    let usage = said.usage();
    let reply = Reply {
        shape: call.shape(),
        id: &call.shape().reply_id(call.id),
        // KONG(llm/drivers/shared.lua): Kong puts Ollama's date text where OpenAI has a number.
        created: said.created().unwrap_or(call.now),
        model: said.model.0.as_deref().unwrap_or(call.model),
        answer: Answer { text: said.text(), reasoning: said.thinking(), tools: &tools },
        finish_reason: said.finish_reason(!tools.is_empty(), limit(call)),
        usage,
    };
    let body = reply.write()?;
    Ok(Decoded { body, usage, model: said.model.0.map(|model| model.0.into_owned()) })
}

fn used<'a>(exchange: &str, index: usize, tool: &'a ToolCall<'a>) -> ToolUse<'a> {
    // KONG(llm/drivers/shared.lua): Kong leaves the arguments an object; OpenAI's are a string.
    ToolUse { id: tool.id(exchange, index), name: &tool.function.name, arguments: tool.arguments() }
}

/// How many tokens the answer may have.
fn limit(call: &Call<'_>) -> Option<u64> {
    let client = |key| call.doc.field::<Count>(key).ok().flatten().and_then(|count| count.0);
    call.conf
        .model
        .options
        .max_tokens
        .or_else(|| client("max_completion_tokens"))
        .or_else(|| client("max_tokens"))
}

fn undecodable() -> Error {
    Error::bad_reply("failed to decode ollama response")
}

/// The stream: JSON lines, the last of them with `done` and the counts.
pub(super) struct Decoder {
    exchange: String,
    limit: Option<u64>,
    /// Tool calls so far: a line holds whole calls, and they count on across lines.
    tools: usize,
}

impl Decoder {
    pub(super) fn new(call: &Call<'_>) -> Self {
        Self { exchange: call.id.to_owned(), limit: limit(call), tools: 0 }
    }
}

// KONG(llm/drivers/shared.lua): Kong passes on the text alone: no role, tool calls, finish reason or
// error.
impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        if frame.data.trim_ascii().is_empty() {
            return Ok(());
        }
        let said = Said::read(frame.data)?;
        if let Some(error) = said.error {
            out.error(&error_text(error));
            return Ok(());
        }
        out.start(None, said.model.0.as_deref(), said.created());
        if let Some(thinking) = said.thinking() {
            out.reasoning(thinking);
        }
        out.text(said.text());
        for tool in said.tool_calls() {
            out.tool_call(self.tools, &tool.id(&self.exchange, self.tools), &tool.function.name);
            out.tool_arguments(self.tools, tool.arguments());
            self.tools += 1;
        }
        if said.done {
            out.usage(said.usage());
            out.finish(said.finish_reason(self.tools > 0, self.limit));
            out.done();
        }
        Ok(())
    }
}
