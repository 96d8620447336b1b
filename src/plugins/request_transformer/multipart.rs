//! Forms of several parts: parts that are not edited keep their bytes and headers.

use super::place::Place;
use crate::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;

/// A form.
pub struct Form {
    boundary: String,
    parts: Vec<Part>,
}

struct Part {
    name: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Form {
    /// Reads a body of that `Content-Type`.
    pub async fn read(content_type: &str, body: Bytes) -> Result<Self> {
        let unreadable =
            |error: multer::Error| Error::bad_request(format!("the multipart body cannot be read: {error}"));
        let boundary = multer::parse_boundary(content_type).map_err(unreadable)?;
        let mut parts = Vec::new();
        if !body.is_empty() {
            let stream = tokio_stream::once(Ok::<_, std::convert::Infallible>(body));
            let mut fields = multer::Multipart::new(stream, &boundary);
            while let Some(field) = fields.next_field().await.map_err(unreadable)? {
                let (name, headers) = (field.name().unwrap_or_default().to_owned(), field.headers().clone());
                parts.push(Part { name, headers, body: field.bytes().await.map_err(unreadable)? });
            }
        }
        Ok(Self { boundary, parts })
    }

    /// The body.
    pub fn write(&self) -> Bytes {
        let mut out = BytesMut::new();
        for part in &self.parts {
            out.extend_from_slice(format!("--{}\r\n", self.boundary).as_bytes());
            for (name, value) in &part.headers {
                out.extend_from_slice(format!("{name}: ").as_bytes());
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&part.body);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        out.freeze()
    }
}

impl Part {
    fn new(name: &str, body: Bytes) -> Result<Self> {
        let quoted = name.replace('"', "%22");
        let disposition = format!("form-data; name=\"{quoted}\"");
        let wrong = |_| Error::bad_request("the name of a part must not hold control characters");
        let disposition = disposition.parse().map_err(wrong)?;
        let headers = HeaderMap::from_iter([(http::header::CONTENT_DISPOSITION, disposition)]);
        Ok(Self { name: name.to_owned(), headers, body })
    }
}

impl Place for Form {
    fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.name == name)
    }

    fn remove(&mut self, name: &str) {
        self.parts.retain(|part| part.name != name);
    }

    fn rename(&mut self, from: &str, to: &str) {
        if !self.has(from) {
            return;
        }
        self.remove(to);
        for part in self.parts.iter_mut().filter(|part| part.name == from) {
            if let Ok(renamed) = Part::new(to, part.body.clone()) {
                *part = renamed;
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.remove(name);
        self.append(name, value)
    }

    // KONG(plugins/request-transformer/access.lua): appends nothing to such forms.
    fn append(&mut self, name: &str, value: &str) -> Result<()> {
        self.parts.push(Part::new(name, Bytes::copy_from_slice(value.as_bytes()))?);
        Ok(())
    }
}
