//! From a request to a response.

use super::Options;
use super::ask::Ask;
use super::dialect::{Dialect, Route};
use super::refusal::Refusal;
use super::reply::{Pace, Reply};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use std::sync::Arc;

/// Answers any request.
pub async fn respond(
    State(options): State<Arc<Options>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !options.latency.is_zero() {
        tokio::time::sleep(options.latency).await;
    }
    let query = uri.query().unwrap_or_default();
    let route = Route::find(&method, uri.path(), query);
    let dialect = route.as_ref().map_or(Dialect::OpenAi, |route| route.dialect);
    let ask = Ask { options: &options, headers: &headers, query, body: &body, model: None };
    let reply = failure(&headers).map_or(Ok(()), Err).and_then(|()| {
        admit(&ask, dialect)?;
        answer(&ask, route, &method, uri.path())
    });
    match reply {
        Ok(reply) => Pace::new(&options, &headers).response(reply),
        Err(refusal) => refusal.response(dialect),
    }
}

/// The failure that the request asks for.
fn failure(headers: &HeaderMap) -> Option<Refusal> {
    let wanted = headers.get("x-mock-status")?;
    let status = StatusCode::from_bytes(wanted.as_bytes()).ok().filter(|status| status.as_u16() >= 400);
    Some(match status {
        Some(status) => Refusal::status(status, "failed as the request asked"),
        None => Refusal::status(StatusCode::BAD_REQUEST, "x-mock-status must be a status from 400 to 599"),
    })
}

/// The key must be right where there is one.
fn admit(ask: &Ask<'_>, dialect: Dialect) -> Result<(), Refusal> {
    match &ask.options.key {
        Some(key) if !dialect.has_key(key, ask.headers, ask.query) => Err(dialect.keyless()),
        _ => Ok(()),
    }
}

fn answer<'a>(
    ask: &Ask<'a>,
    route: Option<Route<'a>>,
    method: &Method,
    path: &str,
) -> Result<Reply, Refusal> {
    let Some(Route { model, run, .. }) = route else {
        return Err(Refusal::status(StatusCode::NOT_FOUND, format!("nothing answers {method} {path}")));
    };
    run(&Ask { model, ..*ask })
}
