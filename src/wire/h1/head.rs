//! The head of a request or an answer.

use super::Framing;
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request};
use httparse::{EMPTY_HEADER, Status};
use memchr::memmem::Finder;
use std::mem::MaybeUninit;
use std::sync::LazyLock;

/// The most headers of one message.
const HEADERS: usize = 128;
/// The longest head.
pub const LONGEST: usize = 64 * 1024;

/// The end of a head.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// What stands at the beginning of a buffer.
#[derive(Debug)]
pub enum Head<T> {
    /// A head; it has been taken out of the buffer.
    Whole(T),
    /// The beginning of one.
    Partial,
    /// Nothing that is read here. The buffer is as it was.
    Other,
}

/// A request of the simplest kind: HTTP/1.1, a body of a stated length or none.
///
/// All else (older versions, chunked bodies, upgrades, expectations, hosts that need a second look) is
/// left to those who know it.
#[derive(Debug)]
pub struct Request {
    /// Method, target and headers.
    pub parts: request::Parts,
    /// Of the body.
    pub length: u64,
    /// Whether another may follow.
    pub keep_alive: bool,
    /// The head as it came.
    pub raw: Bytes,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Response {
    /// Of the answer.
    pub status: u16,
    /// Without those that are for the connection that it came on.
    pub headers: HeaderMap,
    /// How its body is delimited.
    pub framing: Framing,
    /// Whether another may follow.
    pub keep_alive: bool,
}

impl Request {
    /// Reads a request's head.
    pub fn read(buf: &mut BytesMut) -> Head<Self> {
        let Some(whole) = whole(buf) else {
            let mut headers = [EMPTY_HEADER; HEADERS];
            return begun(httparse::Request::new(&mut headers).parse(buf));
        };
        let Some(read) = Self::parse(&whole) else { return Head::Other };
        buf.advance(whole.len());
        Head::Whole(read)
    }

    fn parse(whole: &Bytes) -> Option<Self> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
        let mut parsed = httparse::Request::new(&mut []);
        if parsed.parse_with_uninit_headers(whole, &mut headers) != Ok(Status::Complete(whole.len())) {
            return None;
        }
        let method = match parsed.method {
            Some("POST") => Method::POST,
            Some("GET") => Method::GET,
            _ => return None,
        };
        let path = parsed.path.filter(|path| path.starts_with('/') && parsed.version == Some(1))?;
        let path = part(whole, path.as_bytes());
        Self::of(method, path, fill(whole, parsed.headers, |_, _| true)?, whole.clone())
    }

    fn of(method: Method, path: Bytes, headers: HeaderMap, raw: Bytes) -> Option<Self> {
        let mut hosts = headers.get_all(HOST).iter();
        if !hosts.next().is_some_and(|host| is_host(host.as_bytes())) || hosts.next().is_some() {
            return None;
        }
        let (mut length, mut keep_alive) = (0, true);
        // One walk in the place of five searches.
        for name in headers.keys() {
            match *name {
                TRANSFER_ENCODING | UPGRADE | EXPECT => return None,
                CONTENT_LENGTH => {
                    length = match stated(&headers) {
                        Stated::None => 0,
                        Stated::Length(length) => length,
                        Stated::Unclear => return None,
                    }
                }
                CONNECTION => keep_alive = !asks_to_close(&headers),
                _ => {}
            }
        }
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = method;
        parts.uri = Uri::from(PathAndQuery::from_maybe_shared(path).ok()?);
        parts.headers = headers;
        Some(Self { parts, length, keep_alive, raw })
    }
}

impl Response {
    /// Reads an answer's head.
    pub fn read(buf: &mut BytesMut) -> Head<Self> {
        let Some(whole) = whole(buf) else {
            let mut headers = [EMPTY_HEADER; HEADERS];
            return begun(httparse::Response::new(&mut headers).parse(buf));
        };
        let Some(read) = Self::parse(&whole) else { return Head::Other };
        buf.advance(whole.len());
        Head::Whole(read)
    }

