//! Every series, declared once, and the handles through which the hot path counts.
//!
//! Kong's names and labels stay as they are, so that existing dashboards work; what Kong lacks is
//! under `tollgate_`. Handles are resolved when a configuration is loaded: counting is an atomic add.

use super::tally::{CLASSES, Provenance, Tally};
use crate::error::Kind;
use once_cell::sync::Lazy;
use prometheus::{
    Counter, CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
};
use std::time::Duration;

/// Stands for a model that the client names: what a client sends never becomes a label.
pub const UNSPECIFIED: &str = "UNSPECIFIED";

const LATENCY_MS: &[f64] = &[
    25.0, 50.0, 80.0, 100.0, 250.0, 400.0, 700.0, 1000.0, 2000.0, 5000.0, 10000.0, 30000.0, 60000.0,
];
const KONG_MS: &[f64] = &[
    1.0, 2.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 200.0, 500.0, 750.0, 1000.0, 3000.0, 6000.0,
];
const PROVIDER_MS: &[f64] = &[
    250.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0, 3500.0, 4000.0, 4500.0, 5000.0, 10000.0, 30000.0,
    60000.0,
];
const FIRST_TOKEN_S: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const PER_TOKEN_S: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
const OVERHEAD_US: &[f64] = &[10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 5000.0, 25000.0];

const AI: &[&str] = &[
    "ai_provider",
    "ai_model",
    "cache_status",
    "vector_db",
    "embeddings_provider",
    "embeddings_model",
    "workspace",
];
const AI_TOKENS: &[&str] = &[
    "ai_provider",
    "ai_model",
    "cache_status",
    "vector_db",
    "embeddings_provider",
    "embeddings_model",
    "token_type",
    "workspace",
];
const TARGET: &[&str] = &["provider", "model"];
const ROUTE: &[&str] = &["service", "route", "workspace"];

/// All series of the process.
pub struct Series {
    registry: Registry,
    requests: IntCounterVec,
    kong_latency: HistogramVec,
    upstream_latency: HistogramVec,
    request_latency: HistogramVec,
    bandwidth: IntCounterVec,
    ai_requests: IntCounterVec,
    ai_cost: CounterVec,
    ai_tokens: IntCounterVec,
    ai_latency: HistogramVec,
    tokens: IntCounterVec,
    cost: CounterVec,
    unpriced: IntCounterVec,
    settlements: IntCounterVec,
    attempts: IntCounterVec,
    first_token: HistogramVec,
    per_token: HistogramVec,
    overhead: Histogram,
    errors: IntCounterVec,
    /// Reloads by result.
    pub reloads: IntCounterVec,
    /// Exchanges under way.
    pub in_flight: IntGauge,
    /// Log records that a full queue turned away.
    pub log_dropped: IntGauge,
}

/// The process's series.
pub static SERIES: Lazy<Series> = Lazy::new(Series::declare);

