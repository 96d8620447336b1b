//! The operators' listeners as services of the process, and a look at the proxy's.

use crate::listen::address::Place;
use async_trait::async_trait;
use axum::Router;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// The proxy listeners. They are bound after the operators' listeners, so that readiness has to look.
pub struct Door {
    places: Vec<Place>,
    open: AtomicBool,
}

impl Door {
    /// The listeners at those places, not yet seen open.
    pub fn new(places: impl Iterator<Item = Place>) -> Self {
        Self { places: places.map(near).collect(), open: AtomicBool::new(false) }
    }

    /// Whether all take connections; once they do, nobody knocks again.
    pub async fn is_open(&self) -> bool {
        if !self.open.load(Ordering::Relaxed) {
            for place in &self.places {
                if !knock(place).await {
                    return false;
                }
            }
            self.open.store(true, Ordering::Relaxed);
        }
        true
    }
}

/// How to reach a place from here.
fn near(place: Place) -> Place {
    match place {
        Place::Tcp(SocketAddr::V4(v4)) if v4.ip().is_unspecified() => {
            Place::Tcp((Ipv4Addr::LOCALHOST, v4.port()).into())
        }
        Place::Tcp(SocketAddr::V6(v6)) if v6.ip().is_unspecified() => {
            Place::Tcp((Ipv6Addr::LOCALHOST, v6.port()).into())
        }
        other => other,
    }
}

async fn knock(place: &Place) -> bool {
    let knock = async {
        match place {
            Place::Tcp(address) => TcpStream::connect(address).await.map(drop),
            Place::Unix(path) => UnixStream::connect(path).await.map(drop),
        }
    };
    matches!(tokio::time::timeout(KNOCK, knock).await, Ok(Ok(())))
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
