//! The client's request as Converse wants it.

use super::super::Call;
use super::super::parameter::{Parameter, Set};
use super::messages::{self, Block, Turn};
use super::tools::{self, ToolConfig};
use crate::error::{Error, Result};
use crate::wire::chat::parameters::{self, Form};
use crate::wire::doc::Doc;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// Models that know no system prompt.
const WITHOUT_SYSTEM: [&str; 5] = [
    "amazon.titan",
    "cohere.command-text",
    "cohere.command-light",
    "mistral.mistral-7b-instruct",
    "mistral.mixtral-8x7b-instruct",
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Set::is_empty")]
    inference_config: Set<Parameter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_model_request_fields: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Output<'a>>,
    // Converse's own, which clients may send beside OpenAI's.
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_model_response_field_paths: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guardrail_config: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    performance_config: Option<&'a RawValue>,
}

/// Whether the model knows a system prompt.
pub(super) fn takes_system(model: &str) -> bool {
    !WITHOUT_SYSTEM.iter().any(|name| model.contains(name))
}

/// The whole body.
///
// KONG(llm/drivers/bedrock.lua): Kong also sends `anthropic_version`, which Converse does not know.
pub(super) fn body(call: &Call<'_>) -> Result<Bytes> {
    let doc = call.doc;
    let talk = messages::read(doc)?;
    if !talk.system.is_empty() && !takes_system(call.model) {
        return Err(Error::bad_request(format!("system prompts are unsupported for model '{}'", call.model)));
    }
    let body = Body {
        tool_config: tools::config(doc, talk.has_tools)?,
        messages: talk.turns,
        system: talk.system,
        inference_config: inference(call)?,
        additional_model_request_fields: additional(call)?,
        output_config: output(doc)?,
        additional_model_response_field_paths: doc.field("additionalModelResponseFieldPaths")?,
        guardrail_config: doc.field("guardrailConfig")?,
        request_metadata: doc.field("requestMetadata")?,
        performance_config: doc.field("performanceConfig")?,
    };
    call.write(&body)
}

/// `outputConfig`: the form of the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    text_format: TextFormat<'a>,
}

#[derive(Serialize)]
struct TextFormat<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    structure: Structure<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Structure<'a> {
    json_schema: Schema<'a>,
}

/// The schema goes as text.
#[derive(Serialize)]
struct Schema<'a> {
    schema: &'a str,
}

/// What `response_format` asks for; Converse knows no form but a schema.
fn output(doc: &Doc) -> Result<Option<Output<'_>>> {
    let Some(Form::Schema(schema)) = parameters::form(doc)? else { return Ok(None) };
    let structure = Structure { json_schema: Schema { schema: schema.get() } };
    Ok(Some(Output { text_format: TextFormat { kind: "json_schema", structure } }))
}

/// `inferenceConfig`: the configured options, or else the client's.
fn inference<'a>(call: &'a Call<'_>) -> Result<Set<Parameter<'a>>> {
    let mut set = Set::default();
    set.put("maxTokens", call.max_tokens()?);
    set.put("temperature", call.temperature()?);
    set.put("topP", call.top_p()?);
    set.put("stopSequences", call.stop()?);
    Ok(set)
}

/// What only some vendors know: the client's own fields, and `top_k` under the vendor's name.
///
// KONG(llm/drivers/bedrock.lua): Kong loses `top_k`.
fn additional(call: &Call<'_>) -> Result<Option<Box<RawValue>>> {
    let own: Option<&RawValue> = call.doc.field("additionalModelRequestFields")?;
    let top_k = match &call.conf.model.options.top_k {
        Some(number) => RawValue::from_string(number.to_string()).ok(),
        None => call.doc.field::<&RawValue>("top_k")?.map(ToOwned::to_owned),
    };
    let (Some(top_k), Some(place)) = (top_k, top_k_place(call.model)) else {
        return Ok(own.map(ToOwned::to_owned));
    };
    let mut fields = match own {
        Some(own) => Doc::parse(Bytes::copy_from_slice(own.get().as_bytes()))?,
        None => Doc::empty(),
    };
    match place {
        Place::Field(name) => fields.set_raw(name, &top_k),
        Place::Inference => fields.set("inferenceConfig", &Nova { top_k: &top_k })?,
    }
    let text = String::from_utf8(fields.bytes().to_vec()).unwrap_or_default();
    Ok(RawValue::from_string(text).ok())
}

/// Where a vendor's models look for `top_k`.
enum Place {
    Field(&'static str),
    /// In an `inferenceConfig` of their own.
    Inference,
}

#[derive(Serialize)]
struct Nova<'a> {
    #[serde(rename = "topK")]
    top_k: &'a RawValue,
}

/// `None` where models refuse it, or where the name (an ARN) does not say whose model it is.
fn top_k_place(model: &str) -> Option<Place> {
    let of = |vendor: &str| model.contains(vendor);
    match () {
        () if of("anthropic.") || of("mistral.") => Some(Place::Field("top_k")),
        () if of("cohere.") => Some(Place::Field("k")),
        () if of("amazon.nova") => Some(Place::Inference),
        () => None,
    }
}