#[allow(clippy::expect_used)] // the names below are constants: a wrong one fails the first test
impl Series {
    fn declare() -> Self {
        let registry = Registry::new();
        let ints = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name");
            registry.register(Box::new(vec.clone())).expect("declared once");
            vec
        };
        let floats = |name: &str, help: &str, labels: &[&str]| {
            let vec = CounterVec::new(Opts::new(name, help), labels).expect("a valid name");
            registry.register(Box::new(vec.clone())).expect("declared once");
            vec
        };
        let hist = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let vec = HistogramVec::new(opts, labels).expect("a valid name");
            registry.register(Box::new(vec.clone())).expect("declared once");
            vec
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("a valid name");
            registry.register(Box::new(gauge.clone())).expect("declared once");
            gauge
        };
        let overhead = hist(
            "tollgate_overhead_us",
            "Time the gateway itself took for an exchange, in microseconds",
            &[],
            OVERHEAD_US,
        );
        let node = ints("kong_node_info", "Kong node metadata information", &["node_id", "version"]);
        node.with_label_values(&[&*node_id(), env!("CARGO_PKG_VERSION")]).inc();
        gauge("kong_datastore_reachable", "Datastore reachable, 0 is unreachable").set(1);
        Self {
            requests: ints(
                "kong_http_requests_total",
                "HTTP status codes per consumer/service/route in Kong",
                &["service", "route", "code", "source", "workspace", "consumer"],
            ),
            kong_latency: hist(
                "kong_kong_latency_ms",
                "Latency added by Kong and enabled plugins for each service/route in Kong",
                ROUTE,
                KONG_MS,
            ),
            upstream_latency: hist(
                "kong_upstream_latency_ms",
                "Latency added by upstream response for each service/route in Kong",
                ROUTE,
                LATENCY_MS,
            ),
            request_latency: hist(
                "kong_request_latency_ms",
                "Total latency incurred during requests for each service/route in Kong",
                ROUTE,
                LATENCY_MS,
            ),
            bandwidth: ints(
                "kong_bandwidth_bytes",
                "Total bandwidth (ingress/egress) throughput in bytes",
                &["service", "route", "direction", "workspace", "consumer"],
            ),
            ai_requests: ints("kong_ai_llm_requests_total", "AI requests total per ai_provider in Kong", AI),
            ai_cost: floats("kong_ai_llm_cost_total", "AI requests cost per ai_provider/cache in Kong", AI),
            ai_tokens: ints(
                "kong_ai_llm_tokens_total",
                "AI tokens total per ai_provider/cache in Kong",
                AI_TOKENS,
            ),
            ai_latency: hist(
                "kong_ai_llm_provider_latency_ms",
                "AI latencies per ai_provider in Kong",
                AI,
                PROVIDER_MS,
            ),
            tokens: ints(
                "tollgate_tokens_total",
                "Tokens by disjoint class and by where the count comes from",
                &["provider", "model", "class", "provenance"],
            ),
            cost: floats("tollgate_cost_total", "Cost of all priced exchanges", TARGET),
            unpriced: ints("tollgate_unpriced_total", "Exchanges of targets without a price", TARGET),
            settlements: ints(
                "tollgate_settlements_total",
                "Exchanges that reached a provider, by how their answer ended",
                &["provider", "model", "end"],
            ),
            attempts: ints(
                "tollgate_attempts_total",
                "Tries of an upstream by outcome",
                &["provider", "model", "outcome"],
            ),
            first_token: hist(
                "tollgate_time_to_first_token_seconds",
                "From the request's arrival to the first event of a stream",
                TARGET,
                FIRST_TOKEN_S,
            ),
            per_token: hist(
                "tollgate_time_per_output_token_seconds",
                "Time between tokens of a stream after its first event",
                TARGET,
                PER_TOKEN_S,
            ),
            overhead: overhead.with_label_values::<&str>(&[]),
            errors: ints("tollgate_errors_total", "Errors by origin and kind", &["origin", "kind"]),
            reloads: ints("tollgate_config_reloads_total", "Reloads of the configuration", &["result"]),
            in_flight: gauge("tollgate_exchanges_in_flight", "Exchanges under way"),
            log_dropped: gauge("tollgate_log_records_dropped", "Log records that a full queue turned away"),
            registry,
        }
    }

    /// The exposition text.
    pub fn render(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// Counts an error.
    pub fn error(&self, kind: Kind) {
        self.errors.with_label_values(&[kind.origin().label(), kind.label()]).inc();
    }

    /// Notes the gateway's own time for one exchange.
    pub fn overhead(&self, own: Duration) {
        self.overhead.observe(own.as_secs_f64() * 1e6);
    }
}

fn node_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Which of Kong's series a `prometheus` plugin in scope switches on.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // Kong's own switches
pub struct Switches {
    pub status_code_metrics: bool,
    pub latency_metrics: bool,
    pub bandwidth_metrics: bool,
    pub upstream_health_metrics: bool,
    pub ai_metrics: bool,
    pub per_consumer: bool,
}

/// The handles of one route.
pub struct RouteMetrics {
    service: String,
    route: String,
    kong: Histogram,
    upstream: Histogram,
    request: Histogram,
}

/// What one request contributes to its route's series.
pub struct RouteSample<'a> {
    pub status: u16,
    /// `service` if an upstream answered, `exit` if a plugin did, `error` if the gateway failed.
    pub source: &'a str,
    pub consumer: &'a str,
    pub own: Duration,
    pub upstream: Option<Duration>,
    pub total: Duration,
    pub ingress: u64,
    pub egress: u64,
}

impl RouteMetrics {
    /// Resolves the handles.
    pub fn new(service: &str, route: &str) -> Self {
        let labels = [service, route, "default"];
        Self {
            service: service.to_owned(),
            route: route.to_owned(),
            kong: SERIES.kong_latency.with_label_values(&labels),
            upstream: SERIES.upstream_latency.with_label_values(&labels),
            request: SERIES.request_latency.with_label_values(&labels),
        }
    }

