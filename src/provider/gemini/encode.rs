//! The client's request in Gemini's words.

use super::super::Call;
use super::super::parameter::{Parameter, Set};
use super::schema;
use super::turns::{Turn, Turns, generation};
use crate::error::{Error, Result};
use crate::wire::chat;
use crate::wire::chat::lenient::Text;
use crate::wire::chat::parameters::{Form, form};
use crate::wire::doc::Doc;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    contents: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Vec<Tool<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Set::is_empty")]
    generation_config: Set<Setting<'a>>,
    /// Gemini's own fields, which clients of any format may give.
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_settings: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content: Option<&'a RawValue>,
}

#[derive(Serialize)]
pub(super) struct Instruction {
    parts: [Words; 1],
}

#[derive(Serialize)]
pub(super) struct Words {
    /// What is said.
    pub text: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Tool<'a> {
    #[serde(rename_all = "camelCase")]
    Functions { function_declarations: Vec<Declaration<'a>> },
    /// One of Gemini's own, as the client wrote it.
    Own(&'a RawValue),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToolConfig<'a> {
    #[serde(rename_all = "camelCase")]
    Calling {
        function_calling_config: Calling<'a>,
    },
    Own(&'a RawValue),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_function_names: Option<[Cow<'a, str>; 1]>,
}

/// A value of `generationConfig`.
#[derive(Serialize)]
#[serde(untagged)]
enum Setting<'a> {
    Parameter(Parameter<'a>),
    Word(&'static str),
    Thinking(Thinking),
}

impl<'a> From<Parameter<'a>> for Setting<'a> {
    fn from(parameter: Parameter<'a>) -> Self {
        Self::Parameter(parameter)
    }
}

#[derive(Serialize)]
struct Thinking {
    #[serde(rename = "thinkingBudget", skip_serializing_if = "Option::is_none")]
    budget: Option<u32>,
    #[serde(rename = "thinkingLevel", skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(rename = "includeThoughts", skip_serializing_if = "std::ops::Not::not")]
    shown: bool,
}

pub(super) fn request(call: &Call<'_>) -> Result<Bytes> {
    let doc = call.doc;
    let messages = chat::messages(doc)?;
    let Turns { system, contents } = Turns::of(&messages, call.model)?;
    if !system.is_empty() && call.model.starts_with("gemini-1.0") {
        return Err(Error::bad_request("system prompts aren't supported on gemini-1.0 models"));
    }
    let tools = tools(doc)?;
    let request = Request {
        contents,
        system_instruction: instruction(&system),
        tool_config: tool_config(doc, tools.is_some())?,
        tools,
        generation_config: config(call)?,
        safety_settings: own(doc, "safetySettings", "safety_settings")?,
        cached_content: own(doc, "cachedContent", "cached_content")?,
    };
    call.write(&request)
}

/// The instructions in one part: some models read no more than the first.
fn instruction(system: &[String]) -> Option<Instruction> {
    (!system.is_empty()).then(|| Instruction { parts: [Words { text: system.join("\n") }] })
}

/// A field of Gemini's under either of its spellings.
fn own<'a>(doc: &'a Doc, camel: &str, snake: &str) -> Result<Option<&'a RawValue>> {
    match doc.field(camel)? {
        Some(raw) => Ok(Some(raw)),
        None => doc.field(snake),
    }
}

fn tools(doc: &Doc) -> Result<Option<Vec<Tool<'_>>>> {
    #[derive(Deserialize)]
    struct Given<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Text<'a>>,
        #[serde(borrow)]
        function: Option<Function<'a>>,
    }
    #[derive(Deserialize)]
    struct Function<'a> {
        #[serde(borrow)]
        name: &'a RawValue,
        #[serde(borrow)]
        description: Option<&'a RawValue>,
        #[serde(borrow)]
        parameters: Option<&'a RawValue>,
    }
    let Some(list) = doc.field::<Vec<&RawValue>>("tools")? else { return Ok(None) };
    let (mut declarations, mut tools) = (Vec::with_capacity(list.len()), Vec::new());
    for raw in list {
        let given: Given<'_> = serde_json::from_str(raw.get())
            .map_err(|_| Error::bad_request("'tools' must hold objects with 'type' and 'function'"))?;
        match (given.kind, given.function) {
            (_, Some(Function { name, description, parameters })) => {
                let given = parameters.filter(|schema| !schema::is_empty(schema));
                let (parameters, parameters_json_schema) = match given {
                    Some(schema) if !schema::is_plain(schema) => (None, Some(schema)),
                    other => (other, None),
                };
                declarations.push(Declaration { name, description, parameters, parameters_json_schema });
            }
            (None, None) => tools.push(Tool::Own(raw)),
            (Some(kind), None) => {
                let kind = &*kind;
                return Err(Error::bad_request(format!(
                    "cannot transform tool of type '{kind}' to Gemini format"
                )));
            }
        }
    }
    if !declarations.is_empty() {
        tools.insert(0, Tool::Functions { function_declarations: declarations });
    }
    Ok((!tools.is_empty()).then_some(tools))
}

