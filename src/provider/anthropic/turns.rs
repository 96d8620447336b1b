//! OpenAI's messages as Anthropic's: instructions stand apart, the results of tools are the user's,
//! and turns alternate.

use super::super::passage::Passage;
use super::content::{self, Block, Said};
use crate::error::{Error, Result};
use crate::wire::chat::{self, Content, Message, ToolCall};
use crate::wire::doc::Doc;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One turn of the conversation.
#[derive(Serialize)]
pub(super) struct Turn<'a> {
    role: &'static str,
    content: Said<'a>,
}

impl<'a> Turn<'a> {
    /// What the user says.
    pub(super) fn user(content: Said<'a>) -> Self {
        Self { role: "user", content }
    }
}

/// The instructions and the turns of a request.
pub(super) fn read(doc: &Doc) -> Result<(Option<Passage<'_>>, Vec<Turn<'_>>)> {
    let messages = chat::messages(doc)?;
    let mut instructions = Vec::new();
    let mut turns = Vec::with_capacity(messages.len());
    for message in messages {
        match &*message.role {
            "user" => push(&mut turns, Turn::user(Said::read(&message)?)),
            "assistant" => push(&mut turns, assistant(&message)?),
            "tool" | "function" => push(&mut turns, Turn::user(Said::Blocks(vec![result(message)?]))),
            _ => instruct(&mut instructions, &message)?,
        }
    }
    Ok((join(instructions), turns))
}

/// Adds a turn; one of the same role as the last becomes part of it. So do the results of parallel
/// calls: the API wants all of them in the one turn after the calls.
///
// KONG(llm/drivers/anthropic.lua): Kong sends each result in a turn of its own.
fn push<'a>(turns: &mut Vec<Turn<'a>>, turn: Turn<'a>) {
    if turn.content.is_empty() {
        return;
    }
    match turns.last_mut() {
        Some(last) if last.role == turn.role => {
            let mut blocks = std::mem::replace(&mut last.content, Said::Blocks(Vec::new())).into_blocks();
            blocks.extend(turn.content.into_blocks());
            last.content = Said::Blocks(blocks);
        }
        _ => turns.push(turn),
    }
}

/// What the assistant said and which tools it called.
///
// KONG(llm/drivers/anthropic.lua): Kong loses the text of a message that calls tools.
fn assistant<'a>(message: &Message<'a>) -> Result<Turn<'a>> {
    let content = Said::read(message)?;
    let calls = message.tool_calls();
    if calls.is_empty() {
        return Ok(Turn { role: "assistant", content });
    }
    let mut blocks = content.into_blocks();
    for call in calls {
        blocks.push(tool_use(call)?);
    }
    Ok(Turn { role: "assistant", content: Said::Blocks(blocks) })
}

fn tool_use<'a>(call: &ToolCall<'a>) -> Result<Block<'a>> {
    let name = call.function.name.0.clone();
    let arguments = call.function.arguments();
    let object = arguments.trim_start().starts_with('{');
    let input = object.then(|| RawValue::from_string(arguments.into_owned()).ok()).flatten();
    let Some(input) = input else {
        let message = format!("the arguments of tool call '{name}' are not a JSON object");
        return Err(Error::bad_request(message));
    };
    let missing = || Error::bad_request(format!("tool call '{name}' must have an 'id'"));
    let id = call.id.clone().ok_or_else(missing)?.0;
    Ok(Block::ToolUse { id, name, input })
}

fn result(message: Message<'_>) -> Result<Block<'_>> {
    let content = Said::read(&message)?;
    let missing = || Error::bad_request("a message of role 'tool' must have a 'tool_call_id'");
    Ok(Block::ToolResult { tool_use_id: message.tool_call_id.ok_or_else(missing)?.0, content })
}

/// Any other role gives instructions: `system`, and `developer` as OpenAI calls it now.
fn instruct<'a>(instructions: &mut Vec<Passage<'a>>, message: &Message<'a>) -> Result<()> {
    if let Some(raw) = message.content.filter(|raw| raw.get().starts_with('"')) {
        instructions.push(Passage::Raw(raw));
        return Ok(());
    }
    if let Content::Parts(parts) = message.content()? {
        for part in parts {
            instructions.push(Passage::Read(part.into_text(content::foreign)?));
        }
    }
    Ok(())
}

/// One instruction stays as it was written, several are joined as Anthropic's own endpoint for
/// OpenAI's clients joins them.
///
// KONG(llm/drivers/anthropic.lua): of several, Kong keeps the last.
fn join(mut instructions: Vec<Passage<'_>>) -> Option<Passage<'_>> {
    if instructions.len() < 2 {
        return instructions.pop();
    }
    let mut joined = String::new();
    for (at, words) in instructions.iter().enumerate() {
        if at > 0 {
            joined.push('\n');
        }
        joined.push_str(&words.read());
    }
    Some(Passage::Read(Cow::Owned(joined)))
}
