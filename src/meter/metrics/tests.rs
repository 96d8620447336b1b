use super::*;
use crate::meter::cost::Price;
use crate::wire::usage::Usage;

/// The sum of the samples of that name which have all these label values. Each test has a model, or a route, of
/// its own, because the series are those of the whole process.
pub(in crate::meter) fn scraped(name: &str, labels: &[&str]) -> f64 {
    let text = SERIES.render();
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let wanted = |series: &str| {
        series.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
            && labels.iter().all(|label| series.contains(&format!("=\"{label}\"")))
    };
    samples.filter(|(series, _)| wanted(series)).map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

#[track_caller]
pub(in crate::meter) fn assert_near(value: f64, theory: f64) {
    assert!((value - theory).abs() <= theory.abs() * 1e-9, "{value} is not {theory}");
}

const ALL: Switches = Switches {
    status_code_metrics: true,
    latency_metrics: true,
    bandwidth_metrics: true,
    upstream_health_metrics: true,
    ai_metrics: true,
    per_consumer: true,
};

fn sample(status: u16, source: &'static str, consumer: &'static str) -> RouteSample<'static> {
    RouteSample {
        status,
        source,
        consumer,
        own: Duration::from_micros(1_500),
        upstream: Some(Duration::from_millis(20)),
        total: Duration::from_millis(22),
        ingress: 100,
        egress: 1_000,
    }
}

#[test]
fn a_request_counts_under_its_status_source_and_consumer() {
    let metrics = RouteMetrics::new("s", "route-of-counts");
    for sample in [
        sample(200, "service", ""),
        sample(200, "service", "alice"),
        sample(200, "exit", ""),
        sample(429, "exit", ""),
        sample(200, "service", ""),
    ] {
        metrics.count(ALL, &sample);
    }
    let requests = |labels: &[&str]| {
        scraped("kong_http_requests_total", &[labels, &["s", "route-of-counts", "default"]].concat())
    };
    assert_near(requests(&[]), 5.0);
    assert_near(requests(&["200", "service", ""]), 2.0);
    assert_near(requests(&["200", "service", "alice"]), 1.0);
    assert_near(requests(&["200", "exit", ""]), 1.0);
    assert_near(requests(&["429", "exit"]), 1.0);
    let bytes = |labels: &[&str]| scraped("kong_bandwidth_bytes", &[labels, &["route-of-counts"]].concat());
    assert_near(bytes(&["ingress", "alice"]), 100.0);
    assert_near(bytes(&["egress", "alice"]), 1_000.0);
    assert_near(bytes(&["ingress"]), 500.0);
    assert_near(bytes(&["egress"]), 5_000.0);
}

#[test]
fn latencies_are_milliseconds_and_switches_are_obeyed() {
    let metrics = RouteMetrics::new("s", "route-of-latencies");
    metrics.count(ALL, &sample(200, "service", "bob"));
    metrics.count(ALL, &RouteSample { upstream: None, ..sample(200, "exit", "") });
    metrics.count(Switches::default(), &sample(200, "service", ""));
    let of = |name| scraped(name, &["route-of-latencies"]);
    assert_near(of("kong_kong_latency_ms_sum"), 3.0);
    assert_near(of("kong_request_latency_ms_sum"), 44.0);
    assert_near(of("kong_upstream_latency_ms_sum"), 20.0);
    assert_near(of("kong_upstream_latency_ms_count"), 1.0);
    assert_near(of("kong_http_requests_total"), 2.0);
    metrics.count(Switches { per_consumer: false, ..ALL }, &sample(200, "service", "bob"));
    assert_near(scraped("kong_http_requests_total", &["route-of-latencies", "bob"]), 1.0);
}

#[test]
fn the_gateways_own_time_is_in_microseconds() {
    let before = SERIES.own.overhead.get_sample_sum();
    SERIES.overhead(Duration::from_hours(1));
    // Others may add theirs meanwhile, but no hours.
    let added = SERIES.own.overhead.get_sample_sum() - before;
    assert!((3.6e9..3.7e9).contains(&added), "{added}");
}

