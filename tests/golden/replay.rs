//! An upstream's stream on its way to the client, in any pieces: what the client gets, and what is metered.

use bytes::Bytes;
use tollgate::provider::{Call, Dialect, End, StreamDecoder, StreamPlan};
use tollgate::wire::chat;
use tollgate::wire::frame::{Frame, Framing};
use tollgate::wire::sse::SseEvents;
use tollgate::wire::usage::Usage;

/// What an answer comes to.
#[derive(Debug, PartialEq)]
pub struct Answered {
    pub client: Vec<u8>,
    pub usage: Usage,
    pub model: Option<String>,
    pub text: String,
    pub complete: bool,
}

/// Replays a stream that comes in these pieces and ends so.
pub fn replay(dialect: &dyn Dialect, call: &Call<'_>, pieces: &[&[u8]], end: End) -> Answered {
    match dialect.stream(call) {
        StreamPlan::Verbatim => forward(call, pieces, dialect.usage()),
        StreamPlan::Translate(framing, decoder) => translate(call, pieces, (framing, decoder), end),
    }
}

/// Passes events on as they are; the usage chunk only if the client asked for it.
fn forward(call: &Call<'_>, pieces: &[&[u8]], read: fn(&str) -> Usage) -> Answered {
    let mut events = SseEvents::default();
    let (mut usage, mut model, mut text, mut complete) = (Usage::default(), None, String::new(), false);
    let mut out = Vec::new();
    for piece in pieces.iter().map(|piece| Some(*piece)).chain([None]) {
        match piece {
            Some(piece) => events.push(Bytes::copy_from_slice(piece)),
            None => events.finish(),
        }
        let look = |frame: Frame<'_>| {
            complete |= frame.data == b"[DONE]";
            let Some(scan) = chat::reply_scan(frame.data) else { return true };
            text.push_str(&chat::chunk_text(frame.data));
            usage = scan.usage.map_or(usage, read);
            model = scan.model.map(std::borrow::Cow::into_owned).or(model.take());
            call.include_usage || !(scan.no_choice && scan.usage.is_some())
        };
        if events.forward(look, &mut out).is_err() {
            complete = false;
            break;
        }
    }
    Answered { client: out.concat(), usage, model, text, complete }
}

type Plan = (Framing, Box<dyn StreamDecoder>);

/// Translates them. What stands unterminated where a connection broke is not whole.
fn translate(call: &Call<'_>, pieces: &[&[u8]], (framing, mut decoder): Plan, end: End) -> Answered {
    let mut splitter = framing.splitter();
    let mut out = call.client_stream();
    let (mut client, mut text) = (Vec::new(), String::new());
    for piece in pieces.iter().map(|piece| Some(*piece)).chain([None]) {
        let pushed = match piece {
            Some(piece) => splitter.push(piece),
            None if end == End::Cut => Ok(()),
            None => {
                splitter.finish();
                Ok(())
            }
        };
        while let Some(frame) = splitter.next() {
            if let Err(error) = decoder.frame(frame, &mut out) {
                out.error(error.message());
            }
            text.push_str(&out.take_text());
        }
        if let Err(error) = pushed {
            out.error(error.message());
            break;
        }
        client.extend_from_slice(&out.take());
    }
    if let Err(error) = decoder.finish(end, &mut out) {
        out.error(error.message());
    }
    client.extend_from_slice(&out.take());
    text.push_str(&out.take_text());
    let (usage, model) = (out.seen_usage().unwrap_or_default(), out.response_model().map(str::to_owned));
    Answered { client, usage, model, text, complete: out.is_done() }
}
