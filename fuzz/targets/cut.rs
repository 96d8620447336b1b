//! What splitters give for a stream that comes in the given reads; the properties of `tests/` ask the same.

use bytes::Bytes;
use tollgate::wire::frame::{Frame, Framing, MAX_FRAME};
use tollgate::wire::sse::SseEvents;

/// A message as its receiver sees it.
pub type Seen = (Option<String>, Vec<u8>);

pub fn seen(frame: Frame<'_>) -> Seen {
    assert!(frame.data.len() <= MAX_FRAME, "a message over the bound was given out");
    (frame.event.map(str::to_owned), frame.data.to_vec())
}

/// All messages, and whether the stream was given up for one that is too large.
pub fn split(framing: Framing, reads: &[&[u8]]) -> (Vec<Seen>, bool) {
    let mut splitter = framing.splitter();
    let mut out = Vec::new();
    for read in reads {
        let refused = splitter.push(read).is_err();
        while let Some(frame) = splitter.next() {
            out.push(seen(frame));
        }
        if refused {
            return (out, true);
        }
    }
    splitter.finish();
    while let Some(frame) = splitter.next() {
        out.push(seen(frame));
    }
    (out, false)
}

/// An event: its bytes, and its message.
pub type Raw = (Bytes, Option<Seen>);

/// All events; then the bytes of those forwarded with none refused; and whether the stream was given up.
pub fn events(reads: &[&[u8]]) -> (Vec<Raw>, Vec<u8>, bool) {
    let (mut single, mut runs) = (SseEvents::default(), SseEvents::default());
    let (mut out, mut forwarded) = (Vec::new(), Vec::new());
    let last = reads.len();
    for (index, read) in reads.iter().copied().chain([&b""[..]]).enumerate() {
        for events in [&mut single, &mut runs] {
            events.push(Bytes::copy_from_slice(read));
            if index == last {
                events.finish();
            }
        }
        let refused = loop {
            match single.event() {
                Ok(Some(event)) => out.push((event.raw.clone(), event.frame().map(seen))),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert_eq!(runs.forward(|_| true, &mut forwarded).is_err(), refused);
        if refused {
            return (out, forwarded.concat(), true);
        }
    }
    (out, forwarded.concat(), false)
}
