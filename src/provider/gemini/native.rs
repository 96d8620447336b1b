//! Gemini's own API as the clients' (`llm_format: gemini`).
//!
//! Clients write it in either spelling (`functionCall`, `function_call`), and a lone part without
//! the list around it; all of that is read.

use super::encode::Words;
use super::turns::Turns;
use crate::error::{Error, Result};
use crate::provider::native::{
    Asked, Link, NativeFormat, Place, Said, Seen, Shown, raw, unescaped, unwritten,
};
use crate::wire::chat::lenient::Text;
use crate::wire::chat::{Message, ToolUse};
use crate::wire::doc::{Doc, Side};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// `llm_format: gemini`.
pub(super) struct GeminiFormat;

impl NativeFormat for GeminiFormat {
    fn ask(&self, place: &Place<'_>) -> Result<Asked> {
        let named =
            ["/models/", "/tunedModels/"].iter().find_map(|at| Some((at, place.path.rsplit_once(at)?.1)));
        let (mut model, mut operation) = (None, None);
        if let Some((at, named)) = named {
            let (name, verb) = named.rsplit_once(':').unwrap_or((named, ""));
            let tuned = at.strip_prefix("/tuned").is_some();
            let name = unescaped(name);
            model = Some(if tuned { Cow::Owned(format!("tunedModels/{name}")) } else { name });
            operation = Some(verb);
        }
        let model = place.capture("model").map(Cow::Borrowed).or(model).filter(|model| !model.is_empty());
        let stream = match place.capture("operation").or(operation).unwrap_or_default() {
            "" | "generateContent" => false,
            "streamGenerateContent" => true,
            other => {
                return Err(Error::bad_request(format!(
                    "llm_format 'gemini' serves generateContent and streamGenerateContent, not '{other}'"
                )));
            }
        };
        Ok(Asked { model: model.map(Cow::into_owned), stream })
    }

    fn view(&self, native: &Doc) -> Result<Doc> {
        let mut messages = Vec::new();
        if let Some(system) = either::<Content<'_>>(native, "systemInstruction", "system_instruction")? {
            let text = system.parts.iter().filter_map(Part::text).collect::<Vec<_>>().join("\n");
            messages.push(Seen {
                role: "system",
                content: Some(Said::Text(Cow::Owned(text))),
                ..Seen::default()
            });
        }
        let contents: Many<Content<'_>> = native.field("contents")?.unwrap_or_default();
        for (turn, content) in contents.iter().enumerate() {
            see(content, turn, &mut messages);
        }
        let mut view = Doc::empty();
        view.set("messages", &messages)?;
        if let Some(config) = either::<Config<'_>>(native, "generationConfig", "generation_config")? {
            let options = [
                ("max_tokens", config.max_output_tokens),
                ("temperature", config.temperature),
                ("top_p", config.top_p),
                ("top_k", config.top_k),
                ("stop", config.stop_sequences),
            ];
            for (name, value) in options {
                if let Some(value) = value {
                    view.set_raw(name, value);
                }
            }
        }
        let tools: Vec<_> = native.field::<Many<Tools<'_>>>("tools")?.unwrap_or_default().0;
        let tools: Vec<_> = tools.iter().flat_map(|tools| tools.function_declarations.iter()).collect();
        if !tools.is_empty() {
            let tools: Vec<_> =
                tools.into_iter().map(|function| Tool { kind: "function", function }).collect();
            view.set("tools", &tools)?;
        }
        Ok(view)
    }

    fn add(&self, native: &mut Doc, messages: &[Message<'_>], at: Side) -> Result<()> {
        let Turns { system, contents } = Turns::of(messages, "")?;
        let contents = contents.iter().map(raw).collect::<Result<Vec<_>>>()?;
        put(native, "contents", at, &contents)?;
        if system.is_empty() {
            return Ok(());
        }
        let key = if native.has("system_instruction") { "system_instruction" } else { "systemInstruction" };
        let words = system.into_iter().map(|text| raw(&Words { text })).collect::<Result<Vec<_>>>()?;
        let given =
            native.field::<&RawValue>(key)?.map(|given| Bytes::copy_from_slice(given.get().as_bytes()));
        let mut instruction = given.map_or_else(|| Ok(Doc::empty()), Doc::parse)?;
        put(&mut instruction, "parts", at, &words)?;
        native.set_raw(key, &text(&instruction)?);
        Ok(())
    }
}

