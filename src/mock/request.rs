//! What the dialects' requests have in common, read without copying.

use super::answer::Limits;
use super::reply::Refusal;
use crate::meter::estimate;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A string, borrowed where it has no escapes.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A message of a chat.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    #[serde(borrow)]
    pub role: Text<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
}

impl<'a> Message<'a> {
    /// Its text: the content, or the texts among its parts.
    pub fn text(&self) -> Result<Cow<'a, str>, Refusal> {
        let Some(content) = self.content else { return Ok(Cow::Borrowed("")) };
        text(content).ok_or_else(|| {
            Refusal::field(
                "messages",
                "the content of a message must be a string, an array of parts, or null",
            )
        })
    }
}

/// The text of a string, or of an array of parts.
fn text(content: &RawValue) -> Option<Cow<'_, str>> {
    let json = content.get();
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text<'_>>(json).ok().map(|text| text.0),
        Some(b'[') => {
            let parts: Vec<Part<'_>> = serde_json::from_str(json).ok()?;
            Some(Cow::Owned(parts.into_iter().filter_map(|part| part.text).map(|text| text.0).collect()))
        }
        Some(b'n') => Some(Cow::Borrowed("")),
        _ => None,
    }
}

/// A chat, checked and counted.
#[derive(Debug)]
pub struct Chat<'a> {
    /// The last thing that the user said.
    pub question: Cow<'a, str>,
    pub prompt_tokens: u64,
}

impl<'a> Chat<'a> {
    /// Reads the messages, which must be there.
    pub fn read(messages: Option<Vec<Message<'a>>>) -> Result<Self, Refusal> {
        let messages = messages.filter(|messages| !messages.is_empty());
        let messages = messages.ok_or_else(|| {
            Refusal::field("messages", "'messages' must be an array of at least one message")
        })?;
        let mut prompt_tokens = estimate::prompt_overhead(messages.len());
        let mut question = Cow::Borrowed("");
        for message in &messages {
            let text = message.text()?;
            prompt_tokens += estimate::tokens(&text) + estimate::tokens(&message.role.0);
            prompt_tokens += message.name.as_ref().map_or(0, |name| estimate::tokens(&name.0));
            prompt_tokens += message.tool_calls.map_or(0, |calls| estimate::tokens(calls.get()));
            match &*message.role.0 {
                "user" => question = text,
                "system" | "developer" | "assistant" | "tool" | "function" => {}
                _ => {
                    return Err(Refusal::field(
                        "messages",
                        "a message's role must be system, developer, user, assistant or tool",
                    ));
                }
            }
        }
        Ok(Self { question, prompt_tokens })
    }
}

/// Reads a body, which must be a JSON object of the right types.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::status(StatusCode::BAD_REQUEST, format!("the request body cannot be read: {error}"))
    })
}

/// The strings of one string or of an array of them.
pub fn strings<'a>(field: &'static str, value: Option<&'a RawValue>) -> Result<Vec<Cow<'a, str>>, Refusal> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let json = value.get();
    let strings: Option<Vec<Text<'a>>> = match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok().map(|text| vec![text]),
        Some(b'n') => Some(Vec::new()),
        _ => serde_json::from_str(json).ok(),
    };
    let strings = strings
        .ok_or_else(|| Refusal::field(field, format!("'{field}' must be a string or an array of strings")))?;
    Ok(strings.into_iter().map(|text| text.0).collect())
}

/// The limits of an answer.
pub fn limits(
    tokens: Option<u64>,
    stop: Option<&RawValue>,
    words: Option<usize>,
) -> Result<Limits<'_>, Refusal> {
    Ok(Limits { tokens, stop: strings("stop", stop)?, words: words.unwrap_or(0) })
}
