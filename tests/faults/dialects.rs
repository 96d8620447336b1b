//! The six dialects as data: what a healthy answer is made of, and how each says that it failed.
//!
//! A frame is written `name payload`, or as its payload alone where the dialect names no events.
//! Every healthy answer says "Hello world", and states [`PROMPT`] and [`COMPLETION`] tokens.

use crate::events;

/// The tokens that every provider states for the prompt,
pub const PROMPT: u64 = 11;
/// and for its answer.
pub const COMPLETION: u64 = 7;

/// What every provider says when it reports an error.
pub const TROUBLE: &str = "the model is overloaded";

/// How frames are written.
pub enum Framing {
    /// Server-sent events, with a name where the frame has one.
    Sse,
    /// A line each.
    Lines,
    /// AWS's binary messages.
    Aws,
}

/// One dialect.
pub struct Dialect {
    pub provider: &'static str,
    /// Where its `upstream_url` has to name an operation.
    pub path: &'static str,
    pub content_type: &'static str,
    pub framing: Framing,
    /// What comes before the model has said anything.
    pub preamble: &'static [&'static str],
    /// "Hello", " world".
    pub output: [&'static str; 2],
    /// Why the answer ends, without a word on usage.
    pub finish: &'static str,
    /// The end of a healthy answer, beginning with the frame that says why; the last is the
    /// dialect's own last event.
    pub ending: &'static [&'static str],
    /// An error in the middle of a stream.
    pub error: &'static str,
    /// An error in the place of an answer.
    pub error_body: &'static str,
}

impl Dialect {
    /// The bytes of a frame.
    pub fn frame(&self, text: &str) -> Vec<u8> {
        match self.framing {
            Framing::Aws => events::encode(text.as_bytes()),
            Framing::Lines => format!("{text}\n").into(),
            Framing::Sse => match text.split_once(' ').filter(|_| !text.starts_with('{')) {
                Some((name, payload)) => format!("event: {name}\ndata: {payload}\n\n").into(),
                None => format!("data: {text}\n\n").into(),
            },
        }
    }

    /// A healthy answer, frame by frame.
    pub fn healthy(&self) -> impl Iterator<Item = &'static str> {
        self.preamble.iter().chain(&self.output).chain(self.ending).copied()
    }
}

pub const ALL: [&Dialect; 6] = [&OPENAI, &ANTHROPIC, &GEMINI, &BEDROCK, &COHERE, &OLLAMA];

const OPENAI: Dialect = Dialect {
    provider: "openai",
    path: "",
    content_type: "text/event-stream",
    framing: Framing::Sse,
    preamble: &[
        r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
    ],
    output: [
        r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}"#,
        r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" world"},"finish_reason":null}]}"#,
    ],
    finish: r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    ending: &[
        r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#,
        "[DONE]",
    ],
    error: r#"{"error":{"message":"the model is overloaded","type":"server_error","code":null}}"#,
    error_body: r#"{"error":{"message":"the model is overloaded","type":"server_error","code":null}}"#,
};

const ANTHROPIC: Dialect = Dialect {
    provider: "anthropic",
    path: "",
    content_type: "text/event-stream; charset=utf-8",
    framing: Framing::Sse,
    preamble: &[
        r#"message_start {"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"usage":{"input_tokens":11,"output_tokens":1}}}"#,
        r#"content_block_start {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"ping {"type":"ping"}"#,
    ],
    output: [
        r#"content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#,
        r#"content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" world"}}"#,
    ],
    finish: r#"message_delta {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null}}"#,
    ending: &[
        r#"message_delta {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}"#,
        r#"message_stop {"type":"message_stop"}"#,
    ],
    error: r#"error {"type":"error","error":{"type":"overloaded_error","message":"the model is overloaded"}}"#,
    error_body: r#"{"type":"error","error":{"type":"overloaded_error","message":"the model is overloaded"}}"#,
};

