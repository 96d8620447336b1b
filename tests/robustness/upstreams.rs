//! Upstreams that fail, in every way that is known.

use super::{completion, gateway, message, post, well};
use crate::support::client::{Answer, Connection};
use crate::support::gateway::{Gateway, free};
use crate::support::upstream::{Reply, Step, Upstream};
use crate::support::{chat, kong, streamed};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const INVALID: &str = "An invalid response was received from the upstream server";

async fn ask(gateway: &Gateway, path: &str) -> Answer {
    post(gateway, path, chat("hi").to_string()).await
}

/// Kong's own page.
fn assert_page(answer: &Answer, status: u16, text: &str, case: &str) {
    assert_eq!((answer.status, answer.whole), (status, true), "{case}: {}", answer.text());
    let body: Value =
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{case}: {}", answer.text()));
    assert_eq!(body["message"], text, "{case}");
    assert_eq!(body["request_id"].as_str(), answer.header("x-kong-request-id"), "{case}");
}

#[tokio::test]
async fn an_upstream_that_refuses_is_a_502() {
    let address = free();
    let routes = [
        kong::route("/chat", &[kong::ai_proxy(&format!("http://{address}/"))]),
        kong::route("/raw", &[kong::preserve(&format!("http://{address}/"))]),
        kong::route("/unknown", &[kong::ai_proxy("http://no-such-host.invalid/")]),
    ];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    assert_page(&ask(&gateway, "/chat").await, 502, INVALID, "/chat");
    assert_page(&ask(&gateway, "/raw").await, 502, INVALID, "/raw");
    assert_page(&post(&gateway, "/chat", streamed("hi").to_string()).await, 502, INVALID, "stream");
    assert_eq!(ask(&gateway, "/unknown").await.status, 503);
}

