//! What a translation costs: requests in two dialects, a reply, and a stream of 64 lines.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::hint::black_box;
use tollgate::config::target::TargetConf;
use tollgate::provider::{self, Call, Driver, End, StreamPlan};
use tollgate::wire::doc::Doc;

fn target(provider: &str, options: &Value) -> (TargetConf, Driver) {
    let target = json!({"route_type": "llm/v1/chat", "model": {"provider": provider, "options": options}});
    let conf: TargetConf = serde_json::from_value(target).unwrap();
    let driver = provider::find(provider).unwrap().load(&conf).unwrap();
    (conf, driver)
}

fn call<'a>(conf: &'a TargetConf, doc: &'a Doc, stream: bool) -> Call<'a> {
    let id = "0123456789abcdef0123456789abcdef";
    Call { conf, doc, model: "llama3", stream, include_usage: false, now: 1_700_000_000, id }
}

/// A conversation of 40 turns, 24 KB.
fn conversation() -> Bytes {
    let turn = |index: usize| {
        let role = if index.is_multiple_of(2) { "user" } else { "assistant" };
        json!({"role": role, "content": "Say \"that\" again, 日本 and all.\n".repeat(15)})
    };
    let messages: Vec<_> = (0..40).map(turn).collect();
    Bytes::from(json!({"messages": messages, "temperature": 0.3, "seed": 7, "stream": true}).to_string())
}

fn requests(c: &mut Criterion) {
    let body = conversation();
    let mut group = c.benchmark_group("request");
    group.throughput(Throughput::Bytes(body.len() as u64));
    let ollama = json!({"llama2_format": "ollama", "max_tokens": 256});
    for (name, provider, options) in
        [("openai", "openai", json!({"max_tokens": 256})), ("ollama", "llama2", ollama)]
    {
        let (conf, driver) = target(provider, &options);
        group.bench_function(name, |b| {
            b.iter(|| {
                let doc = Doc::parse(body.clone()).unwrap();
                black_box(driver.dialect.request(&call(&conf, &doc, true)).unwrap().body)
            });
        });
    }
    group.finish();
}

fn line(content: &str) -> Value {
    let message = json!({"role": "assistant", "content": content});
    json!({"model": "llama3", "created_at": "2024-01-15T08:13:38.876196Z", "message": message, "done": false})
}

fn last(content: &str) -> Value {
    let message = json!({"role": "assistant", "content": content});
    json!({"model": "llama3", "created_at": "2024-01-15T08:13:38.876196Z", "message": message, "done": true,
        "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 63})
}

fn reply(c: &mut Criterion) {
    let (conf, driver) = target("llama2", &json!({"llama2_format": "ollama"}));
    let doc = Doc::empty();
    let body = Bytes::from(last(&"You cannot divide \"by zero\".\n".repeat(40)).to_string());
    c.bench_function("reply/ollama", |b| {
        b.iter(|| black_box(driver.dialect.reply(&call(&conf, &doc, false), body.clone()).unwrap().body));
    });
}

fn stream(c: &mut Criterion) {
    let (conf, driver) = target("llama2", &json!({"llama2_format": "ollama"}));
    let doc = Doc::empty();
    let mut lines = vec![line(" word"); 63];
    lines.push(last(""));
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    c.bench_function("stream/ollama-64", |b| {
        b.iter(|| {
            let call = call(&conf, &doc, true);
            let StreamPlan::Translate(framing, mut decoder) = driver.dialect.stream(&call) else { return };
            let (mut splitter, mut out) = (framing.splitter(), call.client_stream());
            for line in &lines {
                splitter.push(line.as_bytes()).unwrap();
                while let Some(frame) = splitter.next() {
                    decoder.frame(frame, &mut out).unwrap();
                }
                black_box(out.take());
                black_box(out.take_text());
            }
            decoder.finish(End::Clean, &mut out).unwrap();
        });
    });
}

criterion_group!(benches, requests, reply, stream);
criterion_main!(benches);
