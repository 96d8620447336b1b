//! HTTP/1.1 on the wire: what a message is must not depend on how the network cut it, and nothing of the next
//! one is taken.

use super::split::pieces;
use bytes::BytesMut;
use tollgate::wire::h1::{Body, Framing, Head, Malformed, Request, Response};

/// A body's bytes, whether it ended, and what stands behind it.
type Seen = Result<(Vec<u8>, bool, Vec<u8>), Malformed>;

fn seen(framing: Framing, reads: &[&[u8]]) -> Seen {
    let (mut body, mut buf, mut out) = (Body::new(framing), BytesMut::new(), Vec::new());
    for read in reads {
        buf.extend_from_slice(read);
        while let Some(piece) = body.take(&mut buf)? {
            assert!(!piece.is_empty(), "an empty piece would look like an end");
            out.extend_from_slice(&piece);
        }
    }
    Ok((out, body.is_done(), buf.to_vec()))
}

/// Bodies of each framing, whole and cut.
pub fn body(data: &[u8]) {
    let Some(([first, second, kind], text)) = data.split_first_chunk::<3>() else { return };
    let framing = match kind % 3 {
        0 => Framing::Chunked,
        1 => Framing::Length(u64::from(*kind)),
        _ => Framing::Close,
    };
    let whole = seen(framing, &[text]);
    assert_eq!(seen(framing, &pieces([*first, *second], text)), whole, "the same however it was cut");
    if let Ok((taken, done, behind)) = whole {
        assert!(text.ends_with(&behind), "what follows is left as it is");
        if let Framing::Length(length) = framing {
            assert_eq!(taken.len() as u64, length.min(text.len() as u64));
            assert_eq!(done, taken.len() as u64 == length);
        }
    }
}

pub fn bodies() -> Vec<Vec<u8>> {
    [
        &b"\x00\x05\x004\r\nwiki\r\n5;a=b\r\npedia\r\n0\r\nexpires: never\r\n\r\nGET /"[..],
        b"\x07\x20\x04hello",
        b"\x01\x02\x02until it is closed",
        b"\x00\x01\x00fff\r\n\r\n",
    ]
    .map(<[u8]>::to_vec)
    .into()
}

/// Heads of requests and of answers.
pub fn head(data: &[u8]) {
    let mut buf = BytesMut::from(data);
    match Request::read(&mut buf) {
        Head::Whole(request) => {
            assert_eq!([&request.raw[..], &buf[..]].concat(), data, "the head, and what follows it");
            assert!(!request.parts.headers.contains_key("transfer-encoding"));
            assert_eq!(request.parts.headers.get_all("host").iter().count(), 1);
            let mut part = BytesMut::from(&request.raw[..request.raw.len() - 1]);
            assert!(!matches!(Request::read(&mut part), Head::Whole(_)), "it ends where it ends");
        }
        Head::Partial | Head::Other => assert_eq!(buf, data, "what is not read stays"),
    }
    let mut buf = BytesMut::from(data);
    match Response::read(&mut buf) {
        Head::Whole(response) => {
            assert!(data.ends_with(&buf));
            let length = response.headers.contains_key("content-length");
            assert!(!(length && response.framing == Framing::Chunked), "one framing");
            assert!(!(response.keep_alive && response.framing == Framing::Close));
        }
        Head::Partial | Head::Other => assert_eq!(buf, data, "what is not read stays"),
    }
}

pub fn heads() -> Vec<Vec<u8>> {
    [
        "POST /v1/chat?a=b HTTP/1.1\r\nHost: a.test:80\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 204 No Content\r\nconnection: keep-alive\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
