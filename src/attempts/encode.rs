//! From the client's request and a target to the bytes for its upstream.

use super::native;
use crate::accept::Client;
use crate::config::target::Operation;
use crate::error::{Error, Kind, Result};
use crate::exchange::{Ends, Exchange};
use crate::provider::{Call, Outbound};
use crate::target::Settled;
use crate::target::letter::Letter;
use crate::upstream::attempt::Request;
use crate::upstream::head::Forwarded;
use http::{HeaderName, HeaderValue, header};

/// The whole request for one try, and the URI it goes to.
pub fn encode(
    client: &Client<'_>,
    x: &Exchange,
    settled: &Settled,
    call: &Call<'_>,
) -> Result<(Request, String)> {
    let head = client.head();
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
        None if preserve => settled.preserved_path(head.uri.path()),
        None => &settled.address.path,
    };
    let letter = Letter {
        settled,
        call,
        method: &head.method,
        headers: &head.headers,
        query: head.uri.query().unwrap_or_default(),
        forwarded: Some(forwarded(client, x)),
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

/// What the upstream is told of the client. A trusted proxy has told us, and that goes on.
pub fn forwarded<'a>(client: &'a Client<'_>, x: &'a Exchange) -> Forwarded<'a> {
    let said = |name| said(client, x.ends, name);
    let own = client.host();
    let named = own.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    Forwarded {
        ip: x.client,
        end: x.ends.client.map(|end| end.ip()),
        scheme: scheme(client, x.ends),
        host: said("x-forwarded-host").unwrap_or(own),
        port: said("x-forwarded-port")
            .and_then(|port| port.parse().ok())
            .or(named)
            .unwrap_or(if x.ends.tls { 443 } else { 80 }),
        path: said("x-forwarded-path").unwrap_or(client.head().uri.path()),
        prefix: said("x-forwarded-prefix")
            .or_else(|| x.route.as_ref().and_then(|route| route.prefix.as_deref())),
        request_id: x.id.as_str(),
    }
}

/// The scheme of the client's request: as it was spoken to the first of our trusted proxies.
pub fn scheme<'a>(client: &'a Client<'_>, ends: Ends) -> &'a str {
    said(client, ends, "x-forwarded-proto").unwrap_or(ends.scheme())
}

/// What a trusted proxy says in a header.
fn said<'a>(client: &'a Client<'_>, ends: Ends, name: &str) -> Option<&'a str> {
    if !ends.trusted {
        return None;
    }
    client.head().headers.get(name)?.to_str().ok()
}

/// Fills the message of a failed translation with what was being transformed.
pub fn untransformed(provider: &str, operation: Operation, error: &Error) -> Error {
    let operation = operation.name();
    let detail = error.message();
    Error::new(Kind::BadReply, format!("transformation failed from type {provider}://{operation}: {detail}"))
}
