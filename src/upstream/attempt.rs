//! One try of one upstream: the request in one write, the head of the answer, then its body.
//!
//! HTTP/1.1 by hand on Pingora's streams: its own client session flushes the head before the body, which
//! costs a packet and a system call on every exchange, and its pool a task for each connection that waits.

use super::connection::Connection;
use super::endpoint::{Endpoint, IDLE, Known, Timeouts};
use super::pool::Pool;
use super::{trust, tunnel};
use crate::clock::Elapsed;
use crate::error::{Error, Kind, Result};
use crate::gather;
use crate::wire::h1::{Body, Head, Response, head};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use pingora::connectors::TransportConnector;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An upstream that refuses a body larger than this may answer before it has read it all.
const AT_ONCE: usize = 64 * 1024;

/// What a broken upstream would have Kong say.
pub(super) const INVALID: &str = "An invalid response was received from the upstream server";
const UNTRUSTED: &str = "the upstream's certificate is not trusted";
const TIMED_OUT: &str = "The upstream server is timing out";

/// The connections to all upstreams.
pub struct Connections {
    connector: TransportConnector,
    pool: Pool,
}

impl Connections {
    /// Connections, of which up to `idle` are kept while unused.
    pub fn new(idle: usize) -> Self {
        Self { connector: TransportConnector::new(Some(trust::options())), pool: Pool::new(idle) }
    }

    /// Closes those that have waited too long.
    pub fn sweep(&self) {
        self.pool.sweep();
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
        let known = endpoint.peer().await?;
        if let Some(mut connection) = self.pool.take(known.key) {
            match exchange(&mut connection, request, timeouts).await {
                Ok(head) => return Ok(self.answer((connection, head), request, &known, timeouts.read)),
                Err(Broken::Stale) => {}
                Err(Broken::Failed(error)) => return Err(error),
            }
        }
        // Boxed: connecting is rare, and its future is what would make this one large.
        let connecting = Box::pin(self.connector.new_stream(&known.peer));
        let stream = connecting.await.map_err(|error| refused(&error))?;
        let mut connection = Connection::new(stream);
        match exchange(&mut connection, request, timeouts).await {
            Ok(head) => Ok(self.answer((connection, head), request, &known, timeouts.read)),
            Err(Broken::Stale) => Err(broken()),
            Err(Broken::Failed(error)) => Err(error),
        }
    }

    fn answer(
        self: &Arc<Self>,
        (connection, head): (Connection, Response),
        request: &Request,
        known: &Known,
        patience: Duration,
    ) -> Answer {
        Answer {
            body: Body::new(head.framing),
            head,
            connection,
            home: self.clone(),
            key: known.key,
            patience,
            to_head: request.head.starts_with(b"HEAD "),
            address: known.address,
        }
    }
}

/// A request, ready for the wire.
pub struct Request {
    /// Request line and headers, with the blank line.
    pub head: Vec<u8>,
    /// Sent with the head, in one write.
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

async fn exchange(
    connection: &mut Connection,
    request: &Request,
    timeouts: Timeouts,
) -> Result<Response, Broken> {
    gather::others().await;
    request.sent.store(true, Ordering::Relaxed);
    match connection.write(&request.head, &request.body, timeouts.write).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) if request.body.len() > AT_ONCE => {}
        Ok(Err(_)) => return Err(Broken::Stale),
        Err(Elapsed) => return Err(Broken::Failed(Error::new(Kind::Timeout, TIMED_OUT))),
    }
    loop {
        let head = head(connection, timeouts.read).await?;
        if !(100..200).contains(&head.status) {
            return Ok(head);
        }
        if head.status == 101 {
            // Nobody asked for another protocol.
            return Err(Broken::Failed(broken()));
        }
    }
}

