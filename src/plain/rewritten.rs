//! Plain routes on which a plugin rewrites bodies: the request is read whole and sent by ourselves,
//! because Pingora's pipeline cannot send another body than the one that it reads.

use crate::accept::{Client, Patience};
use crate::attempts::collect::{LIMIT, internal};
use crate::attempts::downstream::Downstream;
use crate::attempts::encode::forwarded;
use crate::attempts::rewritten;
use crate::error::{Error, Kind, Result};
use crate::exchange::{Exchange, Try};
use crate::phases::{self, Phase};
use crate::plugins::{Stop, Whole};
use crate::respond::head::{self, Latency};
use crate::snapshot::{Entry, Plain};
use crate::upstream::attempt::{Answer, Connections, Request};
use crate::upstream::fetch::{self, Fetched};
use crate::upstream::head as wire;
use bytes::Bytes;
use http::{HeaderMap, header};
use pingora::http::ResponseHeader;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Serves an exchange with the route's service.
pub async fn serve(
    connections: &Arc<Connections>,
    patience: Patience,
    client: &mut Client<'_>,
    x: &mut Exchange,
) -> Result<(), Stop> {
    let Some(entry) = x.entry().cloned() else { return Err(internal().into()) };
    let Some(upstream) = &entry.upstream else {
        return Err(Error::new(Kind::NoService, "no Service found with those values").into());
    };
    let limit = x.chain().body_limit.unwrap_or_default();
    let body = x.read_body(client, limit, patience).await?;
    let head = client.head().clone();
    let body = phases::rewrite_request(connections, &head, x, body).await?;
    let gone_on = phases::run(&entry, Phase::Body, x, client.head_mut()).await;
    gone_on.map_err(|stop| stop.with_body(&body))?;
    let request = encode(client, x, upstream, body);
    forward(connections, client, x, (&entry, upstream, &request)).await.map_err(Stop::Error)
}

/// Sends the request, and gives the client what becomes of the answer.
async fn forward(
    connections: &Arc<Connections>,
    client: &mut Client<'_>,
    x: &mut Exchange,
    to: (&Entry, &Plain, &Request),
) -> Result<()> {
    let head = client.head().clone();
    let collects = x.chain().rewrites_answer();
    let mut down = Downstream::new(client.lend());
    let answer = send(connections, &mut down, x, to).await;
    let sent = to.2.sent.load(Ordering::Relaxed);
    let answer = answer.map_err(|error| if collects { unserved(&error, sent) } else { error })?;
    x.upstream.status = Some(answer.status());
    if !collects {
        return relay(&mut down, x, answer).await;
    }
    let fetched = collect(&mut down, x, answer).await?;
    let proxied = proxied(x, fetched.status, fetched.headers).map_err(|_| internal())?;
    let headers = rewritten::unframed(proxied.headers.clone());
    let whole = Whole { status: fetched.status, headers, body: fetched.body };
    let whole = phases::rewrite_answer(connections, &head, x, whole).await?;
    let head = rewritten::head(&whole).map_err(|_| internal())?;
    note(x, &head);
    rewritten::send(&mut down, head, whole).await;
    x.answer.client_gone = down.gone;
    Ok(())
}

/// The request as the service sees it.
fn encode(client: &Client<'_>, x: &mut Exchange, upstream: &Plain, body: Bytes) -> Request {
    let head = client.head();
    let query = head.uri.query().unwrap_or_default();
    let path = x.route.as_ref().map(|route| route.path.clone()).unwrap_or_default();
    let preserve = x.entry().is_some_and(|entry| entry.route.preserve_host);
    let parts = wire::Parts {
        method: &head.method,
        path: &path,
        query: &[query],
        host: if preserve { client.host() } else { &upstream.authority },
        client: &head.headers,
        own: &x.trace_headers(),
        withheld: None,
        length: body.len(),
        forwarded: Some(forwarded(client, x)),
    };
    let written = wire::write(&parts);
    x.upstream.uri = Some(if query.is_empty() { path } else { format!("{path}?{query}") });
    Request::new(written, body)
}