#[tokio::test]
async fn a_silent_upstream_is_a_504_by_the_services_read_timeout() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"id\"";
    let script = vec![
        Reply(vec![Step::Hang]),
        Reply::raw("HTTP/1.1 200").then(Step::Hang),
        Reply::raw("HTTP/1.1 100 Continue\r\n\r\n").then(Step::Hang),
        Reply::raw(head).then(Step::Hang),
    ];
    let upstream = Upstream::scripted(script).await;
    let routes = [kong::route("/chat", &[kong::ai_proxy(&upstream.url())])];
    let gateway = Gateway::start(&kong::file_with(&json!({"read_timeout": 400}), &routes)).await;
    for case in ["nothing", "half a head", "informational", "half a body"] {
        let asked = Instant::now();
        let answer = ask(&gateway, "/chat").await;
        assert_page(&answer, 504, "The upstream server is timing out", case);
        let took = asked.elapsed();
        assert!(took > Duration::from_millis(390) && took < Duration::from_secs(5), "{case}: {took:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_makes_no_sense_is_a_502() {
    let raw = |text: &str| Reply::raw(text.to_owned()).then(Step::Close);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let cases = [
        ("no answer", Reply(vec![Step::Close])),
        ("garbage", raw("garbage\r\n\r\n")),
        ("noise", raw("\0\u{1}\u{2}\n\n\n\n")),
        ("another protocol", raw("SSH-2.0-OpenSSH_9.2\r\n")),
        ("half a head", raw("HTTP/1.1 200 OK\r\ncontent-ty")),
        ("status out of range", raw("HTTP/1.1 99999 X\r\n\r\n")),
        ("bad length", raw("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n")),
        ("length too long", raw(&format!("{head}content-length: 5000\r\n\r\n{}", completion()))),
        (
            "truncated chunks",
            raw(&format!("{head}transfer-encoding: chunked\r\n\r\nfff\r\n{}", completion())),
        ),
        ("bad chunk", raw(&format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n"))),
        ("bad gzip", raw(&format!("{head}content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd"))),
        ("cut gzip", raw(&format!("{head}content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\u{1f}\u{0}"))),
        ("endless head", raw(&format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(2_000_000)))),
    ];
    let upstream = Upstream::scripted(cases.iter().map(|(_, reply)| reply.clone()).collect()).await;
    let gateway = gateway(&upstream).await;
    for (case, _) in &cases {
        let text =
            if case.contains("gzip") { "the upstream's compressed answer cannot be read" } else { INVALID };
        assert_page(&ask(&gateway, "/chat").await, 502, text, case);
    }
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
    upstream.push(Reply::json(&completion()));
    assert_eq!(ask(&gateway, "/chat").await.status, 200);
}

#[tokio::test]
async fn an_answer_that_is_not_the_providers_is_a_500_that_says_so() {
    let decode =
        "transformation failed from type openai://llm/v1/chat: failed to decode llm/v1/chat response";
    let choices =
        "transformation failed from type openai://llm/v1/chat: 'choices' not in llm/v1/chat response";
    let empty = "transformation failed from type openai://llm/v1/chat: no response body found when transforming response";
    let cases = [
        ("<html>hello</html>", decode),
        ("{\"id\":", decode),
        ("[1,2]", decode),
        ("\0\0\0", decode),
        ("{}", choices),
        ("{\"choices\":null}", choices),
        ("", empty),
    ];
    let replies =
        cases.iter().map(|(body, _)| Reply::body(200, &[("content-type", "text/html")], body)).collect();
    let upstream = Upstream::scripted(replies).await;
    let gateway = gateway(&upstream).await;
    for (body, expected) in cases {
        let answer = ask(&gateway, "/chat").await;
        assert_eq!((answer.status, message(&answer).as_str()), (500, expected), "{body:?}");
        assert!(answer.text().starts_with("{\"error\":"), "{}", answer.text());
    }
    assert!(
        upstream.calls().iter().all(|call| call.connection == 0),
        "what was read whole leaves its connection usable"
    );
}

#[tokio::test]
async fn statuses_without_a_body_pass() {
    let script = vec![
        Reply::raw("HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n"),
        Reply::raw("HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\ncontent-length: 500\r\n\r\n"),
        Reply::raw("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"),
    ];
    let count = script.len();
    let upstream = Upstream::scripted([script.clone(), script].concat()).await;
    let gateway = gateway(&upstream).await;
    for path in ["/chat", "/raw"] {
        let mut client = Connection::open(gateway.proxy).await;
        for case in 0..count {
            let answer =
                client.request(&format!("POST {path} HTTP/1.1"), chat("hi").to_string()).await.answer().await;
            let expected = if case == 1 { 304 } else { 204 };
            assert_eq!(answer.status, expected, "{path} {case}: {answer:?}");
            assert_eq!(answer.header("transfer-encoding"), None, "{path} {case}: there is no body to frame");
            assert!(client.idle(Duration::from_millis(30)).await, "{path} {case}: nothing follows");
        }
    }
    let connections: Vec<_> = upstream.calls().iter().map(|call| call.connection).collect();
    assert_eq!(connections, [0; 6], "their connections are used again");
}

#[tokio::test]
async fn informational_answers_are_passed_over() {
    let good = Reply::json(&completion());
    let Some(Step::Bytes(last)) = good.0.first().cloned() else { panic!("a reply is bytes") };
    let early = Reply::raw("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        .then(Step::Bytes(last));
    let upstream = Upstream::always(early).await;
    let gateway = gateway(&upstream).await;
    let answer = ask(&gateway, "/chat").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.text(), completion().to_string());
}

#[tokio::test]
async fn a_connection_is_used_again_until_its_upstream_says_otherwise() {
    let chunked = Reply::stream("application/json").chunk(completion().to_string()).end();
    let stream = Reply::stream("text/event-stream")
        .event(&json!({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}))
        .done();
    let closing = Reply::body(200, &[("connection", "close")], completion().to_string());
    let script = vec![
        Reply::json(&completion()),
        chunked,
        stream,
        Reply::body(429, &[], "{}"),
        closing,
        Reply::json(&completion()),
    ];
    let upstream = Upstream::scripted(script).await;
    let gateway = gateway(&upstream).await;
    for (case, expected) in [200, 200, 200, 429, 200, 200].into_iter().enumerate() {
        let body = if case == 2 { streamed("hi") } else { chat("hi") };
        assert_eq!(post(&gateway, "/chat", body.to_string()).await.status, expected, "{case}");
        // The connection goes back to the pool after the answer is out.
        gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
    }
    let connections: Vec<_> = upstream.calls().iter().map(|call| call.connection).collect();
    assert_eq!(connections, [0, 0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_request_on_a_dead_connection_is_sent_once_more() {
    let dead = || Reply(vec![Step::Close]);
    let upstream = Upstream::scripted(vec![
        Reply::json(&completion()),
        dead(),
        Reply::json(&completion()),
        dead(),
        dead(),
    ])
    .await;
    let gateway = gateway(&upstream).await;
    assert_eq!(ask(&gateway, "/chat").await.status, 200);
    assert_eq!(ask(&gateway, "/chat").await.status, 200, "served by a new connection");
    assert_eq!(upstream.calls().len(), 3);
    assert_page(&ask(&gateway, "/chat").await, 502, INVALID, "the second try fails too");
    assert_eq!(upstream.calls().len(), 5, "once more, not for ever");
    gateway.counts("tollgate_settlements_total", &["complete"], 2.0).await;
    gateway.counts("tollgate_settlements_total", &[], 3.0).await;
}

#[tokio::test]
async fn a_request_that_has_begun_to_be_answered_is_not_sent_again() {
    let begun = Reply::raw("HTTP/1.1 2").then(Step::Close);
    let upstream =
        Upstream::scripted(vec![Reply::json(&completion()), begun, Reply::json(&completion())]).await;
    let gateway = gateway(&upstream).await;
    assert_eq!(ask(&gateway, "/chat").await.status, 200);
    assert_page(&ask(&gateway, "/chat").await, 502, INVALID, "begun");
    assert_eq!(upstream.calls().len(), 2);
}

#[tokio::test]
async fn an_upstream_that_answers_before_it_has_read_everything_is_heard() {
    // It reads the head only, and says no.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 2048];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")
                .await;
            // What has not been read must not reset the answer away.
            while stream.read(&mut head).await.is_ok_and(|read| read > 0) {}
        }
    });
    let routes = [kong::route("/raw", &[kong::preserve(&format!("http://{address}/"))])];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    let answer = post(&gateway, "/raw", vec![b'x'; 5_000_000]).await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
}

#[tokio::test]
async fn other_statuses_pass_as_they_are() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    for status in [400, 401, 403, 404, 409, 422, 429, 500, 503, 529] {
        let body = format!("{{\"error\": {{\"code\": {status}}}}}\n");
        upstream.push(Reply::body(status, &[("content-type", "application/problem+json")], &body));
        let answer = ask(&gateway, "/chat").await;
        assert_eq!((answer.status, answer.text()), (status, body));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    // Success by another name is still the provider's answer.
    upstream.push(Reply::body(201, &[("content-type", "application/json")], completion().to_string()));
    assert_eq!(ask(&gateway, "/chat").await.status, 201);
    upstream.push(Reply::body(302, &[("location", "http://elsewhere/")], ""));
    let answer = ask(&gateway, "/chat").await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://elsewhere/")));
}
