//! One try of one upstream: the request in one write, the head of the answer, then its body.
//!
//! HTTP/1.1 by hand on Pingora's pooled streams: its own client session flushes the head before the
//! body, which costs a packet and a system call on every exchange.

use super::endpoint::{Endpoint, Timeouts};
use super::tunnel;
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use http::HeaderMap;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::Peer;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// A body up to this size is copied behind the head, so that both leave in one write.
const ONE_WRITE: usize = 64 * 1024;

/// What a broken upstream would have Kong say.
pub(super) const INVALID: &str = "An invalid response was received from the upstream server";
const UNTRUSTED: &str = "the upstream's certificate is not trusted";
const TIMED_OUT: &str = "The upstream server is timing out";

/// The pool of connections to all upstreams.
pub struct Connections {
    connector: TransportConnector,
}

impl Connections {
    /// A pool that keeps up to `idle` unused connections.
    pub fn new(idle: usize) -> Self {
        Self { connector: TransportConnector::new(Some(ConnectorOptions::new(idle))) }
    }

    /// Sends a request and reads the head of the answer.
    ///
    /// A pooled connection may have died since its last use: if one breaks before a byte of the
    /// answer came, the request goes out once more on a new connection.
    pub async fn send(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        request: &Request,
        timeouts: Timeouts,
    ) -> Result<Answer> {
        let peer = endpoint.peer().await?;
        let address = peer._address.as_inet().copied();
        if let Some(stream) = self.connector.reused_stream(&*peer).await {
            match exchange(stream, request, timeouts).await {
                Ok(session) => {
                    return Ok(self.answer(session, request, endpoint, (peer.reuse_hash(), address)));
                }
                Err(Broken::Stale) => {}
                Err(Broken::Failed(error)) => return Err(error),
            }
        }
        // Boxed: connecting is rare, and its future is what would make this one large.
        let connecting = Box::pin(self.connector.new_stream(&*peer));
        let stream = connecting.await.map_err(|error| refused(&error))?;
        match exchange(stream, request, timeouts).await {
            Ok(session) => Ok(self.answer(session, request, endpoint, (peer.reuse_hash(), address))),
            Err(Broken::Stale) => Err(Error::new(Kind::Unreachable, INVALID)),
            Err(Broken::Failed(error)) => Err(error),
        }
    }

    fn answer(
        self: &Arc<Self>,
        session: Box<HttpSession>,
        request: &Request,
        endpoint: &Arc<Endpoint>,
        (key, address): (u64, Option<SocketAddr>),
    ) -> Answer {
        let to_head = request.head.starts_with(b"HEAD ");
        Answer { session, pool: self.clone(), key, idle: endpoint.idle(), to_head, address }
    }
}

/// A request, ready for the wire.
pub struct Request {
    /// Request line and headers, with the blank line.
    pub head: Vec<u8>,
    pub body: Bytes,
    /// Set once some upstream may have got it, and may charge for it.
    pub sent: AtomicBool,
}

impl Request {
    /// A request that has not gone out yet.
    pub fn new(head: Vec<u8>, body: Bytes) -> Self {
        Self { head, body, sent: AtomicBool::new(false) }
    }
}

enum Broken {
    /// The connection was dead before the request was looked at.
    Stale,
    Failed(Error),
}

async fn exchange(stream: Stream, request: &Request, timeouts: Timeouts) -> Result<Box<HttpSession>, Broken> {
    let mut stream = stream;
    request.sent.store(true, Ordering::Relaxed);
    let written = tokio::time::timeout(timeouts.write, write(&mut stream, request)).await;
    // Boxed: it is a kilobyte, and would be in every future that an answer passes through.
    let mut session = Box::new(HttpSession::new(stream));
    session.read_timeout = Some(timeouts.read);
    match written {
        Ok(Ok(())) => {}
        // An upstream that refuses a large body may answer before it has read it all.
        Ok(Err(_)) if request.body.len() > ONE_WRITE => {}
        Ok(Err(_)) => return Err(Broken::Stale),
        Err(_) => return Err(Broken::Failed(Error::new(Kind::Timeout, TIMED_OUT))),
    }
    loop {
        if let Err(error) = session.read_response().await {
            return Err(if is_stale(&error) { Broken::Stale } else { Broken::Failed(failed(&error)) });
        }
        if session.get_status().is_none_or(|status| !status.is_informational()) {
            session.respect_keepalive();
            return Ok(session);
        }
    }
}

