//! What is known of a connection beyond its socket, where a request can find it.
//!
//! It travels as the user's part of Pingora's proxy digest, which nothing else uses on the clients'
//! side. Connections without TLS and PROXY protocol have none: there is nothing to say.

use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

/// The ends of a connection, as a PROXY header states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Who connected to the proxy in front,
    pub source: SocketAddr,
    /// and to which of its addresses.
    pub destination: SocketAddr,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Connection {
    stated: Option<Stated>,
    /// Set when the handshake is over; the name that it asked for, if any.
    tls: OnceLock<Option<Box<str>>>,
}

impl Connection {
    /// A connection whose TLS handshake, if it has one, is still to come.
    pub fn new(stated: Option<Stated>) -> Arc<Self> {
        Arc::new(Self { stated, tls: OnceLock::new() })
    }

    /// What a request belongs to, if there is something to know.
    pub fn of(digest: Option<&ProxyDigest>) -> Option<&Self> {
        digest?.user_data.as_ref()?.downcast_ref::<Arc<Self>>().map(|this| &**this)
    }

    /// What the PROXY header said.
    pub fn stated(&self) -> Option<Stated> {
        self.stated
    }

    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.get().is_some()
    }

    /// The name that the client asked for in the handshake.
    pub fn sni(&self) -> Option<&str> {
        self.tls.get()?.as_deref()
    }

    /// Notes that it is encrypted.
    pub(super) fn secured(&self, sni: Option<&str>) {
        let _ = self.tls.set(sni.map(Into::into));
    }

    /// The form in which it travels with the stream; `None` if that cannot be made.
    pub(super) fn digest(self: &Arc<Self>) -> Option<ProxyDigest> {
        let head = ResponseHeader::build(200, Some(0)).ok()?;
        Some(ProxyDigest::new(Box::new(head), Some(Box::new(self.clone()))))
    }
}
