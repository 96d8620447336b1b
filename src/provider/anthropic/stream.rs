//! Anthropic's streams in OpenAI's words: of Messages, and of Text Completions.

use super::super::{BROKEN_OFF, End, StreamDecoder, error_text};
use super::decode::{Block, Counts, finish_reason, undecodable};
use crate::error::Result;
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::chat::tool_call_id;
use crate::wire::client_stream::ClientStream;
use crate::wire::frame::Frame;
use crate::wire::usage::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Any event. What a kind does not have is absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    /// Of `message_start`.
    #[serde(borrow)]
    message: Lenient<Started<'a>>,
    /// Which content block it is about.
    index: Lenient<u64>,
    #[serde(borrow)]
    content_block: Lenient<Block<'a>>,
    #[serde(borrow)]
    delta: Lenient<Delta<'a>>,
    /// Of `message_delta`.
    usage: Lenient<Counts>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Of Text Completions, as the three below.
    #[serde(borrow)]
    completion: Lenient<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Lenient<Text<'a>>,
    #[serde(borrow)]
    id: Lenient<Text<'a>>,
    #[serde(borrow)]
    model: Lenient<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Started<'a> {
    #[serde(borrow)]
    id: Lenient<Text<'a>>,
    #[serde(borrow)]
    model: Lenient<Text<'a>>,
    usage: Lenient<Counts>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    text: Lenient<Text<'a>>,
    #[serde(borrow)]
    partial_json: Lenient<Text<'a>>,
    #[serde(borrow)]
    thinking: Lenient<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Lenient<Text<'a>>,
}

/// The state of a stream.
#[derive(Default)]
pub(super) struct Decoder {
    exchange: String,
    counts: Counts,
    /// Tool calls so far; their place is their index for the client.
    calls: Vec<Call>,
    text: Paragraphs,
    thinking: Paragraphs,
}

/// A `tool_use` block.
struct Call {
    block: Option<u64>,
    /// The arguments that the block began with: all of them if no pieces follow.
    input: String,
    said: bool,
}

/// Blocks of text are a line each, as in a whole reply.
#[derive(Default)]
struct Paragraphs {
    begun: bool,
    owed: bool,
}

impl Paragraphs {
    fn block(&mut self) {
        self.owed = self.begun;
    }

    fn piece(&mut self, text: &str, mut put: impl FnMut(&str)) {
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.owed) {
            put("\n");
        }
        self.begun = true;
        put(text);
    }
}

impl Decoder {
    pub(super) fn new(exchange: &str) -> Self {
        Self { exchange: exchange.to_owned(), ..Self::default() }
    }

    fn begin(&mut self, message: &Started<'_>, out: &mut ClientStream) {
        out.start(message.id.0.as_deref(), message.model.0.as_deref(), None);
        out.role();
        // The output's count is only a beginning here, and wrong if the stream breaks.
        if let Some(usage) = self.count(message.usage) {
            out.usage(Usage { completion: None, reasoning: None, ..usage });
        }
    }

    fn start_block(&mut self, index: Option<u64>, block: &Block<'_>, out: &mut ClientStream) {
        match &*block.kind {
            "text" => {
                self.text.block();
                self.text.piece(block.text.0.as_deref().unwrap_or_default(), |text| out.text(text));
            }
            "thinking" => {
                self.thinking.block();
                let text = block.thinking.0.as_deref().unwrap_or_default();
                self.thinking.piece(text, |text| out.reasoning(text));
            }
            "tool_use" => {
                let at = self.calls.len();
                let given = block.id.0.as_deref().filter(|id| !id.is_empty());
                let id = given.map_or_else(|| tool_call_id(&self.exchange, at), str::to_owned);
                out.tool_call(at, &id, block.name.0.as_deref().unwrap_or_default());
                let input = block.input.map_or("{}", RawValue::get).to_owned();
                self.calls.push(Call { block: index, input, said: false });
            }
            _ => {}
        }
    }

    fn add(&mut self, index: Option<u64>, delta: &Delta<'_>, out: &mut ClientStream) {
        if let Some(text) = delta.text.0.as_deref() {
            self.text.piece(text, |text| out.text(text));
        }
        if let Some(text) = delta.thinking.0.as_deref() {
            self.thinking.piece(text, |text| out.reasoning(text));
        }
        let Some(json) = delta.partial_json.0.as_deref().filter(|json| !json.is_empty()) else { return };
        if let Some((at, call)) = self.call(index) {
            call.said = true;
            out.tool_arguments(at, json);
        }
    }

    /// A call without arguments still has an object of them.
    fn end_block(&mut self, index: Option<u64>, out: &mut ClientStream) {
        if let Some((at, call)) = self.call(index)
            && !std::mem::replace(&mut call.said, true)
        {
            out.tool_arguments(at, &call.input);
        }
    }

    fn call(&mut self, block: Option<u64>) -> Option<(usize, &mut Call)> {
        self.calls.iter_mut().enumerate().rfind(|(_, call)| call.block == block)
    }

    fn count(&mut self, counts: Lenient<Counts>) -> Option<Usage> {
        self.counts.update(counts.0?);
        Some(self.counts.usage())
    }

    fn end(&self, reason: Option<&str>, out: &mut ClientStream) {
        out.finish(finish_reason(reason, !self.calls.is_empty()));
    }
}

// KONG(llm/drivers/anthropic.lua): Kong passes on the text alone: no tool calls, thinking, finish
// reason or error.
impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        if out.is_done() || frame.data == b"[DONE]" {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(frame.data).map_err(|_| undecodable())?;
        let index = event.index.0;
        match &*event.kind {
            "message_start" => self.begin(&event.message.0.unwrap_or_default(), out),
            "content_block_start" => self.start_block(index, &event.content_block.0.unwrap_or_default(), out),
            "content_block_delta" => self.add(index, &event.delta.0.unwrap_or_default(), out),
            "content_block_stop" => self.end_block(index, out),
            "message_delta" => {
                self.count(event.usage);
                out.usage(self.counts.usage());
                let delta = event.delta.0.unwrap_or_default();
                if let Some(reason) = delta.stop_reason.0.as_deref() {
                    self.end(Some(reason), out);
                }
            }
            "message_stop" => {
                self.end(None, out);
                out.done();
            }
            "completion" => {
                out.start(event.id.0.as_deref(), event.model.0.as_deref(), None);
                out.text(event.completion.0.as_deref().unwrap_or_default());
                if let Some(reason) = event.stop_reason.0.as_deref() {
                    self.end(Some(reason), out);
                    out.done();
                }
            }
            _ => {
                if let Some(error) = event.error {
                    out.error(&error_text(error));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _end: End, out: &mut ClientStream) -> Result<()> {
        // However the connection ended: without `message_stop` there is more that did not come.
        if !out.is_done() {
            out.error(BROKEN_OFF);
        }
        Ok(())
    }
}
