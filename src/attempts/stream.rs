//! Answers that stream: each event goes to the client when it comes, and past the meter.

use super::collect::internal;
use super::downstream::Downstream;
use super::relay::Relay;
use super::{Outcome, Try};
use crate::config::target::Operation;
use crate::error::{Error, Kind, Result};
use crate::meter::account::Account;
use crate::meter::metrics::Ending;
use crate::provider::{End, StreamPlan};
use crate::respond::head;
use crate::target::policy::Abandoned;
use crate::turns;
use crate::upstream::attempt::Answer;
use crate::upstream::inflate::Inflate;
use crate::wire::frame::Framing;
use bytes::Bytes;
use http::{HeaderMap, header};
use pingora::http::ResponseHeader;
use std::time::{Duration, Instant};

/// When the client of a stream has gone, what the upstream had already sent still counts: it is
/// read until nothing comes for this long,
const QUIET: Duration = Duration::from_millis(50);
/// and no longer than this altogether. Then the upstream is hung up on, which ends its work.
const DRAIN: Duration = Duration::from_secs(1);

/// How long an upstream may take to end its body behind its last event. That is all its connection is
/// waited for; the client has its answer.
const TRAILER: Duration = Duration::from_millis(200);

/// The most that is taken before it is written.
const AT_ONCE: usize = 64 * 1024;

/// The most that is held back without any output.
const PREAMBLE: usize = 64 * 1024;

/// Whether the answer is to be relayed as a stream.
pub fn is_stream(answer: &Answer, current: &Try<'_>) -> bool {
    if current.native {
        return current.call.stream;
    }
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if current.settled.operation() == Operation::Preserve {
        return kind.starts_with("text/event-stream");
    }
    // An upstream that was asked to stream and sends one JSON document has declined. Decoders of text
    // tell by its first byte.
    current.call.stream
        && (!kind.starts_with("application/json")
            || match current.settled.driver.dialect.stream(&current.call) {
                StreamPlan::Verbatim | StreamPlan::Translate(Framing::AwsEventStream, _) => false,
                StreamPlan::Translate(..) => true,
            })
}

/// Relays a stream to its end.
///
/// The head and what comes before the model's first output are held until then: a stream that fails
/// earlier is an error like any other, and another target may follow.
pub async fn relay(
    down: &mut Downstream<'_>,
    current: &Try<'_>,
    mut answer: Answer,
    account: &mut Account,
) -> Result<Outcome> {
    let headers = answer.take_headers();
    let coding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let inflate = coding.and_then(Inflate::new);
    let status = answer.status();
    let head = stream_head(down, current, status, headers, inflate.is_some()).map_err(|_| internal())?;
    let mut outcome = Outcome { status, headers: current.seen(&head), model: None };
    let mut flow = Flow { answer, inflate, relay: Relay::new(current), account, taken: 0, broken: None };
    let mut end = flow.hold(down, current.limits.first_by).await?;
    down.head(head).await;
    if let Some(idle) = current.limits.idle {
        flow.answer.set_read_timeout(idle);
    }
    loop {
        if down.gone {
            flow.abandon(current.limits.abandoned).await;
            break;
        }
        if let Some(end) = end {
            flow.finish(down, end).await;
            outcome.model = flow.relay.model();
            if end == End::Clean {
                flow.answer.done();
            }
            return Ok(outcome);
        }
        let out = flow.relay.take(flow.account);
        if !out.is_empty() {
            down.body(out, false).await;
        }
        end = flow.more(down).await;
    }
    outcome.model = flow.relay.model();
    Ok(outcome)
}

/// A stream on its way through the gateway.
struct Flow<'a> {
    answer: Answer,
    inflate: Option<Inflate>,
    relay: Relay,
    account: &'a mut Account,
    /// Bytes so far.
    taken: usize,
    /// Why it broke off.
    broken: Option<Error>,
}

