//! Threads that stay awake while an exchange is under way, and sleep otherwise.

use super::support::client::Connection;
use super::support::gateway::Gateway;
use super::support::upstream::{Gate, Reply, Upstream};
use super::support::{eventually, kong, streamed};
use serde_json::json;
use std::time::Duration;

/// What a process that sleeps does not reach while it is watched: hundredths of a second on a processor.
const ASLEEP: u64 = 10;
const WATCHED: Duration = Duration::from_millis(400);

/// Hundredths of a second that the gateway has been on a processor.
fn spent(gateway: &Gateway) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

async fn sleeps(gateway: &Gateway) -> bool {
    let before = spent(gateway);
    tokio::time::sleep(WATCHED).await;
    spent(gateway) - before < ASLEEP
}

/// A gateway, a client whose stream has begun, and what lets the stream end.
async fn streaming(settings: &[(&str, &str)]) -> (Gateway, Connection, Gate) {
    let gate = Gate::default();
    let event = json!({"id": "x", "choices": [{"index": 0, "delta": {"content": "one"}}]});
    let reply = Reply::stream("text/event-stream").event(&event).gate(&gate).done();
    let upstream = Upstream::always(reply).await;
    let config = kong::file(&[kong::route("/chat", &[kong::ai_proxy(&upstream.url())])]);
    let gateway = Gateway::start_in(&config, settings).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.request("POST /chat HTTP/1.1", streamed("hi").to_string()).await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 1.0).await;
    (gateway, client, gate)
}

#[tokio::test]
async fn with_busy_polling_they_sleep_only_when_nothing_is_under_way() {
    for threads in ["1", "2"] {
        let settings = [("TOLLGATE_BUSY_POLLING", "true"), ("TOLLGATE_THREADS", threads)];
        let (gateway, mut client, gate) = streaming(&settings).await;
        let before = spent(&gateway);
        eventually("it is awake", async || spent(&gateway) - before > 2 * ASLEEP).await;
        gate.open();
        assert!(client.answer().await.text().ends_with("data: [DONE]\n\n"));
        eventually("it sleeps", async || sleeps(&gateway).await).await;
    }
}

#[tokio::test]
async fn without_it_they_sleep_through_a_stream_that_waits() {
    let (gateway, mut client, gate) = streaming(&[]).await;
    eventually("it sleeps", async || sleeps(&gateway).await).await;
    gate.open();
    assert!(client.answer().await.text().ends_with("data: [DONE]\n\n"));
}
