//! The head of the client's answer.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;

/// What Kong calls itself towards clients; dashboards and tests know it.
pub const SERVER: &str = "kong/3.10.0";
/// The `Via` of proxied answers.
pub const VIA: &str = "1.1 kong/3.10.0";

static UPSTREAM_LATENCY: HeaderName = HeaderName::from_static("x-kong-upstream-latency");
static PROXY_LATENCY: HeaderName = HeaderName::from_static("x-kong-proxy-latency");
static RESPONSE_LATENCY: HeaderName = HeaderName::from_static("x-kong-response-latency");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-kong-request-id");
/// Which provider and model answered.
pub static LLM_MODEL: HeaderName = HeaderName::from_static("x-kong-llm-model");

/// How long things took, for Kong's latency headers.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Milliseconds until the upstream's head came; `None` if the gateway answered itself.
    pub upstream: Option<u64>,
    /// Milliseconds that the gateway took.
    pub own: u64,
}

/// Headers that describe a body which the client does not get.
const DESCRIPTION: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::ETAG,
    header::ACCEPT_RANGES,
];

/// The body is no longer the upstream's: what described the old one is left out.
pub fn forget_body(headers: &mut HeaderMap) {
    for name in DESCRIPTION {
        headers.remove(name);
    }
}

/// The head of an answer that came from an upstream. What it says of the body is what the headers say.
pub fn proxied(
    status: u16,
    mut headers: HeaderMap,
    latency: Latency,
    id: &str,
) -> pingora::Result<ResponseHeader> {
    headers.entry(header::SERVER).or_insert(HeaderValue::from_static(SERVER));
    headers.insert(header::VIA, HeaderValue::from_static(VIA));
    if let Some(upstream) = latency.upstream {
        headers.insert(UPSTREAM_LATENCY.clone(), HeaderValue::from(upstream));
    }
    headers.insert(PROXY_LATENCY.clone(), HeaderValue::from(latency.own));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID.clone(), id);
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    // Whole from the start: what is inserted in Pingora's head has its name spelled, copied and read again.
    parts.headers = headers;
    let mut head = ResponseHeader::from(parts);
    head.set_status(status)?;
    Ok(head)
}

/// Adds what plugins have to say, over what is there under the same names; a name without a value is
/// taken away. `Vary` stands beside what is there: who else's answer depends on what stays true.
pub fn add(head: &mut ResponseHeader, added: &[(HeaderName, Option<HeaderValue>)]) {
    for (name, value) in added {
        // Both are checked already: inserting them does not fail.
        let _ = match value {
            Some(value) if *name == header::VARY => head.append_header(name.clone(), value.clone()).map(drop),
            Some(value) => head.insert_header(name.clone(), value.clone()),
            None => {
                head.remove_header(name);
                Ok(())
            }
        };
    }
}

/// The head of an answer of the gateway's own.
pub fn local(
    status: u16,
    content_type: Option<&str>,
    body: &Bytes,
    own: u64,
    id: &str,
) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(status, Some(8))?;
    head.insert_header(header::DATE, httpdate::fmt_http_date(std::time::SystemTime::now()))?;
    if let Some(content_type) = content_type {
        head.insert_header(header::CONTENT_TYPE, content_type)?;
    }
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::SERVER, SERVER)?;
    head.insert_header(RESPONSE_LATENCY.clone(), own)?;
    head.insert_header(REQUEST_ID.clone(), id)?;
    Ok(head)
}
