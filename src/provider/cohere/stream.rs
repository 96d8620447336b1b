//! Cohere's streams in OpenAI's words: v2's events by their `type`, v1's by their `event_type`.

use super::super::{BROKEN_OFF, End, StreamDecoder};
use super::decode::{Block, Finish, Spent, Tokens, ToolCall, given_up, undecodable, usage};
use crate::error::Result;
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::chat::tool_call_id;
use crate::wire::client_stream::ClientStream;
use crate::wire::frame::Frame;
use serde::Deserialize;

/// Any event of either API. What a kind does not have is absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow, rename = "type", alias = "event_type")]
    kind: Text<'a>,
    #[serde(borrow)]
    id: Lenient<Text<'a>>,
    #[serde(borrow)]
    generation_id: Lenient<Text<'a>>,
    #[serde(borrow)]
    text: Lenient<Text<'a>>,
    #[serde(borrow)]
    finish_reason: Lenient<Text<'a>>,
    /// Of v1: the whole answer again, with its counts.
    response: Lenient<Response>,
    /// Of v2: which tool call it is about.
    index: Lenient<u64>,
    #[serde(borrow)]
    delta: Lenient<Delta<'a>>,
    /// What went wrong, where an error takes the place of an event.
    #[serde(borrow)]
    message: Lenient<Text<'a>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Response {
    meta: Lenient<Spent>,
    token_count: Lenient<Tokens>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    message: Lenient<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Lenient<Text<'a>>,
    usage: Lenient<Spent>,
    #[serde(borrow)]
    error: Lenient<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    content: Lenient<Block<'a>>,
    #[serde(borrow)]
    tool_plan: Lenient<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Lenient<ToolCall<'a>>,
}

/// The state of a stream.
pub(super) struct Decoder {
    exchange: String,
    /// Tool calls so far; their place is their index for the client.
    calls: Vec<Call>,
}

struct Call {
    /// Cohere's index of it.
    index: Option<u64>,
    said: bool,
}

impl Decoder {
    pub(super) fn new(exchange: &str) -> Self {
        Self { exchange: exchange.to_owned(), calls: Vec::new() }
    }

    fn start_call(&mut self, index: Option<u64>, tool: &ToolCall<'_>, out: &mut ClientStream) {
        let at = self.calls.len();
        let given = tool.id.0.as_deref().filter(|id| !id.is_empty());
        let id = given.map_or_else(|| tool_call_id(&self.exchange, at), str::to_owned);
        out.tool_call(at, &id, tool.function.name.0.as_deref().unwrap_or_default());
        self.calls.push(Call { index, said: false });
        self.add_arguments(index, tool, out);
    }

    fn add_arguments(&mut self, index: Option<u64>, tool: &ToolCall<'_>, out: &mut ClientStream) {
        let piece = tool.function.arguments.0.as_deref().filter(|piece| !piece.is_empty());
        if let (Some(piece), Some((at, call))) = (piece, self.call(index)) {
            call.said = true;
            out.tool_arguments(at, piece);
        }
    }

    /// A call without arguments still has an object of them.
    fn end_call(&mut self, index: Option<u64>, out: &mut ClientStream) {
        if let Some((at, call)) = self.call(index)
            && !std::mem::replace(&mut call.said, true)
        {
            out.tool_arguments(at, "{}");
        }
    }

    fn call(&mut self, index: Option<u64>) -> Option<(usize, &mut Call)> {
        self.calls.iter_mut().enumerate().rfind(|(_, call)| call.index == index)
    }

    fn end(&self, reason: Option<&str>, error: Option<&str>, out: &mut ClientStream) {
        match (Finish::read(reason, !self.calls.is_empty()), error) {
            (Finish::Whole(reason), None) => {
                out.finish(reason);
                out.done();
            }
            (_, Some(error)) => out.error(error),
            (Finish::Failed, None) => out.error(&given_up(reason)),
        }
    }

    fn event(&mut self, event: Event<'_>, out: &mut ClientStream) {
        let delta = event.delta.0.unwrap_or_default();
        let message = delta.message.0.unwrap_or_default();
        let tool = message.tool_calls.0.unwrap_or_default();
        match &*event.kind {
            "message-start" | "stream-start" => {
                out.start(event.id.0.as_deref().or(event.generation_id.0.as_deref()), None, None);
                out.role();
            }
            "text-generation" => out.text(event.text.0.as_deref().unwrap_or_default()),
            "content-start" | "content-delta" => {
                let block = message.content.0.unwrap_or_default();
                out.reasoning(block.thinking.0.as_deref().unwrap_or_default());
                out.text(block.text.0.as_deref().unwrap_or_default());
            }
            "tool-plan-delta" => out.text(message.tool_plan.0.as_deref().unwrap_or_default()),
            "tool-call-start" => self.start_call(event.index.0, &tool, out),
            "tool-call-delta" => self.add_arguments(event.index.0, &tool, out),
            "tool-call-end" => self.end_call(event.index.0, out),
            "message-end" => {
                out.usage(usage(delta.usage, Lenient(None)));
                self.end(delta.finish_reason.0.as_deref(), delta.error.0.as_deref(), out);
            }
            "stream-end" => {
                let response = event.response.0.unwrap_or_default();
                out.usage(usage(response.meta, response.token_count));
                self.end(event.finish_reason.0.as_deref(), None, out);
            }
            _ => {
                if let Some(error) = event.message.0.as_deref() {
                    out.error(error);
                }
            }
        }
    }
}

/// The JSON of a frame. Where lines were expected and events came, the fields' names stand before it.
fn payload(line: &[u8]) -> Option<&[u8]> {
    let json = line.strip_prefix(b"data:").unwrap_or(line).trim_ascii();
    json.starts_with(b"{").then_some(json)
}

// KONG(llm/drivers/cohere.lua): Kong passes on v1's text alone, and nothing of v2's streams.
impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        if out.is_done() {
            return Ok(());
        }
        if let Some(json) = payload(frame.data) {
            let event = serde_json::from_slice(json).map_err(|_| undecodable())?;
            self.event(event, out);
        }
        Ok(())
    }

    fn finish(&mut self, _end: End, out: &mut ClientStream) -> Result<()> {
        // However the connection ended: without the last event there is more that did not come.
        if !out.is_done() {
            out.error(BROKEN_OFF);
        }
        Ok(())
    }
}
