//! How long a pick takes, by algorithm, among ten targets.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;
use tollgate::target::Target;
use tollgate::target::balance::settings::Settings;
use tollgate::target::balance::{Balancer, Turn};
use tollgate::target::state::State;
use tollgate::upstream::endpoint::Timeouts;
use uuid::Uuid;

fn targets(count: usize) -> Vec<Target> {
    let raw = |index| {
        let model = json!({"provider": "openai", "name": format!("m{index}")});
        json!({"route_type": "llm/v1/chat", "model": model, "weight": 10 + index % 3})
    };
    let raws: Vec<Value> = (0..count).map(raw).collect();
    let raws: Vec<&Value> = raws.iter().collect();
    let states = State::shared(Uuid::from_u128(1), &raws);
    let load = |(raw, state): (&&Value, _)| Target::load(raw, state, Timeouts::default()).ok();
    raws.iter().zip(states).filter_map(load).collect()
}

fn settings(algorithm: &str) -> Option<Settings> {
    let balancer = json!({
        "algorithm": algorithm, "slots": 10_000, "hash_on_header": "x-session",
        "latency_strategy": "tpot", "tokens_count_strategy": "total-tokens"
    });
    serde_json::from_value(json!({ "balancer": balancer })).ok()
}

fn picks(c: &mut Criterion) {
    let targets = targets(10);
    assert_eq!(targets.len(), 10);
    let now = Instant::now();
    let mut group = c.benchmark_group("pick");
    for algorithm in [
        "round-robin",
        "consistent-hashing",
        "least-connections",
        "lowest-usage",
        "lowest-latency",
        "priority",
    ] {
        let loaded = settings(algorithm).and_then(|settings| Balancer::load(&settings, &targets).ok());
        let Some(balancer) = loaded else { continue };
        let turn = Turn { usable: &|_| true, key: Some(b"session-1"), near: None, now };
        assert!(balancer.pick(&turn).is_some());
        group.bench_function(BenchmarkId::from_parameter(algorithm), |b| {
            b.iter(|| balancer.pick(black_box(&turn)));
        });
    }
    group.finish();
}

criterion_group!(benches, picks);
criterion_main!(benches);
