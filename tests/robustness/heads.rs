//! Request heads: methods, pipelines, and texts that would break out of where they are put.

use super::{assert_serves, completion, gateway, message, well};
use crate::support::client::Connection;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Gate, Reply, Step, Upstream};
use crate::support::{chat, eventually, kong};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_breaks_out_of_a_template() {
    let upstream = well().await;
    let dynamic = |name: &str, url: &str| {
        let mut plugin = kong::ai_proxy(url);
        if !name.is_empty() {
            plugin["config"]["model"]["name"] = name.into();
        }
        plugin
    };
    let url = upstream.url();
    let routes = [
        kong::route("/chat", &[kong::ai_proxy(&url)]),
        kong::route("/model-header", &[dynamic("$(headers.x-v)", &url)]),
        kong::route("/model-query", &[dynamic("$(query_params.v)", &url)]),
        kong::route("~/model-path/(?<v>.*)", &[dynamic("$(uri_captures.v)", &url)]),
        kong::route("/url-header", &[dynamic("", "http://$(headers.x-v)")]),
        kong::route("/url-query", &[dynamic("", "http://$(query_params.v)")]),
        kong::route("/part-query", &[dynamic("", &format!("{url}/a/$(query_params.v)"))]),
        kong::route("~/part-path/(?<v>.*)", &[dynamic("", &format!("{url}/a/$(uri_captures.v)"))]),
    ];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    let injections = [
        "a%0d%0ax-evil:%201",
        "a%0ax-evil:%201",
        "a%0dx-evil:%201",
        "a%00b",
        "%0d%0a%0d%0aGET%20/%20HTTP/1.1",
    ];
    let urls = [
        "",
        "/",
        "///",
        "%5B::1",
        "a%20b/",
        "127.0.0.1:99999/",
        "127.0.0.1:x/",
        "x:y:z/",
        "%0d%0ax-evil:1/",
        "a%3Cb/",
        "?x",
        "#x",
    ];
    let mut cases: Vec<(String, String)> = Vec::new();
    for value in injections {
        for path in ["/model-query", "/url-query", "/part-query"] {
            cases.push((format!("{path}?v={value}"), String::new()));
        }
        for path in ["/model-path", "/part-path"] {
            cases.push((format!("{path}/{value}"), String::new()));
        }
    }
    for value in urls {
        cases.push((format!("/url-query?v={value}"), String::new()));
        let plain = value.replace("%20", " ").replace("%5B", "[").replace("%3C", "<");
        cases.push(("/url-header".to_owned(), format!("\r\nx-v: {plain}")));
    }
    for path in ["/model-header", "/model-query", "/url-header", "/url-query", "/part-query"] {
        cases.push((path.to_owned(), String::new()));
    }
    for value in ["a\rx-evil: 1", "a\0b", "a\nx-evil"] {
        cases.push(("/model-header".to_owned(), format!("\r\nx-v: {value}")));
        cases.push(("/url-header".to_owned(), format!("\r\nx-v: http://127.0.0.1/{value}")));
    }
    for (path, headers) in cases {
        let mut client = Connection::open(gateway.proxy).await;
        let answer = client
            .request(&format!("POST {path} HTTP/1.1{headers}"), chat("hi").to_string())
            .await
            .answer()
            .await;
        let case = format!("{path}{headers:?}: {} {}", answer.status, answer.text());
        // A path stays encoded in its captures, which is as harmless as a refusal.
        let encoded = path.contains("-path/") && answer.status == 200;
        assert!(encoded || (400..500).contains(&answer.status), "{case}");
        if !encoded && !headers.contains(['\0', '\n']) && !headers.trim_start().contains('\r') {
            assert!(!message(&answer).is_empty(), "{case}");
        }
    }
    for call in upstream.calls() {
        assert!(call.header("x-evil").is_none(), "{call:?}");
    }
    // What is odd but harmless goes through, escaped.
    let mut client = Connection::open(gateway.proxy).await;
    let head = "POST /part-query?v=b%20c%22%C3%A9/../%3Fq HTTP/1.1";
    let answer = client.request(head, chat("hi").to_string()).await.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let head = "POST /model-query?v=m%C3%A9%22 HTTP/1.1";
    let answer = client.request(head, chat("hi").to_string()).await.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.calls().pop().unwrap().json()["model"], "mé\"");
    assert_serves(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_hangs() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    // A HEAD is answered with the length of a body that does not come.
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n";
    upstream.named("head", Reply::raw(head));
    for method in ["GET", "OPTIONS", "DELETE", "PUT", "PATCH", "QUERY"] {
        for path in ["/chat", "/raw"] {
            let mut client = Connection::open(gateway.proxy).await;
            client.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
            let answer = client.answer().await;
            let expected = if path == "/raw" { 200 } else { 400 };
            assert_eq!((answer.status, answer.whole), (expected, true), "{method} {path}");
            let answer = client
                .request(&format!("{method} {path} HTTP/1.1"), chat("hi").to_string())
                .await
                .answer()
                .await;
            assert_eq!((answer.status, answer.whole), (200, true), "{method} {path}: {}", answer.text());
            assert!(
                upstream.calls().pop().unwrap().line.starts_with(&format!("{method} ")),
                "Kong keeps the method"
            );
        }
    }
    for (path, body) in [("/chat", ""), ("/raw", ""), ("/chat", "x"), ("/raw", "x")] {
        let body = if body.is_empty() { String::new() } else { chat("hi").to_string() };
        let mut client = Connection::open(gateway.proxy).await;
        let answer = client
            .request(&format!("HEAD {path} HTTP/1.1\r\nx-script: head"), &body)
            .await
            .head_answer()
            .await;
        let expected = if path == "/chat" && body.is_empty() { 400 } else { 200 };
        assert_eq!(answer.status, expected, "HEAD {path} {body}");
        // The connection is where it should be: no body was sent for the HEAD.
        let answer = client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
        assert_eq!((answer.status, answer.whole), (200, true), "after HEAD {path} {body}: {answer:?}");
    }
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_turn() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    let request = |text: &str| {
        let body = chat(text).to_string();
        format!("POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    // In one packet.
    let mut client = Connection::open(gateway.proxy).await;
    client.send(request("one") + &request("two") + &request("three")).await;
    for _ in 0..3 {
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
    }
    let texts: Vec<_> =
        upstream.calls().iter().map(|call| call.json()["messages"][0]["content"].clone()).collect();
    assert_eq!(texts, ["one", "two", "three"]);

    // The second comes while the first waits for its upstream, whole or cut anywhere.
    for cut in [0, 1, 20, 90] {
        let gate = Gate::default();
        let mut late = Reply::json(&completion());
        late.0.insert(0, Step::Gate(gate.clone()));
        upstream.push(late);
        let before = upstream.calls().len();
        let second = request("second");
        client.send(request("first")).await;
        eventually("the first is with the upstream", async || upstream.calls().len() == before + 1).await;
        client.send(&second[..cut]).await;
        client.send(&second[cut..]).await;
        gate.open();
        for turn in ["first", "second"] {
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.whole), (200, true), "{turn}, cut at {cut}: {answer:?}");
        }
        assert_eq!(upstream.calls().len(), before + 2);
    }
}

