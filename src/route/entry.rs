//! What one route, or one part of a route with unlike paths, demands of a request, and how strongly.

use super::Query;
use super::host::{self, Hosts, Name};
use super::pattern::{Pattern, Patterns};
use crate::config::entities::Route;
use http::{HeaderName, HeaderValue};
use regex::Regex;
use uuid::{Uuid, uuid};

/// The namespace of the ids of a route's parts; Kong's, because the id decides between equals.
const PARTS: Uuid = uuid!("7f145bf9-0dce-4f91-98eb-debbce4b9f6b");

/// The order in which entries are tried: the greatest first. The fields stand in the order in which
/// they decide, as Kong packs them into 64 bits.
///
/// KONG(kong/router/transform.lua): a negative `regex_priority` runs over all higher bits there; here
/// it only ranks among regexes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Strength {
    kinds: usize,
    plain_hosts: bool,
    headers: usize,
    regex: bool,
    regex_priority: i64,
    path_len: usize,
    id: Uuid,
}

/// The paths of an entry.
pub(super) enum Paths {
    /// None demanded.
    Any,
    /// Any of these beginnings, all of the same length: the index has compared them already.
    Plain(Vec<String>),
    /// Any of these, tried in this order.
    Regex(Vec<Pattern>),
}

/// A route, or the part of it with one kind of paths.
pub(super) struct Entry {
    /// Its route's place in the configuration.
    pub(super) route: usize,
    pub(super) paths: Paths,
    /// The numbers of its host patterns; the index has compared them already.
    pub(super) hosts: Vec<u32>,
    methods: Vec<String>,
    headers: Vec<(HeaderName, Vec<Value>)>,
    snis: Vec<Name>,
    /// The status for requests that did not come by TLS, if only those that did are served.
    pub(super) https_only: Option<u16>,
}

/// A header value as a route demands it.
#[derive(Clone)]
enum Value {
    Is(String),
    Like(Regex),
}

/// An entry that matches.
pub(super) struct Hit<'r> {
    pub(super) entry: &'r Entry,
    /// How much of the path its path covers.
    pub(super) len: usize,
    /// The regex that matched.
    pub(super) pattern: Option<&'r Pattern>,
}

impl Entry {
    /// The entries of a route: one for each length of plain paths, and one for all regexes.
    pub(super) fn of(
        index: usize,
        route: &Route,
        hosts: &mut Hosts,
        patterns: &mut Patterns,
    ) -> Result<Vec<(Strength, Self)>, String> {
        let numbers = route.hosts.iter().map(|host| hosts.number(host)).collect::<Result<Vec<_>, _>>()?;
        let headers = route.headers.iter().map(|(name, values)| header(name, values));
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        let snis = route.snis.iter().map(|sni| Name::parse(sni.strip_suffix('.').unwrap_or(sni)));
        let snis = snis.collect::<Result<Vec<_>, _>>()?;
        let groups = group(&route.paths);
        let mut entries = Vec::with_capacity(groups.len());
        for (part, paths) in groups.iter().enumerate() {
            let id = match groups.len() {
                1 => route.id,
                _ => Uuid::new_v5(&PARTS, format!("{}#{}", route.id, part + 1).as_bytes()),
            };
            let entry = Self {
                route: index,
                paths: compile(paths, patterns)?,
                hosts: numbers.clone(),
                methods: route.methods.clone(),
                headers: headers.clone(),
                snis: snis.clone(),
                https_only: https_only(route),
            };
            entries.push((strength(route, paths, id), entry));
        }
        Ok(entries)
    }

