//! The small plugins in front of any route: on plain routes and on AI routes they do the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use support::client::{Answer, Connection};
use support::gateway::Gateway;
use support::kong;
use support::upstream::{Reply, Upstream};
use support::{chat, eventually};

/// An answer that both an OpenAI-shaped provider and a plain service could give.
fn reply() -> Reply {
    let body = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "hello"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}});
    let headers = [
        ("content-type", "application/json"),
        ("vary", "Accept"),
        ("access-control-allow-origin", "https://upstream.test"),
    ];
    Reply::body(200, &headers, body.to_string())
}

/// The plugins on a plain route, `/plain`, and on an AI route, `/ai`, in front of one upstream.
async fn both(plugins: &[Value]) -> (Gateway, Upstream) {
    let upstream = Upstream::always(reply()).await;
    let ai = [plugins, &[kong::ai_proxy(&upstream.url())]].concat();
    let routes = [kong::route("/plain", plugins), kong::route("/ai", &ai)];
    let gateway = Gateway::start(&kong::file_with(&json!({"url": upstream.url()}), &routes)).await;
    (gateway, upstream)
}

async fn post(gateway: &Gateway, path: &str, headers: &str) -> Answer {
    let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json{headers}");
    Connection::open(gateway.proxy).await.request(&head, chat("hi").to_string()).await.answer().await
}

async fn options(gateway: &Gateway, path: &str, headers: &str) -> Answer {
    let head = format!("OPTIONS {path} HTTP/1.1\r\nhost: x{headers}\r\n\r\n");
    Connection::open(gateway.proxy).await.send(head).await.answer().await
}

/// All values of a header.
fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let named = answer.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}

fn message(answer: &Answer) -> Value {
    serde_json::from_slice::<Value>(&answer.body).unwrap()["message"].clone()
}

const PREFLIGHT: &str = "\r\norigin: https://a.test\r\naccess-control-request-method: POST\r\n\
    access-control-request-headers: X-Asked\r\naccess-control-request-private-network: true";

