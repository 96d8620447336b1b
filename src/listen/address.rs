//! Where to listen, in Kong's words: `0.0.0.0:8443 ssl http2 proxy_protocol`, `unix:/run/gateway.sock`.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A socket to bind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An address and port.
    Tcp(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
}

/// How connections to it begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// With a TLS handshake.
    pub ssl: bool,
    /// HTTP/2 is offered in it. Without TLS, HTTP/2 is understood by prior knowledge anyway.
    pub http2: bool,
    /// With a PROXY protocol header, before everything else.
    pub proxy_protocol: bool,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Its socket.
    pub place: Place,
    /// How its connections begin.
    pub manner: Manner,
    /// Whether several processes may bind it.
    pub reuseport: bool,
}

/// All listeners for clients: at least one, no two at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listens(Vec<Listen>);

const WORDS: &str = "ssl, http2, proxy_protocol, reuseport, bind or backlog=N";

impl Listens {
    /// The listeners, if there is one and no two share a place.
    pub fn new(all: Vec<Listen>) -> Result<Self, String> {
        if all.is_empty() {
            return Err(
                "proxy_listen names no address: write 0.0.0.0:8000, [::]:8000 or unix:/path".to_owned()
            );
        }
        for (index, one) in all.iter().enumerate() {
            if all.iter().take(index).any(|other| other.place == one.place) {
                return Err(format!("proxy_listen names {} twice", one.place));
            }
        }
        Ok(Self(all))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Listen> {
        self.0.iter()
    }
}

impl From<SocketAddr> for Listens {
    fn from(address: SocketAddr) -> Self {
        Self(vec![Listen { place: Place::Tcp(address), manner: Manner::default(), reuseport: false }])
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if Path::new(path).is_absolute() => Ok(Self::Unix(path.into())),
            Some(path) => Err(format!("unix:{path}: the path of a socket has to begin with /")),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!(
                    "'{text}' is not an address to listen on: write 0.0.0.0:8000, [::]:8000 or unix:/path"
                )
            }),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let place = words.next().unwrap_or_default().parse()?;
        let mut listen = Self { place, manner: Manner::default(), reuseport: false };
        for word in words {
            match word {
                "ssl" => listen.manner.ssl = true,
                "http2" => listen.manner.http2 = true,
                "proxy_protocol" => listen.manner.proxy_protocol = true,
                "reuseport" => listen.reuseport = true,
                // Every listener has a socket of its own, and the longest backlog that the system grants.
                "bind" => {}
                other if other.strip_prefix("backlog=").is_some_and(|n| n.parse::<u32>().is_ok()) => {}
                other => return Err(format!("{}: '{other}' is not known: use {WORDS}", listen.place)),
            }
        }
        if listen.reuseport && matches!(listen.place, Place::Unix(_)) {
            return Err(format!("{}: reuseport is for addresses only", listen.place));
        }
        Ok(listen)
    }
}

impl FromStr for Listens {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl<'de> Deserialize<'de> for Listens {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "proxy_listen is an address with its words, or a list of such")]
        enum Written {
            One(String),
            Many(Vec<String>),
        }
        let read = match Written::deserialize(from)? {
            Written::One(text) => text.parse(),
            Written::Many(texts) => {
                texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().and_then(Self::new)
            }
        };
        read.map_err(D::Error::custom)
    }
}

impl Serialize for Listens {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        let Manner { ssl, http2, proxy_protocol } = self.manner;
        let words = [
            (ssl, "ssl"),
            (http2, "http2"),
            (proxy_protocol, "proxy_protocol"),
            (self.reuseport, "reuseport"),
        ];
        words.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| write!(f, " {word}"))
    }
}

impl fmt::Display for Listens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, listen) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            listen.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kongs_default_is_understood() {
        let text = "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384";
        let listens: Listens = text.parse().unwrap();
        let shown = "0.0.0.0:8000 reuseport, 0.0.0.0:8443 ssl http2 reuseport";
        assert_eq!(listens.to_string(), shown);
        let ssl: Vec<_> = listens.iter().map(|one| (one.manner.ssl, one.manner.http2)).collect();
        assert_eq!(ssl, [(false, false), (true, true)]);
    }

    #[test]
    fn a_string_and_a_list_say_the_same() {
        let one: Listens =
            serde_json::from_str(r#""[::1]:80 proxy_protocol, unix:/run/t.sock ssl""#).unwrap();
        let list: Listens =
            serde_json::from_str(r#"["[::1]:80 proxy_protocol", "unix:/run/t.sock ssl"]"#).unwrap();
        assert_eq!(one, list);
        assert_eq!(one.to_string(), "[::1]:80 proxy_protocol, unix:/run/t.sock ssl");
        assert_eq!(one.to_string().parse(), Ok(list));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("", "'' is not an address"),
            ("localhost:8000", "'localhost:8000' is not an address"),
            ("0.0.0.0:8000 quic", "0.0.0.0:8000: 'quic' is not known: use ssl"),
            ("0.0.0.0:8000 backlog=many", "'backlog=many' is not known"),
            ("unix:run.sock", "has to begin with /"),
            ("unix:/a reuseport", "reuseport is for addresses"),
            ("127.0.0.1:1,127.0.0.1:1 ssl", "127.0.0.1:1 twice"),
        ] {
            let error = text.parse::<Listens>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