#[tokio::test]
async fn heads_that_are_no_http_get_a_400_or_the_door() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    let long = "x".repeat(2_000_000);
    for head in [
        "\r\n\r\n\r\n",
        "nonsense\r\n\r\n",
        "POST /chat\r\n\r\n",
        "POST /chat HTTP/9.9\r\n\r\n",
        "POST /chat HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        "POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST /chat HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "POST /chat HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        "POST /chat HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n",
        "POST /%zz/../chat\0 HTTP/1.1\r\nhost: x\r\n\r\n",
        &format!("POST /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        &format!("POST /chat HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
        &format!("POST /chat HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(10_000)),
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
    ] {
        let mut client = Connection::open(gateway.proxy).await;
        client.send(head).await;
        client.finish_sending().await;
        let answer = client.answer().await;
        let shown: String = head.chars().take(100).collect();
        assert!(answer.status == 0 || (400..500).contains(&answer.status), "{shown:?}: {answer:?}");
    }
    assert!(upstream.calls().is_empty());
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn a_smuggled_request_is_not_served() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    let mut client = Connection::open(gateway.proxy).await;
    let inner = "POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let body = format!("0\r\n\r\n{inner}");
    client
        .send(format!(
            "POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert_eq!(client.answer().await.status, 400);
    assert_eq!(
        client.answer().await.status,
        0,
        "the connection must be closed: two readings of it are possible"
    );
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn hop_headers_and_forged_origins_do_not_reach_the_upstream() {
    let upstream = Upstream::always(Reply::json(&completion())).await;
    let gateway = gateway(&upstream).await;
    let mut client = Connection::open(gateway.proxy).await;
    let head = "POST /chat HTTP/1.1\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\nte: trailers\r\nproxy-authorization: a\r\n\
                x-real-ip: 6.6.6.6\r\nx-forwarded-host: evil\r\nx-forwarded-for: 6.6.6.6\r\nx-kong-request-id: forged\r\nx-mine: kept";
    let answer = client.request(head, chat("hi").to_string()).await.answer().await;
    assert_eq!(answer.status, 200);
    let call = upstream.calls().remove(0);
    for gone in ["x-hop", "keep-alive", "te", "proxy-authorization"] {
        assert_eq!(call.header(gone), None, "{gone}");
    }
    assert_eq!(call.header("x-mine"), Some("kept"));
    assert_eq!(call.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(call.header("x-forwarded-host"), Some("gateway.test"));
    assert_eq!(call.header("x-forwarded-for"), Some("6.6.6.6, 127.0.0.1"));
    let id = answer.header("x-kong-request-id").unwrap();
    assert!(id.len() == 32 && call.header("x-kong-request-id") == Some(id), "{id}");
    assert_eq!(call.headers.iter().filter(|(name, _)| name == "x-kong-request-id").count(), 1);
    assert_eq!(json!(call.json()["model"]), "gpt-4o-mini");
}
