//! Headers, query strings and URIs as Kong writes them into a record, without the credentials in them.

use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use std::borrow::Cow;
use std::fmt::{self, Display};

/// What stands in a credential's place.
pub const REDACTED: &str = "REDACTED";

/// A map of lower-case names; a name that came several times has an array of values.
pub struct Headers<'a> {
    /// All of them.
    pub map: &'a HeaderMap,
    /// Names of those that hold credentials.
    pub hidden: &'a [&'a str],
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.map.keys_len()))?;
        for name in self.map.keys() {
            let secret = matches!(*name, header::AUTHORIZATION | header::PROXY_AUTHORIZATION);
            if secret || is_hidden(self.hidden, name.as_str()) {
                out.serialize_entry(name.as_str(), REDACTED)?;
                continue;
            }
            let values = self.map.get_all(name);
            let mut all = values.iter();
            match (all.next(), all.next()) {
                (Some(only), None) => out.serialize_entry(name.as_str(), &text(only))?,
                _ => out.serialize_entry(name.as_str(), &Sequence(|| values.iter().map(text)))?,
            }
        }
        out.end()
    }
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// The arguments of a URI, or of a form: an argument without `=` is true, a repeated one is an array.
pub struct Arguments<'a> {
    /// `a=1&b`.
    pub text: &'a str,
    /// Names of those that hold credentials.
    pub hidden: &'a [&'a str],
}

impl<'a> Arguments<'a> {
    /// Those of a URI.
    pub fn of(uri: &'a str, hidden: &'a [&'a str]) -> Self {
        Self { text: uri.split_once('?').map_or("", |(_, query)| query), hidden }
    }
}

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut arguments: Vec<(Cow<'_, str>, Vec<Argument<'_>>)> = Vec::new();
        for piece in self.text.split('&') {
            let (name, value) = parse(piece);
            if name.is_empty() {
                continue;
            }
            let value = if is_hidden(self.hidden, &name) { Argument::Text(REDACTED.into()) } else { value };
            match arguments.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => arguments.push((name, vec![value])),
            }
        }
        let mut out = serializer.serialize_map(Some(arguments.len()))?;
        for (name, values) in &arguments {
            match values.as_slice() {
                [only] => out.serialize_entry(name, only)?,
                several => out.serialize_entry(name, several)?,
            }
        }
        out.end()
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Argument<'a> {
    Text(Cow<'a, str>),
    Flag(bool),
}

/// The name and the value of one `name=value`, decoded.
fn parse(piece: &str) -> (Cow<'_, str>, Argument<'_>) {
    // The parser splits at `&`, of which a piece holds none: it gives at most one pair.
    let pair = form_urlencoded::parse(piece.as_bytes()).next();
    match pair {
        Some((name, value)) if piece.contains('=') => (name, Argument::Text(value)),
        Some((name, _)) => (name, Argument::Flag(true)),
        None => (Cow::Borrowed(""), Argument::Flag(true)),
    }
}

/// A URI in which the values of hidden arguments are replaced.
#[derive(Clone, Copy)]
pub struct Redacted<'a> {
    /// As it came.
    pub uri: &'a str,
    /// The arguments' names.
    pub hidden: &'a [&'a str],
}

impl Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((path, query)) = self.uri.split_once('?').filter(|_| !self.hidden.is_empty()) else {
            return f.write_str(self.uri);
        };
        f.write_str(path)?;
        for (place, piece) in query.split('&').enumerate() {
            f.write_str(if place == 0 { "?" } else { "&" })?;
            match piece.split_once('=') {
                Some((name, _)) if is_hidden(self.hidden, &parse(piece).0) => write!(f, "{name}={REDACTED}")?,
                _ => f.write_str(piece)?,
            }
        }
        Ok(())
    }
}

impl Serialize for Redacted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A whole URL. Kong always writes the port.
pub struct Url<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Without a port.
    pub host: &'a str,
    /// Also where the scheme implies it.
    pub port: u16,
    /// Path and query.
    pub uri: Redacted<'a>,
}

