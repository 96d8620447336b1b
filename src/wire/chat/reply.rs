//! The canonical reply: what every provider's answer becomes where it is not already OpenAI's.

use super::Shape;
use crate::error::{Error, Kind, Result};
use crate::wire::usage::Usage;
use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A reply with one choice.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The API that the client speaks.
    pub shape: Shape,
    /// With its prefix: `chatcmpl-…`.
    pub id: &'a str,
    /// Seconds since the epoch.
    pub created: u64,
    /// The model that answered.
    pub model: &'a str,
    /// What it said.
    pub answer: Answer<'a>,
    /// OpenAI's word: `stop`, `length`, `tool_calls`, `content_filter`.
    pub finish_reason: &'a str,
    /// Left out if nothing is known.
    pub usage: Usage,
}

/// What the model said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// Its words; may be empty.
    pub text: &'a str,
    /// Its thoughts, where the provider shows them.
    pub reasoning: Option<&'a str>,
    /// The tools it calls.
    pub tools: &'a [ToolUse<'a>],
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct ToolUse<'a> {
    /// What the tool's result will refer to.
    pub id: String,
    /// The function.
    pub name: &'a str,
    /// JSON text; it goes out as a string.
    pub arguments: &'a str,
}

impl Reply<'_> {
    /// The reply as JSON.
    pub fn write(&self) -> Result<Bytes> {
        let mut out = Vec::with_capacity(512 + self.answer.text.len());
        serde_json::to_writer(&mut out, self).map_err(|error| {
            Error::new(Kind::Internal, format!("reply cannot be written as JSON: {error}"))
        })?;
        Ok(Bytes::from(out))
    }
}

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", self.id)?;
        let object = match self.shape {
            Shape::Chat => "chat.completion",
            Shape::Text => "text_completion",
        };
        map.serialize_entry("object", object)?;
        map.serialize_entry("created", &self.created)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("choices", &[Choice(self)])?;
        if !self.usage.is_empty() {
            map.serialize_entry("usage", &self.usage)?;
        }
        map.end()
    }
}

struct Choice<'a>(&'a Reply<'a>);

impl Serialize for Choice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("index", &0)?;
        match self.0.shape {
            Shape::Chat => map.serialize_entry("message", &Spoken(&self.0.answer))?,
            Shape::Text => map.serialize_entry("text", self.0.answer.text)?,
        }
        map.serialize_entry("logprobs", &())?;
        map.serialize_entry("finish_reason", self.0.finish_reason)?;
        map.end()
    }
}

struct Spoken<'a>(&'a Answer<'a>);

impl Serialize for Spoken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answer = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", "assistant")?;
        // OpenAI's content is null where the model only called tools.
        let text = (!answer.text.is_empty() || answer.tools.is_empty()).then_some(answer.text);
        map.serialize_entry("content", &text)?;
        if let Some(reasoning) = answer.reasoning {
            map.serialize_entry("reasoning_content", reasoning)?;
        }
        if !answer.tools.is_empty() {
            map.serialize_entry("tool_calls", answer.tools)?;
        }
        map.end()
    }
}

impl Serialize for ToolUse<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: &'a str,
        }
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("type", "function")?;
        map.serialize_entry("function", &Function { name: self.name, arguments: self.arguments })?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(shape: Shape, answer: Answer<'_>, usage: Usage) -> String {
        let reply = Reply { shape, id: "x-1", created: 7, model: "m", answer, finish_reason: "stop", usage };
        String::from_utf8(reply.write().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_chat_reply_has_every_field() {
        let usage = Usage { prompt: Some(1), completion: Some(2), ..Usage::default() };
        assert_eq!(
            written(Shape::Chat, Answer { text: "hé\n", reasoning: Some("hm"), tools: &[] }, usage),
            concat!(
                r#"{"id":"x-1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"#,
                r#""message":{"role":"assistant","content":"hé\n","reasoning_content":"hm"},"logprobs":null,"#,
                r#""finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#
            )
        );
    }

    #[test]
    fn a_text_reply_has_text() {
        assert_eq!(
            written(Shape::Text, Answer { text: "t", ..Answer::default() }, Usage::default()),
            concat!(
                r#"{"id":"x-1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"#,
                r#""text":"t","logprobs":null,"finish_reason":"stop"}]}"#
            )
        );
    }

    #[test]
    fn arguments_go_out_as_a_string_and_the_content_is_null() {
        let tools = [ToolUse { id: "c".into(), name: "add", arguments: r#"{"a":2}"# }];
        let json = written(Shape::Chat, Answer { tools: &tools, ..Answer::default() }, Usage::default());
        assert!(json.contains(concat!(
            r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","#,
            r#""function":{"name":"add","arguments":"{\"a\":2}"}}]}"#
        )));
        let both =
            written(Shape::Chat, Answer { text: "ok", reasoning: None, tools: &tools }, Usage::default());
        assert!(both.contains(r#""content":"ok","tool_calls""#));
    }
}
