//! The `opentelemetry` plugin: what a collector gets, and what upstreams are told of the trace.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

#[path = "tracing/consulted.rs"]
mod consulted;
mod support;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Held;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::{Value, json};
use std::fmt::Write;
use support::gateway::Gateway;
use support::upstream::{Reply, Upstream};
use support::{chat, eventually, kong, streamed};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const SECRET: &str = "the words of the client";
const ANSWER: &str = "the words of the model";

fn opentelemetry(collector: &Upstream, changes: &Value) -> Value {
    let endpoint = format!("http://user:pass@{}/v1/traces", collector.address);
    let mut plugin = json!({"name": "opentelemetry", "config": {
        "traces_endpoint": endpoint, "headers": {"X-Tenant": "blue"},
        "resource_attributes": {"service.name": "edge"}, "queue": {"max_batch_size": 1}}});
    kong::merge(&mut plugin["config"], changes);
    plugin
}

/// A collector, and a gateway whose route `/ai` is traced.
async fn traced(ai: Value, changes: &Value) -> (Gateway, Upstream) {
    let collector = Upstream::always(Reply::body(200, &[], "")).await;
    let route = kong::route("/ai", &[ai, opentelemetry(&collector, changes)]);
    (Gateway::start(&kong::file(&[route])).await, collector)
}

async fn ask(gateway: &Gateway, body: &Value, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().post(gateway.url("/ai?key=secret")).json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn reply() -> Reply {
    Reply::json(&json!({
        "id": "1", "object": "chat.completion", "model": "gpt-4o-mini-2024",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}))
}

/// All spans that have come, once there are so many.
async fn spans(collector: &Upstream, count: usize) -> Vec<Span> {
    let all = || -> Vec<Span> {
        let calls = collector.calls();
        let requests = calls.iter().map(|call| ExportTraceServiceRequest::decode(call.body.clone()).unwrap());
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|of| of.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    };
    eventually("the spans have come", async || all().len() >= count).await;
    assert_eq!(all().len(), count);
    all()
}

fn attribute<'a>(span: &'a Span, name: &str) -> Option<&'a Held> {
    let found = span.attributes.iter().find(|one: &&KeyValue| one.key == name)?;
    found.value.as_ref()?.value.as_ref()
}

fn shown(held: &Held) -> String {
    match held {
        Held::StringValue(text) => text.clone(),
        Held::IntValue(number) => number.to_string(),
        Held::DoubleValue(number) => number.to_string(),
        Held::ArrayValue(list) => {
            let text = |one: &AnyValue| one.value.as_ref().map(shown).unwrap_or_default();
            list.values.iter().map(text).collect::<Vec<_>>().join(",")
        }
        other => panic!("an unexpected kind of value: {other:?}"),
    }
}

