//! A client's connection that the gateway serves by itself: HTTP/1.1, one request after another.
//!
//! It takes the plainest requests only (`wire::h1::Request`); a connection on which anything else comes is
//! given to Pingora with all that was read of it. One buffer in, one out, one write an answer.

mod body;
mod write;

use crate::clock::{Clock, Elapsed};
use crate::gather;
use crate::turns;
use crate::wire::h1::{self, Head};
use bytes::{Bytes, BytesMut};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use write::{Framing, framing, put_hex, write_all, write_head};

/// What is read at once when nothing is known of a request.
const ROOM: usize = 4 * 1024;
/// A piece up to here goes out in the buffer of what stands before it.
const SMALL: usize = 2 * 1024;
/// How long a client may take for what is written to it.
const WRITE: Duration = Duration::from_mins(1);
/// A client that is refused in the middle of its body is listened to for so long: a connection that is
/// closed over unread bytes is reset, and the answer with it.
const LINGER: Duration = Duration::from_secs(1);
/// The most of such a body that is read.
const LINGERED: usize = 1024 * 1024;

/// How heads may come.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// The longest.
    pub bytes: usize,
    /// How long to wait for the first byte,
    pub idle: Duration,
    /// and from there to the last.
    pub whole: Duration,
}

/// A connection, and the request on it.
pub struct Direct {
    stream: Stream,
    /// Read, and not yet looked at.
    buf: BytesMut,
    /// To be written.
    out: Vec<u8>,
    clock: Clock,
    /// Our end of it.
    pub server: Option<SocketAddr>,
    /// The other end of it.
    pub client: Option<SocketAddr>,
    /// What else is known of the connection.
    pub digest: Option<Arc<ProxyDigest>>,
    heads: Heads,
    /// The head of the request under way.
    pub request: RequestHeader,
    /// The request's head as it came.
    raw: Bytes,
    /// What of its body was not read yet.
    left: u64,
    /// Whether another request may follow.
    keep_alive: bool,
    /// How much room is made for heads: none beyond what comes, before a first request has come.
    room: usize,
    /// The client has closed its side.
    closed: bool,
    /// It has sent something behind its request, which will be the next one.
    ahead: bool,
    answer: Answer,
    /// Bytes of the request's body that came.
    pub received: usize,
    /// Bytes of the answer's body that went out.
    pub sent: usize,
}

/// How far the answer is.
#[derive(Default)]
struct Answer {
    status: Option<u16>,
    framing: Framing,
}

/// What came on a connection.
pub enum Next {
    /// One is here.
    Request,
    /// Nothing more will come.
    Closed,
    /// Something that is for Pingora.
    Other,
    /// The rest of a head did not come in time.
    Slow,
}

impl Direct {
    /// A connection on which nothing has come yet.
    pub fn new(stream: Stream, heads: Heads) -> Self {
        let proxy = stream.get_proxy_digest();
        let digest = stream.get_socket_digest();
        let inet = |address: Option<&pingora::protocols::l4::socket::SocketAddr>| address?.as_inet().copied();
        let (server, client) =
            digest.map_or((None, None), |digest| (inet(digest.local_addr()), inet(digest.peer_addr())));
        Self {
            stream,
            digest: proxy,
            heads,
            // Until a byte is there, a connection has no buffer.
            buf: BytesMut::new(),
            out: Vec::new(),
            clock: Clock::default(),
            server,
            client,
            request: RequestHeader::from(http::Request::new(()).into_parts().0),
            raw: Bytes::new(),
            left: 0,
            keep_alive: true,
            room: 0,
            closed: false,
            ahead: false,
            answer: Answer::default(),
            received: 0,
            sent: 0,
        }
    }

