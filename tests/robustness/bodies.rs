//! Bodies of every size and framing.

use super::{assert_serves, completion, gateway, message, post, well};
use crate::support::client::Connection;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Reply, Upstream};
use crate::support::{chat, kong};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_stream::StreamExt;

const KIB_64: usize = 64 * 1024;
const SIZES: [usize; 7] = [0, 1, KIB_64 - 1, KIB_64, KIB_64 + 1, 1024 * 1024, 10 * 1024 * 1024];

fn clients() -> [(&'static str, reqwest::Client); 2] {
    let h2c = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    [("HTTP/1.1", reqwest::Client::new()), ("h2c", h2c)]
}

/// A body with its length, or in pieces of a size that divides nothing.
fn framed(body: &Bytes, chunked: bool) -> reqwest::Body {
    if !chunked {
        return body.clone().into();
    }
    let pieces: Vec<_> =
        body.chunks(9_973).map(Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
    reqwest::Body::wrap_stream(tokio_stream::iter(pieces))
}

/// Bytes that do not repeat soon and are no text.
fn noise(size: usize) -> Bytes {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn preserved_bodies_arrive_byte_for_byte() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    for (version, client) in clients() {
        for (size, chunked) in SIZES.into_iter().flat_map(|size| [(size, false), (size, true)]) {
            let case = format!("{version}, {size} bytes, chunked: {chunked}");
            let body = noise(size);
            let request = client.post(gateway.url("/raw")).header("content-type", "application/octet-stream");
            let reply = request.body(framed(&body, chunked)).send().await.unwrap();
            assert_eq!(reply.status(), 200, "{case}");
            assert_eq!(reply.json::<Value>().await.unwrap(), completion(), "{case}");
            let call = upstream.calls().pop().unwrap();
            assert!(call.body == body, "{case}: {} bytes arrived", call.body.len());
            assert_eq!(call.header("content-length"), Some(size.to_string().as_str()), "{case}");
            assert_eq!(call.header("transfer-encoding"), None, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_bodies_arrive_with_their_content() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    for (version, client) in clients() {
        for (size, chunked) in SIZES[2..].iter().flat_map(|size| [(*size, false), (*size, true)]) {
            let case = format!("{version}, {size} bytes, chunked: {chunked}");
            let frame = chat("").to_string().len();
            let content = "0123456789abcde\n".repeat(size / 16 + 1)[..size - frame].replace('\n', "u");
            let body = Bytes::from(chat(&content).to_string());
            assert_eq!(body.len(), size);
            let reply = client.post(gateway.url("/chat")).body(framed(&body, chunked)).send().await.unwrap();
            assert_eq!(reply.status(), 200, "{case}");
            let call = upstream.calls().pop().unwrap();
            assert_eq!(call.header("content-length"), Some(call.body.len().to_string().as_str()), "{case}");
            let sent: Value = serde_json::from_slice(&call.body).unwrap();
            assert!(sent["messages"][0]["content"] == content.as_str(), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_arrive_byte_for_byte() {
    let body = noise(10 * 1024 * 1024);
    let upstream =
        Upstream::always(Reply::body(200, &[("content-type", "application/octet-stream")], &body)).await;
    let gateway = gateway(&upstream).await;
    for (version, client) in clients() {
        let reply = client.post(gateway.url("/raw")).body("{}").send().await.unwrap();
        assert!(reply.bytes().await.unwrap() == body, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let upstream = well().await;
    let limited = kong::ai_proxy_with(&upstream.url(), &json!({"max_request_body_size": 1000}));
    let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[limited])])).await;
    let exact = |size: usize| chat(&"x".repeat(size - chat("").to_string().len())).to_string();
    assert_eq!(post(&gateway, "/chat", exact(1000)).await.status, 200);
    let answer = post(&gateway, "/chat", exact(1001)).await;
    assert_eq!(answer.status, 413);
    assert!(message(&answer).contains("max_request_body_size"), "{}", answer.text());

    // Declared: refused although nothing of it was sent.
    let mut client = Connection::open(gateway.proxy).await;
    client.send("POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert!(client.closed().await, "what follows would be taken for a request");

    // Chunked: refused as soon as it is over.
    let mut client = Connection::open(gateway.proxy).await;
    client.send("POST /chat HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send(format!("3e8\r\n{}\r\n1\r\nx\r\n", "x".repeat(1000))).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    for (version, client) in clients() {
        for chunked in [false, true] {
            let body = Bytes::from(exact(200_000));
            let reply = client.post(gateway.url("/chat")).body(framed(&body, chunked)).send().await;
            // The answer may come while the client still sends, and its stack may then lose it.
            assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status() == 413), "{version} {chunked}");
        }
    }
    assert_eq!(upstream.calls().len(), 1);
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn an_expectation_is_met_or_refused() {
    let upstream = well().await;
    let limited = kong::ai_proxy_with(&upstream.url(), &json!({"max_request_body_size": 1000}));
    let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[limited])])).await;
    let body = chat("hi").to_string();
    let mut client = Connection::open(gateway.proxy).await;
    for spelling in ["100-continue", "100-Continue"] {
        let length = body.len();
        client
            .send(format!(
                "POST /chat HTTP/1.1\r\nhost: x\r\nexpect: {spelling}\r\ncontent-length: {length}\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.status, 100);
        assert_eq!(client.send(&body).await.answer().await.status, 200);
    }
    assert_eq!(upstream.calls()[0].header("expect"), None);
    client
        .send("POST /chat HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5000\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 413);
    let mut client = Connection::open(gateway.proxy).await;
    client.send("POST /none HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 50\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 404);
}

async fn impatient(upstream: &Upstream, settings: &str) -> (Gateway, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tollgate.yaml");
    std::fs::write(&file, settings).unwrap();
    let config = kong::file(&[kong::route("/chat", &[kong::ai_proxy(&upstream.url())])]);
    (Gateway::start_with(&config, &["--server", file.to_str().unwrap()]).await, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_runs_into_the_total_limit() {
    let upstream = well().await;
    let (gateway, _dir) = impatient(&upstream, "body_seconds: 1\nbody_read_seconds: 30\n").await;
    let mut client = Connection::open(gateway.proxy).await;
    client.send("POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n").await;
    // A byte every 50 ms never breaks the limit on one read.
    while client.idle(Duration::from_millis(50)).await {
        client.send("x").await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert_eq!(message(&answer), "request body did not arrive in time");

    // An h2 body that stops has no other limit than this.
    let stops = tokio_stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))])
        .chain(tokio_stream::pending());
    let (_, h2c) = &clients()[1];
    let reply = h2c.post(gateway.url("/chat")).body(reqwest::Body::wrap_stream(stops)).send().await.unwrap();
    assert_eq!(reply.status(), 408);
    gateway.counts("tollgate_errors_total", &["client", "slow_body"], 2.0).await;
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn a_body_that_stops_runs_into_the_limit_on_one_read() {
    let upstream = well().await;
    let (gateway, _dir) = impatient(&upstream, "body_seconds: 30\nbody_read_seconds: 1\n").await;
    let mut client = Connection::open(gateway.proxy).await;
    client.send("POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_its_body_leaves_nothing_behind() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    for head in ["content-length: 1000", "transfer-encoding: chunked"] {
        let mut client = Connection::open(gateway.proxy).await;
        client.send(format!("POST /chat HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n3\r\nabc")).await;
        gateway.counts("tollgate_exchanges_in_flight", &[], 1.0).await;
        drop(client);
        gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
    }
    assert!(upstream.calls().is_empty());
    assert_serves(&gateway).await;
}