/// Whether the connection broke before a byte of the answer. Only then the request may go out again:
/// an upstream that had begun to answer had also begun to charge.
fn is_stale(error: &pingora::Error) -> bool {
    use pingora::ErrorType::{ConnectionClosed, ReadError};
    // The text of the pinned release; a text that has changed means no second try.
    let untouched =
        error.context.as_ref().is_some_and(|context| context.as_str().ends_with("already read: 0"));
    matches!(error.etype(), ConnectionClosed | ReadError) && untouched
}

async fn write(stream: &mut Stream, request: &Request) -> std::io::Result<()> {
    if request.body.len() <= ONE_WRITE {
        let mut whole = Vec::with_capacity(request.head.len() + request.body.len());
        whole.extend_from_slice(&request.head);
        whole.extend_from_slice(&request.body);
        stream.write_all(&whole).await?;
    } else {
        stream.write_all(&request.head).await?;
        stream.write_all(&request.body).await?;
    }
    stream.flush().await
}

fn refused(error: &pingora::Error) -> Error {
    use pingora::ErrorType::{
        ConnectProxyFailure, ConnectTimedout, TLSHandshakeFailure, TLSHandshakeTimedout,
    };
    let why = error.context.as_ref().map_or("", |context| context.as_str());
    match error.etype() {
        ConnectTimedout | TLSHandshakeTimedout => Error::new(Kind::Timeout, TIMED_OUT),
        // Kong's own words hide what only the one who runs the gateway can mend.
        TLSHandshakeFailure if why.contains("invalid peer certificate") => {
            Error::new(Kind::Unreachable, UNTRUSTED)
        }
        ConnectProxyFailure if why.starts_with(tunnel::REFUSED) => {
            Error::new(Kind::Unreachable, why.to_owned())
        }
        _ => Error::new(Kind::Unreachable, INVALID),
    }
}

fn failed(error: &pingora::Error) -> Error {
    use pingora::ErrorType::{ReadTimedout, WriteTimedout};
    match error.etype() {
        ReadTimedout | WriteTimedout => Error::new(Kind::Timeout, TIMED_OUT),
        _ => Error::new(Kind::Unreachable, INVALID),
    }
}

/// An answer whose head has arrived.
pub struct Answer {
    session: Box<HttpSession>,
    pool: Arc<Connections>,
    key: u64,
    idle: Duration,
    /// The answer to a HEAD: its length is that of a body which does not come. Pingora did not see
    /// the request and would wait for it.
    to_head: bool,
    /// Who answered.
    pub address: Option<SocketAddr>,
}

impl Answer {
    /// Status, reason and headers.
    pub fn head(&self) -> Option<&ResponseHeader> {
        self.session.resp_header()
    }

    /// The status; 502 if there is none.
    pub fn status(&self) -> u16 {
        self.head().map_or(502, |head| head.status.as_u16())
    }

    /// Whether no body belongs to the answer, whatever its headers say.
    pub fn is_bodiless(&self) -> bool {
        self.to_head || matches!(self.status(), 204 | 304)
    }

    /// The headers.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.head().map(|head| &head.headers)
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.to_head {
            return Ok(None);
        }
        self.session.read_body_bytes().await.map_err(|error| failed(&error))
    }

    /// The next piece, if it is here already; `None` if it is to be waited for.
    pub fn ready(&mut self) -> Option<Result<Option<Bytes>>> {
        // Without its timeout the read sets up no timer that would be dropped at once.
        let timeout = self.session.read_timeout.take();
        let polled = {
            let read = std::pin::pin!(self.session.read_body_bytes());
            read.poll(&mut Context::from_waker(Waker::noop()))
        };
        self.session.read_timeout = timeout;
        match polled {
            Poll::Ready(piece) => Some(piece.map_err(|error| failed(&error))),
            Poll::Pending => None,
        }
    }

    /// Bounds the wait for each following piece.
    pub fn set_read_timeout(&mut self, timeout: Duration) {
        self.session.read_timeout = Some(timeout);
    }

    /// The answer is read: its connection goes back to the pool if it can be used again.
    pub async fn done(self) {
        if let Some(stream) = Box::pin(self.session.reuse()).await {
            self.pool.connector.release_stream(stream, self.key, Some(self.idle));
        }
    }
}