/// `tool_choice`; or else Gemini's own field, which Kong lets through.
///
// KONG(llm/drivers/gemini.lua): Kong ignores `tool_choice`.
fn tool_config(doc: &Doc, tools: bool) -> Result<Option<ToolConfig<'_>>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        function: Function<'a>,
    }
    #[derive(Deserialize)]
    struct Function<'a> {
        #[serde(borrow)]
        name: Text<'a>,
    }
    let Some(choice) = doc.field::<&RawValue>("tool_choice")?.filter(|_| tools) else {
        return Ok(own(doc, "toolConfig", "tool_config")?.map(ToolConfig::Own));
    };
    let (mode, allowed_function_names) = match choice.get() {
        "\"none\"" => ("NONE", None),
        "\"auto\"" => ("AUTO", None),
        "\"required\"" => ("ANY", None),
        named => match serde_json::from_str::<Named<'_>>(named) {
            Ok(named) => ("ANY", Some([named.function.name.0])),
            Err(_) => {
                return Err(Error::bad_request(
                    "'tool_choice' must be 'auto', 'none', 'required' or name a function",
                ));
            }
        },
    };
    let function_calling_config = Calling { mode, allowed_function_names };
    Ok(Some(ToolConfig::Calling { function_calling_config }))
}

/// `generationConfig`: the configured options, or else the client's.
fn config<'a>(call: &'a Call<'_>) -> Result<Set<Setting<'a>>> {
    let mut set = Set::default();
    set.put("maxOutputTokens", call.max_tokens()?);
    set.put("stopSequences", call.stop()?);
    set.put("temperature", call.temperature()?);
    set.put("topP", call.top_p()?);
    set.put("topK", call.top_k()?);
    set.put("candidateCount", candidates(call)?);
    set.put("seed", call.asked("seed")?);
    set.put("presencePenalty", call.asked("presence_penalty")?);
    set.put("frequencyPenalty", call.asked("frequency_penalty")?);
    set.put("thinkingConfig", thinking(call).map(Setting::Thinking));
    for (name, setting) in format(call.doc)?.into_iter().flatten() {
        set.put(name, Some(setting));
    }
    Ok(set)
}

/// `n`. A stream of several answers at once has no place in the client's chunks.
fn candidates<'a>(call: &'a Call<'_>) -> Result<Option<Parameter<'a>>> {
    let Some(raw) = call.doc.field::<&RawValue>("n")? else { return Ok(None) };
    if raw.get() == "1" {
        return Ok(None);
    }
    if call.stream {
        return Err(Error::bad_request("'n' must be 1 for streams of Gemini"));
    }
    Ok(Some(Parameter::Client(raw)))
}

/// `response_format`. Gemini has one field for schemas of its own kind, and one for any other.
fn format(doc: &Doc) -> Result<[Option<(&'static str, Setting<'_>)>; 2]> {
    let schema = match form(doc)? {
        None => return Ok([None, None]),
        Some(Form::Json) => None,
        Some(Form::Schema(schema)) => {
            let name = if schema::is_plain(schema) { "responseSchema" } else { "responseJsonSchema" };
            Some((name, Setting::Parameter(Parameter::Client(schema))))
        }
    };
    Ok([Some(("responseMimeType", Setting::Word("application/json"))), schema])
}

/// `reasoning_effort`: a level since the third generation, a budget of tokens before. Whoever says
/// how hard to think gets to read the thoughts.
fn thinking(call: &Call<'_>) -> Option<Thinking> {
    let effort = call.doc.text("reasoning_effort")?;
    let newer = generation(call.model).is_some_and(|number| number >= 3);
    let (budget, level) = match &*effort {
        "none" => (0, "minimal"),
        "minimal" => (512, "minimal"),
        "low" => (1024, "low"),
        "medium" => (8192, "medium"),
        "high" | "xhigh" => (24_576, "high"),
        _ => return None,
    };
    Some(Thinking {
        budget: (!newer).then_some(budget),
        level: newer.then_some(level),
        shown: effort != "none",
    })
}
