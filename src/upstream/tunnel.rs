//! Connections through an HTTP proxy: `CONNECT`, after which its bytes are the server's.
//!
//! Pingora's own support for `CONNECT` reaches only proxies on Unix sockets, so the tunnel is dug here
//! and handed to it as a connection like any other: TLS and the pool stay Pingora's.

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The head of a proxy's answer is a few hundred bytes.
const HEAD: usize = 8 * 1024;

/// What an error says where a proxy will not connect; the reason follows.
pub const REFUSED: &str = "the proxy answered CONNECT with";

/// A tunnel to one server.
#[derive(Debug)]
pub struct Tunnel {
    /// Host and port, as `CONNECT` names them.
    to: String,
}

impl Tunnel {
    /// A tunnel to that host and port.
    pub fn new(to: String) -> Self {
        Self { to }
    }

    async fn ask(&self, stream: &mut TcpStream) -> Result<()> {
        let to = &self.to;
        let request = format!("CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.or_err(ErrorType::ConnectError, "writing CONNECT")?;
        let mut head = Vec::with_capacity(256);
        while !head.ends_with(b"\r\n\r\n") {
            // Byte by byte, once per connection: what follows the head is the server's.
            let byte = stream.read_u8().await;
            let byte = byte.or_err(ErrorType::ConnectError, "the proxy hung up on CONNECT")?;
            head.push(byte);
            if head.len() > HEAD {
                return Error::e_explain(
                    ErrorType::ConnectError,
                    "the proxy's answer to CONNECT is too long",
                );
            }
        }
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let status = line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        match status {
            Some(200..=299) => Ok(()),
            Some(status) => {
                Error::e_explain(ErrorType::ConnectProxyFailure, format!("{REFUSED} status {status}"))
            }
            None => Error::e_explain(ErrorType::ConnectProxyFailure, format!("{REFUSED} no HTTP")),
        }
    }
}

#[async_trait]
impl L4Connect for Tunnel {
    /// `proxy` is where to connect to. The peer's own timeout bounds all of it.
    async fn connect(&self, proxy: &SocketAddr) -> Result<Stream> {
        let Some(address) = proxy.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "a proxy is reached by TCP");
        };
        let connected = TcpStream::connect(address).await;
        let mut stream = connected.or_err(ErrorType::ConnectRefused, "connecting to the proxy")?;
        self.ask(&mut stream).await?;
        Ok(stream.into())
    }
}
