//! Azure's dialect: OpenAI's, at a deployment, of a version.

use super::ask::Ask;
use super::openai;
use super::refusal::Refusal;
use super::reply::Reply;
use axum::http::StatusCode;

/// `POST /openai/deployments/{d}/chat/completions`.
pub fn chat(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    version(ask)?;
    openai::chat(ask)
}

/// `POST /openai/deployments/{d}/completions`.
pub fn completions(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    version(ask)?;
    openai::completions(ask)
}

/// Without a version there is nothing at these paths.
fn version(ask: &Ask<'_>) -> Result<(), Refusal> {
    match ask.parameter("api-version") {
        Some(version) if !version.is_empty() => Ok(()),
        _ => Err(Refusal::status(StatusCode::NOT_FOUND, "Resource not found: api-version is missing")),
    }
}
