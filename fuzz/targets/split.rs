//! The splitters: what they cut out of a stream must not depend on how the stream was cut before.

use super::cut::{Seen, events, split};
use super::{files, read};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use tollgate::wire::frame::Framing;

/// The stream in pieces, as two bytes say: even ones, the shortest of which are single bytes if the stream
/// is short itself, or two.
pub fn pieces(how: [u8; 2], text: &[u8]) -> Vec<&[u8]> {
    match how {
        [0 | 1, size] => text.chunks((usize::from(size) % 64).max(1 + text.len() / 128)).collect(),
        [high, low] => {
            let at = usize::from(u16::from_be_bytes([high, low])) % (text.len() + 1);
            vec![&text[..at], &text[at..]]
        }
    }
}

fn invariant(framing: Framing, data: &[u8]) -> Option<(Vec<Seen>, bool)> {
    let (how, text) = data.split_first_chunk::<2>()?;
    let whole = split(framing, &[text]);
    assert_eq!(split(framing, &pieces(*how, text)), whole, "the same however it was cut");
    Some(whole)
}

/// Both faces of server-sent events: messages for decoders, whole events for who forwards them.
pub fn sse(data: &[u8]) {
    let Some((messages, refused)) = invariant(Framing::Sse, data) else { return };
    let Some((how, text)) = data.split_first_chunk::<2>() else { return };
    let (events, forwarded, too_large) = events(&pieces(*how, text));
    assert_eq!(too_large, refused);
    let raw: Vec<u8> = events.iter().flat_map(|(raw, _)| raw.to_vec()).collect();
    let frames: Vec<Seen> = events.into_iter().filter_map(|(_, frame)| frame).collect();
    assert_eq!(frames, messages);
    if refused {
        assert!(text.starts_with(&raw) && text.starts_with(&forwarded));
    } else {
        assert_eq!(raw, text, "all events together are the stream");
        assert_eq!(forwarded, text);
    }
}

pub fn json_lines(data: &[u8]) {
    invariant(Framing::JsonLines, data);
}

pub fn json_array(data: &[u8]) {
    let Some((elements, false)) = invariant(Framing::JsonArray, data) else { return };
    // What is an array must be given as its elements.
    let Ok(list) = serde_json::from_slice::<Vec<Box<serde_json::value::RawValue>>>(&data[2..]) else {
        return;
    };
    assert_eq!(elements.len(), list.len());
    for ((_, given), element) in elements.iter().zip(&list) {
        assert_eq!(given, element.get().as_bytes());
    }
}

pub fn sse_or_json(data: &[u8]) {
    invariant(Framing::SseOrJson, data);
}

pub fn event_stream(data: &[u8]) {
    invariant(Framing::AwsEventStream, data);
}

/// Every recorded stream, whole and in bytes.
pub fn text_seeds() -> Vec<Vec<u8>> {
    let streams = files("tests/fixtures", "upstream-stream.txt").into_iter().map(read);
    let start = |stream: Vec<u8>| stream[..stream.len().min(300)].to_vec();
    streams.enumerate().map(|(index, stream)| [vec![(index % 3) as u8, 7], start(stream)].concat()).collect()
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    let streams = files("tests/fixtures/bedrock", "upstream-stream.txt").into_iter().map(read);
    streams
        .enumerate()
        .map(|(index, stream)| [vec![(index % 3) as u8, 7], messages(&stream)].concat())
        .collect()
}

/// Lines as `name payload`, `!name payload` for an exception, as the binary messages of AWS.
pub fn messages(lines: &[u8]) -> Vec<u8> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).flat_map(message).collect()
}

fn message(line: &[u8]) -> Vec<u8> {
    let (name, payload) = super::halves(line, b' ');
    let name = String::from_utf8_lossy(name);
    let (kind, header, name) = match name.strip_prefix('!') {
        Some(name) => ("exception", ":exception-type", name),
        None => ("event", ":event-type", &*name),
    };
    let mut message = Message::new(Bytes::copy_from_slice(payload));
    for (key, value) in [(header, name), (":content-type", "application/json"), (":message-type", kind)] {
        message =
            message.add_header(Header::new(key.to_owned(), HeaderValue::String(value.to_owned().into())));
    }
    let mut out = Vec::new();
    // Names longer than a header may be have no form.
    if write_message_to(&message, &mut out).is_err() {
        out.clear();
    }
    out
}
