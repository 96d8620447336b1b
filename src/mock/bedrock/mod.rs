//! Bedrock's dialect: Converse, and `ConverseStream` in AWS's binary frames.
//!
//! What Bedrock refuses is refused: turns that do not alternate, a chat that the model begins, tool results
//! that answer no call of the turn before, and calls that stay unanswered.

mod reply;

use super::answer::{Format, Limits};
use super::ask::{Ask, Spent};
use super::call::{Choice, Tool, Tools};
use super::prompt::Prompt;
use super::refusal::Refusal;
use super::reply::Reply;
use super::request::{Text, parse, required, strings};
use super::said::Said;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    messages: Vec<Turn<'a>>,
    #[serde(borrow, default)]
    system: Vec<Block<'a>>,
    #[serde(borrow, default)]
    inference_config: Inference<'a>,
    #[serde(borrow, default)]
    tool_config: ToolConfig<'a>,
    #[serde(borrow)]
    output_config: Option<Output<'a>>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Vec<Block<'a>>,
}

/// A block: one of these.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    image: Option<Media<'a>>,
    #[serde(borrow)]
    document: Option<Media<'a>>,
    #[serde(borrow)]
    tool_use: Option<Use<'a>>,
    #[serde(borrow)]
    tool_result: Option<Outcome<'a>>,
    #[serde(borrow)]
    cache_point: Option<&'a RawValue>,
    #[serde(borrow)]
    guard_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow)]
    format: Text<'a>,
    #[serde(rename = "source")]
    _source: Source,
}

/// The bytes, or where they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Source {
    Bytes(IgnoredAny),
    S3Location(IgnoredAny),
    Text(IgnoredAny),
    Content(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Use<'a> {
    #[serde(borrow)]
    tool_use_id: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    input: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    #[serde(borrow)]
    tool_use_id: Text<'a>,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inference<'a> {
    max_tokens: Option<u64>,
    #[serde(borrow)]
    stop_sequences: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    #[serde(borrow, default)]
    tools: Vec<Offered<'a>>,
    #[serde(borrow)]
    tool_choice: Option<Chosen<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offered<'a> {
    #[serde(borrow)]
    tool_spec: Option<Spec<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow)]
    input_schema: Schema<'a>,
}

#[derive(Clone, Copy, Deserialize)]
struct Schema<'a> {
    #[serde(borrow)]
    json: &'a RawValue,
}

#[derive(Deserialize)]
struct Chosen<'a> {
    #[serde(borrow)]
    any: Option<&'a RawValue>,
    #[serde(borrow)]
    tool: Option<ChosenTool<'a>>,
}

#[derive(Deserialize)]
struct ChosenTool<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    #[serde(borrow)]
    text_format: Option<TextFormat<'a>>,
}

#[derive(Deserialize)]
struct TextFormat<'a> {
    #[serde(borrow)]
    structure: Structure<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structure<'a> {
    #[serde(borrow)]
    json_schema: SchemaText<'a>,
}

/// A schema as a string.
#[derive(Deserialize)]
struct SchemaText<'a> {
    #[serde(borrow)]
    schema: Text<'a>,
}

/// `POST /model/{m}/converse`.
pub fn converse(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let (said, spent) = said(ask)?;
    Ok(reply::whole(&said, spent))
}

/// `POST /model/{m}/converse-stream`.
pub fn converse_stream(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let (said, spent) = said(ask)?;
    Ok(reply::stream(&said, spent, ask.options.chunks))
}

fn said(ask: &Ask<'_>) -> Result<(Said, Spent), Refusal> {
    let mut request: Request<'_> = parse(ask.body)?;
    let prompt = request.prompt()?;
    let schema = request.schema()?;
    let limits = Limits {
        tokens: request.inference_config.max_tokens,
        stop: strings("inferenceConfig", request.inference_config.stop_sequences)?,
        words: ask.words(),
        format: schema.as_deref().map(Format::Schema),
    };
    let said = Said::to(&prompt, &request.tools(), &limits)?;
    let spent = ask.spent(prompt.tokens, said.tokens());
    Ok((said, spent))
}

