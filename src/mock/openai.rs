//! OpenAI's dialect: chat completions and completions.

use super::Options;
use super::answer::Answer;
use super::call::ToolCall;
use super::reply::{Framing, Refusal, Reply, Script};
use super::request::{Chat, Message, Text, limits, parse, strings};
use crate::meter::estimate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// What is listed as models; every other name is served as well.
const MODELS: [&str; 4] = ["gpt-4o", "gpt-4o-mini", "mistral-tiny", "llama2"];

/// As many answers as OpenAI gives at most.
const MOST: u32 = 128;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u32>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Request<'_> {
    fn model(&self) -> Result<&str, Refusal> {
        let model = self.model.as_ref().map(|model| &*model.0).filter(|model| !model.is_empty());
        model.ok_or_else(|| Refusal::field("model", "'model' is missing"))
    }

    /// How many answers each prompt gets.
    fn count(&self) -> Result<u32, Refusal> {
        let count = self.n.unwrap_or(1);
        if (1..=MOST).contains(&count) {
            Ok(count)
        } else {
            Err(Refusal::field("n", "'n' must be from 1 to 128"))
        }
    }

    fn answer(&self, question: &str, options: &Options) -> Result<Answer, Refusal> {
        let tokens = self.max_completion_tokens.or(self.max_tokens);
        if tokens == Some(0) {
            return Err(Refusal::field("max_tokens", "'max_tokens' must be at least 1"));
        }
        Ok(Answer::to(question, &limits(tokens, self.stop, options.chunks)?))
    }

    fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }
}

/// A whole answer, or one event of a stream.
#[allow(clippy::option_option)] // absent and null differ on the wire
#[derive(Serialize)]
struct Document<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[allow(clippy::struct_field_names)] // OpenAI's names
#[derive(Clone, Copy, Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl Usage {
    fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// A choice of any kind; what a kind does not have is not written.
#[derive(Clone, Default, Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

/// A message or a piece of one.
#[allow(clippy::option_option)] // absent and null differ on the wire
#[derive(Clone, Default, Serialize)]
struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
}

#[derive(Clone, Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Clone, Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// `GET /v1/models`.
pub fn models() -> Reply {
    #[derive(Serialize)]
    struct Model {
        id: &'static str,
        object: &'static str,
        created: u64,
        owned_by: &'static str,
    }
    #[derive(Serialize)]
    struct List {
        object: &'static str,
        data: [Model; MODELS.len()],
    }
    let data = MODELS.map(|id| Model { id, object: "model", created: 0, owned_by: "simulated" });
    Reply::json(&List { object: "list", data })
}

/// `POST /v1/chat/completions`.
pub fn chat(options: &Options, body: &[u8]) -> Result<Reply, Refusal> {
    let mut request: Request<'_> = parse(body)?;
    let asked = Chat::read(request.messages.take())?;
    let model = request.model()?;
    let count = request.count()?;
    let prompt = asked.prompt_tokens + request.tools.map_or(0, |tools| estimate::tokens(tools.get()));
    let call = ToolCall::demanded(request.tools, request.tool_choice, &asked.question)?;
    let answer = request.answer(&asked.question, options)?;
    let arguments = call.as_ref().map(ToolCall::json).unwrap_or_default();
    let completion = call.as_ref().map_or(answer.tokens, ToolCall::tokens);
    let said = match &call {
        Some(call) => Said::Call { id: id("call_"), name: &call.name, arguments: &arguments },
        None => Said::Text(&answer),
    };
    let usage = Usage::new(prompt, completion * u64::from(count));
    let id = id("chatcmpl-");
    if request.stream.unwrap_or(false) {
        let mut stream = Stream::new(&id, "chat.completion.chunk", model, request.include_usage());
        for index in 0..count {
            stream.chat(index, &said, options.chunks);
        }
        return Ok(stream.end(usage));
    }
    let choices: Vec<_> = (0..count).map(|index| Choice { index, ..said.whole() }).collect();
    Ok(whole(&id, "chat.completion", model, &choices, usage))
}

/// `POST /v1/completions`.
pub fn completions(options: &Options, body: &[u8]) -> Result<Reply, Refusal> {
    let request: Request<'_> = parse(body)?;
    let prompts = prompts(request.prompt)?;
    let model = request.model()?;
    let count = request.count()?;
    let mut answers = Vec::new();
    for prompt in &prompts {
        for _ in 0..count {
            answers.push(request.answer(prompt, options)?);
        }
    }
    let prompt = prompts.iter().map(|prompt| estimate::tokens(prompt)).sum();
    let usage = Usage::new(prompt, answers.iter().map(|answer| answer.tokens).sum());
    let id = id("cmpl-");
    if request.stream.unwrap_or(false) {
        let mut stream = Stream::new(&id, "text_completion", model, request.include_usage());
        for (index, answer) in (0..).zip(&answers) {
            stream.text(index, answer, options.chunks);
        }
        return Ok(stream.end(usage));
    }
    let choices: Vec<_> = (0..).zip(&answers).map(|(index, answer)| finished(index, answer)).collect();
    Ok(whole(&id, "text_completion", model, &choices, usage))
}

