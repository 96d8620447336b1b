//! Several targets: what fails at one is asked of the next, in its own dialect, and what fails is
//! left alone for a while.

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
use support::upstream::{Gate, Reply, Step, Upstream};
use support::{chat, eventually, kong, streamed};

/// The first of two or three targets gets every request that finds it well.
const MOST: u32 = 65_535;

const ATTEMPTS: &str = "tollgate_attempts_total";
const SETTLED: &str = "tollgate_settlements_total";

fn openai(text: &str) -> Reply {
    Reply::json(&json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}))
}

fn ollama(text: &str) -> Reply {
    Reply::json(&json!({"model": "llama2", "created_at": "2024-01-01T00:00:00Z", "done": true,
        "message": {"role": "assistant", "content": text}, "done_reason": "stop",
        "prompt_eval_count": 11, "eval_count": 3}))
}

fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
           "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn refusal(status: u16, headers: &[(&str, &str)]) -> Reply {
    let headers = [&[("content-type", "application/json")], headers].concat();
    Reply::body(status, &headers, json!({"error": {"message": format!("no {status}")}}).to_string())
}

/// `balancer` with these criteria, of which `non_idempotent` is always one.
fn criteria(listed: &[&str]) -> Value {
    let listed = [listed, &["non_idempotent"]].concat();
    json!({"failover_criteria": listed, "read_timeout": 300})
}

async fn gateway(targets: &[Value], balancer: &Value) -> Gateway {
    let log = json!({"name": "file-log", "config": {"path": "{dir}/log"}});
    Gateway::start(&kong::file(&[kong::route("/chat", &[kong::advanced(targets, balancer), log])])).await
}

async fn ask(gateway: &Gateway, body: &Value) -> Answer {
    let mut client = Connection::open(gateway.proxy).await;
    client.request("POST /chat HTTP/1.1", body.to_string()).await.answer().await
}

fn content(answer: &Answer) -> Value {
    let body: Value = serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("{}", answer.text()));
    body["choices"][0]["message"]["content"].clone()
}