impl<'a> Request<'a> {
    fn prompt(&mut self) -> Result<Prompt<'a>, Refusal> {
        let turns = std::mem::take(&mut self.messages);
        let mut prompt = Prompt::chat(turns.len() + usize::from(!self.system.is_empty()));
        for block in &self.system {
            block.text.iter().for_each(|text| prompt.count(&text.0));
        }
        for spec in self.tool_config.tools.iter().filter_map(|tool| tool.tool_spec.as_ref()) {
            prompt.count(&spec.name.0);
            spec.description.iter().for_each(|text| prompt.count(&text.0));
            prompt.count_json(Some(spec.input_schema.json));
        }
        let first = required("messages", turns.first(), "A conversation must have messages.")?;
        if first.role.0 != "user" {
            return Err(Refusal::field("messages", "A conversation must start with a user message."));
        }
        if turns.windows(2).any(|pair| matches!(pair, [one, next] if one.role.0 == next.role.0)) {
            return Err(Refusal::field(
                "messages",
                "A conversation must alternate between the roles user and assistant.",
            ));
        }
        for turn in turns {
            turn.hear(&mut prompt)?;
        }
        Ok(prompt)
    }

    fn tools(&self) -> Tools<'a> {
        let specs = self.tool_config.tools.iter().filter_map(|tool| tool.tool_spec.as_ref());
        let all = specs.map(|spec| Tool { name: spec.name.0.clone(), schema: Some(spec.input_schema.json) });
        let choice = match &self.tool_config.tool_choice {
            Some(Chosen { tool: Some(tool), .. }) => Choice::Named(tool.name.0.clone()),
            Some(Chosen { any: Some(_), .. }) => Choice::Any,
            _ => Choice::Free,
        };
        Tools { all: all.collect(), choice }
    }

    fn schema(&self) -> Result<Option<Box<RawValue>>, Refusal> {
        let format = self.output_config.as_ref().and_then(|output| output.text_format.as_ref());
        let Some(format) = format else { return Ok(None) };
        let schema = format.structure.json_schema.schema.0.clone().into_owned();
        let wrong = |_| Refusal::field("outputConfig", "the schema must be JSON in a string");
        RawValue::from_string(schema).map(Some).map_err(wrong)
    }
}

impl<'a> Turn<'a> {
    fn hear(self, prompt: &mut Prompt<'a>) -> Result<(), Refusal> {
        let user = match &*self.role.0 {
            "user" => true,
            "assistant" => false,
            _ => return Err(Refusal::field("messages", "a role must be user or assistant")),
        };
        let mut text = Cow::Borrowed("");
        required("messages", self.content.first(), "the content of a message must not be empty")?;
        for block in self.content {
            text += block.hear(prompt)?;
        }
        prompt.count(&text);
        prompt.count(&self.role.0);
        if user {
            prompt.end_turn()?;
            prompt.ask(text);
        }
        Ok(())
    }
}

impl<'a> Block<'a> {
    /// Counts the block; its text, which is not counted.
    fn hear(self, prompt: &mut Prompt<'a>) -> Result<Cow<'a, str>, Refusal> {
        if let Some(text) = self.text {
            if text.0.trim().is_empty() {
                return Err(Refusal::field("messages", "the text of a block must not be blank"));
            }
            return Ok(text.0);
        }
        if let Some(image) = self.image {
            if !matches!(&*image.format.0, "png" | "jpeg" | "gif" | "webp") {
                return Err(Refusal::field("messages", "an image's format must be png, jpeg, gif or webp"));
            }
            prompt.show();
        } else if let Some(call) = self.tool_use {
            prompt.count(&call.name.0);
            prompt.count_json(Some(call.input));
            prompt.call(call.tool_use_id.0);
        } else if let Some(result) = self.tool_result {
            prompt.count_json(Some(result.content));
            prompt.answer(&result.tool_use_id.0)?;
        } else if let Some(document) = self.document {
            prompt.count(&document.format.0);
        } else {
            let other = self.cache_point.or(self.guard_content).or(self.reasoning_content);
            required("messages", other, "a block must have content")?;
        }
        Ok(Cow::Borrowed(""))
    }
}
