//! Server-sent events, cut by the rules of the WHATWG event stream format.
//!
//! Two faces of one scan: [`Sse`] gives the payload of each event to a decoder; [`SseEvents`] gives
//! whole events byte for byte to a gateway that forwards them. The invariant of the second: the raw
//! bytes of all events, joined, are the stream.
//!
//! Unlike a browser, both deliver a last event whose blank line never came: whether it is whole is
//! for its reader to judge, and a gateway must not lose it.

use super::frame::{Cut, Cutter, Frame, MAX_FRAME, Scan, Splitter, overfull};
use crate::error::Result;
use bytes::{Buf, Bytes};
use memchr::memchr2;
use std::ops::Range;

/// Gives each event that has data as a [`Frame`].
#[derive(Debug, Default)]
pub struct Sse {
    cutter: Cutter<Blocks>,
    begun: bool,
    current: Fields,
}

impl Splitter for Sse {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.cutter.push(bytes)
    }

    fn next(&mut self) -> Option<Frame<'_>> {
        let block = loop {
            let range = self.cutter.next()?;
            self.current = Fields::read(self.cutter.get(range.clone()), !self.begun);
            self.begun = true;
            if self.current.data.is_some() {
                break range;
            }
        };
        self.current.frame(self.cutter.get(block))
    }

    fn finish(&mut self) {
        self.cutter.finish();
    }
}

/// One event as it was sent.
#[derive(Clone, Debug)]
pub struct Event {
    /// All of its bytes: comments, fields and the blank line at its end.
    pub raw: Bytes,
    fields: Fields,
}

impl Event {
    /// Its name and data; `None` if it has no data, as a comment sent to keep the connection alive.
    pub fn frame(&self) -> Option<Frame<'_>> {
        self.fields.frame(&self.raw)
    }
}

/// Gives whole events with their bytes. Only an event that was cut between two reads is copied.
#[derive(Debug, Default)]
pub struct SseEvents {
    blocks: Blocks,
    /// The part of an event that earlier reads brought.
    carry: Vec<u8>,
    rest: Bytes,
    begun: bool,
    over: bool,
}

impl SseEvents {
    /// Takes the next bytes of the stream. Take out all events before the next call.
    pub fn push(&mut self, read: Bytes) {
        self.rest = if self.rest.is_empty() { read } else { [&*self.rest, &*read].concat().into() };
    }

    /// The stream is over: an unterminated last event becomes available.
    pub fn finish(&mut self) {
        self.over = true;
    }

    /// The next whole event. One of more than [`MAX_FRAME`] bytes is an error.
    pub fn event(&mut self) -> Result<Option<Event>> {
        let Some(length) = self.scan(0)? else { return Ok(None) };
        let raw = self.take(length);
        let fields = Fields::read(&raw, !self.begun);
        self.begun = true;
        Ok(Some(Event { raw, fields }))
    }

