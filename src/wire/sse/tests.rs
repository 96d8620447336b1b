use super::*;
use crate::error::Kind;

type Plain = (Option<String>, String);

fn plain(frame: Frame<'_>) -> Plain {
    (frame.event.map(str::to_owned), String::from_utf8_lossy(frame.data).into_owned())
}

fn take(splitter: &mut Sse, out: &mut Vec<Plain>) {
    while let Some(frame) = splitter.next() {
        out.push(plain(frame));
    }
}

fn frames(reads: &[&[u8]]) -> Vec<Plain> {
    let (mut splitter, mut out) = (Sse::default(), Vec::new());
    for read in reads {
        splitter.push(read).unwrap();
        take(&mut splitter, &mut out);
    }
    splitter.finish();
    take(&mut splitter, &mut out);
    out
}

fn take_raw(events: &mut SseEvents, out: &mut Vec<(Bytes, Option<Plain>)>) {
    while let Some(event) = events.event().unwrap() {
        out.push((event.raw.clone(), event.frame().map(plain)));
    }
}

fn raw(reads: &[&[u8]]) -> Vec<(Bytes, Option<Plain>)> {
    let (mut events, mut out) = (SseEvents::default(), Vec::new());
    for read in reads {
        events.push(Bytes::copy_from_slice(read));
        take_raw(&mut events, &mut out);
    }
    events.finish();
    take_raw(&mut events, &mut out);
    out
}

fn joined(parts: &[Bytes]) -> Vec<u8> {
    parts.concat()
}

