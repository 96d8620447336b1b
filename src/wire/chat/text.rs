//! The text that a model read and wrote, for the meter: looked at only where a provider does not
//! say how many tokens it counted.

use super::request::{Content, FunctionCall, Message, Part, ToolCall};
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::doc::Doc;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The text of a request, and how many messages it has (0 for a prompt).
///
/// Everything that a model is given to read counts: text parts, tool calls and their results, tool
/// definitions. Images do not: no rule for their tokens holds across models.
pub fn prompt_text(doc: &Doc) -> (String, usize) {
    let mut out = String::new();
    let messages: Vec<Lenient<Message<'_>>> = doc.field("messages").ok().flatten().unwrap_or_default();
    for message in messages.iter().filter_map(|message| message.0.as_ref()) {
        push(&mut out, message.name.as_deref().unwrap_or_default());
        push(&mut out, message.reasoning_content.as_deref().unwrap_or_default());
        push_content(&mut out, message);
        message.tool_calls().iter().for_each(|call| push_call(&mut out, call));
    }
    if let Some(prompt) = doc.raw("prompt") {
        push_prompt(&mut out, prompt);
    }
    for definitions in ["tools", "functions"] {
        push(&mut out, doc.raw(definitions).filter(|raw| *raw != "null").unwrap_or_default());
    }
    (out, messages.len())
}

/// The text of a whole answer, reasoning and tool calls included.
pub fn answer_text(body: &[u8]) -> String {
    let mut out = String::new();
    if let Ok(Answer { choices }) = serde_json::from_slice(body) {
        for choice in choices.0.iter().flatten().filter_map(|choice| choice.0.as_ref()) {
            if let Some(text) = &choice.text.0 {
                out.push_str(text);
            }
            for spoken in [&choice.message, &choice.delta] {
                if let Some(spoken) = &spoken.0 {
                    spoken.push_to(&mut out);
                }
            }
        }
    }
    out
}

/// Why the choices of a reply, or of a chunk, end: those that say so.
pub fn finish_reasons(body: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Ended<'a> {
        #[serde(borrow, default)]
        choices: Lenient<Vec<Lenient<Reason<'a>>>>,
    }
    #[derive(Deserialize)]
    struct Reason<'a> {
        #[serde(borrow, default)]
        finish_reason: Lenient<Text<'a>>,
    }
    let Ok(Ended { choices }) = serde_json::from_slice(body) else { return Vec::new() };
    let said = choices.0.into_iter().flatten().filter_map(|choice| choice.0?.finish_reason.0);
    said.map(|reason| reason.0.into_owned()).collect()
}

/// The text that one chunk of a stream adds.
pub fn chunk_text(data: &[u8]) -> String {
    answer_text(data)
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    choices: Lenient<Vec<Lenient<Choice<'a>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Lenient<Spoken<'a>>,
    #[serde(borrow)]
    delta: Lenient<Spoken<'a>>,
    #[serde(borrow)]
    text: Lenient<Text<'a>>,
}

/// What a message or a delta says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Spoken<'a> {
    #[serde(borrow)]
    reasoning_content: Lenient<Text<'a>>,
    /// The name that `OpenRouter` and `vLLM` use.
    #[serde(borrow)]
    reasoning: Lenient<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Lenient<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Lenient<Vec<Lenient<ToolCall<'a>>>>,
    #[serde(borrow)]
    function_call: Lenient<FunctionCall<'a>>,
}

impl Spoken<'_> {
    fn push_to(&self, out: &mut String) {
        // Servers that know both names write the same text under both.
        let reasoning = self.reasoning_content.0.as_ref().or(self.reasoning.0.as_ref());
        out.push_str(reasoning.map_or("", |text| text));
        if let Some(raw) = self.content {
            let message = Message { content: Some(raw), ..Message::default() };
            match message.content() {
                Ok(Content::Text(text)) => out.push_str(&text),
                Ok(Content::Parts(parts)) => {
                    parts.iter().filter_map(Part::text).for_each(|t| out.push_str(t));
                }
                Ok(Content::None) | Err(_) => {}
            }
        }
        out.push_str(self.refusal.0.as_deref().unwrap_or_default());
        for call in self.tool_calls.0.iter().flatten().filter_map(|call| call.0.as_ref()) {
            push_function(out, &call.function);
        }
        if let Some(function) = &self.function_call.0 {
            push_function(out, function);
        }
    }
}