fn prompts(prompt: Option<&RawValue>) -> Result<Vec<Cow<'_, str>>, Refusal> {
    let prompts = strings("prompt", prompt)?;
    if prompts.is_empty() { Err(Refusal::field("prompt", "'prompt' is missing")) } else { Ok(prompts) }
}

fn finished(index: u32, answer: &Answer) -> Choice<'_> {
    Choice {
        index,
        text: Some(&answer.text),
        finish_reason: Some(answer.finish.reason()),
        ..Choice::default()
    }
}

fn whole(id: &str, object: &'static str, model: &str, choices: &[Choice<'_>], usage: Usage) -> Reply {
    Reply::json(&Document { id, object, created: now(), model, choices, usage: Some(Some(usage)) })
}

/// What an answer of a chat is.
enum Said<'a> {
    Text(&'a Answer),
    Call { id: String, name: &'a str, arguments: &'a str },
}

impl Said<'_> {
    fn whole(&self) -> Choice<'_> {
        let (part, reason) = match self {
            Self::Text(answer) => {
                (Part { content: Some(Some(&answer.text)), ..Part::default() }, answer.finish.reason())
            }
            Self::Call { id, name, arguments } => {
                let function = Function { name: Some(name), arguments };
                let call = Call { index: None, id: Some(id), kind: Some("function"), function };
                (Part { content: Some(None), tool_calls: Some([call]), ..Part::default() }, "tool_calls")
            }
        };
        let message = Some(Part { role: Some("assistant"), ..part });
        Choice { message, finish_reason: Some(reason), ..Choice::default() }
    }

    /// What a stream begins with, and the reason that it ends with.
    fn frame(&self) -> (Part<'_>, &'static str) {
        let (part, reason) = match self {
            Self::Text(answer) => {
                (Part { content: Some(Some("")), ..Part::default() }, answer.finish.reason())
            }
            Self::Call { id, name, .. } => {
                let function = Function { name: Some(name), arguments: "" };
                let call = Call { index: Some(0), id: Some(id), kind: Some("function"), function };
                (Part { content: Some(None), tool_calls: Some([call]), ..Part::default() }, "tool_calls")
            }
        };
        (Part { role: Some("assistant"), ..part }, reason)
    }
}

/// A stream in the making.
struct Stream<'a> {
    script: Script,
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    include_usage: bool,
}

impl<'a> Stream<'a> {
    fn new(id: &'a str, object: &'static str, model: &'a str, include_usage: bool) -> Self {
        Self { script: Script::new(Framing::Sse), id, object, created: now(), model, include_usage }
    }

    fn event(&mut self, choice: Choice<'_>, content: bool) {
        let usage = self.include_usage.then_some(None);
        let event = Document {
            id: self.id,
            object: self.object,
            created: self.created,
            model: self.model,
            choices: &[choice],
            usage,
        };
        if content { self.script.content(&event) } else { self.script.event(&event) }
    }

    fn delta(&mut self, index: u32, delta: Part<'_>, content: bool) {
        self.event(Choice { index, delta: Some(delta), ..Choice::default() }, content);
    }

    fn chat(&mut self, index: u32, said: &Said<'_>, chunks: Option<usize>) {
        let (first, reason) = said.frame();
        self.delta(index, first, false);
        match said {
            Said::Text(answer) => {
                for fragment in answer.fragments(chunks) {
                    self.delta(index, Part { content: Some(Some(fragment)), ..Part::default() }, true);
                }
            }
            Said::Call { arguments, .. } => {
                for fragment in arguments.split_inclusive([',', ':']) {
                    let function = Function { name: None, arguments: fragment };
                    let call = Call { index: Some(0), id: None, kind: None, function };
                    self.delta(index, Part { tool_calls: Some([call]), ..Part::default() }, true);
                }
            }
        }
        let last =
            Choice { index, delta: Some(Part::default()), finish_reason: Some(reason), ..Choice::default() };
        self.event(last, false);
    }

    fn text(&mut self, index: u32, answer: &Answer, chunks: Option<usize>) {
        for fragment in answer.fragments(chunks) {
            self.event(Choice { index, text: Some(fragment), ..Choice::default() }, true);
        }
        let reason = Some(answer.finish.reason());
        self.event(Choice { index, text: Some(""), finish_reason: reason, ..Choice::default() }, false);
    }

    fn end(mut self, usage: Usage) -> Reply {
        if self.include_usage {
            let choices: &[Choice<'_>] = &[];
            let usage = Some(Some(usage));
            let event = Document {
                id: self.id,
                object: self.object,
                created: self.created,
                model: self.model,
                choices,
                usage,
            };
            self.script.event(&event);
        }
        self.script.done();
        Reply::Stream(self.script)
    }
}

fn id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
