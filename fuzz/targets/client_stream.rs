//! The writer of clients' streams: whatever a decoder tells it, the stream keeps its invariants.

use serde_json::Value;
use std::borrow::Cow;
use tollgate::wire::chat::Shape;
use tollgate::wire::client_stream::ClientStream;
use tollgate::wire::usage::Usage;

/// One byte for the stream, then for each step a byte that says what, one that says how much, and as
/// many of the text.
pub fn run(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let shape = if first & 1 == 0 { Shape::Chat } else { Shape::Text };
    let mut out = ClientStream::new(shape, shape.reply_id("0"), "m\"", 7, first & 2 != 0);
    let mut written = Vec::new();
    // More steps only repeat what fewer show, and cost many runs.
    for _ in 0..40 {
        let Some(([what, length], after)) = rest.split_first_chunk::<2>() else { break };
        let (text, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        step(&mut out, *what, &String::from_utf8_lossy(text));
        if what & 0x80 != 0 {
            written.extend_from_slice(&out.take());
        }
    }
    written.extend_from_slice(&out.take());
    check(&written, out.is_done(), true);
    assert!(!(out.is_done() && out.is_failed()));
}

fn step(out: &mut ClientStream, what: u8, text: &str) {
    let index = text.len() % 3;
    match what % 11 {
        0 => out.role(),
        1 => out.text(text),
        2 => out.reasoning(text),
        3 => out.tool_call(index, text, "f"),
        4 => out.tool_arguments(index, text),
        5 => out.finish(text),
        6 => out.usage(Usage {
            prompt: Some(text.len() as u64),
            completion: Some(u64::MAX),
            ..Usage::default()
        }),
        7 => out.error(text),
        8 => out.done(),
        9 => out.start(Some(text), Some(text), Some(text.len() as u64)),
        _ => {
            out.take_text();
        }
    }
}

/// What must hold for every stream that a client is sent: events of one line each, and nothing after an
/// error or `[DONE]`. Of chunks that are our `own` words, and not an upstream's passed on as they are: each
/// is JSON; one id and one model, at most one role and one finish reason.
pub fn check(stream: &[u8], done: bool, own: bool) {
    let text = String::from_utf8_lossy(stream);
    assert!(!own || matches!(text, Cow::Borrowed(_)), "a client's stream is text");
    let mut seen = (None, None, 0, 0);
    let mut over = false;
    let mut last = "";
    for event in text.split_terminator("\n\n") {
        let data = event.strip_prefix("data: ").expect("an event is one of data");
        assert!(!data.contains(['\n', '\r']), "an event of several lines: {data:?}");
        assert!(!over, "something follows the end: {data}");
        last = data;
        if data == "[DONE]" {
            over = true;
            continue;
        }
        let chunk: Value = match serde_json::from_str(data) {
            Ok(chunk) => chunk,
            Err(error) if own => panic!("{error}: {data}"),
            Err(_) => continue,
        };
        if chunk.get("error").is_some_and(|error| !error.is_null()) && chunk.get("choices").is_none() {
            over = true;
            continue;
        }
        if own {
            count(&chunk, &mut seen);
        }
    }
    assert!(text.is_empty() || text.ends_with("\n\n"));
    assert!(seen.2 <= 1, "{} roles", seen.2);
    assert!(seen.3 <= 1, "{} finish reasons", seen.3);
    assert_eq!(last == "[DONE]", done);
}

type Counted = (Option<Value>, Option<Value>, u32, u32);

fn count(chunk: &Value, (id, model, roles, finishes): &mut Counted) {
    assert_eq!(id.get_or_insert_with(|| chunk["id"].clone()), &chunk["id"]);
    assert_eq!(model.get_or_insert_with(|| chunk["model"].clone()), &chunk["model"]);
    for choice in chunk["choices"].as_array().expect("choices") {
        *roles += u32::from(choice["delta"].get("role").is_some());
        *finishes += u32::from(choice["finish_reason"].is_string());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        b"\x02\x09\x03abc\x00\x00\x01\x05hello\x06\x04abcd\x05\x04stop\x08\x00".to_vec(),
        b"\x01\x01\x02hi\x05\x06length\x08\x00".to_vec(),
        b"\x00\x03\x02t1\x04\x03{\"a\x04\x05\":1}}\x05\x0atool_calls\x07\x03bad\x01\x02no".to_vec(),
    ]
}
