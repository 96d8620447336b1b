//! What Text Generation Inference streams, and says of its answers: an event a token, the last one
//! with the whole text. Llama 2 servers and Hugging Face's endpoints are built on it.

use super::{StreamDecoder, error_text};
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Count, Lenient, Text};
use crate::wire::client_stream::ClientStream;
use crate::wire::frame::Frame;
use crate::wire::usage::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How an answer came to be.
#[derive(Deserialize)]
pub(super) struct Details<'a> {
    #[serde(borrow, default)]
    finish_reason: Lenient<Text<'a>>,
    #[serde(default)]
    generated_tokens: Count,
    #[serde(default)]
    input_length: Count,
}

impl Details<'_> {
    pub(super) fn usage(&self) -> Usage {
        Usage { prompt: self.input_length.0, completion: self.generated_tokens.0, ..Usage::default() }
    }

    /// In OpenAI's words: `eos_token` and `stop_sequence` are both a stop.
    pub(super) fn finish_reason(&self) -> &'static str {
        if self.finish_reason.0.as_deref() == Some("length") { "length" } else { "stop" }
    }
}

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

pub(super) struct Decoder {
    /// Whether whitespace is still dropped, because no word has come yet.
    trim: bool,
    undecodable: &'static str,
}

impl Decoder {
    /// A decoder that drops whitespace before the first word, if `trim`, and has this to say of
    /// what it cannot read.
    pub(super) fn new(trim: bool, undecodable: &'static str) -> Self {
        Self { trim, undecodable }
    }
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        if frame.data == b"[DONE]" {
            return Ok(());
        }
        let event: Event<'_> =
            serde_json::from_slice(frame.data).map_err(|_| Error::bad_reply(self.undecodable))?;
        if let Some(error) = event.error {
            out.error(&error_text(error));
            return Ok(());
        }
        if let Some(token) = event.token.filter(|token| !token.special) {
            let text = if self.trim { token.text.trim_start() } else { &*token.text };
            self.trim &= text.is_empty();
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
}
