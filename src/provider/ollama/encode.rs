//! The client's request in Ollama's words.

use super::super::{Call, Outbound};
use super::messages::{self, Turn};
use crate::config::target::Operation;
use crate::error::{Error, Kind, Result};
use crate::wire::chat::lenient::Text;
use crate::wire::doc::Doc;
use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Number;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Turn<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<&'a RawValue>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Think<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Options::is_empty")]
    options: Options<'a>,
}

/// `format`: any JSON, or what a schema describes.
#[derive(Serialize)]
#[serde(untagged)]
enum Format<'a> {
    Json(&'static str),
    Schema(&'a RawValue),
}

/// `think`: not at all, or how hard.
#[derive(Serialize)]
#[serde(untagged)]
enum Think<'a> {
    Switch(bool),
    Effort(&'a RawValue),
}

/// Model parameters.
struct Options<'a>(Vec<(&'static str, Parameter<'a>)>);

#[derive(Serialize)]
#[serde(untagged)]
enum Parameter<'a> {
    Limit(u64),
    Configured(&'a Number),
    Client(&'a RawValue),
    /// A list of one.
    Listed([&'a RawValue; 1]),
}

/// The whole request.
pub(super) fn request(call: &Call<'_>) -> Result<Outbound> {
    let doc = call.doc;
    let chat = call.conf.route_type == Operation::Chat;
    let request = Request {
        model: call.model,
        messages: chat.then(|| messages::turns(doc)).transpose()?,
        prompt: if chat { None } else { prompt(doc)? },
        suffix: if chat { None } else { doc.field("suffix")? },
        stream: call.stream,
        format: format(doc)?,
        think: think(doc)?,
        tools: doc.field("tools")?,
        tool_choice: doc.field("tool_choice")?,
        options: options(call)?,
    };
    let mut body = Vec::with_capacity(512 + doc.raw("messages").map_or(0, str::len));
    serde_json::to_writer(&mut body, &request)
        .map_err(|error| Error::new(Kind::Internal, format!("request cannot be written as JSON: {error}")))?;
    Ok(Outbound::json(Bytes::from(body)))
}

/// A string, or a list of one string: Ollama answers one prompt at a time.
fn prompt(doc: &Doc) -> Result<Option<&RawValue>> {
    let Some(raw) = doc.field::<&RawValue>("prompt")? else { return Ok(None) };
    if raw.get().starts_with('"') {
        return Ok(Some(raw));
    }
    match serde_json::from_str::<[&RawValue; 1]>(raw.get()) {
        Ok([only]) if only.get().starts_with('"') => Ok(Some(only)),
        _ => Err(Error::bad_request("'prompt' must be a single string for the ollama format")),
    }
}

/// `response_format` has the same two forms under another name.
fn format(doc: &Doc) -> Result<Option<Format<'_>>> {
    #[derive(Deserialize)]
    struct Wanted<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
        #[serde(borrow)]
        json_schema: Option<Named<'a>>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
    }
    let Some(wanted) = doc.field::<Wanted<'_>>("response_format")? else { return Ok(None) };
    Ok(match (&*wanted.kind, wanted.json_schema.and_then(|named| named.schema)) {
        ("json_schema", Some(schema)) => Some(Format::Schema(schema)),
        ("json_schema" | "json_object", _) => Some(Format::Json("json")),
        _ => None,
    })
}

/// `reasoning_effort`: Ollama knows the words between OpenAI's outer ones.
fn think(doc: &Doc) -> Result<Option<Think<'_>>> {
    let Some(raw) = doc.field::<&RawValue>("reasoning_effort")? else { return Ok(None) };
    Ok(Some(match raw.get() {
        "\"none\"" => Think::Switch(false),
        "\"minimal\"" => Think::Switch(true),
        _ => Think::Effort(raw),
    }))
}

/// The configured options, or else the client's.
///
// KONG(llm/drivers/shared.lua): Kong sends options only if the target has some configured, and
// drops the client's otherwise.
fn options<'a>(call: &'a Call<'_>) -> Result<Options<'a>> {
    let (doc, configured) = (call.doc, &call.conf.model.options);
    let client = |key: &str| Ok::<_, Error>(doc.field::<&RawValue>(key)?.map(Parameter::Client));
    let limit = match configured.max_tokens {
        Some(limit) => Some(Parameter::Limit(limit)),
        None => client("max_completion_tokens")?.or(client("max_tokens")?),
    };
    let mut set = Vec::with_capacity(8);
    set.extend(limit.map(|limit| ("num_predict", limit)));
    let numbers = [
        ("temperature", &configured.temperature),
        ("top_p", &configured.top_p),
        ("top_k", &configured.top_k),
    ];
    for (name, number) in numbers {
        let value = match number {
            Some(number) => Some(Parameter::Configured(number)),
            None => client(name)?,
        };
        set.extend(value.map(|value| (name, value)));
    }
    for name in ["seed", "presence_penalty", "frequency_penalty"] {
        set.extend(client(name)?.map(|value| (name, value)));
    }
    if let Some(stop) = doc.field::<&RawValue>("stop")? {
        let one = stop.get().starts_with('"');
        set.push(("stop", if one { Parameter::Listed([stop]) } else { Parameter::Client(stop) }));
    }
    Ok(Options(set))
}

impl Options<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Options<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
