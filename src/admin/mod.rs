//! The listeners for operators: readiness and metrics on the status listener, and the same beside
//! the Admin API's root on the admin listener.

use crate::meter::metrics::SERIES;
use crate::snapshot::Snapshot;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::json;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// What the listeners tell.
#[derive(Clone)]
pub struct Facts {
    pub live: Arc<ArcSwap<Snapshot>>,
    /// Set when the process drains: load balancers are to look elsewhere.
    pub draining: Arc<AtomicBool>,
    pub door: Arc<Door>,
}

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
    async fn is_open(&self) -> bool {
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

/// `GET /status`, `/status/ready`, `/metrics`.
pub fn status_router(facts: Facts) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/status/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(facts)
}

/// The same, and the root of the Admin API.
pub fn admin_router(facts: Facts) -> Router {
    Router::new().route("/", get(root)).with_state(facts.clone()).merge(status_router(facts))
}

async fn ready(State(facts): State<Facts>) -> Response {
    if facts.draining.load(Ordering::Relaxed) {
        return message(StatusCode::SERVICE_UNAVAILABLE, "draining");
    }
    if !facts.door.is_open().await {
        return message(StatusCode::SERVICE_UNAVAILABLE, "starting");
    }
    message(StatusCode::OK, "ready")
}

async fn status(State(facts): State<Facts>) -> Response {
    let counts = facts.live.load().counts;
    let body = json!({
        "database": {"reachable": true},
        "configuration": {
            "services": counts.services, "routes": counts.routes,
            "plugins": counts.plugins, "targets": counts.targets,
        },
        "server": {"exchanges_in_flight": SERIES.in_flight.get()},
    });
    reply(StatusCode::OK, "application/json; charset=utf-8", body.to_string())
}

async fn root() -> Response {
    let plugins: serde_json::Map<_, _> = crate::plugins::KINDS
        .iter()
        .map(|kind| {
            (kind.name.to_owned(), json!({"version": env!("CARGO_PKG_VERSION"), "priority": kind.priority}))
        })
        .collect();
    let body = json!({
        "tagline": "Welcome to kong",
        "version": "3.10.0",
        "tollgate": env!("CARGO_PKG_VERSION"),
        "plugins": {"available_on_server": plugins},
    });
    reply(StatusCode::OK, "application/json; charset=utf-8", body.to_string())
}

async fn metrics(State(facts): State<Facts>) -> Response {
    facts.live.load().publish_targets();
    SERIES.log_dropped.set(i64::try_from(crate::log::sink::dropped()).unwrap_or(i64::MAX));
    reply(StatusCode::OK, "text/plain; charset=UTF-8", SERIES.render())
}

async fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "Not found")
}

async fn not_allowed() -> Response {
    message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
}

fn message(status: StatusCode, text: &str) -> Response {
    reply(status, "application/json; charset=utf-8", json!({"message": text}).to_string())
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::SERVER, HeaderValue::from_static(crate::respond::head::SERVER)),
        (HeaderName::from_static("access-control-allow-origin"), HeaderValue::from_static("*")),
    ];
    (status, headers, body).into_response()
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
