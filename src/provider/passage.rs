//! A text on its way from a client's request into a provider's: as a rule it is not even read.

use crate::wire::chat::lenient::Text;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A text as the client wrote it, or as it had to be taken apart.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Passage<'a> {
    /// A JSON string, with its quotes.
    Raw(&'a RawValue),
    /// Its text.
    Read(Cow<'a, str>),
}

impl Passage<'_> {
    /// The text itself.
    pub fn read(&self) -> Cow<'_, str> {
        match self {
            Self::Raw(raw) => serde_json::from_str::<Text<'_>>(raw.get()).unwrap_or_default().0,
            Self::Read(text) => Cow::Borrowed(text),
        }
    }
}
