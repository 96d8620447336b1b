//! The process: start, reload, drain, and what it says when it cannot.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::client::Connection;
use support::gateway::{Gateway, finish, free};
use support::upstream::{Gate, Reply, Upstream};
use support::{chat, eventually, kong, streamed};

fn answer(text: &str) -> Reply {
    Reply::json(&json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}))
}

fn event(text: &str, finish: &Value) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})
}

fn one_route(path: &str, upstream: &Upstream) -> String {
    kong::file(&[kong::route(path, &[kong::ai_proxy(&upstream.url())])])
}

const BROKEN: &str = r#"{"_format_version": "3.0", "services": [{"name": "s", "url": "http://127.0.0.1:9", "routes": [
    {"name": "r", "paths": ["/x"], "plugins": [{"name": "ai-proxy", "config": {"route_type": "llm/v1/chat",
        "model": {"provider": "openai", "options": {"temperature": 9}}, "response_streaming": "maybe"}}]}]}],
    "plugins": [{"name": "no-such-plugin"}]}"#;

const PROBLEMS: [&str; 3] = ["temperature", "response_streaming", "no-such-plugin"];

async fn status(gateway: &Gateway, path: &str) -> u16 {
    reqwest::Client::new().post(gateway.url(path)).json(&chat("hi")).send().await.unwrap().status().as_u16()
}

