//! What single texts have to look like: names, hosts, addresses, URLs. The messages are Kong's.

use std::net::Ipv6Addr;

type Check = Result<(), String>;

/// A name of an entity: letters of any script, digits, and `. - _ ~`.
pub fn name(text: &str) -> Check {
    let fits = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
    if text.chars().all(fits) {
        return Ok(());
    }
    Err(format!(
        "invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
    ))
}

/// A tag: printable, without `,` and `/`.
pub fn tag(text: &str) -> Check {
    let fits = |c: char| !c.is_ascii() || (matches!(c, ' '..='~') && !matches!(c, ',' | '/'));
    if text.chars().all(fits) {
        return Ok(());
    }
    Err(format!(
        "invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
    ))
}

/// A UUID in its usual form.
pub fn uuid(text: &str) -> Check {
    let valid = text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
    if valid { Ok(()) } else { Err("expected a valid UUID".to_owned()) }
}

/// The name of a header.
pub fn header_name(text: &str) -> Check {
    if text.is_empty() {
        return Err("no header name provided".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Ok(());
    }
    Err(format!("bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"))
}

/// An HTTP method.
pub fn method(text: &str) -> Check {
    let valid = text.bytes().all(|byte| byte.is_ascii_uppercase());
    if valid { Ok(()) } else { Err(format!("invalid value: {text}")) }
}

/// A host without a port.
pub fn host(text: &str) -> Check {
    match host_and_port(text) {
        Ok(false) => Ok(()),
        Ok(true) => Err("must not have a port".to_owned()),
        Err(why) if why == BAD_PORT => Err("must not have a port".to_owned()),
        Err(_) => Err(format!("invalid value: {text}")),
    }
}

/// A server name of TLS, possibly with a wildcard at either end.
pub fn sni(text: &str) -> Check {
    if let Some(at) = text.find('*') {
        if at != 0 && at + 1 != text.len() {
            return Err("wildcard must be leftmost or rightmost character".to_owned());
        }
        if text.matches('*').count() > 1 {
            return Err("only one wildcard must be specified".to_owned());
        }
    }
    let plain = text.replace('*', "wildcard");
    if matches!(kind_of(&plain), HostKind::V4 | HostKind::V6) {
        return Err("must not be an IP".to_owned());
    }
    host(&plain).map_err(|why| why.replace(&plain, text))
}

/// An absolute URL.
pub fn url(text: &str) -> Check {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        // `//host/path` has a host and no scheme; anything else has no host.
        None => ("", text.strip_prefix("//").unwrap_or_default()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    if address.is_empty() || address.starts_with(':') {
        return Err("missing host in url".to_owned());
    }
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if named { Ok(()) } else { Err("missing scheme in url".to_owned()) }
}

/// The URL of an HTTP server that this gateway calls, possibly with `$(…)` to be filled per request.
pub fn http_url(text: &str) -> Check {
    url(text)?;
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) || scheme.contains("$(") {
        return Ok(());
    }
    Err(format!("could not parse url. '{scheme}' is not a scheme that can be called (http, https)"))
}

/// The path of a service: RFC 3986, without empty segments.
pub fn path(text: &str) -> Check {
    if !text.starts_with('/') {
        return Err("should start with: /".to_owned());
    }
    if text.contains("//") {
        return Err("must not have empty segments".to_owned());
    }
    if !is_reserved_set(text) {
        return Err(format!(
            "invalid path: '{text}' (characters outside of the reserved list of RFC 3986 found)"
        ));
    }
    percent_encoded(text)
}

/// Whether a path has only the characters that RFC 3986 knows.
pub fn is_reserved_set(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_~/%:@!$&'()*+,;=".contains(&byte))
}

/// Whether every `%` starts a triplet.
pub fn percent_encoded(text: &str) -> Check {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let tail = rest.get(at..).unwrap_or_default();
        let triplet: String = tail.chars().take(3).collect();
        let valid = triplet.len() == 3 && triplet.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit());
        if !valid {
            return Err(format!("invalid url-encoded value: '{triplet}'"));
        }
        rest = tail.get(3..).unwrap_or_default();
    }
    Ok(())
}

