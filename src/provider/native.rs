//! A provider's own API as the language of a route's clients (`llm_format`).
//!
//! Requests and answers pass byte for byte. What the gateway itself has to know of them it reads on
//! the side, in OpenAI's words: guards and the meter see a view of the request, and the provider's
//! [`Dialect`](super::Dialect) reads the answer as it reads any other, except that nobody is sent
//! what it makes of it.

use crate::error::{Error, Kind, Result};
use crate::wire::chat::{Message, ToolUse};
use crate::wire::doc::{Doc, Side};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::sync::Arc;

/// How to read the requests of such clients.
pub trait NativeFormat: Send + Sync + 'static {
    /// What the address of a request says.
    fn ask(&self, place: &Place<'_>) -> Result<Asked>;

    /// The request as OpenAI's clients would have written it. What has no place there is left out.
    /// `model` and `stream` are not the body's to say: the caller adds them.
    fn view(&self, native: &Doc) -> Result<Doc>;

    /// Puts messages that a plugin has added to the view into the request itself.
    fn add(&self, native: &mut Doc, messages: &[Message<'_>], at: Side) -> Result<()>;
}

/// Where a native request was sent.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The client's path as it was written.
    pub path: &'a str,
    /// The named groups of the route's path.
    pub captures: &'a [(Arc<str>, String)],
}

impl<'a> Place<'a> {
    /// The named group, if the route has it and it took part in the match.
    pub fn capture(&self, name: &str) -> Option<&'a str> {
        let found = self.captures.iter().find(|(own, _)| **own == *name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// What such an address asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model, if the address names one.
    pub model: Option<String>,
    /// Whether the answer shall stream.
    pub stream: bool,
}

/// A message of a view, as OpenAI's clients would have written it.
#[derive(Default, Serialize)]
pub(super) struct Seen<'a> {
    /// Who spoke.
    pub role: &'a str,
    /// The function whose result it is, where that has a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Null where a model only called tools.
    pub content: Option<Said<'a>>,
    /// Those calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolUse<'a>>,
    /// The call that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<Cow<'a, str>>,
}

/// What was said: a text, or parts of several kinds.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Said<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Shown<'a>>),
}

impl<'a> Said<'a> {
    /// What those parts come to: a lone text needs no list, and nothing was said without any.
    pub fn of(parts: Vec<Shown<'a>>) -> Option<Self> {
        match parts.as_slice() {
            [] => None,
            [Shown::Text { text }] => Some(Self::Text(Cow::Borrowed(text))),
            _ => Some(Self::Parts(parts)),
        }
    }
}

/// A part of a message.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Shown<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: Link<'a> },
}

/// Where an image is.
#[derive(Serialize)]
pub(super) struct Link<'a> {
    /// An address, or the image itself as `data:`.
    pub url: Cow<'a, str>,
}

/// A piece of a path, unescaped.
pub fn unescaped(piece: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(piece).decode_utf8_lossy()
}

/// A value as JSON text, to be put into a client's request.
pub fn raw(value: &impl Serialize) -> Result<Box<RawValue>> {
    to_raw_value(value).map_err(|_| unwritten())
}

/// What should not happen: a value that is no JSON.
pub fn unwritten() -> Error {
    Error::new(Kind::Internal, "the request cannot be written as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_found_by_name_and_may_be_empty() {
        let captures = [(Arc::from("model"), "m".to_owned()), (Arc::from("operation"), String::new())];
        let place = Place { path: "/", captures: &captures };
        assert_eq!(
            (place.capture("model"), place.capture("operation"), place.capture("x")),
            (Some("m"), None, None)
        );
        assert_eq!(unescaped("anthropic.claude%3A0"), "anthropic.claude:0");
    }
}
