//! From the client's request and a target to the bytes for its upstream.

use super::native;
use crate::config::target::Operation;
use crate::error::{Error, Kind, Result};
use crate::exchange::Exchange;
use crate::provider::{Call, Outbound};
use crate::target::Settled;
use crate::target::letter::Letter;
use crate::upstream::attempt::Request;
use crate::upstream::head::Forwarded;
use http::{HeaderName, HeaderValue, header};
use pingora_proxy::Session;
use std::net::IpAddr;

/// The whole request for one try, and the URI it goes to.
pub fn encode(
    session: &Session,
    x: &Exchange,
    settled: &Settled,
    call: &Call<'_>,
) -> Result<(Request, String)> {
    let client = session.req_header();
    let preserve = settled.operation() == Operation::Preserve;
    let Outbound { path, mut headers, body } = match x.ai.as_ref().and_then(|ai| ai.native.as_ref()) {
        Some(side) => settled.driver.dialect.forward(call, native::body(side, call.doc)?)?,
        None if preserve => {
            let headers = settled.driver.dialect.headers().to_vec();
            Outbound { path: None, headers, body: call.doc.bytes() }
        }
        None => translated(settled, call)?,
    };
    headers.extend(x.trace_headers());
    let path = match &path {
        Some(path) => path.as_str(),
        None if preserve => settled.preserved_path(client.uri.path()),
        None => &settled.address.path,
    };
    let letter = Letter {
        settled,
        call,
        method: &client.method,
        headers: &client.headers,
        query: client.uri.query().unwrap_or_default(),
        forwarded: Some(forwarded(session, x)),
        whole_url: false,
    };
    letter.seal(path, headers, body)
}

fn translated(settled: &Settled, call: &Call<'_>) -> Result<Outbound> {
    let mut outbound = settled.driver.dialect.request(call).map_err(|error| untranslated(settled, &error))?;
    let json: (HeaderName, HeaderValue) =
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !outbound.headers.iter().any(|(name, _)| *name == header::CONTENT_TYPE) {
        outbound.headers.push(json);
    }
    Ok(outbound)
}

/// Fills the message of a request that the dialect cannot express.
fn untranslated(settled: &Settled, error: &Error) -> Error {
    let (provider, operation) = (&settled.conf.model.provider, settled.operation().name());
    let detail = error.message();
    Error::new(error.kind(), format!("error transforming to {provider}://{operation}: {detail}"))
}

/// What the upstream is told of the client.
pub fn forwarded<'a>(session: &'a Session, x: &'a Exchange) -> Forwarded<'a> {
    let request = session.req_header();
    let host = host(session);
    let named = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    Forwarded {
        ip: client_ip(session),
        scheme: "http",
        host,
        port: named.unwrap_or(80),
        path: request.uri.path(),
        prefix: x.route.as_ref().and_then(|route| route.prefix.as_deref()),
        request_id: x.id.as_str(),
    }
}

/// The host the client asked for: the header, or the authority of an h2 request.
pub fn host(session: &Session) -> &str {
    let request = session.req_header();
    let header = request.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| request.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default()
}

/// Who the client is.
pub fn client_ip(session: &Session) -> Option<IpAddr> {
    session.client_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::ip)
}

/// Fills the message of a failed translation with what was being transformed.
pub fn untransformed(provider: &str, operation: Operation, error: &Error) -> Error {
    let operation = operation.name();
    let detail = error.message();
    Error::new(Kind::BadReply, format!("transformation failed from type {provider}://{operation}: {detail}"))
}
