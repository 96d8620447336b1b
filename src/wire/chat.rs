//! OpenAI's Chat Completions and legacy Completions: borrowed views of requests, the canonical
//! replies, and lean looks at replies that pass through.
//!
//! Nothing here builds a tree: what is not asked for is skipped over, what is asked for is borrowed.

pub mod lenient;
mod media;
pub mod parameters;
mod reply;
mod request;
mod scan;
mod text;

pub use media::DataUrl;
pub use reply::{Answer, Reply, ToolUse};
pub use request::{Content, File, FunctionCall, Message, Part, ToolCall, messages};
pub use scan::{ReplyScan, has_output, reply_glance, reply_scan, reported};
pub use text::{answer_text, chunk_text, finish_reasons, prompt_text};

/// Which of the two APIs the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `chat.completion`, `chat.completion.chunk`.
    Chat,
    /// `text_completion`.
    Text,
}

impl Shape {
    /// A reply's id, from the exchange's.
    pub fn reply_id(self, id: &str) -> String {
        match self {
            Self::Chat => format!("chatcmpl-{id}"),
            Self::Text => format!("cmpl-{id}"),
        }
    }
}

/// The id of the tool call at `index` where the provider gave none.
pub fn tool_call_id(id: &str, index: usize) -> String {
    format!("call_{id}_{index}")
}
