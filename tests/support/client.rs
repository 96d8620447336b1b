//! A client on a bare socket, for what a well-behaved one cannot do.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
            if self.0.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                break;
            }
        }
        seen
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
            if self.0.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                break;
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    }
}
