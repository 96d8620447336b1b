//! The listeners for operators: readiness and metrics on the status listener, and the Admin API, which
//! speaks Kong's language and, below `/v2/control-planes`, Konnect's.

mod about;
mod body;
mod change;
mod declarative;
mod entities;
mod fault;
mod flattened;
pub mod form;
mod list;
mod listener;
mod place;
mod references;
mod reply;
mod rest;
mod schemas;
pub mod token;
mod tree;
mod view;

pub use listener::{Door, Listener};
use place::path_name;
pub use rest::Rest;

use crate::config::records::COLLECTIONS;
use crate::process::books::Books;
use crate::state::control::Control;
use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use reply::message;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use token::Token;
use uuid::Uuid;

/// What the listeners know.
#[derive(Clone)]
pub struct Facts {
    /// What changes go through.
    pub control: Arc<Control>,
    /// Set when the process drains: load balancers are to look elsewhere.
    pub draining: Arc<AtomicBool>,
    /// Who may change something.
    pub door: Arc<Door>,
    /// What `/metrics` shows.
    pub books: Arc<Books>,
    /// What the Admin API asks for.
    pub token: Option<Token>,
    /// Whether it shows literal keys.
    pub reveal_secrets: bool,
    /// This process.
    pub node: Uuid,
}

/// `GET /status`, `/status/ready`, `/metrics`.
pub fn status_router(facts: Facts) -> Router {
    status_routes()
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn(dress))
        .with_state(facts)
}

fn status_routes() -> Router<Facts> {
    Router::new()
        .route("/status", get(about::status))
        .route("/status/ready", get(about::ready))
        .route("/metrics", get(about::metrics))
}

/// The Admin API.
pub fn admin_router(facts: Facts) -> Router {
    let konnect = Router::new()
        .route("/v2/control-planes", get(about::control_planes))
        .route("/v2/control-planes/{plane}", get(about::control_plane))
        .nest("/v2/control-planes/{plane}/core-entities", Router::new().fallback(entities::konnect));
    status_routes()
        .merge(konnect)
        .route("/", get(about::root))
        .route("/endpoints", get(about::endpoints))
        .route("/plugins/enabled", get(about::enabled))
        .route("/tags", get(about::tags))
        .route("/tags/{tag}", get(about::tag))
        .route("/config", get(declarative::get).post(declarative::post))
        .route("/schemas/{entity}", get(schemas::entity))
        .route("/schemas/{entity}/validate", post(schemas::validate))
        .route("/schemas/plugins/{name}", get(schemas::plugin))
        .route("/schemas/plugins/validate", post(schemas::validate_plugin))
        .fallback(entities::kong)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(facts.clone(), admit))
        .layer(from_fn(dress))
        .with_state(facts)
}

/// The paths of the Admin API.
fn paths() -> Vec<String> {
    let mut all: Vec<String> = ["/", "/config", "/endpoints", "/metrics", "/status", "/tags", "/tags/{tags}"]
        .map(ToOwned::to_owned)
        .into();
    all.push("/plugins/enabled".to_owned());
    all.push("/schemas/{name}".to_owned());
    all.push("/schemas/{name}/validate".to_owned());
    all.push("/schemas/plugins/{name}".to_owned());
    for collection in COLLECTIONS {
        let own = path_name(collection);
        all.push(format!("/{own}"));
        all.push(format!("/{own}/{{{own}}}"));
        for (field, to) in collection.foreign {
            all.push(format!("/{own}/{{{own}}}/{field}"));
            let below = if own.contains('-') { own.trim_end_matches('s') } else { &own };
            all.push(format!("/{to}/{{{to}}}/{below}"));
            all.push(format!("/{to}/{{{to}}}/{below}/{{{own}}}"));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Turns away whoever does not bring the token. Preflights cannot bring it.
async fn admit(Shared(facts): Shared<Facts>, request: Request, next: Next) -> Response {
    let open = request.method() == Method::OPTIONS;
    if open || facts.token.as_ref().is_none_or(|token| token.admits(request.headers())) {
        return next.run(request).await;
    }
    if request.uri().path().starts_with("/v2/") {
        let body = json!({"status": 401, "title": "Unauthorized", "detail": "A valid token is required"});
        return reply::json(StatusCode::UNAUTHORIZED, &body);
    }
    message(StatusCode::UNAUTHORIZED, "Unauthorized")
}

/// Kong's headers, and its answer to `OPTIONS`.
async fn dress(request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let options = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if options && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = StatusCode::NO_CONTENT.into_response();
        let methods = HeaderValue::from_static("GET, HEAD, OPTIONS, PATCH, POST, PUT, DELETE");
        response.headers_mut().insert(header::ALLOW, methods.clone());
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let headers = HeaderValue::from_static("Content-Type, Authorization, Kong-Admin-Token");
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static(crate::respond::head::SERVER));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    headers.insert(HeaderName::from_static("x-kong-admin-latency"), HeaderValue::from(took));
    response
}

async fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "Not found")
}

async fn not_allowed() -> Response {
    message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
}