async fn reloads(gateway: &Gateway, result: &str, expected: f64) {
    gateway.counts("tollgate_config_reloads_total", &[result], expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_stream_come_to_its_end() {
    let gate = Gate::default();
    let reply = Reply::stream("text/event-stream").event(&event("one", &Value::Null)).gate(&gate);
    let upstream = Upstream::always(reply.event(&event("two", &json!("stop"))).done()).await;
    let mut gateway = Gateway::start(&one_route("/chat", &upstream)).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.request("POST /chat HTTP/1.1", streamed("hi").to_string()).await;
    let seen = client.until("one").await;
    assert!(seen.contains("one"), "{seen}");
    // An idle connection must not hold the process up.
    let _idle = Connection::open(gateway.proxy).await;
    let told = Instant::now();
    gateway.signal("TERM");
    eventually("new connections are refused", async || {
        tokio::net::TcpStream::connect(gateway.proxy).await.is_err()
    })
    .await;
    let ready = reqwest::get(format!("http://{}/status/ready", gateway.status)).await.unwrap();
    assert_eq!(ready.status(), 503, "load balancers must look elsewhere");
    assert!(gateway.ended().is_none(), "an exchange is under way");
    gate.open();
    let answer = client.answer().await;
    assert!(answer.whole && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    assert_eq!(gateway.exit_code().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "the grace period of 30 s is the bound, not the rule");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_without_work_ends_at_once_and_the_grace_period_bounds_the_rest() {
    let upstream = Upstream::always(Reply(vec![support::upstream::Step::Hang])).await;
    let mut idle = Gateway::start(&one_route("/chat", &upstream)).await;
    idle.signal("TERM");
    assert_eq!(idle.exit_code().await, Some(0));

    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("tollgate.yaml");
    std::fs::write(&settings, "grace_seconds: 1\n").unwrap();
    let mut gateway =
        Gateway::start_with(&one_route("/chat", &upstream), &["--server", settings.to_str().unwrap()]).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await;
    eventually("the upstream has the request", async || upstream.calls().len() == 1).await;
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
    assert!(gateway.stderr().contains("cut off"), "{}", gateway.stderr());
}

#[tokio::test]
async fn sigint_ends_at_once() {
    let upstream = Upstream::always(answer("x")).await;
    let mut gateway = Gateway::start(&one_route("/chat", &upstream)).await;
    gateway.signal("INT");
    assert_eq!(gateway.exit_code().await, Some(0));
}

#[tokio::test]
async fn sighup_switches_to_a_good_file_and_refuses_a_broken_one() {
    let upstream = Upstream::always(answer("x")).await;
    let gateway = Gateway::start(&one_route("/old", &upstream)).await;
    assert_eq!((status(&gateway, "/old").await, status(&gateway, "/new").await), (200, 404));
    gateway.reload(&one_route("/new", &upstream));
    reloads(&gateway, "ok", 1.0).await;
    assert_eq!((status(&gateway, "/old").await, status(&gateway, "/new").await), (404, 200));

    gateway.reload(BROKEN);
    reloads(&gateway, "refused", 1.0).await;
    assert_eq!(
        (status(&gateway, "/new").await, status(&gateway, "/x").await),
        (200, 404),
        "the old one is in force"
    );
    let log = gateway.stderr();
    for problem in PROBLEMS {
        assert!(log.contains(problem), "{problem} is not in the log:\n{log}");
    }
    gateway.reload("not: [even yaml");
    reloads(&gateway, "refused", 2.0).await;
    std::fs::remove_file(gateway.dir.path().join("kong.yaml")).unwrap();
    gateway.signal("HUP");
    reloads(&gateway, "refused", 3.0).await;
    assert_eq!(status(&gateway, "/new").await, 200);
    gateway.reload(&one_route("/again", &upstream));
    reloads(&gateway, "ok", 2.0).await;
    assert_eq!(status(&gateway, "/again").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_keeps_the_configuration_it_began_with() {
    let gate = Gate::default();
    let mut late = answer("late");
    late.0.insert(0, support::upstream::Step::Gate(gate.clone()));
    let upstream = Upstream::always(late).await;
    let named = |model: &str, file: &str| {
        let mut plugin = kong::ai_proxy(&upstream.url());
        plugin["config"]["model"]["name"] = model.into();
        let log = json!({"name": "file-log", "config": {"path": format!("{{dir}}/{file}")}});
        kong::file(&[kong::route("/chat", &[plugin, log])])
    };
    let gateway = Gateway::start(&named("before", "before.log")).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await;
    eventually("the upstream has the request", async || upstream.calls().len() == 1).await;
    gateway.reload(&named("after", "after.log"));
    reloads(&gateway, "ok", 1.0).await;
    gate.open();
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("x-kong-llm-model")), (200, Some("openai/before")));
    eventually("the old log has the record", async || gateway.records("before.log").len() == 1).await;
    gateway.counts("tollgate_settlements_total", &["before"], 1.0).await;
    gate.open();
    // The same connection, but a new request.
    client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await;
    assert_eq!(client.answer().await.header("x-kong-llm-model"), Some("openai/after"));
    eventually("the new log has the record", async || gateway.records("after.log").len() == 1).await;
    assert_eq!(gateway.records("before.log").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_reloads_under_load_fail_nothing() {
    let upstream = Upstream::always(answer("x")).await;
    let gateway = Gateway::start(&one_route("/chat", &upstream)).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (over, proxy) = (over.clone(), gateway.proxy);
        clients.spawn(async move {
            let mut client = Connection::open(proxy).await;
            let mut served = 0;
            while !over.load(Ordering::Relaxed) {
                let answer =
                    client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
                assert!(answer.status == 200 && answer.whole, "after {served}: {answer:?}");
                served += 1;
            }
            served
        });
    }
    for round in 1..=200 {
        let mut routes = vec![kong::route("/chat", &[kong::ai_proxy(&upstream.url())])];
        if round % 2 == 0 {
            routes.push(kong::route("/extra", &[kong::ai_proxy(&upstream.url())]));
        }
        gateway.reload(&kong::file(&routes));
        reloads(&gateway, "ok", f64::from(round)).await;
    }
    over.store(true, Ordering::Relaxed);
    let served: Vec<u32> = clients.join_all().await;
    assert!(served.iter().all(|served| *served > 0), "{served:?}");
    let total: u32 = served.iter().sum();
    gateway.counts("tollgate_settlements_total", &["complete"], f64::from(total)).await;
}

fn run(config: &std::path::Path, proxy: &str) -> (i32, String, String) {
    let (admin, status) = (free().to_string(), free().to_string());
    let config = config.to_str().unwrap();
    let listen = ["--proxy-listen", proxy, "--admin-listen", &admin, "--status-listen", &status];
    finish(&[&["run", "--config", config][..], &listen].concat())
}

#[test]
fn a_broken_file_is_refused_with_every_problem() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kong.yaml");
    std::fs::write(&file, BROKEN).unwrap();
    let (code, _, stderr) = run(&file, &free().to_string());
    assert_eq!(code, 1, "{stderr}");
    for problem in PROBLEMS {
        assert!(stderr.contains(problem), "{problem} is missing:\n{stderr}");
    }
    let (code, _, stderr) = run(&dir.path().join("absent.yaml"), &free().to_string());
    assert!(code == 1 && stderr.contains("absent.yaml"), "{code}: {stderr}");
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kong.yaml");
    std::fs::write(&file, kong::file(&[])).unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = run(&file, &address);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(&address) && !stderr.contains("panicked"), "{stderr}");
}

#[test]
fn check_tells_good_from_bad() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good =
        write("good.yaml", &kong::file(&[kong::route("/chat", &[kong::ai_proxy("http://127.0.0.1:9")])]));
    let bad = write("bad.yaml", BROKEN);
    let (code, _, stderr) = finish(&["check", &good]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let (code, _, stderr) = finish(&["check", &bad]);
    assert_eq!(code, 1);
    for problem in PROBLEMS {
        assert!(stderr.contains(problem), "{problem} is missing:\n{stderr}");
    }
    assert!(stderr.lines().count() >= PROBLEMS.len(), "one line a problem:\n{stderr}");
    assert_eq!(finish(&["check", &good, &bad]).0, 1);
    assert_eq!(finish(&["check", "/nowhere/at/all.yaml"]).0, 1);
}

#[test]
fn the_command_line_says_what_it_is_and_what_it_wants() {
    let (code, stdout, _) = finish(&["--version"]);
    assert_eq!((code, stdout.trim()), (0, concat!("tollgate ", env!("CARGO_PKG_VERSION"))));
    let (code, stdout, _) = finish(&["run", "--help"]);
    assert!(code == 0 && stdout.contains("--config") && stdout.contains("TOLLGATE_CONFIG"), "{stdout}");
    let (code, _, stderr) = finish(&["run", "--proxy-listen", "nonsense", "--config", "x"]);
    assert!(code == 2 && stderr.contains("--proxy-listen"), "{code}: {stderr}");
    let (code, _, stderr) = finish(&["run", "--config", "x", "--server", "/nowhere/at/all.yaml"]);
    assert!(code == 1 && stderr.contains("/nowhere/at/all.yaml"), "{code}: {stderr}");
}

#[tokio::test]
async fn the_json_log_is_one_object_a_line() {
    let upstream = Upstream::always(answer("x")).await;
    let mut gateway = Gateway::start_with(&one_route("/chat", &upstream), &["--log-format", "json"]).await;
    gateway.reload(BROKEN);
    reloads(&gateway, "refused", 1.0).await;
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
    let log = gateway.stderr();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert!(lines.iter().all(|line| line["timestamp"].is_string()
        && line["level"].is_string()
        && line["message"].is_string()));
    let start = lines
        .iter()
        .find(|line| line["message"].as_str().unwrap().contains("is listening"))
        .expect("a start line");
    assert_eq!((&start["routes"], &start["proxy"]), (&json!(1), &json!(gateway.proxy.to_string())));
    assert!(
        lines
            .iter()
            .any(|line| line["level"] == "ERROR"
                && line["message"].as_str().unwrap().contains("no-such-plugin"))
    );
}
