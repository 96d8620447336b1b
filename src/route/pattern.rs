//! Regex paths: compiled once, matched from the start of the path, and indexed by how they must begin.
//!
//! Most begin with plain text (`/team-7/(?<model>[^/]+)$`), and many are nothing else (`/chat$`). That text
//! is compared as text, and only what follows it is a regex; equal ones are shared, so that ten
//! thousand routes that differ in their beginnings are one regex, whose tables stay in the cache.

use regex::Regex;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, HirKind, Look, LookSet};
use std::collections::HashMap;
use std::sync::Arc;

/// How many different beginnings of one regex are worth an entry each in the index.
const MAX_BEGINNINGS: usize = 16;

/// A compiled regex path.
#[derive(Clone)]
pub(super) struct Pattern {
    /// The plain text at its start.
    text: Box<str>,
    rest: Rest,
    /// Every match begins with one of these; one empty text if nothing is known.
    pub(super) beginnings: Vec<Vec<u8>>,
}

/// What follows the plain text.
#[derive(Clone)]
enum Rest {
    Anything,
    End,
    Regex(Arc<Tail>),
}

struct Tail {
    regex: Regex,
    /// Named groups: where each stands among all groups, and its name.
    names: Vec<(usize, Arc<str>)>,
}

impl Pattern {
    /// The length of the match at the start of `path`.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        let after = path.strip_prefix(self.text.as_ref())?;
        let len = match &self.rest {
            Rest::Anything => 0,
            Rest::End => after.is_empty().then_some(0)?,
            Rest::Regex(tail) => tail.regex.find(after)?.end(),
        };
        Some(self.text.len() + len)
    }

    /// The named groups that took part in the match of `path`.
    pub(super) fn captures(&self, path: &str) -> Vec<(Arc<str>, String)> {
        let Rest::Regex(tail) = &self.rest else { return Vec::new() };
        if tail.names.is_empty() {
            return Vec::new();
        }
        let after = path.strip_prefix(self.text.as_ref());
        let Some(groups) = after.and_then(|after| tail.regex.captures(after)) else { return Vec::new() };
        let named = tail.names.iter();
        named
            .filter_map(|(at, name)| Some((Arc::clone(name), groups.get(*at)?.as_str().to_owned())))
            .collect()
    }
}

/// Compiles patterns, each distinct regex once.
#[derive(Default)]
pub(super) struct Patterns {
    known: HashMap<String, Arc<Tail>>,
}

impl Patterns {
    /// The pattern of a path without its `~`.
    pub(super) fn compile(&mut self, path: &str) -> Result<Pattern, String> {
        let problem = |error: String| {
            // The reason is drawn over several lines; its last one says what is wrong.
            let reason = error.lines().last().unwrap_or_default();
            format!("invalid regex: '{path}' ({})", reason.trim_start_matches("error: "))
        };
        let tree = regex_syntax::parse(path).map_err(|error| problem(error.to_string()))?;
        let beginnings = beginnings(&tree);
        let (text, tree) = split(tree);
        let rest = match tree.kind() {
            HirKind::Empty => Rest::Anything,
            HirKind::Look(Look::End) => Rest::End,
            _ => Rest::Regex(self.tail(tree.to_string()).map_err(problem)?),
        };
        Ok(Pattern { text, rest, beginnings })
    }

    /// KONG(kong/router/transform.lua): only `^` is put before the text there, so that the second branch
    /// of `~/a|/b` would match anywhere in a path; here the whole expression is anchored.
    fn tail(&mut self, text: String) -> Result<Arc<Tail>, String> {
        if let Some(tail) = self.known.get(&text) {
            return Ok(Arc::clone(tail));
        }
        let regex = Regex::new(&format!("^(?:{text})")).map_err(|error| error.to_string())?;
        let names = regex.capture_names().enumerate();
        let names = names.filter_map(|(at, name)| Some((at, Arc::from(name?)))).collect();
        let tail = Arc::new(Tail { regex, names });
        self.known.insert(text, Arc::clone(&tail));
        Ok(tail)
    }
}

/// The plain text at the start of a regex, and what follows it. Nothing is split off where what follows
/// would look back at it (`\b`, `^`).
fn split(tree: Hir) -> (Box<str>, Hir) {
    let (first, rest) = match tree.kind() {
        HirKind::Literal(_) => (&tree, Hir::empty()),
        HirKind::Concat(parts) => match parts.split_first() {
            Some((first, rest)) => (first, Hir::concat(rest.to_vec())),
            None => return (Box::default(), tree),
        },
        _ => return (Box::default(), tree),
    };
    let looks = rest.properties().look_set();
    let HirKind::Literal(literal) = first.kind() else { return (Box::default(), tree) };
    match str::from_utf8(&literal.0) {
        Ok(text) if looks.subtract(LookSet::singleton(Look::End)).is_empty() => (text.into(), rest),
        _ => (Box::default(), tree),
    }
}

