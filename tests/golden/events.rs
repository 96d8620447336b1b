//! AWS's binary event streams, written down as lines: `messageStart {"role":"assistant"}`, and with a
//! leading `!` what AWS reports as an exception.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;

/// The stream as it comes over the wire.
pub fn encode(lines: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(lines).unwrap().lines().filter(|line| !line.is_empty());
    lines.flat_map(message).collect()
}

fn message(line: &str) -> Vec<u8> {
    let (name, payload) = line.split_once(' ').unwrap_or((line, ""));
    let (kind, header, name) = match name.strip_prefix('!') {
        Some(name) => ("exception", ":exception-type", name),
        None => ("event", ":event-type", name),
    };
    let headers = [(header, name), (":content-type", "application/json"), (":message-type", kind)];
    let mut message = Message::new(Bytes::copy_from_slice(payload.as_bytes()));
    for (name, value) in headers {
        message =
            message.add_header(Header::new(name.to_owned(), HeaderValue::String(value.to_owned().into())));
    }
    let mut out = Vec::new();
    write_message_to(&message, &mut out).unwrap();
    out
}
