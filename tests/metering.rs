//! The meter: every exchange that reached a provider is settled exactly once, and honestly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

#[path = "metering/dashboard.rs"]
mod dashboard;
mod support;

use serde_json::{Value, json};
use std::fmt::Write;
use support::client::{Answer, Connection, Raw};
use support::gateway::Gateway;
use support::upstream::{Gate, Reply, Step, Upstream};
use support::{chat, eventually, kong, streamed};
use tollgate::meter::estimate;

const SETTLED: &str = "tollgate_settlements_total";
const TOKENS: &str = "tollgate_tokens_total";

fn chunk(content: &str) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
           "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]})
}

fn last() -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
           "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
}

fn usage(prompt: u64, completion: u64) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

fn completion(text: &str, usage: &Value) -> Value {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "usage": usage,
           "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}

async fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::start(&kong::file(&[kong::route("/chat", &[kong::ai_proxy(&upstream.url())])])).await
}

async fn ask(gateway: &Gateway, path: &str, body: &Value) -> Answer {
    let mut client = Connection::open(gateway.proxy).await;
    client.request(&format!("POST {path} HTTP/1.1"), body.to_string()).await.answer().await
}

/// What a request of one user message counts: its text, its role is framing.
#[allow(clippy::cast_precision_loss)] // small counts
fn prompt_tokens(text: &str) -> f64 {
    (estimate::tokens(text) + estimate::prompt_overhead(1)) as f64
}

