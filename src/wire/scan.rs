//! Finding the one thing a gateway needs in bytes that it otherwise only passes on.
//!
//! Nearly all messages of a stream say nothing of usage, so the first look is a substring search;
//! only a message that passes it is walked, and even that one is not parsed.

use memchr::memmem::Finder;
use memchr::{memchr_iter, memchr2};
use std::sync::LazyLock;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

const KEY: &[u8] = br#""usage""#;

static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""finish_reason""#));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""error""#));

/// Whether a chunk says why the answer ends.
pub fn is_finish(data: &[u8]) -> bool {
    let text = |value: &[u8]| value.starts_with(b"\"");
    FINISH.find_iter(data).any(|key| value_under(data, key + FINISH.needle().len()).is_some_and(text))
}

/// Whether a chunk reports an error: a key `error` of the object itself, not null.
pub fn is_error(data: &[u8]) -> bool {
    ERROR.find(data).is_some() && super::chat::reply_scan(data).is_some_and(|seen| seen.error.is_some())
}

/// Whether a message looks like one JSON object, or is empty: a stream's event that was cut, or is no JSON at
/// all, does not. What stands inside is for its reader to judge.
pub fn is_object(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    // Counting runs over many bytes at once. Where a text holds a brace the counts may differ: only then
    // the message is walked.
    let count = |byte| memchr_iter(byte, data).count();
    let end = || Tokens::new(data).find(|token| token.depth == 0);
    let closes = || count(b'{') == count(b'}') || end().is_some_and(|token| token.at + 1 == data.len());
    data.is_empty() || (data.starts_with(b"{") && data.ends_with(b"}") && closes())
}

/// The object under a key `usage`, at any depth of `data`; of several the outermost, then the first.
///
/// The outermost, because what a model or a tool wrote may hold such a key further inside. `null`
/// under the key, as most chunks of an OpenAI stream have it, is no object, and the words inside a
/// string are no key. `data` should be JSON; of anything else some part may be taken for it.
pub fn usage_object(data: &[u8]) -> Option<&[u8]> {
    USAGE.find_iter(data).find(|key| object_under(data, *key).is_some())?;
    let mut best: Option<(usize, usize)> = None;
    for token in Tokens::new(data).filter(|token| token.byte == b'"') {
        if best.is_none_or(|(depth, _)| token.depth < depth) && is_key(data, token.at) {
            best = object_under(data, token.at).map(|start| (token.depth, start)).or(best);
        }
        if best.is_some_and(|(depth, _)| depth <= 1) {
            break;
        }
    }
    let object = data.get(best?.1..)?;
    let end = Tokens::new(object).find(|token| token.depth == 0)?;
    object.get(..=end.at)
}

fn is_key(data: &[u8], at: usize) -> bool {
    data.get(at..).is_some_and(|rest| rest.starts_with(KEY))
}

/// Where the object begins if the key at `key` is followed by a colon and an object.
fn object_under(data: &[u8], key: usize) -> Option<usize> {
    let value = value_under(data, key + KEY.len())?;
    value.starts_with(b"{").then_some(data.len() - value.len())
}

