//! The records of exchanges on their way over a network.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use support::gateway::{Gateway, PATIENCE};
use support::network::{AUTHORITY, tls};
use support::upstream::{Call, Reply, Upstream};
use support::{eventually, kong};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// A plain route `/plain` with a logging plugin.
async fn gateway(plugin: &Value) -> Gateway {
    let upstream = Upstream::always(Reply::json(&json!({"plain": true}))).await;
    let routes = [kong::route("/plain", std::slice::from_ref(plugin))];
    Gateway::start(&kong::file_with(&json!({"url": upstream.url()}), &routes)).await
}

async fn ask(gateway: &Gateway, count: usize) {
    for number in 0..count {
        let answer = reqwest::get(gateway.url(&format!("/plain?n={number}"))).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

/// Which request a record is about.
fn number(record: &Value) -> String {
    assert_eq!(record["response"]["status"], 200, "{record}");
    record["request"]["querystring"]["n"].as_str().unwrap().to_owned()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn http_log(sink: &Upstream, changes: &Value) -> Value {
    let endpoint = format!("http://user:p%40ss@{}/in?x=1", sink.address);
    let mut plugin = json!({"name": "http-log", "config": {"http_endpoint": endpoint}});
    kong::merge(&mut plugin["config"], changes);
    plugin
}

#[tokio::test(flavor = "multi_thread")]
async fn http_log_sends_one_record_or_a_list() {
    let sink = Upstream::always(Reply::body(204, &[], "")).await;
    let one = http_log(&sink, &json!({"method": "PUT", "headers": {"X-Team": "gateway"}}));
    let alone = gateway(&one).await;
    ask(&alone, 2).await;
    eventually("both have come", async || sink.calls().len() == 2).await;
    let call = &sink.calls()[0];
    assert_eq!(call.line, "PUT /in?x=1 HTTP/1.1");
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!(call.header("authorization"), Some("Basic dXNlcjpwQHNz"));
    assert_eq!(call.header("x-team"), Some("gateway"));
    let mut seen: Vec<_> = sink.calls().iter().map(|call| number(&call.json())).collect();
    // A record is written when the answer is out: two may pass each other.
    seen.sort();
    assert_eq!(seen, numbers(2));
    let batched = json!({"queue": {"max_batch_size": 3, "max_coalescing_delay": 3600}});
    let together = gateway(&http_log(&sink, &batched)).await;
    ask(&together, 3).await;
    eventually("the list has come", async || sink.calls().len() == 3).await;
    let list = sink.calls()[2].json();
    let mut seen: Vec<_> = list.as_array().unwrap().iter().map(number).collect();
    seen.sort();
    assert_eq!(seen, numbers(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_log_outlives_a_sink_that_is_away_and_counts_what_it_drops() {
    let sink = Upstream::scripted(vec![Reply::body(503, &[], "busy")]).await;
    let changes = json!({"queue": {"max_batch_size": 1, "max_entries": 5, "max_retry_delay": 0.05}});
    let gateway = gateway(&http_log(&sink, &changes)).await;
    ask(&gateway, 1).await;
    // Refused once, and from then on hung up on.
    eventually("it is tried again", async || sink.calls().len() >= 3).await;
    for number in 1..9 {
        reqwest::get(gateway.url(&format!("/plain?n={number}"))).await.unwrap();
    }
    gateway.counts("tollgate_log_records_dropped", &[], 3.0).await;
    for _ in 0..6 {
        sink.push(Reply::body(200, &[], "taken"));
    }
    let last = async || sink.calls().last().is_some_and(|call| number(&call.json()) == "8");
    eventually("all that waited has come", last).await;
    let mut seen: Vec<_> = sink.calls().iter().map(|call| number(&call.json())).collect();
    seen.dedup();
    assert_eq!(seen, ["0", "4", "5", "6", "7", "8"], "in order, the oldest dropped");
    let said = gateway.stderr();
    assert!(said.contains("returned status code 503") && !said.contains("p%40ss"), "{said}");
}

/// A sink that is away for as long as 6000 of the shortest retry delays, as a minute is 6000 of Kong's.
#[tokio::test(flavor = "multi_thread")]
async fn http_log_loses_nothing_within_its_bound_however_long_its_sink_is_away() {
    let sink = Upstream::scripted(Vec::new()).await;
    let away = json!({"queue": {"max_batch_size": 4, "max_coalescing_delay": 0, "max_entries": 100,
        "initial_retry_delay": 0.001, "max_retry_delay": 0.02, "max_retry_time": 3600}});
    let gateway = gateway(&http_log(&sink, &away)).await;
    ask(&gateway, 100).await;
    eventually("it was tried often", async || sink.calls().len() > 100).await;
    gateway.counts("tollgate_log_records_dropped", &[], 0.0).await;
    let before = sink.calls().len();
    for _ in 0..200 {
        sink.push(Reply::body(200, &[], ""));
    }
    // A batch whose answer was lost in between comes twice, and a record is written when its answer is out, so
    // that two may pass each other; none is missing.
    let seen = || -> std::collections::HashSet<String> {
        let calls = sink.calls();
        let taken = calls.iter().skip(before.saturating_sub(1)).map(Call::json);
        taken.flat_map(|list| list.as_array().unwrap().iter().map(number).collect::<Vec<_>>()).collect()
    };
    eventually("all have come", async || seen().len() == 100).await;
    assert_eq!(seen(), numbers(100).into_iter().collect());
    gateway.counts("tollgate_log_records_dropped", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_sent_before_the_process_ends() {
    let sink = Upstream::always(Reply::body(200, &[], "")).await;
    let changes = json!({"queue": {"max_batch_size": 1000, "max_coalescing_delay": 3600}});
    let mut gateway = gateway(&http_log(&sink, &changes)).await;
    ask(&gateway, 4).await;
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
    let list = sink.calls()[0].json();
    let mut seen: Vec<_> = list.as_array().unwrap().iter().map(number).collect();
    seen.sort();
    assert_eq!(seen, numbers(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_log_sends_lines_and_finds_its_server_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plugin = json!({"name": "tcp-log", "config": {"host": "127.0.0.1", "port": port}});
    let gateway = gateway(&plugin).await;
    for _ in 0..2 {
        ask(&gateway, 3).await;
        let (socket, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        assert_eq!(three(&mut BufReader::new(socket).lines()).await, numbers(3));
    }
}

async fn three(lines: &mut Lines<BufReader<TcpStream>>) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        seen.push(number(&serde_json::from_str(&line).unwrap()));
    }
    seen.sort();
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_log_speaks_tls_with_a_server_that_is_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tls(listener.local_addr().unwrap()).await.port();
    let plugin = json!({"name": "tcp-log", "config": {"host": "127.0.0.1", "port": port, "tls": true}});
    let upstream = Upstream::always(Reply::json(&json!({"plain": true}))).await;
    let file = kong::file_with(&json!({"url": upstream.url()}), &[kong::route("/plain", &[plugin])]);
    let stranger = Gateway::start(&file).await;
    ask(&stranger, 1).await;
    eventually("its certificate is refused", async || stranger.stderr().contains("invalid peer certificate"))
        .await;
    let gateway = Gateway::start_in(&file, &[("SSL_CERT_FILE", AUTHORITY)]).await;
    ask(&gateway, 3).await;
    loop {
        let (socket, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut lines = BufReader::new(socket);
        // The stranger hangs up without a word.
        if tokio::time::timeout(PATIENCE, lines.fill_buf()).await.unwrap().is_ok_and(|text| !text.is_empty())
        {
            assert_eq!(three(&mut lines.lines()).await, numbers(3));
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_log_sends_datagrams() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let gateway = gateway(&json!({"name": "udp-log", "config": {"host": "127.0.0.1", "port": port}})).await;
    ask(&gateway, 3).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut datagram = vec![0; 64 * 1024];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut datagram)).await.unwrap().unwrap();
        seen.push(number(&serde_json::from_slice(&datagram[..length]).unwrap()));
    }
    seen.sort();
    assert_eq!(seen, numbers(3));
}