    /// Waits for the next request; an idle connection is closed when `stop` is ready.
    pub async fn next(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Next {
        (self.answer, self.received, self.sent, self.ahead) = (Answer::default(), 0, 0, false);
        (self.raw, self.left) = (Bytes::new(), 0);
        let mut until = None;
        loop {
            if !self.buf.is_empty() {
                match h1::Request::read(&mut self.buf) {
                    Head::Whole(request) if request.raw.len() <= self.heads.bytes => {
                        return self.begin(request);
                    }
                    Head::Whole(request) => {
                        self.raw = request.raw;
                        return Next::Other;
                    }
                    Head::Partial if self.buf.len() <= self.heads.bytes => {}
                    Head::Partial | Head::Other => return Next::Other,
                }
            }
            let idle = self.buf.is_empty();
            let whole = self.heads.whole;
            let limit = if idle {
                self.heads.idle
            } else {
                let until = *until.get_or_insert_with(|| Instant::now() + whole);
                until.saturating_duration_since(Instant::now())
            };
            let read = tokio::select! {
                biased;
                read = self.read_head(limit) => read,
                () = &mut stop, if idle => return Next::Closed,
            };
            match read {
                Ok(Ok(1..)) => {}
                Err(Elapsed) if !idle => return Next::Slow,
                _ => return Next::Closed,
            }
        }
    }

    async fn read_head(&mut self, limit: Duration) -> Result<io::Result<usize>, Elapsed> {
        let Self { stream, buf, clock, room, .. } = self;
        clock.within(limit, fill(stream, buf, *room)).await
    }

    fn begin(&mut self, request: h1::Request) -> Next {
        let h1::Request { parts, length, keep_alive, raw } = request;
        (self.request, self.raw) = (RequestHeader::from(parts), raw);
        (self.left, self.keep_alive, self.room) = (length, keep_alive, ROOM);
        Next::Request
    }

    /// Gives the connection up, with all that was read of the request on it.
    pub fn into_parts(self) -> (Stream, BytesMut) {
        let mut read = BytesMut::with_capacity(self.raw.len() + self.buf.len());
        read.extend_from_slice(&self.raw);
        read.extend_from_slice(&self.buf);
        (self.stream, read)
    }

    /// Ready once the client has hung up.
    pub async fn hung_up(&mut self) {
        if !self.closed && !self.ahead {
            let read = fill(&mut self.stream, &mut self.buf, self.room).await;
            // What comes before the answer is the next request: it waits for its turn.
            (self.ahead, self.closed) = (matches!(read, Ok(1..)), !matches!(read, Ok(1..)));
        }
        if self.ahead {
            return std::future::pending().await;
        }
        self.keep_alive = false;
    }

    /// No further request is taken.
    pub fn close_after(&mut self) {
        self.keep_alive = false;
    }

    /// The status that was answered.
    pub fn status(&self) -> Option<u16> {
        self.answer.status
    }

    /// Begins the answer; it goes out with the first piece of its body, or by `flush`.
    pub fn head(&mut self, head: &ResponseHeader) {
        let status = head.status.as_u16();
        let framing = framing(status, &head.headers);
        // A body that was not read stands in the way of the next request.
        let unread = self.left > self.buf.len() as u64;
        self.keep_alive &= framing != Framing::Close && !unread;
        self.answer = Answer { status: Some(status), framing };
        write_head(&mut self.out, head, self.keep_alive);
    }

    /// Whether something waits to be written.
    pub fn has_unwritten(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes what waits to be written.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.write(b"", b"").await
    }

    /// Writes a piece of the body, and ends it if it is the last.
    pub async fn piece(&mut self, piece: &[u8], end: bool) -> io::Result<()> {
        if end {
            gather::others().await;
        }
        let (body, behind): (&[u8], &[u8]) = match &mut self.answer.framing {
            Framing::Length(left) => {
                // More than was announced would be taken for the next answer.
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= length as u64;
                (piece.get(..length).unwrap_or_default(), b"")
            }
            Framing::Chunked => {
                if !piece.is_empty() {
                    put_hex(&mut self.out, piece.len());
                }
                match (piece.is_empty(), end) {
                    (true, true) => (piece, b"0\r\n\r\n"),
                    (true, false) => (piece, b""),
                    (false, true) => (piece, b"\r\n0\r\n\r\n"),
                    (false, false) => (piece, b"\r\n"),
                }
            }
            Framing::Close => (piece, b""),
            Framing::None | Framing::Ended => (b"", b""),
        };
        self.sent += body.len();
        if end && self.answer.framing != Framing::None {
            self.keep_alive &= !matches!(self.answer.framing, Framing::Length(1..));
            self.answer.framing = Framing::Ended;
        }
        self.write(body, behind).await
    }

    async fn write(&mut self, mut body: &[u8], behind: &[u8]) -> io::Result<()> {
        while body.len() > turns::LARGE {
            let (piece, rest) = body.split_at(turns::STEP);
            turns::pass().await;
            self.put(piece, b"").await?;
            body = rest;
        }
        self.put(body, behind).await
    }

    async fn put(&mut self, body: &[u8], behind: &[u8]) -> io::Result<()> {
        let Self { stream, out, clock, .. } = self;
        let (body, behind): (&[u8], &[u8]) = if body.len() <= SMALL {
            // To copy it costs less than to hand the system a list.
            out.extend_from_slice(body);
            out.extend_from_slice(behind);
            (b"", b"")
        } else {
            (body, behind)
        };
        let written = clock.within(WRITE, write_all(stream, [&*out, body, behind])).await;
        out.clear();
        let written = written.unwrap_or_else(|Elapsed| Err(io::ErrorKind::TimedOut.into()));
        if written.is_err() {
            (self.keep_alive, self.closed) = (false, true);
        }
        written
    }

    /// Hangs up. The answer, if it is not whole, is visibly cut.
    pub async fn shutdown(&mut self) {
        self.keep_alive = false;
        self.out.clear();
        let _ = self.stream.shutdown().await;
    }

    /// Ends the exchange; says whether another may follow.
    pub async fn finish(&mut self) -> bool {
        let whole = matches!(self.answer.framing, Framing::None | Framing::Ended | Framing::Length(0));
        if self.has_unwritten() && self.flush().await.is_err() {
            return false;
        }
        // A small body that was refused unread is here already.
        let unread = usize::try_from(self.left).unwrap_or(usize::MAX);
        if whole && self.keep_alive && unread <= self.buf.len() {
            let _ = self.buf.split_to(unread);
            self.left = 0;
            return true;
        }
        let _ = self.stream.shutdown().await;
        if unread > 0 && !self.closed {
            self.linger().await;
        }
        false
    }

    async fn linger(&mut self) {
        let Self { stream, buf, .. } = self;
        let read = async {
            let mut taken = 0;
            while taken < LINGERED {
                buf.clear();
                buf.reserve(ROOM);
                match stream.read_buf(buf).await {
                    Ok(length @ 1..) => taken += length,
                    Ok(0) | Err(_) => return,
                }
            }
        };
        // Whether it ended by itself does not matter any more.
        let _ = tokio::time::timeout(LINGER, read).await;
    }
}

/// Reads through the stack: who sends nothing costs no buffer. `room`: of a buffer that has to be made; one that
/// takes several requests pays where more than one comes.
async fn fill(stream: &mut Stream, buf: &mut BytesMut, room: usize) -> io::Result<usize> {
    poll_fn(|context| {
        let mut read = [const { MaybeUninit::uninit() }; ROOM];
        let mut read = ReadBuf::uninit(&mut read);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        let read = read.filled();
        if buf.capacity() - buf.len() < read.len() {
            buf.reserve(room);
        }
        buf.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    })
    .await
}

#[cfg(test)]
mod tests;