/// What follows the colon, if a key ends at `end`.
fn value_under(data: &[u8], end: usize) -> Option<&[u8]> {
    Some(data.get(end..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

/// Which bytes begin a token: a table is two steps a byte, comparisons are five.
#[allow(clippy::indexing_slicing, reason = "done when compiling")]
static SHAPES: [bool; 256] = {
    let mut table = [false; 256];
    table[b'"' as usize] = true;
    table[b'{' as usize] = true;
    table[b'[' as usize] = true;
    table[b'}' as usize] = true;
    table[b']' as usize] = true;
    table
};

/// Strings and brackets of JSON text, in order.
struct Tokens<'a> {
    data: &'a [u8],
    at: usize,
    depth: usize,
}

struct Token {
    /// A quote for a whole string.
    byte: u8,
    at: usize,
    /// How many brackets are open after it.
    depth: usize,
}

impl<'a> Tokens<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, depth: 0 }
    }

    /// Goes to the end of the string whose content begins here.
    fn skip_string(&mut self) -> Option<()> {
        loop {
            self.at += memchr2(b'"', b'\\', self.data.get(self.at..)?)?;
            if self.data.get(self.at) == Some(&b'"') {
                self.at += 1;
                return Some(());
            }
            self.at += 2;
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let rest = self.data.get(self.at..)?;
        let skipped = rest.iter().position(|byte| SHAPES.get(usize::from(*byte)) == Some(&true))?;
        let (at, byte) = (self.at + skipped, *rest.get(skipped)?);
        self.at = at + 1;
        match byte {
            b'"' => self.skip_string()?,
            b'{' | b'[' => self.depth += 1,
            _ => self.depth = self.depth.saturating_sub(1),
        }
        Some(Token { byte, at, depth: self.depth })
    }
}

/// The value of a key of which `data` has exactly one, wherever it stands; `None` also if it has
/// several, and a walk must tell which is meant.
///
/// Inside a string every quote is escaped, so a key with both its quotes is a key.
pub fn only<'a>(data: &'a [u8], key: &Finder<'_>) -> Option<&'a [u8]> {
    let first = key.find(data)?;
    let after = first + key.needle().len();
    if key.find(data.get(after..)?).is_some() {
        return None;
    }
    value_under(data, after)
}

/// The JSON object at the beginning of `value`.
pub fn object(value: &[u8]) -> Option<&[u8]> {
    let end = value.starts_with(b"{").then(|| Tokens::new(value).find(|token| token.depth == 0))??;
    value.get(..=end.at)
}

/// Calls `member` with the key and the text of each member of one JSON object, without reading the
/// values; `None` if the text is no object that closes. Keys that are written with escapes come as they
/// are written. What stands inside values is not checked: who passes them on need not know.
pub fn members<'a>(data: &'a [u8], mut member: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    let data = data.trim_ascii();
    if data.first() != Some(&b'{') {
        return None;
    }
    let mut tokens = Tokens::new(data);
    tokens.next()?;
    let mut key: Option<(&[u8], usize)> = None;
    while let Some(token) = tokens.next() {
        let closes = token.depth == 0 && token.byte == b'}';
        let name = token.depth == 1 && token.byte == b'"';
        if !closes && !name {
            continue;
        }
        let end = tokens.at;
        let colon = name.then(|| colon_after(data, end)).flatten();
        if let (true, Some((name, from))) = (closes || colon.is_some(), key) {
            let value = data.get(from..token.at)?.trim_ascii();
            member(name, value.strip_suffix(b",").unwrap_or(value).trim_ascii_end());
        }
        if closes {
            return (token.at + 1 == data.len()).then_some(());
        }
        if let Some(from) = colon {
            key = Some((data.get(token.at + 1..end - 1)?, from));
        }
    }
    None
}

