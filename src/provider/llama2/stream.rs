//! The stream of Text Generation Inference: an event a token, the last one with the whole text.

use super::super::{BROKEN_OFF, End, StreamDecoder, error_text};
use super::raw::Details;
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::client_stream::ClientStream;
use crate::wire::frame::Frame;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    token: Option<Token<'a>>,
    /// Set in the last event.
    #[serde(borrow)]
    generated_text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    details: Lenient<Details<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
    /// A token of control, such as the end of the sequence.
    #[serde(default)]
    special: bool,
}

/// The decoder. Whitespace before the first word is dropped, as it is from whole replies.
pub(super) struct Decoder {
    spoken: bool,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { spoken: false }
    }
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        if frame.data == b"[DONE]" {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(frame.data)
            .map_err(|_| Error::bad_reply("failed to decode llama2 response"))?;
        if let Some(error) = event.error {
            out.error(&error_text(error));
            return Ok(());
        }
        if let Some(token) = event.token.filter(|token| !token.special) {
            let text = if self.spoken { &*token.text } else { token.text.trim_start() };
            self.spoken |= !text.is_empty();
            out.text(text);
        }
        if event.generated_text.is_some() {
            let details = event.details.0;
            if let Some(details) = &details {
                out.usage(details.usage());
            }
            out.finish(details.as_ref().map_or("stop", Details::finish_reason));
            out.done();
        }
        Ok(())
    }

    fn finish(&mut self, _end: End, out: &mut ClientStream) -> Result<()> {
        if !out.is_done() {
            out.error(BROKEN_OFF);
        }
        Ok(())
    }
}
