//! Answers that stream: each event goes to the client when it comes, and past the meter.

use super::collect::internal;
use super::downstream::Downstream;
use super::{Outcome, Try};
use crate::config::target::Operation;
use crate::error::{Error, Result};
use crate::meter::account::Account;
use crate::meter::metrics::Ending;
use crate::provider::{End, StreamDecoder, StreamPlan};
use crate::upstream::attempt::Answer;
use crate::upstream::inflate::Inflate;
use crate::wire::chat::{self, Shape};
use crate::wire::client_stream::ClientStream;
use crate::wire::frame::{Frame, Splitter};
use crate::wire::scan;
use crate::wire::sse::SseEvents;
use crate::wire::usage::Usage;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use pingora::http::ResponseHeader;
use std::borrow::Cow;
use std::time::Duration;

/// When the client of a stream has gone, what the upstream had already sent still counts: it is
/// read until nothing comes for this long,
const QUIET: Duration = Duration::from_millis(50);
/// and no longer than this altogether. Then the upstream is hung up on, which ends its work.
const DRAIN: Duration = Duration::from_secs(1);

/// The most that is taken before it is written.
const AT_ONCE: usize = 64 * 1024;

/// Whether the answer is to be relayed as a stream.
pub fn is_stream(answer: &Answer, current: &Try<'_>) -> bool {
    if current.native {
        return current.call.stream;
    }
    let kind = answer.headers().and_then(|headers| headers.get(header::CONTENT_TYPE));
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if current.settled.operation() == Operation::Preserve {
        return kind.starts_with("text/event-stream");
    }
    // An upstream that was asked to stream and sends one JSON document has declined.
    current.call.stream
        && (kind.starts_with("text/event-stream")
            || matches!(current.settled.driver.dialect.stream(&current.call), StreamPlan::Translate(..))
            || !kind.starts_with("application/json"))
}

/// Relays a stream to its end.
pub async fn relay(
    down: &mut Downstream<'_>,
    current: &Try<'_>,
    mut answer: Answer,
    account: &mut Account,
) -> Result<Outcome> {
    let headers = answer.headers().cloned().unwrap_or_default();
    let coding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let mut inflate = coding.and_then(Inflate::new);
    let status = answer.status();
    let head = stream_head(down, current, status, &headers, inflate.is_some()).map_err(|_| internal())?;
    let mut outcome = Outcome { status, headers: current.seen(&head), model: None };
    down.head(head).await;
    let mut relay = Relay::new(current);
    loop {
        let Some(read) = down.unless_gone(answer.chunk()).await else {
            drain(&mut answer, &mut relay, account, inflate.as_mut()).await;
            account.end(Ending::ClientGone);
            break;
        };
        let end = take_ready(read, &mut answer, &mut relay, account, inflate.as_mut());
        if let Some(end) = end {
            finish(down, &mut relay, end, account).await;
            if end == End::Clean {
                answer.done().await;
            }
            break;
        }
        let out = relay.take(account);
        if !out.is_empty() {
            down.body(out, false).await;
        }
    }
    outcome.model = relay.model();
    Ok(outcome)
}

/// Takes one read and all that is here already: what has arrived together leaves together, and
/// nothing waits. Says whether the stream ended.
fn take_ready(
    first: Result<Option<Bytes>>,
    answer: &mut Answer,
    relay: &mut Relay,
    account: &mut Account,
    mut inflate: Option<&mut Inflate>,
) -> Option<End> {
    let mut read = first;
    let mut taken = 0;
    loop {
        let piece = match read {
            Ok(Some(piece)) => piece,
            Ok(None) => return Some(End::Clean),
            Err(_) => return Some(End::Cut),
        };
        taken += piece.len();
        let pushed = inflated(inflate.as_deref_mut(), piece).and_then(|piece| relay.push(piece, account));
        if pushed.is_err() {
            return Some(End::Cut);
        }
        if taken > AT_ONCE {
            return None;
        }
        read = answer.ready()?;
    }
}

/// The head of the client's stream. In the provider's own dialect it keeps what the upstream said.
fn stream_head(
    down: &Downstream<'_>,
    current: &Try<'_>,
    status: u16,
    upstream: &HeaderMap,
    inflating: bool,
) -> pingora::Result<ResponseHeader> {
    let mut head = current.head(status, upstream, !current.native)?;
    if !current.native {
        let own = header::HeaderValue::from_static("text/event-stream");
        let theirs =
            upstream.get(header::CONTENT_TYPE).filter(|_| current.settled.operation() == Operation::Preserve);
        head.insert_header(header::CONTENT_TYPE, theirs.cloned().unwrap_or(own))?;
    } else if inflating {
        head.remove_header(&header::CONTENT_ENCODING);
        head.remove_header(&header::CONTENT_LENGTH);
    }
    if !head.headers.contains_key(header::CONTENT_LENGTH) {
        current.chunked(down, &mut head)?;
    }
    Ok(head)
}

