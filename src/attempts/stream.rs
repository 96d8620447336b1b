//! Answers that stream: each event goes to the client when it comes, and past the meter.

use super::collect::internal;
use super::downstream::Downstream;
use super::relay::Relay;
use super::{Outcome, Try};
use crate::config::target::Operation;
use crate::error::Result;
use crate::meter::account::Account;
use crate::meter::metrics::Ending;
use crate::provider::{End, StreamPlan};
use crate::upstream::attempt::Answer;
use crate::upstream::inflate::Inflate;
use bytes::Bytes;
use http::{HeaderMap, header};
use pingora::http::ResponseHeader;
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
