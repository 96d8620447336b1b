//! Calls of the gateway's own: tokens of clouds, and whatever else is asked for beside the
//! exchanges of clients. One request, one whole answer.
//!
//! They go through the same connector as the exchanges: one TLS configuration, one view of DNS.

use super::attempt::{Answer, Connections, INVALID, Request};
use super::endpoint::{Endpoint, Timeouts};
use super::inflate::Inflate;
use crate::error::{Error, Kind, Result};
use crate::wire::address::Address;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::sync::Arc;
use std::time::Duration;

/// A request.
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Where it goes.
    pub url: String,
    /// Beside those of the body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// May be empty.
    pub body: Bytes,
}

/// How long a call may take, and how much it may bring.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For each step.
    pub timeouts: Timeouts,
    /// For all of it.
    pub whole: Duration,
    /// Bytes of the answer.
    pub body: usize,
}

/// An answer.
#[derive(Debug)]
pub struct Fetched {
    /// The answer's.
    pub status: u16,
    /// Without what speaks of the body's coding.
    pub headers: HeaderMap,
    /// Inflated.
    pub body: Bytes,
}

/// Makes a call.
pub async fn fetch(connections: &Arc<Connections>, call: Call, limits: Limits) -> Result<Fetched> {
    let address = Address::parse(&call.url).map_err(|why| Error::new(Kind::Internal, why))?;
    let endpoint = Endpoint::shared(&address, limits.timeouts);
    let request = Request::new(head(&call, &address), call.body);
    ask(connections, &endpoint, &request, limits).await
}

/// Makes a call whose request is written already.
pub async fn ask(
    connections: &Arc<Connections>,
    endpoint: &Arc<Endpoint>,
    request: &Request,
    limits: Limits,
) -> Result<Fetched> {
    let work = exchange(connections, endpoint, request, limits);
    let timed_out = |_| Error::new(Kind::Timeout, "the call took too long");
    tokio::time::timeout(limits.whole, work).await.map_err(timed_out)?
}

async fn exchange(
    connections: &Arc<Connections>,
    endpoint: &Arc<Endpoint>,
    request: &Request,
    limits: Limits,
) -> Result<Fetched> {
    let answer = connections.send(endpoint, request, limits.timeouts).await?;
    whole(answer, limits.body).await
}

/// Reads an answer to its end, and inflates it.
pub async fn whole(mut answer: Answer, limit: usize) -> Result<Fetched> {
    let body = if answer.is_bodiless() { Bytes::new() } else { answer.whole(limit).await? };
    let (status, headers) = (answer.status(), answer.take_headers());
    answer.done();
    let coding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let body = Inflate::all(coding.unwrap_or_default(), &body)?;
    Ok(Fetched { status, headers, body })
}

fn head(call: &Call, address: &Address) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut put = |pieces: &[&[u8]]| pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    put(&[call.method.as_str().as_bytes(), b" ", address.path.as_bytes()]);
    if let Some(query) = &address.query {
        put(&[b"?", query.as_bytes()]);
    }
    put(&[b" HTTP/1.1\r\nhost: ", address.authority.as_bytes(), b"\r\n"]);
    for (name, value) in &call.headers {
        put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    let mut digits = itoa::Buffer::new();
    put(&[
        b"accept-encoding: identity\r\ncontent-length: ",
        digits.format(call.body.len()).as_bytes(),
        b"\r\n\r\n",
    ]);
    out
}

/// Why a call brought nothing, in the words of who makes it: those of the error are for clients.
pub fn reason(error: &Error) -> &str {
    match error.kind() {
        Kind::Timeout => "timeout",
        Kind::Unresolved => "name resolution failed",
        Kind::Unreachable if error.message() == INVALID => "connection refused or closed",
        _ => error.message(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(body: usize) -> Limits {
        Limits {
            timeouts: Timeouts { connect: SECOND, read: SECOND, write: SECOND },
            whole: SECOND * 2,
            body,
        }
    }

    /// Answers one connection, and gives what was asked.
    async fn serve(listener: TcpListener, answer: &'static str) -> String {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"body") {
            assert_ne!(socket.read_buf(&mut asked).await.unwrap(), 0, "{}", String::from_utf8_lossy(&asked));
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(asked).unwrap()
    }

    async fn call(answer: &'static str, limits: Limits) -> (Result<Fetched>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token?a=1", listener.local_addr().unwrap());
        let headers = vec![(HeaderName::from_static("x-own"), HeaderValue::from_static("1"))];
        let call = Call { method: Method::POST, url, headers, body: Bytes::from_static(b"body") };
        let connections = Arc::new(Connections::new(1));
        tokio::join!(fetch(&connections, call, limits), serve(listener, answer))
    }

    #[tokio::test]
    async fn a_call_brings_the_whole_answer() {
        let chunked = "HTTP/1.1 201 Created\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let (fetched, asked) = call(chunked, limits(100)).await;
        let fetched = fetched.unwrap();
        assert_eq!(
            (fetched.status, &*fetched.body, &fetched.headers["x-a"]),
            (201, &b"abcd"[..], &"b".parse().unwrap())
        );
        assert!(asked.starts_with("POST /token?a=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{asked}");
        assert!(
            asked.contains("\r\nx-own: 1\r\n") && asked.ends_with("\r\ncontent-length: 4\r\n\r\nbody"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_given_up() {
        let (fetched, _) = call("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde", limits(4)).await;
        assert_eq!(fetched.unwrap_err().message(), "the answer is over 4 bytes");
    }
}