/// An address that nobody listens at.
fn nowhere() -> String {
    format!("http://{}", support::gateway::free())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_criterion_leads_to_the_next_dialect_with_the_clients_own_request() {
    let broken = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    let table = [
        ("error", Reply(vec![Step::Close])),
        ("error", Reply::raw(broken).then(Step::Close)),
        ("timeout", Reply(vec![Step::Hang])),
        ("invalid_header", Reply::body(200, &[("content-type", "application/json")], "{\"nonsense\": 1}")),
        ("invalid_header", Reply::json(&json!({"error": {"message": "200, and yet"}}))),
        ("http_403", refusal(403, &[])),
        ("http_404", refusal(404, &[])),
        ("http_500", refusal(500, &[])),
        ("http_502", refusal(502, &[])),
        ("http_503", refusal(503, &[])),
        ("http_504", refusal(504, &[])),
    ];
    let prompts = ["x".repeat(100), "y".repeat(5 * 1024 * 1024)];
    for (criterion, failure) in table {
        let first = Upstream::always(failure.clone()).await;
        let second = Upstream::always(failure).await;
        let third = Upstream::always(ollama("at last")).await;
        let targets = [
            kong::target("openai", &first.url(), MOST),
            kong::target("anthropic", &second.url(), 10),
            kong::target("llama2", &third.url(), 1),
        ];
        let gateway = gateway(&targets, &criteria(&[criterion])).await;
        for prompt in &prompts {
            let answer = ask(&gateway, &chat(prompt)).await;
            assert_eq!((answer.status, content(&answer)), (200, json!("at last")), "{criterion}");
            assert_eq!(answer.header("x-kong-llm-model"), Some("llama2/llama2-model"));
            let said = |upstream: &Upstream| upstream.calls().pop().unwrap();
            for upstream in [&first, &second, &third] {
                let message = &said(upstream).json()["messages"][0];
                assert!(
                    message["content"] == json!(prompt) || message["content"][0]["text"] == json!(prompt)
                );
            }
            assert_eq!(said(&second).header("x-api-key"), Some("key"));
            assert_eq!(said(&third).header("authorization"), None, "each gets only its own key");
        }
        assert_eq!([first.calls().len(), second.calls().len(), third.calls().len()], [2, 2, 2]);
        gateway.counts(SETTLED, &["complete", "llama2"], 2.0).await;
        gateway.counts("kong_ai_llm_requests_total", &["llama2"], 2.0).await;
    }
}

#[tokio::test]
async fn what_is_not_listed_is_the_clients_to_see() {
    let first = Upstream::always(refusal(500, &[])).await;
    let second = Upstream::always(openai("not me")).await;
    let targets = [kong::target("openai", &first.url(), MOST), kong::target("openai", &second.url(), 1)];
    // The default criteria, other criteria, and a POST that must not go out twice.
    for balancer in [json!({}), criteria(&["http_503"]), json!({"failover_criteria": ["http_500"]})] {
        let gateway = gateway(&targets, &balancer).await;
        let answer = ask(&gateway, &chat("hi")).await;
        assert_eq!((answer.status, answer.text().contains("no 500")), (500, true), "{balancer}");
    }
    assert_eq!(second.calls().len(), 0);
}

#[tokio::test]
async fn a_request_that_nobody_got_may_always_go_on() {
    let second = Upstream::always(openai("here")).await;
    let targets = [kong::target("openai", &nowhere(), MOST), kong::target("openai", &second.url(), 1)];
    let gateway = gateway(&targets, &json!({})).await;
    let answer = ask(&gateway, &chat("hi")).await;
    assert_eq!((answer.status, content(&answer)), (200, json!("here")));
    gateway.counts(ATTEMPTS, &["unreachable"], 1.0).await;
    gateway.counts(SETTLED, &[], 1.0).await;
    eventually("the log", async || !gateway.records("log").is_empty()).await;
    let tried = &gateway.records("log")[0]["ai"]["proxy"]["tried_targets"];
    assert_eq!((&tried[0]["reason"], &tried[1]["reason"]), (&json!("unreachable"), &json!("ok")));
    assert_eq!((&tried[1]["status"], &tried[1]["provider"]), (&json!(200), &json!("openai")));
    assert_eq!(tried[1]["port"], json!(second.address.port()));
    assert_eq!((&tried[0]["host"], &tried[0]["model"]), (&json!("127.0.0.1"), &json!("openai-model")));
    assert_eq!(tried[0]["route_type"], "llm/v1/chat");
}

#[tokio::test]
async fn the_last_error_is_the_one_that_the_client_sees_and_retries_bound_the_attempts() {
    let first = Upstream::always(refusal(503, &[])).await;
    let second = Upstream::always(refusal(500, &[])).await;
    let targets = [kong::target("openai", &first.url(), MOST), kong::target("anthropic", &second.url(), 1)];
    for (retries, calls, status) in [(0, [1, 0], 503), (1, [2, 1], 500), (2, [4, 2], 503)] {
        let mut balancer = criteria(&["http_500", "http_503"]);
        balancer["retries"] = retries.into();
        let gateway = gateway(&targets, &balancer).await;
        let answer = ask(&gateway, &chat("hi")).await;
        assert_eq!(answer.status, status, "{retries} retries");
        // A target is tried again only when none is left that was not.
        assert_eq!([first.calls().len(), second.calls().len()], calls, "{retries} retries");
    }
}

#[tokio::test]
async fn a_refusing_upstreams_connection_is_used_again() {
    let first = Upstream::always(refusal(500, &[])).await;
    let second = Upstream::always(openai("here")).await;
    let targets = [kong::target("openai", &first.url(), MOST), kong::target("openai", &second.url(), 1)];
    let gateway = gateway(&targets, &criteria(&["http_500"])).await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &chat("hi")).await.status, 200);
    }
    for upstream in [&first, &second] {
        let last = upstream.calls().iter().map(|call| call.connection).max().unwrap();
        // Rarely a pooled connection is just being looked at by its pool, and a new one is made.
        assert!(last < 3, "{} connections for five requests", last + 1);
    }
}

#[tokio::test]
async fn a_target_that_keeps_failing_is_left_alone() {
    let first = Upstream::always(refusal(500, &[])).await;
    let second = Upstream::always(openai("here")).await;
    let targets = [kong::target("openai", &first.url(), MOST), kong::target("openai", &second.url(), 1)];
    let mut balancer = criteria(&["http_500"]);
    (balancer["max_fails"], balancer["fail_timeout"]) = (json!(2), json!(3_600_000));
    let gateway = gateway(&targets, &balancer).await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &chat("hi")).await.status, 200);
    }
    assert_eq!([first.calls().len(), second.calls().len()], [2, 5]);
    gateway.counts("tollgate_target_state", &["target=\"0\""], 2.0).await;
    gateway.counts("tollgate_target_state", &["target=\"1\""], 0.0).await;
}