#[allow(clippy::cast_precision_loss)] // small counts
fn tokens(text: &str) -> f64 {
    estimate::tokens(text) as f64
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const WORDS: [&str; 9] =
    ["Hello", ", world", " 你好", " naïve", "\n\n", " 12345", " antidisestablishmentarianism", "🙂", " x"];

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_that_leave_are_each_settled_once() {
    let upstream = Upstream::scripted(Vec::new()).await;
    let gateway = gateway(&upstream).await;
    let mut random = Random(2024);
    let mut expected = 0.0;
    for round in 0..10 {
        let mut batch = tokio::task::JoinSet::new();
        for client in 0..20 {
            let name = format!("{round}-{client}");
            let sent = Gate::default();
            let mut text = String::new();
            let mut reply = Reply::stream("text/event-stream");
            let mut bytes = 0;
            for _ in 0..random.below(30) {
                let word = WORDS[usize::try_from(random.below(9)).unwrap()];
                text += word;
                bytes += chunk(word).to_string().len();
                reply = reply.event(&chunk(word));
            }
            expected += tokens(&text);
            upstream.named(&name, reply.then(Step::Mark(sent.clone())).then(Step::Hang));
            let read = random.below(bytes as u64 + 1);
            let proxy = gateway.proxy;
            batch.spawn(async move {
                let mut client = Raw::connect(proxy).await;
                let body = streamed("count me").to_string();
                let head = format!(
                    "POST /chat HTTP/1.1\r\nhost: x\r\nx-script: {name}\r\ncontent-length: {}",
                    body.len()
                );
                client.send(head + "\r\n\r\n" + &body).await;
                sent.pass().await;
                client.at_least(usize::try_from(read).unwrap()).await;
            });
        }
        batch.join_all().await;
    }
    gateway.counts(SETTLED, &[], 200.0).await;
    gateway.counts(SETTLED, &["client_gone"], 200.0).await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
    gateway.counts(TOKENS, &["output", "partial"], expected).await;
    gateway.counts(TOKENS, &["output"], expected).await;
    gateway.counts(TOKENS, &["input", "partial"], 200.0 * prompt_tokens("count me")).await;
    gateway.counts("kong_ai_llm_requests_total", &[], 200.0).await;
    gateway.counts("kong_ai_llm_tokens_total", &["completion_tokens"], expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_stream_begins_is_settled_too() {
    let upstream = Upstream::always(Reply(vec![Step::Hang])).await;
    let gateway = gateway(&upstream).await;
    let mut client = Raw::connect(gateway.proxy).await;
    client.post("/chat", &streamed("are you there").to_string()).await;
    eventually("the request is with the upstream", async || upstream.calls().len() == 1).await;
    drop(client);
    gateway.counts(SETTLED, &["client_gone"], 1.0).await;
    gateway.counts(SETTLED, &[], 1.0).await;
    gateway.counts(TOKENS, &["input", "partial"], prompt_tokens("are you there")).await;
    gateway.counts(TOKENS, &["output"], 0.0).await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_a_long_stream_does_not_hold_the_exchange() {
    // Few words for their length: counting them is not what is tested.
    let text = "internationalization ".repeat(5_000);
    let mut reply = Reply::stream("text/event-stream");
    for _ in 0..40 {
        reply = reply.event(&chunk(&text));
    }
    let upstream = Upstream::always(reply.event(&last()).done()).await;
    let gateway = gateway(&upstream).await;
    let mut client = Raw::connect(gateway.proxy).await;
    client.post("/chat", &streamed("hi").to_string()).await;
    assert!(client.at_least(10_000).await.len() >= 10_000);
    drop(client);
    gateway.counts(SETTLED, &["client_gone"], 1.0).await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
    // All that had been sent by then, which the kernel's buffers decide, and no more than there is.
    let counted = gateway.sum(TOKENS, &["output"]).await;
    assert!(counted > 0.0 && counted <= 40.0 * tokens(&text), "{counted}");
}

#[tokio::test]
async fn streams_without_usage_are_estimated_and_with_usage_believed() {
    let without =
        Reply::stream("text/event-stream").event(&chunk("Hello ")).event(&chunk("world")).event(&last());
    let chunk_of_usage =
        json!({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage(100, 0)});
    let with =
        Reply::stream("text/event-stream").event(&chunk("Hello world")).event(&last()).event(&chunk_of_usage);
    let upstream = Upstream::scripted(vec![without.done(), with.done()]).await;
    let gateway = gateway(&upstream).await;
    ask(&gateway, "/chat", &streamed("say hello")).await;
    gateway.counts(TOKENS, &["input", "estimated"], prompt_tokens("say hello")).await;
    gateway.counts(TOKENS, &["output", "estimated"], tokens("Hello world")).await;
    ask(&gateway, "/chat", &streamed("say hello")).await;
    gateway.counts(TOKENS, &["provider"], 100.0).await;
    // An explicit zero is not a missing value.
    gateway.counts(TOKENS, &["output", "estimated"], tokens("Hello world")).await;
    gateway.counts(SETTLED, &["complete"], 2.0).await;
}

#[tokio::test]
async fn answers_without_usage_are_estimated_and_classes_are_disjoint() {
    let detailed = json!({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens_details": {"reasoning_tokens": 20}});
    let script = [json!(null), detailed].map(|usage| Reply::json(&completion("Hello world", &usage)));
    let upstream = Upstream::scripted(script.to_vec()).await;
    let gateway = gateway(&upstream).await;
    ask(&gateway, "/chat", &chat("say hello")).await;
    gateway.counts(TOKENS, &["input", "estimated"], prompt_tokens("say hello")).await;
    gateway.counts(TOKENS, &["output", "estimated"], tokens("Hello world")).await;
    ask(&gateway, "/chat", &chat("say hello")).await;
    for (class, count) in [("input", 40.0), ("cached_input", 60.0), ("output", 30.0), ("reasoning", 20.0)] {
        gateway.counts(TOKENS, &[&format!("class=\"{class}\""), "provider"], count).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_any_more_is_metered() {
    let gate = Gate::default();
    let body = completion("Hello", &usage(25, 12)).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let before_the_head = Reply::raw("").gate(&gate).then(Step::Bytes((head.clone() + &body).into()));
    let in_the_body =
        Reply::raw(head + &body[..9]).gate(&gate).then(Step::Bytes(body[9..].to_owned().into()));
    let upstream = Upstream::scripted(vec![before_the_head, in_the_body]).await;
    let gateway = gateway(&upstream).await;
    for calls in 1..=2 {
        let mut client = Raw::connect(gateway.proxy).await;
        client.post("/chat", &chat("hi").to_string()).await;
        eventually("the request is with the upstream", async || upstream.calls().len() == calls).await;
        gateway.counts("tollgate_exchanges_in_flight", &[], 1.0).await;
        drop(client);
        gate.open();
        #[allow(clippy::cast_precision_loss)] // 1 and 2
        let calls = calls as f64;
        gateway.counts(TOKENS, &["input", "provider"], 25.0 * calls).await;
        gateway.counts(TOKENS, &["output", "provider"], 12.0 * calls).await;
        gateway.counts(SETTLED, &[], calls).await;
        gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
    }
}

#[tokio::test]
async fn what_has_no_price_is_unpriced_and_never_free() {
    let upstream = Upstream::always(Reply::json(&completion("Hello", &usage(25, 12)))).await;
    let half = |name: &str, cost: &str| {
        let mut plugin = kong::ai_proxy(&upstream.url());
        let model = &mut plugin["config"]["model"];
        model["name"] = name.into();
        model["options"] = json!({"upstream_url": upstream.url()});
        if !cost.is_empty() {
            model["options"][cost] = json!(3.5);
        }
        kong::route(&format!("/{name}"), &[plugin])
    };
    let routes = [half("none", ""), half("input", "input_cost"), half("output", "output_cost")];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    for path in ["/none", "/input", "/output"] {
        assert_eq!(ask(&gateway, path, &chat("hi")).await.status, 200);
    }
    gateway.counts("tollgate_unpriced_total", &[], 3.0).await;
    for model in ["none", "input", "output"] {
        gateway.counts("tollgate_unpriced_total", &[&format!("model=\"{model}\"")], 1.0).await;
    }
    gateway.counts("tollgate_cost_total", &[], 0.0).await;
    gateway.counts("kong_ai_llm_cost_total", &[], 0.0).await;
    gateway.counts(TOKENS, &["provider"], 3.0 * 37.0).await;
}

#[tokio::test]
async fn without_statistics_only_our_own_series_count() {
    let upstream = Upstream::always(Reply::json(&completion("Hello", &usage(25, 12)))).await;
    let quiet = kong::ai_proxy_with(&upstream.url(), &json!({"logging": {"log_statistics": false}}));
    let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[quiet])])).await;
    ask(&gateway, "/chat", &chat("hi")).await;
    gateway.counts(TOKENS, &["provider"], 37.0).await;
    gateway.counts("tollgate_cost_total", &[], (25.0 * 0.15 + 12.0 * 0.6) / 1e6).await;
    let metrics = gateway.metrics().await;
    let kong: Vec<_> = metrics.keys().filter(|series| series.starts_with("kong_ai_llm_")).collect();
    assert!(kong.is_empty(), "{kong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_add_up_exactly() {
    let upstream = Upstream::always(Reply::json(&completion("Hello", &usage(3, 7)))).await;
    let gateway = gateway(&upstream).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let proxy = gateway.proxy;
        clients.spawn(async move {
            let mut client = Connection::open(proxy).await;
            for _ in 0..100 {
                let answer =
                    client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
                assert_eq!(answer.status, 200);
            }
        });
    }
    clients.join_all().await;
    gateway.counts(SETTLED, &["complete"], 1000.0).await;
    for series in ["tollgate_cost_total", "kong_ai_llm_cost_total"] {
        // 1000 × (3 × 0.15 + 7 × 0.6) / 10⁶, to the last bit: a sum of a thousand doubles is not.
        let sum = gateway.sum(series, &[]).await;
        assert!(sum.to_bits().abs_diff(0.00465_f64.to_bits()) <= 1, "{series} is {sum}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_provider_arrives_unchanged_and_counts_no_tokens() {
    let error = "{\n  \"error\": {\n \"message\": \"You exceeded your current quota\", \"type\": \"insufficient_quota\",\
                 \"param\": null, \"code\": \"insufficient_quota\"}}\n";
    let headers =
        [("content-type", "application/json; charset=utf-8"), ("retry-after", "17"), ("x-request-id", "r1")];
    let upstream = Upstream::always(Reply::body(429, &headers, error)).await;
    let gateway = gateway(&upstream).await;
    for body in [chat("hi"), streamed("hi")] {
        let answer = ask(&gateway, "/chat", &body).await;
        assert_eq!((answer.status, answer.text(), answer.whole), (429, error.to_owned(), true));
        for (name, value) in headers {
            assert_eq!(answer.header(name), Some(value));
        }
        assert_eq!(answer.header("x-kong-llm-model"), None);
    }
    gateway.counts(SETTLED, &["refused"], 2.0).await;
    gateway.counts(SETTLED, &[], 2.0).await;
    gateway.counts("tollgate_attempts_total", &["http_429"], 2.0).await;
    gateway.counts(TOKENS, &[], 0.0).await;
    gateway.counts("tollgate_cost_total", &[], 0.0).await;
    gateway.counts("tollgate_unpriced_total", &[], 0.0).await;
    gateway.counts("kong_ai_llm_tokens_total", &[], 0.0).await;
}

#[tokio::test]
async fn what_a_client_sends_never_becomes_a_label() {
    const EVIL: &str = "evil-model-of-the-client";
    let upstream = Upstream::always(Reply::json(&completion("Hello", &usage(1, 1)))).await;
    let mut free = kong::ai_proxy(&upstream.url());
    free["config"]["model"].as_object_mut().unwrap().remove("name");
    let mut dynamic = kong::ai_proxy(&upstream.url());
    dynamic["config"]["model"]["name"] = "$(headers.x-model)".into();
    let routes = [
        kong::route("/free", &[free]),
        kong::route("/dynamic", &[dynamic]),
        kong::route("/raw", &[kong::preserve(&upstream.url())]),
    ];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    let mut named = chat("hi");
    named["model"] = EVIL.into();
    for path in ["/free", "/dynamic", "/raw"] {
        let mut client = Connection::open(gateway.proxy).await;
        let head =
            format!("POST {path} HTTP/1.1\r\nx-model: {EVIL}\r\nx-consumer: {EVIL}\r\nuser-agent: {EVIL}");
        let answer = client.request(&head, named.to_string()).await.answer().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    gateway.counts(SETTLED, &["model=\"UNSPECIFIED\""], 3.0).await;
    let metrics = gateway.metrics().await;
    let named: Vec<_> = metrics.keys().filter(|series| series.contains("evil")).collect();
    assert!(named.is_empty(), "{named:?}");
}

#[tokio::test]
async fn an_exchange_that_never_reached_a_provider_is_not_settled() {
    let nobody = support::gateway::free();
    let plugin = kong::ai_proxy(&format!("http://{nobody}/"));
    let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[plugin])])).await;
    assert_eq!(ask(&gateway, "/chat", &chat("hi")).await.status, 502);
    assert_eq!(ask(&gateway, "/chat", &json!({"messages": []})).await.status, 400);
    gateway.counts("tollgate_attempts_total", &["unreachable"], 1.0).await;
    gateway.counts("tollgate_errors_total", &["upstream", "unreachable"], 1.0).await;
    gateway.counts("tollgate_errors_total", &["client", "bad_request"], 1.0).await;
    gateway.counts(SETTLED, &[], 0.0).await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
}

#[tokio::test]
async fn the_log_has_what_the_metrics_have() {
    let upstream = Upstream::always(Reply::json(&completion("Hello", &usage(25, 12)))).await;
    let log = json!({"name": "file-log", "config": {"path": "{dir}/access.log"}});
    let gateway =
        Gateway::start(&kong::file(&[kong::route("/chat", &[kong::ai_proxy(&upstream.url()), log])])).await;
    ask(&gateway, "/chat", &chat("hi")).await;
    eventually("the record is written", async || gateway.records("access.log").len() == 1).await;
    let record = gateway.records("access.log").remove(0);
    let usage = &record["ai"]["proxy"]["usage"];
    let mut said = String::new();
    for field in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        write!(said, "{} ", usage[field]).unwrap();
    }
    assert_eq!(said, "25 12 37 ");
    assert!((usage["cost"].as_f64().unwrap() - (25.0 * 0.15 + 12.0 * 0.6) / 1e6).abs() < 1e-18);
    assert_eq!(record["ai"]["proxy"]["meta"]["request_model"], "gpt-4o-mini");
}