#[tokio::test]
async fn a_preflight_is_answered_before_anybody_asks_for_a_key() {
    let cors = json!({"name": "cors", "config": {"origins": ["https://a.test", "https://b.test"],
        "credentials": true, "max_age": 600, "private_network": true, "methods": ["GET", "POST"]}});
    let (gateway, upstream) = both(&[cors, json!({"name": "key-auth"})]).await;
    for path in ["/plain", "/ai"] {
        let answer = options(&gateway, path, PREFLIGHT).await;
        assert_eq!((answer.status, answer.text()), (200, String::new()), "{path}");
        for (name, value) in [
            ("access-control-allow-origin", "https://a.test"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "X-Asked"),
            ("access-control-allow-private-network", "true"),
            ("access-control-max-age", "600"),
            ("vary", "Origin"),
            ("content-length", "0"),
        ] {
            assert_eq!(all(&answer, name), [value], "{path} {name}");
        }
        assert!(answer.header("content-type").is_none(), "{path}");
        let answer =
            options(&gateway, path, "\r\norigin: https://evil.test\r\naccess-control-request-method: PUT")
                .await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None), "{path}");
        // Refusals can be read by the page that caused them.
        let answer = post(&gateway, path, "\r\norigin: https://b.test").await;
        assert_eq!(
            (answer.status, all(&answer, "access-control-allow-origin")),
            (401, vec!["https://b.test"])
        );
    }
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn answers_say_who_may_read_them() {
    let cors = |config: Value| json!({"name": "cors", "config": config});
    let strict = cors(json!({"origins": ["https://a.test", "~none"], "exposed_headers": ["X-A", "X-B"],
        "allow_origin_absent": false}));
    let (gateway, _) = both(&[strict]).await;
    for path in ["/plain", "/ai"] {
        let answer = post(&gateway, path, "\r\norigin: https://a.test").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(all(&answer, "access-control-allow-origin"), ["https://a.test"]);
        assert_eq!(all(&answer, "access-control-expose-headers"), ["X-A,X-B"]);
        assert_eq!(all(&answer, "vary"), ["Accept", "Origin"], "{path}");
        let answer = post(&gateway, path, "\r\norigin: https://evil.test").await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "the upstream's word does not stand");
        let answer = post(&gateway, path, "").await;
        assert_eq!(all(&answer, "access-control-allow-origin"), ["https://upstream.test"]);
    }
    let (gateway, _) = both(&[cors(json!({"credentials": true}))]).await;
    for path in ["/plain", "/ai"] {
        let answer = post(&gateway, path, "\r\norigin: https://any.test").await;
        assert_eq!(
            all(&answer, "access-control-allow-origin"),
            ["https://any.test"],
            "no star with credentials"
        );
        assert_eq!(all(&answer, "access-control-allow-credentials"), ["true"]);
        let answer = post(&gateway, path, "").await;
        assert_eq!(all(&answer, "access-control-allow-origin"), ["*"]);
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn a_preflight_can_be_the_upstreams() {
    let (gateway, upstream) = both(&[json!({"name": "cors", "config": {"preflight_continue": true}})]).await;
    let answer = options(&gateway, "/plain", PREFLIGHT).await;
    assert_eq!(all(&answer, "access-control-allow-origin"), ["https://upstream.test"]);
    assert_eq!(upstream.calls()[0].line, "OPTIONS / HTTP/1.1");
}

#[tokio::test]
async fn addresses_are_let_in_or_kept_out() {
    let restriction =
        |config: Value| json!({"name": "ip-restriction", "protocols": ["http", "tcp"], "config": config});
    for (config, status, said) in [
        (json!({"allow": ["127.0.0.0/8"]}), 200, None),
        (json!({"deny": ["10.0.0.0/8"]}), 200, None),
        (json!({"allow": ["10.0.0.0/8", "::1"]}), 403, Some("IP address not allowed: 127.0.0.1")),
        (
            json!({"allow": ["127.0.0.0/8"], "deny": ["127.0.0.1"]}),
            403,
            Some("IP address not allowed: 127.0.0.1"),
        ),
        (json!({"deny": ["127.0.0.1"], "status": 418, "message": "Not you."}), 418, Some("Not you.")),
    ] {
        let (gateway, upstream) = both(&[restriction(config.clone())]).await;
        for path in ["/plain", "/ai"] {
            let answer = post(&gateway, path, "").await;
            assert_eq!(answer.status, status, "{path} {config}: {}", answer.text());
            if let Some(said) = said {
                assert_eq!(message(&answer), said, "{path} {config}");
                let page = post(&gateway, path, "\r\naccept: text/plain").await.text();
                assert!(page.starts_with(said), "{page}");
            }
        }
        assert_eq!(upstream.calls().len(), if status == 200 { 2 } else { 0 });
    }
}

#[tokio::test]
async fn bodies_are_held_to_their_size() {
    let limiting = json!({"name": "request-size-limiting", "config": {
        "allowed_payload_size": 1, "size_unit": "kilobytes"}});
    let (gateway, upstream) = both(&[limiting]).await;
    let body = |size: usize| {
        let empty = chat("").to_string().len();
        chat(&"x".repeat(size - empty)).to_string()
    };
    for path in ["/plain", "/ai"] {
        let line = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json");
        let mut client = Connection::open(gateway.proxy).await;
        assert_eq!(client.request(&line, body(1024)).await.answer().await.status, 200, "{path}");
        let chunked = |size: usize| {
            let body = body(size);
            let (a, b) = body.split_at(size / 2);
            let chunks = format!("{:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n", a.len(), b.len());
            format!("{line}\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")
        };
        assert_eq!(client.send(chunked(1024)).await.answer().await.status, 200, "{path}");
        let served = upstream.calls().len();
        let answer = Connection::open(gateway.proxy).await.send(chunked(1025)).await.answer().await;
        assert_eq!((answer.status, message(&answer)), (413, json!("Request size limit exceeded")), "{path}");
        let answer = Connection::open(gateway.proxy).await.request(&line, body(1025)).await.answer().await;
        assert_eq!((answer.status, message(&answer)), (413, json!("Request size limit exceeded")), "{path}");
        let waiting = format!("{line}\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1025\r\n\r\n");
        let answer = Connection::open(gateway.proxy).await.send(waiting).await.answer().await;
        assert_eq!((answer.status, message(&answer)), (417, json!("Request size limit exceeded")), "{path}");
        let whole = upstream.calls().iter().skip(served).filter(|call| call.body.len() > 1024).count();
        assert_eq!(whole, 0, "no upstream had it whole: {path}");
    }
}

#[tokio::test]
async fn a_body_may_have_to_state_its_length() {
    let limiting = json!({"name": "request-size-limiting", "config": {"require_content_length": true}});
    let (gateway, _) = both(&[limiting]).await;
    for path in ["/plain", "/ai"] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = Connection::open(gateway.proxy).await.send(head).await.answer().await;
        assert_eq!(answer.status, 411, "{path}");
        assert_eq!(message(&answer), "A valid Content-Length header is required");
    }
}

