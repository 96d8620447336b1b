//! Answers on their way out: whole or as a stream; late, slowly, or cut off, as asked.

use super::{Options, frame};
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use std::io;
use std::time::Duration;
use tokio_stream::{Stream, StreamExt};

/// What is sent before a cut must have left before the connection breaks.
const BEFORE_CUT: Duration = Duration::from_millis(20);

/// What to answer.
pub enum Reply {
    /// One JSON document.
    Whole(Vec<u8>),
    /// Event by event.
    Stream(Script),
}

impl Reply {
    /// One JSON document.
    pub fn json(value: &impl Serialize) -> Self {
        Self::Whole(json(value))
    }
}

/// How the events of a stream are told apart.
#[derive(Clone, Copy, Debug)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// One JSON document a line.
    Lines,
    /// The same, under the name that Cohere has for it.
    StreamJson,
    /// One JSON array, an event an element.
    Array,
    /// AWS's binary frames.
    Frames,
}

impl Framing {
    fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Lines => "application/x-ndjson",
            Self::StreamJson => "application/stream+json",
            Self::Array => "application/json",
            Self::Frames => "application/vnd.amazon.eventstream",
        }
    }
}

/// A stream, written in advance: one buffer, and where in it each content event ends.
pub struct Script {
    framing: Framing,
    bytes: Vec<u8>,
    contents: Vec<usize>,
}

impl Script {
    /// A stream without events.
    pub fn new(framing: Framing) -> Self {
        Self { framing, bytes: Vec::with_capacity(4096), contents: Vec::new() }
    }

    /// An event that carries a part of the answer.
    pub fn content(&mut self, event: &impl Serialize) {
        self.event(event);
        self.mark();
    }

    /// What was written last carries a part of the answer.
    pub fn mark(&mut self) {
        self.contents.push(self.bytes.len());
    }

    /// Any other event.
    pub fn event(&mut self, event: &impl Serialize) {
        let before: &[u8] = match self.framing {
            Framing::Sse => b"data: ",
            Framing::Array if self.bytes.is_empty() => b"[",
            Framing::Array => b",\n",
            Framing::Lines | Framing::StreamJson | Framing::Frames => b"",
        };
        self.bytes.extend_from_slice(before);
        write(&mut self.bytes, event);
        self.bytes.extend_from_slice(match self.framing {
            Framing::Sse => b"\n\n",
            Framing::Lines | Framing::StreamJson => b"\n",
            Framing::Array | Framing::Frames => b"",
        });
    }

    /// An event with a name, where the framing has names.
    pub fn named(&mut self, name: &str, event: &impl Serialize) {
        match self.framing {
            Framing::Frames => frame::write(&mut self.bytes, name, &json(event)),
            Framing::Sse => {
                self.bytes.extend_from_slice(b"event: ");
                self.bytes.extend_from_slice(name.as_bytes());
                self.bytes.push(b'\n');
                self.event(event);
            }
            Framing::Lines | Framing::StreamJson | Framing::Array => self.event(event),
        }
    }

    /// OpenAI's end of a stream.
    pub fn done(&mut self) {
        self.bytes.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// One frame for each content event; the last one has the rest.
    fn frames(mut self) -> Vec<Bytes> {
        if let Framing::Array = self.framing {
            self.bytes.extend_from_slice(b"]");
        }
        self.contents.pop();
        self.contents.push(self.bytes.len());
        slices(&Bytes::from(self.bytes), &self.contents)
    }

    /// What goes out before the cut after so many content events.
    fn beginning(mut self, count: usize) -> Vec<Bytes> {
        self.contents.truncate(count);
        slices(&Bytes::from(self.bytes), &self.contents)
    }
}

fn slices(bytes: &Bytes, ends: &[usize]) -> Vec<Bytes> {
    let starts = std::iter::once(&0).chain(ends);
    starts.zip(ends).map(|(&start, &end)| bytes.slice(start..end)).collect()
}

/// When an answer goes out, and how far.
pub struct Pace {
    delay: Duration,
    cut_after: Option<usize>,
}

impl Pace {
    /// As the options have it and the request's headers ask for.
    pub fn new(options: &Options, headers: &HeaderMap) -> Self {
        let cut_after =
            headers.get("x-mock-cut-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self { delay: options.chunk_delay, cut_after }
    }

    /// The response to send.
    pub fn response(&self, reply: Reply) -> Response {
        match (reply, self.cut_after) {
            (Reply::Whole(body), None) => response("application/json", Body::from(body)),
            (Reply::Whole(body), Some(_)) => half(body),
            (Reply::Stream(script), cut) => {
                let kind = script.framing.content_type();
                let body = match cut {
                    None => self.spread(script.frames()),
                    Some(count) => Body::from_stream(broken(script.beginning(count), self.delay)),
                };
                response(kind, body)
            }
        }
    }

    fn spread(&self, frames: Vec<Bytes>) -> Body {
        let frames = tokio_stream::iter(frames.into_iter().map(Ok::<_, io::Error>));
        if self.delay.is_zero() {
            Body::from_stream(frames)
        } else {
            Body::from_stream(frames.throttle(self.delay))
        }
    }
}

/// Half of a document, under the length of the whole.
fn half(body: Vec<u8>) -> Response {
    let length = body.len();
    let start = Bytes::from(body).slice(..length / 2);
    let mut response = response("application/json", Body::from_stream(broken(vec![start], Duration::ZERO)));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// These frames, and then a broken connection.
fn broken(frames: Vec<Bytes>, delay: Duration) -> impl Stream<Item = io::Result<Bytes>> {
    let cut = io::Error::new(io::ErrorKind::ConnectionAborted, "cut off as the request asked");
    let frames = frames.into_iter().map(Ok).chain(std::iter::once(Err(cut)));
    tokio_stream::iter(frames.collect::<Vec<_>>()).throttle(delay.max(BEFORE_CUT))
}

fn response(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    write(&mut bytes, value);
    bytes
}

/// Appends JSON. What is written here has string keys and no fallible types, so it cannot fail.
fn write(bytes: &mut Vec<u8>, value: &impl Serialize) {
    if let Err(error) = serde_json::to_writer(bytes, value) {
        tracing::error!(%error, "an answer of the simulated model cannot be written");
    }
}