/// Where a value begins if a colon follows: then the string before was a key.
fn colon_after(data: &[u8], at: usize) -> Option<usize> {
    let rest = data.get(at..)?;
    let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    (rest.get(blank) == Some(&b':')).then_some(at + blank + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(text: &str) -> Option<&str> {
        usage_object(text.as_bytes()).map(|object| std::str::from_utf8(object).unwrap())
    }

    #[test]
    fn finish_and_error_are_keys_with_a_value() {
        assert!(is_finish(br#"{"choices":[{"delta":{},"finish_reason": "stop"}]}"#));
        assert!(!is_finish(
            br#"{"choices":[{"delta":{"content":"\"finish_reason\":\"x\""},"finish_reason":null}]}"#
        ));
        assert!(is_error(br#"{"id":1, "error" : {"message":"x"}}"#));
        assert!(!is_error(br#"{"error":null,"choices":[{"delta":{"content":"{\"error\":1}"}}]}"#));
        assert!(!is_error(br#"{"choices":[{"delta":{"error":1}}]}"#));
    }

    #[test]
    fn what_looks_like_an_object() {
        for whole in ["{}", " {\"a\":[1,{\"b\":\"}\\\"\"}]}\n", ""] {
            assert!(is_object(whole.as_bytes()), "{whole}");
        }
        for broken in ["{", "{\"a\":{}", "{}}", "[{}]", "<html>", "x", "\"{}\""] {
            assert!(!is_object(broken.as_bytes()), "{broken}");
        }
    }

    #[test]
    fn objects_are_found_where_they_stand() {
        assert_eq!(usage(r#"{"id":"x","usage":{"a":1}}"#), Some(r#"{"a":1}"#));
        assert_eq!(usage("{\"usage\" :\n {\"a\":{\"b\":[\"}\\\"\"]}} , \"x\":{}}"), {
            Some("{\"a\":{\"b\":[\"}\\\"\"]}}")
        });
        assert_eq!(usage(r#"{"type":"message_start","message":{"usage":{"i":3}}}"#), Some(r#"{"i":3}"#));
        assert_eq!(usage(r#"[{"usage":{}}]"#), Some("{}"));
    }

    #[test]
    fn other_values_are_no_object() {
        for text in [
            r#"{"usage":null,"choices":[{"delta":{}}]}"#,
            r#"{"usage":1}"#,
            r#"{"usage":[{"a":1}]}"#,
            r#"{"kind":"usage"}"#,
            r#"["usage",{"a":1}]"#,
            r#"{"usages":{"a":1}}"#,
            "",
            "[DONE]",
            r#"{"usage":{"a":1"#,
            r#"{"usage":{"a":"1}}"#,
            r#"{"usage"#,
        ] {
            assert_eq!(usage(text), None, "{text}");
        }
    }

    #[test]
    fn strings_are_not_keys() {
        assert_eq!(usage(r#"{"content":"\"usage\":{\"a\":1}"}"#), None);
        assert_eq!(usage(r#"{"a\"usage":{"x":1}}"#), None);
        assert_eq!(usage(r#"{"a\\\"usage":{"x":1},"usage":{"y":1}}"#), Some(r#"{"y":1}"#));
        assert_eq!(
            usage(r#"{"content":"\"usage\":{\"a\":1}","usage":{"real":1},"end":"\"usage\":{"}"#),
            Some(r#"{"real":1}"#)
        );
    }

    #[test]
    fn the_outermost_counts() {
        assert_eq!(
            usage(r#"{"choices":[{"x":{"usage":{"fake":1}}}],"usage":{"real":1}}"#),
            Some(r#"{"real":1}"#)
        );
        assert_eq!(
            usage(r#"{"a":{"b":{"usage":{"fake":1}}},"c":{"usage":{"real":1}},"d":{"usage":{"late":1}}}"#),
            Some(r#"{"real":1}"#)
        );
        assert_eq!(
            usage(r#"{"usage":{"usage":{"inner":1}},"x":{"usage":{}}}"#),
            Some(r#"{"usage":{"inner":1}}"#)
        );
        assert_eq!(
            usage(r#"{"x":{"usage":{"fake":1}},"usage":null}"#),
            Some(r#"{"fake":1}"#),
            "null at the top is what a stream says before its last chunk"
        );
    }

    #[test]
    fn members_are_cut_without_reading_them() {
        let cut = |text: &'static str| {
            let mut seen = Vec::new();
            members(text.as_bytes(), |key, value| {
                seen.push((std::str::from_utf8(key).unwrap(), std::str::from_utf8(value).unwrap()));
            })
            .map(|()| seen)
        };
        assert_eq!(cut(" {} "), Some(vec![]));
        assert_eq!(
            cut("{\"a\" : [1, {\"b\":\"}\"}] ,\n \"c\":\"x,\\\"y\" , \"d\": null}"),
            Some(vec![("a", "[1, {\"b\":\"}\"}]"), ("c", "\"x,\\\"y\""), ("d", "null")])
        );
        for broken in ["", "[]", "<html>", "{\"a\":[}", "{\"a\":1", "{} {}", "{\"a\":\"x}"] {
            assert_eq!(cut(broken), None, "{broken}");
        }
    }
}
