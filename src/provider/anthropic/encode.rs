//! The client's request in Anthropic's words.

use super::super::parameter::{Parameter, Schema};
use super::super::passage::Passage;
use super::super::{Call, Outbound};
use super::content::Said;
use super::turns::{self, Turn};
use crate::config::target::Operation;
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::chat::parameters::{self, Form, Function, Tool, ToolChoice};
use crate::wire::doc::Doc;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// `max_tokens` is mandatory here and optional for OpenAI. Where neither the configuration nor the
/// client gives it, it is as large as all of Anthropic's models allow.
///
// KONG(llm/drivers/anthropic.lua): Kong sends none, and the API refuses the request.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The request of Messages.
#[derive(Serialize)]
struct Chat<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<Passage<'a>>,
    messages: Vec<Turn<'a>>,
    max_tokens: Parameter<'a>,
    #[serde(flatten)]
    wishes: Wishes<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Definition<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    /// Anthropic's own word; its OpenAI-compatible endpoint takes it in the same place.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    stream: bool,
}

/// The request of Text Completions.
#[derive(Serialize)]
struct Completion<'a> {
    model: &'a str,
    prompt: String,
    max_tokens_to_sample: Parameter<'a>,
    #[serde(flatten)]
    wishes: Wishes<'a>,
    stream: bool,
}

/// What both requests say of the answer, and for whom it is.
#[derive(Serialize)]
struct Wishes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Parameter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<Parameter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<Parameter<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Definition<'a> {
    Function {
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
        input_schema: Schema<'a>,
    },
    Own(&'a RawValue),
}

#[derive(Serialize)]
struct Choice<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    schema: &'a RawValue,
}

pub(super) fn request(call: &Call<'_>, legacy: bool) -> Result<Outbound> {
    let body = if legacy { call.write(&completion(call)?) } else { call.write(&chat(call)?) };
    Ok(Outbound::json(body?))
}

fn chat<'a>(call: &'a Call<'_>) -> Result<Chat<'a>> {
    let doc = call.doc;
    let (system, messages) = match call.conf.route_type {
        Operation::Completions => (None, vec![Turn::user(Said::Text(parameters::prompt(doc)?))]),
        Operation::Chat | Operation::Preserve => turns::read(doc)?,
    };
    let tools = tools(doc)?;
    Ok(Chat {
        model: call.model,
        system,
        messages,
        max_tokens: max_tokens(call)?,
        wishes: wishes(call)?,
        tool_choice: tool_choice(doc, !tools.is_empty())?,
        tools,
        thinking: doc.field("thinking")?,
        output_config: output_config(doc)?,
        stream: call.stream,
    })
}

fn completion<'a>(call: &'a Call<'_>) -> Result<Completion<'a>> {
    let doc = call.doc;
    let Text(prompt) = serde_json::from_str(parameters::prompt(doc)?.get())
        .map_err(|_| Error::bad_request("'prompt' must be a single string for anthropic"))?;
    Ok(Completion {
        model: call.model,
        prompt: format!("Human: {prompt}\n\nAssistant:"),
        max_tokens_to_sample: max_tokens(call)?,
        wishes: wishes(call)?,
        stream: call.stream,
    })
}

fn wishes<'a>(call: &'a Call<'_>) -> Result<Wishes<'a>> {
    Ok(Wishes {
        temperature: call.temperature()?,
        top_p: top_p(call)?,
        top_k: call.top_k()?,
        stop_sequences: parameters::stop(call.doc)?,
        metadata: metadata(call.doc),
    })
}

fn max_tokens<'a>(call: &'a Call<'_>) -> Result<Parameter<'a>> {
    Ok(call.max_tokens()?.unwrap_or(Parameter::Limit(DEFAULT_MAX_TOKENS)))
}

/// `top_p`, unless it is 1: that excludes nothing, and newer models refuse it beside `temperature`.
///
// KONG(llm/drivers/anthropic.lua): Kong drops it whatever it is, and `top_k` and `stop` too.
fn top_p<'a>(call: &'a Call<'_>) -> Result<Option<Parameter<'a>>> {
    Ok(call.top_p()?.filter(|top_p| !top_p.is_one()))
}

/// The end user, under the names that OpenAI has had for it.
fn metadata(doc: &Doc) -> Option<Metadata<'_>> {
    #[derive(Deserialize)]
    struct Own<'a> {
        #[serde(borrow)]
        user_id: Lenient<Text<'a>>,
    }
    let own = || Some(doc.field::<Own<'_>>("metadata").ok()??.user_id.0?.0);
    let user_id = doc.text("user").or_else(|| doc.text("safety_identifier")).or_else(own)?;
    Some(Metadata { user_id })
}

fn tools(doc: &Doc) -> Result<Vec<Definition<'_>>> {
    let define = |tool| match tool {
        Tool::Function(Function { name, description, parameters }) => Definition::Function {
            name: name.0,
            description: description.map(|text| text.0),
            input_schema: parameters.into(),
        },
        Tool::Other(own) => Definition::Own(own),
    };
    Ok(parameters::tools(doc)?.into_iter().map(define).collect())
}

/// Which tools are called, and whether several at once.
fn tool_choice(doc: &Doc, tools: bool) -> Result<Option<Choice<'_>>> {
    let one = doc.field::<bool>("parallel_tool_calls")? == Some(false);
    let chosen = parameters::tool_choice(doc).or((one && tools).then_some(ToolChoice::Auto));
    let Some(chosen) = chosen else { return Ok(None) };
    let (r#type, name) = match chosen {
        ToolChoice::Auto => ("auto", None),
        ToolChoice::Required => ("any", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Named(name) => ("tool", Some(name)),
    };
    let disable_parallel_tool_use = (one && r#type != "none").then_some(true);
    Ok(Some(Choice { r#type, name, disable_parallel_tool_use }))
}

/// An answer of any JSON cannot be asked for here; one by a schema can.
fn output_config(doc: &Doc) -> Result<Option<OutputConfig<'_>>> {
    Ok(match parameters::form(doc)? {
        Some(Form::Schema(schema)) => Some(OutputConfig { format: Format { r#type: "json_schema", schema } }),
        Some(Form::Json) | None => None,
    })
}