fn inflated(inflate: Option<&mut Inflate>, piece: Bytes) -> Result<Bytes> {
    match inflate {
        Some(inflate) => inflate.push(&piece),
        None => Ok(piece),
    }
}

/// Ends the client's stream as the upstream's ended.
async fn finish(down: &mut Downstream<'_>, relay: &mut Relay, end: End, account: &mut Account) {
    let whole = relay.finish(end, account).is_ok() && end == End::Clean && !relay.failed();
    account.end(if whole { Ending::Complete } else { Ending::Broken });
    let out = relay.take(account);
    if !out.is_empty() {
        down.body(out, false).await;
    }
    // An error that the provider reports in its own dialect reaches the client as it came.
    if whole || (end == End::Clean && relay.is_native()) {
        down.end().await;
    } else {
        down.cut().await;
    }
}

async fn drain(
    answer: &mut Answer,
    relay: &mut Relay,
    account: &mut Account,
    mut inflate: Option<&mut Inflate>,
) {
    answer.set_read_timeout(QUIET);
    let read = async {
        while let Ok(Some(piece)) = answer.chunk().await {
            let pushed = inflated(inflate.as_deref_mut(), piece).and_then(|piece| relay.push(piece, account));
            relay.take(account);
            if pushed.is_err() {
                break;
            }
        }
    };
    // Running into the limit is as good an end as any: the rest is not the client's any more.
    let _ = tokio::time::timeout(DRAIN, read).await;
}

/// The three ways through.
enum Relay {
    Verbatim(Verbatim),
    Translate(Box<Translate>),
    Native(Box<Native>),
}

impl Relay {
    fn new(current: &Try<'_>) -> Self {
        let preserve = current.settled.operation() == Operation::Preserve;
        let plan = if preserve {
            StreamPlan::Verbatim
        } else {
            current.settled.driver.dialect.stream(&current.call)
        };
        match plan {
            StreamPlan::Verbatim => Self::Verbatim(Verbatim {
                events: SseEvents::default(),
                hide_usage: !preserve && !current.call.include_usage,
                ready: Vec::new(),
                model: None,
                finished: false,
                ended: false,
                failed: false,
                preserve,
            }),
            StreamPlan::Translate(framing, decoder) => {
                let reader =
                    Translate { splitter: framing.splitter(), decoder, out: current.call.client_stream() };
                if current.native {
                    return Self::Native(Box::new(Native { reader, ready: Vec::new(), lost: false }));
                }
                Self::Translate(Box::new(reader))
            }
        }
    }

    fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }

    fn push(&mut self, piece: Bytes, account: &mut Account) -> Result<()> {
        match self {
            Self::Verbatim(relay) => relay.push(piece, account),
            Self::Translate(relay) => relay.push(&piece),
            Self::Native(relay) => {
                relay.push(piece);
                Ok(())
            }
        }
    }

    fn finish(&mut self, end: End, account: &mut Account) -> Result<()> {
        match self {
            Self::Verbatim(relay) => relay.finish(end, account),
            Self::Translate(relay) => relay.finish(end),
            Self::Native(relay) => {
                relay.finish(end);
                Ok(())
            }
        }
    }

    /// What is ready for the client.
    fn take(&mut self, account: &mut Account) -> Bytes {
        match self {
            Self::Verbatim(relay) => relay.take(account),
            Self::Translate(relay) => relay.take(account),
            Self::Native(relay) => {
                relay.reader.take(account);
                joined(&mut relay.ready)
            }
        }
    }

    fn failed(&self) -> bool {
        match self {
            Self::Verbatim(relay) => relay.failed,
            Self::Translate(relay) => relay.out.is_failed(),
            Self::Native(relay) => relay.reader.out.is_failed(),
        }
    }

    fn model(&self) -> Option<String> {
        match self {
            Self::Verbatim(relay) => relay.model.clone(),
            Self::Translate(relay) => relay.out.response_model().map(str::to_owned),
            Self::Native(relay) => relay.reader.out.response_model().map(str::to_owned),
        }
    }
}

/// Same dialect on both sides: events pass as they are, but for a usage chunk that only we asked for.
#[allow(clippy::struct_excessive_bools)] // independent facts of one stream
struct Verbatim {
    events: SseEvents,
    hide_usage: bool,
    ready: Vec<Bytes>,
    model: Option<String>,
    /// The provider said why its answer ends.
    finished: bool,
    /// `[DONE]` has passed.
    ended: bool,
    /// The provider reported an error in the stream.
    failed: bool,
    preserve: bool,
}

impl Verbatim {
    fn push(&mut self, piece: Bytes, account: &mut Account) -> Result<()> {
        self.events.push(piece);
        self.forward(account)
    }

