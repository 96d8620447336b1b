//! Streams: every event goes out when it comes, and a broken answer never looks complete.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

#[path = "streaming/dialects.rs"]
mod dialects;
mod support;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use support::client::{Answer, Connection};
use support::gateway::{Gateway, PATIENCE};
use support::upstream::{Gate, Reply, Step, Upstream};
use support::{kong, streamed};

const DONE: &str = "data: [DONE]\n\n";

fn chunk(content: &str) -> Value {
    json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024",
           "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]})
}

fn last() -> Value {
    json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024",
           "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
}

fn usage() -> Value {
    json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024", "choices": [],
           "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}})
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

async fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::start(&kong::file(&[kong::route("/chat", &[kong::ai_proxy(&upstream.url())])])).await
}

/// The answer to a streamed chat request on a bare connection.
async fn ask(gateway: &Gateway, path: &str, body: &Value) -> Answer {
    let mut client = Connection::open(gateway.proxy).await;
    client.request(&format!("POST {path} HTTP/1.1"), body.to_string()).await.answer().await
}

/// Reads from a response until as many bytes have come.
async fn exactly(response: &mut reqwest::Response, count: usize) -> String {
    let mut seen = Vec::new();
    let read = async {
        while seen.len() < count {
            seen.extend_from_slice(&response.chunk().await.unwrap().expect("more of the stream"));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("not forwarded when it came"));
    String::from_utf8(seen).unwrap()
}

/// Checks an answer that broke off: an error event at its end, no `[DONE]`, no end of the chunks.
fn assert_broken(answer: &Answer) {
    let text = answer.text();
    let error = text.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(error.strip_prefix("data: ").expect("an event")).expect("JSON");
    assert!(error["error"]["message"].is_string(), "{text}");
    assert!(
        text.ends_with("\n\n") && text.matches("\"error\"").count() == 1,
        "one whole error event: {text}"
    );
    assert!(!text.contains("[DONE]"), "{text}");
    assert!(!answer.whole, "a broken answer must not look complete: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_forwarded_when_it_comes_whatever_its_size() {
    let sizes = [1, 2, 100, 4_096, 65_535, 65_536, 65_537, 1_000_000];
    let gate = Gate::default();
    let mut reply = Reply::stream("text/event-stream");
    let events: Vec<String> = sizes.iter().map(|size| event(&chunk(&"x".repeat(*size)))).collect();
    for event in &events {
        reply = reply.gate(&gate).chunk(event);
    }
    let upstream = Upstream::always(reply.gate(&gate).done()).await;
    let gateway = gateway(&upstream).await;
    for client in [reqwest::Client::new(), h2c()] {
        let request = client.post(gateway.url("/chat")).json(&streamed("hi"));
        let mut response = request.send_opened(&gate).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                gate.open();
            }
            assert!(exactly(&mut response, event.len()).await == *event, "event {index}");
        }
        gate.open();
        assert_eq!(exactly(&mut response, DONE.len()).await, DONE);
        assert_eq!(response.bytes().await.unwrap(), "", "nothing but the end follows");
    }
}

/// Sends a request whose answer waits at a gate.
trait SendOpened {
    async fn send_opened(self, gate: &Gate) -> reqwest::Response;
}

impl SendOpened for reqwest::RequestBuilder {
    async fn send_opened(self, gate: &Gate) -> reqwest::Response {
        gate.open();
        self.send().await.unwrap()
    }
}

