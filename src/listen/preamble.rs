//! The PROXY protocol, versions 1 and 2: a proxy in front says who connected to it.

use super::connection::Stated;
use pingora::protocols::l4::stream::Stream;
use ppp::{PartialResult, v1, v2};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;

/// Longer headers are refused: the addresses take 52 bytes, the rest is extensions.
const LONGEST: usize = 4096;

/// How version 1 begins, and its longest line.
const FIRST: &[u8] = b"PROXY ";
const LINE: usize = 107;

/// Reads the header off the stream. `None`: the proxy speaks for itself (a health check).
pub async fn read(stream: &mut Stream) -> Result<Option<Stated>, &'static str> {
    let mut seen = Vec::with_capacity(256);
    loop {
        let count = stream.read_buf(&mut seen).await.map_err(|_| "the connection broke")?;
        if count == 0 {
            return Err("the connection ended before a PROXY header");
        }
        match parse(&seen) {
            Parsed::Whole(length, stated) => {
                // What follows it is the client's.
                stream.rewind(seen.get(length..).unwrap_or_default());
                return Ok(stated);
            }
            Parsed::Partial if seen.len() < LONGEST => {}
            Parsed::Partial => return Err("the PROXY header is too long"),
            Parsed::Wrong => return Err("the connection does not begin with a PROXY header"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Whole(usize, Option<Stated>),
    Partial,
    Wrong,
}

fn parse(seen: &[u8]) -> Parsed {
    let begun = seen.get(..seen.len().min(FIRST.len())).unwrap_or_default();
    if FIRST.starts_with(begun) { parse_first(seen) } else { parse_second(seen) }
}

/// The text ends with its line; the parser takes some beginnings of one for a wrong line.
fn parse_first(seen: &[u8]) -> Parsed {
    let line = seen.get(..seen.len().min(LINE)).unwrap_or_default();
    match memchr::memchr(b'\n', line).and_then(|end| line.get(..=end)).map(v1::Header::try_from) {
        Some(Ok(header)) => Parsed::Whole(header.header.len(), first(&header.addresses)),
        None if seen.len() < LINE => Parsed::Partial,
        _ => Parsed::Wrong,
    }
}

fn parse_second(seen: &[u8]) -> Parsed {
    match v2::Header::try_from(seen) {
        Ok(header) if header.command == v2::Command::Proxy => {
            Parsed::Whole(header.len(), second(&header.addresses))
        }
        Ok(header) => Parsed::Whole(header.len(), None),
        Err(error) if error.is_incomplete() => Parsed::Partial,
        Err(_) => Parsed::Wrong,
    }
}

fn first(addresses: &v1::Addresses) -> Option<Stated> {
    match addresses {
        v1::Addresses::Tcp4(of) => Some(stated(
            (of.source_address, of.source_port).into(),
            (of.destination_address, of.destination_port).into(),
        )),
        v1::Addresses::Tcp6(of) => Some(stated(
            (of.source_address, of.source_port).into(),
            (of.destination_address, of.destination_port).into(),
        )),
        v1::Addresses::Unknown => None,
    }
}

fn second(addresses: &v2::Addresses) -> Option<Stated> {
    match addresses {
        v2::Addresses::IPv4(of) => Some(stated(
            (of.source_address, of.source_port).into(),
            (of.destination_address, of.destination_port).into(),
        )),
        v2::Addresses::IPv6(of) => Some(stated(
            (of.source_address, of.source_port).into(),
            (of.destination_address, of.destination_port).into(),
        )),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    }
}

fn stated(source: SocketAddr, destination: SocketAddr) -> Stated {
    Stated { source, destination }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        header.extend(body);
        header
    }

    #[test]
    fn both_versions_state_the_ends() {
        let ends = |source: &str, destination: &str| {
            Some(stated(source.parse().unwrap(), destination.parse().unwrap()))
        };
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 0x1f, 0x90, 0x01, 0xbb];
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 5, 6);
        let more = [&four[..], &[4, 0, 3, 1, 2, 3]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 443\r\n".to_vec(), ends("192.0.2.1:8080", "10.0.0.1:443")),
            (b"PROXY TCP6 ::1 ::2 5 6\r\n".to_vec(), ends("[::1]:5", "[::2]:6")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ::1 ::2 5 6\r\n".to_vec(), None),
            (v2(1, 0x11, &four), ends("192.0.2.1:8080", "10.0.0.1:443")),
            (v2(1, 0x11, &more), ends("192.0.2.1:8080", "10.0.0.1:443")),
            (v2(1, 0x21, &six), ends("[::1]:5", "[::2]:6")),
            (v2(0, 0x11, &four), None),
            (v2(0, 0, &[]), None),
        ] {
            let whole = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&whole), Parsed::Whole(header.len(), expected), "{header:?}");
            for end in 1..header.len() {
                assert_eq!(parse(&header[..end]), Parsed::Partial, "{header:?} up to {end}");
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.1 10.0.0.1 8080\r\n",
            b"PROXY TCP4 192.0.2.300 10.0.0.1 8080 443\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &v2(1, 0x11, &[0; 4]),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ] {
            assert_eq!(parse(wrong), Parsed::Wrong, "{wrong:?}");
        }
    }
}