/// Why it ends and what it used stand in one frame, which is the last; the counts so far stand in all.
const GEMINI: Dialect = Dialect {
    provider: "gemini",
    path: "",
    content_type: "text/event-stream",
    framing: Framing::Sse,
    preamble: &[
        r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":11,"totalTokenCount":11},"modelVersion":"m","responseId":"r1"}"#,
    ],
    output: [
        r#"{"candidates":[{"content":{"parts":[{"text":"Hello"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":3,"totalTokenCount":14},"modelVersion":"m","responseId":"r1"}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":" world"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":6,"totalTokenCount":17},"modelVersion":"m","responseId":"r1"}"#,
    ],
    finish: r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0,"finishReason":"STOP"}]}"#,
    ending: &[
        r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0,"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":7,"totalTokenCount":18},"modelVersion":"m","responseId":"r1"}"#,
    ],
    error: r#"{"error":{"code":503,"message":"the model is overloaded","status":"UNAVAILABLE"}}"#,
    error_body: r#"{"error":{"code":503,"message":"the model is overloaded","status":"UNAVAILABLE"}}"#,
};

const BEDROCK: Dialect = Dialect {
    provider: "bedrock",
    path: "",
    content_type: "application/vnd.amazon.eventstream",
    framing: Framing::Aws,
    preamble: &[r#"messageStart {"role":"assistant","p":"abcdefgh"}"#],
    output: [
        r#"contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"Hello"},"p":"abcd"}"#,
        r#"contentBlockDelta {"contentBlockIndex":0,"delta":{"text":" world"},"p":"abcd"}"#,
    ],
    finish: r#"messageStop {"stopReason":"end_turn","p":"ab"}"#,
    ending: &[
        r#"messageStop {"stopReason":"end_turn","p":"ab"}"#,
        r#"metadata {"metrics":{"latencyMs":420},"usage":{"inputTokens":11,"outputTokens":7,"totalTokens":18},"p":"a"}"#,
    ],
    error: r#"!serviceUnavailableException {"message":"the model is overloaded"}"#,
    error_body: r#"{"message":"the model is overloaded"}"#,
};

const COHERE: Dialect = Dialect {
    provider: "cohere",
    path: "/v2/chat",
    content_type: "text/event-stream",
    framing: Framing::Sse,
    preamble: &[
        r#"message-start {"type":"message-start","id":"c1","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
        r#"content-start {"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
    ],
    output: [
        r#"content-delta {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hello"}}}}"#,
        r#"content-delta {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" world"}}}}"#,
    ],
    finish: r#"message-end {"type":"message-end","id":null,"delta":{"finish_reason":"COMPLETE"}}"#,
    ending: &[
        r#"message-end {"type":"message-end","id":null,"delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":11,"output_tokens":7},"tokens":{"input_tokens":11,"output_tokens":7}}}}"#,
        "[DONE]",
    ],
    error: r#"message-end {"type":"message-end","id":null,"delta":{"finish_reason":"ERROR","error":"the model is overloaded"}}"#,
    error_body: r#"{"message":"the model is overloaded"}"#,
};

/// One line says why it ends, what it used, and that nothing follows. It has no preamble.
const OLLAMA: Dialect = Dialect {
    provider: "llama2",
    path: "",
    content_type: "application/x-ndjson",
    framing: Framing::Lines,
    preamble: &[
        r#"{"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":""},"done":false}"#,
    ],
    output: [
        r#"{"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":"Hello"},"done":false}"#,
        r#"{"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":" world"},"done":false}"#,
    ],
    finish: r#"{"model":"m","created_at":"2024-01-01T00:00:01Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"#,
    ending: &[
        r#"{"model":"m","created_at":"2024-01-01T00:00:01Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":11,"eval_count":7}"#,
    ],
    error: r#"{"error":"the model is overloaded"}"#,
    error_body: r#"{"error":"the model is overloaded"}"#,
};
