//! `ConverseStream`'s events.

use super::super::StreamDecoder;
use super::decode::{Counts, finish_reason};
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::client_stream::ClientStream;
use crate::wire::event_stream::FAILURE;
use crate::wire::frame::Frame;
use serde::Deserialize;

/// The payload of an event: each has some of these fields.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    start: Lenient<Start<'a>>,
    #[serde(borrow)]
    delta: Lenient<Delta<'a>>,
    #[serde(borrow)]
    stop_reason: Lenient<Text<'a>>,
    usage: Lenient<Counts>,
    /// Of an exception.
    #[serde(borrow)]
    message: Lenient<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    #[serde(borrow)]
    tool_use: Named<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    #[serde(borrow, default)]
    tool_use_id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Delta<'a> {
    #[serde(borrow)]
    text: Lenient<Text<'a>>,
    #[serde(borrow)]
    tool_use: Lenient<Input<'a>>,
    #[serde(borrow)]
    reasoning_content: Lenient<Thought<'a>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow, default)]
    input: Text<'a>,
}

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
}

/// Blocks come one after the other, so it is enough to know the one that is open.
#[derive(Default)]
pub(super) struct Decoder {
    /// The tools that were called so far.
    calls: usize,
    tool: Tool,
}

/// The tool call that is open.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Tool {
    #[default]
    None,
    /// Nothing of its arguments has come.
    Begun,
    Fed,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        let name = frame.event.unwrap_or_default();
        if let Some(exception) = name.strip_prefix(FAILURE) {
            let event: Event<'_> = serde_json::from_slice(frame.data).unwrap_or_default();
            let message = event.message.0.map_or_else(String::new, |text| format!(": {}", &*text));
            out.error(&format!("{exception}{message}"));
            return Ok(());
        }
        let known = matches!(
            name,
            "contentBlockStart" | "contentBlockDelta" | "contentBlockStop" | "messageStop" | "metadata"
        );
        if name == "messageStart" {
            out.role();
        }
        // What AWS may add is not for this client.
        if !known {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(frame.data)
            .map_err(|_| Error::bad_reply("failed to decode response from Bedrock"))?;
        self.tell(name, &event, out);
        Ok(())
    }
}

impl Decoder {
    fn tell(&mut self, name: &str, event: &Event<'_>, out: &mut ClientStream) {
        match name {
            "contentBlockStart" => {
                if let Some(Start { tool_use }) = &event.start.0 {
                    self.tool = Tool::Begun;
                    out.tool_call(self.calls, &tool_use.tool_use_id, &tool_use.name);
                    self.calls += 1;
                }
            }
            "contentBlockDelta" => {
                if let Some(delta) = &event.delta.0 {
                    self.add(delta, out);
                }
            }
            "contentBlockStop" => {
                // A tool that takes nothing: OpenAI's clients read the arguments as JSON all the same.
                if self.tool == Tool::Begun {
                    out.tool_arguments(self.calls.saturating_sub(1), "{}");
                }
                self.tool = Tool::None;
            }
            "messageStop" => out.finish(finish_reason(event.stop_reason.0.as_deref().unwrap_or_default())),
            _ => {
                if let Some(counts) = &event.usage.0 {
                    out.usage(counts.usage());
                }
                // The last event.
                if out.is_finished() {
                    out.done();
                }
            }
        }
    }

    fn add(&mut self, delta: &Delta<'_>, out: &mut ClientStream) {
        if let Some(text) = &delta.text.0 {
            out.text(text);
        }
        if let Some(thought) = &delta.reasoning_content.0 {
            out.reasoning(&thought.text);
        }
        if let Some(piece) = delta.tool_use.0.as_ref().filter(|piece| !piece.input.is_empty()) {
            self.tool = Tool::Fed;
            out.tool_arguments(self.calls.saturating_sub(1), &piece.input);
        }
    }
}
