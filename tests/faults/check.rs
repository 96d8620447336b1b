//! Compares what was seen with the table. Each difference is a line of text, so that a failure shows
//! the whole of what is wrong.

use crate::dialects::{self, Dialect};
use crate::fault::Fault;
use crate::support::client::Answer;
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;
use crate::table::{Cell, Client, From};
use crate::{Case, PROMPT};
use serde_json::Value;
use std::collections::HashMap;
use tollgate::meter::estimate;

/// One answer.
pub struct Seen {
    pub case: Case,
    pub answer: Answer,
}

/// All that is not as the table says.
pub async fn problems(seen: &[Seen], gateway: &Gateway, healthy: &Upstream) -> Vec<String> {
    let mut problems = Vec::new();
    let metrics = gateway.metrics().await;
    let models = by_model(&metrics);
    let records = gateway.records("log");
    let calls = healthy.calls();
    for Seen { case, answer } in seen {
        let mut differ = |what: &str, problem: Result<(), String>| {
            if let Err(problem) = problem {
                let provider = case.dialect().provider;
                problems.push(format!("{provider} {} {what}: {problem}", case.name()));
            }
        };
        differ("client", client(case, answer));
        differ("meter", meter(case, &models));
        differ("log", log(case, &records));
        let reached = calls.iter().filter(|call| call.header("x-script") == Some(&case.name())).count();
        differ("healthy target", equal("calls", reached, usize::from(case.rescued())));
    }
    problems
}

#[allow(clippy::needless_pass_by_value)] // what is compared is not needed any more
fn equal<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("{what} {seen:?}, not {expected:?}")) }
}

fn cell(case: &Case) -> &'static Cell {
    &case.row.cells[case.column]
}

fn client(case: &Case, answer: &Answer) -> Result<(), String> {
    let [faulty, healthy] = case.models();
    let shown = |dialect: &Dialect, model: &str| {
        let seen = answer.header("x-kong-llm-model").unwrap_or_default();
        equal("model", seen, &format!("{}/{model}", dialect.provider))
    };
    let checked = if case.rescued() {
        whole(answer, "Hello world", 1).and_then(|()| shown(case.other(), &healthy))
    } else {
        let fault = case.row.fault;
        match cell(case).client {
            Client::Error(status) => error(answer, status, case.row.told),
            Client::Passed(status) => passed(answer, status, case),
            Client::Whole { finishes } => whole(answer, fault.said(), finishes),
            Client::Broken => broken(answer, fault.said(), case.row.told),
        }
        .and_then(|()| if answer.status == 200 { shown(case.dialect(), &faulty) } else { Ok(()) })
    };
    checked.map_err(|problem| format!("{problem}\n    {} {:?}", answer.status, answer.text()))
}

/// The gateway's own error, in either of its faces.
fn error(answer: &Answer, status: u16, told: &str) -> Result<(), String> {
    equal("status", answer.status, status)?;
    equal("whole", answer.whole, true)?;
    let kind = answer.header("content-type").unwrap_or_default();
    equal("JSON", kind.starts_with("application/json"), true)?;
    let body: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let message = body["error"]["message"].as_str().or(body["message"].as_str()).unwrap_or_default();
    equal("a message", !message.is_empty() && message.contains(told), true)
}

fn passed(answer: &Answer, status: u16, case: &Case) -> Result<(), String> {
    equal("status", answer.status, status)?;
    equal("whole", answer.whole, true)?;
    let fault = case.row.fault;
    let time = (fault == Fault::LimitedWithTime).then_some("7");
    equal("retry-after", answer.header("retry-after"), time)?;
    let html = fault == Fault::ErrorAsHtml;
    let kind = if html { "text/html" } else { "application/json" };
    equal("content-type", answer.header("content-type"), Some(kind))?;
    let body =
        if html { answer.text().starts_with("<html>") } else { answer.text() == case.dialect().error_body };
    equal("the upstream's body", body, true)
}

/// What an answer's events say.
struct Said {
    text: String,
    finishes: usize,
    errors: Vec<String>,
    done: usize,
    /// Whether nothing follows the error, or `[DONE]`.
    ended: bool,
}

fn events(answer: &Answer) -> Result<Said, String> {
    equal("status", answer.status, 200)?;
    equal("content-type", answer.header("content-type"), Some("text/event-stream"))?;
    let text = answer.text();
    equal("ends with a whole event", text.ends_with("\n\n"), true)?;
    let mut said = Said { text: String::new(), finishes: 0, errors: Vec::new(), done: 0, ended: false };
    for event in text.split_terminator("\n\n") {
        let data = event.strip_prefix("data: ").ok_or_else(|| format!("no data in {event:?}"))?;
        if data == "[DONE]" {
            (said.done, said.ended) = (said.done + 1, true);
            continue;
        }
        let data: Value = serde_json::from_str(data).map_err(|error| format!("{error} in {event:?}"))?;
        if data["error"].is_object() {
            said.errors.push(data["error"]["message"].as_str().unwrap_or_default().to_owned());
            said.ended = true;
            continue;
        }
        equal("usage that nobody asked for", data["usage"].is_object(), false)?;
        let choice = &data["choices"][0];
        said.text += choice["delta"]["content"].as_str().unwrap_or_default();
        said.finishes += usize::from(choice["finish_reason"].is_string());
        said.ended = false;
    }
    Ok(said)
}