/// The data of a text's events, after checking both faces with every single cut.
fn data(text: &[u8]) -> Vec<String> {
    let (whole, whole_raw) = (frames(&[text]), raw(&[text]));
    for cut in 0..=text.len() {
        let reads = [&text[..cut], &text[cut..]];
        assert_eq!(frames(&reads), whole, "cut at {cut}");
        assert_eq!(raw(&reads), whole_raw, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(frames(&bytes), whole);
    assert_eq!(raw(&bytes), whole_raw);
    assert_eq!(whole_raw.iter().map(|(raw, _)| &raw[..]).collect::<Vec<_>>().concat(), text);
    assert_eq!(whole_raw.into_iter().filter_map(|(_, frame)| frame).collect::<Vec<_>>(), whole);
    whole.into_iter().map(|(_, data)| data).collect()
}

#[test]
fn every_line_end_ends_lines() {
    assert_eq!(data(b"data: a\n\ndata: b\n\n"), ["a", "b"]);
    assert_eq!(data(b"data: a\r\n\r\ndata: b\r\n\r\n"), ["a", "b"]);
    assert_eq!(data(b"data: a\r\rdata: b\r\r"), ["a", "b"]);
    assert_eq!(data(b"data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\rdata: e\r\r\ndata: f"), {
        ["a", "b", "c", "d", "e", "f"]
    });
    assert_eq!(data(b"\r\n\n\r\r\r\n\ndata: a\r\n\r\n\r\n\r\ndata: b\n\n\n"), ["a", "b"]);
}

#[test]
fn raw_events_end_with_their_blank_line() {
    let raws = |text: &[u8]| -> Vec<Bytes> { raw(&[text]).into_iter().map(|(raw, _)| raw).collect() };
    assert_eq!(raws(b"data: a\r\n\r\ndata: b\r\n\r\n"), ["data: a\r\n\r\n", "data: b\r\n\r\n"]);
    assert_eq!(raws(b"data: a\n\n: hi\n\nid: 1\ndata: b"), ["data: a\n\n", ": hi\n\n", "id: 1\ndata: b"]);
    assert_eq!(raws(b"data: a\r\rdata: b\r\r"), ["data: a\r\r", "data: b\r\r"]);
    assert_eq!(raws(b"data: a\r\r\ndata: b\r\r"), ["data: a\r\r", "\n", "data: b\r\r"]);
}

#[test]
fn an_event_is_not_held_back() {
    for text in [&b"data: a\n\n"[..], b"data: a\r\n\r\n", b"data: a\r\r", b"data: a\r\n\n"] {
        let mut splitter = Sse::default();
        splitter.push(text).unwrap();
        assert_eq!(splitter.next().unwrap().data, b"a");
        let mut events = SseEvents::default();
        events.push(Bytes::copy_from_slice(text));
        assert_eq!(events.event().unwrap().unwrap().raw, text);
    }
}

#[test]
fn fields_and_their_values() {
    assert_eq!(data(b"data:a\n\ndata:  b \n\ndata\n\ndata:\n\ndata: \n\n"), ["a", " b ", "", "", ""]);
    assert_eq!(data(b"data: a: b\ndata:\ndata:{\ndatum: x\n data: x\nDATA: x\n\n"), ["a: b\n\n{"]);
    assert_eq!(data(b": comment\nid: 1\nretry: 10\ndata: x\n:data: y\n\n"), ["x"]);
    let text = b"event: first\nevent:second\ndata: 1\n\ndata: 2\n\nevent:\ndata: 3\n\nevent: lonely\n\n";
    let named = |name: &str, data: &str| (Some(name.to_owned()), data.to_owned());
    assert_eq!(frames(&[text]), [named("second", "1"), (None, "2".into()), (None, "3".into())]);
    assert_eq!(data(text), ["1", "2", "3"]);
    assert_eq!(frames(&[b"event: \xff\ndata: \xff\n\n"]), [(None, "\u{fffd}".into())]);
}

#[test]
fn comments_alone_are_no_frame_but_an_event() {
    assert_eq!(data(b": ping\n\ndata: a\n\n:\n\n"), ["a"]);
    assert_eq!(raw(&[b": ping\n\n"]), [(Bytes::from(": ping\n\n"), None)]);
}

#[test]
fn a_byte_order_mark_counts_only_at_the_start() {
    assert_eq!(data(b"\xef\xbb\xbfdata: a\n\ndata: b\n\n"), ["a", "b"]);
    assert_eq!(data(b"data: a\n\n\xef\xbb\xbfdata: b\n\n"), ["a"]);
}

#[test]
fn a_last_event_without_its_blank_line_comes_at_the_end() {
    assert_eq!(data(b"data: a\n\ndata: b"), ["a", "b"]);
    assert_eq!(data(b"data: a\n\ndata: b\ndata: c\r\n"), ["a", "b\nc"]);
    assert_eq!(data(b"data: a\r\n\r"), ["a"]);
    let mut splitter = Sse::default();
    splitter.push(b"data: a\n").unwrap();
    assert!(splitter.next().is_none());
    splitter.finish();
    assert_eq!(splitter.next().unwrap().data, b"a");
    assert!(splitter.next().is_none());
    splitter.finish();
    assert!(splitter.next().is_none());
}

#[test]
fn events_within_a_read_are_not_copied() {
    let read = Bytes::from("data: a\n\ndata: b\n\ndata: c");
    let mut events = SseEvents::default();
    events.push(read.clone());
    let first = events.event().unwrap().unwrap();
    let second = events.event().unwrap().unwrap();
    assert_eq!(first.raw.as_ptr(), read.as_ptr());
    assert_eq!(second.raw.as_ptr(), read[9..].as_ptr());
    assert!(events.event().unwrap().is_none());
    events.push(Bytes::from("\n\ndata: d\n\n"));
    assert_eq!(events.event().unwrap().unwrap().raw, "data: c\n\n");
    let last = events.event().unwrap().unwrap();
    assert_eq!(last.raw, "data: d\n\n");
    assert_eq!(last.frame().unwrap().data, b"d");
}

#[test]
fn reads_that_were_not_drained_are_not_lost() {
    let mut events = SseEvents::default();
    events.push(Bytes::from("data: a\n\ndata:"));
    events.push(Bytes::from(" b\n\n"));
    let (mut out, mut splitter) = (Vec::new(), Sse::default());
    take_raw(&mut events, &mut out);
    assert_eq!(out.len(), 2);
    splitter.push(b"data: a\n\ndata:").unwrap();
    splitter.push(b" b\n\n").unwrap();
    assert_eq!(splitter.next().unwrap().data, b"a");
    splitter.push(b"data: c\n\n").unwrap();
    assert_eq!(splitter.next().unwrap().data, b"b");
    assert_eq!(splitter.next().unwrap().data, b"c");
}

#[test]
fn forwarding_keeps_runs_together_and_drops_whole_events() {
    let read = Bytes::from("data: a\n\n: ping\n\ndata: drop\n\ndata: b\n\ndata: c\n\ndata: dr");
    let (mut events, mut out) = (SseEvents::default(), Vec::new());
    let keep = |frame: Frame<'_>| frame.data != b"drop";
    events.push(read.clone());
    events.forward(keep, &mut out).unwrap();
    assert_eq!(out, ["data: a\n\n: ping\n\n", "data: b\n\ndata: c\n\n"]);
    assert_eq!(out[0].as_ptr(), read.as_ptr());
    events.push(Bytes::from("op\n\ndata: d\n\ndata: [DO"));
    events.forward(keep, &mut out).unwrap();
    events.push(Bytes::from("NE]"));
    events.forward(keep, &mut out).unwrap();
    assert_eq!(out[2..], ["data: d\n\n"]);
    events.finish();
    events.forward(keep, &mut out).unwrap();
    events.forward(keep, &mut out).unwrap();
    assert_eq!(out[3..], ["data: [DONE]"]);
}

#[test]
fn forwarding_does_not_depend_on_cuts() {
    let text = b"\xef\xbb\xbfdata: a\r\n\r\ndata: drop\r\n\r\n: x\r\n\r\ndata: b\r\rdata: drop\r\r\ndata: c\n\nid: 7";
    let forward = |reads: &[&[u8]]| {
        let (mut events, mut out) = (SseEvents::default(), Vec::new());
        for read in reads {
            events.push(Bytes::copy_from_slice(read));
            events.forward(|frame| frame.data != b"drop", &mut out).unwrap();
        }
        events.finish();
        events.forward(|frame| frame.data != b"drop", &mut out).unwrap();
        joined(&out)
    };
    let whole = forward(&[text]);
    assert_eq!(whole, b"\xef\xbb\xbfdata: a\r\n\r\n: x\r\n\r\ndata: b\r\r\ndata: c\n\nid: 7");
    for first in 0..=text.len() {
        for second in first..=text.len() {
            assert_eq!(forward(&[&text[..first], &text[first..second], &text[second..]]), whole);
        }
    }
}

#[test]
fn events_are_bounded() {
    let mut largest = b"data: a\n\ndata: ".to_vec();
    largest.resize(9 + MAX_FRAME - 2, b'x');
    let mut splitter = Sse::default();
    splitter.push(&largest).unwrap();
    splitter.push(b"\n\n").unwrap();
    assert_eq!(splitter.next().unwrap().data, b"a");
    assert_eq!(splitter.next().unwrap().data.len(), MAX_FRAME - 8);

    let mut splitter = Sse::default();
    splitter.push(&largest).unwrap();
    assert_eq!(splitter.push(b"x\n\n").unwrap_err().kind(), Kind::BadReply);
    assert_eq!(splitter.next().unwrap().data, b"a");
    assert!(splitter.next().is_none());

    for end in ["\n\n", "x\n\n"] {
        let (mut events, mut out) = (SseEvents::default(), Vec::new());
        events.push(Bytes::copy_from_slice(&largest));
        events.forward(|_| true, &mut out).unwrap();
        events.push(Bytes::from(end));
        let result = events.forward(|_| true, &mut out);
        assert_eq!(out[0], "data: a\n\n");
        if end.len() == 2 {
            assert_eq!(joined(&out).len(), MAX_FRAME + 9);
        } else {
            assert_eq!((result.unwrap_err().kind(), out.len()), (Kind::BadReply, 1));
        }
    }
}
