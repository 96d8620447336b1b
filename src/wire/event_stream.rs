//! AWS's event streams (`application/vnd.amazon.eventstream`): binary messages with typed headers
//! and checksums.
//!
//! A message becomes a [`Frame`] whose event is its `:event-type`. What AWS reports in the stream
//! (an exception, an error of the connection, and what does not bear its checksum) is a frame too:
//! its event begins with [`FAILURE`] and goes on with the name of the exception; its data is a JSON
//! object with `message`, as AWS writes it. So whatever precedes a damaged message is still read,
//! however the stream was cut.

use super::frame::{Frame, MAX_FRAME, Splitter, overfull};
use crate::error::Result;
use aws_smithy_eventstream::frame::read_message_from;
use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;

/// What the event of a failure begins with.
pub const FAILURE: &str = "exception:";

/// The name of failures that are found here.
const DAMAGED: &str = "damaged stream";

/// Gives each message once all of it has come.
#[derive(Debug, Default)]
pub struct EventStream {
    bytes: BytesMut,
    event: String,
    data: Bytes,
    /// Nothing after a damaged message can be found.
    damaged: bool,
}

impl Splitter for EventStream {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.damaged {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Frame<'_>> {
        let length = self.bytes.get(..4).map(|mut prefix| prefix.get_u32())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            self.give_up(overfull().message());
        } else if length > self.bytes.len() {
            return None;
        } else {
            self.read(length);
        }
        Some(Frame { event: Some(&self.event), data: &self.data })
    }

    /// A message without its end is none.
    fn finish(&mut self) {
        self.bytes.clear();
    }
}

impl EventStream {
    fn read(&mut self, length: usize) {
        let message = match read_message_from(&mut self.bytes.split_to(length).freeze()) {
            Ok(message) => message,
            Err(error) => return self.give_up(&format!("upstream sent a damaged message: {error}")),
        };
        let header = |name: &str| {
            let header = message.headers().iter().find(|header| header.name().as_str() == name);
            header.and_then(|header| header.value().as_string().ok()).map_or("", |text| text.as_str())
        };
        self.event.clear();
        match header(":message-type") {
            "exception" => {
                self.event.push_str(FAILURE);
                self.event.push_str(header(":exception-type"));
                self.data = message.payload().clone();
            }
            "error" => {
                self.event.push_str(FAILURE);
                self.event.push_str(header(":error-code"));
                self.data = told(header(":error-message"));
            }
            _ => {
                self.event.push_str(header(":event-type"));
                self.data = message.payload().clone();
            }
        }
    }

    fn give_up(&mut self, why: &str) {
        self.damaged = true;
        self.bytes = BytesMut::new();
        self.event.clear();
        self.event.push_str(FAILURE);
        self.event.push_str(DAMAGED);
        self.data = told(why);
    }
}

/// The payload of an exception with that message.
fn told(message: &str) -> Bytes {
    #[derive(Serialize)]
    struct Told<'a> {
        message: &'a str,
    }
    // A string under a fixed key: writing it into memory does not fail.
    serde_json::to_vec(&Told { message }).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message};

    fn message(headers: &[(&'static str, &'static str)], payload: &'static str) -> Vec<u8> {
        let mut message = Message::new(Bytes::from_static(payload.as_bytes()));
        for (name, value) in headers {
            message = message.add_header(Header::new(*name, HeaderValue::String((*value).into())));
        }
        let mut out = Vec::new();
        write_message_to(&message, &mut out).unwrap();
        out
    }

    fn event(name: &'static str, payload: &'static str) -> Vec<u8> {
        message(
            &[(":event-type", name), (":content-type", "application/json"), (":message-type", "event")],
            payload,
        )
    }

    fn frames(reads: &[&[u8]]) -> Vec<(String, String)> {
        let mut splitter = EventStream::default();
        let mut out = Vec::new();
        for read in reads {
            splitter.push(read).unwrap();
            while let Some(frame) = splitter.next() {
                let data = String::from_utf8(frame.data.to_vec()).unwrap();
                out.push((frame.event.unwrap().to_owned(), data));
            }
        }
        splitter.finish();
        assert!(splitter.next().is_none());
        out
    }

    fn pair(event: &str, data: &str) -> (String, String) {
        (event.to_owned(), data.to_owned())
    }

    #[test]
    fn messages_may_be_cut_anywhere() {
        let stream =
            [event("messageStart", r#"{"role":"assistant"}"#), event("metadata", ""), event("é", "{}")];
        let stream = stream.concat();
        let whole = [pair("messageStart", r#"{"role":"assistant"}"#), pair("metadata", ""), pair("é", "{}")];
        assert_eq!(frames(&[&stream]), whole);
        assert_eq!(frames(&stream.chunks(1).collect::<Vec<_>>()), whole);
        for at in 1..stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(frames(&[head, tail]), whole, "cut at {at}");
        }
    }

    #[test]
    fn what_aws_reports_is_a_failure() {
        let exception = [(":message-type", "exception"), (":exception-type", "throttlingException")];
        let error =
            [(":message-type", "error"), (":error-code", "Internal"), (":error-message", "say \"no\"")];
        let stream = [message(&exception, r#"{"message":"slow"}"#), message(&error, "")].concat();
        assert_eq!(
            frames(&[&stream]),
            [
                pair("exception:throttlingException", r#"{"message":"slow"}"#),
                pair("exception:Internal", r#"{"message":"say \"no\""}"#)
            ]
        );
    }

    #[test]
    fn a_damaged_message_ends_the_stream_and_those_before_it_survive() {
        let mut stream = [event("a", "{}"), event("b", "{}"), event("c", "{}")].concat();
        let at = stream.len() - event("c", "{}").len() - 6;
        stream[at] ^= 1;
        for reads in [vec![&stream[..]], stream.chunks(7).collect()] {
            let frames = frames(&reads);
            assert_eq!(frames.len(), 2, "{frames:?}");
            assert_eq!((frames[0].0.as_str(), frames[1].0.as_str()), ("a", "exception:damaged stream"));
            assert!(frames[1].1.contains("damaged message"), "{frames:?}");
        }
    }

    #[test]
    fn a_message_is_bounded_and_an_unfinished_one_is_dropped() {
        let told = frames(&[&[1, 0, 0, 1]]);
        assert!(told[0].1.contains("more than 16 MiB"), "{told:?}");
        assert!(frames(&[&[0, 0, 0, 1], &[0; 20]])[0].1.contains("damaged message"), "too short to be one");
        let whole = event("a", "{}");
        assert!(frames(&[&whole[..whole.len() - 1]]).is_empty());
    }
}
