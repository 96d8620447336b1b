//! OpenAI's dialect: chat completions and completions.

mod document;
mod stream;

use super::answer::{Answer, Limits};
use super::ask::Ask;
use super::call::Tools;
use super::prompt::Prompt;
use super::refusal::Refusal;
use super::reply::Reply;
use super::request::{Message, Text, chat as read_chat, format, named, parse, strings};
use super::said::Said;
use document::{Choice, Document, Usage, Voice};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};
use stream::Stream;
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
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Request<'_> {
    /// How many answers each prompt gets.
    fn count(&self) -> Result<u32, Refusal> {
        let count = self.n.unwrap_or(1);
        if (1..=MOST).contains(&count) {
            Ok(count)
        } else {
            Err(Refusal::field("n", "'n' must be from 1 to 128"))
        }
    }

    fn limits(&self, ask: &Ask<'_>) -> Result<Limits<'_>, Refusal> {
        let tokens = self.max_completion_tokens.or(self.max_tokens);
        if tokens == Some(0) {
            return Err(Refusal::field("max_tokens", "'max_tokens' must be at least 1"));
        }
        let stop = strings("stop", self.stop)?;
        Ok(Limits { tokens, stop, words: ask.words(), format: format(self.response_format)? })
    }

    fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }
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
pub fn chat(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let mut request: Request<'_> = parse(ask.body)?;
    let mut prompt = read_chat(request.messages.take())?;
    prompt.count_json(request.tools);
    let model = named("model", request.model.as_ref(), ask.model.as_deref())?;
    let count = request.count()?;
    let tools = Tools::openai(request.tools, request.tool_choice)?;
    let said = Said::to(&prompt, &tools, &request.limits(ask)?)?;
    let voice = Voice::new(&said, id("call_"));
    let usage = Usage::from(ask.spent(prompt.tokens, said.tokens() * u64::from(count)));
    let id = id("chatcmpl-");
    if request.stream.unwrap_or(false) {
        let mut stream = Stream::new(&id, "chat.completion.chunk", model, request.include_usage());
        for index in 0..count {
            stream.chat(index, &voice, ask.options.chunks);
        }
        return Ok(stream.end(usage));
    }
    let choices: Vec<_> = (0..count).map(|index| Choice { index, ..voice.whole() }).collect();
    Ok(whole(&id, "chat.completion", model, &choices, usage))
}

/// `POST /v1/completions`.
pub fn completions(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let request: Request<'_> = parse(ask.body)?;
    let prompts = prompts(request.prompt)?;
    let model = named("model", request.model.as_ref(), ask.model.as_deref())?;
    let count = request.count()?;
    let limits = request.limits(ask)?;
    let mut answers = Vec::new();
    let mut tokens = 0;
    for prompt in prompts.into_iter().map(Prompt::text) {
        tokens += prompt.tokens;
        (0..count).for_each(|_| answers.push(Answer::to(&prompt, &limits)));
    }
    let usage = Usage::from(ask.spent(tokens, answers.iter().map(|answer| answer.tokens).sum()));
    let id = id("cmpl-");
    if request.stream.unwrap_or(false) {
        let mut stream = Stream::new(&id, "text_completion", model, request.include_usage());
        for (index, answer) in (0..).zip(&answers) {
            stream.text(index, answer, ask.options.chunks);
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

fn id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
