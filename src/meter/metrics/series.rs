//! Every series of the process, declared once.

use once_cell::sync::Lazy;
use prometheus::core::Collector;
use prometheus::{
    CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

const LATENCY_MS: &[f64] =
    &[25.0, 50.0, 80.0, 100.0, 250.0, 400.0, 700.0, 1000.0, 2000.0, 5000.0, 10000.0, 30000.0, 60000.0];
const KONG_MS: &[f64] = &[
    1.0, 2.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 200.0, 500.0, 750.0, 1000.0, 3000.0,
    6000.0,
];
const PROVIDER_MS: &[f64] = &[
    250.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0, 3500.0, 4000.0, 4500.0, 5000.0, 10000.0, 30000.0,
    60000.0,
];
const FIRST_TOKEN_S: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const PER_TOKEN_S: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
const OVERHEAD_US: &[f64] =
    &[10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 5000.0, 25000.0];

const ROUTE: &[&str] = &["service", "route", "workspace"];
const TARGET: &[&str] = &["provider", "model"];
const AI: [&str; 7] = [
    "ai_provider",
    "ai_model",
    "cache_status",
    "vector_db",
    "embeddings_provider",
    "embeddings_model",
    "workspace",
];

/// All series.
pub struct Series {
    registry: Registry,
    pub(super) http: Http,
    pub(super) ai: Ai,
    pub(super) own: Own,
    /// Reloads of the configuration, by result.
    pub reloads: IntCounterVec,
    /// Prompts that a plugin refused, by plugin.
    pub blocked: IntCounterVec,
    /// What each target is, by plugin instance and place.
    pub target_state: IntGaugeVec,
    /// Whether the store of the configuration answers.
    pub datastore: IntGauge,
    /// Exchanges that began.
    pub begun: IntCounter,
    /// Exchanges under way.
    pub in_flight: IntGauge,
    /// Clients' connections that are open.
    pub connections: IntGauge,
    pub(super) refused: IntCounterVec,
    /// Log records that a full queue turned away.
    pub log_dropped: IntGauge,
}

/// Kong's series of all requests.
pub(super) struct Http {
    /// `kong_http_requests_total`.
    pub requests: IntCounterVec,
    /// `kong_kong_latency_ms`.
    pub kong_latency: HistogramVec,
    /// `kong_upstream_latency_ms`.
    pub upstream_latency: HistogramVec,
    /// `kong_request_latency_ms`.
    pub request_latency: HistogramVec,
    /// `kong_bandwidth_bytes`.
    pub bandwidth: IntCounterVec,
}

/// Kong's series of AI exchanges.
pub(super) struct Ai {
    /// `kong_ai_llm_requests_total`.
    pub requests: IntCounterVec,
    /// `kong_ai_llm_cost_total`.
    pub cost: CounterVec,
    /// `kong_ai_llm_tokens_total`.
    pub tokens: IntCounterVec,
    /// `kong_ai_llm_provider_latency_ms`.
    pub latency: HistogramVec,
}

/// What Kong lacks.
pub(super) struct Own {
    /// `tollgate_tokens_total`.
    pub tokens: IntCounterVec,
    /// `tollgate_cost_total`.
    pub cost: CounterVec,
    /// `tollgate_unpriced_total`.
    pub unpriced: IntCounterVec,
    /// `tollgate_settlements_total`.
    pub settlements: IntCounterVec,
    /// `tollgate_attempts_total`.
    pub attempts: IntCounterVec,
    /// `tollgate_cooldowns_total`.
    pub cooldowns: IntCounterVec,
    /// `tollgate_time_to_first_token_seconds`.
    pub first_token: HistogramVec,
    /// `tollgate_time_per_output_token_seconds`.
    pub per_token: HistogramVec,
    /// `tollgate_overhead_us`.
    pub overhead: Histogram,
    /// `tollgate_errors_total`.
    pub errors: IntCounterVec,
}

/// The process's series.
pub static SERIES: Lazy<Series> = Lazy::new(Series::declare);

impl Series {
    fn declare() -> Self {
        let registry = Registry::new();
        let to = Declarer(&registry);
        let node = to.counts("kong_node_info", "Kong node metadata information", &["node_id", "version"]);
        let node_id = crate::node::ID.to_string();
        node.with_label_values(&[node_id.as_str(), env!("CARGO_PKG_VERSION")]).inc();
        let datastore = to.gauge("kong_datastore_reachable", "Datastore reachable, 0 is unreachable");
        datastore.set(1);
        Self {
            http: Http::declare(&to),
            ai: Ai::declare(&to),
            own: Own::declare(&to),
            reloads: to.counts("tollgate_config_reloads_total", "Reloads of the configuration", &["result"]),
            blocked: to.counts("tollgate_blocked_total", "Prompts that a plugin refused", &["plugin"]),
            target_state: to.gauges(
                "tollgate_target_state",
                "0 healthy, 1 on trial, 2 out after failures, 3 cooling down",
                &["plugin", "target", "provider", "model"],
            ),
            datastore,
            begun: to.count("tollgate_exchanges_total", "Exchanges that began"),
            in_flight: to.gauge("tollgate_exchanges_in_flight", "Exchanges under way"),
            connections: to.gauge("tollgate_connections", "Clients' connections that are open"),
            refused: to.counts(
                "tollgate_connections_refused_total",
                "Connections that were closed before a request",
                &["reason"],
            ),
            log_dropped: to
                .gauge("tollgate_log_records_dropped", "Log records that a full queue turned away"),
            registry,
        }
    }

    /// The exposition text.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl Http {
    fn declare(to: &Declarer<'_>) -> Self {
        Self {
            requests: to.counts(
                "kong_http_requests_total",
                "HTTP status codes per consumer/service/route in Kong",
                &["service", "route", "code", "source", "workspace", "consumer"],
            ),
            kong_latency: to.times(
                "kong_kong_latency_ms",
                "Latency added by Kong and enabled plugins for each service/route in Kong",
                ROUTE,
                KONG_MS,
            ),
            upstream_latency: to.times(
                "kong_upstream_latency_ms",
                "Latency added by upstream response for each service/route in Kong",
                ROUTE,
                LATENCY_MS,
            ),
            request_latency: to.times(
                "kong_request_latency_ms",
                "Total latency incurred during requests for each service/route in Kong",
                ROUTE,
                LATENCY_MS,
            ),
            bandwidth: to.counts(
                "kong_bandwidth_bytes",
                "Total bandwidth (ingress/egress) throughput in bytes",
                &["service", "route", "direction", "workspace", "consumer"],
            ),
        }
    }
}

impl Ai {
    fn declare(to: &Declarer<'_>) -> Self {
        let [provider, model, cache, store, embedder, embedding, workspace] = AI;
        let with_type = [provider, model, cache, store, embedder, embedding, "token_type", workspace];
        Self {
            requests: to.counts(
                "kong_ai_llm_requests_total",
                "AI requests total per ai_provider in Kong",
                &AI,
            ),
            cost: to.sums("kong_ai_llm_cost_total", "AI requests cost per ai_provider/cache in Kong", &AI),
            tokens: to.counts(
                "kong_ai_llm_tokens_total",
                "AI requests cost per ai_provider/cache in Kong",
                &with_type,
            ),
            latency: to.times(
                "kong_ai_llm_provider_latency_ms",
                "AI call latency per ai_provider in Kong",
                &AI,
                PROVIDER_MS,
            ),
        }
    }
}

impl Own {
    fn declare(to: &Declarer<'_>) -> Self {
        let overhead = "Time the gateway itself took for an exchange, in microseconds";
        Self {
            tokens: to.counts(
                "tollgate_tokens_total",
                "Tokens by disjoint class and by where the count comes from",
                &["provider", "model", "class", "provenance"],
            ),
            cost: to.sums("tollgate_cost_total", "Cost of all priced exchanges", TARGET),
            unpriced: to.counts("tollgate_unpriced_total", "Exchanges of targets without a price", TARGET),
            settlements: to.counts(
                "tollgate_settlements_total",
                "Exchanges that reached a provider, by how their answer ended",
                &["provider", "model", "end"],
            ),
            attempts: to.counts(
                "tollgate_attempts_total",
                "Tries of an upstream by outcome",
                &["provider", "model", "outcome"],
            ),
            cooldowns: to.counts(
                "tollgate_cooldowns_total",
                "Refusals after which a provider's quota was left alone for a while",
                TARGET,
            ),
            first_token: to.times(
                "tollgate_time_to_first_token_seconds",
                "From the request's arrival to the first event of a stream",
                TARGET,
                FIRST_TOKEN_S,
            ),
            per_token: to.times(
                "tollgate_time_per_output_token_seconds",
                "Time between tokens of a stream after its first event",
                TARGET,
                PER_TOKEN_S,
            ),
            overhead: to
                .times("tollgate_overhead_us", overhead, &[], OVERHEAD_US)
                .with_label_values::<&str>(&[]),
            errors: to.counts("tollgate_errors_total", "Errors by origin and kind", &["origin", "kind"]),
        }
    }
}

/// Makes series and registers them.
struct Declarer<'a>(&'a Registry);

#[allow(clippy::expect_used)] // names and labels are the constants above: a wrong one fails the first test
impl Declarer<'_> {
    fn known<T: Collector + Clone + 'static>(&self, made: prometheus::Result<T>) -> T {
        let made = made.expect("a valid name and labels");
        self.0.register(Box::new(made.clone())).expect("declared once");
        made
    }

    fn counts(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.known(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn sums(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.known(CounterVec::new(Opts::new(name, help), labels))
    }

    fn times(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.known(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.known(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn count(&self, name: &str, help: &str) -> IntCounter {
        self.known(IntCounter::new(name, help))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.known(IntGauge::new(name, help))
    }
}
