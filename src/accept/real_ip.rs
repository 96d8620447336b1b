//! Who the client is, where proxies stand in front: what they say is believed if their address is.
//!
//! As nginx's realip module does it for Kong: of a list of addresses the last is the client, or with
//! `real_ip_recursive` the last that is not itself a trusted proxy.

use crate::wire::ip_range::Range;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use std::net::{IpAddr, SocketAddr};

/// Who is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    ranges: Vec<Range>,
    /// Whoever comes by a Unix socket.
    unix: bool,
}

/// Where a trusted proxy names the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In its PROXY header.
    ProxyProtocol,
    /// In a header of the request: one address, or a list of them.
    Header(HeaderName),
}

/// Everything that decides who the client is.
#[derive(Clone, Debug, Default)]
pub struct RealIp {
    /// Whose word is taken for it.
    pub trusted: Trusted,
    /// Where that word stands.
    pub source: Source,
    /// Whether trusted addresses in it are passed over, back to the first that is not.
    pub recursive: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self::Header(HeaderName::from_static("x-real-ip"))
    }
}

impl Trusted {
    /// Whether this end of a connection is believed. `None` came by a Unix socket.
    pub fn holds(&self, end: Option<IpAddr>) -> bool {
        end.map_or(self.unix, |address| self.ranges.iter().any(|range| range.holds(address)))
    }
}

impl RealIp {
    /// The client of a request. `end` is the other end of its connection, `stated` what the PROXY header
    /// said of it.
    pub fn client(&self, end: Option<IpAddr>, stated: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.trusted.holds(end) {
            return end;
        }
        match &self.source {
            Source::ProxyProtocol => stated.or(end),
            Source::Header(name) => self.last(headers, name).or(end),
        }
    }

    /// From the right: proxies append.
    fn last(&self, headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
        let mut found = None;
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        let items = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for item in items {
            // What is no address ends the list: nobody vouches for what stands before it.
            let Some(address) = address(item) else { break };
            found = Some(address);
            if !self.recursive || !self.trusted.holds(found) {
                break;
            }
        }
        found
    }
}

/// An address, with or without a port.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?.trim();
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bracketed.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

impl<'de> Deserialize<'de> for Trusted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut trusted = Self::default();
        for text in Vec::<String>::deserialize(from)? {
            match Range::parse(&text) {
                Some(range) => trusted.ranges.push(range),
                None if text == "unix:" => trusted.unix = true,
                None => {
                    let why =
                        format!("trusted_ips: '{text}' is not an address, a range (10.0.0.0/8) or 'unix:'");
                    return Err(D::Error::custom(why));
                }
            }
        }
        Ok(trusted)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "proxy_protocol" {
            return Ok(Self::ProxyProtocol);
        }
        text.parse().map(Self::Header).map_err(|_| {
            D::Error::custom(format!(
                "real_ip_header: '{text}' is not the name of a header or 'proxy_protocol'"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(header: &'static str, recursive: bool, lines: &[&'static str]) -> Option<String> {
        let trusted = serde_json::from_str(r#"["10.0.0.0/8", "::1"]"#).unwrap();
        let source = serde_json::from_value(header.into()).unwrap();
        let real = RealIp { trusted, source, recursive };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HeaderName::from_static(header), HeaderValue::from_static(line));
        }
        real.client(Some([10, 0, 0, 1].into()), None, &headers).map(|ip| ip.to_string())
    }

    #[test]
    fn the_last_address_counts_or_the_last_that_is_not_trusted() {
        for (recursive, lines, expected) in [
            (false, &["192.0.2.1, 10.0.0.9"][..], "10.0.0.9"),
            (true, &["192.0.2.1, 10.0.0.9"], "192.0.2.1"),
            (true, &["203.0.113.5, 192.0.2.1, 10.0.0.9"], "192.0.2.1"),
            (true, &["203.0.113.5", "192.0.2.1,::1", "10.0.0.9"], "192.0.2.1"),
            (true, &["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
            (true, &["192.0.2.1, unknown, 10.0.0.9"], "10.0.0.9"),
            (false, &["unknown"], "10.0.0.1"),
            (false, &[], "10.0.0.1"),
            (false, &["[2001:db8::1]:443"], "2001:db8::1"),
            (false, &["192.0.2.1:4711"], "192.0.2.1"),
        ] {
            assert_eq!(of("x-forwarded-for", recursive, lines).as_deref(), Some(expected), "{lines:?}");
        }
        assert_eq!(of("x-real-ip", false, &["192.0.2.1"]).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn nobody_else_is_believed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-real-ip", HeaderValue::from_static("192.0.2.1"));
        let stranger = Some(IpAddr::from([198, 51, 100, 1]));
        let named = Some(IpAddr::from([192, 0, 2, 1]));
        let mut real = RealIp::default();
        assert_eq!(real.client(stranger, named, &headers), stranger);
        assert_eq!(real.client(None, named, &headers), None);
        real.trusted = serde_json::from_str(r#"["unix:"]"#).unwrap();
        assert_eq!(real.client(stranger, named, &headers), stranger);
        assert_eq!(real.client(None, None, &headers), named);
        real.source = Source::ProxyProtocol;
        assert_eq!(
            (real.client(None, stranger, &headers), real.client(None, None, &headers)),
            (stranger, None)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = serde_json::from_str::<Trusted>(r#"["10.0.0.0/99"]"#).unwrap_err().to_string();
        assert!(error.contains("'10.0.0.0/99' is not an address"), "{error}");
        let error = serde_json::from_str::<Source>(r#""a b""#).unwrap_err().to_string();
        assert!(error.contains("'a b' is not the name of a header"), "{error}");
    }
}
