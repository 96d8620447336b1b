//! Bodies of the Admin API: JSON, forms and multipart forms, as one kind of arguments.

use super::fault::Fault;
use super::form;
use crate::config::schema::Record;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde_json::{Map, Value};

/// What a request says.
#[derive(Clone, Debug)]
pub enum Args {
    /// Of a body of JSON.
    Json(Map<String, Value>),
    /// The fields of a form.
    Form(Vec<(String, String)>),
    /// YAML, which only `/config` takes.
    Yaml(String),
}

/// The largest body: a configuration of some ten thousand entities.
const LARGEST: usize = 64 * 1024 * 1024;

/// Reads a body by its `Content-Type`.
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Args, Fault> {
    let bytes = to_bytes(body, LARGEST).await.map_err(|_| {
        Fault::message(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("request body is over {LARGEST} bytes: send less"),
        )
    })?;
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => json(&bytes),
        "application/x-www-form-urlencoded" => {
            Ok(Args::Form(form_urlencoded::parse(&bytes).into_owned().collect()))
        }
        "multipart/form-data" => multipart(given, bytes).await,
        "application/yaml" | "text/yaml" | "application/x-yaml" => String::from_utf8(bytes.into())
            .map(Args::Yaml)
            .map_err(|_| Fault::message(StatusCode::BAD_REQUEST, "request body is not valid UTF-8")),
        "" if bytes.is_empty() => Ok(Args::Form(Vec::new())),
        _ => Err(Fault::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "")),
    }
}

fn json(bytes: &[u8]) -> Result<Args, Fault> {
    serde_json::from_slice(bytes)
        .map(Args::Json)
        .map_err(|_| Fault::message(StatusCode::BAD_REQUEST, "Cannot parse JSON body"))
}

async fn multipart(content_type: &str, bytes: Bytes) -> Result<Args, Fault> {
    let bad = |error: multer::Error| {
        Fault::message(StatusCode::BAD_REQUEST, format!("Cannot parse multipart body: {error}"))
    };
    let boundary = multer::parse_boundary(content_type).map_err(bad)?;
    let stream = tokio_stream::once(Ok::<_, std::convert::Infallible>(bytes));
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut pairs = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(bad)? {
        let name = part.name().unwrap_or_default().to_owned();
        pairs.push((name, part.text().await.map_err(bad)?));
    }
    Ok(Args::Form(pairs))
}

impl Args {
    /// One field as it came.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Json(map) => map.get(name).and_then(Value::as_str),
            Self::Form(pairs) => {
                pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
            }
            Self::Yaml(_) => None,
        }
    }

    /// The fields, of the types that the description gives them.
    pub fn fields(&self, description: &Record) -> Result<Map<String, Value>, Fault> {
        match self {
            Self::Json(map) => Ok(map.clone()),
            Self::Form(pairs) => {
                let mut fields = form::tree(pairs).map_err(|why| {
                    Fault::message(StatusCode::BAD_REQUEST, format!("Cannot parse form body: {why}"))
                })?;
                form::infer(description, &mut fields);
                Ok(fields)
            }
            Self::Yaml(_) => Err(Fault::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "")),
        }
    }
}
