//! Anthropic's messages as they are written, whole and as a stream.

use crate::mock::answer::{Answer, Finish};
use crate::mock::ask::Spent;
use crate::mock::call::pieces;
use crate::mock::reply::{Framing, Reply, Script};
use crate::mock::said::Said;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Serialize)]
struct Message<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: &'a [Block<'a>],
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    usage: Usage,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'a str },
    ToolUse { id: String, name: &'a str, input: &'a Value },
}

#[allow(clippy::struct_field_names)] // Anthropic's names
#[derive(Serialize)]
struct Usage {
    /// Without those from a cache.
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
}

#[derive(Serialize)]
struct Event<'a, T: Serialize> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_block: Option<Block<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta<'a> {
    TextDelta { text: &'a str },
    InputJsonDelta { partial_json: &'a str },
}

#[derive(Serialize)]
struct Stop<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

impl Usage {
    fn new(spent: Spent, output_tokens: u64) -> Self {
        Self {
            input_tokens: spent.fresh(),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: spent.cached.unwrap_or(0),
            output_tokens,
        }
    }
}

impl<T: Serialize> Event<'_, T> {
    fn new(kind: &'static str, index: Option<u32>) -> Self {
        Self { kind, index, message: None, content_block: None, delta: None, usage: None }
    }
}

/// A message.
pub fn whole(model: &str, said: &Said, spent: Spent) -> Reply {
    let stop = stop(said);
    let usage = Usage::new(spent, spent.completion);
    let message = Message {
        stop_reason: Some(stop.stop_reason),
        stop_sequence: stop.stop_sequence,
        ..message(model, usage)
    };
    let content = [match said {
        Said::Text(answer) => Block::Text { text: &answer.text },
        Said::Call(call) => Block::ToolUse { id: id("toolu_"), name: &call.name, input: &call.arguments },
    }];
    Reply::json(&Message { content: &content, ..message })
}

/// The events of a message.
pub fn stream(model: &str, said: &Said, spent: Spent, chunks: Option<usize>) -> Reply {
    let mut stream = Stream(Script::new(Framing::Sse));
    let start = Event::<()>::new("message_start", None);
    stream.event(&Event { message: Some(message(model, Usage::new(spent, 1))), ..start });
    match said {
        Said::Text(answer) => stream.text(answer, chunks),
        Said::Call(call) => {
            let no_input = json!({});
            stream.start(Block::ToolUse { id: id("toolu_"), name: &call.name, input: &no_input });
            stream.delta(Delta::InputJsonDelta { partial_json: "" });
            for piece in pieces(&call.json()) {
                stream.delta(Delta::InputJsonDelta { partial_json: piece });
                stream.0.mark();
            }
        }
    }
    stream.event(&Event::<()>::new("content_block_stop", Some(0)));
    let usage = Some(Usage::new(spent, spent.completion)); // the counts are cumulative
    stream.0.named(
        "message_delta",
        &Event { delta: Some(stop(said)), usage, ..Event::new("message_delta", None) },
    );
    stream.event(&Event::<()>::new("message_stop", None));
    Reply::Stream(stream.0)
}

struct Stream(Script);

impl Stream {
    fn event<T: Serialize>(&mut self, event: &Event<'_, T>) {
        self.0.named(event.kind, event);
    }

    fn start(&mut self, block: Block<'_>) {
        let start = Event::<()>::new("content_block_start", Some(0));
        self.event(&Event { content_block: Some(block), ..start });
        self.event(&Event::<()>::new("ping", None));
    }

    fn delta(&mut self, delta: Delta<'_>) {
        self.event(&Event { delta: Some(delta), ..Event::new("content_block_delta", Some(0)) });
    }

    fn text(&mut self, answer: &Answer, chunks: Option<usize>) {
        self.start(Block::Text { text: "" });
        for text in answer.fragments(chunks) {
            self.delta(Delta::TextDelta { text });
            self.0.mark();
        }
    }
}

fn message(model: &str, usage: Usage) -> Message<'_> {
    let (id, kind, role) = (id("msg_"), "message", "assistant");
    Message { id, kind, role, model, content: &[], stop_reason: None, stop_sequence: None, usage }
}

fn stop(said: &Said) -> Stop<'_> {
    let stop_reason = match said {
        Said::Call(_) => "tool_use",
        Said::Text(answer) => match answer.finish {
            Finish::End => "end_turn",
            Finish::StopWord => "stop_sequence",
            Finish::Length => "max_tokens",
        },
    };
    let stop_sequence = match said {
        Said::Text(answer) => answer.stop.as_deref(),
        Said::Call(_) => None,
    };
    Stop { stop_reason, stop_sequence }
}

fn id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}