fn beginnings(tree: &Hir) -> Vec<Vec<u8>> {
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_total(MAX_BEGINNINGS);
    let found = extractor.extract(tree);
    match found.literals() {
        Some(literals) if !literals.is_empty() => {
            literals.iter().map(|literal| literal.as_bytes().to_vec()).collect()
        }
        _ => vec![Vec::new()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn compile(path: &str) -> Result<Pattern, String> {
        Patterns::default().compile(path)
    }

    #[test]
    fn matches_are_anchored_at_the_start_only() {
        let table = [
            ("/mistral-chat$", "/mistral-chat", Some(13)),
            ("/mistral-chat$", "/mistral-chat/", None),
            ("/mistral-chat$", "/x/mistral-chat", None),
            ("/v[12]", "/v1/chat", Some(3)),
            ("/a|/b", "/x/b", None),
            ("/a|/b", "/bc", Some(2)),
            ("(?i)/CHAT", "/chat", Some(5)),
            ("", "/x", Some(0)),
            ("/chat", "/chats", Some(5)),
            ("/chat\\b", "/chat/x", Some(5)),
            ("/chat\\b", "/chats", None),
            ("/chat\\B.", "/chats", Some(6)),
            ("/a(^/b)?", "/a/b", Some(2)),
            ("/a/.*?/z", "/a/b/z/z", Some(6)),
            ("/ü.$", "/üé", Some(5)),
            ("/(?:chat|complete)(/|$)", "/complete", Some(9)),
            ("(?x) /a # comment", "/a", Some(2)),
        ];
        for (regex, path, len) in table {
            assert_eq!(compile(regex).expect("valid").find(path), len, "{regex} {path}");
        }
    }

    #[test]
    fn the_beginnings_are_known_where_there_are_any() {
        let table: [(&str, &[&str]); 6] = [
            ("/chat$", &["/chat"]),
            ("/v1/(?<model>[^/]+)/x", &["/v1/"]),
            ("/a(b|c)/", &["/ab/", "/ac/"]),
            ("/team-7\\.x+", &["/team-7.x"]),
            (".*/chat", &[""]),
            ("/colou?r", &["/color", "/colour"]),
        ];
        for (regex, expected) in table {
            let mut found: Vec<String> = compile(regex)
                .expect("valid")
                .beginnings
                .into_iter()
                .map(|text| String::from_utf8(text).expect("UTF-8"))
                .collect();
            found.sort();
            assert_eq!(found, expected, "{regex}");
        }
    }

    #[test]
    fn named_groups_are_captured() {
        let pattern = compile("/(?<tenant>\\w+)/(\\d+)(?:/(?P<tail>.*))?").expect("valid");
        let named = |path: &str| {
            let captures = pattern.captures(path);
            captures.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        assert_eq!(named("/acme/12/a/b"), "tenant=acme,tail=a/b");
        assert_eq!(named("/acme/12"), "tenant=acme");
        assert_eq!(compile("/(x)").expect("valid").captures("/x"), []);
    }

    #[test]
    fn equal_rests_are_shared() {
        let mut patterns = Patterns::default();
        for team in 0..100 {
            let pattern = patterns.compile(&format!("/team-{team}/(?<model>[^/]+)$")).expect("valid");
            assert_eq!(&*pattern.text, format!("/team-{team}/"));
            assert!(matches!(pattern.rest, Rest::Regex(_)));
        }
        assert_eq!(patterns.known.len(), 1);
        assert!(matches!(patterns.compile("/chat$").expect("valid").rest, Rest::End));
        assert!(matches!(patterns.compile("/chat").expect("valid").rest, Rest::Anything));
    }

    #[test]
    fn a_bad_regex_is_named() {
        let problem = compile("/(").err().expect("refused");
        assert!(problem.starts_with("invalid regex: '/(' ("), "{problem}");
        assert!(problem.contains("unclosed group"), "{problem}");
        assert!(compile("/a)|(/b").is_err());
    }

    const PIECES: &[&str] = &[
        "/a",
        "b",
        "(?<x>a|b)",
        "[ab]+",
        "b?",
        "$",
        "\\b",
        "\\B",
        "^",
        ".*?",
        "(?i)A",
        "|",
        "(/a)*",
        "é",
        "{2}",
    ];

    proptest! {
        #[test]
        fn splitting_changes_no_match(
            pieces in prop::collection::vec(select(PIECES), 0..6),
            path in "(/|a|b|A|é){0,6}",
        ) {
            let text = pieces.concat();
            let Ok(whole) = Regex::new(&text).and_then(|_| Regex::new(&format!("^(?:{text})"))) else {
                prop_assert!(compile(&text).is_err());
                return Ok(());
            };
            let pattern = compile(&text).expect("as valid as the whole");
            prop_assert_eq!(pattern.find(&path), whole.find(&path).map(|found| found.end()), "{}", text);
            let named = whole.captures(&path).and_then(|groups| Some(groups.name("x")?.as_str().to_owned()));
            prop_assert_eq!(pattern.captures(&path).pop().map(|(_, value)| value), named, "{}", text);
            let begins = pattern.beginnings.iter().any(|text| path.as_bytes().starts_with(text));
            prop_assert!(begins || pattern.find(&path).is_none(), "{}", text);
        }
    }
}
