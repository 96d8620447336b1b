//! Taking a request in: its whole body, within a size and a time.

pub mod client;
mod date;
pub mod direct;
pub mod form;
pub mod head;
pub mod id;
pub mod real_ip;
pub mod room;

pub use client::Client;

use crate::error::{Error, Kind, Result};
use crate::turns;
use bytes::{Bytes, BytesMut};
use pingora::protocols::http::ServerSession;
use room::Held;
use std::time::Duration;

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two pieces.
    pub per_read: Duration,
    /// From the first byte to the last: a slow drip never breaks the limit above.
    pub total: Duration,
}

/// Reads the whole body of a request on a connection of Pingora's, into room that it holds then.
///
/// A body that announces a length over the limit is refused before a byte of it is read.
async fn read(
    session: &mut ServerSession,
    limit: usize,
    patience: Patience,
    held: &mut Held,
) -> Result<Bytes> {
    if declared_length(session).is_some_and(|length| length > limit as u64) {
        session.set_keepalive(None);
        return Err(too_large(limit));
    }
    let length = declared_length(session).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if let Err(error) = held.wait(length, patience.total).await {
        session.set_keepalive(None);
        return Err(error);
    }
    if expects_continue(session)
        && let ServerSession::H1(h1) = session
    {
        // Pingora does not answer the expectation when the body is read in a filter. To its mind an
        // answer before the body's end closes the connection; this one does not.
        h1.set_close_on_response_before_downstream_finish(false);
        h1.write_continue_response().await.map_err(|_| gone())?;
        h1.set_close_on_response_before_downstream_finish(true);
    }
    session.set_read_timeout(Some(patience.per_read));
    let read = tokio::time::timeout(patience.total, collect(session, limit, held)).await;
    if read.is_err() {
        turns::pass().await;
    }
    let body = read.map_err(|_| slow())?;
    if body.is_err() {
        session.set_keepalive(None);
    }
    body
}

async fn collect(session: &mut ServerSession, limit: usize, held: &mut Held) -> Result<Bytes> {
    let Some(first) = next(session).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(too_large(limit));
    }
    let Some(second) = next(session).await? else { return Ok(first) };
    let expected = declared_length(session).and_then(|length| usize::try_from(length).ok());
    let mut whole = BytesMut::with_capacity(expected.unwrap_or(first.len() * 4).min(limit));
    whole.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if whole.len() + bytes.len() > limit {
            return Err(too_large(limit));
        }
        held.grow(whole.len() + bytes.len())?;
        whole.extend_from_slice(&bytes);
        if whole.len() > turns::LARGE {
            turns::pass().await;
        }
        piece = next(session).await?;
    }
    Ok(whole.freeze())
}

async fn next(session: &mut ServerSession) -> Result<Option<Bytes>> {
    use pingora::ErrorType::{ConnectionClosed, InvalidHTTPHeader, ReadTimedout};
    session.read_request_body().await.map_err(|error| match error.etype() {
        ReadTimedout => slow(),
        ConnectionClosed => gone(),
        InvalidHTTPHeader => Error::new(Kind::BadHead, "Bad request"),
        _ => Error::new(Kind::BadHead, "request body cannot be read"),
    })
}

fn declared_length(session: &ServerSession) -> Option<u64> {
    let value = session.req_header().headers.get(http::header::CONTENT_LENGTH)?;
    value.to_str().ok()?.trim().parse().ok()
}

fn expects_continue(session: &ServerSession) -> bool {
    let expect = session.req_header().headers.get(http::header::EXPECT);
    expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn too_large(limit: usize) -> Error {
    Error::new(
        Kind::TooLarge,
        format!("request body is over {limit} bytes: raise max_request_body_size of the plugin or send less"),
    )
}

fn slow() -> Error {
    Error::new(Kind::SlowBody, "request body did not arrive in time")
}

fn gone() -> Error {
    Error::new(Kind::ClientGone, "the client hung up")
}