#[test]
fn an_attempt_is_named_by_its_status_and_its_end() {
    for (status, ending, name) in [
        (200, Ending::Complete, "ok"),
        (201, Ending::ClientGone, "ok"),
        (299, Ending::Broken, "broken"),
        (429, Ending::Broken, "http_429"),
        (400, Ending::Refused, "http_4xx"),
        (499, Ending::Refused, "http_4xx"),
        (500, Ending::Refused, "http_5xx"),
        (302, Ending::Refused, "http_5xx"),
    ] {
        assert_eq!(outcome(status, ending), name, "{status} {ending:?}");
    }
    let metrics = TargetMetrics::new("openai", Some("model-of-attempts"));
    assert_eq!(metrics.model(), "model-of-attempts");
    for outcome in ["ok", "broken", "ok", "ok"] {
        metrics.attempt(outcome);
    }
    let attempts = |outcome| scraped("tollgate_attempts_total", &["model-of-attempts", outcome]);
    assert_near(attempts("ok"), 3.0);
    assert_near(attempts("broken"), 1.0);
}

#[test]
fn a_settlement_counts_tokens_by_class_money_and_times() {
    let metrics = TargetMetrics::new("openai", Some("model-of-tokens"));
    let usage = Usage {
        prompt: Some(100),
        cached: Some(60),
        cache_write: Some(10),
        reasoning: Some(20),
        ..Usage::default()
    };
    let tally = Tally::settle(&usage, false, Price::new(Some(1.0), Some(2.0)), || 0, || 51);
    let times = Times {
        provider: Duration::from_millis(1_250),
        first_token: Some(Duration::from_millis(500)),
        rest: Some(Duration::from_secs(5)),
    };
    metrics.settle(Ending::Complete, Some(&tally), times, true);
    metrics.settle(Ending::ClientGone, None, Times::default(), false);
    let of = |name: &str, labels: &[&str]| scraped(name, &[labels, &["openai", "model-of-tokens"]].concat());
    for (class, from, tokens) in [
        ("input", "provider", 30.0),
        ("cached_input", "provider", 60.0),
        ("cache_write", "provider", 10.0),
        ("output", "estimated", 31.0),
        ("reasoning", "estimated", 20.0),
    ] {
        assert_near(of("tollgate_tokens_total", &[class, from]), tokens);
    }
    assert_near(of("tollgate_tokens_total", &[]), 151.0);
    assert_near(of("tollgate_settlements_total", &["complete"]), 1.0);
    assert_near(of("tollgate_settlements_total", &["client_gone"]), 1.0);
    assert_near(of("tollgate_cost_total", &[]), 202e-6);
    assert_near(of("tollgate_time_to_first_token_seconds_sum", &[]), 0.5);
    assert_near(of("tollgate_time_per_output_token_seconds_sum", &[]), 0.1);
    assert_near(of("kong_ai_llm_requests_total", &[]), 1.0);
    assert_near(of("kong_ai_llm_tokens_total", &["prompt_tokens"]), 100.0);
    assert_near(of("kong_ai_llm_tokens_total", &["completion_tokens"]), 51.0);
    assert_near(of("kong_ai_llm_tokens_total", &["total_tokens"]), 151.0);
    assert_near(of("kong_ai_llm_cost_total", &[]), 202e-6);
    assert_near(of("kong_ai_llm_provider_latency_ms_sum", &[]), 1_250.0);
}

#[test]
fn what_has_no_price_is_counted_as_such_and_one_token_has_no_pace() {
    let metrics = TargetMetrics::new("openai", Some("model-without-price"));
    let tally = Tally::settle(&Usage::default(), true, None, || 0, || 1);
    let times = Times { rest: Some(Duration::from_secs(5)), ..Times::default() };
    metrics.settle(Ending::Broken, Some(&tally), times, false);
    metrics.cooled();
    let of = |name: &str, labels: &[&str]| scraped(name, &[labels, &["model-without-price"]].concat());
    assert_near(of("tollgate_unpriced_total", &[]), 1.0);
    assert_near(of("tollgate_settlements_total", &["broken"]), 1.0);
    assert_near(of("tollgate_tokens_total", &["output", "partial"]), 1.0);
    assert!(!SERIES.render().contains("model-without-price\",class=\"input\""), "no series for nothing");
    assert_near(of("tollgate_time_per_output_token_seconds_count", &[]), 0.0);
    assert_near(of("tollgate_cooldowns_total", &[]), 1.0);
    assert!(!SERIES.render().contains("ai_model=\"model-without-price\""), "Kong's were not asked for");
    assert_eq!(TargetMetrics::new("openai", None).model(), UNSPECIFIED);
}
