//! Why a request is not answered, in the words of each provider.

use super::dialect::Dialect;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use std::borrow::Cow;
use uuid::Uuid;

/// Where AWS names an error.
const AMAZON_ERROR: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Why a request is not answered.
#[derive(Debug)]
pub struct Refusal {
    /// The answer's.
    pub status: StatusCode,
    /// What is wrong.
    pub message: Cow<'static, str>,
    /// The field that is wrong, where the provider says so.
    pub param: Option<&'static str>,
    /// The provider's word for it, where it has one.
    pub code: Option<&'static str>,
}

impl Refusal {
    /// 400, for what is wrong with a field.
    pub fn field(param: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into(), param: Some(param), code: None }
    }

    /// Any status.
    pub fn status(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => Some("invalid_api_key"),
            StatusCode::NOT_FOUND => Some("not_found"),
            StatusCode::TOO_MANY_REQUESTS => Some("rate_limit_exceeded"),
            _ => None,
        };
        Self { status, message: message.into(), param: None, code }
    }

    /// In the dialect's shape.
    pub fn response(&self, dialect: Dialect) -> Response {
        let mut response = Response::new(Body::from(self.body(dialect).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if dialect == Dialect::Bedrock {
            headers.insert(AMAZON_ERROR, HeaderValue::from_static(amazon(self.status)));
        }
        response
    }

    fn body(&self, dialect: Dialect) -> Value {
        let message = &self.message;
        let status = self.status.as_u16();
        match dialect {
            Dialect::Azure if self.status != StatusCode::BAD_REQUEST => {
                json!({"error": {"code": status.to_string(), "message": message}})
            }
            Dialect::OpenAi | Dialect::Azure => {
                let kind = openai(self.status);
                json!({"error": {"message": message, "type": kind, "param": self.param, "code": self.code}})
            }
            Dialect::Anthropic => {
                let error = json!({"type": anthropic(self.status), "message": message});
                json!({"type": "error", "error": error, "request_id": id("req_")})
            }
            Dialect::Cohere => json!({"id": id(""), "message": message}),
            Dialect::Gemini { array } => {
                let body =
                    json!({"error": {"code": status, "message": message, "status": google(self.status)}});
                if array { json!([body]) } else { body }
            }
            Dialect::Bedrock => json!({"message": message}),
            Dialect::HuggingFace if self.status == StatusCode::SERVICE_UNAVAILABLE => {
                json!({"error": format!("The model is loading: {message}"), "estimated_time": 20.0})
            }
            Dialect::HuggingFace => json!({"error": message, "error_type": inference(self.status)}),
            Dialect::Ollama => json!({"error": message}),
        }
    }
}

fn id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}

fn openai(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn google(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

fn amazon(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UnrecognizedClientException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}

fn inference(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "authentication",
        404 => "not_found",
        424 => "generation",
        429 => "overloaded",
        500.. => "internal",
        _ => "validation",
    }
}
