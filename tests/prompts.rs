//! The prompt plugins and consumers, through the running gateway: what passes is what was sent, what does
//! not says why, and native formats are read and edited as what they are.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

#[path = "prompts/consumers.rs"]
mod consumers;
#[path = "prompts/guard.rs"]
mod guard;
#[path = "prompts/native.rs"]
mod native;
#[path = "prompts/unchanged.rs"]
mod unchanged;
#[path = "prompts/words.rs"]
mod words;

use serde_json::{Value, json};
use support::client::{Answer, Connection};
use support::gateway::Gateway;
use support::kong;
use support::upstream::{Reply, Upstream};

fn completion() -> Reply {
    Reply::json(&json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "said"}, "finish_reason": "stop"}]}))
}

fn plugin(name: &str, config: &Value) -> Value {
    json!({"name": name, "config": config})
}

async fn post(gateway: &Gateway, head: &str, body: impl AsRef<[u8]>) -> Answer {
    let (path, headers) = head.split_once("\r\n").unwrap_or((head, "x-test: 1"));
    let head = format!("POST {path} HTTP/1.1\r\n{headers}");
    Connection::open(gateway.proxy).await.request(&head, body).await.answer().await
}

/// The message of an error of the AI plugins.
fn message(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error"]["message"].as_str().unwrap_or_default().to_owned()
}
