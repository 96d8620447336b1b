//! Bodies that are not JSON: Kong's AI plugins take form fields for the fields of the request.

use crate::error::{Error, Result};
use bytes::Bytes;
use serde_json::{Map, Value};

/// What a body is, by its `Content-Type`.
#[derive(Debug, PartialEq, Eq)]
pub enum Format {
    /// Also where nothing is said.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// With its boundary.
    Multipart(String),
}

/// The format of a body; none given is JSON, as Kong has it.
pub fn format(content_type: Option<&str>) -> Result<Format> {
    let Some(value) = content_type else { return Ok(Format::Json) };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-www-form-urlencoded" => Ok(Format::Form),
        "multipart/form-data" => multer::parse_boundary(value)
            .map(Format::Multipart)
            .map_err(|_| Error::bad_request("content-type multipart/form-data needs a boundary")),
        _ => Ok(Format::Json),
    }
}

/// The body as a JSON object.
pub async fn to_json(format: Format, body: Bytes) -> Result<Bytes> {
    let fields = match format {
        Format::Json => return Ok(body),
        Format::Form => form_urlencoded::parse(&body).into_owned().collect(),
        Format::Multipart(boundary) => parts(boundary, body).await?,
    };
    let typed = fields.into_iter().map(|(name, text)| {
        let value = field(&name, &text);
        (name, value)
    });
    Ok(Bytes::from(Value::Object(typed.collect::<Map<_, _>>()).to_string()))
}

/// The parts of a multipart body: their names and texts.
pub async fn parts(boundary: String, body: Bytes) -> Result<Vec<(String, String)>> {
    let stream = tokio_stream::once(Ok::<_, std::convert::Infallible>(body));
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|error| unreadable(&error))? {
        let name = part.name().unwrap_or_default().to_owned();
        fields.push((name, part.text().await.map_err(|error| unreadable(&error))?));
    }
    Ok(fields)
}

/// A form knows only texts: what reads as JSON of another type (a list of messages, a number) is
/// that, but for the fields that are texts by definition.
fn field(name: &str, text: &str) -> Value {
    if matches!(name, "prompt" | "model" | "user") {
        return Value::String(text.to_owned());
    }
    match serde_json::from_str(text) {
        Ok(Value::String(_)) | Err(_) => Value::String(text.to_owned()),
        Ok(other) => other,
    }
}

fn unreadable(error: &multer::Error) -> Error {
    Error::bad_request(format!("the multipart body cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn form_fields_become_json_fields() {
        let format = format(Some("application/x-www-form-urlencoded; charset=utf-8")).unwrap();
        let body = Bytes::from_static(b"prompt=5&max_tokens=5&stream=true");
        let json = to_json(format, body).await.unwrap();
        assert_eq!(json, r#"{"prompt":"5","max_tokens":5,"stream":true}"#);
    }

    #[tokio::test]
    async fn multipart_fields_become_json_fields() {
        let format = format(Some("multipart/form-data; boundary=x")).unwrap();
        let body = "--x\r\nContent-Disposition: form-data; name=\"messages\"\r\n\r\n[{\"role\":\"user\",\"content\":\"hi\"}]\r\n--x--\r\n";
        let json = to_json(format, Bytes::from_static(body.as_bytes())).await.unwrap();
        assert_eq!(json, r#"{"messages":[{"role":"user","content":"hi"}]}"#);
    }

    #[test]
    fn no_content_type_is_json() {
        assert_eq!(format(None).unwrap(), Format::Json);
        assert_eq!(format(Some("application/json")).unwrap(), Format::Json);
        assert!(format(Some("multipart/form-data")).is_err());
    }
}
