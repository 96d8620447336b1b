//! Planted secrets, looked for wherever the gateway speaks: answers, records, spans, metrics, its own log,
//! and the Admin API; while its upstreams refuse, break, hang up and answer with what they were sent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use support::gateway::{Gateway, free};
use support::upstream::{Reply, Step, Upstream};
use support::{chat, eventually, kong, streamed};

/// What nobody may hear of again. All begin alike, so that one search finds any.
const MARK: &str = "pl4nted";
const VAULT: &str = "pl4nted-of-the-vault";
const LITERAL: &str = "pl4nted-in-the-file";
const CLIENT: &str = "pl4nted-key-of-a-client";

fn file(targets: &[Value], sinks: &[&Upstream; 2]) -> String {
    let [records, spans] = sinks.map(|sink| sink.address.to_string());
    let advanced = json!({"failover_criteria": ["error", "timeout", "http_500", "non_idempotent"],
        "connect_timeout": 500, "read_timeout": 500});
    let redis = json!({"host": "127.0.0.1", "port": free().port(), "password": LITERAL});
    let plugins = [
        kong::advanced(targets, &advanced),
        json!({"name": "key-auth", "config": {"key_in_body": false, "key_names": ["apikey"]}}),
        json!({"name": "rate-limiting", "config": {"minute": 1000, "policy": "redis", "redis": redis}}),
        json!({"name": "file-log", "config": {"path": "{dir}/log"}}),
        json!({"name": "http-log", "config": {
            "http_endpoint": format!("http://user:{LITERAL}@{records}/"), "headers": {"X-Key": LITERAL},
            "queue": {"max_retry_time": -1}}}),
        json!({"name": "opentelemetry", "config": {
            "traces_endpoint": format!("http://user:{LITERAL}@{spans}/"), "headers": {"X-Key": LITERAL},
            "queue": {"max_batch_size": 1, "max_retry_time": -1}}}),
    ];
    let mut whole: Value = serde_json::from_str(&kong::file(&[kong::route("/ai", &plugins)])).unwrap();
    whole["consumers"] = json!([{"username": "ann", "keyauth_credentials": [{"key": CLIENT}]}]);
    whole.to_string()
}

/// Targets whose keys stand in a header, in the query, in the body, and sign.
fn targets(url: &str) -> Vec<Value> {
    let keyed = |provider: &str, auth: Value| {
        let mut target = kong::target(provider, url, 100);
        target["auth"] = auth;
        target["logging"]["log_payloads"] = true.into();
        target
    };
    vec![
        keyed("openai", json!({"header_name": "Authorization", "header_value": "{vault://env/planted-key}"})),
        keyed("gemini", json!({"param_name": "key", "param_value": LITERAL, "param_location": "query"})),
        keyed("cohere", json!({"param_name": "key", "param_value": LITERAL, "param_location": "body"})),
        keyed("bedrock", json!({"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": LITERAL})),
        keyed("anthropic", json!({"header_name": "x-api-key", "header_value": LITERAL})),
    ]
}

/// Answers that are none.
fn failures() -> Vec<Reply> {
    let broken = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    let refusal = |status| {
        Reply::body(status, &[("content-type", "application/json")], r#"{"error":{"message":"no"}}"#)
    };
    vec![
        Reply(vec![Step::Close]),
        Reply::raw(broken).then(Step::Close),
        Reply::raw("no HTTP at all\r\n\r\n").then(Step::Close),
        Reply(vec![Step::Reset]),
        Reply::body(200, &[("content-type", "application/json")], "<html>"),
        Reply::stream("text/event-stream")
            .chunk("data: {\"choices\":[{\"delta\":{\"content\":\"x\"")
            .then(Step::Close),
        refusal(401),
        refusal(403),
        refusal(500),
        refusal(503),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_heard_of_again() {
    let upstream = Upstream::scripted(Vec::new()).await;
    let [records, spans] = [
        Upstream::always(Reply::body(500, &[], "no")).await,
        Upstream::always(Reply::body(200, &[], "")).await,
    ];
    let config = file(&targets(&upstream.url()), &[&records, &spans]);
    let environment = [("PLANTED_KEY", VAULT), ("RUST_LOG", "trace,h2=info")];
    let gateway = Gateway::start_in(&config, &environment).await;
    let mut heard = Vec::new();
    let client = reqwest::Client::new();
    for body in [chat("hello"), streamed("hello")] {
        for failure in failures() {
            for _ in 0..5 {
                upstream.push(failure.clone());
            }
            for key in [CLIENT, "pl4nted-guess"] {
                let request =
                    client.post(gateway.url("/ai?apikey=pl4nted-in-the-query")).header("apikey", key);
                let answer = request.json(&body).send().await.unwrap();
                heard.push((format!("headers of {failure:?}"), format!("{:?}", answer.headers())));
                heard.push((format!("answer to {failure:?}"), answer.text().await.unwrap_or_default()));
            }
        }
    }
    let keys = upstream.calls();
    assert!(keys.iter().any(|call| call.header("authorization") == Some(VAULT)), "keys were sent at all");
    assert!(keys.iter().any(|call| String::from_utf8_lossy(&call.body).contains(LITERAL)));
    eventually("records and spans have come", async || {
        records.calls().len() >= 40 && spans.calls().len() >= 40 && gateway.records("log").len() >= 40
    })
    .await;
    for (sink, calls) in [("http-log", records.calls()), ("opentelemetry", spans.calls())] {
        assert!(calls[0].header("x-key") == Some(LITERAL), "the sink itself is told its key");
        heard.extend(
            calls.iter().map(|call| (sink.to_owned(), String::from_utf8_lossy(&call.body).into_owned())),
        );
    }
    heard.extend(gateway.records("log").iter().map(|record| ("file-log".to_owned(), record.to_string())));
    admin(&gateway, &mut heard).await;
    // A configuration that is refused is told of in many words.
    gateway.reload(&config.replace("\"minute\":1000", "\"minute\":\"pl4n\",\"hours\":1"));
    eventually("the reload is refused", async || gateway.stderr().contains("hours")).await;
    heard.push(("stderr".to_owned(), gateway.stderr()));
    for (place, text) in &heard {
        if let Some(at) = text.find(MARK) {
            let (from, to) =
                (text.floor_char_boundary(at.saturating_sub(200)), text.floor_char_boundary(at + 60));
            panic!("{place} tells a secret: {}", &text[from..to]);
        }
    }
}

/// What operators are shown, and what they are told when they err.
async fn admin(gateway: &Gateway, heard: &mut Vec<(String, String)>) {
    let client = reqwest::Client::new();
    for path in [
        "/plugins",
        "/routes",
        "/consumers",
        "/key-auths",
        "/services",
        "/",
        "/config",
        "/metrics",
        "/status",
    ] {
        let url = format!("http://{}{path}", gateway.admin);
        heard.push((path.to_owned(), client.get(url).send().await.unwrap().text().await.unwrap()));
    }
    let bad = json!({"name": "ai-proxy", "config": {"route_type": "no such", "auth": {
        "header_name": "a", "header_value": LITERAL, "param_location": LITERAL},
        "model": {"provider": "openai", "name": "m", "options": {"temperature": 99}}}});
    for (path, body) in [("/plugins", bad.clone()), ("/schemas/plugins/validate", bad)] {
        let url = format!("http://{}{path}", gateway.admin);
        let answer = client.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        heard.push((format!("refusal by {path}"), answer.text().await.unwrap()));
    }
}
