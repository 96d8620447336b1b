//! Counting: the handles through which the hot path reaches the series.
//!
//! Kong's names and labels stay as they are, so that existing dashboards work; what Kong lacks is
//! under `tollgate_`. A handle is resolved when it is first needed and kept: counting is an atomic add.

pub mod merge;
mod series;

pub use series::{SERIES, Series};

use super::sum::Sum;
use super::tally::{CLASSES, Provenance, Tally};
use crate::error::Kind;
use once_cell::sync::OnceCell;
use prometheus::{Histogram, IntCounter};
use std::time::Duration;

/// Stands for a model that the client names: what a client sends never becomes a label.
pub const UNSPECIFIED: &str = "UNSPECIFIED";

/// Kong has no workspaces but this one without a database.
const WORKSPACE: &str = "default";

impl Series {
    /// Counts an error.
    pub fn error(&self, kind: Kind) {
        self.own.errors.with_label_values(&[kind.origin().label(), kind.label()]).inc();
    }

    /// Counts a connection that was closed before a request.
    pub fn refused(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Notes the gateway's own time for one exchange.
    pub fn overhead(&self, own: Duration) {
        self.own.overhead.observe(own.as_secs_f64() * 1e6);
    }
}

/// Which of Kong's series a `prometheus` plugin in scope switches on.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // Kong's own switches
pub struct Switches {
    /// `kong_http_requests_total`.
    pub status_code_metrics: bool,
    /// Kong's histograms of latency.
    pub latency_metrics: bool,
    /// `kong_bandwidth_bytes`.
    pub bandwidth_metrics: bool,
    /// Nothing here: there are no such series.
    pub upstream_health_metrics: bool,
    /// `kong_ai_llm_*`.
    pub ai_metrics: bool,
    /// Whether the series of requests name the consumer.
    pub per_consumer: bool,
}

/// The handles of one route.
pub struct RouteMetrics {
    service: String,
    route: String,
    kong: Histogram,
    upstream: Histogram,
    request: Histogram,
    /// The series of nearly every request: 200 from an upstream, no consumer.
    served: OnceCell<IntCounter>,
    /// Bytes in and out of requests without a consumer.
    passed: OnceCell<[IntCounter; 2]>,
}

/// What one request contributes to its route's series.
pub struct RouteSample<'a> {
    /// The answer's.
    pub status: u16,
    /// `service` if an upstream answered, `exit` if a plugin did, `error` if the gateway failed.
    pub source: &'a str,
    /// Who asked; empty if nobody knows.
    pub consumer: &'a str,
    /// The gateway's own part.
    pub own: Duration,
    /// The wait for the upstream; none if none was asked.
    pub upstream: Option<Duration>,
    /// From the head to the end.
    pub total: Duration,
    /// Bytes that came.
    pub ingress: u64,
    /// Bytes that went out.
    pub egress: u64,
}

impl RouteMetrics {
    /// The handles of a route.
    pub fn new(service: &str, route: &str) -> Self {
        let labels = [service, route, WORKSPACE];
        Self {
            service: service.to_owned(),
            route: route.to_owned(),
            kong: SERIES.http.kong_latency.with_label_values(&labels),
            upstream: SERIES.http.upstream_latency.with_label_values(&labels),
            request: SERIES.http.request_latency.with_label_values(&labels),
            served: OnceCell::new(),
            passed: OnceCell::new(),
        }
    }

    /// Counts a request, as far as the switches ask for it.
    pub fn count(&self, on: Switches, sample: &RouteSample<'_>) {
        let consumer = if on.per_consumer { sample.consumer } else { "" };
        if on.status_code_metrics {
            if (sample.status, sample.source, consumer) == (200, "service", "") {
                self.served.get_or_init(|| self.requests(sample, "")).inc();
            } else {
                self.requests(sample, consumer).inc();
            }
        }
        if on.latency_metrics {
            self.kong.observe(millis(sample.own));
            self.request.observe(millis(sample.total));
            if let Some(upstream) = sample.upstream {
                self.upstream.observe(millis(upstream));
            }
        }
        if on.bandwidth_metrics {
            let of = |direction| self.bandwidth(direction, consumer);
            let own;
            let [ingress, egress] = if consumer.is_empty() {
                self.passed.get_or_init(|| [of("ingress"), of("egress")])
            } else {
                own = [of("ingress"), of("egress")];
                &own
            };
            ingress.inc_by(sample.ingress);
            egress.inc_by(sample.egress);
        }
    }

    fn bandwidth(&self, direction: &str, consumer: &str) -> IntCounter {
        let labels = [&*self.service, &*self.route, direction, WORKSPACE, consumer];
        SERIES.http.bandwidth.with_label_values(&labels)
    }

    fn requests(&self, sample: &RouteSample<'_>, consumer: &str) -> IntCounter {
        let mut buffer = itoa::Buffer::new();
        let code = buffer.format(sample.status);
        let labels = [&*self.service, &*self.route, code, sample.source, WORKSPACE, consumer];
        SERIES.http.requests.with_label_values(&labels)
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// How an exchange with a provider ended; the `end` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer arrived.
    Complete,
    /// The provider refused: a status other than 200, or no answer at all.
    Refused,
    /// The answer broke off.
    Broken,
    /// The client hung up before the end.
    ClientGone,
}

impl Ending {
    fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::ClientGone => "client_gone",
        }
    }
}

