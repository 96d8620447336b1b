//! Which origins a page may come from: texts, patterns, or all.

use crate::plugins::pattern::{PATIENCE, Pattern};
use std::time::Instant;

/// The origins of a configuration.
pub enum Origins {
    /// Every one.
    All,
    /// One text, which is told to everybody as it stands.
    Fixed(String),
    /// Any of them, one of which may be all.
    Several { list: Vec<Wanted>, all: bool },
}

/// What an origin is compared with.
pub enum Wanted {
    /// As it is written.
    Text(String),
    /// Of the whole origin, or where the pattern has no colon of its host alone.
    Pattern { pattern: Pattern, host: bool },
}

/// Who may read an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Every one.
    All,
    /// This one.
    One(String),
    /// Nobody.
    None,
}

/// A pattern that the engine can run; a text is one.
pub fn check(text: &str) -> Result<(), String> {
    if text == "*" || Pattern::new(text, false).is_ok() {
        return Ok(());
    }
    Err(format!("'{text}' is not a valid regex"))
}

fn is_text(entry: &str) -> bool {
    entry.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:/-".contains(&byte))
}

impl Origins {
    /// Reads a configuration's list.
    pub fn new(list: &[String]) -> Result<Self, String> {
        match list {
            [] => return Ok(Self::All),
            [one] if one == "*" => return Ok(Self::All),
            [one] if is_text(one) => return Ok(Self::Fixed(one.clone())),
            _ => {}
        }
        let all = list.iter().any(|entry| entry == "*");
        let wanted: Result<_, String> =
            list.iter().filter(|entry| *entry != "*").map(|entry| Wanted::new(entry)).collect();
        Ok(Self::Several { list: wanted?, all })
    }

    /// Whether answers differ by who asks.
    pub fn depends(&self) -> bool {
        !matches!(self, Self::All)
    }

    /// Whether the origin of a request is among them.
    pub fn judge(&self, origin: Option<&str>) -> Allowed {
        match (self, origin) {
            (Self::All, _) | (Self::Several { all: true, .. }, Some(_)) => Allowed::All,
            (Self::Fixed(text), _) => Allowed::One(text.clone()),
            (Self::Several { .. }, None) => Allowed::None,
            (Self::Several { list, .. }, Some(origin)) => {
                let (whole, host) = normal(origin);
                let until = Instant::now() + PATIENCE;
                let found = list.iter().any(|wanted| wanted.is(&whole, &host, until));
                if found { Allowed::One(whole) } else { Allowed::None }
            }
        }
    }
}

impl Wanted {
    fn new(entry: &str) -> Result<Self, String> {
        if is_text(entry) {
            return Ok(Self::Text(normal(entry).0));
        }
        let inner = entry.strip_prefix('^').unwrap_or(entry);
        let inner = inner.strip_suffix('$').filter(|rest| !rest.ends_with('\\')).unwrap_or(inner);
        // KONG(plugins/cors/handler.lua): puts `$` behind the text of a pattern, which of `a|b` binds `b`
        // alone: `https://a.example.evil.test` would be an origin that begins with `a`.
        let pattern = Pattern::new(&format!(r"\A(?:{inner})\z"), false)
            .map_err(|_| format!("origins: '{entry}' is not a valid regex"))?;
        Ok(Self::Pattern { pattern, host: !entry.contains(':') })
    }

    fn is(&self, whole: &str, host: &str, until: Instant) -> bool {
        match self {
            Self::Text(text) => text == whole,
            Self::Pattern { pattern, host: alone } => {
                // A pattern that takes too long lets nobody in.
                pattern.is_match(if *alone { host } else { whole }, until).unwrap_or(false)
            }
        }
    }
}

/// An origin without the port that its scheme means anyway, and its host alone.
fn normal(origin: &str) -> (String, String) {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return (origin.to_owned(), origin.to_owned());
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (address, ""),
    };
    let port = if matches!((scheme, port), ("http", "80") | ("https", "443")) { "" } else { port };
    let colon = if port.is_empty() { "" } else { ":" };
    (format!("{scheme}://{host}{colon}{port}"), host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(list: &[&str], origin: &str) -> Option<String> {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        match Origins::new(&list).unwrap().judge(Some(origin)) {
            Allowed::All => Some("*".to_owned()),
            Allowed::One(origin) => Some(origin),
            Allowed::None => None,
        }
    }

    #[test]
    fn origins_are_told_apart_as_kong_tells_them() {
        let two: &[&str] = &["https://a.test", "http://b.test:8080"];
        for (list, origin, expected) in [
            (&[][..], "https://x.test", Some("*")),
            (&["*"], "https://x.test", Some("*")),
            (&["https://a.test"], "https://x.test", Some("https://a.test")),
            (two, "https://a.test", Some("https://a.test")),
            (two, "https://a.test:443", Some("https://a.test")),
            (two, "http://b.test:8080", Some("http://b.test:8080")),
            (two, "http://b.test", None),
            (two, "http://a.test", None),
            (&["https://a.test", "*"], "https://x.test", Some("*")),
            (&["a.test", "b.test"], "https://a.test", None),
            (&[r".*\.a\.test"], "https://x.a.test:9", Some("https://x.a.test:9")),
            (&[r".*\.a\.test"], "https://x.a.test.evil", None),
            (&[r"^https://.*\.a\.test$"], "https://x.a.test", Some("https://x.a.test")),
            (&[r"https://.*\.a\.test"], "http://x.a.test", None),
            (&[r"https://a\.test|https://b\.test"], "https://a.test.evil", None),
            (&[r"https://a\.test|https://b\.test"], "https://b.test", Some("https://b.test")),
            (&["null", "https://a.test"], "null", Some("null")),
        ] {
            assert_eq!(judge(list, origin).as_deref(), expected, "{list:?} {origin}");
        }
    }

    #[test]
    fn without_an_origin_a_list_allows_nobody() {
        let list = ["https://a.test".to_owned(), "*".to_owned()];
        assert_eq!(Origins::new(&list).unwrap().judge(None), Allowed::None);
        assert_eq!(check("(open"), Err("'(open' is not a valid regex".to_owned()));
    }
}
