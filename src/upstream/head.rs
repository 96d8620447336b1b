//! The request head for an upstream, written by hand: one buffer, one pass over the client's headers.

use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::net::IpAddr;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What the gateway tells the upstream of the client's own request.
pub struct Forwarded<'a> {
    /// The client.
    pub ip: Option<IpAddr>,
    /// The other end of the connection: the client, or a proxy in front.
    pub end: Option<IpAddr>,
    /// `http` or `https`, as the client spoke to us.
    pub scheme: &'a str,
    /// The client's `Host`, and the port it named or that its scheme implies.
    pub host: &'a str,
    /// The one that the client came to.
    pub port: u16,
    /// What the client asked for.
    pub path: &'a str,
    /// What `strip_path` took off.
    pub prefix: Option<&'a str>,
    /// The exchange's.
    pub request_id: &'a str,
}

/// Everything of a request line and its headers.
pub struct Parts<'a> {
    /// The upstream's.
    pub method: &'a Method,
    /// The upstream's.
    pub path: &'a str,
    /// Pieces of the query, joined by `&`.
    pub query: &'a [&'a str],
    /// What goes into `Host`.
    pub host: &'a str,
    /// What the client sent; what is between two hosts is left out.
    pub client: &'a HeaderMap,
    /// The gateway's own headers: they replace the client's of the same name.
    pub own: &'a [(HeaderName, HeaderValue)],
    /// The client's headers that begin so do not go along.
    pub withheld: Option<&'a str>,
    /// Of the body.
    pub length: usize,
    /// Of the client's request; `None` where there is none behind ours.
    pub forwarded: Option<Forwarded<'a>>,
}

/// Headers that concern one hop, or that the gateway writes itself.
pub fn is_dropped(name: &HeaderName) -> bool {
    use http::header as h;
    if matches!(
        *name,
        h::HOST
            | h::CONTENT_LENGTH
            | h::TRANSFER_ENCODING
            | h::CONNECTION
            | h::UPGRADE
            | h::TE
            | h::TRAILER
            | h::EXPECT
            | h::ACCEPT_ENCODING
            | h::PROXY_AUTHORIZATION
            | h::VIA
    ) {
        return true;
    }
    match name.as_str() {
        "keep-alive" | "proxy-connection" | "http2-settings" | "x-real-ip" | "x-kong-request-id" => true,
        other => other
            .strip_prefix("x-forwarded-")
            .is_some_and(|rest| matches!(rest, "for" | "proto" | "host" | "port" | "path" | "prefix")),
    }
}

/// Writes the head.
pub fn write(parts: &Parts<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    line(&mut out, parts);
    put_text(&mut out, "host", parts.host);
    let listed = parts.client.get(http::header::CONNECTION).and_then(|value| value.to_str().ok());
    for (name, value) in parts.client {
        let own = parts.own.iter().any(|(other, _)| other == name);
        let hop = listed
            .is_some_and(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(name.as_str())));
        let withheld = parts.withheld.is_some_and(|prefix| name.as_str().starts_with(prefix));
        if !own && !hop && !withheld && !is_dropped(name) {
            put(&mut out, name.as_str(), value.as_bytes());
        }
    }
    for (name, value) in parts.own {
        put(&mut out, name.as_str(), value.as_bytes());
    }
    // Asked for in the clear: the meter reads what passes, and the client's bytes stay the upstream's.
    put(&mut out, "accept-encoding", b"identity");
    let mut digits = itoa::Buffer::new();
    put(&mut out, "content-length", digits.format(parts.length).as_bytes());
    if let Some(from) = &parts.forwarded {
        forwarded(&mut out, parts.client, from);
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn line(out: &mut Vec<u8>, parts: &Parts<'_>) {
    out.put_slice(parts.method.as_str().as_bytes());
    out.put_u8(b' ');
    escape(out, parts.path);
    let mut joint = b'?';
    for piece in parts.query.iter().filter(|piece| !piece.is_empty()) {
        out.put_u8(joint);
        escape(out, piece);
        joint = b'&';
    }
    out.put_slice(b" HTTP/1.1\r\n");
}

/// A path or query as it goes on the wire.
pub fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape(&mut out, text);
    // What is left is ASCII.
    String::from_utf8(out).unwrap_or_default()
}

