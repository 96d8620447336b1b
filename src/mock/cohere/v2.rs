//! Cohere's `/v2/chat`: messages as OpenAI has them, answers and events of its own.

use super::{Usage, choice, reason};
use crate::mock::answer::Limits;
use crate::mock::ask::Ask;
use crate::mock::call::{Tools, pieces};
use crate::mock::refusal::Refusal;
use crate::mock::reply::{Framing, Reply, Script};
use crate::mock::request::{Message, Text, chat as read_chat, format, named, parse, strings};
use crate::mock::said::Said;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

/// What is said before a call.
const PLAN: &str = "I will use a tool.";

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    stream: Option<bool>,
    max_tokens: Option<u64>,
    #[serde(borrow)]
    stop_sequences: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    finish_reason: &'static str,
    message: Assistant<'a>,
    usage: Usage,
}

#[derive(Serialize)]
struct Assistant<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_plan: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<[Content<'a>; 1]>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Call<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// An event that carries a piece of the message.
#[derive(Serialize)]
struct Event<'a, M: Serialize> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    delta: Delta<M>,
}

#[derive(Serialize)]
struct Delta<M: Serialize> {
    message: M,
}

/// `POST /v2/chat`.
pub fn chat(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let mut request: Request<'_> = parse(ask.body)?;
    let mut prompt = read_chat(request.messages.take())?;
    prompt.count_json(request.tools);
    named("model", request.model.as_ref(), None)?;
    let choice = choice(request.tool_choice)?;
    let tools = Tools { choice, ..Tools::openai(request.tools, None)? };
    let limits = Limits {
        tokens: request.max_tokens,
        stop: strings("stop_sequences", request.stop_sequences)?,
        words: ask.words(),
        format: format(request.response_format)?,
    };
    let said = Said::to(&prompt, &tools, &limits)?;
    let usage = Usage::from(ask.spent(prompt.tokens, said.tokens()));
    let id = Uuid::new_v4().to_string();
    Ok(if request.stream.unwrap_or(false) {
        stream(&id, &said, usage, ask.options.chunks)
    } else {
        whole(&id, &said, usage)
    })
}

fn whole(id: &str, said: &Said, usage: Usage) -> Reply {
    let role = "assistant";
    let arguments;
    let message = match said {
        Said::Text(answer) => {
            let content = Content { kind: "text", text: &answer.text };
            Assistant { role, tool_plan: None, tool_calls: None, content: Some([content]) }
        }
        Said::Call(call) => {
            arguments = call.json();
            let calls = [called(&call.name, &arguments)];
            Assistant { role, tool_plan: Some(PLAN), tool_calls: Some(calls), content: None }
        }
    };
    Reply::json(&Document { id, finish_reason: reason(said), message, usage })
}

fn called<'a>(name: &'a str, arguments: &'a str) -> Call<'a> {
    let id = format!("{name}_{}", Uuid::new_v4().simple());
    Call { id, kind: "function", function: Function { name, arguments } }
}

fn stream(id: &str, said: &Said, usage: Usage, chunks: Option<usize>) -> Reply {
    let mut stream = Stream(Script::new(Framing::Sse));
    let empty =
        json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
    let start = json!({"id": id, "type": "message-start", "delta": {"message": empty}});
    stream.0.named("message-start", &start);
    match said {
        Said::Text(answer) => {
            stream.event("content-start", Some(0), json!({"content": {"type": "text", "text": ""}}));
            for text in answer.fragments(chunks) {
                stream.event("content-delta", Some(0), json!({"content": {"text": text}}));
                stream.0.mark();
            }
            stream.0.named("content-end", &json!({"type": "content-end", "index": 0}));
        }
        Said::Call(call) => {
            stream.event("tool-plan-delta", None, json!({"tool_plan": PLAN}));
            stream.event("tool-call-start", Some(0), json!({"tool_calls": called(&call.name, "")}));
            for piece in pieces(&call.json()) {
                let function = json!({"function": {"arguments": piece}});
                stream.event("tool-call-delta", Some(0), json!({"tool_calls": function}));
                stream.0.mark();
            }
            stream.0.named("tool-call-end", &json!({"type": "tool-call-end", "index": 0}));
        }
    }
    let end = json!({"finish_reason": reason(said), "usage": usage});
    stream.0.named("message-end", &json!({"type": "message-end", "delta": end}));
    stream.0.done();
    Reply::Stream(stream.0)
}

struct Stream(Script);

impl Stream {
    fn event(&mut self, kind: &str, index: Option<u32>, message: impl Serialize) {
        self.0.named(kind, &Event { kind, index, delta: Delta { message } });
    }
}