/// A host with or without a port.
pub fn host_with_optional_port(text: &str) -> Check {
    host_and_port(text).map(drop)
}

const BAD_PORT: &str = "invalid port number";

enum HostKind {
    V4,
    V6,
    Name,
}

fn kind_of(text: &str) -> HostKind {
    if text.matches(':').count() > 1 {
        HostKind::V6
    } else if !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'))
    {
        HostKind::V4
    } else {
        HostKind::Name
    }
}

/// Checks a host; says whether it came with a port.
fn host_and_port(text: &str) -> Result<bool, String> {
    let (host, port) = match kind_of(text) {
        HostKind::V6 => match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or("invalid ipv6 address")?)),
            None => (text, None),
        },
        _ => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let valid = port.is_none_or(digits)
        && match kind_of(text) {
            HostKind::V4 => host.parse::<std::net::Ipv4Addr>().is_ok(),
            HostKind::V6 => host.parse::<Ipv6Addr>().is_ok(),
            HostKind::Name => is_hostname(host),
        };
    if !valid {
        let what = match kind_of(text) {
            HostKind::V4 => "ipv4 address",
            HostKind::V6 => "ipv6 address",
            HostKind::Name => "hostname",
        };
        return Err(format!("invalid {what}: {text}"));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(BAD_PORT.to_owned());
    }
    Ok(port.is_some())
}

fn is_hostname(text: &str) -> bool {
    // One trailing dot is a fully qualified name.
    let labels = text.strip_suffix('.').unwrap_or(text);
    let fits = |label: &str| {
        !label.is_empty()
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    labels.split('.').all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(check: Check) -> String {
        check.expect_err("must be refused")
    }

    #[test]
    fn names_and_tags() {
        assert!(name("ai-proxy_1.~").is_ok() && name("Straße").is_ok());
        assert!(refusal(name("a b")).starts_with("invalid value 'a b': the only accepted ascii"));
        assert!(tag("a tag; ü").is_ok());
        assert!(refusal(tag("a,b")).contains("expected printable ascii"));
        assert!(uuid("0DC6F45B-8f8d-40d2-a504-473544ee190b").is_ok());
        assert!(uuid("0dc6f45b8f8d40d2a504473544ee190b").is_err());
    }

    #[test]
    fn hosts() {
        for good in ["localhost", "a.b-c.d_e", "10.0.0.1", "::1", "[::1]", "example.com."] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        for bad in ["a..b", "a-.b", "a b", "10.0.0.256", ":::", "", "a/b"] {
            assert_eq!(refusal(host(bad)), format!("invalid value: {bad}"));
        }
        for ported in ["a:80", "10.0.0.1:80", "[::1]:80", "a:70000"] {
            assert_eq!(refusal(host(ported)), "must not have a port");
        }
        assert!(sni("*.example.com").is_ok() && sni("example.*").is_ok());
        assert_eq!(refusal(sni("10.0.0.1")), "must not be an IP");
        assert_eq!(refusal(sni("a.*.b")), "wildcard must be leftmost or rightmost character");
    }

    #[test]
    fn urls_and_paths() {
        for good in
            ["http://a", "https://u:p@a:1/x?y#z", "http://nowhere/$(uri_captures.x)/y", "http://[::1]/x"]
        {
            assert_eq!(http_url(good), Ok(()), "{good}");
        }
        assert_eq!(refusal(url("nowhere")), "missing host in url");
        assert_eq!(refusal(url("http://")), "missing host in url");
        assert_eq!(refusal(url("//a/b")), "missing scheme in url");
        assert!(refusal(http_url("ftp://a")).starts_with("could not parse url. "));
        assert_eq!(refusal(path("a")), "should start with: /");
        assert_eq!(refusal(path("/a//b")), "must not have empty segments");
        assert_eq!(refusal(path("/a%2")), "invalid url-encoded value: '%2'");
        assert_eq!(refusal(path("/a%zz")), "invalid url-encoded value: '%zz'");
        assert!(path("/a%2Fb").is_ok() && path("/").is_ok());
        assert!(refusal(path("/a b")).contains("RFC 3986"));
    }
}
