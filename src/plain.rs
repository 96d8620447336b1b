//! Plain routes: any HTTP service of a Kong file, through Pingora's own pipeline.

pub mod rewritten;

use crate::accept::Client;
use crate::attempts::encode::forwarded;
use crate::edge::overdue;
use crate::error::{Error, Kind};
use crate::exchange::{Exchange, Try};
use crate::respond::head::{self, SERVER, VIA};
use bytes::Bytes;
use http::header;
use http::uri::PathAndQuery;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error as PingoraError, ErrorType, Result};
use pingora_proxy::Session;

/// Where the request goes, with the service's timeouts.
pub async fn peer(x: &mut Exchange) -> Result<Box<HttpPeer>> {
    let Some(entry) = x.entry().cloned() else {
        return PingoraError::e_explain(ErrorType::InternalError, "no route");
    };
    let Some(upstream) = &entry.upstream else {
        return PingoraError::e_explain(ErrorType::InternalError, "no service");
    };
    let peer = match upstream.endpoint.peer().await {
        Ok(peer) => peer,
        Err(error) => return PingoraError::e_explain(ErrorType::ConnectNoRoute, error.message().to_owned()),
    };
    let address = peer.address;
    let mut peer = peer.peer.clone();
    peer.options.read_timeout = Some(x.remaining(entry.timeouts.read));
    peer.options.write_timeout = Some(x.remaining(entry.timeouts.write));
    peer.options.total_connection_timeout = peer.options.total_connection_timeout.map(|own| x.remaining(own));
    x.upstream.tries.push(Try { address, at: x.age_ms(), state: None, code: None });
    Ok(Box::new(peer))
}

/// The request as the service sees it.
pub fn request(session: &mut Session, upstream: &mut RequestHeader, x: &mut Exchange) -> Result<()> {
    let Some(route) = &x.route else { return Ok(()) };
    let client = Client::Session(session);
    let query = client.head().uri.query();
    let target = match query {
        Some(query) => format!("{}?{query}", route.path),
        None => route.path.clone(),
    };
    let uri = PathAndQuery::try_from(target.as_str()).map_err(|_| {
        PingoraError::explain(ErrorType::InvalidHTTPHeader, "the path cannot be sent upstream")
    })?;
    upstream.set_uri(uri.into());
    let own_host = route.entry.upstream.as_ref().map(|upstream| upstream.authority.clone());
    let host = if route.entry.route.preserve_host { Some(client.host().to_owned()) } else { own_host };
    if let Some(host) = host {
        upstream.insert_header(header::HOST, host)?;
    }
    let from = forwarded(&client, x);
    if let Some(ip) = from.ip {
        let before = upstream.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let end = from.end.unwrap_or(ip);
        let chain = before.map_or_else(|| ip.to_string(), |before| format!("{before}, {end}"));
        upstream.insert_header("x-forwarded-for", chain)?;
        upstream.insert_header("x-real-ip", ip.to_string())?;
    }
    upstream.insert_header("x-forwarded-proto", from.scheme)?;
    upstream.insert_header("x-forwarded-host", from.host)?;
    upstream.insert_header("x-forwarded-port", from.port)?;
    upstream.insert_header("x-forwarded-path", from.path)?;
    match from.prefix {
        Some(prefix) => upstream.insert_header("x-forwarded-prefix", prefix)?,
        None => drop(upstream.remove_header("x-forwarded-prefix")),
    }
    upstream.insert_header(header::VIA, VIA)?;
    upstream.insert_header("x-kong-request-id", from.request_id)?;
    for (name, value) in x.trace_headers() {
        upstream.insert_header(name, value)?;
    }
    x.upstream.uri = Some(target);
    Ok(())
}

/// The service's answer as the client sees it.
pub fn response(upstream: &mut ResponseHeader, x: &mut Exchange) -> Result<()> {
    // Until its head came, the time was the service's.
    let own = x.upstream.tries.first().map_or(0, |first| first.at);
    let waited = x.age_ms().saturating_sub(own);
    x.upstream.waited = std::time::Duration::from_millis(waited);
    x.upstream.status = Some(upstream.status.as_u16());
    if !upstream.headers.contains_key(header::SERVER) {
        upstream.insert_header(header::SERVER, SERVER)?;
    }
    upstream.insert_header(header::VIA, VIA)?;
    upstream.insert_header("x-kong-upstream-latency", waited)?;
    upstream.insert_header("x-kong-proxy-latency", own)?;
    upstream.insert_header("x-kong-request-id", x.id.as_str())?;
    head::add(upstream, &x.answer.added);
    x.answer.status = Some(upstream.status.as_u16());
    x.answer.headers = Some(upstream.headers.clone());
    Ok(())
}

/// Ends a request whose time is over: a drip on either side breaks no limit on a single wait.
pub fn in_time(x: &Exchange) -> Result<()> {
    if x.is_overdue() {
        return PingoraError::e_explain(ErrorType::ReadTimedout, "the request took too long");
    }
    Ok(())
}

/// Watches the client's body on its way to the service.
pub fn body(piece: Option<&Bytes>, x: &mut Exchange) -> Result<()> {
    in_time(x)?;
    x.take_body(piece.map_or(0, Bytes::len)).map_err(|error| {
        PingoraError::explain(ErrorType::HTTPStatus(error.status()), "the body is too large")
    })
}

/// What the client is told when the service cannot be reached or does not answer.
pub fn failure(error: &PingoraError, x: &mut Exchange) -> Error {
    use ErrorType::{ConnectNoRoute, ConnectTimedout, ReadTimedout, TLSHandshakeTimedout, WriteTimedout};
    if let Err(error) = x.take_body(0) {
        return error;
    }
    if x.is_overdue() {
        return overdue();
    }
    match error.etype() {
        ConnectTimedout | ReadTimedout | WriteTimedout | TLSHandshakeTimedout => {
            Error::new(Kind::Timeout, "The upstream server is timing out")
        }
        ConnectNoRoute => Error::new(Kind::Unresolved, "name resolution failed"),
        _ => Error::new(Kind::Unreachable, "An invalid response was received from the upstream server"),
    }
}

/// A route that is served over HTTPS only says so, or redirects, as configured.
pub fn redirect(head: &mut ResponseHeader, to: Option<&(u16, Option<String>)>) {
    let Some((status, location)) = to else { return };
    // The status is one of five that the schema allows, and the values are valid headers.
    let _ = head.set_status(*status);
    if let Some(location) = location {
        let _ = head.insert_header(header::LOCATION, location);
    } else {
        let _ = head.insert_header(header::CONNECTION, "Upgrade");
        let _ = head.insert_header(header::UPGRADE, "TLS/1.2, HTTP/1.1");
    }
}
