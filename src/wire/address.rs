//! Where an upstream is: the parts of a URL that a request needs, taken apart once.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;
use url::{Host, Url};

/// Scheme, host, port and base path of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Name or IP literal (IPv6 without brackets).
    pub host: Arc<str>,
    /// Said, or the scheme's own.
    pub port: u16,
    /// Starts with `/`.
    pub path: String,
    /// Encoded, without its question mark.
    pub query: Option<String>,
    /// What goes into the `Host` header: the port only where it is not the scheme's own.
    pub authority: String,
}

impl Address {
    /// Takes an `http` or `https` URL apart. The error says what is wrong with it.
    ///
    // KONG(kong/llm/drivers/*.lua): a URL without a port went to 443 even for `http`; here the
    // scheme decides. Its query was dropped; here it is kept.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("'{text}' is not a URL: {error}"))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("scheme '{other}' is not served: use http or https")),
        };
        let host: Arc<str> = match url.host() {
            Some(Host::Domain(name)) => name.into(),
            Some(Host::Ipv4(ip)) => ip.to_string().into(),
            Some(Host::Ipv6(ip)) => ip.to_string().into(),
            None => return Err(format!("'{text}' names no host")),
        };
        let own = if tls { 443 } else { 80 };
        let port = url.port().unwrap_or(own);
        let path = if url.path().is_empty() { "/" } else { url.path() };
        Ok(Self {
            tls,
            authority: authority(&host, port, own),
            host,
            port,
            path: path.to_owned(),
            query: url.query().filter(|query| !query.is_empty()).map(str::to_owned),
        })
    }
}

/// `host`, with the port where it is not the scheme's own; IPv6 in brackets.
pub fn authority(host: &str, port: u16, own: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == own { host } else { format!("{host}:{port}") }
}

/// One segment of a path from any text: all but letters, digits and `-._~` is escaped.
pub fn segment(text: &str) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_the_port() {
        let plain = Address::parse("http://model.test/v1/chat").unwrap();
        assert_eq!((plain.tls, plain.port, plain.authority.as_str()), (false, 80, "model.test"));
        let secure = Address::parse("https://model.test").unwrap();
        assert_eq!((secure.tls, secure.port, secure.path.as_str()), (true, 443, "/"));
    }

    #[test]
    fn query_port_and_ipv6_are_kept() {
        let address = Address::parse("http://[::1]:8080/a?tenant=a%20b").unwrap();
        assert_eq!(&*address.host, "::1");
        assert_eq!(address.authority, "[::1]:8080");
        assert_eq!(address.query.as_deref(), Some("tenant=a%20b"));
    }

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("gpt-4o_mini.v1~"), "gpt-4o_mini.v1~");
        assert_eq!(segment("a/b:c?é %"), "a%2Fb%3Ac%3F%C3%A9%20%25");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        assert!(Address::parse("nowhere").unwrap_err().contains("not a URL"));
        assert!(Address::parse("ftp://x/").unwrap_err().contains("use http or https"));
    }
}