#[tokio::test]
async fn a_request_keeps_its_name_or_gets_one() {
    for (generator, parts) in [("uuid", 5), ("uuid#counter", 5), ("tracker", 6)] {
        let correlation = json!({"name": "correlation-id", "config": {
            "generator": generator, "echo_downstream": true}});
        let log = json!({"name": "file-log", "config": {"path": "{dir}/log"}});
        let (gateway, upstream) = both(&[correlation, log]).await;
        let mut seen = Vec::new();
        for path in ["/plain", "/ai"] {
            let given = post(&gateway, path, "\r\nkong-request-id: mine").await;
            assert_eq!(all(&given, "kong-request-id"), ["mine"], "{path}");
            assert_eq!(upstream.calls().last().unwrap().header("kong-request-id"), Some("mine"), "{path}");
            let made = post(&gateway, path, "").await;
            let id = made.header("kong-request-id").unwrap().to_owned();
            assert_eq!(upstream.calls().last().unwrap().header("kong-request-id"), Some(&*id), "{path}");
            assert_eq!(id.split('-').count(), parts, "{generator}: {id}");
            assert_eq!(id.contains('#'), generator == "uuid#counter", "{id}");
            seen.push(id);
        }
        assert_ne!(seen[0], seen[1]);
        if generator == "tracker" {
            assert!(seen[0].starts_with(&format!("127.0.0.1-{}-", gateway.proxy.port())), "{seen:?}");
        }
        eventually("all are logged", async || gateway.records("log").len() == 4).await;
        let logged: Vec<Value> =
            gateway.records("log").iter().map(|record| record["correlation_id"].clone()).collect();
        for id in seen.iter().map(String::as_str).chain(["mine"]) {
            assert!(logged.contains(&json!(id)), "{id} in {logged:?}");
        }
    }
}

#[tokio::test]
async fn requests_are_edited_on_their_way() {
    let edits = |parts: Value| json!({"name": "request-transformer", "config": parts});
    let head = edits(json!({
        "remove": {"headers": ["x-secret"], "querystring": ["debug"]},
        "rename": {"headers": ["x-old:X-New"]},
        "add": {"headers": ["x-who:$(query_params.who)"], "querystring": ["api-version:2"]},
        "append": {"headers": ["x-new:more"]},
    }));
    let sent = "?debug=1&who=ann";
    let headers = "\r\nx-secret: s\r\nx-old: o";
    let (gateway, upstream) = both(&[head]).await;
    for path in ["/plain", "/ai"] {
        assert_eq!(post(&gateway, &format!("{path}{sent}"), headers).await.status, 200, "{path}");
        let call = upstream.calls().pop().unwrap();
        assert!(call.line.contains("?who=ann&api-version=2 "), "{path}: {}", call.line);
        assert_eq!((call.header("x-secret"), call.header("x-old")), (None, None), "{path}");
        assert_eq!((call.header("x-new"), call.header("x-who")), (Some("o"), Some("ann")), "{path}");
        assert_eq!(call.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-new")).count(), 2);
    }
    let body = edits(json!({
        "http_method": "PUT",
        "replace": {"uri": "/other"},
        "add": {"body": ["user:$(headers.x-user)"]},
    }));
    let (gateway, upstream) = both(&[body]).await;
    for (path, line) in [("/plain", "PUT /other "), ("/ai", "POST /")] {
        assert_eq!(post(&gateway, path, "\r\nx-user: ann").await.status, 200, "{path}");
        let call = upstream.calls().pop().unwrap();
        assert!(call.line.starts_with(line), "{path}: {}", call.line);
        assert_eq!(call.json()["user"], "ann", "{path}");
        assert_eq!(call.header("content-length"), Some(&*call.body.len().to_string()), "{path}");
    }
}
