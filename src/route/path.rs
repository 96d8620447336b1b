//! A request's path in the one form that routes are matched against, and back to what goes upstream.
//!
//! The rules are Kong's: unreserved and other characters are decoded, reserved ones stay encoded (in
//! upper case), empty and dot segments are resolved. A path that is already in that form is borrowed.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters that mean something in a URL: neither decoded on the way in nor encoded on the way out.
const RESERVED: &[u8] = b"!*'();:@&=+$,/?%#[]";

/// The path of a request target, normalised and without its query; `None` if it is not UTF-8.
///
/// KONG(kong/router/fields.lua): a path that is not UTF-8 matches no route there either.
pub fn normalize(target: &str) -> Option<Cow<'_, str>> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if is_normal(path.as_bytes()) {
        return Some(Cow::Borrowed(path));
    }
    let decoded = decode(path.as_bytes());
    String::from_utf8(resolve(&decoded)).ok().map(Cow::Owned)
}

/// Encodes what may not stand in a request line; what is encoded already stays as it is.
pub fn escape(path: Cow<'_, str>) -> Cow<'_, str> {
    if path.bytes().all(is_plain) {
        return path;
    }
    let mut out = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Cow::Owned(out)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || RESERVED.contains(&byte)
}

fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        if byte == b'%' || (before == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        before = byte;
    }
    true
}

fn decode(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let Some(decoded) = (byte == b'%').then(|| triplet(after)).flatten() else {
            out.push(byte);
            continue;
        };
        if RESERVED.contains(&decoded) {
            out.push(b'%');
            out.extend(after.iter().take(2).map(u8::to_ascii_uppercase));
        } else {
            out.push(decoded);
        }
        rest = after.get(2..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// The byte that the two hexadecimal digits at the start of `text` stand for.
fn triplet(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn resolve(path: &[u8]) -> Vec<u8> {
    let Some(path) = path.strip_prefix(b"/") else {
        return path.to_vec(); // `*`, which only routes without paths can match
    };
    let mut out = Vec::with_capacity(path.len() + 1);
    let mut open = false;
    for segment in path.split(|&byte| byte == b'/') {
        open = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    if open {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        let table = [
            ("/", "/"),
            ("/a/b/c/", "/a/b/c/"),
            ("/a?x=/../b", "/a"),
            ("/a?", "/a"),
            ("/v1.2/file.json", "/v1.2/file.json"),
            ("//", "/"),
            ("/a//b//", "/a/b/"),
            ("/.", "/"),
            ("/./", "/"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a//../b", "/b"),
            ("/a/./b/.", "/a/b/"),
            ("/%2E%2e/x", "/x"),
            ("/a/%2e%2E/b", "/b"),
            ("/%63h%61t", "/chat"),
            ("/a%2fb%3aC", "/a%2Fb%3AC"),
            ("/100%25", "/100%25"),
            ("/a%20b", "/a b"),
            ("/%7Btenant%7D", "/{tenant}"),
            ("/gr%C3%BCn", "/grün"),
            ("/bad%zzend%4", "/bad%zzend%4"),
            ("/.hidden/..x/x..", "/.hidden/..x/x.."),
            ("*", "*"),
        ];
        for (target, path) in table {
            assert_eq!(normalize(target).as_deref(), Some(path), "{target}");
        }
    }

    #[test]
    fn a_path_that_is_not_utf8_has_no_normal_form() {
        assert_eq!(normalize("/%FF"), None);
    }

    #[test]
    fn a_normal_path_is_borrowed() {
        for target in ["/v1/chat/completions", "/v1/models/gpt-4.1?x=%20", "/"] {
            assert!(matches!(normalize(target), Some(Cow::Borrowed(_))), "{target}");
        }
    }

    #[test]
    fn escaping_leaves_what_a_url_may_hold() {
        let plain = "/a-b_c.d~e!$&'()*+,;=:@[]%2F";
        assert!(matches!(escape(Cow::Borrowed(plain)), Cow::Borrowed(same) if same == plain));
        assert_eq!(escape(Cow::Borrowed("/a b/ü\"\n{}")), "/a%20b/%C3%BC%22%0A%7B%7D");
    }

    #[test]
    fn normalising_twice_changes_nothing_more() {
        for target in ["/a//%2e./b%20c", "/%2e%2e/x/", "/x/%2fy/."] {
            let once = normalize(target).expect("UTF-8").into_owned();
            assert_eq!(normalize(&once).as_deref(), Some(once.as_str()), "{target}");
        }
    }
}