fn h2c() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_out_as_soon_as_its_end_has_come_however_tcp_cut_it() {
    let events: Vec<String> =
        ["one", "zwei ü", "\\n\\n", "三"].iter().map(|text| event(&chunk(text))).collect();
    let whole = events.concat() + DONE;
    // Each cut leaves the end of one event and the beginning of the next in the same piece.
    let gate = Gate::default();
    let mut reply = Reply::stream("text/event-stream");
    let (mut from, mut ends) = (0, Vec::new());
    for (index, event) in events.iter().enumerate() {
        let end: usize = events[..=index].iter().map(String::len).sum();
        let cut = (end + event.len() / 2).min(whole.len() - 1);
        reply = reply.chunk(&whole.as_bytes()[from..cut]).gate(&gate);
        ends.push(end);
        from = cut;
    }
    let upstream = Upstream::always(reply.chunk(&whole.as_bytes()[from..]).end()).await;
    let gateway = gateway(&upstream).await;
    let request = reqwest::Client::new().post(gateway.url("/chat")).json(&streamed("hi"));
    let mut response = request.send().await.unwrap();
    let mut seen = String::new();
    for end in ends {
        seen += &exactly(&mut response, end - seen.len()).await;
        assert_eq!(seen, whole[..end]);
        gate.open();
    }
    seen += &exactly(&mut response, whole.len() - seen.len()).await;
    assert_eq!(seen, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_bytes_do_not_depend_on_the_cuts() {
    let events = [chunk("a"), chunk("ü三\"\\"), last(), usage()].map(|data| event(&data)).concat();
    let stream = format!(": comment\n\n{events}{DONE}");
    let expected = format!(
        ": comment\n\n{}{DONE}",
        [chunk("a"), chunk("ü三\"\\"), last()].map(|data| event(&data)).concat()
    );
    let wire = |stream: &str| {
        let whole = Reply::stream("text/event-stream").chunk(stream).end();
        let bytes = whole.0.into_iter().map(|step| match step {
            Step::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        });
        bytes.collect::<Vec<Bytes>>().concat()
    };
    let bytes = wire(&stream);
    let cut = |size: usize| {
        let steps = bytes.chunks(size).map(|piece| Step::Bytes(Bytes::copy_from_slice(piece)));
        Reply(steps.flat_map(|step| [step, Step::Wait(Duration::from_micros(1))]).collect())
    };
    let sizes = [1, 2, 3, 5, 7, 13, 64, 257];
    let upstream = Upstream::scripted(sizes.map(cut).to_vec()).await;
    let gateway = gateway(&upstream).await;
    for size in sizes {
        let answer = ask(&gateway, "/chat", &streamed("hi")).await;
        assert_eq!((answer.text(), answer.whole), (expected.clone(), true), "pieces of {size} bytes");
    }
    gateway.counts("tollgate_tokens_total", &["output", "provider"], 7.0 * 8.0).await;
}

#[tokio::test]
async fn done_ends_with_a_blank_line_even_if_the_upstream_forgot_it() {
    for end in
        ["data: [DONE]\n\n", "data: [DONE]\n", "data: [DONE]", "data: [DONE]\r\n\r\n", "data: [DONE]\r\n"]
    {
        let reply = Reply::stream("text/event-stream").event(&chunk("a")).event(&last()).chunk(end).end();
        let upstream = Upstream::always(reply).await;
        let gateway = gateway(&upstream).await;
        let answer = ask(&gateway, "/chat", &streamed("hi")).await;
        let text = answer.text().replace("\r\n", "\n");
        assert!(answer.whole && text.ends_with("\n\ndata: [DONE]\n\n"), "{end:?} became {:?}", answer.text());
    }
}

#[tokio::test]
async fn a_whole_answer_whose_done_is_missing_gets_it() {
    // Close-delimited: nothing but the text says that this is the end.
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let closed = Reply::raw(head.to_owned() + &event(&chunk("a")) + &event(&last())).then(Step::Close);
    let chunked = Reply::stream("text/event-stream").event(&chunk("a")).event(&last()).event(&usage()).end();
    let upstream = Upstream::scripted(vec![closed, chunked]).await;
    let gateway = gateway(&upstream).await;
    for framing in ["closed", "chunked"] {
        let answer = ask(&gateway, "/chat", &streamed("hi")).await;
        assert_eq!(answer.text(), event(&chunk("a")) + &event(&last()) + DONE, "{framing}");
        assert!(answer.whole, "{framing}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_without_a_finish_reason_is_broken() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let closed = Reply::raw(head.to_owned() + &event(&chunk("a"))).then(Step::Close);
    let chunked = Reply::stream("text/event-stream").event(&chunk("a")).end();
    let upstream = Upstream::scripted(vec![closed, chunked]).await;
    let gateway = gateway(&upstream).await;
    for _ in 0..2 {
        assert_broken(&ask(&gateway, "/chat", &streamed("hi")).await);
    }
    gateway.counts("tollgate_settlements_total", &["broken"], 2.0).await;
}

#[tokio::test]
async fn usage_is_asked_for_and_shown_only_to_those_who_asked() {
    let reply = Reply::stream("text/event-stream").event(&chunk("a")).event(&last()).event(&usage()).done();
    let upstream = Upstream::always(reply).await;
    let gateway = gateway(&upstream).await;
    let hidden = event(&chunk("a")) + &event(&last()) + DONE;
    let shown = event(&chunk("a")) + &event(&last()) + &event(&usage()) + DONE;
    let cases = [
        (json!(null), &hidden, json!({"include_usage": true})),
        (json!({"include_usage": false}), &hidden, json!({"include_usage": true})),
        (json!({"include_usage": true}), &shown, json!({"include_usage": true})),
        (json!({"other": 1}), &hidden, json!({"other": 1, "include_usage": true})),
    ];
    for (index, (options, expected, sent)) in cases.into_iter().enumerate() {
        let mut body = streamed("hi");
        if !options.is_null() {
            body["stream_options"] = options.clone();
        }
        let answer = ask(&gateway, "/chat", &body).await;
        assert_eq!(answer.text(), *expected, "{options}");
        assert_eq!(upstream.calls()[index].json()["stream_options"], sent, "{options}");
    }
    // A request that does not stream must not carry the option.
    let answer = ask(&gateway, "/chat", &support::chat("hi")).await;
    assert_eq!(answer.status, 500, "the upstream's stream is no answer to this");
    assert_eq!(upstream.calls()[4].json().get("stream_options"), None);
    assert_eq!(upstream.calls()[4].json()["stream"], false);
}

#[tokio::test]
async fn usage_in_a_chunk_with_a_choice_is_passed_on() {
    let mut both = last();
    both["usage"] = usage()["usage"].clone();
    let reply = Reply::stream("text/event-stream").event(&chunk("a")).event(&both).done();
    let upstream = Upstream::always(reply).await;
    let gateway = gateway(&upstream).await;
    let answer = ask(&gateway, "/chat", &streamed("hi")).await;
    assert_eq!(answer.text(), event(&chunk("a")) + &event(&both) + DONE);
    gateway.counts("tollgate_tokens_total", &["provider"], 12.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_dies_breaks_the_answer_visibly() {
    let begun = || Reply::stream("text/event-stream").event(&chunk("a"));
    let length = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n{}",
        event(&chunk("a"))
    );
    let script = vec![
        begun().then(Step::Close),
        begun().chunk("data: {\"half").then(Step::Close),
        // The announced chunk never comes whole.
        begun().then(Step::Bytes("ff\r\ndata: {".into())).then(Step::Close),
        begun().then(Step::Bytes("no size at all\r\n".into())).then(Step::Close),
        Reply::raw(length).then(Step::Close),
        // It falls silent: the service's read_timeout.
        begun().then(Step::Hang),
    ];
    let count = script.len();
    let upstream = Upstream::scripted([script.clone(), script].concat()).await;
    let routes = [kong::route("/chat", &[kong::ai_proxy(&upstream.url())])];
    let gateway = Gateway::start(&kong::file_with(&json!({"read_timeout": 300}), &routes)).await;
    for case in 0..count {
        let answer = ask(&gateway, "/chat", &streamed("hi")).await;
        assert_eq!(answer.status, 200, "case {case}");
        assert!(answer.text().starts_with(&event(&chunk("a"))), "case {case}: {}", answer.text());
        assert_broken(&answer);
    }
    let mut told = 0;
    for case in 0..count {
        // The reset may overtake the head.
        let Ok(mut response) = h2c().post(gateway.url("/chat")).json(&streamed("hi")).send().await else {
            continue;
        };
        let mut text = Vec::new();
        let end = loop {
            match response.chunk().await {
                Ok(Some(piece)) => text.extend_from_slice(&piece),
                end => break end,
            }
        };
        let text = String::from_utf8(text).unwrap();
        assert!(end.is_err(), "case {case}: the h2 stream must be reset, not ended: {text}");
        assert!(!text.contains("[DONE]"), "case {case}: {text}");
        told += usize::from(text.contains("\"error\""));
    }
    assert!(told > 0, "at least some clients are told why");
    gateway.counts("tollgate_settlements_total", &["broken"], 2.0 * 6.0).await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
}

#[tokio::test]
async fn an_error_event_of_the_provider_passes_and_the_answer_stays_broken() {
    for error in [
        json!({"error": {"message": "overloaded", "type": "server_error", "code": null}}).to_string(),
        "{ \"error\": {\"message\": \"overloaded\"} }".to_owned(),
    ] {
        for end in [DONE, ""] {
            let reply =
                Reply::stream("text/event-stream").event(&chunk("a")).chunk(format!("data: {error}\n\n"));
            let upstream =
                Upstream::always(if end.is_empty() { reply } else { reply.chunk(end) }.end()).await;
            let gateway = gateway(&upstream).await;
            let answer = ask(&gateway, "/chat", &streamed("hi")).await;
            assert!(answer.text().starts_with(&format!("{}data: {error}\n\n", event(&chunk("a")))));
            assert_broken(&answer);
            gateway.counts("tollgate_settlements_total", &["broken"], 1.0).await;
        }
    }
}
