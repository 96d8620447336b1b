//! Answers: Kong's envelope, and Konnect's around the same entities.

use super::fault::Fault;
use super::tree;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What a request is answered with.
pub enum Answer {
    /// With a body.
    Json(StatusCode, Value),
    /// Without one.
    Empty(StatusCode),
}

/// Whose words are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As Kong's own Admin API.
    Kong,
    /// As Konnect's.
    Konnect,
}

/// The content type of everything that is JSON.
pub const JSON: &str = "application/json; charset=utf-8";

impl Flavour {
    /// Writes an answer or a fault.
    pub fn respond(self, result: Result<Answer, Fault>) -> Response {
        match result {
            Ok(Answer::Json(status, body)) => json(status, &body),
            Ok(Answer::Empty(status)) => status.into_response(),
            Err(fault) if fault.message.is_empty() => fault.status.into_response(),
            Err(fault) if self == Self::Konnect => json(fault.status, &konnect(&fault)),
            Err(fault) => json(fault.status, &fault.body()),
        }
    }
}

/// A fault as Konnect words it: a gRPC code, and one detail for each field.
fn konnect(fault: &Fault) -> Value {
    let code = match fault.status {
        StatusCode::BAD_REQUEST => 3,
        StatusCode::NOT_FOUND => 5,
        StatusCode::CONFLICT => 6,
        StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::UNAUTHORIZED => 16,
        _ => 13,
    };
    let message = match fault.kind {
        Some((2, _)) => "validation error",
        Some((5, _)) => "data constraint error",
        _ => &fault.message,
    };
    let mut body = json!({"code": code, "message": message});
    if let Some(Value::Object(fields)) = fault.fields.as_deref() {
        let details: Vec<Value> = tree::leaves(fields)
            .into_iter()
            .map(|(field, messages)| match fault.kind {
                Some((5, _)) => {
                    detail(&field, &[format!("{field} (type: unique) constraint failed")], REFERENCE)
                }
                _ if field.is_empty() => detail(&field, &messages, "ERROR_TYPE_ENTITY"),
                _ => detail(&field, &messages, "ERROR_TYPE_FIELD"),
            })
            .collect();
        if let Some(map) = body.as_object_mut() {
            map.insert("details".to_owned(), details.into());
        }
    }
    body
}

const REFERENCE: &str = "ERROR_TYPE_REFERENCE";

fn detail(field: &str, messages: &[String], kind: &str) -> Value {
    let mut detail = json!({
        "@type": "type.googleapis.com/kong.admin.model.v1.ErrorDetail",
        "type": kind,
        "messages": messages,
    });
    if let Some(map) = detail.as_object_mut().filter(|_| !field.is_empty()) {
        map.insert("field".to_owned(), field.into());
    }
    detail
}

/// A JSON answer.
pub fn json(status: StatusCode, body: &Value) -> Response {
    text(status, JSON, body.to_string())
}

/// An answer that is one message.
pub fn message(status: StatusCode, text: &str) -> Response {
    json(status, &json!({"message": text}))
}

/// An answer of any type.
pub fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
}
