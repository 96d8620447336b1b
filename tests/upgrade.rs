//! One process follows another: nothing is refused, nothing is broken off, nothing is counted twice or lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use support::client::Connection;
use support::gateway::{Gateway, finish, free};
use support::upstream::{Gate, Reply, Step, Upstream};
use support::{chat, eventually, kong, streamed};

/// A gateway whose process changes; all of its processes are killed in the end.
struct Line {
    gateway: Gateway,
    processes: Vec<u32>,
}

impl Line {
    async fn start(config: &str, extra: &[&str]) -> Self {
        let pid_file = ["--pid-file", "{dir}/pid"];
        let gateway = Gateway::start_with(config, &[&pid_file[..], extra].concat()).await;
        let mut line = Self { gateway, processes: Vec::new() };
        line.processes.push(line.named().expect("a pid file"));
        line
    }

    fn pid_file(&self) -> PathBuf {
        self.gateway.dir.path().join("pid")
    }

    fn named(&self) -> Option<u32> {
        std::fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()
    }

    fn current(&self) -> u32 {
        *self.processes.last().unwrap()
    }

    /// Has the current process replaced, and waits until the pid file names the new one.
    async fn replace(&mut self) {
        let old = self.current();
        signal(old, "USR2");
        eventually("another process is named", async || self.named().is_some_and(|id| id != old)).await;
        self.processes.push(self.named().unwrap());
    }

    async fn ended(&mut self, process: u32) {
        eventually("the process has ended", async || {
            // Ours would stay as a zombie.
            let _ = self.gateway.ended();
            !runs(process)
        })
        .await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for process in self.processes.iter().copied().chain(self.named()) {
            if runs(process) {
                let _ = Command::new("kill").args(["-s", "KILL", &process.to_string()]).status();
            }
        }
    }
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -s {name} {process}");
}

/// Whether a process runs; one that has ended and was not waited for does not.
fn runs(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains("zombie"))
}

fn answer() -> Reply {
    Reply::json(&json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}}))
}

/// A stream of two seconds, which states 7 and 11 tokens.
fn slow_stream() -> Reply {
    let event = |text: &str, finish: Value| json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]});
    let mut reply = Reply::stream("text/event-stream");
    for n in 0..20 {
        reply =
            reply.event(&event(&format!("w{n} "), Value::Null)).then(Step::Wait(Duration::from_millis(100)));
    }
    let usage =
        json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}});
    reply.event(&event("", json!("stop"))).event(&usage).done()
}

fn routes(plain: &Upstream, streams: &Upstream) -> String {
    kong::file(&[
        kong::route("/chat", &[kong::ai_proxy(&plain.url())]),
        kong::route("/stream", &[kong::ai_proxy(&streams.url())]),
    ])
}

/// Sends requests until it is told to stop; each has to be answered in full. How many there were.
async fn keep_asking(proxy: std::net::SocketAddr, over: Arc<AtomicBool>, fresh: bool) -> u32 {
    let mut served = 0;
    let mut client = Connection::open(proxy).await;
    while !over.load(Ordering::Relaxed) {
        let answer = client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
        assert!(answer.status == 200 && answer.whole, "after {served}: {answer:?}");
        served += 1;
        if fresh || answer.header("connection") == Some("close") {
            client = Connection::open(proxy).await;
        }
    }
    served
}

/// Reads the sum of tokens until it is told to stop; it must never fall. The last that it saw.
async fn watch_sums(status: std::net::SocketAddr, over: Arc<AtomicBool>, looks: Arc<AtomicU32>) -> u64 {
    let client = reqwest::Client::new();
    let mut last = 0;
    while !over.load(Ordering::Relaxed) {
        let text = client.get(format!("http://{status}/metrics")).send().await.unwrap().text().await.unwrap();
        let sum = tokens(&text);
        assert!(sum >= last, "from {last} back to {sum}");
        last = sum;
        looks.fetch_add(1, Ordering::Relaxed);
    }
    last
}