/// A path or query that came through a template may hold what a request line must not.
fn escape(out: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        if byte <= b' ' || byte >= 0x7f {
            let digit = |nibble: u8| {
                char::from_digit(u32::from(nibble), 16).map_or(b'0', |c| c.to_ascii_uppercase() as u8)
            };
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(byte);
        }
    }
}

/// Writes a value that cannot hold a line break, as that of a `HeaderMap`.
fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Writes a value that comes from elsewhere: one with a line break is left out.
fn put_text(out: &mut Vec<u8>, name: &str, value: &str) {
    let breaks = memchr::memchr3(b'\r', b'\n', 0, value.as_bytes()).is_some();
    put(out, name, if breaks { b"" } else { value.as_bytes() });
}

/// Writes an address without the formatting machinery: it stands in every request.
fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        out.put_slice(ip.to_string().as_bytes());
        return;
    };
    let mut digits = itoa::Buffer::new();
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            out.put_u8(b'.');
        }
        out.put_slice(digits.format(octet).as_bytes());
    }
}

fn forwarded(out: &mut Vec<u8>, client: &HeaderMap, from: &Forwarded<'_>) {
    if let Some(ip) = from.ip {
        out.put_slice(b"x-real-ip: ");
        put_ip(out, ip);
        out.put_slice(b"\r\nx-forwarded-for: ");
        if let Some(before) = client.get(&FORWARDED_FOR) {
            out.put_slice(before.as_bytes());
            out.put_slice(b", ");
            // KONG(kong/runloop/handler.lua): who handed it to us is appended, not the client again.
            put_ip(out, from.end.unwrap_or(ip));
        } else {
            put_ip(out, ip);
        }
        out.put_slice(b"\r\n");
    }
    put_text(out, "x-forwarded-proto", from.scheme);
    put_text(out, "x-forwarded-host", from.host);
    let mut digits = itoa::Buffer::new();
    put(out, "x-forwarded-port", digits.format(from.port).as_bytes());
    put_text(out, "x-forwarded-path", from.path);
    if let Some(prefix) = from.prefix {
        put_text(out, "x-forwarded-prefix", prefix);
    }
    put(out, "via", b"1.1 kong/3.10.0");
    put_text(out, "x-kong-request-id", from.request_id);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(client: &'a HeaderMap, own: &'a [(HeaderName, HeaderValue)], path: &'a str) -> String {
        let forwarded = Forwarded {
            ip: Some(IpAddr::from([10, 0, 0, 7])),
            end: Some(IpAddr::from([10, 0, 0, 7])),
            scheme: "http",
            host: "gateway.test",
            port: 8000,
            path: "/chat",
            prefix: None,
            request_id: "0123",
        };
        let parts = Parts {
            method: &Method::POST,
            path,
            query: &["a=1", "", "key=k"],
            host: "model.test",
            client,
            own,
            withheld: Some("x-amz-"),
            length: 2,
            forwarded: Some(forwarded),
        };
        String::from_utf8(write(&parts)).unwrap()
    }

    #[test]
    fn own_headers_replace_the_clients_and_hop_headers_stay() {
        let mut client = HeaderMap::new();
        client.insert("authorization", HeaderValue::from_static("Bearer client"));
        client.insert("connection", HeaderValue::from_static("close, x-hop"));
        client.insert("x-hop", HeaderValue::from_static("1"));
        client.insert("x-trace", HeaderValue::from_static("t1"));
        client.insert("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
        client.insert("accept-encoding", HeaderValue::from_static("br"));
        client.insert("x-amz-security-token", HeaderValue::from_static("client"));
        let own = [(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer own"))];
        let head = parts(&client, &own, "/v1");
        assert!(head.starts_with("POST /v1?a=1&key=k HTTP/1.1\r\nhost: model.test\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer own\r\n") && !head.contains("client"));
        assert!(head.contains("x-trace: t1\r\n") && !head.contains("x-hop") && !head.contains("br\r\n"));
        assert!(head.contains("x-forwarded-for: 10.0.0.1, 10.0.0.7\r\n"));
        assert!(head.contains("content-length: 2\r\n") && head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_path_cannot_break_the_request_line() {
        let head = parts(&HeaderMap::new(), &[], "/a b\r\nx: y/é");
        assert!(head.starts_with("POST /a%20b%0D%0Ax:%20y/%C3%A9?a=1"), "{head}");
    }
}
