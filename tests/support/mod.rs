//! The harness of the integration tests: the gateway as a process on free ports, and a scripted
//! upstream that records what reaches it. Nothing sleeps on a guess; everything waits for a fact.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wrong_self_convention,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

pub mod client;
pub mod gateway;
pub mod kong;
pub mod network;
pub mod redis;
pub mod upstream;

use std::time::{Duration, Instant};

/// Waits until `fact` holds; panics with `what` after ten seconds.
pub async fn eventually(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !fact().await {
        assert!(Instant::now() < until, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A chat request of one user message.
pub fn chat(text: &str) -> serde_json::Value {
    serde_json::json!({"messages": [{"role": "user", "content": text}]})
}

/// The same, asking for a stream.
pub fn streamed(text: &str) -> serde_json::Value {
    let mut body = chat(text);
    body["stream"] = true.into();
    body
}
