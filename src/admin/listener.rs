//! The operators' listeners as services of the process, and a look at the proxy's.

use super::rest::{Phase, Rest, Turn, take_turn};
use crate::listen::address::Place;
use async_trait::async_trait;
use axum::Router;
use axum::middleware::from_fn_with_state;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
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
        Place::Tcp(address) => Place::Tcp(local(address)),
        Place::Unix(_) => place,
    }
}

/// The address as this machine reaches it.
fn local(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
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
    /// What answers.
    pub router: Router,
    /// Holds requests back while the process is replaced.
    pub rest: Arc<Rest>,
}

#[async_trait]
impl BackgroundService for Listener {
    /// It stays up through the drain, so that probes and scrapers see it; the process's end ends it.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let started = self.socket.local_addr().and_then(|address| {
            let socket = TcpListener::from_std(self.socket.try_clone()?)?;
            let turn = Turn { rest: self.rest.clone(), address: local(address) };
            let router = self.router.clone().layer(from_fn_with_state(turn, take_turn));
            Ok((Gate { socket, rest: self.rest.clone() }, router))
        });
        let served = match started {
            Ok((gate, router)) => axum::serve(gate, router).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(%error, "an operators' listener has stopped");
        }
    }
}

/// A socket that takes no connections at rest: they wait in it for whoever is next.
struct Gate {
    socket: TcpListener,
    rest: Arc<Rest>,
}

impl axum::serve::Listener for Gate {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            self.rest.until(|phase| phase == Phase::Open).await;
            tokio::select! {
                accepted = axum::serve::Listener::accept(&mut self.socket) => return accepted,
                () = self.rest.until(|phase| phase != Phase::Open) => {}
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
