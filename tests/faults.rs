//! The table of stream faults: each kind of fault in each dialect, what the client sees and what the
//! meter says. Each runs twice: at a lone target, and with a healthy target of another dialect behind
//! it. There, what fails before the model's first output ends in that one's answer, and what fails
//! behind it must not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

#[path = "faults/check.rs"]
mod check;
#[path = "faults/dialects.rs"]
mod dialects;
#[path = "golden/events.rs"]
mod events;
#[path = "faults/fault.rs"]
mod fault;
#[path = "faults/table.rs"]
mod table;

use check::Seen;
use dialects::Dialect;
use fault::Fault;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::client::Connection;
use support::gateway::Gateway;
use support::upstream::{Reply, Upstream};
use support::{kong, streamed};
use table::{Row, TABLE};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// What every client asks.
const PROMPT: &str = "count me";

/// Every failure that another target may make good.
const CRITERIA: [&str; 7] =
    ["error", "timeout", "invalid_header", "http_429", "http_500", "http_503", "non_idempotent"];

/// One run of one cell.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is expected of it.
    pub row: &'static Row,
    /// Which column.
    pub column: usize,
    /// Whether a healthy target stands behind the faulty one.
    pub paired: bool,
}

impl Case {
    /// The upstream's.
    pub fn dialect(&self) -> &'static Dialect {
        dialects::ALL[self.column]
    }

    /// The dialect of the healthy target.
    pub fn other(&self) -> &'static Dialect {
        dialects::ALL[(self.column + 1) % dialects::ALL.len()]
    }

    /// Whether the healthy target has to answer.
    pub fn rescued(&self) -> bool {
        self.paired && self.row.fault.said().is_empty()
    }

    /// The name of its route; the models of its targets begin with it.
    pub fn name(&self) -> String {
        let mode = if self.paired { "paired" } else { "lone" };
        format!("{mode}-{}", self.row.fault.name())
    }

    /// The model of its faulty target, and of its healthy one.
    pub fn models(&self) -> [String; 2] {
        ["faulty", "healthy"].map(|which| format!("{}-{which}", self.name()))
    }

    fn plugin(&self, faulty: &str, healthy: &str) -> Value {
        let [first, second] = self.models();
        let mut targets = vec![target(self.dialect(), faulty, &first, 65_535)];
        if self.paired {
            targets.push(target(self.other(), healthy, &second, 1));
        }
        let mut balancer = self.row.fault.timeouts();
        balancer["failover_criteria"] = json!(CRITERIA);
        // A lone target would be asked again.
        balancer["retries"] = u32::from(self.paired).into();
        kong::advanced(&targets, &balancer)
    }
}

fn target(dialect: &Dialect, url: &str, model: &str, weight: u32) -> Value {
    let mut target = kong::target(dialect.provider, &format!("{url}{}", dialect.path), weight);
    target["model"]["name"] = model.into();
    target
}

/// Runs a column of the table; gives what is not as it says.
async fn run(column: usize) -> Vec<String> {
    let cases: Vec<Case> =
        TABLE.iter().flat_map(|row| [false, true].map(|paired| Case { row, column, paired })).collect();
    let faulty = Upstream::scripted(Vec::new()).await;
    let other = cases[0].other();
    let healthy = Upstream::always(fault::healthy(other, other.content_type)).await;
    // Bound and not listened at: nobody else gets the port, and connections are refused.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nowhere = format!("http://{}", silent.local_addr().unwrap());
    let log = json!({"name": "file-log", "config": {"path": "{dir}/log"}});
    let routes: Vec<Value> = cases
        .iter()
        .map(|case| {
            faulty.named(&case.name(), case.row.fault.reply(case.dialect()));
            let refused = case.row.fault == Fault::Refused;
            let url = if refused { nowhere.clone() } else { faulty.url() };
            let plugin = case.plugin(&url, &healthy.url());
            kong::route(&format!("/{}", case.name()), &[plugin, log.clone()])
        })
        .collect();
    let gateway = Gateway::start(&kong::file(&routes)).await;
    let mut asked = JoinSet::new();
    for case in cases {
        let proxy = gateway.proxy;
        asked.spawn(async move {
            let mut client = Connection::open(proxy).await;
            let head = format!("POST /{0} HTTP/1.1\r\nx-script: {0}", case.name());
            let answer = client.request(&head, streamed(PROMPT).to_string()).await.answer().await;
            Seen { case, answer }
        });
    }
    let seen = asked.join_all().await;
    let until = Instant::now() + Duration::from_secs(5);
    // The end of an exchange is counted and logged after its answer.
    loop {
        let problems = check::problems(&seen, &gateway, &healthy).await;
        if problems.is_empty() || Instant::now() > until {
            return problems;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_of_the_table() {
    let columns = tokio::join!(run(0), run(1), run(2), run(3), run(4), run(5));
    let problems: Vec<String> = <[_; dialects::ALL.len()]>::from(columns).concat();
    assert!(problems.is_empty(), "{} differences:\n{}", problems.len(), problems.join("\n"));
}

/// Whatever is unterminated at the end of an answer may be all of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_one_frame_is_whole() {
    let line =
        r#"{"model":"m","message":{"role":"assistant","content":"Hello"},"done":true,"done_reason":"stop"}"#;
    let blocked = r#"data: {"promptFeedback":{"blockReason":"SAFETY"}}"#;
    for (provider, kind, frame, reason) in [
        ("llama2", "application/x-ndjson", line, "stop"),
        ("gemini", "text/event-stream", blocked, "content_filter"),
    ] {
        let upstream = Upstream::always(Reply::stream(kind).chunk(frame).end()).await;
        let target = kong::target(provider, &upstream.url(), 1);
        let plugin = kong::advanced(&[target], &json!({}));
        let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[plugin])])).await;
        let mut client = Connection::open(gateway.proxy).await;
        let request = client.request("POST /chat HTTP/1.1", streamed(PROMPT).to_string());
        let answer = request.await.answer().await;
        let text = answer.text();
        assert!(answer.status == 200 && answer.whole && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert!(text.contains(&format!("\"finish_reason\":\"{reason}\"")), "{text}");
        gateway.counts("tollgate_settlements_total", &["complete"], 1.0).await;
    }
}

/// An upstream that keeps the connection open behind its last event keeps nobody waiting.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_over_with_its_last_event() {
    for dialect in dialects::ALL.iter().filter(|dialect| dialect.provider != "gemini") {
        let upstream = Upstream::always(Fault::SilenceBehindLastEvent.reply(dialect)).await;
        let plugin = kong::advanced(&[target(dialect, &upstream.url(), "m", 1)], &json!({}));
        let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[plugin])])).await;
        let mut client = Connection::open(gateway.proxy).await;
        let request = client.request("POST /chat HTTP/1.1", streamed(PROMPT).to_string());
        // Far sooner than the read timeout of a minute.
        let answer = request.await.answer().await;
        assert!(answer.whole && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        gateway.counts("tollgate_settlements_total", &["complete"], 1.0).await;
    }
}
