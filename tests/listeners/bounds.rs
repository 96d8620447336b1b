//! Bounds in size and time on what a client may send before it is served.

use super::support::client::{Connection, Raw};
use super::support::gateway::Gateway;
use super::support::upstream::{Reply, Step, Upstream};
use super::support::{chat, eventually, kong};
use super::{GET, Scene};
use std::time::Duration;

const TIGHT: &str = "\
max_header_bytes: 2000
max_headers: 10
max_uri_bytes: 100
header_seconds: 1
idle_seconds: 1
";

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let scene = Scene::new(&[], TIGHT, &[]).await;
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n{more}\r\n");
    let long = |count| "x".repeat(count);
    for (head, expected, part) in [
        (get("/plain", ""), 200, "hello"),
        (get("/plain", &format!("x: {}\r\n", long(1800))), 200, "hello"),
        (get("/plain", &format!("x: {}\r\n", long(2000))), 494, "over 2000 bytes (max_header_bytes)"),
        (format!("GET /{}", long(3000)), 494, "over 2000 bytes (max_header_bytes)"),
        (get("/plain", &"x: y\r\n".repeat(9)), 200, "hello"),
        (get("/plain", &"x: y\r\n".repeat(10)), 494, "11 headers, at most 10 (max_headers)"),
        (get(&format!("/plain?{}", long(93)), ""), 200, "hello"),
        (get(&format!("/plain?{}", long(94)), ""), 414, "over 100 bytes (max_uri_bytes)"),
    ] {
        let answer = Connection::open(scene.gateway.proxy).await.send(head).await.answer().await;
        assert!(answer.text().contains(part), "{expected} {part}: {}", answer.text());
        assert_eq!(answer.status, expected, "{part}");
    }
    scene.gateway.counts("tollgate_errors_total", &["large_head"], 3.0).await;
}

#[tokio::test]
async fn a_slow_head_gets_a_408_and_a_silent_connection_is_closed() {
    let scene = Scene::new(&[], TIGHT, &[]).await;
    let mut silent = Raw::connect(scene.gateway.proxy).await;
    let mut slow = Raw::connect(scene.gateway.proxy).await;
    slow.send("GET /plain HTTP/1.1\r\nhost:").await;
    let mut kept = Connection::open(scene.gateway.proxy).await;
    assert_eq!(kept.send(GET).await.answer().await.status, 200);
    // What is not read whole when the first answer goes out is timed, too.
    let mut piped = Raw::connect(scene.gateway.proxy).await;
    piped.send([GET, "GET /plain HTTP/1.1\r\n"].concat()).await;
    let answer = slow.to_end().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert_eq!(silent.to_end().await, "");
    assert!(kept.closed().await);
    assert_eq!(piped.to_end().await.matches("HTTP/1.1 ").count(), 1);
    scene.gateway.counts("tollgate_connections", &[], 0.0).await;
    scene.gateway.counts("tollgate_errors_total", &["slow_head"], 1.0).await;
}

#[tokio::test]
async fn half_a_preface_is_timed_like_a_head() {
    let scene = Scene::new(&[], TIGHT, &[]).await;
    let mut client = Raw::connect(scene.gateway.proxy).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM").await;
    assert!(client.to_end().await.contains(" 408 "));
    // An old client's whole request is shorter than the preface.
    let mut client = Raw::connect(scene.gateway.proxy).await;
    client.send("GET /plain HTTP/1.0\n\n").await;
    assert!(client.to_end().await.contains(" 200 "));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let scene = Scene::new(&[], "max_connections: 3\n", &[]).await;
    scene.gateway.counts("tollgate_connections", &[], 0.0).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(scene.gateway.proxy).await;
        assert_eq!(connection.send(GET).await.answer().await.status, 200);
        held.push(connection);
    }
    assert_eq!(Raw::connect(scene.gateway.proxy).await.to_end().await, "");
    scene.gateway.counts("tollgate_connections_refused_total", &["connections"], 1.0).await;
    held.pop();
    eventually("there is room again", async || {
        Connection::open(scene.gateway.proxy).await.send(GET).await.answer().await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_request_may_take_so_long_in_all() {
    let upstream = Upstream::scripted(vec![
        Reply(vec![Step::Hang]),
        Reply::stream("text/event-stream")
            .event(&serde_json::json!({"id": "x", "choices": [{"index": 0, "delta": {"content": "one"}}]}))
            .then(Step::Hang),
        Reply(vec![Step::Hang]),
        Reply::body(200, &[], "").then(Step::Hang),
    ])
    .await;
    let config = kong::file_with(
        &serde_json::json!({"url": upstream.url()}),
        &[kong::route("/chat", &[kong::ai_proxy(&upstream.url())]), kong::route("/plain", &[])],
    );
    let gateway = Gateway::start_in(&config, &[("TOLLGATE_REQUEST_SECONDS", "1")]).await;
    let mut client = Connection::open(gateway.proxy).await;
    let answer = client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("(request_seconds)"), "{}", answer.text());
    let mut body = chat("hi");
    body["stream"] = true.into();
    let mut client = Connection::open(gateway.proxy).await;
    let answer = client.request("POST /chat HTTP/1.1", body.to_string()).await.answer().await;
    assert!(answer.status == 200 && !answer.whole && answer.text().contains("one"), "{answer:?}");
    let answer = Connection::open(gateway.proxy).await.send(GET).await.answer().await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
}

#[tokio::test]
async fn many_large_bodies_wait_for_their_turn() {
    let upstream = Upstream::always(Reply::json(&serde_json::json!({
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "y"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})))
    .await;
    let config = kong::file(&[kong::route("/chat", &[kong::ai_proxy(&upstream.url())])]);
    let gateway = Gateway::start_in(&config, &[("TOLLGATE_BODY_MEMORY_MIB", "2")]).await;
    let large = chat(&"x".repeat(1_500_000)).to_string();
    // One that does not come holds the room as long as its client is there.
    let mut absent = Raw::connect(gateway.proxy).await;
    absent.send(format!("POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", large.len())).await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 1.0).await;
    let mut chunked = Connection::open(gateway.proxy).await;
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    chunked
        .send(format!("POST /chat HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"))
        .await;
    let answer = chunked.answer().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let mut small = Connection::open(gateway.proxy).await;
    let answer = small.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
    assert_eq!(answer.status, 200, "a small one passes: {}", answer.text());
    let mut waits = Connection::open(gateway.proxy).await;
    waits.request("POST /chat HTTP/1.1", &large).await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 2.0).await;
    assert!(waits.idle(Duration::from_millis(100)).await, "it waits");
    drop(absent);
    let answer = waits.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
