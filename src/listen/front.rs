//! Takes a connection from its accept to the HTTP application, and through its requests.
//!
//! This is what Pingora's own glue between the two does, and what it has no place for: PROXY headers, TLS
//! by our own resolver, and a small wait between requests with a deadline for each head.

use super::address::{Listen, Manner, Place};
use super::connection::Connection;
use super::head::{self, Missed};
use super::tls::Tls;
use super::{Limits, preamble};
use crate::accept::id::RequestId;
use crate::error::Error;
use crate::meter::metrics::SERIES;
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, GetProxyDigest, GetSocketDigest, Ssl, Stream};
use pingora::server::ShutdownWatch;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

tokio::task_local! {
    /// Set when the application has the head of the request that this task reads.
    static BEGUN: Arc<AtomicBool>;
}

/// Tells the front, if it wants to know, that a request's head is there.
pub fn begun() {
    let _ = BEGUN.try_with(|begun| begun.store(true, Ordering::Relaxed));
}

/// Serves what is plain enough on a connection by itself.
#[async_trait]
pub trait Express: Send + Sync + 'static {
    /// Serves requests for as long as they are its own.
    async fn serve(&self, stream: Stream, limits: &Limits, ends: Ends<'_>) -> Left;
}

/// When a process ends.
#[derive(Clone, Copy)]
pub struct Ends<'a> {
    /// Answers are the last on their connection.
    pub last: &'a ShutdownWatch,
    /// Connections without a request are closed, too: not where another process takes over, because a client
    /// that is just sending its next request would see it fail.
    pub idle: &'a ShutdownWatch,
}

/// What an [`Express`] leaves of a connection.
pub enum Left {
    /// It is closed.
    Nothing,
    /// A request for the application, with what was read of it.
    Request(Stream, BytesMut),
    /// A client that began a request and did not go on.
    Slow(Stream),
}

/// All listeners of an application.
pub struct Front<A> {
    app: Arc<A>,
    express: Box<dyn Express>,
    doors: Vec<(Place, Manner)>,
    tls: Option<Tls>,
    limits: Limits,
    room: Semaphore,
    ended: watch::Sender<bool>,
}

impl<A> Front<A> {
    /// A front for these listeners. `tls` has to be there if one of them asks for it.
    pub fn new<'a>(
        (app, express): (A, Box<dyn Express>),
        listens: impl Iterator<Item = &'a Listen>,
        tls: Option<Tls>,
        limits: Limits,
    ) -> Self {
        let doors = listens.map(|listen| (listen.place.clone(), listen.manner)).collect();
        let room = Semaphore::new(limits.connections.unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS));
        let ended = watch::Sender::new(false);
        Self { app: Arc::new(app), express, doors, tls, limits, room, ended }
    }

    /// Through which listener a connection came.
    fn manner(&self, socket: &Socket) -> Manner {
        if let [(_, only)] = &*self.doors {
            return *only;
        }
        let digest = socket.get_socket_digest();
        let local = digest.as_ref().and_then(|digest| digest.local_addr());
        let inet = local.and_then(|local| local.as_inet());
        let path = local.and_then(|local| local.as_unix()?.as_pathname());
        let leads = |place: &Place| match place {
            Place::Tcp(bound) => inet.is_some_and(|local| reaches(*bound, *local)),
            Place::Unix(bound) => path == Some(bound),
        };
        // An exact address comes before one that stands for all.
        let exact =
            self.doors.iter().find(|(place, _)| inet.is_some_and(|local| *place == Place::Tcp(*local)));
        let door = exact.or_else(|| self.doors.iter().find(|(place, _)| leads(place)));
        door.map(|(_, manner)| *manner).unwrap_or_default()
    }

    fn enter(&self) -> Option<Guest<'_>> {
        let permit = self.room.try_acquire().ok();
        if permit.is_none() {
            SERIES.refused("connections");
        }
        permit.map(Guest::new)
    }
}

/// Whether a connection to `local` can have come through a socket bound to `bound`.
fn reaches(bound: SocketAddr, local: SocketAddr) -> bool {
    bound.port() == local.port()
        && (bound.ip().is_unspecified() || bound.ip().to_canonical() == local.ip().to_canonical())
}

/// An open connection, counted.
struct Guest<'a>(#[allow(dead_code, reason = "held")] SemaphorePermit<'a>);

impl<'a> Guest<'a> {
    fn new(permit: SemaphorePermit<'a>) -> Self {
        SERIES.connections.inc();
        Self(permit)
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        SERIES.connections.dec();
    }
}

