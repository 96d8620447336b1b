//! What it costs to pass an OpenAI stream on verbatim, looking into every event for usage.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tollgate::wire::frame::{Frame, Framing};
use tollgate::wire::scan::usage_object;
use tollgate::wire::sse::SseEvents;

const EVENTS: usize = 64;

/// Events of a chat stream; the last one but `[DONE]` states the usage.
fn stream() -> Vec<Bytes> {
    let delta = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012\",\"object\":\"chat.completion.chunk\",\
             \"created\":1760000000,\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\
             \"system_fingerprint\":\"fp_0123456789\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
        )
    };
    let word = r#"{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}"#;
    let usage = r#"{"prompt_tokens":9,"completion_tokens":62,"total_tokens":71}"#;
    let mut events = vec![Bytes::from(delta(word, "null")); EVENTS - 2];
    events.push(Bytes::from(delta("", usage)));
    events.push(Bytes::from("data: [DONE]\n\n"));
    events
}

/// The same bytes in as many reads, each cut in the middle of an event.
fn shifted(whole: &Bytes) -> Vec<Bytes> {
    let length = whole.len().div_ceil(EVENTS) + 1;
    (0..whole.len()).step_by(length).map(|at| whole.slice(at..whole.len().min(at + length))).collect()
}

/// Forwards all but the chunk of usage, as for a client that did not ask for it.
fn forward(reads: &[Bytes]) -> (usize, usize) {
    let (mut events, mut out, mut usage) = (SseEvents::default(), Vec::with_capacity(4), 0);
    let mut length = 0;
    for read in reads {
        events.push(read.clone());
        let keep = |frame: Frame<'_>| {
            let found = usage_object(frame.data).map_or(0, <[u8]>::len);
            usage += found;
            found == 0
        };
        if events.forward(keep, &mut out).is_err() {
            break;
        }
        length += out.drain(..).map(|bytes| bytes.len()).sum::<usize>();
    }
    (length, usage)
}

fn one_by_one(reads: &[Bytes]) -> usize {
    let mut events = SseEvents::default();
    let mut length = 0;
    for read in reads {
        events.push(read.clone());
        while let Ok(Some(event)) = events.event() {
            length += event.raw.len();
        }
    }
    length
}

fn frames(reads: &[Bytes]) -> usize {
    let mut splitter = Framing::Sse.splitter();
    let mut length = 0;
    for read in reads {
        if splitter.push(read).is_err() {
            break;
        }
        while let Some(frame) = splitter.next() {
            length += frame.data.len();
        }
    }
    length
}

fn streams(c: &mut Criterion) {
    let events = stream();
    let whole = Bytes::from(events.concat());
    let reads = [("1 read", vec![whole.clone()]), ("64 reads", events), ("64 cut reads", shifted(&whole))];
    for (name, reads) in reads {
        let mut group = c.benchmark_group(format!("64 events in {name}"));
        group.throughput(Throughput::Bytes(whole.len() as u64));
        group.bench_function("forward, dropping usage", |b| b.iter(|| forward(black_box(&reads))));
        group.bench_function("one by one", |b| b.iter(|| one_by_one(black_box(&reads))));
        group.bench_function("frames", |b| b.iter(|| frames(black_box(&reads))));
        group.finish();
    }
}

criterion_group!(benches, streams);
criterion_main!(benches);
