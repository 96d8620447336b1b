//! A chat request's messages, borrowed from its text.

use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::doc::Doc;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One message. Fields that no provider maps are not read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant`, `tool`, …
    #[serde(borrow)]
    pub role: Text<'a>,
    /// A string or parts; see [`Message::content`].
    #[serde(borrow)]
    pub content: Option<&'a RawValue>,
    /// Of a participant, or of a tool.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// Calls that the assistant made.
    #[serde(borrow)]
    pub tool_calls: Option<Vec<ToolCall<'a>>>,
    /// The call that a message of role `tool` answers.
    #[serde(borrow)]
    pub tool_call_id: Option<Text<'a>>,
    /// What the assistant thought.
    #[serde(borrow)]
    pub reasoning_content: Option<Text<'a>>,
}

/// A message's content.
#[derive(Debug)]
pub enum Content<'a> {
    /// Absent or null.
    None,
    /// A plain string.
    Text(Cow<'a, str>),
    /// An array of parts.
    Parts(Vec<Part<'a>>),
}

/// One part of a content array.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part<'a> {
    /// `text`, `image_url`, …
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Of a text part; see [`Part::text`].
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
    /// Of a refusal part.
    #[serde(borrow)]
    pub refusal: Option<Text<'a>>,
    /// An object with `url`, or the URL itself; see [`Part::image`].
    #[serde(borrow)]
    pub image_url: Option<&'a RawValue>,
    /// Of a part of type `file`.
    #[serde(borrow)]
    pub file: Lenient<File<'a>>,
}

/// A file that comes with a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct File<'a> {
    /// Its content, as a data URL.
    #[serde(borrow)]
    pub file_data: Option<Text<'a>>,
    /// What the provider knows it by, if it was uploaded before.
    #[serde(borrow)]
    pub file_id: Option<Text<'a>>,
    /// What people know it by.
    #[serde(borrow)]
    pub filename: Option<Text<'a>>,
}

/// A call of a tool, as an assistant made it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ToolCall<'a> {
    /// What the tool's result refers to.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    /// What is called.
    #[serde(borrow)]
    pub function: FunctionCall<'a>,
}

/// The called function.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FunctionCall<'a> {
    /// The function.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// OpenAI's is a string that holds JSON; see [`FunctionCall::arguments`].
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
}

/// The messages of a chat request.
pub fn messages(doc: &Doc) -> Result<Vec<Message<'_>>> {
    Ok(doc.field("messages")?.unwrap_or_default())
}

impl<'a> Message<'a> {
    /// The content, read.
    pub fn content(&self) -> Result<Content<'a>> {
        let Some(raw) = self.content else { return Ok(Content::None) };
        let read = if raw.get().starts_with('[') {
            serde_json::from_str(raw.get()).map(Content::Parts)
        } else {
            serde_json::from_str(raw.get()).map(|Text(text)| Content::Text(text))
        };
        read.map_err(|_| {
            Error::bad_request("the 'content' of a message must be a string or an array of parts")
        })
    }

    /// The calls an assistant made.
    pub fn tool_calls(&self) -> &[ToolCall<'a>] {
        self.tool_calls.as_deref().unwrap_or_default()
    }
}

impl<'a> Part<'a> {
    /// The part's text, if it is a part of text.
    pub fn text(&self) -> Option<&str> {
        match &*self.kind {
            "text" | "input_text" | "output_text" => self.text.as_deref(),
            "refusal" => self.refusal.as_deref(),
            _ => None,
        }
    }

    /// The part's text, if it is a part of text; `foreign` says what is wrong with any other.
    pub fn into_text(self, foreign: impl FnOnce(&str) -> Error) -> Result<Cow<'a, str>> {
        let text = match &*self.kind {
            "text" | "input_text" | "output_text" => self.text,
            "refusal" => self.refusal,
            kind => return Err(foreign(kind)),
        };
        let missing = || Error::bad_request("message part type is 'text' but is missing .text block");
        text.map(|text| text.0).ok_or_else(missing)
    }

    /// The address of the part's image.
    pub fn image(&self) -> Option<Cow<'a, str>> {
        #[derive(Deserialize)]
        struct Image<'a> {
            #[serde(borrow)]
            url: Text<'a>,
        }
        let raw = self.image_url?.get();
        let text = if raw.starts_with('{') {
            serde_json::from_str::<Image<'a>>(raw).ok()?.url
        } else {
            serde_json::from_str::<Text<'a>>(raw).ok()?
        };
        Some(text.0)
    }
}

impl<'a> FunctionCall<'a> {
    /// The arguments as JSON text. OpenAI wraps them in a string; clients that send the object
    /// itself are understood too. Nothing given is an empty object.
    pub fn arguments(&self) -> Cow<'a, str> {
        let Some(raw) = self.arguments.map(RawValue::get) else { return Cow::Borrowed("{}") };
        let text = match serde_json::from_str::<Text<'a>>(raw) {
            Ok(Text(text)) => text,
            Err(_) => Cow::Borrowed(raw),
        };
        if text.trim().is_empty() { Cow::Borrowed("{}") } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn doc(json: &'static str) -> Doc {
        Doc::parse(Bytes::from_static(json.as_bytes())).unwrap()
    }

    #[test]
    fn a_message_is_borrowed() {
        let doc = doc(
            r#"{"messages": [{"role": "user", "content": "hé", "x": [1]}, {"role": "assistant", "content": null,
               "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}]}"#,
        );
        let messages = messages(&doc).unwrap();
        assert!(matches!(messages[0].content().unwrap(), Content::Text(Cow::Borrowed("hé"))));
        assert!(matches!(messages[1].content().unwrap(), Content::None));
        let call = &messages[1].tool_calls()[0];
        assert_eq!((call.id.as_deref(), &*call.function.name), (Some("c1"), "f"));
        assert_eq!(call.function.arguments(), r#"{"a":1}"#);
    }

    #[test]
    fn parts_tell_text_from_images() {
        let doc = doc(r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            {"type": "image_url", "image_url": "http://i.test/1.png"}, {"type": "refusal", "refusal": "no"}]}]}"#);
        let messages = messages(&doc).unwrap();
        let Content::Parts(parts) = messages[0].content().unwrap() else { panic!("parts") };
        let texts: Vec<_> = parts.iter().map(Part::text).collect();
        assert_eq!(texts, [Some("a"), None, None, Some("no")]);
        let images: Vec<_> = parts.iter().filter_map(Part::image).collect();
        assert_eq!(images, ["data:image/png;base64,AA==", "http://i.test/1.png"]);
    }

    #[test]
    fn arguments_may_be_missing_or_an_object() {
        let read = |json: &'static str| serde_json::from_str::<FunctionCall<'_>>(json).unwrap().arguments();
        assert_eq!(read(r#"{"name": "f"}"#), "{}");
        assert_eq!(read(r#"{"name": "f", "arguments": ""}"#), "{}");
        assert_eq!(
            read(r#"{"name": "f", "arguments": {"n": 9007199254740993}}"#),
            r#"{"n": 9007199254740993}"#
        );
    }

    #[test]
    fn other_content_is_refused() {
        let doc = doc(r#"{"messages": [{"role": "user", "content": 7}]}"#);
        let error = messages(&doc).unwrap()[0].content().unwrap_err();
        assert_eq!(error.message(), "the 'content' of a message must be a string or an array of parts");
    }
}