    /// Counts a request, as far as the switches ask for it.
    pub fn count(&self, on: Switches, sample: &RouteSample<'_>) {
        let consumer = if on.per_consumer { sample.consumer } else { "" };
        let (service, route) = (self.service.as_str(), self.route.as_str());
        if on.status_code_metrics {
            let mut buffer = itoa::Buffer::new();
            let code = buffer.format(sample.status);
            SERIES
                .requests
                .with_label_values(&[service, route, code, sample.source, "default", consumer])
                .inc();
        }
        if on.latency_metrics {
            self.kong.observe(millis(sample.own));
            self.request.observe(millis(sample.total));
            if let Some(upstream) = sample.upstream {
                self.upstream.observe(millis(upstream));
            }
        }
        if on.bandwidth_metrics {
            for (direction, bytes) in [("ingress", sample.ingress), ("egress", sample.egress)] {
                SERIES
                    .bandwidth
                    .with_label_values(&[service, route, direction, "default", consumer])
                    .inc_by(bytes);
            }
        }
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
    /// The provider refused: a status other than 200.
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

/// The handles of one target.
pub struct TargetMetrics {
    provider: &'static str,
    model: String,
    cost: Counter,
    first_token: Histogram,
    per_token: Histogram,
}

/// How long things took, for a settlement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From sending the request to the whole answer (of a stream: to its head, as Kong has it).
    pub provider: Duration,
    pub first_token: Option<Duration>,
    /// From the first event of a stream to its end.
    pub rest: Option<Duration>,
}

impl TargetMetrics {
    /// Resolves the handles. `model` must come from the configuration.
    pub fn new(provider: &'static str, model: Option<&str>) -> Self {
        let model = model.unwrap_or(UNSPECIFIED);
        let labels = [provider, model];
        Self {
            provider,
            model: model.to_owned(),
            cost: SERIES.cost.with_label_values(&labels),
            first_token: SERIES.first_token.with_label_values(&labels),
            per_token: SERIES.per_token.with_label_values(&labels),
        }
    }

    /// Counts one try of the upstream.
    pub fn attempt(&self, outcome: &str) {
        SERIES.attempts.with_label_values(&[self.provider, &self.model, outcome]).inc();
    }

    /// Counts a settled exchange. `kong`: whether Kong's own series are asked for.
    pub fn settle(&self, ending: Ending, tally: Option<&Tally>, times: Times, kong: bool) {
        let labels = [self.provider, self.model.as_str()];
        SERIES.settlements.with_label_values(&[self.provider, &self.model, ending.label()]).inc();
        if let Some(first) = times.first_token {
            self.first_token.observe(first.as_secs_f64());
        }
        if let Some(tally) = tally {
            self.count_tokens(tally);
            match tally.cost {
                Some(cost) => self.cost.inc_by(cost.as_f64()),
                None => SERIES.unpriced.with_label_values(&labels).inc(),
            }
            if let (Some(rest), true) = (times.rest, tally.completion.tokens > 1) {
                #[allow(clippy::cast_precision_loss)] // token counts are far below 2^52
                self.per_token.observe(rest.as_secs_f64() / (tally.completion.tokens - 1) as f64);
            }
        }
        if kong {
            self.settle_kong(tally, times);
        }
    }

    fn count_tokens(&self, tally: &Tally) {
        for (index, (class, tokens)) in CLASSES.iter().zip(tally.classes()).enumerate() {
            if tokens > 0 {
                let from: Provenance = if index < 3 { tally.prompt.from } else { tally.completion.from };
                SERIES
                    .tokens
                    .with_label_values(&[self.provider, &self.model, class, from.label()])
                    .inc_by(tokens);
            }
        }
    }

    fn settle_kong(&self, tally: Option<&Tally>, times: Times) {
        let labels = [self.provider, &self.model, "", "", "", "", "default"];
        SERIES.ai_requests.with_label_values(&labels).inc();
        SERIES.ai_latency.with_label_values(&labels).observe(millis(times.provider));
        let Some(tally) = tally else { return };
        SERIES
            .ai_cost
            .with_label_values(&labels)
            .inc_by(tally.cost.map_or(0.0, super::cost::Amount::as_f64));
        let counts = [
            ("prompt_tokens", tally.prompt.tokens),
            ("completion_tokens", tally.completion.tokens),
            ("total_tokens", tally.total()),
        ];
        for (class, tokens) in counts {
            SERIES
                .ai_tokens
                .with_label_values(&[self.provider, &self.model, "", "", "", "", class, "default"])
                .inc_by(tokens);
        }
    }
}