/// The next head. An upstream that had begun to answer had also begun to charge: only before its first byte
/// the request may go out again.
async fn head(connection: &mut Connection, limit: Duration) -> Result<Response, Broken> {
    let invalid = || Broken::Failed(broken());
    loop {
        if !connection.buf.is_empty() {
            match Response::read(&mut connection.buf) {
                Head::Whole(head) => return Ok(head),
                Head::Partial if connection.buf.len() <= head::LONGEST => {}
                Head::Partial | Head::Other => return Err(invalid()),
            }
        }
        match connection.read(0, limit).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) if connection.buf.is_empty() => return Err(Broken::Stale),
            Ok(Ok(0) | Err(_)) => return Err(invalid()),
            Err(Elapsed) => return Err(Broken::Failed(Error::new(Kind::Timeout, TIMED_OUT))),
        }
    }
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

/// An answer whose head has arrived.
pub struct Answer {
    head: Response,
    body: Body,
    connection: Connection,
    home: Arc<Connections>,
    key: u64,
    /// How long each piece may take.
    patience: Duration,
    /// The answer to a HEAD: its length is that of a body which does not come.
    to_head: bool,
    /// Who answered.
    pub address: Option<SocketAddr>,
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Whether no body belongs to the answer, whatever its headers say.
    pub fn is_bodiless(&self) -> bool {
        self.to_head || matches!(self.status(), 204 | 304)
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The headers, to become those of the client's answer.
    pub fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.head.headers)
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(taken) = self.taken() {
                return taken;
            }
            let read = self.connection.read(self.expected(), self.patience).await;
            let read = read.map_err(|Elapsed| Error::new(Kind::Timeout, TIMED_OUT))?;
            self.heard(&read)?;
        }
    }

    /// The next piece, if it is here already; `None` if it is to be waited for.
    pub fn ready(&mut self) -> Option<Result<Option<Bytes>>> {
        loop {
            if let Some(taken) = self.taken() {
                return Some(taken);
            }
            let read = self.connection.read_now(self.expected())?;
            if let Err(error) = self.heard(&read) {
                return Some(Err(error));
            }
        }
    }

    /// The whole body, of at most so many bytes; in one buffer from the start where its length is known.
    pub async fn whole(&mut self, limit: usize) -> Result<Bytes> {
        if let Some(length) = self.body.left().and_then(|left| usize::try_from(left).ok())
            && length <= limit
            && !self.to_head
        {
            while self.connection.buf.len() < length {
                let left = length - self.connection.buf.len();
                let read = self.connection.read(left, self.patience).await;
                let read = read.map_err(|Elapsed| Error::new(Kind::Timeout, TIMED_OUT))?;
                self.heard(&read)?;
            }
            return self
                .body
                .take(&mut self.connection.buf)
                .map(Option::unwrap_or_default)
                .map_err(|_| broken());
        }
        let mut body = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if body.len() + piece.len() > limit {
                return Err(Error::new(Kind::Unreachable, format!("the answer is over {limit} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// Bounds the wait for each following piece.
    pub fn set_read_timeout(&mut self, timeout: Duration) {
        self.patience = timeout;
    }

    /// The answer is read: its connection waits for the next if it can be used again.
    pub fn done(self) {
        let Self { head, body, connection, home, key, to_head, .. } = self;
        let read = to_head || body.is_done();
        if head.keep_alive && read && connection.buf.is_empty() {
            home.pool.put(key, connection, IDLE);
        }
    }

    /// What can be taken without reading: a piece, the end, or an error.
    fn taken(&mut self) -> Option<Result<Option<Bytes>>> {
        if self.to_head {
            return Some(Ok(None));
        }
        match self.body.take(&mut self.connection.buf) {
            Ok(Some(piece)) => Some(Ok(Some(piece))),
            Ok(None) => self.body.is_done().then_some(Ok(None)),
            Err(_) => Some(Err(broken())),
        }
    }

    /// What is left of the body, as far as a read should make room for it.
    fn expected(&self) -> usize {
        self.body.left().map_or(0, |left| usize::try_from(left).unwrap_or(AT_ONCE).min(AT_ONCE))
    }

    /// What a read says of the body's end.
    fn heard(&mut self, read: &io::Result<usize>) -> Result<()> {
        match read {
            Ok(1..) => Ok(()),
            Ok(0) if self.body.close() => Ok(()),
            Ok(0) | Err(_) => Err(broken()),
        }
    }
}

fn broken() -> Error {
    Error::new(Kind::Unreachable, INVALID)
}
