//! A client on a bare socket, for what a well-behaved one cannot do.

use super::gateway::PATIENCE;
use bytes::{Buf, BytesMut};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection.
pub struct Raw(pub TcpStream);

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a POST with a body and its length.
    pub async fn post(&mut self, path: &str, body: &str) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.send(head + body).await;
    }

    /// Reads at least this many bytes, or to the end.
    pub async fn at_least(&mut self, count: usize) -> Vec<u8> {
        let mut seen = Vec::new();
        while seen.len() < count {
            if self.some(&mut seen).await == 0 {
                break;
            }
        }
        seen
    }

    async fn some(&mut self, seen: &mut Vec<u8>) -> usize {
        let read = tokio::time::timeout(PATIENCE, self.0.read_buf(seen)).await;
        read.expect("more in time").unwrap_or(0)
    }

    /// Reads to the end of the connection.
    pub async fn to_end(&mut self) -> String {
        let mut seen = Vec::new();
        let _ = self.0.read_to_end(&mut seen).await;
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Reads until the text has appeared.
    pub async fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            if self.some(&mut seen).await == 0 {
                break;
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    }
}

/// One answer, taken apart by its framing.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body came to the end that its framing announced.
    pub whole: bool,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Any stream of bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that reads answer by answer.
pub struct Connection {
    stream: Box<dyn Duplex>,
    buffer: BytesMut,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(Raw::connect(address).await.0)
    }

    /// Over a stream that is open already.
    pub fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: BytesMut::new() }
    }

    /// Sends bytes; a peer that no longer reads them is no error here.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        self
    }

    /// Sends a request with a body and its length. `head` is the request line and further headers.
    pub async fn request(&mut self, head: &str, body: impl AsRef<[u8]>) -> &mut Self {
        let body = body.as_ref();
        let head = format!("{head}\r\nhost: gateway.test\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat()).await
    }

    /// Says that nothing more will be sent.
    pub async fn finish_sending(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer to anything but HEAD.
    pub async fn answer(&mut self) -> Answer {
        self.read(true).await
    }

    /// The next answer to HEAD.
    pub async fn head_answer(&mut self) -> Answer {
        self.read(false).await
    }

    /// Whether the other side closes the connection, within a while.
    pub async fn closed(&mut self) -> bool {
        let empty = self.buffer.is_empty();
        let closed = async { while self.more().await {} };
        empty && tokio::time::timeout(PATIENCE, closed).await.is_ok()
    }

    /// Whether it is still open after answers to earlier requests: nothing comes, not even an end.
    pub async fn idle(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.more()).await.is_err()
    }

    /// Reads until the buffer holds the text, and gives all of it.
    pub async fn until(&mut self, text: &str) -> String {
        let find =
            async { while !String::from_utf8_lossy(&self.buffer).contains(text) && self.more().await {} };
        let _ = tokio::time::timeout(PATIENCE, find).await;
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0)
    }

    async fn read(&mut self, with_body: bool) -> Answer {
        tokio::time::timeout(PATIENCE, self.parse(with_body)).await.expect("an answer in time")
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn parse(&mut self, with_body: bool) -> Answer {
        let mut answer = Answer { status: 0, headers: Vec::new(), body: Vec::new(), whole: false };
        let Some(line) = self.line().await else { return answer };
        answer.status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        while let Some(line) = self.line().await.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            answer.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        if !with_body || answer.status < 200 || matches!(answer.status, 204 | 304) {
            answer.whole = true;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            answer.whole = self.chunks(&mut answer.body).await;
        } else if let Some(length) = answer.header("content-length").and_then(|length| length.parse().ok()) {
            answer.whole = self.exactly(length, &mut answer.body).await;
        } else {
            while self.more().await {}
            answer.body.extend_from_slice(&self.buffer.split());
        }
        answer
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(line) = self.line().await else { return false };
            let size = usize::from_str_radix(&line, 16).expect("the size of a chunk");
            let mut chunk = Vec::new();
            let whole = self.exactly(size, &mut chunk).await;
            body.append(&mut chunk);
            if !whole || self.line().await.is_none() {
                return false;
            }
            if size == 0 {
                return true;
            }
        }
    }

    async fn exactly(&mut self, count: usize, out: &mut Vec<u8>) -> bool {
        while self.buffer.len() < count {
            if !self.more().await {
                out.extend_from_slice(&self.buffer.split());
                return false;
            }
        }
        out.extend_from_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        true
    }
}
