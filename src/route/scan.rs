//! The router's rules once more, as plainly as they can be written: what `Router` must agree with.
//!
//! Priorities are packed into bits as Kong documents them, and every route is tried.

use super::path::normalize;
use super::{Query, Router};
use crate::config::entities::Route;
use http::HeaderMap;
use proptest::prelude::*;
use proptest::sample::select;
use regex::Regex;
use uuid::Uuid;

/// The route's place and the length of what its path matched.
fn scan(routes: &[Route], query: &Query<'_>) -> Option<(usize, usize)> {
    let path = normalize(query.target)?;
    let mut parts: Vec<(u64, Uuid, usize, Vec<String>)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let mut groups: Vec<(usize, Vec<String>)> = Vec::new();
        for path in &route.paths {
            let key = if path.starts_with('~') { 0 } else { path.len() };
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, group)) => group.push(path.clone()),
                None => groups.push((key, vec![path.clone()])),
            }
        }
        if groups.len() < 2 {
            let group = groups.pop().map(|(_, group)| group).unwrap_or_default();
            parts.push((weight(route, &group), route.id, index, group));
            continue;
        }
        let namespace = Uuid::parse_str("7f145bf9-0dce-4f91-98eb-debbce4b9f6b").expect("a UUID");
        for (part, (_, group)) in groups.into_iter().enumerate() {
            let id = Uuid::new_v5(&namespace, format!("{}#{}", route.id, part + 1).as_bytes());
            parts.push((weight(route, &group), id, index, group));
        }
    }
    parts.sort_by_key(|(weight, id, ..)| (*weight, *id));
    parts.iter().rev().find_map(|(_, _, index, group)| {
        let route = &routes[*index];
        (method(route, query) && host(route, query) && header(route, query) && sni(route, query))
            .then(|| matched(group, &path))
            .flatten()
            .map(|len| (*index, len))
    })
}

fn weight(route: &Route, paths: &[String]) -> u64 {
    let kinds = u64::from(!route.methods.is_empty())
        + u64::from(!route.hosts.is_empty())
        + u64::from(!route.headers.is_empty())
        + u64::from(!route.snis.is_empty())
        + u64::from(!paths.is_empty());
    let plain = !route.hosts.is_empty() && route.hosts.iter().all(|host| !host.contains('*'));
    let regex = paths.first().is_some_and(|path| path.starts_with('~'));
    let tail = match paths.first() {
        Some(_) if regex => 1 << 51 | u64::try_from(route.regex_priority).expect("not negative here") << 19,
        Some(path) => path.len() as u64,
        None => 0,
    };
    kinds << 61 | u64::from(plain) << 60 | (route.headers.len() as u64) << 52 | tail
}

fn matched(paths: &[String], path: &str) -> Option<usize> {
    if paths.is_empty() {
        return Some(0);
    }
    paths.iter().find_map(|wanted| match wanted.strip_prefix('~') {
        Some(regex) => {
            Regex::new(&format!("^(?:{regex})")).expect("valid").find(path).map(|found| found.end())
        }
        None => path.starts_with(wanted).then_some(wanted.len()),
    })
}

fn method(route: &Route, query: &Query<'_>) -> bool {
    route.methods.is_empty() || route.methods.iter().any(|method| method == query.method)
}

fn name_matches(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(suffix), _) => name.ends_with(suffix),
        (_, Some(prefix)) => name.starts_with(prefix),
        _ => name == wanted,
    }
}

fn host(route: &Route, query: &Query<'_>) -> bool {
    let (name, port) = query.host.split_once(':').unwrap_or((query.host, ""));
    let port = if port.is_empty() { query.port.to_string() } else { port.to_owned() };
    route.hosts.is_empty()
        || route.hosts.iter().any(|wanted| match wanted.split_once(':') {
            Some((wanted, wanted_port)) => name_matches(wanted, name) && wanted_port == port,
            None => name_matches(wanted, name),
        })
}

fn header(route: &Route, query: &Query<'_>) -> bool {
    route.headers.iter().all(|(name, wanted)| {
        query.headers.get_all(name.as_str()).iter().any(|value| {
            let value = value.to_str().expect("ASCII here").to_lowercase();
            wanted.iter().any(|wanted| match wanted.strip_prefix("~*") {
                Some(regex) => Regex::new(&format!("(?i:{regex})")).expect("valid").is_match(&value),
                None => wanted.to_lowercase() == value,
            })
        })
    })
}

fn sni(route: &Route, query: &Query<'_>) -> bool {
    let named = |name: &str| route.snis.iter().any(|wanted| name_matches(wanted, name));
    route.snis.is_empty() || query.scheme == "http" || query.sni.is_some_and(named)
}

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/a/b",
    "/ab",
    "/a/b/c",
    "/b/a",
    "~/a",
    "~/a$",
    "~/[ab]/b",
    "~/(?<x>[ab]+)/b$",
    "~.*/c",
    "~/a|/b/a",
    "~(?i)/A/b",
    "~/a/b?/c",
];
const HOSTS: &[&str] =
    &["x.test", "y.test", "*.test", "x.*", "x.test:81", "*.test:80", "a.y.test", "*.y.test"];
const VALUES: &[&str] = &["one", "Two", "~*^t", "~*n"];

fn some(words: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(select(words).prop_map(str::to_owned), 0..=most)
}

fn route() -> impl Strategy<Value = Route> {
    let headers = prop::collection::btree_map(
        select(&["x-model", "X-Tier"][..]).prop_map(str::to_owned),
        prop::collection::vec(select(VALUES).prop_map(str::to_owned), 1..3),
        0..=2,
    );
    let names = (some(&["GET", "POST"], 1), some(HOSTS, 2), some(&["x.test", "*.test"], 1));
    (any::<u128>(), names, some(PATHS, 3), headers, 0..3_i64).prop_map(
        |(id, (methods, hosts, snis), paths, headers, regex_priority)| Route {
            id: Uuid::from_u128(id),
            methods,
            hosts,
            paths,
            headers,
            snis,
            regex_priority,
            ..Route::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_lookup_finds_what_trying_every_route_finds(
        routes in prop::collection::vec(route(), 0..30),
        method in select(&["GET", "POST"][..]),
        host in select(&["x.test", "X.Test:81", "y.test:80", "a.y.test", "other", ""][..]),
        target in "(/(a|b|c|ab|A|%61|\\.\\.)){0,4}/?(\\?q)?",
        values in prop::collection::vec((select(&["x-model", "x-tier"][..]), select(&["one", "TWO", "ten"][..])), 0..3),
        sni in prop::option::of(select(&["x.test", "y"][..])),
        scheme in select(&["http", "https"][..]),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        let query = Query { method, host, target: &target, headers: &headers, scheme, sni, port: 80 };
        let router = Router::new(&routes).expect("valid routes");
        let found = router.find(&query).map(|found| (found.index, found.prefix_len));
        prop_assert_eq!(found, scan(&routes, &query));
    }
}