fn whole(answer: &Answer, text: &str, finishes: usize) -> Result<(), String> {
    let said = events(answer)?;
    equal("text", &*said.text, text)?;
    equal("errors", said.errors, Vec::new())?;
    equal("finish reasons", said.finishes, finishes)?;
    equal("[DONE]", (said.done, said.ended), (1, true))?;
    equal("whole", answer.whole, true)
}

fn broken(answer: &Answer, text: &str, told: &str) -> Result<(), String> {
    let said = events(answer)?;
    equal("text", &*said.text, text)?;
    equal("error events", said.errors.len(), 1)?;
    let message = &said.errors[0];
    equal("a message", !message.is_empty() && message.contains(told), true)?;
    equal("[DONE]", (said.done, said.ended), (0, true))?;
    equal("whole", answer.whole, false)
}

/// The series of each model.
type Models<'a> = HashMap<&'a str, Vec<(&'a str, f64)>>;

fn by_model(metrics: &HashMap<String, f64>) -> Models<'_> {
    let mut models = Models::new();
    for (series, value) in metrics {
        let label = ["{model=\"", ",model=\""].iter().find_map(|start| series.split_once(start));
        if let Some((model, _)) = label.and_then(|(_, rest)| rest.split_once('"')) {
            models.entry(model).or_default().push((series, *value));
        }
    }
    models
}

/// What the meter says of one target.
struct Counted<'a>(&'a [(&'a str, f64)]);

impl Counted<'_> {
    /// There is as much of it as expected, and all of it has that label.
    fn only(
        &self,
        name: &str,
        within: &[(&str, &str)],
        label: (&str, &str),
        count: u64,
    ) -> Result<(), String> {
        let these = [within, &[label]].concat();
        let seen = (self.sum(name, within), self.sum(name, &these));
        #[allow(clippy::cast_precision_loss)] // small counts
        let expected = count as f64;
        equal(&format!("{name} {within:?}, of which {label:?}"), seen, (expected, expected))
    }

    /// The sum of the series of a name that have all labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let fits = |series: &str| {
            series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
        };
        self.0.iter().filter(|(series, _)| fits(series)).fold(0.0, |sum, (_, value)| sum + value)
    }

    fn attempt(&self, outcome: &str, count: u64) -> Result<(), String> {
        self.only("tollgate_attempts_total", &[], ("outcome", outcome), count)
    }

    fn settled(&self, end: Option<&str>) -> Result<(), String> {
        let label = ("end", end.unwrap_or("none"));
        self.only("tollgate_settlements_total", &[], label, u64::from(end.is_some()))
    }

    fn tokens(&self, class: &str, from: From, stated: u64, counted: u64) -> Result<(), String> {
        let (label, count) = match from {
            From::None => ("none", 0),
            From::Provider => ("provider", stated),
            From::Estimated => ("estimated", counted),
            From::Partial => ("partial", counted),
        };
        self.only("tollgate_tokens_total", &[("class", class)], ("provenance", label), count)
    }
}

fn meter(case: &Case, models: &Models<'_>) -> Result<(), String> {
    let [faulty, healthy] = case.models();
    let expected = cell(case);
    let of = |model: &str| Counted(models.get(model).map(Vec::as_slice).unwrap_or_default());
    let first = of(&faulty);
    first.attempt(outcome(reason(case)), 1)?;
    first.settled(expected.end)?;
    let prompt = estimate::tokens(PROMPT) + estimate::prompt_overhead(1);
    first.tokens("input", expected.input, dialects::PROMPT, prompt)?;
    let answer = estimate::tokens(case.row.fault.said());
    first.tokens("output", expected.output, dialects::COMPLETION, answer)?;
    let limited = matches!(expected.client, Client::Passed(429));
    equal("cool-downs", first.sum("tollgate_cooldowns_total", &[]), f64::from(u8::from(limited)))?;
    let second = of(&healthy);
    let answered = (1, Some("complete"), From::Provider);
    let (count, end, from) = if case.rescued() { answered } else { (0, None, From::None) };
    second.attempt("ok", count)?;
    second.settled(end)?;
    second.tokens("input", from, dialects::PROMPT, 0)?;
    second.tokens("output", from, dialects::COMPLETION, 0)
}

/// How the attempt ended. In a row of breaks, a dialect that has its answer whole is well.
fn reason(case: &Case) -> &'static str {
    match cell(case).client {
        Client::Whole { .. } => "ok",
        _ => case.row.reason,
    }
}

fn outcome(reason: &'static str) -> &'static str {
    if reason.starts_with("http_5") { "http_5xx" } else { reason }
}

fn log(case: &Case, records: &[Value]) -> Result<(), String> {
    let of_case = |record: &&Value| record["route"]["name"] == case.name();
    let mut mine = records.iter().filter(of_case);
    let record = mine.next().ok_or("no record")?;
    equal("a second record", mine.next(), None)?;
    let tried = record["ai"]["proxy"]["tried_targets"].as_array().cloned().unwrap_or_default();
    let text = |tried: &Value, field: &str| tried[field].as_str().unwrap_or_default().to_owned();
    let tried: Vec<[String; 3]> =
        tried.iter().map(|one| ["provider", "model", "reason"].map(|field| text(one, field))).collect();
    let [faulty, healthy] = case.models();
    let one =
        |dialect: &Dialect, model, reason: &str| [dialect.provider.to_owned(), model, reason.to_owned()];
    let mut expected = Vec::new();
    if case.paired {
        expected.push(one(case.dialect(), faulty, reason(case)));
    }
    if case.rescued() {
        expected.push(one(case.other(), healthy, "ok"));
    }
    equal("tried_targets", tried, expected)
}
