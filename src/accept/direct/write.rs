//! Writing answers: their head, the frames of their body, and both in one call of the system.

use crate::accept::date;
use http::{HeaderMap, header};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How the client finds the end of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// So many bytes are still to be written.
    Length(u64),
    /// In pieces, each with its length.
    Chunked,
    /// To the end of the connection.
    Close,
    /// All of it has been written.
    Ended,
}

/// The framing that a head announces.
pub fn framing(status: u16, headers: &HeaderMap) -> Framing {
    if matches!(status, 204 | 304) {
        return Framing::None;
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) => Framing::Length(length),
        None if headers.contains_key(header::TRANSFER_ENCODING) => Framing::Chunked,
        None => Framing::Close,
    }
}

/// Writes the head of an answer, with the names spelled as browsers and scripts have always seen them.
pub fn write_head(out: &mut Vec<u8>, head: &ResponseHeader, keep_alive: bool) {
    let reason = head.status.canonical_reason().unwrap_or("Unknown");
    let line: [&[u8]; 5] = [b"HTTP/1.1 ", head.status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"];
    for part in line {
        out.extend_from_slice(part);
    }
    for (name, value) in &head.headers {
        // Both are the connection's own.
        if *name == header::DATE || *name == header::CONNECTION {
            continue;
        }
        put_name(out, name.as_str());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Date: ");
    date::put(out);
    let connection: &[u8] = if keep_alive { b"keep-alive" } else { b"close" };
    for part in [b"\r\nConnection: ", connection, b"\r\n\r\n"] {
        out.extend_from_slice(part);
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    let from = out.len();
    out.extend_from_slice(name.as_bytes());
    let mut begins = true;
    for letter in out.get_mut(from..).unwrap_or_default() {
        if begins {
            letter.make_ascii_uppercase();
        }
        begins = *letter == b'-';
    }
}

/// The length in front of a chunk.
pub fn put_hex(out: &mut Vec<u8>, length: usize) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (length >> (place * 4)) & 15;
        out.push(b"0123456789abcdef".get(digit).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes three parts as one, as far as the system takes them so.
pub async fn write_all(stream: &mut Stream, parts: [&[u8]; 3]) -> io::Result<()> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut written = 0;
    while written < total {
        let mut passed = written;
        let slices = parts.map(|part| {
            let skip = passed.min(part.len());
            passed -= skip;
            IoSlice::new(part.get(skip..).unwrap_or_default())
        });
        match poll_fn(|context| poll_write(stream, context, &slices)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            more => written += more,
        }
    }
    if total > 0 { stream.flush().await } else { Ok(()) }
}

fn poll_write(
    stream: &mut Stream,
    context: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match slices {
        [only, rest @ ..] if rest.iter().all(|slice| slice.is_empty()) => {
            AsyncWrite::poll_write(Pin::new(stream), context, only)
        }
        _ => AsyncWrite::poll_write_vectored(Pin::new(stream), context, slices),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_the_connection_does_and_not_what_the_upstream_did() {
        let mut head = ResponseHeader::build_no_case(200, None).unwrap();
        head.insert_header("x-kong-request-id", "1").unwrap();
        head.insert_header("date", "yesterday").unwrap();
        head.insert_header("connection", "upgrade").unwrap();
        let mut out = Vec::new();
        write_head(&mut out, &head, false);
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("HTTP/1.1 200 OK\r\nX-Kong-Request-Id: 1\r\nDate: "), "{out}");
        assert!(out.ends_with(" GMT\r\nConnection: close\r\n\r\n") && !out.contains("yesterday"), "{out}");
    }

    #[test]
    fn lengths_of_chunks_are_hexadecimal() {
        for length in [0, 1, 9, 10, 15, 16, 255, 256, 65_536, 1_048_575] {
            let mut out = Vec::new();
            put_hex(&mut out, length);
            assert_eq!(out, format!("{length:x}\r\n").into_bytes());
        }
    }

    #[tokio::test]
    async fn parts_arrive_in_order_however_little_is_taken_at_once() {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let mut stream: Stream = Box::new(ours);
        let read = async {
            let mut text = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut theirs, &mut text).await.unwrap();
            text
        };
        let write = async move {
            write_all(&mut stream, [b"head", b"", b"behind"]).await.unwrap();
            write_all(&mut stream, [b"", b"", b""]).await.unwrap();
        };
        let ((), text) = tokio::join!(write, read);
        assert_eq!(text, "headbehind");
    }
}
