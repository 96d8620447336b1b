//! Which dialect a request is in.

use super::reply::{Pace, Refusal, Reply};
use super::{Options, hugging_face, ollama, openai};
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
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
    let reply = failure(&headers).map_or(Ok(()), Err).and_then(|()| {
        admit(&options, &headers)?;
        answer(&options, &method, uri.path(), &body)
    });
    match reply {
        Ok(reply) => Pace::new(&options, &headers).response(reply),
        Err(refusal) => refusal.response(),
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
fn admit(options: &Options, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(key) = &options.key else { return Ok(()) };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if given == Some(key) {
        return Ok(());
    }
    Err(Refusal::status(
        StatusCode::UNAUTHORIZED,
        "the API key is missing or wrong: send Authorization: Bearer KEY",
    ))
}

fn answer(options: &Options, method: &Method, path: &str, body: &[u8]) -> Result<Reply, Refusal> {
    let path = path.trim_end_matches('/');
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    if *method == Method::GET || *method == Method::HEAD {
        match name {
            "models" => return Ok(openai::models()),
            "health" => return Ok(Reply::json(&serde_json::json!({"status": "ok"}))),
            _ => {}
        }
    }
    match (name, folder.rsplit('/').next()) {
        ("completions", Some("chat")) => openai::chat(options, body),
        ("completions", _) => openai::completions(options, body),
        ("chat", Some("api")) => ollama::chat(options, body),
        ("generate", Some("api")) => ollama::generate(options, body),
        ("generate_stream", _) => hugging_face::generate(options, body, hugging_face::Shape::Stream),
        ("raw", _) => hugging_face::generate(options, body, hugging_face::Shape::Data),
        ("" | "generate", _) => hugging_face::generate(options, body, hugging_face::Shape::List),
        _ if folder.contains("/models") => hugging_face::generate(options, body, hugging_face::Shape::List),
        _ => Err(Refusal::status(StatusCode::NOT_FOUND, format!("nothing answers {method} {path}"))),
    }
}
