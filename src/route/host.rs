//! Host names of routes: exact, `*.x` or `x.*`, each with or without a port.
//!
//! Every distinct pattern has a number. A lookup gives the numbers of all patterns that a request's
//! host satisfies, so that routes are compared by number and never by name.

use std::borrow::Cow;
use std::collections::HashMap;

/// The number that stands for routes without hosts.
pub(super) const ANY_HOST: u32 = 0;

/// How a name is written in a route: the text is in lower case and without its `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Exact(String),
    /// `*.x`: the text is `.x`.
    Suffix(String),
    /// `x.*`: the text is `x.`.
    Prefix(String),
}

impl Name {
    /// Reads a name without port.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let name = if let Some(rest) = text.strip_prefix('*') {
            Self::Suffix(rest.to_owned())
        } else if let Some(rest) = text.strip_suffix('*') {
            Self::Prefix(rest.to_owned())
        } else {
            Self::Exact(text)
        };
        let (text, delimited) = match &name {
            Self::Exact(text) => (text, true),
            Self::Suffix(text) => (text, text.starts_with('.') && text.len() > 1),
            Self::Prefix(text) => (text, text.ends_with('.') && text.len() > 1),
        };
        if text.contains('*') {
            return Err("invalid wildcard: must have at most one wildcard".to_owned());
        }
        if !delimited {
            return Err("invalid wildcard: must be placed at leftmost or rightmost label".to_owned());
        }
        Ok(name)
    }

    /// Whether a name in lower case satisfies it.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => name == text,
            Self::Suffix(text) => name.ends_with(text.as_str()),
            Self::Prefix(text) => name.starts_with(text.as_str()),
        }
    }
}

/// A host name and its port, if it has one. A colon that no port follows belongs to the name.
///
/// KONG(kong/router/transform.lua): an IPv6 literal keeps its port there and so matches no route; here
/// its port is split off like any other.
pub(super) fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        _ => (host, None),
    }
}

/// In lower case; borrowed if it already is.
pub(super) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// A name's patterns: the port that each demands, and its number.
type Ports = Vec<(Option<u16>, u32)>;

/// All host patterns of a router.
#[derive(Default)]
pub(super) struct Hosts {
    exact: HashMap<String, Ports>,
    suffix: HashMap<String, Ports>,
    prefix: HashMap<String, Ports>,
    count: u32,
}

impl Hosts {
    /// The number of a pattern as written in a route, a new one if it is new.
    pub(super) fn number(&mut self, pattern: &str) -> Result<u32, String> {
        let (name, port) = split_port(pattern);
        let ports = match Name::parse(name)? {
            Name::Exact(text) => self.exact.entry(text),
            Name::Suffix(text) => self.suffix.entry(text),
            Name::Prefix(text) => self.prefix.entry(text),
        }
        .or_default();
        if let Some(&(_, number)) = ports.iter().find(|(known, _)| *known == port) {
            return Ok(number);
        }
        self.count += 1;
        ports.push((port, self.count));
        Ok(self.count)
    }

    /// Calls `each` with the number of every pattern that a name in lower case satisfies, `ANY_HOST` last.
    pub(super) fn find(&self, name: &str, port: u16, mut each: impl FnMut(u32)) {
        let mut visit = |ports: Option<&Ports>| {
            for &(wanted, number) in ports.into_iter().flatten() {
                if wanted.is_none_or(|wanted| wanted == port) {
                    each(number);
                }
            }
        };
        if !self.exact.is_empty() {
            visit(self.exact.get(name));
        }
        if !self.suffix.is_empty() || !self.prefix.is_empty() {
            for (at, _) in name.match_indices('.') {
                visit(name.get(at..).and_then(|text| self.suffix.get(text)));
                visit(name.get(..=at).and_then(|text| self.prefix.get(text)));
            }
        }
        each(ANY_HOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_split_off() {
        let table = [
            ("a.b", ("a.b", None)),
            ("a.b:80", ("a.b", Some(80))),
            ("a.b:", ("a.b:", None)),
            ("a.b:x", ("a.b:x", None)),
            ("[::1]:8000", ("[::1]", Some(8000))),
            ("[::1]", ("[::1]", None)),
            ("::1", ("::1", None)),
            ("", ("", None)),
        ];
        for (host, parts) in table {
            assert_eq!(split_port(host), parts, "{host}");
        }
    }

    #[test]
    fn wildcards_stand_for_whole_labels_at_one_end() {
        assert_eq!(Name::parse("*.Example.com"), Ok(Name::Suffix(".example.com".to_owned())));
        assert_eq!(Name::parse("api.*"), Ok(Name::Prefix("api.".to_owned())));
        for bad in ["*", "*api.com", "api*", "*.a.*", "a.*.b"] {
            assert!(Name::parse(bad).is_err_and(|message| message.starts_with("invalid wildcard")), "{bad}");
        }
    }

    #[test]
    fn a_lookup_finds_what_a_scan_finds() {
        let patterns = ["a.b", "a.b:80", "*.b", "a.*", "a.*:81", "*.x.b", "c"];
        let mut hosts = Hosts::default();
        let numbers = patterns.map(|pattern| hosts.number(pattern).expect("valid"));
        assert_eq!(hosts.number("A.B:80"), Ok(numbers[1]), "a pattern keeps its number");
        for name in ["a.b", "a.x.b", "c", "a.", ".b", "d", ""] {
            for port in [80, 81, 82] {
                let mut found = Vec::new();
                hosts.find(name, port, |number| found.push(number));
                assert_eq!(found.pop(), Some(ANY_HOST));
                found.sort_unstable();
                let scan: Vec<u32> = patterns
                    .iter()
                    .zip(numbers)
                    .filter(|(pattern, _)| {
                        let (text, wanted) = split_port(pattern);
                        Name::parse(text).expect("valid").matches(name)
                            && wanted.is_none_or(|wanted| wanted == port)
                    })
                    .map(|(_, number)| number)
                    .collect();
                assert_eq!(found, scan, "{name}:{port}");
            }
        }
    }
}