    fn parse(whole: &Bytes) -> Option<Self> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let read = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            whole,
            &mut headers,
        );
        if read != Ok(Status::Complete(whole.len())) {
            return None;
        }
        let mut hop = Hop::default();
        let headers = fill(whole, parsed.headers, |name, value| !hop.take(name, value))?;
        Self::of(parsed.code?, parsed.version?, headers, &hop)
    }

    fn of(status: u16, version: u8, mut headers: HeaderMap, hop: &Hop) -> Option<Self> {
        if !(100..1000).contains(&status) {
            return None;
        }
        if hop.chunked.is_some() {
            // The coding says where the body ends, whatever length is stated beside it.
            headers.remove(CONTENT_LENGTH);
        }
        let framing = match (hop.chunked, stated(&headers)) {
            _ if matches!(status, 100..200 | 204 | 304) => Framing::Length(0),
            (Some(true), _) => Framing::Chunked,
            (Some(false), _) | (None, Stated::None) => Framing::Close,
            (None, Stated::Length(length)) => Framing::Length(length),
            (None, Stated::Unclear) => return None,
        };
        let wanted = if version == 1 { !hop.close } else { version == 0 && hop.keep_alive };
        Some(Self { status, headers, framing, keep_alive: wanted && framing != Framing::Close })
    }
}

/// What an answer's head says of its own connection. Such headers go no further.
#[derive(Default)]
struct Hop {
    close: bool,
    keep_alive: bool,
    /// Whether the body is chunked, if it is coded for the way at all.
    chunked: Option<bool>,
}

impl Hop {
    /// Takes a header, if it is one of them.
    fn take(&mut self, name: &str, value: &[u8]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            7 => is("trailer") || is("upgrade"),
            10 if is("connection") => {
                self.close |= holds(value, b"close");
                self.keep_alive |= holds(value, b"keep-alive");
                true
            }
            10 => is("keep-alive"),
            16 => is("proxy-connection"),
            17 if is("transfer-encoding") => {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                self.chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
                true
            }
            _ => false,
        }
    }
}

/// A copy of the head at the beginning of a buffer, if all of it is there: what is read out of it shares
/// the copy, and the buffer is free for what comes next.
fn whole(buf: &[u8]) -> Option<Bytes> {
    let end = END.find(buf.get(..LONGEST.min(buf.len()))?)?;
    buf.get(..end + 4).map(Bytes::copy_from_slice)
}

/// What a head without its end is. Lines that end in bare line feeds are for others to judge.
fn begun<T>(parsed: httparse::Result<usize>) -> Head<T> {
    match parsed {
        Ok(Status::Partial) => Head::Partial,
        Ok(Status::Complete(_)) | Err(_) => Head::Other,
    }
}

/// The headers that are kept; their values share the head's buffer. None: one holds what none may.
fn fill(
    whole: &Bytes,
    lines: &[httparse::Header<'_>],
    mut keeps: impl FnMut(&str, &[u8]) -> bool,
) -> Option<HeaderMap> {
    // Room for what the gateway adds.
    let mut headers = HeaderMap::with_capacity(lines.len() + 8);
    for line in lines.iter().filter(|line| keeps(line.name, line.value)) {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(part(whole, line.value)).ok()?);
    }
    Some(headers)
}

/// A part of a buffer, sharing it.
fn part(whole: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { whole.slice_ref(part) }
}

enum Stated {
    None,
    Length(u64),
    /// Several that differ, or no number.
    Unclear,
}

fn stated(headers: &HeaderMap) -> Stated {
    let mut found = Stated::None;
    for value in headers.get_all(CONTENT_LENGTH) {
        // Digits alone: `parse` would take a sign.
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|text| text.parse().ok());
        found = match (length, found) {
            (Some(length), Stated::None) => Stated::Length(length),
            (Some(length), Stated::Length(before)) if length == before => Stated::Length(length),
            _ => return Stated::Unclear,
        };
    }
    found
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| holds(value.as_bytes(), b"close"))
}