fn push_function(out: &mut String, function: &FunctionCall<'_>) {
    out.push_str(&function.name);
    // An empty piece of a stream's arguments says nothing, where a whole call's means `{}`.
    if function.arguments.is_some_and(|raw| raw.get() != "\"\"") {
        out.push_str(&function.arguments());
    }
}

fn push_call(out: &mut String, call: &ToolCall<'_>) {
    push(out, &call.function.name);
    push(out, &call.function.arguments());
}

fn push_content(out: &mut String, message: &Message<'_>) {
    match message.content() {
        Ok(Content::Text(text)) => push(out, &text),
        Ok(Content::Parts(parts)) => parts.iter().filter_map(Part::text).for_each(|text| push(out, text)),
        Ok(Content::None) | Err(_) => {}
    }
}

/// A prompt is a string, strings, token ids, or lists of token ids. An id stands for one token, so
/// one short word takes its place.
fn push_prompt(out: &mut String, raw: &str) {
    if let Ok(text) = serde_json::from_str::<Text<'_>>(raw) {
        return push(out, &text);
    }
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw) else { return };
    for item in items {
        if item.get().starts_with(['"', '[']) { push_prompt(out, item.get()) } else { push(out, "a") }
    }
}

fn push(out: &mut String, text: &str) {
    if !text.is_empty() {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn prompt(json: &'static str) -> (String, usize) {
        prompt_text(&Doc::parse(Bytes::from_static(json.as_bytes())).unwrap())
    }

    #[test]
    fn everything_the_model_reads_counts() {
        let (text, messages) = prompt(
            r#"{"messages": [{"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, {"type": "text", "text": "b"}]},
               {"role": "assistant", "content": null, "reasoning_content": "hm",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
               7, {"role": "tool", "tool_call_id": "1", "content": "result"}], "tools": [{"type": "function"}]}"#,
        );
        assert_eq!(text, "ann\na\nb\nhm\nf\n{\"x\":1}\nresult\n[{\"type\": \"function\"}]");
        assert_eq!(messages, 4);
    }

    #[test]
    fn prompts_come_in_four_forms() {
        assert_eq!(prompt(r#"{"prompt": "one\ntwo"}"#), ("one\ntwo".to_owned(), 0));
        assert_eq!(prompt(r#"{"prompt": ["one", "two"]}"#).0, "one\ntwo");
        assert_eq!(prompt(r#"{"prompt": [1, 22, 333]}"#).0, "a\na\na");
        assert_eq!(prompt(r#"{"prompt": [[1, 22], [3]]}"#).0, "a\na\na");
        assert_eq!(prompt("{}"), (String::new(), 0));
    }

    #[test]
    fn everything_the_model_wrote_counts() {
        let body = br#"{"choices": [{"message": {"reasoning_content": "hm ", "reasoning": "hm ", "content": "yes",
            "tool_calls": [{"function": {"name": "f", "arguments": "{\"a\": 2}"}}, null]}}, {"text": " no"}, 3]}"#;
        assert_eq!(answer_text(body), "hm yesf{\"a\": 2} no");
        assert_eq!(answer_text(b"<html>"), "");
        assert_eq!(answer_text(br#"{"choices": null}"#), "");
    }

    #[test]
    fn the_reasons_of_all_choices_are_told() {
        let body = br#"{"choices": [{"finish_reason": "stop"}, {"finish_reason": null}, 7,
            {"finish_reason": "len\u0067th"}]}"#;
        assert_eq!(finish_reasons(body), ["stop", "length"]);
        assert!(finish_reasons(b"<html>").is_empty());
    }

    #[test]
    fn a_chunk_adds_what_its_delta_says() {
        let chunk = br#"{"choices": [{"delta": {"role": "assistant", "tool_calls": [
            {"index": 0, "function": {"name": "add", "arguments": ""}}]}}]}"#;
        assert_eq!(chunk_text(chunk), "add");
        let chunk =
            br#"{"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{\"a"}}]}}]}"#;
        assert_eq!(chunk_text(chunk), "{\"a");
        assert_eq!(chunk_text(r#"{"choices": [{"delta": {"content": "日"}}]}"#.as_bytes()), "日");
        assert_eq!(chunk_text(b"[DONE]"), "");
    }
}
