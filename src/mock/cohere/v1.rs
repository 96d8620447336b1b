//! Cohere's first version: `/v1/chat` and `/v1/generate`, whose streams are a JSON document a line.

use super::{Usage, choice, finish, reason};
use crate::mock::answer::{Answer, Limits};
use crate::mock::ask::Ask;
use crate::mock::call::{Tool, Tools};
use crate::mock::prompt::Prompt;
use crate::mock::refusal::Refusal;
use crate::mock::reply::{Framing, Reply, Script};
use crate::mock::request::{Text, format, parse, parse_field, required, strings};
use crate::mock::said::Said;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use uuid::Uuid;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    message: Option<Text<'a>>,
    #[serde(borrow)]
    prompt: Option<Text<'a>>,
    #[serde(borrow, default)]
    chat_history: Vec<Earlier<'a>>,
    #[serde(borrow)]
    preamble: Option<Text<'a>>,
    stream: Option<bool>,
    max_tokens: Option<u64>,
    num_generations: Option<u32>,
    #[serde(borrow)]
    stop_sequences: Option<&'a RawValue>,
    #[serde(borrow)]
    end_sequences: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_results: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Earlier<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
}

/// A tool's parameters are listed, with types that Python has.
#[derive(Deserialize)]
struct Offered {
    name: String,
    #[serde(default)]
    parameter_definitions: Map<String, Value>,
}

#[derive(Serialize)]
struct Document<'a> {
    response_id: String,
    generation_id: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Value>,
    finish_reason: &'static str,
    meta: Meta,
}

#[derive(Serialize)]
struct Meta {
    api_version: Version,
    #[serde(flatten)]
    usage: Usage,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

impl Meta {
    fn new(usage: Usage) -> Self {
        Self { api_version: Version { version: "1" }, usage }
    }
}

impl<'a> Request<'a> {
    fn prompt(&mut self) -> Result<Prompt<'a>, Refusal> {
        let message = required("message", self.message.take(), "'message' is missing")?.0;
        let mut prompt = Prompt::chat(self.chat_history.len() + 1);
        self.preamble.iter().for_each(|text| prompt.count(&text.0));
        for earlier in &self.chat_history {
            if !matches!(&*earlier.role.0, "USER" | "CHATBOT" | "SYSTEM" | "TOOL") {
                return Err(Refusal::field("chat_history", "a role must be USER, CHATBOT, SYSTEM or TOOL"));
            }
            earlier.message.iter().for_each(|text| prompt.count(&text.0));
        }
        prompt.count_json(self.tools);
        prompt.count_json(self.tool_results);
        prompt.count(&message);
        prompt.ask(message);
        Ok(prompt)
    }

