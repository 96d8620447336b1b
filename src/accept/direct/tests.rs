use super::*;
use crate::accept::Patience;
use crate::accept::room::Held;
use crate::error::Kind;
use std::future::{pending, ready};
use std::pin::pin;
use tokio::io::DuplexStream;

const SECOND: Duration = Duration::from_secs(1);
const HEADS: Heads = Heads { bytes: 8192, idle: SECOND, whole: SECOND };
const PATIENCE: Patience = Patience { per_read: SECOND, total: SECOND };

/// A connection, and the client at its other end, which has written `text`.
async fn connected(text: &str) -> (Direct, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    theirs.write_all(text.as_bytes()).await.unwrap();
    (Direct::new(Box::new(ours), HEADS), theirs)
}

async fn next(direct: &mut Direct) -> Next {
    direct.next(pin!(pending())).await
}

fn head(status: u16, name: &'static str, value: &str) -> ResponseHeader {
    let mut head = ResponseHeader::build_no_case(status, None).unwrap();
    head.insert_header(name, value).unwrap();
    head
}

async fn rest(direct: Direct, mut client: DuplexStream) -> String {
    drop(direct);
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn requests_are_served_one_after_another_also_when_they_come_together() {
    let (mut direct, client) = connected(&(post("/one", "1") + &post("/two", "22"))).await;
    for (path, body) in [("/one", "1"), ("/two", "22")] {
        assert!(matches!(next(&mut direct).await, Next::Request));
        assert_eq!(direct.request.uri, path);
        assert_eq!(direct.body(8, PATIENCE, &mut Held::default()).await.unwrap(), body);
        direct.head(&head(200, "content-length", "3"));
        direct.piece(b"yes", true).await.unwrap();
        assert!(direct.finish().await);
        assert_eq!((direct.received, direct.sent, direct.status()), (body.len(), 3, Some(200)));
    }
    let text = rest(direct, client).await;
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n").count(), 2, "{text}");
    assert!(text.ends_with("Connection: keep-alive\r\n\r\nyes"), "{text}");
}

#[tokio::test]
async fn a_body_may_come_in_pieces_but_not_for_ever() {
    let (mut direct, mut client) =
        connected("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n12").await;
    assert!(matches!(next(&mut direct).await, Next::Request));
    let write = async {
        client.write_all(&b"x".repeat(69_998)).await.unwrap();
        client
    };
    let mut held = Held::default();
    let (body, client) = tokio::join!(direct.body(80_000, PATIENCE, &mut held), write);
    assert_eq!(body.unwrap().len(), 70_000);
    drop(client);
    tokio::time::pause();
    for (text, kind) in [("1", Kind::SlowBody), ("12", Kind::TooLarge)] {
        let length = if kind == Kind::TooLarge { 99 } else { 2 };
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{text}");
        let (mut direct, _client) = connected(&request).await;
        assert!(matches!(next(&mut direct).await, Next::Request));
        assert_eq!(direct.body(8, PATIENCE, &mut Held::default()).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_refused_body_that_is_here_does_not_cost_the_connection_and_another_does() {
    let (mut direct, _client) = connected(&(post("/one", "1") + &post("/two", "22"))).await;
    for _ in 0..2 {
        assert!(matches!(next(&mut direct).await, Next::Request));
        direct.head(&head(401, "content-length", "0"));
        direct.piece(b"", true).await.unwrap();
        assert!(direct.finish().await);
    }
    let (mut direct, mut client) =
        connected("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1").await;
    assert!(matches!(next(&mut direct).await, Next::Request));
    direct.head(&head(401, "content-length", "0"));
    direct.piece(b"", true).await.unwrap();
    client.shutdown().await.unwrap();
    assert!(!direct.finish().await);
    assert!(rest(direct, client).await.ends_with("Connection: close\r\n\r\n"));
}

#[tokio::test]
async fn pieces_are_framed_as_the_head_says() {
    let (mut direct, client) = connected(&post("/", "")).await;
    assert!(matches!(next(&mut direct).await, Next::Request));
    direct.head(&head(200, "transfer-encoding", "chunked"));
    assert!(direct.has_unwritten());
    direct.flush().await.unwrap();
    for piece in [&b"hello"[..], b"", b"0123456789abcdef"] {
        direct.piece(piece, false).await.unwrap();
    }
    direct.piece(b"!", true).await.unwrap();
    assert!(direct.finish().await);
    let text = rest(direct, client).await;
    let body = "5\r\nhello\r\n10\r\n0123456789abcdef\r\n1\r\n!\r\n0\r\n\r\n";
    assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
}

#[tokio::test]
async fn what_is_not_whole_ends_the_connection() {
    for (name, value, piece) in
        [("content-length", "9", "short"), ("transfer-encoding", "chunked", "part"), ("x-a", "b", "all")]
    {
        let (mut direct, client) = connected(&post("/", "")).await;
        assert!(matches!(next(&mut direct).await, Next::Request));
        direct.head(&head(200, name, value));
        direct.piece(piece.as_bytes(), name == "x-a").await.unwrap();
        assert!(!direct.finish().await, "{name}");
        assert!(!rest(direct, client).await.ends_with("0\r\n\r\n"), "{name}");
    }
    // More than was announced is not sent.
    let (mut direct, client) = connected(&post("/", "")).await;
    assert!(matches!(next(&mut direct).await, Next::Request));
    direct.head(&head(200, "content-length", "2"));
    direct.piece(b"okHTTP/1.1 200", true).await.unwrap();
    assert!(direct.finish().await);
    assert!(rest(direct, client).await.ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn a_client_that_hangs_up_is_told_from_one_that_asks_on() {
    let (mut direct, client) = connected(&post("/", "")).await;
    assert!(matches!(next(&mut direct).await, Next::Request));
    drop(client);
    direct.hung_up().await;
    direct.hung_up().await;
    let (mut direct, mut client) = connected(&post("/", "")).await;
    assert!(matches!(next(&mut direct).await, Next::Request));
    client.write_all(post("/next", "").as_bytes()).await.unwrap();
    tokio::time::pause();
    assert!(tokio::time::timeout(SECOND, direct.hung_up()).await.is_err());
    direct.head(&head(200, "content-length", "0"));
    direct.piece(b"", true).await.unwrap();
    assert!(direct.finish().await);
    assert!(matches!(next(&mut direct).await, Next::Request));
    assert_eq!(direct.request.uri, "/next");
}

#[tokio::test]
async fn what_is_for_others_is_given_up_with_all_that_was_read() {
    let text = "POST / HTTP/1.0\r\nHost: a\r\n\r\nbody";
    let (mut direct, _client) = connected(text).await;
    assert!(matches!(next(&mut direct).await, Next::Other));
    assert_eq!(direct.into_parts().1, text.as_bytes());
    let text = post("/plain", "body");
    let (mut direct, _client) = connected(&text).await;
    assert!(matches!(next(&mut direct).await, Next::Request));
    assert_eq!(direct.into_parts().1, text.as_bytes());
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_the_process_stops_and_one_at_work_is_not() {
    let (mut direct, _client) = connected("").await;
    assert!(matches!(direct.next(pin!(ready(()))).await, Next::Closed));
    let (mut direct, _client) = connected(&post("/", "")).await;
    assert!(matches!(direct.next(pin!(ready(()))).await, Next::Request));
}
