//! Streams in other words than the client's, or in none that the gateway reads.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_ollama_stream_is_translated_line_by_line() {
    let gate = Gate::default();
    let line = |text: &str| json!({"model": "llama2", "created_at": "2024-01-01T00:00:00Z", "message": {"role": "assistant", "content": text}, "done": false});
    let end = json!({"model": "llama2", "created_at": "2024-01-01T00:00:01Z", "message": {"role": "assistant", "content": ""},
        "done": true, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 3});
    let reply = Reply::stream("application/x-ndjson")
        .chunk(format!("{}\n", line("Hel")))
        .gate(&gate)
        .chunk(format!("{}\n{{\"model\"", line("lo")))
        .gate(&gate)
        .chunk(format!("{}\n", end.to_string().strip_prefix("{\"model\"").unwrap_or("?")))
        .end();
    let upstream = Upstream::always(reply).await;
    let gateway =
        Gateway::start(&kong::file(&[kong::route("/chat", &[kong::ollama(&upstream.url())])])).await;
    let mut body = streamed("hi");
    body["stream_options"] = json!({"include_usage": true});
    let mut client = Connection::open(gateway.proxy).await;
    client.request("POST /chat HTTP/1.1", body.to_string()).await;
    assert!(client.until("Hel").await.contains("text/event-stream"));
    gate.open();
    let seen = client.until("\"lo\"").await;
    assert!(seen.contains("\"lo\""), "{seen}");
    gate.open();
    let answer = client.answer().await;
    let text = answer.text();
    assert!(answer.whole && text.ends_with(DONE), "{text}");
    let events: Vec<Value> = text
        .split_terminator("\n\n")
        .filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok())
        .collect();
    let content: String =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(content, "Hello");
    let finish: Vec<&str> =
        events.iter().filter_map(|event| event["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(finish, ["stop"]);
    let usage: Vec<&Value> =
        events.iter().map(|event| &event["usage"]).filter(|usage| usage.is_object()).collect();
    assert_eq!(usage.len(), 1);
    assert_eq!((&usage[0]["prompt_tokens"], &usage[0]["completion_tokens"]), (&json!(11), &json!(3)));
    gateway.counts("tollgate_tokens_total", &["provider", "llama2"], 14.0).await;
}

#[tokio::test]
async fn an_ollama_stream_that_breaks_off_has_no_done() {
    let line = json!({"model": "llama2", "message": {"role": "assistant", "content": "Hel"}, "done": false});
    let begun = || Reply::stream("application/x-ndjson").chunk(format!("{line}\n"));
    let script = vec![
        begun().then(Step::Close),
        begun().end(),
        begun().chunk("{\"error\":\"out of memory\"}\n").end(),
    ];
    let count = script.len();
    let upstream = Upstream::scripted(script).await;
    let gateway =
        Gateway::start(&kong::file(&[kong::route("/chat", &[kong::ollama(&upstream.url())])])).await;
    for _ in 0..count {
        assert_broken(&ask(&gateway, "/chat", &streamed("hi")).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_stream_is_inflated_event_by_event() {
    let gate = Gate::default();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut part = |text: &str, end: bool| {
        gzip.write_all(text.as_bytes()).unwrap();
        if end {
            gzip.try_finish().unwrap();
        } else {
            gzip.flush().unwrap();
        }
        std::mem::take(gzip.get_mut())
    };
    let (one, two) = (event(&chunk("a")), event(&last()) + DONE);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
    let reply = Reply::raw(head).chunk(part(&one, false)).gate(&gate).chunk(part(&two, true)).end();
    let upstream = Upstream::always(reply).await;
    let gateway = gateway(&upstream).await;
    let mut response =
        reqwest::Client::new().post(gateway.url("/chat")).json(&streamed("hi")).send().await.unwrap();
    assert!(!response.headers().contains_key("content-encoding"));
    assert_eq!(exactly(&mut response, one.len()).await, one);
    gate.open();
    assert_eq!(exactly(&mut response, two.len()).await, two);
    assert_eq!(upstream.calls()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn preserve_passes_a_stream_byte_for_byte() {
    let odd = "\u{feff}: hello\r\nid: 7\r\nretry: 10\r\n\r\nevent: message_start\ndata: {\"type\":1}\ndata: 2\n\n\
               data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata:no space\n\ndata: unfinished";
    let reply = || Reply::stream("text/event-stream; charset=utf-8");
    let script =
        vec![reply().chunk(odd).end(), reply().chunk(&odd[..40]).chunk(&odd[40..]).then(Step::Close)];
    let upstream = Upstream::scripted(script).await;
    let gateway =
        Gateway::start(&kong::file(&[kong::route("/raw", &[kong::preserve(&upstream.url())])])).await;
    let body = json!({"model": "any", "stream": true});
    let answer = ask(&gateway, "/raw", &body).await;
    assert_eq!((answer.text(), answer.whole), (odd.to_owned(), true));
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    gateway.counts("tollgate_tokens_total", &["provider"], 7.0).await;
    let answer = ask(&gateway, "/raw", &body).await;
    assert!(!answer.whole && odd.starts_with(&answer.text()), "{}", answer.text());
}

#[tokio::test]
async fn response_streaming_always_and_deny() {
    let reply = Reply::stream("text/event-stream").event(&chunk("a")).event(&last()).event(&usage()).done();
    let upstream = Upstream::always(reply).await;
    let plugin = |mode: &str| kong::ai_proxy_with(&upstream.url(), &json!({"response_streaming": mode}));
    let routes = [kong::route("/always", &[plugin("always")]), kong::route("/deny", &[plugin("deny")])];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    let answer = ask(&gateway, "/always", &support::chat("hi")).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.text(), event(&chunk("a")) + &event(&last()) + DONE);
    assert_eq!(upstream.calls()[0].json()["stream"], true);
    let answer = ask(&gateway, "/deny", &streamed("hi")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), r#"{"error":{"message":"response streaming is not enabled for this LLM"}}"#);
    assert_eq!(upstream.calls().len(), 1, "a refused request does not reach the upstream");
}