    fn limits(&self, ask: &Ask<'_>) -> Result<Limits<'a>, Refusal> {
        let mut stop = strings("stop_sequences", self.stop_sequences)?;
        stop.extend(strings("end_sequences", self.end_sequences)?);
        let format = format(self.response_format)?;
        Ok(Limits { tokens: self.max_tokens, stop, words: ask.words(), format })
    }
}

/// `POST /v1/chat`.
pub fn chat(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let mut request: Request<'_> = parse(ask.body)?;
    let prompt = request.prompt()?;
    let offered: Vec<Offered> = match request.tools {
        Some(tools) => parse_field("tools", tools)?,
        None => Vec::new(),
    };
    let schemas: Vec<_> = offered.iter().filter_map(|tool| to_raw_value(&schema(tool)).ok()).collect();
    let all = offered.iter().zip(&schemas);
    let all = all.map(|(tool, schema)| Tool { name: (&*tool.name).into(), schema: Some(schema) }).collect();
    let tools = Tools { all, choice: choice(request.tool_choice)? };
    let said = Said::to(&prompt, &tools, &request.limits(ask)?)?;
    let usage = Usage::from(ask.spent(prompt.tokens, said.tokens()));
    let generation_id = Uuid::new_v4().to_string();
    let (text, tool_calls) = match &said {
        Said::Text(answer) => (&*answer.text, None),
        Said::Call(call) => {
            ("I will use a tool.", Some(json!([{"name": call.name, "parameters": call.arguments}])))
        }
    };
    let document = Document {
        response_id: Uuid::new_v4().to_string(),
        generation_id: &generation_id,
        text,
        tool_calls,
        finish_reason: reason(&said),
        meta: Meta::new(usage),
    };
    Ok(if request.stream.unwrap_or(false) {
        stream(&said, &document, ask.options.chunks)
    } else {
        Reply::json(&document)
    })
}

/// A tool's parameters as a JSON schema.
fn schema(tool: &Offered) -> Value {
    let kind = |definition: &Value| match definition.get("type").and_then(Value::as_str) {
        Some("int") => json!({"type": "integer"}),
        Some("float") => json!({"type": "number"}),
        Some("bool") => json!({"type": "boolean"}),
        Some(list) if list.to_ascii_lowercase().starts_with("list") => json!({"type": "array"}),
        Some("dict") => json!({"type": "object"}),
        _ => json!({"type": "string"}),
    };
    let required: Vec<_> = tool
        .parameter_definitions
        .iter()
        .filter(|(_, definition)| definition.get("required") == Some(&Value::Bool(true)))
        .map(|(name, _)| name)
        .collect();
    let properties = tool.parameter_definitions.iter().map(|(name, one)| (name.clone(), kind(one)));
    json!({"type": "object", "required": required, "properties": properties.collect::<Map<_, _>>()})
}

fn stream(said: &Said, document: &Document<'_>, chunks: Option<usize>) -> Reply {
    let mut script = Script::new(Framing::StreamJson);
    let id = document.generation_id;
    script.event(&json!({"is_finished": false, "event_type": "stream-start", "generation_id": id}));
    match said {
        Said::Text(answer) => words(&mut script, answer, chunks),
        Said::Call(_) => {
            let (kind, calls) = ("tool-calls-generation", &document.tool_calls);
            let text = document.text;
            script.content(
                &json!({"is_finished": false, "event_type": kind, "text": text, "tool_calls": calls}),
            );
        }
    }
    end(&mut script, document.finish_reason, document);
    Reply::Stream(script)
}

fn words(script: &mut Script, answer: &Answer, chunks: Option<usize>) {
    for text in answer.fragments(chunks) {
        script.content(&json!({"is_finished": false, "event_type": "text-generation", "text": text}));
    }
}

fn end(script: &mut Script, reason: &str, response: &impl Serialize) {
    script.event(&json!({
        "is_finished": true, "event_type": "stream-end", "finish_reason": reason, "response": response
    }));
}

/// `POST /v1/generate`.
pub fn generate(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let mut request: Request<'_> = parse(ask.body)?;
    let prompt = Prompt::text(required("prompt", request.prompt.take(), "'prompt' is missing")?.0);
    let count = request.num_generations.unwrap_or(1);
    if !(1..=5).contains(&count) {
        return Err(Refusal::field("num_generations", "'num_generations' must be from 1 to 5"));
    }
    let answer = Answer::to(&prompt, &request.limits(ask)?);
    let usage = Usage::from(ask.spent(prompt.tokens, answer.tokens * u64::from(count)));
    let reason = finish(answer.finish);
    let generation =
        || json!({"id": Uuid::new_v4().to_string(), "text": answer.text, "finish_reason": reason});
    let generations: Vec<_> = (0..count).map(|_| generation()).collect();
    let (id, meta) = (Uuid::new_v4().to_string(), Meta::new(usage));
    let document = json!({"id": id, "generations": generations, "prompt": prompt.question, "meta": meta});
    if request.stream.unwrap_or(false) {
        let mut script = Script::new(Framing::StreamJson);
        words(&mut script, &answer, ask.options.chunks);
        end(&mut script, reason, &document);
        return Ok(Reply::Stream(script));
    }
    Ok(Reply::json(&document))
}
