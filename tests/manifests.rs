//! Kubernetes objects as the configuration of a running gateway.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::Value;
use support::chat;
use support::client::{Answer, Connection};
use support::gateway::{Gateway, finish, free};

/// The example, with its model at that address.
fn example(model: &str) -> String {
    let text = include_str!("../conf/examples/kubernetes.yaml");
    let url = format!("upstream_url: http://{model}/v1/chat/completions");
    let changed = text.replace("input_cost: 0.15", &format!("{url}\n      input_cost: 0.15"));
    assert_ne!(changed, text);
    changed
}

async fn ask(gateway: &Gateway, headers: &str) -> Answer {
    let mut client = Connection::open(gateway.proxy).await;
    let body = chat("What is 1+1?").to_string();
    client.request(&format!("POST /chat HTTP/1.1{headers}"), body).await.answer().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_serves_a_chat() {
    let model = free().to_string();
    let gateway = Gateway::start_with(&example(&model), &["--mock-llm", &model]).await;
    assert_eq!(ask(&gateway, "").await.status, 401, "callers need a key");
    let answer = ask(&gateway, "\r\napikey: let-alice-in").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let reply: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(reply["choices"][0]["message"]["role"], "assistant");
    gateway.counts("kong_ai_llm_requests_total", &["openai", "gpt-4o-mini"], 1.0).await;
    gateway.reload(&example(&model).replace("let-alice-in", "let-nobody-in"));
    support::eventually("the new key counts", async || {
        ask(&gateway, "\r\napikey: let-alice-in").await.status == 401
    })
    .await;
}

#[test]
fn check_reads_manifests_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("k.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, example("127.0.0.1:9")).unwrap();
    assert_eq!(finish(&["check", path]), (0, String::new(), String::new()));
    std::fs::write(&file, example("127.0.0.1:9").replace("openai, callers", "openai, caller")).unwrap();
    let (status, _, said) = finish(&["check", path]);
    assert_eq!(status, 1);
    let expected = "documents[1].metadata.annotations.konghq.com/plugins: no KongPlugin 'default/caller' and no \
                    KongClusterPlugin 'caller' in the files that were given (line 23)\n";
    assert_eq!(said, expected);
}
