//! Gemini's dialect, at Google's public API and at Vertex alike. Names are read in both of the spellings that
//! Google's JSON has.

mod reply;

use super::answer::{Format, Limits};
use super::ask::{Ask, Spent};
use super::call::{Choice, Tool, Tools};
use super::prompt::Prompt;
use super::refusal::Refusal;
use super::reply::{Framing, Reply, Script};
use super::request::{Text, parse, required, strings};
use super::said::Said;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    contents: Vec<Content<'a>>,
    #[serde(borrow, alias = "system_instruction")]
    system_instruction: Option<Content<'a>>,
    #[serde(borrow, default)]
    tools: Vec<Toolbox<'a>>,
    #[serde(borrow, alias = "tool_config")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(borrow, default, alias = "generation_config")]
    generation_config: Generation<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow, default)]
    parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow, alias = "inline_data")]
    inline_data: Option<Blob<'a>>,
    #[serde(borrow, alias = "file_data")]
    file_data: Option<File<'a>>,
    #[serde(borrow, alias = "function_call")]
    function_call: Option<Function<'a>>,
    #[serde(borrow, alias = "function_response")]
    function_response: Option<Function<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    #[serde(borrow, alias = "mime_type", rename = "mimeType")]
    _mime_type: Text<'a>,
    #[serde(borrow, rename = "data")]
    _data: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(borrow, alias = "file_uri", rename = "fileUri")]
    _file_uri: Text<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Toolbox<'a> {
    #[serde(borrow, default, alias = "function_declarations")]
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow, alias = "parametersJsonSchema", alias = "parameters_json_schema")]
    parameters: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    #[serde(borrow, alias = "function_calling_config")]
    function_calling_config: Option<Calling<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    #[serde(borrow)]
    mode: Option<Text<'a>>,
    #[serde(borrow, default, alias = "allowed_function_names")]
    allowed_function_names: Vec<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generation<'a> {
    #[serde(alias = "max_output_tokens")]
    max_output_tokens: Option<u64>,
    #[serde(borrow, alias = "stop_sequences")]
    stop_sequences: Option<&'a RawValue>,
    #[serde(borrow, alias = "response_mime_type")]
    response_mime_type: Option<Text<'a>>,
    #[serde(borrow, alias = "response_schema", alias = "responseJsonSchema", alias = "response_json_schema")]
    response_schema: Option<&'a RawValue>,
}

/// `POST …/models/{m}:generateContent`.
pub fn generate(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let (said, spent) = said(ask)?;
    Ok(reply::whole(ask.model.as_deref().unwrap_or_default(), &said, spent))
}

/// `POST …/models/{m}:streamGenerateContent`: events with `alt=sse`, and an array without.
pub fn stream(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let (said, spent) = said(ask)?;
    let sse = ask.parameter("alt").as_deref() == Some("sse");
    let script = Script::new(if sse { Framing::Sse } else { Framing::Array });
    let voice = reply::Voice::new(ask.model.as_deref().unwrap_or_default(), spent);
    Ok(voice.stream(script, &said, ask.options.chunks))
}

fn said(ask: &Ask<'_>) -> Result<(Said, Spent), Refusal> {
    let request: Request<'_> = parse(ask.body)?;
    let prompt = request.prompt()?;
    let said = Said::to(&prompt, &request.tools(), &request.limits(ask)?)?;
    let spent = ask.spent(prompt.tokens, said.tokens());
    Ok((said, spent))
}

impl<'a> Request<'a> {
    fn prompt(&self) -> Result<Prompt<'a>, Refusal> {
        if self.contents.is_empty() {
            return Err(Refusal::field("contents", "contents is not specified"));
        }
        let mut prompt = Prompt::chat(self.contents.len() + usize::from(self.system_instruction.is_some()));
        if let Some(system) = &self.system_instruction {
            system.hear(&mut prompt)?;
        }
        for content in &self.contents {
            let text = content.hear(&mut prompt)?;
            match content.role.as_ref().map(|role| &*role.0) {
                None | Some("user" | "function") => prompt.ask(text),
                Some("model") => {}
                Some(_) => {
                    return Err(Refusal::field("contents", "Please use a valid role: user, model."));
                }
            }
        }
        for tool in self.tools.iter().flat_map(|tools| &tools.function_declarations) {
            prompt.count(&tool.name.0);
            tool.description.iter().for_each(|text| prompt.count(&text.0));
            prompt.count_json(tool.parameters);
        }
        Ok(prompt)
    }

    fn tools(&self) -> Tools<'a> {
        let declared = self.tools.iter().flat_map(|tools| &tools.function_declarations);
        let all = declared.map(|tool| Tool { name: tool.name.0.clone(), schema: tool.parameters });
        let calling = self.tool_config.as_ref().and_then(|config| config.function_calling_config.as_ref());
        let demanded = calling.filter(|calling| calling.mode.as_ref().is_some_and(|mode| mode.0 == "ANY"));
        let choice = demanded.map_or(Choice::Free, |calling| match calling.allowed_function_names.first() {
            Some(name) => Choice::Named(name.0.clone()),
            None => Choice::Any,
        });
        Tools { all: all.collect(), choice }
    }

    fn limits(&self, ask: &Ask<'_>) -> Result<Limits<'a>, Refusal> {
        let wish = &self.generation_config;
        let json = wish.response_mime_type.as_ref().is_some_and(|kind| kind.0 == "application/json");
        if wish.response_schema.is_some() && !json {
            return Err(Refusal::field(
                "generationConfig",
                "a response schema needs the response MIME type application/json",
            ));
        }
        Ok(Limits {
            tokens: wish.max_output_tokens,
            stop: strings("stopSequences", wish.stop_sequences)?,
            words: ask.words(),
            format: json.then(|| wish.response_schema.map_or(Format::Json, Format::Schema)),
        })
    }
}

impl<'a> Content<'a> {
    /// Counts all parts; the text of those that have one.
    fn hear(&self, prompt: &mut Prompt<'a>) -> Result<Cow<'a, str>, Refusal> {
        let mut whole = Cow::Borrowed("");
        required("contents", self.parts.first(), "contents.parts must not be empty")?;
        for part in &self.parts {
            if let Some(text) = &part.text {
                whole += text.0.clone();
            } else if part.inline_data.is_some() || part.file_data.is_some() {
                prompt.show();
            } else {
                let function = part.function_call.as_ref().or(part.function_response.as_ref());
                let function = required("contents", function, "a part must have data")?;
                prompt.count(&function.name.0);
                prompt.count_json(function.args.or(function.response));
            }
        }
        prompt.count(&whole);
        Ok(whole)
    }
}