fn tokens(metrics: &str) -> u64 {
    let samples = metrics.lines().filter(|line| line.starts_with("tollgate_tokens_total{"));
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replacements_break_nothing_and_count_everything_once() {
    const STREAMS: u32 = 20;
    let (plain, streams) = (Upstream::always(answer()).await, Upstream::always(slow_stream()).await);
    let mut line = Line::start(&routes(&plain, &streams), &[]).await;
    let (proxy, status) = (line.gateway.proxy, line.gateway.status);
    let (over, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let mut client = Connection::open(proxy).await;
        client.request("POST /stream HTTP/1.1", streamed("hi").to_string()).await;
        under_way.spawn(async move { client.answer().await });
    }
    eventually("all streams are under way", async || streams.calls().len() == STREAMS as usize).await;
    let mut clients = tokio::task::JoinSet::new();
    for fresh in [true, true, false, false] {
        clients.spawn(keep_asking(proxy, over.clone(), fresh));
    }
    let sums = tokio::spawn(watch_sums(status, over.clone(), looks.clone()));
    for _ in 0..2 {
        line.replace().await;
        let seen = looks.load(Ordering::Relaxed);
        eventually("a scraper has been answered since", async || looks.load(Ordering::Relaxed) > seen + 1)
            .await;
    }
    assert!(
        line.gateway.sum("tollgate_exchanges_in_flight", &[]).await >= f64::from(STREAMS),
        "those of the old one"
    );
    while let Some(answer) = under_way.join_next().await {
        let answer = answer.unwrap();
        assert!(
            answer.status == 200 && answer.whole && answer.text().ends_with("data: [DONE]\n\n"),
            "{answer:?}"
        );
    }
    over.store(true, Ordering::Relaxed);
    let served: u32 = clients.join_all().await.iter().sum();
    assert!(served > 0);
    sums.await.unwrap();
    let expected = f64::from(served * 8 + STREAMS * 18);
    line.gateway.counts("tollgate_tokens_total", &[], expected).await;
    line.gateway.counts("tollgate_settlements_total", &["complete"], f64::from(served + STREAMS)).await;
    assert_eq!(plain.calls().len(), served as usize, "nobody asked twice");
    let (first, second) = (line.processes[0], line.processes[1]);
    line.ended(first).await;
    line.ended(second).await;
    assert_eq!(line.gateway.sum("tollgate_tokens_total", &[]).await.to_bits(), expected.to_bits());
    assert!(line.gateway.sum("tollgate_exchanges_in_flight", &[]).await.abs() < 0.5, "nothing is under way");
    assert!(!line.gateway.stderr().contains("cut off"), "{}", line.gateway.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_answered_once_more_and_then_closed() {
    let upstream = Upstream::always(answer()).await;
    let mut line = Line::start(&routes(&upstream, &upstream), &[]).await;
    let mut used = Connection::open(line.gateway.proxy).await;
    let first = used.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
    assert!(first.status == 200 && first.header("connection") != Some("close"), "{first:?}");
    let mut unused = Connection::open(line.gateway.proxy).await;
    line.replace().await;
    assert!(used.idle(Duration::from_millis(300)).await, "nobody hangs up on an idle client");
    for client in [&mut used, &mut unused] {
        let answer = client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(client.closed().await);
    }
    let old = line.processes[0];
    line.ended(old).await;
    line.gateway.counts("tollgate_settlements_total", &["complete"], 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_cannot_start_changes_nothing() {
    let upstream = Upstream::always(answer()).await;
    let mut line = Line::start(&routes(&upstream, &upstream), &[]).await;
    let config = line.gateway.dir.path().join("kong.yaml");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, "plugins: [{name: no-such-plugin}]").unwrap();
    signal(line.current(), "USR2");
    eventually("it is said", async || line.gateway.stderr().contains("not replaced")).await;
    assert!(line.gateway.stderr().contains("no-such-plugin"), "{}", line.gateway.stderr());
    assert_eq!(line.named(), Some(line.current()));
    let served =
        reqwest::Client::new().post(line.gateway.url("/chat")).json(&chat("hi")).send().await.unwrap();
    assert_eq!(served.status(), 200);
    line.gateway.counts("tollgate_settlements_total", &["complete"], 1.0).await;
    // Mended, it works.
    std::fs::write(&config, good).unwrap();
    line.replace().await;
    line.gateway.counts("tollgate_settlements_total", &["complete"], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_admin_api_wrote_is_in_force_in_the_next_process() {
    let upstream = Upstream::always(answer()).await;
    let mut line = Line::start(&routes(&upstream, &upstream), &["--state", "{dir}/state"]).await;
    let admin = format!("http://{}", line.gateway.admin);
    let client = reqwest::Client::new();
    for round in 0..2 {
        let service = json!({"name": format!("made-{round}"), "url": "http://127.0.0.1:9"});
        let made = client.post(format!("{admin}/services")).json(&service).send().await.unwrap();
        assert_eq!(made.status(), 201);
        line.replace().await;
        let kept = client.get(format!("{admin}/services/made-{round}")).send().await.unwrap();
        assert_eq!(kept.status(), 200);
    }
    // The lock of the directory has come along.
    let state = line.gateway.dir.path().join("state");
    let (port, other, third) = (free().to_string(), free().to_string(), free().to_string());
    let listen = ["--proxy-listen", &port, "--admin-listen", &other, "--status-listen", &third];
    let (code, _, stderr) = finish(&[&["run", "--state", state.to_str().unwrap()][..], &listen].concat());
    assert!(code == 1 && stderr.contains("in use by another process"), "{stderr}");
}

/// The socket that listens at a port, as the system numbers it.
fn listening(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row[1].ends_with(&format!(":{port:04X}")) && row[3] == "0A");
    ours.map(|row| row[9].to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_others_may_bind_and_those_at_paths_are_handed_over() {
    use std::os::unix::fs::MetadataExt;
    let upstream = Upstream::always(answer()).await;
    let (port, dir) = (free().port(), tempfile::tempdir().unwrap());
    let path = dir.path().join("socket");
    let listen = format!("127.0.0.1:{port} reuseport, unix:{}", path.display());
    let mut line = Line::start(&routes(&upstream, &upstream), &["--proxy-listen", &listen]).await;
    let state = || (listening(port), std::fs::metadata(&path).unwrap().ino());
    let before = state();
    assert_eq!(before.0.len(), 1);
    let first = line.current();
    line.replace().await;
    line.ended(first).await;
    assert_eq!(state(), before, "bound anew");
    let ask = async |mut client: Connection| {
        client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await.status
    };
    assert_eq!(ask(Connection::open(([127, 0, 0, 1], port).into()).await).await, 200);
    assert_eq!(ask(Connection::over(tokio::net::UnixStream::connect(&path).await.unwrap())).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_process_is_bounded_and_stops_when_told_to() {
    let gate = Gate::default();
    let begun = || {
        let event = json!({"choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": null}]});
        Reply::stream("text/event-stream").event(&event).gate(&gate).done()
    };
    let upstream = Upstream::always(begun()).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("tollgate.yaml");
    std::fs::write(&settings, "upgrade_seconds: 1\n").unwrap();
    let extra = ["--server", settings.to_str().unwrap()];
    let mut line = Line::start(&routes(&upstream, &upstream), &extra).await;
    let mut client = Connection::open(line.gateway.proxy).await;
    client.request("POST /stream HTTP/1.1", streamed("hi").to_string()).await;
    assert!(client.until("one").await.contains("one"));
    line.replace().await;
    let first = line.processes[0];
    line.ended(first).await;
    assert!(line.gateway.stderr().contains("cut off"), "{}", line.gateway.stderr());

    // Told to stop like its successor, it does not wait for its bound.
    std::fs::write(&settings, "upgrade_seconds: 3600\ngrace_seconds: 1\n").unwrap();
    line.replace().await;
    let mut client = Connection::open(line.gateway.proxy).await;
    client.request("POST /stream HTTP/1.1", streamed("hi").to_string()).await;
    assert!(client.until("one").await.contains("one"));
    line.replace().await;
    let (replaced, last) = (line.processes[2], line.processes[3]);
    let told = Instant::now();
    signal(replaced, "TERM");
    signal(last, "TERM");
    line.ended(replaced).await;
    line.ended(last).await;
    assert!(told.elapsed() < Duration::from_secs(8));
    assert!(!line.pid_file().exists(), "the last one has taken it away");
}
