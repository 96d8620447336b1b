//! The two transformers: what the model is asked, what its answer becomes, what that costs, and every
//! way in which it can fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

#[path = "transformers/chain.rs"]
mod chain;
#[path = "transformers/errors.rs"]
mod errors;
#[path = "transformers/network.rs"]
mod network;
#[path = "transformers/providers.rs"]
mod providers;
#[path = "transformers/service.rs"]
mod service;

use serde_json::{Value, json};
use support::client::{Answer, Connection};
use support::gateway::Gateway;
use support::kong;
use support::upstream::{Reply, Upstream};

const REQUEST: &str = "ai-request-transformer";
const RESPONSE: &str = "ai-response-transformer";

/// A model's reply.
fn completion(text: &str) -> Value {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024",
           "usage": {"prompt_tokens": 25, "completion_tokens": 12, "total_tokens": 37},
           "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}

/// A model that always says the same.
async fn model(text: &str) -> Upstream {
    Upstream::always(Reply::json(&completion(text))).await
}

/// A gateway with one route to a service.
async fn gateway(service: &Upstream, plugins: &[Value]) -> Gateway {
    let log = json!({"name": "file-log", "config": {"path": "{dir}/log", "reopen": true}});
    let plugins = [plugins, &[log]].concat();
    let service = json!({"url": format!("{}/svc", service.url())});
    Gateway::start(&kong::file_with(&service, &[kong::route("/r", &plugins)])).await
}

/// `head`: method and path, and further headers behind a line break.
async fn ask(gateway: &Gateway, head: &str, body: impl AsRef<[u8]>) -> Answer {
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, "x-test: 1"));
    let head = format!("{line} HTTP/1.1\r\n{headers}");
    Connection::open(gateway.proxy).await.request(&head, body).await.answer().await
}

async fn post(gateway: &Gateway, body: &str) -> Answer {
    ask(gateway, "POST /r", body).await
}

/// The only record of the log.
async fn record(gateway: &Gateway) -> Value {
    support::eventually("a record", async || gateway.records("log").len() == 1).await;
    gateway.records("log").remove(0)
}

/// The message of an error of the AI plugins.
fn message(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error"]["message"].as_str().unwrap_or_default().to_owned()
}