/// Whether a list holds a token.
fn holds(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// A host and perhaps a port, spelled without anything that could be read in two ways.
fn is_host(host: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
    !host.is_empty() && host.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> (Head<Request>, BytesMut) {
        let mut buf = BytesMut::from(text);
        (Request::read(&mut buf), buf)
    }

    fn response(text: &str) -> Option<Response> {
        match Response::read(&mut BytesMut::from(text)) {
            Head::Whole(read) => Some(read),
            Head::Partial | Head::Other => None,
        }
    }

    #[test]
    fn a_request_is_read_and_what_follows_stays() {
        let text = "POST /v1/chat?a=b HTTP/1.1\r\nHost: a.test:80\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\n{}POST";
        let (Head::Whole(read), rest) = request(text) else { panic!("not read") };
        assert_eq!((read.length, read.keep_alive, &rest[..]), (2, true, &b"{}POST"[..]));
        assert_eq!(read.parts.uri, "/v1/chat?a=b");
        assert_eq!(read.parts.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        for end in 0..text.len() - 6 {
            let (head, rest) = request(&text[..end]);
            assert!(matches!(head, Head::Partial), "{end}");
            assert_eq!(rest.len(), end);
        }
    }

    #[test]
    fn what_needs_a_second_look_is_left_as_it_is() {
        for head in [
            "POST / HTTP/1.0\r\nHost: a\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2,2\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a@b\r\n\r\n",
            "POST / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost : a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
            "\x16\x03\x01",
        ] {
            let (read, rest) = request(head);
            assert!(matches!(read, Head::Other), "{head:?}: {read:?}");
            assert_eq!(rest, head.as_bytes());
        }
    }

    #[test]
    fn connections_are_kept_unless_somebody_says_otherwise() {
        for (line, kept) in
            [("", true), ("Connection: keep-alive\r\n", true), ("Connection: x, Close\r\n", false)]
        {
            let (Head::Whole(read), _) = request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n")) else {
                panic!("{line}")
            };
            assert_eq!(read.keep_alive, kept, "{line}");
        }
        for (head, kept) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n", true),
        ] {
            assert_eq!(response(head).unwrap().keep_alive, kept, "{head:?}");
        }
    }

    #[test]
    fn the_framing_of_an_answer_follows_the_standard() {
        for (status, headers, framing) in [
            ("200", "content-length: 7\r\n", Framing::Length(7)),
            ("200", "content-length: 7\r\ncontent-length: 7\r\n", Framing::Length(7)),
            ("200", "content-length: 7\r\ntransfer-encoding: gzip, chunked\r\n", Framing::Chunked),
            ("200", "transfer-encoding: gzip\r\n", Framing::Close),
            ("200", "", Framing::Close),
            ("204", "content-length: 7\r\n", Framing::Length(0)),
            ("100", "", Framing::Length(0)),
        ] {
            let read = response(&format!("HTTP/1.1 {status} Fine\r\n{headers}\r\n")).unwrap();
            assert_eq!(read.framing, framing, "{status} {headers:?}");
            let both = read.headers.contains_key(CONTENT_LENGTH) && read.framing == Framing::Chunked;
            assert!(!both && !read.headers.contains_key(TRANSFER_ENCODING), "{headers:?}");
        }
        for broken in [
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 8\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(response(broken).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn headers_of_the_connection_go_no_further_and_others_of_their_length_do() {
        let hop = "trailer: a\r\nUpgrade: h2c\r\nConnection: x\r\nKeep-Alive: timeout=5\r\n\
                   proxy-connection: x\r\ntransfer-encoding: chunked\r\n";
        let kept = "x-trace: 1\r\nuser-agent: 2\r\nwww-authenticate: 3\r\nx-ratelimit-reset: 4\r\n";
        let read = response(&format!("HTTP/1.1 200 OK\r\n{hop}{kept}\r\n")).unwrap();
        let names: Vec<_> = read.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-trace", "user-agent", "www-authenticate", "x-ratelimit-reset"]);
        assert_eq!((read.framing, read.keep_alive), (Framing::Chunked, true));
        assert_eq!(read.headers.get("x-ratelimit-reset").unwrap(), "4");
    }
}