/// Adds items to a list that may be missing, or be one item without its list.
fn put(doc: &mut Doc, key: &str, at: Side, items: &[Box<RawValue>]) -> Result<()> {
    let listed = doc.raw(key).is_some_and(|raw| raw.starts_with('['));
    if !listed {
        let lone = doc.field::<&RawValue>(key)?.map(RawValue::to_owned);
        doc.set(key, &lone.as_slice())?;
    }
    doc.splice(key, at, items)
}

fn text(doc: &Doc) -> Result<Box<RawValue>> {
    let json = String::from_utf8(doc.bytes().to_vec()).map_err(|_| unwritten())?;
    RawValue::from_string(json).map_err(|_| unwritten())
}

fn either<'a, T: Deserialize<'a>>(doc: &'a Doc, camel: &str, snake: &str) -> Result<Option<T>> {
    match doc.field(camel)? {
        Some(value) => Ok(Some(value)),
        None => doc.field(snake),
    }
}

/// One, or a list of them.
struct Many<T>(Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::Deref for Many<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let read = match raw.as_bytes().first() {
            Some(b'[') => serde_json::from_str(raw),
            Some(b'n') => Ok(Vec::new()),
            _ => serde_json::from_str(raw).map(|one| vec![one]),
        };
        read.map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    parts: Many<Part<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow, alias = "inline_data")]
    inline_data: Option<Blob<'a>>,
    #[serde(borrow, alias = "file_data")]
    file_data: Option<File<'a>>,
    #[serde(borrow, alias = "function_call")]
    function_call: Option<Called<'a>>,
    #[serde(borrow, alias = "function_response")]
    function_response: Option<Brought<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    #[serde(borrow, alias = "mime_type")]
    mime_type: Text<'a>,
    #[serde(borrow)]
    data: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(borrow, alias = "file_uri")]
    file_uri: Text<'a>,
}

#[derive(Deserialize)]
struct Called<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Brought<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config<'a> {
    #[serde(borrow, alias = "max_output_tokens")]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow, alias = "top_p")]
    top_p: Option<&'a RawValue>,
    #[serde(borrow, alias = "top_k")]
    top_k: Option<&'a RawValue>,
    #[serde(borrow, alias = "stop_sequences")]
    stop_sequences: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Tools<'a> {
    #[serde(borrow, alias = "function_declarations")]
    function_declarations: Many<&'a RawValue>,
}

impl Part<'_> {
    fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: &'a RawValue,
}

/// Shows a turn as OpenAI's messages: results of calls are messages of their own.
fn see<'a>(content: &'a Content<'a>, turn: usize, messages: &mut Vec<Seen<'a>>) {
    let role = match content.role.as_deref().unwrap_or("user") {
        "model" | "assistant" => "assistant",
        "function" | "tool" => "tool",
        "system" => "system",
        _ => "user",
    };
    let id = |given: &'a Option<Text<'a>>, name: &str| match given {
        Some(id) => Cow::Borrowed(&*id.0),
        None => Cow::Owned(format!("call_{turn}_{name}")),
    };
    let (mut shown, mut tool_calls) = (Vec::new(), Vec::new());
    for part in content.parts.iter() {
        if let Some(text) = part.text() {
            shown.push(Shown::Text { text });
        } else if let Some(blob) = &part.inline_data {
            let url = Cow::Owned(format!("data:{};base64,{}", &*blob.mime_type, &*blob.data));
            shown.push(Shown::ImageUrl { image_url: Link { url } });
        } else if let Some(file) = &part.file_data {
            shown.push(Shown::ImageUrl { image_url: Link { url: Cow::Borrowed(&file.file_uri) } });
        } else if let Some(call) = &part.function_call {
            let arguments = call.args.map_or("{}", RawValue::get);
            let id = id(&call.id, &call.name).into_owned();
            tool_calls.push(ToolUse { id, name: &call.name, arguments });
        } else if let Some(brought) = &part.function_response {
            messages.push(Seen {
                role: "tool",
                name: Some(&brought.name),
                content: Some(Said::Text(Cow::Borrowed(brought.response.map_or("", RawValue::get)))),
                tool_call_id: Some(id(&brought.id, &brought.name)),
                ..Seen::default()
            });
        }
    }
    let content = Said::of(shown);
    if content.is_some() || !tool_calls.is_empty() {
        messages.push(Seen { role, content, tool_calls, ..Seen::default() });
    }
}
