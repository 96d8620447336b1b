//! Paths, hosts and header values of a route: what the router will be able to match.

use super::formats;
use regex::Regex;

/// A path of a route: a prefix, or `~` and a regular expression.
pub fn path(text: &str) -> Result<(), String> {
    if text.contains("//") {
        return Err("must not have empty segments".to_owned());
    }
    if !text.starts_with('/') && !text.starts_with("~/") {
        return Err("should start with: / (fixed path) or ~/ (regex path)".to_owned());
    }
    if let Some(pattern) = text.strip_prefix('~') {
        return regex(pattern);
    }
    if formats::is_reserved_set(text) {
        formats::percent_encoded(text)?;
    }
    let normal = normalize(text);
    if normal == text {
        return Ok(());
    }
    Err(format!("non-normalized path, consider use '{normal}' instead"))
}

/// A host of a route, with at most one wildcard for its first or last label.
pub fn host(text: &str) -> Result<(), String> {
    if text.matches('*').count() > 1 {
        return Err("invalid wildcard: must have at most one wildcard".to_owned());
    }
    if text.contains('*') && !text.starts_with("*.") && !text.ends_with(".*") {
        return Err("invalid wildcard: must be placed at leftmost or rightmost label".to_owned());
    }
    formats::host_with_optional_port(&text.replace('*', "abc")).map_err(|why| why.replace("abc", "*"))
}

/// The name of a header that a route asks for.
pub fn header(name: &str) -> Result<(), String> {
    if name.eq_ignore_ascii_case("host") {
        return Err(
            "cannot contain 'host' header, which must be specified in the 'hosts' attribute".to_owned()
        );
    }
    formats::header_name(name)
}

/// The value of a header: plain, or `~*` and a regular expression.
pub fn header_value(text: &str) -> Result<(), String> {
    text.strip_prefix("~*").map_or(Ok(()), regex)
}

fn regex(pattern: &str) -> Result<(), String> {
    Regex::new(pattern).map(drop).map_err(|error| {
        // The last line of the report says what, those above draw where.
        let report = error.to_string();
        let what = report.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("invalid regex: '{pattern}' (PCRE returned: {what})")
    })
}

/// A path as the router sees it: unreserved characters decoded, dot segments and empty ones gone.
pub fn normalize(path: &str) -> String {
    let decoded = decode(path);
    let mut out: Vec<&[u8]> = Vec::new();
    let mut rest = decoded.as_slice();
    while let Some((segment, after)) = next_segment(rest) {
        let last = after.is_empty();
        match segment {
            b"/." | b"/.." => {
                if segment.len() == 3 {
                    out.pop();
                }
                if last {
                    out.push(b"/");
                }
            }
            b"/" if !last => {}
            _ => out.push(segment),
        }
        rest = after;
    }
    String::from_utf8_lossy(&out.concat()).into_owned()
}

/// `/x` off `/x/y`.
fn next_segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    let end = path.iter().skip(1).position(|byte| *byte == b'/').map_or(path.len(), |at| at + 1);
    path.split_at_checked(end)
}

/// Decodes what need not be encoded, and writes the rest in upper case.
fn decode(path: &str) -> Vec<u8> {
    const RESERVED: &[u8] = b"!*'();:@&=+$,/?%#[]";
    replace_triplets(path, |byte, out| {
        if RESERVED.contains(&byte) {
            return false;
        }
        out.push(byte);
        true
    })
}

/// Gives the byte of each `%xx` to `put`; where that declines, the triplet stays, in upper case.
fn replace_triplets(path: &str, put: impl Fn(u8, &mut Vec<u8>) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((head, tail)) = rest.split_once('%') {
        out.extend(head.as_bytes());
        let hex = tail.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        rest = hex.and_then(|_| tail.get(2..)).unwrap_or(tail);
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if !byte.is_some_and(|byte| put(byte, &mut out)) {
            out.push(b'%');
            out.extend(hex.unwrap_or_default().to_ascii_uppercase().bytes());
        }
    }
    out.extend(rest.as_bytes());
    out
}

/// A path of the formats 1.1 and 2.1, where what looks like a regular expression was one.
pub fn migrate(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~/%".contains(&byte);
    if path.bytes().all(plain) {
        return normalize(path);
    }
    // KONG(db/migrations/migrate_path_280_300.lua): those formats matched the decoded path.
    format!("~{}", decode_regex(path))
}

/// Decodes what need not be encoded, escaping what then would mean something.
fn decode_regex(path: &str) -> String {
    const RESERVED: &[u8] = b"!#$%&'()*+,/:;=?@[]";
    const META: &[u8] = b".^-{}\\|";
    let decoded = replace_triplets(path, |byte, out| {
        if RESERVED.contains(&byte) {
            return false;
        }
        if META.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
        true
    });
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_as_the_router_does() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%7eb%20", "/a~b "),
            ("/a%", "/a%"),
            ("/a%+1%zz", "/a%+1%zz"),
            ("/a//b", "/a/b"),
            ("/a/", "/a/"),
            ("/a.b/c..d", "/a.b/c..d"),
            ("/%2e%2e/x", "/x"),
            ("/%C3%BC", "/ü"),
        ] {
            assert_eq!(normalize(path), normal, "{path}");
        }
    }

    #[test]
    fn words_what_is_wrong_with_a_path() {
        for (text, message) in [
            ("a", "should start with: / (fixed path) or ~/ (regex path)"),
            ("~a", "should start with: / (fixed path) or ~/ (regex path)"),
            ("/a//b", "must not have empty segments"),
            ("/a/../b", "non-normalized path, consider use '/b' instead"),
            ("/a%2", "invalid url-encoded value: '%2'"),
        ] {
            assert_eq!(path(text), Err(message.to_owned()), "{text}");
        }
        let refused = path("~/a(").unwrap_err();
        assert!(
            refused.starts_with("invalid regex: '/a(' (PCRE returned: ") && !refused.contains('\n'),
            "{refused}"
        );
        for good in ["/", "/a", "~/a$", "~/(?<x>[a-z]+)/y%20", "/ü", "/a b"] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn places_wildcards() {
        for good in ["*.a.b", "a.b.*", "a", "a:80", "*.a:80"] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        assert!(host("*.a.*").unwrap_err().contains("at most one"));
        assert!(host("a.*.b").unwrap_err().contains("leftmost or rightmost"));
        assert_eq!(host("a..b").unwrap_err(), "invalid hostname: a..b");
    }

    #[test]
    fn migrates_old_regular_expressions() {
        for (path, migrated) in [
            ("/plain/path-1", "/plain/path-1"),
            ("/a/./b", "/a/b"),
            ("/status/\\d+", "~/status/\\d+"),
            ("/x%2e\\d%2f", "~/x\\.\\d%2F"),
            ("/(", "~/("),
            ("/[a]%zz%4", "~/[a]%zz%4"),
        ] {
            assert_eq!(migrate(path), migrated, "{path}");
        }
    }
}