impl Serialize for Url<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { scheme, host, port, uri } = self;
        serializer.collect_str(&format_args!("{scheme}://{host}:{port}{uri}"))
    }
}

/// The upstream's statuses in one string, as nginx writes them: `502, 200`.
pub struct Statuses<'a>(pub(super) &'a [u16]);

impl Serialize for Statuses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Display for Statuses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, status) in self.0.iter().enumerate() {
            write!(f, "{}{status}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// An array of whatever the function iterates over.
struct Sequence<F>(F);

impl<F, I> Serialize for Sequence<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(None)?;
        for item in (self.0)() {
            out.serialize_element(&item)?;
        }
        out.end()
    }
}

fn is_hidden(hidden: &[&str], name: &str) -> bool {
    hidden.iter().any(|hidden| hidden.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use serde_json::{Value, json};

    fn value(part: &impl Serialize) -> Value {
        serde_json::to_value(part).expect("serialisable")
    }

    #[test]
    fn headers_are_strings_or_arrays() {
        let mut map = HeaderMap::new();
        for (name, text) in [
            ("accept", "a"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("authorization", "Bearer s3cret"),
            ("proxy-authorization", "s3cret"),
            ("apikey", "s3cret"),
            ("apikey", "s3cret too"),
        ] {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(text));
        }
        map.append("x-latin", HeaderValue::from_bytes(b"caf\xe9").expect("valid"));
        assert_eq!(
            value(&Headers { map: &map, hidden: &["ApiKey"] }),
            json!({
                "accept": "a", "x-many": ["1", "2"], "authorization": "REDACTED",
                "proxy-authorization": "REDACTED", "apikey": "REDACTED", "x-latin": "caf\u{FFFD}",
            })
        );
    }

    #[test]
    fn arguments_are_decoded() {
        let table = [
            ("/chat", json!({})),
            ("/chat?", json!({})),
            ("/chat?a=1", json!({"a": "1"})),
            ("/chat?a=1&b=x%20y+z&a=2", json!({"a": ["1", "2"], "b": "x y z"})),
            ("/chat?flag&empty=&=x&&a=b=c", json!({"flag": true, "empty": "", "a": "b=c"})),
            ("/chat?a&a=1", json!({"a": [true, "1"]})),
            ("/chat?KEY=s3cret&k%65y=s3cret", json!({"KEY": "REDACTED", "key": "REDACTED"})),
            ("/chat?%FF=%ff", json!({"\u{FFFD}": "\u{FFFD}"})),
        ];
        for (uri, expected) in table {
            assert_eq!(value(&Arguments::of(uri, &["key"])), expected, "{uri}");
        }
    }

    #[test]
    fn uris_keep_everything_but_credentials() {
        let hidden = &["key", "apikey"][..];
        let table = [
            ("/chat", "/chat"),
            ("/chat?", "/chat?"),
            ("/chat?a=%20&b", "/chat?a=%20&b"),
            ("/chat?a=1&key=s3cret&b=2", "/chat?a=1&key=REDACTED&b=2"),
            ("/chat?k%65y=s3cret?x&key", "/chat?k%65y=REDACTED&key"),
            ("/chat?APIKEY=s3cret", "/chat?APIKEY=REDACTED"),
        ];
        for (uri, expected) in table {
            assert_eq!(value(&Redacted { uri, hidden }), json!(expected), "{uri}");
        }
        let uri = Redacted { uri: "/x?key=s3cret", hidden };
        let url = Url { scheme: "http", host: "ai.example", port: 8000, uri };
        assert_eq!(value(&url), json!("http://ai.example:8000/x?key=REDACTED"));
    }

    #[test]
    fn statuses_are_one_string() {
        for (list, expected) in [(&[][..], ""), (&[200], "200"), (&[502, 200], "502, 200")] {
            assert_eq!(value(&Statuses(list)), json!(expected));
        }
    }
}
