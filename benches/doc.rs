//! What it costs to read a chat request, set its model and its stream flag, and write it again.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::hint::black_box;
use tollgate::wire::doc::Doc;

/// The usual way: what is edited is typed, the rest is kept in a map.
#[derive(Deserialize, Serialize)]
struct Flat {
    model: Option<String>,
    stream: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A chat of `turns` messages with prose, escapes and a tool.
fn body(turns: usize) -> Bytes {
    let prose =
        "The quick brown fox said \"no\".\nThen it left, \u{e9}lan and all, for 1.5 hours. ".repeat(9);
    let messages: Vec<Value> = (0..turns)
        .map(|turn| json!({"role": if turn % 2 == 0 { "user" } else { "assistant" }, "content": prose}))
        .collect();
    let tool = json!({"type": "function", "function": {"name": "find", "parameters": {"type": "object",
        "properties": {"q": {"type": "string"}, "n": {"type": "integer"}}}}});
    let body = json!({"model": "gpt-4o-mini", "messages": messages, "temperature": 0.7, "max_tokens": 512,
        "tools": [tool], "user": "u-1"});
    Bytes::from(body.to_string())
}

fn doc(raw: &Bytes) -> Option<Bytes> {
    let mut doc = Doc::parse(raw.clone()).ok()?;
    doc.set("model", "gpt-4o").ok()?;
    doc.set("stream", &true).ok()?;
    Some(doc.bytes())
}

fn tree(raw: &Bytes) -> Option<Vec<u8>> {
    let mut tree: Map<String, Value> = serde_json::from_slice(raw).ok()?;
    tree.insert("model".to_owned(), Value::from("gpt-4o"));
    tree.insert("stream".to_owned(), Value::from(true));
    serde_json::to_vec(&tree).ok()
}

fn flat(raw: &Bytes) -> Option<Vec<u8>> {
    let mut flat: Flat = serde_json::from_slice(raw).ok()?;
    flat.model = Some("gpt-4o".to_owned());
    flat.stream = Some(true);
    serde_json::to_vec(&flat).ok()
}

fn edits(c: &mut Criterion) {
    for (name, turns) in [("1 KB", 1), ("78 KB", 109)] {
        let raw = body(turns);
        let mut group = c.benchmark_group(format!("edit a chat of {name}"));
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function("Doc", |b| b.iter(|| doc(black_box(&raw))));
        group.bench_function("Value", |b| b.iter(|| tree(black_box(&raw))));
        group.bench_function("flatten", |b| b.iter(|| flat(black_box(&raw))));
        group.finish();
    }
}

/// What a target costs that needs only a copy of a request that is read already.
fn copies(c: &mut Criterion) {
    let Ok(read) = Doc::parse(body(109)) else { return };
    c.bench_function("copy a read chat of 78 KB and set its model", |b| {
        b.iter(|| {
            let mut doc = black_box(&read).clone();
            doc.set("model", "gpt-4o").map(|()| doc.bytes())
        });
    });
}

criterion_group!(benches, edits, copies);
criterion_main!(benches);