/// Sends it, and once more to the next address while nobody has taken it.
async fn send(
    connections: &Arc<Connections>,
    down: &mut Downstream<'_>,
    x: &mut Exchange,
    (entry, upstream, request): (&Entry, &Plain, &Request),
) -> Result<Answer> {
    let retries = entry.service.as_ref().map_or(0, |service| service.retries);
    let mut turn = 0;
    loop {
        let at = x.age_ms();
        let sending = Box::pin(connections.send(&upstream.endpoint, request, entry.timeouts));
        let answer = down.unless_gone(sending).await.unwrap_or_else(|| Err(gone()));
        x.upstream.waited += std::mem::take(&mut down.waited);
        let address = answer.as_ref().ok().and_then(|answer| answer.address);
        x.upstream.tries.push(Try { address, at, state: None, code: None });
        let untaken = answer.is_err() && !down.gone && !request.sent.load(Ordering::Relaxed);
        if !untaken || turn >= retries {
            x.answer.client_gone = down.gone;
            return answer;
        }
        turn += 1;
    }
}

async fn collect(down: &mut Downstream<'_>, x: &mut Exchange, answer: Answer) -> Result<Fetched> {
    let fetched =
        down.unless_gone(Box::pin(fetch::whole(answer, LIMIT))).await.unwrap_or_else(|| Err(gone()));
    received(x, down);
    fetched.map_err(|error| unserved(&error, true))
}

/// Passes an answer on as it comes.
async fn relay(down: &mut Downstream<'_>, x: &mut Exchange, mut answer: Answer) -> Result<()> {
    let headers = answer.take_headers();
    let mut head = proxied(x, answer.status(), headers).map_err(|_| internal())?;
    let framed = head.headers.contains_key(header::CONTENT_LENGTH) || answer.is_bodiless();
    if !framed && down.client.head().version == http::Version::HTTP_11 {
        head.insert_header(header::TRANSFER_ENCODING, "chunked").map_err(|_| internal())?;
    }
    note(x, &head);
    down.head(head).await;
    let ended = loop {
        match down.unless_gone(answer.chunk()).await {
            Some(Ok(Some(piece))) if piece.is_empty() => {}
            Some(Ok(Some(piece))) => down.body(piece, false).await,
            Some(Ok(None)) => break Ok(true),
            Some(Err(error)) => break Err(error),
            None => break Ok(false),
        }
    };
    received(x, down);
    match ended {
        Ok(true) => {
            down.end().await;
            answer.done();
        }
        Ok(false) => {}
        Err(error) => {
            down.cut().await;
            return Err(error);
        }
    }
    Ok(())
}

fn received(x: &mut Exchange, down: &mut Downstream<'_>) {
    x.upstream.received = std::mem::take(&mut down.waited);
    x.upstream.waited += x.upstream.received;
    x.answer.client_gone = down.gone;
}

/// The head of the client's answer, from the service's.
fn proxied(x: &Exchange, status: u16, upstream: HeaderMap) -> pingora::Result<ResponseHeader> {
    let latency = Latency { upstream: Some(millis(x.upstream.waited)), own: millis(x.own_time()) };
    let mut head = head::proxied(status, upstream, latency, x.id.as_str())?;
    head::add(&mut head, &x.answer.added);
    Ok(head)
}

fn note(x: &mut Exchange, head: &ResponseHeader) {
    x.answer.status = Some(head.status.as_u16());
    if !x.chain().loggers().is_empty() {
        x.answer.headers = Some(head.headers.clone());
    }
}

/// Why the service gave no answer that could be rewritten, in the plugin's words.
fn unserved(error: &Error, sent: bool) -> Error {
    if error.kind() == Kind::ClientGone {
        return error.clone();
    }
    let step = if sent { "subrequest failed" } else { "failed to connect to upstream" };
    Error::new(Kind::Subrequest, format!("{step}: {}", fetch::reason(error)))
}

fn gone() -> Error {
    Error::new(Kind::ClientGone, "the client hung up")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
