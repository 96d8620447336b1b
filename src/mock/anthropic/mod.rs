//! Anthropic's dialect: Messages.
//!
//! What Anthropic refuses is refused: a version or a limit that is missing, a chat that the model begins,
//! tool results that answer no call of the turn before, and calls that stay unanswered.

mod reply;

use super::answer::{Format, Limits};
use super::ask::Ask;
use super::call::{Choice, Tool, Tools};
use super::prompt::Prompt;
use super::refusal::Refusal;
use super::reply::Reply;
use super::request::{Text, named, parse, parse_field, required, strings};
use super::said::Said;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    messages: Option<Vec<Turn<'a>>>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    max_tokens: Option<u64>,
    #[serde(borrow)]
    stop_sequences: Option<&'a RawValue>,
    stream: Option<bool>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    output_config: Option<Output<'a>>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// A block of any type.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Source<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    media_type: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    format: Option<OutputFormat<'a>>,
}

#[derive(Deserialize)]
struct OutputFormat<'a> {
    #[serde(borrow)]
    schema: &'a RawValue,
}

#[derive(Deserialize)]
struct Offered<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Chosen<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

/// `POST /v1/messages`.
pub fn messages(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    if !ask.headers.contains_key("anthropic-version") {
        return Err(Refusal::status(StatusCode::BAD_REQUEST, "anthropic-version: header is required"));
    }
    let mut request: Request<'_> = parse(ask.body)?;
    let prompt = request.prompt()?;
    let model = named("model", request.model.as_ref(), None)?;
    let said = Said::to(&prompt, &request.tools()?, &request.limits(ask)?)?;
    let spent = ask.spent(prompt.tokens, said.tokens());
    Ok(if request.stream.unwrap_or(false) {
        reply::stream(model, &said, spent, ask.options.chunks)
    } else {
        reply::whole(model, &said, spent)
    })
}

impl<'a> Request<'a> {
    fn prompt(&mut self) -> Result<Prompt<'a>, Refusal> {
        let turns = self.messages.take().filter(|turns| !turns.is_empty());
        let turns = required("messages", turns, "messages: at least one message is required")?;
        let mut prompt = Prompt::chat(turns.len() + usize::from(self.system.is_some()));
        if let Some(system) = self.system {
            let text = content("system", system, &mut prompt)?;
            prompt.count(&text);
        }
        prompt.count_json(self.tools);
        if turns.first().is_some_and(|turn| turn.role.0 != "user") {
            return Err(Refusal::field("messages", "messages: the first message must have the role user"));
        }
        for turn in turns {
            turn.hear(&mut prompt)?;
        }
        Ok(prompt)
    }

    fn tools(&self) -> Result<Tools<'a>, Refusal> {
        let offered: Vec<Offered<'a>> = match self.tools {
            Some(tools) => parse_field("tools", tools)?,
            None => Vec::new(),
        };
        let all = offered.into_iter().map(|tool| Tool { name: tool.name.0, schema: tool.input_schema });
        let choice = match self.tool_choice {
            Some(choice) => chosen(parse_field("tool_choice", choice)?)?,
            None => Choice::Free,
        };
        Ok(Tools { all: all.collect(), choice })
    }

    fn limits(&self, ask: &Ask<'_>) -> Result<Limits<'a>, Refusal> {
        let most = required("max_tokens", self.max_tokens, "max_tokens: field required")?;
        if most == 0 {
            return Err(Refusal::field("max_tokens", "max_tokens: must be at least 1"));
        }
        let format = self.output_config.as_ref().and_then(|output| output.format.as_ref());
        Ok(Limits {
            tokens: Some(most),
            stop: strings("stop_sequences", self.stop_sequences)?,
            words: ask.words(),
            format: format.map(|format| Format::Schema(format.schema)),
        })
    }
}

impl<'a> Turn<'a> {
    fn hear(self, prompt: &mut Prompt<'a>) -> Result<(), Refusal> {
        let text = content("messages", self.content, prompt)?;
        prompt.count(&text);
        prompt.count(&self.role.0);
        match &*self.role.0 {
            "user" => {
                prompt.end_turn()?;
                prompt.ask(text);
                Ok(())
            }
            "assistant" => Ok(()),
            _ => Err(Refusal::field("messages", "messages: a role must be user or assistant")),
        }
    }
}

/// The text of a string or of blocks, all of which are counted but the text.
fn content<'a>(
    field: &'static str,
    content: &'a RawValue,
    prompt: &mut Prompt<'a>,
) -> Result<Cow<'a, str>, Refusal> {
    if content.get().starts_with('"') {
        return Ok(parse_field::<Text<'a>>(field, content)?.0);
    }
    let blocks: Vec<Block<'a>> = parse_field(field, content)?;
    let mut text = Cow::Borrowed("");
    for block in blocks {
        text += block.hear(field, prompt)?;
    }
    Ok(text)
}

impl<'a> Block<'a> {
    /// Counts the block; its text, which is not counted.
    fn hear(self, field: &'static str, prompt: &mut Prompt<'a>) -> Result<Cow<'a, str>, Refusal> {
        match &*self.kind.0 {
            "text" => return Ok(required(field, self.text, "a text block needs a text")?.0),
            "image" => image(self.source, prompt)?,
            "document" => {
                required(field, self.source, "a document block needs a source")?;
            }
            "tool_use" => {
                let id = required(field, self.id, "a tool_use block needs an id")?;
                let name = required(field, self.name, "a tool_use block needs a name")?;
                let input = self.input.filter(|input| input.get().starts_with('{'));
                let input = required(field, input, "a tool_use block's input must be an object")?;
                prompt.count(&name.0);
                prompt.count_json(Some(input));
                prompt.call(id.0);
            }
            "tool_result" => {
                let id = required(field, self.tool_use_id, "a tool_result block needs a tool_use_id")?;
                prompt.answer(&id.0)?;
                prompt.count_json(self.content);
            }
            "thinking" | "redacted_thinking" | "search_result" => {}
            other => return Err(Refusal::field(field, format!("there are no blocks of type '{other}'"))),
        }
        Ok(Cow::Borrowed(""))
    }
}

fn image(source: Option<Source<'_>>, prompt: &mut Prompt<'_>) -> Result<(), Refusal> {
    let source = required("messages", source, "an image block needs a source")?;
    let complete = match &*source.kind.0 {
        "base64" => source.media_type.is_some() && source.data.is_some(),
        "url" => source.url.is_some_and(|url| url.0.starts_with("http")),
        "file" => true,
        _ => false,
    };
    if !complete {
        return Err(Refusal::field("messages", "an image's source must be base64 data, a URL or a file"));
    }
    prompt.show();
    Ok(())
}

fn chosen(choice: Chosen<'_>) -> Result<Choice<'_>, Refusal> {
    match &*choice.kind.0 {
        "auto" | "none" => Ok(Choice::Free),
        "any" => Ok(Choice::Any),
        "tool" => {
            let name = required("tool_choice", choice.name, "tool_choice: a tool needs a name")?;
            Ok(Choice::Named(name.0))
        }
        _ => Err(Refusal::field("tool_choice", "tool_choice: the type must be auto, any, tool or none")),
    }
}