    /// How it matches, where `prefix_len` is the length of its plain path.
    ///
    /// The regexes come last because they cost the most.
    pub(super) fn matches(&self, query: &Query<'_>, path: &str, prefix_len: usize) -> Option<Hit<'_>> {
        let methods = self.methods.is_empty() || self.methods.iter().any(|method| method == query.method);
        if !methods || !self.sni_matches(query) || !self.headers_match(query) {
            return None;
        }
        let (len, pattern) = match &self.paths {
            Paths::Any => (0, None),
            Paths::Plain(_) => (prefix_len, None),
            Paths::Regex(patterns) => {
                patterns.iter().find_map(|pattern| Some((pattern.find(path)?, Some(pattern))))?
            }
        };
        Some(Hit { entry: self, len, pattern })
    }

    /// A server name is only compared where there can be one.
    fn sni_matches(&self, query: &Query<'_>) -> bool {
        if self.snis.is_empty() || !query.is_https() {
            return true;
        }
        let Some(name) = query.sni else { return false };
        let name = host::lower(name);
        self.snis.iter().any(|sni| sni.matches(&name))
    }

    fn headers_match(&self, query: &Query<'_>) -> bool {
        self.headers.iter().all(|(name, wanted)| {
            let mut present = query.headers.get_all(name).iter();
            present.any(|value| wanted.iter().any(|wanted| wanted.matches(value)))
        })
    }
}

impl Value {
    fn matches(&self, value: &HeaderValue) -> bool {
        match self {
            Self::Is(text) => value.as_bytes().eq_ignore_ascii_case(text.as_bytes()),
            Self::Like(regex) => str::from_utf8(value.as_bytes()).is_ok_and(|value| regex.is_match(value)),
        }
    }
}

/// KONG(kong/router/transform.lua): the text of a header regex is lower-cased there, which turns `\D`
/// into `\d`; here the match ignores case and the text stays.
fn header(name: &str, values: &[String]) -> Result<(HeaderName, Vec<Value>), String> {
    let name = name.parse().map_err(|_| format!("'{name}' is not the name of a header"))?;
    let values = values.iter().map(|value| match value.strip_prefix("~*") {
        None => Ok(Value::Is(value.clone())),
        Some(text) => regex::RegexBuilder::new(text)
            .case_insensitive(true)
            .build()
            .map(Value::Like)
            .map_err(|_| format!("invalid regex: '{text}'")),
    });
    Ok((name, values.collect::<Result<_, String>>()?))
}

fn compile(paths: &[&str], patterns: &mut Patterns) -> Result<Paths, String> {
    if paths.is_empty() {
        return Ok(Paths::Any);
    }
    if !paths.iter().all(|path| is_regex(path)) {
        return Ok(Paths::Plain(paths.iter().map(|&path| path.to_owned()).collect()));
    }
    let texts = paths.iter().filter_map(|path| path.strip_prefix('~'));
    Ok(Paths::Regex(texts.map(|text| patterns.compile(text)).collect::<Result<_, _>>()?))
}

fn is_regex(path: &str) -> bool {
    path.starts_with('~')
}

/// Regexes in one group, plain paths in one for each length, in the order in which each first appears;
/// one empty group if there are no paths.
fn group(paths: &[String]) -> Vec<Vec<&str>> {
    let key = |path: &str| (!is_regex(path)).then_some(path.len());
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for path in paths {
        let same = |group: &&mut Vec<&str>| group.first().is_some_and(|first| key(first) == key(path));
        match groups.iter_mut().find(same) {
            Some(group) => group.push(path),
            None => groups.push(vec![path]),
        }
    }
    if groups.is_empty() {
        groups.push(Vec::new());
    }
    groups
}

fn strength(route: &Route, paths: &[&str], id: Uuid) -> Strength {
    let kinds = [
        route.methods.is_empty(),
        route.hosts.is_empty(),
        route.headers.is_empty(),
        route.snis.is_empty(),
        paths.is_empty(),
    ];
    let first = paths.first().copied().unwrap_or_default();
    let regex = is_regex(first);
    Strength {
        kinds: kinds.iter().filter(|empty| !**empty).count(),
        plain_hosts: !route.hosts.is_empty() && !route.hosts.iter().any(|host| host.contains('*')),
        headers: route.headers.len().min(255),
        regex,
        regex_priority: if regex { route.regex_priority } else { 0 },
        path_len: if regex { 0 } else { first.len() },
        id,
    }
}

fn https_only(route: &Route) -> Option<u16> {
    let has = |protocol: &str| route.protocols.iter().any(|own| own == protocol);
    (has("https") && !has("http")).then_some(route.https_redirect_status_code)
}
