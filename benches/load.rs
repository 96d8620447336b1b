//! How long ten thousand AI routes take from text to service, and a change among them.

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::hint::black_box;
use tollgate::state::control::Ready;

const COUNT: usize = 10_000;

fn text() -> String {
    let config = json!({"route_type": "llm/v1/chat", "model": {"provider": "openai", "name": "m"}});
    let routes: Vec<Value> = (0..COUNT)
        .map(|index| {
            json!({"name": format!("r{index}"), "paths": [format!("/team-{index}/chat")],
                "plugins": [{"name": "ai-proxy", "config": config}]})
        })
        .collect();
    let service = json!({"name": "s", "url": "http://127.0.0.1:9", "routes": routes});
    json!({"_format_version": "3.0", "services": [service]}).to_string()
}

fn load(c: &mut Criterion) {
    let texts = [("kong.json".to_owned(), text())];
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("text", |b| {
        b.iter(|| black_box(Ready::read(black_box(&texts)).map(|ready| ready.snapshot.counts.routes)));
    });
    if let Ok(ready) = Ready::read(&texts) {
        group.bench_function("change", |b| {
            b.iter(|| {
                black_box(Ready::of(ready.state.clone()).map(|ready| ready.snapshot.counts.routes).ok())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, load);
criterion_main!(benches);
