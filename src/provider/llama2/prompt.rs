//! A conversation as the one prompt that Llama 2 was trained on.

use crate::error::{Error, Result};
use crate::wire::chat::lenient::Text;
use crate::wire::chat::{self, Content, Message};
use crate::wire::doc::Doc;
use std::borrow::Cow;
use std::fmt::Write;

/// What of a conversation becomes prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    /// Kong's prompt, word for word.
    Kong,
    /// All of it.
    Full,
}

/// The prompt of a chat.
///
/// Control words that stand in a message (`[INST]`, `</s>`) are passed on as they are.
pub(super) fn chat(doc: &Doc, history: History) -> Result<String> {
    let messages = chat::messages(doc)?;
    let mut out = String::with_capacity(doc.raw("messages").map_or(0, str::len));
    match history {
        History::Kong => kong(&mut out, &messages)?,
        History::Full => full(&mut out, &messages)?,
    }
    Ok(out)
}

// KONG(llm/drivers/llama2.lua): the first message is taken for the system's and the second for the
// user's whatever their roles, an only message is never closed, and from the third on what the
// assistant said is left out. Models behind Kong were tuned to this prompt, so it is the default;
// `llama2_history: full` is the way out.
fn kong(out: &mut String, messages: &[Message<'_>]) -> Result<()> {
    for (index, message) in messages.iter().enumerate() {
        let text = text(message)?;
        match (index, &*message.role) {
            (0, _) => put(out, format_args!("<s>[INST] <<SYS>> {text} <</SYS>>")),
            (1, _) => put(out, format_args!(" {text} [/INST]")),
            (_, "user") => put(out, format_args!(" <s>[INST] {text} [/INST]")),
            (_, "system") => put(out, format_args!(" {text} </s>")),
            _ => {}
        }
    }
    Ok(())
}

fn full(out: &mut String, messages: &[Message<'_>]) -> Result<()> {
    let mut system = String::new();
    let mut begun = false;
    for message in messages {
        let text = text(message)?;
        match &*message.role {
            "system" | "developer" if !begun => {
                join(&mut system, &text);
            }
            "assistant" | "system" | "developer" => put(out, format_args!(" {text} </s>")),
            _ => {
                let gap = if out.is_empty() { "" } else { " " };
                match std::mem::take(&mut system).as_str() {
                    "" => put(out, format_args!("{gap}<s>[INST] {text} [/INST]")),
                    system => {
                        put(out, format_args!("{gap}<s>[INST] <<SYS>> {system} <</SYS>> {text} [/INST]"));
                    }
                }
                begun = true;
            }
        }
    }
    if !system.is_empty() {
        put(out, format_args!("<s>[INST] <<SYS>> {system} <</SYS>> [/INST]"));
    }
    Ok(())
}

/// The prompt of a completion.
///
// KONG(llm/drivers/llama2.lua): `<<SYS>>` is opened twice and never closed; kept, since the prompt
// is part of what the model answers.
pub(super) fn completion(doc: &Doc) -> Result<String> {
    let text = match doc.text("prompt") {
        Some(text) => text,
        None => match doc.field::<[Text<'_>; 1]>("prompt") {
            Ok(Some([Text(only)])) => only,
            _ => {
                return Err(Error::bad_request("'prompt' must be a single string for the llama2 raw format"));
            }
        },
    };
    Ok(format!("<s> [INST] <<SYS>> You are a helpful assistant. <<SYS>> {text} [/INST]"))
}

/// A message's text; its parts are joined.
fn text<'a>(message: &Message<'a>) -> Result<Cow<'a, str>> {
    let parts = match message.content()? {
        Content::None => return Ok(Cow::Borrowed("")),
        Content::Text(text) => return Ok(text),
        Content::Parts(parts) => parts,
    };
    let mut joined = String::new();
    for part in &parts {
        let Some(text) = part.text() else {
            let kind = &*part.kind;
            return Err(Error::bad_request(format!(
                "cannot transform part of type '{kind}' to llama2 raw format"
            )));
        };
        join(&mut joined, text);
    }
    Ok(Cow::Owned(joined))
}

/// Adds a line.
fn join(lines: &mut String, text: &str) {
    if !lines.is_empty() {
        lines.push('\n');
    }
    lines.push_str(text);
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(text);
}
