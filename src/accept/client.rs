//! The client of an exchange, whoever holds its connection.

use super::direct::Direct;
use super::room::Held;
use super::{Patience, read};
use crate::error::Result;
use bytes::Bytes;
use http::{Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora_proxy::Session;
use std::net::SocketAddr;

/// A client.
///
/// What Pingora does is boxed: its futures would make every exchange's larger, and those it holds are the
/// fewer.
pub enum Client<'a> {
    /// On a connection of our own.
    Direct(&'a mut Direct),
    /// On one of Pingora's: HTTP/2, and what `Direct` does not take.
    Session(&'a mut Session),
}

/// The client can be reached no more.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

impl Client<'_> {
    /// The same client, for a while.
    pub fn lend(&mut self) -> Client<'_> {
        match self {
            Self::Direct(direct) => Client::Direct(direct),
            Self::Session(session) => Client::Session(session),
        }
    }

    /// The request's head.
    pub fn head(&self) -> &RequestHeader {
        match self {
            Self::Direct(direct) => &direct.request,
            Self::Session(session) => session.req_header(),
        }
    }

    /// The request's head, for plugins that edit it.
    pub fn head_mut(&mut self) -> &mut RequestHeader {
        match self {
            Self::Direct(direct) => &mut direct.request,
            Self::Session(session) => session.req_header_mut(),
        }
    }

    /// The gateway's own end of the connection.
    pub fn server_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Direct(direct) => direct.server,
            Self::Session(session) => session.server_addr()?.as_inet().copied(),
        }
    }

    /// The client's end of it.
    pub fn client_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Direct(direct) => direct.client,
            Self::Session(session) => session.client_addr()?.as_inet().copied(),
        }
    }

    /// What else is known of the connection.
    pub fn digest(&self) -> Option<&ProxyDigest> {
        match self {
            Self::Direct(direct) => direct.digest.as_deref(),
            Self::Session(session) => session.digest()?.proxy_digest.as_deref(),
        }
    }

    /// The host it asked for: the header, or the authority of an h2 request.
    pub fn host(&self) -> &str {
        let head = self.head();
        let header = head.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        header.or_else(|| head.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default()
    }

    /// Whether it speaks HTTP/2, where what is cut short is reset.
    pub fn is_h2(&self) -> bool {
        self.head().version == Version::HTTP_2
    }

    /// Bytes of its body so far.
    pub fn received(&self) -> usize {
        match self {
            Self::Direct(direct) => direct.received,
            Self::Session(session) => session.body_bytes_read(),
        }
    }

    /// Bytes of the answer's body so far.
    pub fn sent(&self) -> usize {
        match self {
            Self::Direct(direct) => direct.sent,
            Self::Session(session) => session.body_bytes_sent(),
        }
    }

    /// The status that it was answered with, but for a 100: that answers the expectation, not the request.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Direct(direct) => direct.status(),
            Self::Session(session) => {
                let status = session.response_written()?.status;
                (!status.is_informational()).then(|| status.as_u16())
            }
        }
    }

    /// Reads the whole body, of at most `limit` bytes, into room that it holds then.
    pub async fn body(&mut self, limit: usize, patience: Patience, held: &mut Held) -> Result<Bytes> {
        match self {
            Self::Direct(direct) => direct.body(limit, patience, held).await,
            Self::Session(session) => {
                Box::pin(read(&mut session.downstream_session, limit, patience, held)).await
            }
        }
    }

    /// Ready once it has hung up.
    pub async fn hung_up(&mut self) {
        match self {
            Self::Direct(direct) => direct.hung_up().await,
            Self::Session(session) => {
                let _ = Box::pin(session.downstream_session.read_body_or_idle(true)).await;
            }
        }
    }

    /// Begins the answer.
    pub async fn answer(&mut self, head: ResponseHeader, end: bool) -> Result<(), Gone> {
        match self {
            Self::Direct(direct) => {
                direct.head(&head);
                if end { direct.piece(b"", true).await.map_err(|_| Gone) } else { Ok(()) }
            }
            Self::Session(session) => {
                Box::pin(session.write_response_header(Box::new(head), end)).await.map_err(|_| Gone)
            }
        }
    }

    /// Gives it a piece of the body.
    pub async fn piece(&mut self, piece: Bytes, end: bool) -> Result<(), Gone> {
        match self {
            Self::Direct(direct) => direct.piece(&piece, end).await.map_err(|_| Gone),
            Self::Session(session) => {
                Box::pin(session.write_response_body(Some(piece), end)).await.map_err(|_| Gone)
            }
        }
    }

    /// Ends the answer properly.
    pub async fn end(&mut self) -> Result<(), Gone> {
        match self {
            Self::Direct(direct) => direct.piece(b"", true).await.map_err(|_| Gone),
            Self::Session(session) => {
                Box::pin(session.write_response_body(None, true)).await.map_err(|_| Gone)
            }
        }
    }

    /// Lets nothing wait that could be on its way.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        match self {
            Self::Direct(direct) if direct.has_unwritten() => direct.flush().await.map_err(|_| Gone),
            // Pingora has flushed already.
            Self::Direct(_) | Self::Session(_) => Ok(()),
        }
    }

    /// No further request is taken on this connection.
    pub fn close_after(&mut self) {
        match self {
            Self::Direct(direct) => direct.close_after(),
            Self::Session(session) => session.set_keepalive(None),
        }
    }

    /// Hangs up.
    pub async fn shutdown(&mut self) {
        match self {
            Self::Direct(direct) => direct.shutdown().await,
            Self::Session(session) => Box::pin(session.downstream_session.shutdown()).await,
        }
    }
}
