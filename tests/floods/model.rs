//! The models behind the gateway: one for those who flood, one for everybody else.

use bytes::BytesMut;
use serde_json::json;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The model for those who do not flood, on threads of its own.
pub fn other() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let answer = whole(&done());
                let mut request = [0; 4096];
                let mut seen = 0;
                while let Ok(read @ 1..) = stream.read(&mut request[seen..]) {
                    seen += read;
                    // They ask for one thing at a time, and only a body ends so.
                    if request[..seen].ends_with(b"}") {
                        seen = 0;
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    address
}

/// A model that reads bodies without keeping them, and streams until nobody listens.
pub async fn crowded() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream));
        }
    });
    address
}

async fn converse(mut stream: TcpStream) -> Option<()> {
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    let answer = whole(&done());
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            (stream.read_buf(&mut buffer).await.ok()? > 0).then_some(())?;
        };
        let head = String::from_utf8_lossy(&buffer.split_to(end)).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?.split('\r').next()?.parse::<usize>().ok()?;
        let mut left = length;
        let mut streams = false;
        loop {
            // Only small bodies ask for a stream here; large ones are not looked at.
            streams |= length < 1000 && buffer.windows(13).any(|window| window == b"\"stream\":true");
            let taken = left.min(buffer.len());
            left -= taken;
            let _ = buffer.split_to(taken);
            if left == 0 {
                break;
            }
            buffer.reserve(64 * 1024);
            (stream.read_buf(&mut buffer).await.ok()? > 0).then_some(())?;
        }
        if streams {
            return stream_on(stream).await;
        }
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

fn done() -> String {
    json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "y"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
    .to_string()
}

fn whole(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
    format!("{head} {}\r\n\r\n{body}", body.len())
}

async fn stream_on(mut stream: TcpStream) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    let event = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": "word "}}]});
    let event = format!("data: {event}\n\n");
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    loop {
        stream.write_all(chunk.as_bytes()).await.ok()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
