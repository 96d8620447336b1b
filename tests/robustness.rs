//! What no well-behaved client or upstream does: the gateway says what is wrong and goes on serving.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "clippy exempts only the test functions themselves; tables of cases are long"
)]

mod support;

#[path = "robustness/bodies.rs"]
mod bodies;
#[path = "robustness/heads.rs"]
mod heads;
#[path = "robustness/json.rs"]
mod json;
#[path = "robustness/upstreams.rs"]
mod upstreams;

use serde_json::{Value, json};
use support::client::{Answer, Connection};
use support::gateway::Gateway;
use support::upstream::{Reply, Upstream};
use support::{chat, kong};

/// The answer of an upstream that is well.
fn completion() -> Value {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
}

async fn well() -> Upstream {
    Upstream::always(Reply::json(&completion())).await
}

/// A gateway with `/chat` and `/raw` in front of one upstream.
async fn gateway(upstream: &Upstream) -> Gateway {
    let routes = [
        kong::route("/chat", &[kong::ai_proxy(&upstream.url())]),
        kong::route("/raw", &[kong::preserve(&upstream.url())]),
    ];
    Gateway::start(&kong::file(&routes)).await
}

async fn post(gateway: &Gateway, path: &str, body: impl AsRef<[u8]>) -> Answer {
    let mut client = Connection::open(gateway.proxy).await;
    client.request(&format!("POST {path} HTTP/1.1"), body).await.answer().await
}

/// Checks that the gateway serves.
async fn assert_serves(gateway: &Gateway) {
    let answer = post(gateway, "/chat", chat("still there?").to_string()).await;
    assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
}

/// The message of an error of the AI plugins; it must be there and say something.
fn message(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON: {answer:?}"));
    let message = body["error"]["message"].as_str().or(body["message"].as_str());
    message
        .filter(|text| text.len() > 5)
        .unwrap_or_else(|| panic!("no message: {}", answer.text()))
        .to_owned()
}
