//! Ollama's dialect: `/api/chat` and `/api/generate`, which stream unless told not to.

use super::Options;
use super::answer::Answer;
use super::call::ToolCall;
use super::reply::{Framing, Refusal, Reply, Script};
use super::request::{Chat, Message, Text, limits, parse};
use crate::meter::estimate;
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
    stream: Option<bool>,
    #[serde(borrow)]
    options: Option<Parameters<'a>>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Parameters<'a> {
    num_predict: Option<i64>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
}

impl Request<'_> {
    fn model(&self) -> Result<&str, Refusal> {
        let model = self.model.as_ref().map(|model| &*model.0).filter(|model| !model.is_empty());
        model.ok_or_else(|| Refusal::field("model", "'model' is missing"))
    }

    fn answer(&self, question: &str, options: &Options) -> Result<Answer, Refusal> {
        let (most, stop) = self.options.as_ref().map_or((None, None), |wish| (wish.num_predict, wish.stop));
        let tokens = most.and_then(|most| u64::try_from(most).ok()); // below zero is Ollama's word for no limit
        Ok(Answer::to(question, &limits(tokens, stop, options.chunks)?))
    }
}

/// A whole answer, or one line of a stream.
#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    done: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    end: Option<&'a End>,
}

#[derive(Serialize)]
struct Said<'a> {
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
pub fn chat(options: &Options, body: &[u8]) -> Result<Reply, Refusal> {
    let since = Instant::now();
    let mut request: Request<'_> = parse(body)?;
    let asked = Chat::read(request.messages.take())?;
    let prompt = asked.prompt_tokens + request.tools.map_or(0, |tools| estimate::tokens(tools.get()));
    if let Some(call) = ToolCall::demanded(request.tools, request.tool_choice, &asked.question)? {
        let end = End::new(since, "stop", prompt, call.tokens());
        return Ok(called(&request, &call, &end));
    }
    let answer = request.answer(&asked.question, options)?;
    let end = End::new(since, answer.finish.reason(), prompt, answer.tokens);
    reply(&request, Operation::Chat, &answer, &end, options.chunks)
}

/// `POST /api/generate`.
pub fn generate(options: &Options, body: &[u8]) -> Result<Reply, Refusal> {
    let since = Instant::now();
    let request: Request<'_> = parse(body)?;
    let prompt = request.prompt.as_ref().ok_or_else(|| Refusal::field("prompt", "'prompt' is missing"))?;
    let count =
        estimate::tokens(&prompt.0) + request.system.as_ref().map_or(0, |text| estimate::tokens(&text.0));
    let answer = request.answer(&prompt.0, options)?;
    let end = End::new(since, answer.finish.reason(), count, answer.tokens);
    reply(&request, Operation::Generate, &answer, &end, options.chunks)
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
        Operation::Chat => (Some(Said { role: "assistant", content: text, tool_calls: None }), None),
        Operation::Generate => (None, Some(text)),
    };
    Document { model, created_at: now(), message, response, done: end.is_some(), end }
}

/// Ollama sends a call whole, in a stream too.
fn called(request: &Request<'_>, call: &ToolCall, end: &End) -> Reply {
    let model = request.model().unwrap_or_default();
    let function = Function { name: &call.name, arguments: &call.arguments };
    let message = Said { role: "assistant", content: "", tool_calls: Some([Call { function }]) };
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
