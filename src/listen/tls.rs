//! TLS for clients: rustls with our resolver, HTTP/2 by ALPN where the listener offers it.

use super::certificates::Shelf;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::tls::TlsStream;
use rustls::ServerConfig;
use std::sync::Arc;

/// Ready to take handshakes.
pub struct Tls {
    first: Acceptor,
    second: Acceptor,
}

impl Tls {
    /// With the certificates of a shelf, whatever they are at the time.
    pub fn new(shelf: &Arc<Shelf>) -> Result<Self, String> {
        let first = config(shelf, &[b"http/1.1"])?;
        let second = config(shelf, &[b"h2", b"http/1.1"])?;
        Ok(Self {
            first: Acceptor::from_server_config(Arc::new(first)),
            second: Acceptor::from_server_config(Arc::new(second)),
        })
    }

    /// Takes a handshake.
    pub(super) async fn handshake(&self, socket: Socket, http2: bool) -> Result<TlsStream<Socket>, String> {
        let acceptor = if http2 { &self.second } else { &self.first };
        acceptor.tls_handshake(socket).await.map_err(|error| error.to_string())
    }
}

fn config(shelf: &Arc<Shelf>, protocols: &[&[u8]]) -> Result<ServerConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let told = |error: rustls::Error| format!("TLS cannot be set up: {error}");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(told)?
        .with_no_client_auth()
        .with_cert_resolver(shelf.clone());
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    // Clients that come back need no new handshake, and the gateway nothing to remember.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(told)?;
    Ok(config)
}
