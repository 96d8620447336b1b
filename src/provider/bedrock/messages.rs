//! OpenAI's messages as Converse's: system texts apart, and turns of the user and the assistant by
//! turns, the results of tools being the user's.

use super::super::passage::Passage;
use super::media::Media;
use crate::error::{Error, Result};
use crate::wire::chat::{self, Content, Message, ToolCall};
use crate::wire::doc::Doc;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A conversation.
#[derive(Default)]
pub(super) struct Talk<'a> {
    /// What stands before it.
    pub system: Vec<Block<'a>>,
    /// In order, the sides alternating.
    pub turns: Vec<Turn<'a>>,
    /// Whether tools were called.
    pub has_tools: bool,
}

/// A message of Converse's.
#[derive(Serialize)]
pub(super) struct Turn<'a> {
    /// `user` or `assistant`.
    pub role: &'static str,
    /// What is said.
    pub content: Vec<Block<'a>>,
}

/// A piece of a message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Block<'a> {
    Text(Passage<'a>),
    Image(super::media::Image<'a>),
    Document(super::media::Document<'a>),
    ToolUse(ToolUse<'a>),
    ToolResult(ToolResult<'a>),
    Json(Box<RawValue>),
}

#[derive(Serialize)]
pub(super) struct ToolUse<'a> {
    #[serde(rename = "toolUseId")]
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    input: Box<RawValue>,
}

#[derive(Serialize)]
pub(super) struct ToolResult<'a> {
    #[serde(rename = "toolUseId")]
    id: Cow<'a, str>,
    content: Vec<Block<'a>>,
}

/// The messages of a request.
pub(super) fn read(doc: &Doc) -> Result<Talk<'_>> {
    turns(&chat::messages(doc)?)
}

/// Those messages as a conversation.
pub(super) fn turns<'a>(messages: &[Message<'a>]) -> Result<Talk<'a>> {
    let (mut talk, mut media) = (Talk::default(), Media::default());
    for message in messages {
        match &*message.role {
            "system" | "developer" => system(message, &mut talk.system)?,
            "assistant" => {
                let mut content = blocks(message, &mut media)?;
                let calls = message.tool_calls();
                talk.has_tools |= !calls.is_empty();
                if !calls.is_empty() {
                    content.retain(|block| !block.is_blank());
                }
                // KONG(llm/drivers/bedrock.lua): of several calls Kong keeps the last.
                for call in calls {
                    content.push(Block::ToolUse(tool_use(call)?));
                }
                talk.push("assistant", content);
            }
            "tool" | "function" => {
                talk.has_tools = true;
                let result = tool_result(message, &mut media)?;
                talk.push("user", vec![Block::ToolResult(result)]);
            }
            _ => {
                let content = blocks(message, &mut media)?;
                talk.push("user", content);
            }
        }
    }
    Ok(talk)
}

impl<'a> Talk<'a> {
    /// Roles must alternate: what one side says on end is one turn.
    fn push(&mut self, role: &'static str, content: Vec<Block<'a>>) {
        match self.turns.last_mut() {
            Some(last) if last.role == role => last.content.extend(content),
            _ => self.turns.push(Turn { role, content }),
        }
    }
}

impl Block<'_> {
    /// Whether it is a text without a word, which Converse refuses beside other blocks.
    fn is_blank(&self) -> bool {
        match self {
            Self::Text(Passage::Raw(raw)) => raw.get() == "\"\"",
            Self::Text(Passage::Read(text)) => text.trim().is_empty(),
            _ => false,
        }
    }
}

fn system<'a>(message: &Message<'a>, system: &mut Vec<Block<'a>>) -> Result<()> {
    for block in blocks(message, &mut Media::default())? {
        if !matches!(block, Block::Text(_)) {
            return Err(Error::bad_request("the system prompt can only hold text in Bedrock format"));
        }
        if !block.is_blank() {
            system.push(block);
        }
    }
    Ok(())
}

/// A message's content.
///
// KONG(llm/drivers/bedrock.lua): Kong sends parts as they are, which Converse does not know.
fn blocks<'a>(message: &Message<'a>, media: &mut Media) -> Result<Vec<Block<'a>>> {
    let Some(raw) = message.content else { return Ok(Vec::new()) };
    if raw.get().starts_with('"') {
        return Ok(vec![Block::Text(Passage::Raw(raw))]);
    }
    let Content::Parts(parts) = message.content()? else { return Ok(Vec::new()) };
    let mut blocks = Vec::with_capacity(parts.len());
    for (at, part) in parts.into_iter().enumerate() {
        blocks.push(match &*part.kind {
            "text" | "input_text" | "output_text" | "refusal" => {
                let text = if &*part.kind == "refusal" { part.refusal } else { part.text };
                let text = text.ok_or_else(|| {
                    Error::bad_request("message part type is 'text' but is missing .text block")
                })?;
                Block::Text(Passage::Read(text.0))
            }
            "image_url" => Block::Image(super::media::image(&part)?),
            "file" => Block::Document(media.document(raw, at)?),
            kind => {
                return Err(Error::bad_request(format!(
                    "cannot transform part of type '{kind}' to Bedrock format"
                )));
            }
        });
    }
    let several = blocks.len() > 1;
    blocks.retain(|block| !(several && block.is_blank()));
    Ok(blocks)
}

fn tool_use<'a>(call: &ToolCall<'a>) -> Result<ToolUse<'a>> {
    let name = call.function.name.0.clone();
    let arguments = call.function.arguments();
    let object = arguments.trim_start().starts_with('{');
    let input = object.then(|| RawValue::from_string(arguments.trim().to_owned()).ok()).flatten();
    let input = input
        .ok_or_else(|| Error::bad_request("failed to decode function response arguments, not JSON format"))?;
    let missing = || Error::bad_request(format!("tool call '{name}' must have an 'id'"));
    let id = call.id.clone().ok_or_else(missing)?.0;
    Ok(ToolUse { id, name, input })
}

/// What a tool answered: an object as JSON, anything else as text.
///
// KONG(llm/drivers/bedrock.lua): Kong refuses an answer that is no JSON (`failed to decode function
// response arguments, not JSON format`), as most tools' answers are, and sends JSON of any kind as
// `json`, where Converse takes objects only.
fn tool_result<'a>(message: &Message<'a>, media: &mut Media) -> Result<ToolResult<'a>> {
    let missing = || Error::bad_request("a message of role 'tool' must have a 'tool_call_id'");
    let id = message.tool_call_id.clone().ok_or_else(missing)?.0;
    let mut content = Vec::new();
    for block in blocks(message, media)? {
        content.push(match block {
            Block::Text(words) => object(&words).map_or(Block::Text(words), Block::Json),
            other => other,
        });
    }
    Ok(ToolResult { id, content })
}

/// The object that a text is, if it is one.
fn object(passage: &Passage<'_>) -> Option<Box<RawValue>> {
    let text = passage.read();
    let text = text.trim();
    text.starts_with('{').then(|| RawValue::from_string(text.to_owned()).ok()).flatten()
}