/// What is left of a connection after a request.
struct Kept {
    stream: Stream,
    settings: Option<HttpPersistentSettings>,
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Front<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _guest = self.enter()?;
        let socket = stream.into_any().downcast::<Socket>().ok()?;
        let manner = self.manner(&socket);
        let stream = match manner {
            Manner { ssl: false, proxy_protocol: false, .. } => socket as Stream,
            _ => Box::pin(self.open(socket, manner)).await?,
        };
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            return self.app.process_new(stream, shutdown).await;
        }
        let idle = self.ended.subscribe();
        let ends = Ends { last: shutdown, idle: &idle };
        match self.express.serve(stream, &self.limits, ends).await {
            Left::Nothing => None,
            // Boxed: the connections that never come here need no room for it.
            Left::Request(stream, read) => Box::pin(self.requests(stream, read, shutdown.clone())).await,
            Left::Slow(mut stream) => {
                refuse(&mut stream, &head::slow()).await;
                None
            }
        }
    }

    async fn cleanup(&self) {
        self.ended.send_replace(true);
        self.app.http_cleanup().await;
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Front<A> {
    /// What comes before HTTP on a connection: a PROXY header, a TLS handshake.
    async fn open(&self, socket: Box<Socket>, manner: Manner) -> Option<Stream> {
        let opened = tokio::time::timeout(self.limits.heads.whole, self.greet(*socket, manner)).await;
        let (reason, why) = match opened {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(refused)) => refused,
            Err(_) => ("slow", "the connection took too long to begin".to_owned()),
        };
        SERIES.refused(reason);
        tracing::debug!(reason, "a connection was refused: {why}");
        None
    }

    async fn greet(&self, mut socket: Socket, manner: Manner) -> Result<Stream, (&'static str, String)> {
        let stated = if manner.proxy_protocol {
            preamble::read(&mut socket).await.map_err(|why| ("proxy_protocol", why.to_owned()))?
        } else {
            None
        };
        let connection = Connection::new(stated);
        if let Some(digest) = connection.digest() {
            socket.set_proxy_digest(digest);
        }
        let Some(tls) = self.tls.as_ref().filter(|_| manner.ssl) else { return Ok(Box::new(socket)) };
        let stream = tls.handshake(socket, manner.http2).await.map_err(|why| ("tls", why))?;
        connection.secured(stream.get_ssl().and_then(|tls| tls.server_name()));
        Ok(Box::new(stream))
    }

    /// The requests of a connection, one after the other.
    async fn requests(
        self: &Arc<Self>,
        stream: Stream,
        mut read: BytesMut,
        shutdown: ShutdownWatch,
    ) -> Option<Stream> {
        let mut kept = Kept { stream, settings: None };
        let mut first = true;
        loop {
            let Kept { mut stream, settings } = kept;
            if settings.as_ref().is_some_and(has_more) {
                kept = self.overtaken(stream, settings, &shutdown).await?;
                continue;
            }
            let seen = tokio::select! {
                biased;
                seen = head::read(&mut stream, std::mem::take(&mut read), self.limits.heads) => seen,
                () = closing(self.ended.subscribe(), first) => return None,
            };
            let head = match seen {
                Ok(head) => head,
                Err(Missed::Silence) => return None,
                Err(Missed::Refused(error)) => {
                    refuse(&mut stream, &error).await;
                    return None;
                }
            };
            if first && stream.get_ssl_digest().is_none() && head.starts_with(head::PREFACE) {
                return self.second(stream, head, &shutdown).await;
            }
            first = false;
            kept = self.request(stream, settings, head, &shutdown).await?;
        }
    }

    /// A client that speaks HTTP/2 without TLS.
    async fn second(&self, stream: Stream, head: BytesMut, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut socket = stream.into_any().downcast::<Socket>().ok()?;
        socket.rewind(&head);
        self.app.process_new(socket, shutdown).await
    }

    /// One request whose head has been read.
    async fn request(
        &self,
        stream: Stream,
        settings: Option<HttpPersistentSettings>,
        head: BytesMut,
        shutdown: &ShutdownWatch,
    ) -> Option<Kept> {
        let mut session = self.session(stream, settings);
        session.set_pipelined_prefix(head);
        self.app.process_new_http(session, shutdown).await.map(keep)
    }

    /// A request that began to come before the last was answered: its bytes are with the application
    /// already, which reads the rest of the head itself. It has the same time for it.
    async fn overtaken(
        &self,
        stream: Stream,
        settings: Option<HttpPersistentSettings>,
        shutdown: &ShutdownWatch,
    ) -> Option<Kept> {
        let session = self.session(stream, settings);
        let begun = Arc::new(AtomicBool::new(false));
        let served = BEGUN.scope(begun.clone(), self.app.process_new_http(session, shutdown));
        let mut served = std::pin::pin!(served);
        match tokio::time::timeout(self.limits.heads.whole, &mut served).await {
            Ok(reused) => reused.map(keep),
            Err(_) if begun.load(Ordering::Relaxed) => served.await.map(keep),
            Err(_) => None,
        }
    }

    fn session(&self, stream: Stream, settings: Option<HttpPersistentSettings>) -> ServerSession {
        let mut session = ServerSession::new_http1(stream);
        match settings {
            Some(settings) => settings.apply_to_session(&mut session),
            None => session.set_keepalive(Some(self.limits.heads.idle.as_secs().max(1))),
        }
        session
    }
}

/// Waits until an idle connection is to be closed because the process ends. What has just connected is
/// about to ask something, and gets a moment for it.
pub async fn closing(mut ended: ShutdownWatch, first: bool) {
    let _ = ended.wait_for(|down| *down).await;
    if first {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Answers a client whose request was not read.
async fn refuse(stream: &mut Stream, error: &Error) {
    SERIES.error(error.kind());
    Box::pin(head::refuse(stream, error, RequestId::random().as_str())).await;
}

fn keep(reused: ReusedHttpStream) -> Kept {
    let (stream, settings) = reused.consume();
    Kept { stream, settings }
}

/// Whether bytes of the next request are in what is kept for it, out of our reach.
///
/// Pingora gives them to the next session and to nobody else; that they are there shows only in the
/// description of the settings. A test with pipelined requests holds this to it.
fn has_more(settings: &HttpPersistentSettings) -> bool {
    struct Look {
        name: bool,
        some: bool,
    }
    impl Write for Look {
        fn write_str(&mut self, piece: &str) -> std::fmt::Result {
            match piece {
                "pipelined_prefix" => self.name = true,
                "Some" if self.name => {
                    self.some = true;
                    return Err(std::fmt::Error);
                }
                "None" if self.name => return Err(std::fmt::Error),
                _ => {}
            }
            Ok(())
        }
    }
    let mut look = Look { name: false, some: false };
    // It ends with an error as soon as it is known.
    let _ = write!(look, "{settings:?}");
    look.some
}
