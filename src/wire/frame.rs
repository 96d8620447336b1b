//! One message of a stream, whatever cut it out of the bytes.

use crate::error::{Error, Result};
use std::ops::Range;

/// How a stream is cut into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// One JSON value a line.
    JsonLines,
    /// One JSON array, its elements arriving one by one.
    JsonArray,
    /// Server-sent events, or the elements of a JSON array: whichever comes.
    SseOrJson,
    /// AWS's binary messages: the event is their type; see [`FAILURE`](super::event_stream::FAILURE).
    AwsEventStream,
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
            Self::SseOrJson => Box::new(super::sse_or_json::SseOrJson::default()),
            Self::AwsEventStream => Box::new(super::event_stream::EventStream::default()),
        }
    }
}

/// The largest message that is buffered, in bytes. Under a fuzzer it is small enough to be reached.
pub const MAX_FRAME: usize = if cfg!(fuzzing) { 512 } else { 16 * 1024 * 1024 };

/// What a [`Scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The message that was open ends before this offset of the bytes given.
    Message(usize),
    /// No message is open, and up to this offset none begins.
    Gap(usize),
}

/// Knows where messages end. It sees every byte once, in pieces that may be cut anywhere.
pub(super) trait Scan {
    /// The first end in `bytes`; `None` if all of them belong to a message that stays open.
    ///
    /// The next call begins where this one ended.
    fn scan(&mut self, bytes: &[u8]) -> Option<Cut>;
}

/// The buffer behind every splitter: bytes in, ranges of whole messages out.
///
/// Ends are looked for while bytes come in, so that the bound holds for a message however it was cut.
#[derive(Debug, Default)]
pub(super) struct Cutter<S> {
    scan: S,
    bytes: Vec<u8>,
    /// The messages in `bytes` that are whole.
    whole: Vec<Range<usize>>,
    /// How many of them were given out.
    taken: usize,
    /// Where the message that is still open begins.
    open: usize,
    overfull: bool,
}

impl<S: Scan> Cutter<S> {
    pub(super) fn push(&mut self, more: &[u8]) -> Result<()> {
        if self.overfull {
            return Err(overfull());
        }
        self.compact();
        let mut at = self.bytes.len();
        self.bytes.extend_from_slice(more);
        while let Some(cut) = self.scan.scan(self.bytes.get(at..).unwrap_or_default()) {
            let (Cut::Message(length) | Cut::Gap(length)) = cut;
            at += length;
            if at - self.open > MAX_FRAME && matches!(cut, Cut::Message(_)) {
                return self.give_up();
            }
            if matches!(cut, Cut::Message(_)) {
                self.whole.push(self.open..at);
            }
            self.open = at;
        }
        if self.bytes.len() - self.open > MAX_FRAME { self.give_up() } else { Ok(()) }
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        let range = self.whole.get(self.taken).cloned()?;
        self.taken += 1;
        Some(range)
    }

    pub(super) fn get(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// Nothing more comes: what is open is a message too.
    pub(super) fn finish(&mut self) {
        if self.open < self.bytes.len() {
            self.whole.push(self.open..self.bytes.len());
            self.open = self.bytes.len();
        }
    }

    /// Drops what was given out. Only the open message moves, and it is short or still growing.
    fn compact(&mut self) {
        if self.taken == self.whole.len() {
            self.bytes.drain(..self.open);
            self.whole.clear();
            (self.taken, self.open) = (0, 0);
        }
    }

    /// Messages before the one that is too large can still be taken.
    fn give_up(&mut self) -> Result<()> {
        self.overfull = true;
        self.bytes.truncate(self.open);
        Err(overfull())
    }
}

/// The error for a message over [`MAX_FRAME`].
pub(super) fn overfull() -> Error {
    Error::bad_reply(format!("upstream sent a message of more than {} MiB in a stream", MAX_FRAME >> 20))
}
