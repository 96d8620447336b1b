//! Ollama's dialect: `/api/chat` and `/api/generate`, which stream unless told not to.

use super::answer::{Answer, Format, Limits};
use super::ask::Ask;
use super::call::{ToolCall, Tools};
use super::prompt::Prompt;
use super::refusal::Refusal;
use super::reply::{Framing, Reply, Script};
use super::request::{Message, Text, chat as read_chat, named, parse, required, strings};
use super::said::Said;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Instant;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    prompt: Option<Text<'a>>,
    #[serde(borrow)]
    system: Option<Text<'a>>,
    #[serde(borrow)]
    images: Option<Vec<Text<'a>>>,
    stream: Option<bool>,
    #[serde(borrow)]
    options: Option<Parameters<'a>>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Parameters<'a> {
    num_predict: Option<i64>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
}

impl Request<'_> {
    fn model(&self) -> Result<&str, Refusal> {
        named("model", self.model.as_ref(), None)
    }

    fn limits(&self, ask: &Ask<'_>) -> Result<Limits<'_>, Refusal> {
        let (most, stop) = self.options.as_ref().map_or((None, None), |wish| (wish.num_predict, wish.stop));
        let tokens = most.and_then(|most| u64::try_from(most).ok()); // below zero is Ollama's word for no limit
        Ok(Limits { tokens, stop: strings("stop", stop)?, words: ask.words(), format: self.format() })
    }

    /// `"json"`, or a schema.
    fn format(&self) -> Option<Format<'_>> {
        match self.format?.get() {
            "\"json\"" => Some(Format::Json),
            json if json.starts_with('{') => self.format.map(Format::Schema),
            _ => None,
        }
    }
}

/// A whole answer, or one line of a stream.
#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Spoken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    done: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    end: Option<&'a End>,
}

#[derive(Serialize)]
struct Spoken<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
}

#[derive(Serialize)]
struct Call<'a> {
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a Value,
}

/// What the last line has besides; durations in nanoseconds.
#[derive(Serialize)]
struct End {
    done_reason: &'static str,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u64,
    prompt_eval_duration: u64,
    eval_count: u64,
    eval_duration: u64,
}

impl End {
    fn new(since: Instant, done_reason: &'static str, prompt: u64, completion: u64) -> Self {
        let total = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self {
            done_reason,
            total_duration: total,
            load_duration: 0,
            prompt_eval_count: prompt,
            prompt_eval_duration: total / 2,
            eval_count: completion,
            eval_duration: total - total / 2,
        }
    }
}

/// Which of the two operations; they differ in where the text is.
#[derive(Clone, Copy)]
enum Operation {
    Chat,
    Generate,
}

/// `POST /api/chat`.
pub fn chat(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let since = Instant::now();
    let mut request: Request<'_> = parse(ask.body)?;
    let mut prompt = read_chat(request.messages.take())?;
    prompt.count_json(request.tools);
    let tools = Tools::openai(request.tools, request.tool_choice)?;
    match Said::to(&prompt, &tools, &request.limits(ask)?)? {
        Said::Call(call) => {
            let end = End::new(since, "stop", prompt.tokens, call.tokens());
            Ok(called(&request, &call, &end))
        }
        Said::Text(answer) => {
            let end = End::new(since, answer.finish.reason(), prompt.tokens, answer.tokens);
            reply(&request, Operation::Chat, &answer, &end, ask.options.chunks)
        }
    }
}

/// `POST /api/generate`.
pub fn generate(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let since = Instant::now();
    let mut request: Request<'_> = parse(ask.body)?;
    let mut prompt = Prompt::text(required("prompt", request.prompt.take(), "'prompt' is missing")?.0);
    request.system.iter().for_each(|text| prompt.count(&text.0));
    request.images.iter().flatten().for_each(|_| prompt.show());
    let answer = Answer::to(&prompt, &request.limits(ask)?);
    let end = End::new(since, answer.finish.reason(), prompt.tokens, answer.tokens);
    reply(&request, Operation::Generate, &answer, &end, ask.options.chunks)
}

fn reply(
    request: &Request<'_>,
    operation: Operation,
    answer: &Answer,
    end: &End,
    chunks: Option<usize>,
) -> Result<Reply, Refusal> {
    let model = request.model()?;
    if request.stream == Some(false) {
        return Ok(Reply::json(&document(model, operation, &answer.text, Some(end))));
    }
    let mut script = Script::new(Framing::Lines);
    for fragment in answer.fragments(chunks) {
        script.content(&document(model, operation, fragment, None));
    }
    script.event(&document(model, operation, "", Some(end)));
    Ok(Reply::Stream(script))
}

fn document<'a>(model: &'a str, operation: Operation, text: &'a str, end: Option<&'a End>) -> Document<'a> {
    let (message, response) = match operation {
        Operation::Chat => (Some(Spoken { role: "assistant", content: text, tool_calls: None }), None),
        Operation::Generate => (None, Some(text)),
    };
    Document { model, created_at: now(), message, response, done: end.is_some(), end }
}

/// Ollama sends a call whole, in a stream too.
fn called(request: &Request<'_>, call: &ToolCall, end: &End) -> Reply {
    let model = request.model().unwrap_or_default();
    let function = Function { name: &call.name, arguments: &call.arguments };
    let message = Spoken { role: "assistant", content: "", tool_calls: Some([Call { function }]) };
    let whole = request.stream == Some(false);
    let end_here = whole.then_some(end);
    let document_of_call = Document {
        model,
        created_at: now(),
        message: Some(message),
        response: None,
        done: whole,
        end: end_here,
    };
    if whole {
        return Reply::json(&document_of_call);
    }
    let mut script = Script::new(Framing::Lines);
    script.content(&document_of_call);
    script.event(&document(model, Operation::Chat, "", Some(end)));
    Reply::Stream(script)
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