fn assert_attributes(span: &Span, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(attribute(span, name).map(shown).as_deref(), Some(*value), "{name} of {span:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_a_span_with_one_below_for_its_attempt() {
    let upstream = Upstream::always(reply()).await;
    let (gateway, collector) = traced(kong::ai_proxy(&upstream.url()), &json!({})).await;
    let mut body = chat(SECRET);
    kong::merge(&mut body, &json!({"temperature": 0.5, "max_tokens": 64}));
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "team=a"), ("user-agent", "tester/1")];
    assert_eq!(ask(&gateway, &body, &headers).await.status(), 200);
    let spans = spans(&collector, 2).await;
    let [server, client] = spans.as_slice() else { panic!() };
    assert_eq!((server.kind, client.kind), (SpanKind::Server as i32, SpanKind::Client as i32));
    assert_eq!((server.name.as_str(), client.name.as_str()), ("POST /ai", "chat gpt-4o-mini"));
    assert_eq!((hex(&server.trace_id), hex(&client.trace_id)), (TRACE.to_owned(), TRACE.to_owned()));
    assert_eq!(hex(&server.parent_span_id), CALLER);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!(server.trace_state, "team=a");
    assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
    assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
    let port = upstream.address.port().to_string();
    let path = [("http.request.method", "POST"), ("url.path", "/ai"), ("http.route", "/ai")];
    assert_attributes(server, &path);
    assert_attributes(
        server,
        &[
            ("http.response.status_code", "200"),
            ("client.address", "127.0.0.1"),
            ("user_agent.original", "tester/1"),
        ],
    );
    assert_attributes(
        client,
        &[
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.system", "openai"),
            ("gen_ai.request.model", "gpt-4o-mini"),
            ("gen_ai.request.temperature", "0.5"),
            ("gen_ai.request.max_tokens", "64"),
            ("gen_ai.response.model", "gpt-4o-mini-2024"),
            ("gen_ai.response.finish_reasons", "length"),
            ("gen_ai.usage.input_tokens", "11"),
            ("gen_ai.usage.output_tokens", "7"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("http.response.status_code", "200"),
        ],
    );
    assert!(attribute(client, "error.type").is_none() && attribute(server, "error.type").is_none());
    // The upstream is told of the very span.
    let told = &upstream.calls()[0];
    let expected = format!("00-{TRACE}-{}-01", hex(&client.span_id));
    assert_eq!((told.header("traceparent"), told.header("tracestate")), (Some(&*expected), Some("team=a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_told_who_sends_and_nothing_of_what_was_said() {
    let upstream = Upstream::always(reply()).await;
    let (gateway, collector) = traced(kong::ai_proxy(&upstream.url()), &json!({})).await;
    assert_eq!(ask(&gateway, &chat(SECRET), &[]).await.status(), 200);
    spans(&collector, 2).await;
    let call = &collector.calls()[0];
    assert_eq!(call.line, "POST /v1/traces HTTP/1.1");
    assert_eq!(call.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(
        (call.header("x-tenant"), call.header("authorization")),
        (Some("blue"), Some("Basic dXNlcjpwYXNz"))
    );
    let request = ExportTraceServiceRequest::decode(call.body.clone()).unwrap();
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert!(
        resource
            .attributes
            .iter()
            .any(|one| one.key == "service.name" && format!("{one:?}").contains("edge"))
    );
    let sent = String::from_utf8_lossy(&call.body).into_owned();
    assert!(!sent.contains(SECRET) && !sent.contains(ANSWER) && !sent.contains("secret"), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_has_a_span_and_says_why_it_failed() {
    let ill = Upstream::always(Reply::body(503, &[], "{}")).await;
    let well = Upstream::always(reply()).await;
    let targets = [kong::target("azure", &ill.url(), 100), kong::target("mistral", &well.url(), 1)];
    let mut targets = targets.map(|mut target| {
        target["model"]["provider"] = "openai".into();
        target
    });
    targets[0]["weight"] = 65_000.into();
    let ai = kong::advanced(&targets, &json!({"failover_criteria": ["http_503", "non_idempotent"]}));
    let (gateway, collector) = traced(ai, &json!({"http_response_header_for_traceid": "X-Trace"})).await;
    let answer = ask(&gateway, &chat(SECRET), &[]).await;
    assert_eq!(answer.status(), 200);
    let spans = spans(&collector, 3).await;
    let [server, first, second] = spans.as_slice() else { panic!() };
    assert_eq!(answer.headers()["x-trace"].to_str().unwrap(), hex(&server.trace_id));
    assert!(server.parent_span_id.is_empty(), "the trace begins here");
    for (client, upstream) in [(first, &ill), (second, &well)] {
        assert_eq!(client.parent_span_id, server.span_id);
        let expected = format!("00-{}-{}-01", hex(&server.trace_id), hex(&client.span_id));
        assert_eq!(upstream.calls()[0].header("traceparent"), Some(&*expected));
        assert!(upstream.calls()[0].header("tracestate").is_none());
    }
    assert_ne!(first.span_id, second.span_id);
    assert_attributes(
        first,
        &[("http.response.status_code", "503"), ("gen_ai.request.model", "azure-model")],
    );
    assert!(
        attribute(first, "error.type").is_some() && attribute(first, "gen_ai.usage.input_tokens").is_none()
    );
    assert_eq!(first.status.as_ref().unwrap().code, StatusCode::Error as i32);
    assert_attributes(
        second,
        &[("gen_ai.usage.output_tokens", "7"), ("gen_ai.request.model", "mistral-model")],
    );
    assert_eq!(second.status.as_ref().unwrap().code, StatusCode::Unset as i32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_why_it_ended_in_every_dialect() {
    let chunk = |delta: Value, reason: Value| {
        json!({"id": "1", "model": "m", "choices": [
        {"index": 0, "delta": delta, "finish_reason": reason}]})
    };
    let verbatim = Reply::stream("text/event-stream")
        .event(&chunk(json!({"content": ANSWER}), Value::Null))
        .event(&chunk(json!({}), "tool_calls".into()))
        .done();
    let lines = [
        json!({"model": "llama2", "message": {"role": "assistant", "content": ANSWER}, "done": false}),
        json!({"model": "llama2", "message": {"role": "assistant", "content": ""}, "done": true,
            "done_reason": "length", "prompt_eval_count": 5, "eval_count": 9}),
    ];
    let lines = lines.map(|line| format!("{line}\n"));
    let ollama = Reply::stream("application/x-ndjson").chunk(&lines[0]).chunk(&lines[1]).end();
    for (reply, make, provider, reason) in [
        (verbatim, kong::ai_proxy as fn(&str) -> Value, "openai", "tool_calls"),
        (ollama, kong::ollama, "llama2", "length"),
    ] {
        let upstream = Upstream::always(reply).await;
        let (gateway, collector) = traced(make(&upstream.url()), &json!({})).await;
        let answer = ask(&gateway, &streamed(SECRET), &[]).await;
        assert!(answer.text().await.unwrap().ends_with("[DONE]\n\n"));
        let spans = spans(&collector, 2).await;
        let expected = [("gen_ai.provider.name", provider), ("gen_ai.response.finish_reasons", reason)];
        assert_attributes(&spans[1], &expected);
        assert!(attribute(&spans[1], "gen_ai.usage.output_tokens").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_propagated_and_not_sent() {
    let upstream = Upstream::always(reply()).await;
    let parent = |flag: u8| format!("00-{TRACE}-{CALLER}-0{flag}");
    for (changes, caller, sampled) in [
        (json!({"sampling_rate": 0}), Some(1), false),
        (json!({"sampling_rate": 0}), None, false),
        (json!({"sampling_rate": 1}), None, true),
        (json!({"sampling_rate": 1}), Some(0), false),
        (json!({"sampling_rate": 0, "sampling_strategy": "parent_probability_fallback"}), Some(1), true),
    ] {
        let (gateway, collector) = traced(kong::ai_proxy(&upstream.url()), &changes).await;
        let parent = caller.map(parent);
        let headers: Vec<_> = parent.iter().map(|parent| ("traceparent", parent.as_str())).collect();
        ask(&gateway, &chat(SECRET), &headers).await;
        let calls = upstream.calls();
        let told = calls.last().unwrap().header("traceparent").unwrap();
        assert!(told.ends_with(if sampled { "-01" } else { "-00" }), "{changes} {told}");
        assert_eq!(told[3..35] == *TRACE, caller.is_some());
        assert!(!told.contains(CALLER), "the caller's span is not ours");
        // The record of a second, sampled exchange would come behind that of the first.
        gateway.counts("kong_http_requests_total", &["ai"], 1.0).await;
        if sampled {
            spans(&collector, 2).await;
        } else {
            drop(stopped(gateway).await);
            assert!(collector.calls().is_empty(), "{changes}");
        }
    }
}

/// Ends the gateway, which sends what waits.
async fn stopped(mut gateway: Gateway) -> Gateway {
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_route_is_traced_too_and_a_dead_service_is_an_error() {
    let upstream = Upstream::always(Reply::json(&json!({"plain": true}))).await;
    let collector = Upstream::always(Reply::body(200, &[], "")).await;
    let route = |path: &str| kong::route(path, &[]);
    let mut config: Value =
        serde_json::from_str(&kong::file_with(&json!({"url": upstream.url()}), &[route("/ok")])).unwrap();
    let dead = json!({"name": "dead", "url": "http://127.0.0.1:9", "retries": 0, "routes": [route("/dead")]});
    config["services"].as_array_mut().unwrap().push(dead);
    config["plugins"].as_array_mut().unwrap().push(opentelemetry(&collector, &json!({})));
    let gateway = Gateway::start(&config.to_string()).await;
    assert_eq!(reqwest::get(gateway.url("/ok/x?key=secret")).await.unwrap().status(), 200);
    let [server, client] = spans(&collector, 2).await.try_into().unwrap();
    assert_attributes(&server, &[("url.path", "/ok/x"), ("kong.service.name", "service")]);
    assert_attributes(&client, &[("http.response.status_code", "200"), ("server.address", "127.0.0.1")]);
    let expected = format!("00-{}-{}-01", hex(&server.trace_id), hex(&client.span_id));
    assert_eq!(upstream.calls()[0].header("traceparent"), Some(&*expected));
    assert_eq!(reqwest::get(gateway.url("/dead")).await.unwrap().status(), 502);
    let later = spans(&collector, 4).await;
    assert_attributes(&later[2], &[("http.response.status_code", "502")]);
    assert_eq!(later[2].status.as_ref().unwrap().code, StatusCode::Error as i32);
    assert_eq!(later[3].status.as_ref().unwrap().code, StatusCode::Error as i32);
    // Where no route matches there is no service to speak of, and a span all the same.
    assert_eq!(reqwest::get(gateway.url("/nowhere")).await.unwrap().status(), 404);
    let nowhere = spans(&collector, 5).await.pop().unwrap();
    assert_eq!(nowhere.name, "GET");
    assert_attributes(&nowhere, &[("http.response.status_code", "404"), ("url.path", "/nowhere")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_find_no_collector_are_bounded_and_counted() {
    let upstream = Upstream::always(reply()).await;
    let away = Upstream::scripted(Vec::new()).await;
    let changes = json!({"queue": {"max_batch_size": 1, "max_entries": 2, "max_retry_delay": 0.05}});
    let route = kong::route("/ai", &[kong::ai_proxy(&upstream.url()), opentelemetry(&away, &changes)]);
    let gateway = Gateway::start(&kong::file(&[route])).await;
    ask(&gateway, &chat(SECRET), &[]).await;
    eventually("it is tried", async || !away.calls().is_empty()).await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &chat(SECRET), &[]).await.status(), 200, "nobody waits for the collector");
    }
    gateway.counts("tollgate_log_records_dropped", &[], 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_plugin_a_callers_context_passes_untouched() {
    let upstream = Upstream::always(reply()).await;
    let gateway =
        Gateway::start(&kong::file(&[kong::route("/ai", &[kong::ai_proxy(&upstream.url())])])).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    ask(&gateway, &chat(SECRET), &[("traceparent", &parent)]).await;
    ask(&gateway, &chat(SECRET), &[]).await;
    let calls = upstream.calls();
    assert_eq!(calls[0].header("traceparent"), Some(&*parent));
    assert_eq!(calls[1].header("traceparent"), None);
}

#[test]
fn formats_that_would_not_be_written_are_refused() {
    for (changes, refused) in [
        (json!({"header_type": "b3"}), true),
        (json!({"propagation": {"inject": ["w3c", "datadog"]}}), true),
        (json!({"propagation": {"extract": ["b3"]}}), true),
        (
            json!({"propagation": {"extract": ["b3", "w3c"], "inject": ["preserve"], "clear": ["x-b3"]}}),
            false,
        ),
        (json!({"header_type": "ignore", "traces_endpoint": null, "endpoint": "http://h.test/v1"}), false),
    ] {
        let mut plugin =
            json!({"name": "opentelemetry", "config": {"traces_endpoint": "http://c.test:4318"}});
        kong::merge(&mut plugin["config"], &changes);
        let file = json!({"_format_version": "3.0", "plugins": [plugin]}).to_string();
        let problems = tollgate::config::parse(&[("x".to_owned(), file)]).err().unwrap_or_default();
        assert_eq!(!problems.is_empty(), refused, "{changes}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.to_string().contains("w3c")), "{problems:?}");
    }
}
