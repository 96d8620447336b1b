//! Reads the head of an HTTP/1 request as bytes, within a size and a time, before anything is made for
//! the request: a slow or huge head costs its own bytes and no more. What is read is handed on as it is.

use crate::accept::direct::Heads;
use crate::error::{Error, Kind};
use crate::respond::local;
use bytes::BytesMut;
use memchr::memchr_iter;
use pingora::protocols::Stream;
use std::fmt::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How a client says, on a connection without TLS, that it will speak HTTP/2.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How much is read at first, and how much room there has to be for each further read.
const FIRST: usize = 4096;
const ROOM: usize = 1024;

/// What came instead of a head.
#[derive(Debug)]
pub enum Missed {
    /// The client left, or was quiet for too long: it is owed nothing.
    Silence,
    /// It is owed this answer.
    Refused(Error),
}

/// Reads until the head is whole; of it so much was `seen` already. What follows it may have come along.
pub async fn read(stream: &mut Stream, mut seen: BytesMut, bounds: Heads) -> Result<BytesMut, Missed> {
    if seen.is_empty() {
        match tokio::time::timeout(bounds.idle, more(stream, &mut seen)).await {
            Ok(Ok(())) => {}
            _ => return Err(Missed::Silence),
        }
    }
    if ends(&seen, bounds.bytes)? {
        return Ok(seen);
    }
    let rest = tokio::time::timeout(bounds.whole, rest(stream, &mut seen, bounds.bytes)).await;
    rest.unwrap_or_else(|_| Err(Missed::Refused(slow())))?;
    Ok(seen)
}

/// The error for a head that takes too long.
pub fn slow() -> Error {
    Error::new(Kind::SlowHead, "Request timeout: the request's head did not arrive in time")
}

async fn rest(stream: &mut Stream, seen: &mut BytesMut, longest: usize) -> Result<(), Missed> {
    loop {
        more(stream, seen).await?;
        if ends(seen, longest)? {
            return Ok(());
        }
    }
}

async fn more(stream: &mut Stream, seen: &mut BytesMut) -> Result<(), Missed> {
    if seen.is_empty() {
        // Only now: until a byte is there, a connection has no buffer.
        readable(stream, seen).await?;
        return Ok(());
    }
    if seen.capacity() - seen.len() < ROOM {
        seen.reserve(seen.len().max(FIRST));
    }
    count(&stream.read_buf(seen).await)
}

/// Waits with a buffer on the stack for the first bytes.
async fn readable(stream: &mut Stream, seen: &mut BytesMut) -> Result<(), Missed> {
    let mut first = [0; 16];
    let read = stream.read(&mut first).await;
    let length = *read.as_ref().unwrap_or(&0);
    count(&read)?;
    seen.reserve(FIRST);
    seen.extend_from_slice(first.get(..length).unwrap_or_default());
    Ok(())
}

fn count(read: &std::io::Result<usize>) -> Result<(), Missed> {
    match read {
        Ok(0) | Err(_) => Err(Missed::Silence),
        Ok(_) => Ok(()),
    }
}

/// Whether the head is whole.
fn ends(seen: &[u8], longest: usize) -> Result<bool, Missed> {
    let end = end(seen);
    if end.unwrap_or(seen.len()) > longest {
        let why = format!("Request header or cookie too large: over {longest} bytes (max_header_bytes)");
        return Err(Missed::Refused(Error::new(Kind::LargeHead, why)));
    }
    Ok(end.is_some())
}

/// Where the head ends: behind the first empty line that follows something. The preface of HTTP/2, which
/// only looks like a head, ends behind its second.
fn end(seen: &[u8]) -> Option<usize> {
    if seen.starts_with(PREFACE_LINE) {
        return (seen.len() >= PREFACE.len()).then_some(PREFACE.len());
    }
    // The parser skips line breaks before the request line, so they end nothing.
    let begin = seen.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    memchr_iter(b'\n', seen).skip_while(|at| *at < begin).find_map(|at| match seen.get(at + 1..)? {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Gives an answer to a head that was never read whole, and says that it is the last.
pub async fn refuse(stream: &mut Stream, error: &Error, id: &str) {
    let page = local::render(error, id, None);
    let reason = http::StatusCode::from_u16(page.status).ok().and_then(|status| status.canonical_reason());
    let mut answer = String::with_capacity(512);
    let _ = write!(
        answer,
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
         X-Kong-Request-Id: {id}\r\n\r\n",
        page.status,
        reason.unwrap_or("Refused"),
        page.content_type,
        page.body.len(),
    );
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(&page.body);
    // What still comes is read for a moment: closing on unread bytes would take the answer back.
    let written = async {
        stream.write_all(&answer).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), written).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_as_the_parser_finds_it() {
        let whole = b"GET / HTTP/1.1\r\nhost: x\r\n\r\nbody";
        assert_eq!(end(whole), Some(27));
        for cut in 0..27 {
            assert_eq!(end(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(end(b"GET / HTTP/1.1\nhost: x\n\nbody"), Some(24));
        assert_eq!(end(b"\r\n\r\nGET / HTTP/1.1\r\n"), None);
        assert_eq!(end(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Some(22));
        assert_eq!(end(b"\r\n\r\n\r\n"), None);
        assert_eq!((end(&PREFACE[..23]), end(PREFACE)), (None, Some(24)));
    }

    #[tokio::test]
    async fn a_head_comes_in_pieces_and_brings_what_follows() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let mut stream: Stream = Box::new(server);
        let bounds = Heads { bytes: 100, idle: Duration::from_secs(5), whole: Duration::from_secs(5) };
        let send = async {
            for piece in ["G", "ET / HTTP/1.1\r", "\nhost: x\r\n\r", "\nbody"] {
                client.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (read, ()) = tokio::join!(read(&mut stream, BytesMut::new(), bounds), send);
        assert!(read.unwrap().starts_with(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_is_refused_and_a_silent_client_is_left() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let mut stream: Stream = Box::new(server);
        let bounds = Heads { bytes: 100, idle: Duration::from_mins(1), whole: Duration::from_secs(5) };
        assert!(matches!(read(&mut stream, BytesMut::new(), bounds).await, Err(Missed::Silence)));
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let Err(Missed::Refused(error)) = read(&mut stream, BytesMut::new(), bounds).await else {
            panic!("not refused")
        };
        assert_eq!(error.status(), 408);
        refuse(&mut stream, &error, "id").await;
        drop(stream);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 408 Request Timeout\r\n")
                && answer.contains("did not arrive in time")
        );
    }

    #[tokio::test]
    async fn a_long_head_is_refused_before_its_end() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let mut stream: Stream = Box::new(server);
        let bounds = Heads { bytes: 100, idle: Duration::from_secs(5), whole: Duration::from_secs(5) };
        client.write_all(&[b'x'; 101]).await.unwrap();
        let Err(Missed::Refused(error)) = read(&mut stream, BytesMut::new(), bounds).await else {
            panic!("not refused")
        };
        assert_eq!(error.status(), 494);
    }
}
