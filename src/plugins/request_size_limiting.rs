//! request-size-limiting: turns away bodies that are too large.
//!
//! A length that the head states is judged at once. A body of unknown length is counted where it is read:
//! it is not held in memory for that.

use super::{Conf, Plugin, PluginKind, Step};
use crate::config::schema::{Field, Kind, Record};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::{Bound, Exchange};
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("request-size-limiting", 951, schema, build);

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::new("allowed_payload_size", Kind::integer()).default(128).doc("The largest body, in units."),
        Field::one_of("size_unit", &["megabytes", "kilobytes", "bytes"])
            .required()
            .default("megabytes")
            .doc("The unit: 1,048,576 bytes, 1,024 or one."),
        Field::flag("require_content_length", false)
            .doc("Whether a body must state its length, unless it is chunked."),
    ])
}

#[derive(serde::Deserialize)]
struct Settings {
    allowed_payload_size: i64,
    size_unit: Unit,
    require_content_length: bool,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Megabytes,
    Kilobytes,
    Bytes,
}

struct SizeLimiting {
    limit: usize,
    stated: bool,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    let unit = match settings.size_unit {
        Unit::Megabytes => 1024 * 1024,
        Unit::Kilobytes => 1024,
        Unit::Bytes => 1,
    };
    let limit = usize::try_from(settings.allowed_payload_size).unwrap_or(0).saturating_mul(unit);
    Ok(Arc::new(SizeLimiting { limit, stated: settings.require_content_length }))
}

impl Plugin for SizeLimiting {
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(length) = text(CONTENT_LENGTH).and_then(|length| length.trim().parse::<usize>().ok()) {
            return if length > self.limit { Step::Fail(too_large(&head.headers)) } else { Step::Next };
        }
        let chunked = text(TRANSFER_ENCODING).is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        if self.stated && !chunked {
            let error = Error::new(ErrorKind::Oversized, "A valid Content-Length header is required");
            return Step::Fail(error.with_status(411));
        }
        // Where another plugin looks for a key in the body, it is here already.
        if x.ai.as_ref().is_some_and(|ai| ai.doc.bytes().len() > self.limit) {
            return Step::Fail(too_large(&head.headers));
        }
        x.bound = Some(Bound { limit: self.limit, taken: 0, error: too_large(&head.headers) });
        Step::Next
    }
}

/// A client that waits for leave to send its body is told that it has none.
fn too_large(headers: &HeaderMap) -> Error {
    let waits = headers.get(EXPECT).is_some_and(|value| {
        value.to_str().is_ok_and(|value| value.trim().eq_ignore_ascii_case("100-continue"))
    });
    let error = Error::new(ErrorKind::Oversized, "Request size limit exceeded");
    if waits { error.with_status(417) } else { error }
}
