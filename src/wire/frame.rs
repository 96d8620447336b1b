//! One message of a stream, whatever cut it out of the bytes.

use crate::error::Result;

/// How a stream is cut into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// One JSON value a line.
    JsonLines,
    /// One JSON array, its elements arriving one by one.
    JsonArray,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The event's name where the framing has one and the sender gave it.
    pub event: Option<&'a str>,
    /// The payload: of an SSE event its data lines joined by `\n`.
    pub data: &'a [u8],
}

/// Cuts messages out of a stream that TCP may have cut anywhere.
///
/// `push` bytes, then call `next` until it has no more; after the stream's end, `finish` gives what
/// stood unterminated. A message larger than the bound is an error: the buffer never outgrows it.
pub trait Splitter: Send {
    /// Takes the next bytes of the stream.
    fn push(&mut self, bytes: &[u8]) -> Result<()>;
    /// The next whole message.
    fn next(&mut self) -> Option<Frame<'_>>;
    /// The stream is over: an unterminated last message becomes available to `next`.
    fn finish(&mut self);
}

impl Framing {
    /// A splitter for this framing.
    pub fn splitter(self) -> Box<dyn Splitter> {
        match self {
            Self::Sse => Box::new(super::sse::Sse::default()),
            Self::JsonLines => Box::new(super::json_lines::JsonLines::default()),
            Self::JsonArray => Box::new(super::json_array::JsonArray::default()),
        }
    }
}

/// The largest message that is buffered, in bytes.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;