    fn forward(&mut self, account: &mut Account) -> Result<()> {
        let Self { model, finished, ended, failed, preserve, .. } = self;
        let hide = self.hide_usage;
        let keep = |frame: Frame<'_>| {
            let data = frame.data;
            if data == b"[DONE]" {
                *ended = true;
                // After an error it would make the answer look complete.
                return !*failed;
            }
            if model.is_none() {
                *model = chat::reply_scan(data).and_then(|seen| seen.model).map(Cow::into_owned);
            }
            *finished = *finished || scan::is_finish(data);
            *failed = *failed || (!*preserve && scan::is_error(data));
            let Some(usage) = scan::usage_object(data) else { return true };
            account.usage(Usage::read(std::str::from_utf8(usage).unwrap_or_default()));
            // A chunk of usage alone, which only we have asked for.
            !(hide && chat::reply_scan(data).is_some_and(|seen| seen.no_choice))
        };
        self.events.forward(keep, &mut self.ready)
    }

    fn finish(&mut self, end: End, account: &mut Account) -> Result<()> {
        // Half an event would swallow the error that follows it.
        if self.preserve || end == End::Clean {
            self.events.finish();
            self.forward(account)?;
        }
        if end == End::Cut {
            self.fail("the upstream closed the connection before the end of its answer");
        } else if !self.preserve {
            self.end_event();
            if !self.ended && self.finished {
                self.ready.push(Bytes::from_static(b"data: [DONE]\n\n"));
            } else if !self.ended {
                self.fail("the upstream's answer ended without a finish reason");
            }
        }
        Ok(())
    }

    /// Ends the last event with its blank line. One without is not seen by parsers that follow the
    /// standard.
    fn end_event(&mut self) {
        let Some(last) = self.ready.last() else { return };
        if last.ends_with(b"\n\n") || last.ends_with(b"\n\r\n") || last.ends_with(b"\r\r") {
            return;
        }
        let begun_line = last.ends_with(b"\n") || last.ends_with(b"\r");
        self.ready.push(Bytes::from_static(if begun_line { b"\n" } else { b"\n\n" }));
    }

    /// The stream breaks here: the client is told, unless the provider has told it.
    fn fail(&mut self, message: &str) {
        if !self.preserve && !self.failed {
            let mut event = ClientStream::new(Shape::Chat, String::new(), "", 0, false);
            event.error(message);
            self.ready.push(event.take());
        }
        self.failed = true;
    }

    fn take(&mut self, account: &mut Account) -> Bytes {
        let out = joined(&mut self.ready);
        if !out.is_empty() {
            account.events(out.clone());
        }
        out
    }
}

/// What is ready, in one piece.
fn joined(ready: &mut Vec<Bytes>) -> Bytes {
    match ready.len() {
        0 => Bytes::new(),
        1 => ready.swap_remove(0),
        _ => {
            let mut joined = BytesMut::with_capacity(ready.iter().map(Bytes::len).sum());
            ready.drain(..).for_each(|piece| joined.extend_from_slice(&piece));
            joined.freeze()
        }
    }
}

/// The provider's own dialect on both sides: bytes pass, and the decoder reads them for the meter.
struct Native {
    reader: Translate,
    ready: Vec<Bytes>,
    /// The decoder could not read on; the client perhaps can.
    lost: bool,
}

impl Native {
    fn push(&mut self, piece: Bytes) {
        self.lost = self.lost || self.reader.push(&piece).is_err();
        self.ready.push(piece);
    }

    fn finish(&mut self, end: End) {
        self.lost = self.lost || self.reader.finish(end).is_err();
    }
}

/// Another dialect: frames go through the provider's decoder.
struct Translate {
    splitter: Box<dyn Splitter>,
    decoder: Box<dyn StreamDecoder>,
    out: ClientStream,
}

impl Translate {
    fn push(&mut self, piece: &[u8]) -> Result<()> {
        self.splitter.push(piece)?;
        self.decode()
    }

    fn decode(&mut self) -> Result<()> {
        while let Some(frame) = self.splitter.next() {
            if let Err(error) = self.decoder.frame(frame, &mut self.out) {
                self.fail(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<()> {
        if self.out.is_failed() {
            return Ok(());
        }
        if end == End::Clean {
            self.splitter.finish();
            self.decode()?;
        }
        self.decoder.finish(end, &mut self.out).inspect_err(|error| self.out.error(error.message()))
    }

    fn fail(&mut self, error: &Error) {
        self.out.error(error.message());
    }

    fn take(&mut self, account: &mut Account) -> Bytes {
        let text = self.out.take_text();
        if !text.is_empty() {
            account.text(&text);
        }
        if let Some(usage) = self.out.seen_usage() {
            account.usage(usage);
        }
        self.out.take()
    }
}
