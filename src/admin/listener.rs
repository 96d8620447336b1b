//! The operators' listeners as services of the process, and a look at the proxy's.

use async_trait::async_trait;
use axum::Router;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The proxy listener. It is bound after the operators' listeners, so that readiness has to look.
pub struct Door {
    address: SocketAddr,
    open: AtomicBool,
}

impl Door {
    /// The listener at that address, not yet seen open.
    pub fn new(address: SocketAddr) -> Self {
        let local = match address {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
            other => other,
        };
        Self { address: local, open: AtomicBool::new(false) }
    }

    /// Whether it takes connections; once it does, nobody knocks again.
    pub async fn is_open(&self) -> bool {
        if !self.open.load(Ordering::Relaxed) {
            let knock = tokio::time::timeout(KNOCK, TcpStream::connect(self.address)).await;
            self.open.store(matches!(knock, Ok(Ok(_))), Ordering::Relaxed);
        }
        self.open.load(Ordering::Relaxed)
    }
}

const KNOCK: Duration = Duration::from_secs(1);

/// One of the two listeners.
pub struct Listener {
    /// Bound before anything starts, so that a taken port is an error at start.
    pub socket: std::net::TcpListener,
    pub router: Router,
}

/// Binds an address for a listener.
pub fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[async_trait]
impl BackgroundService for Listener {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let socket = self.socket.try_clone().and_then(TcpListener::from_std);
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => return tracing::error!(%error, "an operators' listener cannot be started"),
        };
        // It stays up through the drain, so that probes and scrapers see it; the process's end ends it.
        let serve = axum::serve(socket, self.router.clone()).with_graceful_shutdown(async move {
            let _ = shutdown.wait_for(|down| *down).await;
            std::future::pending::<()>().await;
        });
        if let Err(error) = serve.await {
            tracing::error!(%error, "an operators' listener has stopped");
        }
    }
}