impl Flow<'_> {
    /// Reads until the model has said something; says whether the stream ended with that.
    async fn hold(&mut self, down: &mut Downstream<'_>, until: Option<Instant>) -> Result<Option<End>> {
        loop {
            let Some(read) = down.unless_gone(read_by(&mut self.answer, until)).await else {
                return Ok(None);
            };
            let end = self.take_ready(read);
            if end == Some(End::Clean) && !self.relay.has_output() && !self.relay.failed() {
                // What stands there unterminated may be all that there is.
                self.broken = self.relay.finish(End::Clean, self.account).err();
            }
            if self.relay.has_output() {
                return Ok(end);
            }
            if self.relay.failed() || end.is_some() {
                self.relay.state(self.account);
                return Err(self.silence());
            }
            if self.taken > PREAMBLE {
                return Ok(None);
            }
        }
    }

    /// Waits for the next read; says whether the stream ended.
    async fn more(&mut self, down: &mut Downstream<'_>) -> Option<End> {
        if self.relay.is_complete() && !self.relay.is_native() {
            self.answer.set_read_timeout(TRAILER);
        }
        let read = down.unless_gone(self.answer.chunk()).await?;
        self.take_ready(read)
    }

    /// Takes one read and all that is here already: what has arrived together leaves together, and
    /// nothing waits. Says whether the stream ended.
    fn take_ready(&mut self, first: Result<Option<Bytes>>) -> Option<End> {
        let mut read = first;
        let mut taken = 0;
        loop {
            let pushed = match read {
                Ok(Some(piece)) => {
                    taken += piece.len();
                    self.push(piece)
                }
                Ok(None) => return Some(End::Clean),
                Err(error) => Err(Error::new(error.kind(), cause(&error))),
            };
            self.taken += taken;
            if let Err(error) = pushed {
                self.broken = Some(error);
                return Some(End::Cut);
            }
            if taken > AT_ONCE {
                return None;
            }
            read = self.answer.ready()?;
        }
    }

    fn push(&mut self, piece: Bytes) -> Result<()> {
        let piece = match &mut self.inflate {
            Some(inflate) => inflate.push(&piece)?,
            None => piece,
        };
        self.relay.push(piece, self.account)
    }

    /// What a stream without output is answered with.
    fn silence(&mut self) -> Error {
        if let Some(message) = self.relay.reported().filter(|_| self.taken > 0) {
            return Error::bad_reply(message);
        }
        let empty = || Error::bad_reply("the upstream's stream ended before it began");
        self.broken.take().unwrap_or_else(empty)
    }

    /// Ends the client's stream as the upstream's ended.
    async fn finish(&mut self, down: &mut Downstream<'_>, end: End) {
        // What happens behind an answer's own end takes nothing from it.
        let (complete, native) = (self.relay.is_complete(), self.relay.is_native());
        let came = end;
        let end = if complete { End::Clean } else { end };
        if let Some(error) = self.broken.as_ref().filter(|_| !complete) {
            self.relay.fail(error.message());
        }
        let whole = self.relay.finish(end, self.account).is_ok() && end == End::Clean && !self.relay.failed();
        self.account.end(if whole { Ending::Complete } else { Ending::Broken });
        let out = self.relay.take(self.account);
        if !out.is_empty() {
            down.body(out, false).await;
        }
        // In the provider's own dialect the client sees the upstream's end as it came.
        if (whole && !native) || (came == End::Clean && native) {
            down.end().await;
        } else {
            down.cut().await;
        }
    }

    /// The client has gone: what was sent already is read, or the whole answer if that is wished.
    async fn abandon(&mut self, abandoned: Abandoned) {
        // Those who came together leave together.
        turns::pass().await;
        let (time, most) = match abandoned {
            Abandoned::Cancel => {
                self.answer.set_read_timeout(QUIET);
                (DRAIN, u64::MAX)
            }
            Abandoned::Drain { time, tokens } => (time, tokens),
        };
        let read = async {
            loop {
                let read = self.answer.chunk().await;
                let end = self.take_ready(read);
                self.relay.take(self.account);
                if let Some(end) = end {
                    return end;
                }
                if most < u64::MAX && self.account.counted() >= most {
                    return End::Cut;
                }
            }
        };
        // Running into the limit is as good an end as any: the rest is not the client's any more.
        let end = tokio::time::timeout(time, read).await.unwrap_or(End::Cut);
        turns::pass().await;
        let end = if self.relay.is_complete() { End::Clean } else { end };
        let whole = end == End::Clean && self.relay.finish(end, self.account).is_ok() && !self.relay.failed();
        self.relay.take(self.account);
        if whole {
            self.account.whole();
        }
        self.account.end(Ending::ClientGone);
    }
}

/// The next piece, waited for no longer than until then.
async fn read_by(answer: &mut Answer, until: Option<Instant>) -> Result<Option<Bytes>> {
    let Some(until) = until else { return answer.chunk().await };
    let late = |_| Error::new(Kind::Timeout, "The upstream server is timing out");
    tokio::time::timeout_at(until.into(), answer.chunk()).await.map_err(late)?
}

/// What the client is told of a stream that breaks off.
fn cause(error: &Error) -> &'static str {
    match error.kind() {
        Kind::Timeout => "the upstream fell silent before the end of its answer",
        _ => "the upstream closed the connection before the end of its answer",
    }
}

/// The head of the client's stream. In the provider's own dialect it keeps what the upstream said.
fn stream_head(
    down: &Downstream<'_>,
    current: &Try<'_>,
    status: u16,
    mut headers: HeaderMap,
    inflating: bool,
) -> pingora::Result<ResponseHeader> {
    let preserve = current.settled.operation() == Operation::Preserve;
    let theirs = headers.get(header::CONTENT_TYPE).filter(|_| preserve).cloned();
    if !current.native {
        head::forget_body(&mut headers);
        let own = header::HeaderValue::from_static("text/event-stream");
        headers.insert(header::CONTENT_TYPE, theirs.unwrap_or(own));
    } else if inflating {
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        current.chunked(down, &mut headers);
    }
    current.head(status, headers)
}