#[tokio::test]
async fn retry_after_keeps_all_targets_of_the_account_from_being_asked() {
    let spent = Upstream::always(refusal(429, &[("retry-after", "3600")])).await;
    let other = Upstream::always(openai("another account")).await;
    let mut sibling = kong::target("openai", &spent.url(), 10);
    sibling["model"]["options"]["temperature"] = json!(0.5);
    let last = kong::target("openai", &other.url(), 1);
    let targets = [kong::target("openai", &spent.url(), MOST), sibling, last];
    let one = gateway(&targets, &criteria(&["http_429"])).await;
    for _ in 0..3 {
        assert_eq!(content(&ask(&one, &chat("hi")).await), json!("another account"));
    }
    assert_eq!(spent.calls().len(), 1, "both targets draw on the same quota");
    one.counts("tollgate_cooldowns_total", &[], 1.0).await;
    one.counts("tollgate_target_state", &["target=\"1\""], 3.0).await;
    // With nobody else left, the client is told when to come again; the first sees the answer itself.
    let all_out = gateway(&targets[..2], &criteria(&["http_429"])).await;
    assert_eq!(ask(&all_out, &chat("hi")).await.status, 429);
    let answer = ask(&all_out, &chat("hi")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&seconds), "{seconds}");
    assert!(answer.text().contains("try again later"));
    assert_eq!(spent.calls().len(), 2);
}

#[tokio::test]
async fn a_lone_target_is_always_asked() {
    let only = Upstream::always(refusal(429, &[("retry-after", "3600")])).await;
    let mut balancer = criteria(&["http_429"]);
    (balancer["max_fails"], balancer["retries"]) = (json!(1), json!(0));
    let gateway = gateway(&[kong::target("openai", &only.url(), 1)], &balancer).await;
    for _ in 0..3 {
        let answer = ask(&gateway, &chat("hi")).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("3600")));
    }
    assert_eq!(only.calls().len(), 3);
}

#[tokio::test]
async fn after_the_first_output_there_is_no_other_target() {
    let role = chunk(&json!({"role": "assistant", "content": ""}), None);
    let begun = || Reply::stream("text/event-stream").event(&role);
    let word = chunk(&json!({"content": "one "}), None);
    let first = Upstream::scripted(vec![
        begun().event(&word).then(Step::Close),
        begun().then(Step::Close),
        begun().event(&json!({"error": {"message": "overloaded"}})).end(),
        begun().then(Step::Hang),
    ])
    .await;
    let whole =
        Reply::stream("text/event-stream").event(&word).event(&chunk(&json!({}), Some("stop"))).done();
    let second = Upstream::always(whole).await;
    let targets = [kong::target("openai", &first.url(), MOST), kong::target("openai", &second.url(), 1)];
    let mut balancer = criteria(&["error", "timeout", "invalid_header"]);
    balancer["first_token_timeout"] = json!(200);
    let gateway = gateway(&targets, &balancer).await;
    let answer = ask(&gateway, &streamed("hi")).await;
    assert!(!answer.whole && answer.text().contains("\"error\""), "{}", answer.text());
    assert_eq!(second.calls().len(), 0, "a byte had gone out");
    for count in 1..=3 {
        let answer = ask(&gateway, &streamed("hi")).await;
        assert!(answer.whole && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        assert!(!answer.text().contains("role"), "nothing of the first target's stream: {}", answer.text());
        assert_eq!(second.calls().len(), count);
    }
    gateway.counts(SETTLED, &["broken"], 4.0).await;
    gateway.counts(SETTLED, &["complete"], 3.0).await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut_by_the_idle_timeout() {
    let word = chunk(&json!({"content": "one "}), None);
    let silent = Upstream::always(Reply::stream("text/event-stream").event(&word).then(Step::Hang)).await;
    let balancer = json!({"stream_idle_timeout": 100, "read_timeout": 60_000});
    let gateway = gateway(&[kong::target("openai", &silent.url(), 1)], &balancer).await;
    let answer = ask(&gateway, &streamed("hi")).await;
    assert!(!answer.whole && answer.text().contains("fell silent"), "{}", answer.text());
    gateway.counts(SETTLED, &["broken"], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_has_gone_may_be_read_on_for_its_usage() {
    let word = chunk(&json!({"content": "one "}), None);
    let usage = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 77, "total_tokens": 82}});
    let gate = Gate::default();
    let reply = Reply::stream("text/event-stream")
        .event(&word)
        .gate(&gate)
        .event(&chunk(&json!({}), Some("stop")))
        .event(&usage)
        .done();
    let upstream = Upstream::always(reply).await;
    let balancer = json!({"on_client_disconnect": "drain"});
    let gateway = gateway(&[kong::target("openai", &upstream.url(), 1)], &balancer).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.request("POST /chat HTTP/1.1", streamed("hi").to_string()).await;
    assert!(client.until("one ").await.contains("one "));
    drop(client);
    // Longer than what is read on without that setting.
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    gate.open();
    gateway.counts("tollgate_tokens_total", &["output", "provider"], 77.0).await;
    gateway.counts(SETTLED, &["client_gone"], 1.0).await;
}