/// How long things took, for a settlement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From sending the request to the whole answer (of a stream: to its head, as Kong has it).
    pub provider: Duration,
    /// Until the model said something.
    pub first_token: Option<Duration>,
    /// From the first event of a stream to its end.
    pub rest: Option<Duration>,
}

/// The handles of one target.
pub struct TargetMetrics {
    provider: &'static str,
    model: String,
    cost: Sum,
    first_token: Histogram,
    per_token: Histogram,
    completed: OnceCell<IntCounter>,
    answered: OnceCell<IntCounter>,
    tokens: [[OnceCell<IntCounter>; 3]; 5],
    kong: OnceCell<Kong>,
}

/// Kong's series of a target; they exist only once they are asked for.
struct Kong {
    requests: IntCounter,
    cost: Sum,
    latency: Histogram,
    tokens: [IntCounter; 3],
}

/// The outcome of an attempt that brought a good answer.
pub const ANSWERED: &str = "ok";

/// The outcome of an attempt by its status and by how its answer ended.
pub fn outcome(status: u16, ending: Ending) -> &'static str {
    match status {
        200..=299 if ending == Ending::Broken => "broken",
        200..=299 => ANSWERED,
        429 => "http_429",
        400..=499 => "http_4xx",
        _ => "http_5xx",
    }
}

impl TargetMetrics {
    /// The handles of a target. `model` must come from the configuration.
    pub fn new(provider: &'static str, model: Option<&str>) -> Self {
        let model = model.unwrap_or(UNSPECIFIED);
        let labels = [provider, model];
        Self {
            provider,
            model: model.to_owned(),
            cost: Sum::of("tollgate_cost_total", &SERIES.own.cost, &labels),
            first_token: SERIES.own.first_token.with_label_values(&labels),
            per_token: SERIES.own.per_token.with_label_values(&labels),
            completed: OnceCell::new(),
            answered: OnceCell::new(),
            tokens: Default::default(),
            kong: OnceCell::new(),
        }
    }

    /// The label.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Counts one try of the upstream.
    pub fn attempt(&self, outcome: &str) {
        let resolve = || SERIES.own.attempts.with_label_values(&[self.provider, &self.model, outcome]);
        if outcome == ANSWERED { self.answered.get_or_init(resolve).inc() } else { resolve().inc() }
    }

    /// Counts a refusal after which the target's quota is left alone for a while.
    pub fn cooled(&self) {
        SERIES.own.cooldowns.with_label_values(&[self.provider, self.model.as_str()]).inc();
    }

    /// Counts a settled exchange. `kong`: whether Kong's own series are asked for.
    pub fn settle(&self, ending: Ending, tally: Option<&Tally>, times: Times, kong: bool) {
        let resolve =
            || SERIES.own.settlements.with_label_values(&[self.provider, &self.model, ending.label()]);
        if ending == Ending::Complete {
            self.completed.get_or_init(resolve).inc();
        } else {
            resolve().inc();
        }
        if let Some(first) = times.first_token {
            self.first_token.observe(first.as_secs_f64());
        }
        if let Some(tally) = tally {
            self.count(tally, times);
        }
        if kong {
            self.kong.get_or_init(|| Kong::new(self.provider, &self.model)).settle(tally, times);
        }
    }

    fn count(&self, tally: &Tally, times: Times) {
        for (index, ((class, tokens), cells)) in
            CLASSES.iter().zip(tally.classes()).zip(&self.tokens).enumerate()
        {
            let from = if index < 3 { tally.prompt.from } else { tally.completion.from };
            if let Some(cell) = cells.get(from as usize).filter(|_| tokens > 0) {
                cell.get_or_init(|| self.tokens(class, from)).inc_by(tokens);
            }
        }
        match tally.cost {
            Some(cost) => self.cost.add(cost),
            None => SERIES.own.unpriced.with_label_values(&[self.provider, self.model.as_str()]).inc(),
        }
        if let (Some(rest), 2..) = (times.rest, tally.completion.tokens) {
            #[allow(clippy::cast_precision_loss)] // token counts are far below 2^52
            self.per_token.observe(rest.as_secs_f64() / (tally.completion.tokens - 1) as f64);
        }
    }

    fn tokens(&self, class: &str, from: Provenance) -> IntCounter {
        SERIES.own.tokens.with_label_values(&[self.provider, &self.model, class, from.label()])
    }
}

impl Kong {
    fn new(provider: &str, model: &str) -> Self {
        let labels = [provider, model, "", "", "", "", WORKSPACE];
        let of = |class| [provider, model, "", "", "", "", class, WORKSPACE];
        let tokens = |class| SERIES.ai.tokens.with_label_values(&of(class));
        Self {
            requests: SERIES.ai.requests.with_label_values(&labels),
            cost: Sum::of("kong_ai_llm_cost_total", &SERIES.ai.cost, &labels),
            latency: SERIES.ai.latency.with_label_values(&labels),
            tokens: [tokens("prompt_tokens"), tokens("completion_tokens"), tokens("total_tokens")],
        }
    }

    fn settle(&self, tally: Option<&Tally>, times: Times) {
        self.requests.inc();
        self.latency.observe(millis(times.provider));
        let Some(tally) = tally else { return };
        let [prompt, completion, total] = &self.tokens;
        prompt.inc_by(tally.prompt.tokens);
        completion.inc_by(tally.completion.tokens);
        total.inc_by(tally.total());
        self.cost.add(tally.cost.unwrap_or_default());
    }
}

#[cfg(test)]
pub(super) mod tests;