    /// Moves the bytes of all whole events to `out`, except of those that `keep` refuses.
    ///
    /// Neighbours stay in one piece, so that a read full of events is one write again. Events without
    /// data are kept unasked.
    pub fn forward(&mut self, mut keep: impl FnMut(Frame<'_>) -> bool, out: &mut Vec<Bytes>) -> Result<()> {
        let mut kept = 0;
        loop {
            let length = match self.scan(kept) {
                Ok(Some(length)) => length,
                ended => {
                    self.flush(kept, out);
                    self.stash();
                    return ended.map(|_| ());
                }
            };
            if self.carry.is_empty() {
                let block = self.rest.get(kept..kept + length).unwrap_or_default();
                if wanted(block, !self.begun, &mut keep) {
                    kept += length;
                } else {
                    self.flush(kept, out);
                    self.rest.advance(length);
                    kept = 0;
                }
            } else {
                let block = self.take(length);
                if wanted(&block, !self.begun, &mut keep) {
                    out.push(block);
                }
            }
            self.begun = true;
        }
    }

    /// The length of the event that begins at `from`, without what is carried of it.
    fn scan(&mut self, from: usize) -> Result<Option<usize>> {
        let bytes = self.rest.get(from..).unwrap_or_default();
        let found = match self.blocks.scan(bytes) {
            Some(Cut::Message(length) | Cut::Gap(length)) => Some(length),
            None => (self.over && self.carry.len() + bytes.len() > 0).then_some(bytes.len()),
        };
        if self.carry.len() + found.unwrap_or(bytes.len()) > MAX_FRAME {
            self.carry.clear();
            self.rest.truncate(from);
            return Err(overfull());
        }
        if found.is_none() && from == 0 {
            self.stash();
        }
        Ok(found)
    }

    /// Keeps the beginning of an event until the next read.
    fn stash(&mut self) {
        self.carry.extend_from_slice(&self.rest);
        self.rest.clear();
    }

    fn take(&mut self, length: usize) -> Bytes {
        let tail = self.rest.split_to(length);
        if self.carry.is_empty() {
            return tail;
        }
        self.carry.extend_from_slice(&tail);
        Bytes::from(std::mem::take(&mut self.carry))
    }

    fn flush(&mut self, kept: usize, out: &mut Vec<Bytes>) {
        if kept > 0 {
            out.push(self.rest.split_to(kept));
        }
    }
}

fn wanted(block: &[u8], first: bool, keep: &mut impl FnMut(Frame<'_>) -> bool) -> bool {
    Fields::read(block, first).frame(block).is_none_or(keep)
}

/// Finds the blank lines that end events.
#[derive(Debug, Default)]
struct Blocks {
    line: Line,
}

/// Where in a line the scan stands.
#[derive(Clone, Copy, Debug, Default)]
enum Line {
    /// At its beginning.
    #[default]
    Start,
    Text,
    /// After a CR that ended a line; an LF would still belong to it.
    Ended,
    /// After a CR that ended a blank line behind an LF. The stream's line ends are CRLF then, so the
    /// event is held back until its LF is there too: a client must not wait for it.
    Blank,
}

impl Scan for Blocks {
    fn scan(&mut self, bytes: &[u8]) -> Option<Cut> {
        let mut at = 0;
        loop {
            if matches!(self.line, Line::Text) {
                at += memchr2(b'\n', b'\r', bytes.get(at..)?)?;
            }
            let byte = *bytes.get(at)?;
            let (line, end) = match (self.line, byte) {
                (Line::Start | Line::Blank, b'\n') | (Line::Ended, b'\r') => (Line::Start, Some(at + 1)),
                (Line::Text | Line::Ended, b'\n') => (Line::Start, None),
                (Line::Start, b'\r') => (Line::Blank, None),
                (Line::Text, b'\r') => (Line::Ended, None),
                (Line::Blank, _) => (Line::Start, Some(at)),
                (Line::Start | Line::Ended | Line::Text, _) => (Line::Text, None),
            };
            self.line = line;
            if let Some(end) = end {
                return Some(Cut::Message(end));
            }
            at += 1;
        }
    }
}

/// What an event says, as places in its block. `id` and `retry` concern reconnecting clients only.
#[derive(Clone, Debug, Default)]
struct Fields {
    event: Option<Range<usize>>,
    data: Option<Data>,
}

#[derive(Clone, Debug)]
enum Data {
    Line(Range<usize>),
    Lines(Vec<u8>),
}

impl Fields {
    /// Reads a block; the stream's `first` may begin with a byte order mark.
    fn read(block: &[u8], first: bool) -> Self {
        let mut fields = Self::default();
        let mut at = if first && block.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        while let Some(rest) = block.get(at..).filter(|rest| !rest.is_empty()) {
            let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or_default();
            if let Some(value) = value(line, b"data") {
                fields.add(block, at + value..at + length);
            } else if let Some(value) = value(line, b"event") {
                fields.event = Some(at + value..at + length);
            }
            // The LF of a CRLF then reads as an empty line, which says nothing.
            at += length + 1;
        }
        fields
    }

    fn add(&mut self, block: &[u8], line: Range<usize>) {
        let text = |range: Range<usize>| block.get(range).unwrap_or_default();
        self.data = Some(match self.data.take() {
            None => Data::Line(line),
            Some(Data::Line(first)) => Data::Lines([text(first), text(line)].join(&b'\n')),
            Some(Data::Lines(mut lines)) => {
                lines.push(b'\n');
                lines.extend_from_slice(text(line));
                Data::Lines(lines)
            }
        });
    }

    fn frame<'a>(&'a self, block: &'a [u8]) -> Option<Frame<'a>> {
        let data = match self.data.as_ref()? {
            Data::Line(range) => block.get(range.clone())?,
            Data::Lines(lines) => lines,
        };
        let name = self.event.clone().and_then(|range| std::str::from_utf8(block.get(range)?).ok());
        Some(Frame { event: name.filter(|name| !name.is_empty()), data })
    }
}

/// Where the value of the field `name` begins, if that is the line's field.
fn value(line: &[u8], name: &[u8]) -> Option<usize> {
    match line.strip_prefix(name)? {
        [] => Some(name.len()),
        [b':', b' ', ..] => Some(name.len() + 2),
        [b':', ..] => Some(name.len() + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
