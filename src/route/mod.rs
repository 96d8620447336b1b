//! Kong's router: which route does a request belong to?
//!
//! The rules are those of `router_flavor = traditional_compatible`: every kind of field that a route
//! configures must match, and of the routes that match, the one with the highest priority wins. All is
//! compiled and sorted once; a lookup only considers routes whose path prefix and host already fit, and
//! finds what trying all routes in the order of their priorities would find.

pub use crate::config::entities::PathHandling;
use crate::config::entities::Route;
use entry::{Entry, Hit, Paths};
use host::{ANY_HOST, Hosts};
use http::HeaderMap;
use pattern::Patterns;
use prefix::{Prefixes, Slot};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

mod entry;
mod host;
pub mod path;
mod pattern;
mod prefix;
mod upstream;

/// What a request is routed by.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The `Host` header or `:authority`, with or without port; empty if there is none.
    pub host: &'a str,
    /// The request target as it came: the raw path, and the query if there is one.
    pub target: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// `http` or `https`: how it came, as far as that is believed.
    pub scheme: &'a str,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// The port it was accepted on: what routes with a port compare if `host` names none.
    pub port: u16,
}

impl Query<'_> {
    fn is_https(&self) -> bool {
        self.scheme == "https"
    }
}

/// The route of a request.
#[derive(Debug)]
pub struct Match<'a> {
    /// Its place in the list that the router was made from.
    pub index: usize,
    /// The path that was matched: normalised, without query, not escaped.
    pub path: Cow<'a, str>,
    /// How many bytes of `path` the route's path covers; 0 for a route without paths.
    pub prefix_len: usize,
    /// What the named groups of a regex path hold.
    pub captures: Vec<(Arc<str>, String)>,
    /// Whether the request may be served.
    pub outcome: Outcome,
}

impl Match<'_> {
    /// The part of the path that the route's path covers: `X-Forwarded-Prefix` where it is stripped.
    pub fn prefix(&self) -> &str {
        self.path.get(..self.prefix_len).unwrap_or_default()
    }
}

/// What may be done with a routed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Serve it.
    Serve,
    /// The route is for HTTPS only, and the request did not come by it.
    NeedsHttps {
        /// 426, or a redirection.
        status: u16,
        /// Where to go instead, for a redirection.
        location: Option<String>,
    },
}

/// The compiled routes.
pub struct Router {
    /// The strongest first: a rank is a place in this list.
    entries: Vec<Entry>,
    prefixes: Prefixes,
    hosts: Hosts,
}

impl Router {
    /// Compiles the routes. Those of a disabled service must be left out by the caller, as Kong does.
    ///
    /// The configuration's check finds all that can be wrong with a route before; what is found here
    /// all the same comes with the route's place in the list.
    pub fn new(routes: &[Route]) -> Result<Self, Vec<(usize, String)>> {
        let mut hosts = Hosts::default();
        let mut patterns = Patterns::default();
        let mut ranked = Vec::with_capacity(routes.len());
        let mut problems = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            match Entry::of(index, route, &mut hosts, &mut patterns) {
                Ok(entries) => ranked.extend(entries),
                Err(problem) => problems.push((index, problem)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        ranked.sort_by(|(a, _), (b, _)| b.cmp(a));
        let entries: Vec<Entry> = ranked.into_iter().map(|(_, entry)| entry).collect();
        Ok(Self { prefixes: Prefixes::new(slots(&entries)), entries, hosts })
    }

    /// The route of a request, if any matches.
    pub fn find<'a>(&self, query: &Query<'a>) -> Option<Match<'a>> {
        let path = path::normalize(query.target)?;
        let (host, port) = host::split_port(query.host);
        let name = host::lower(host);
        let hit = self.best(query, &path, (&name, port.unwrap_or(query.port)))?;
        Some(Match {
            index: hit.entry.route,
            prefix_len: hit.len,
            captures: hit.pattern.map_or_else(Vec::new, |pattern| pattern.captures(&path)),
            outcome: outcome(hit.entry, query, &name),
            path,
        })
    }

    fn best(&self, query: &Query<'_>, path: &str, (name, port): (&str, u16)) -> Option<Hit<'_>> {
        let prefixes = self.prefixes.of(path.as_bytes());
        let mut best = None;
        let mut limit = u32::MAX;
        self.hosts.find(name, port, |host| {
            for node in prefixes.clone() {
                for rank in node.ranks(host).take_while(|rank| *rank < limit) {
                    let Some(entry) = self.entries.get(rank as usize) else { break };
                    if let Some(hit) = entry.matches(query, path, node.len()) {
                        best = Some(hit);
                        limit = rank;
                        break;
                    }
                }
            }
        });
        best
    }
}

/// Under which path prefixes and host patterns each entry is found.
fn slots(entries: &[Entry]) -> BTreeMap<Vec<u8>, Vec<Slot>> {
    let mut slots: BTreeMap<Vec<u8>, Vec<Slot>> = BTreeMap::new();
    for (rank, entry) in (0..).zip(entries) {
        let hosts = if entry.hosts.is_empty() { &[ANY_HOST] } else { entry.hosts.as_slice() };
        let prefixes: Vec<&[u8]> = match &entry.paths {
            Paths::Any => vec![b""],
            Paths::Plain(paths) => paths.iter().map(String::as_bytes).collect(),
            Paths::Regex(patterns) => {
                patterns.iter().flat_map(|pattern| pattern.beginnings.iter().map(Vec::as_slice)).collect()
            }
        };
        for prefix in prefixes {
            let node = slots.entry(prefix.to_vec()).or_default();
            node.extend(hosts.iter().map(|&host| Slot { host, rank }));
        }
    }
    slots
}

fn outcome(entry: &Entry, query: &Query<'_>, host: &str) -> Outcome {
    match entry.https_only {
        Some(status) if !query.is_https() => {
            let location = (status != 426).then(|| format!("https://{host}{}", query.target));
            Outcome::NeedsHttps { status, location }
        }
        _ => Outcome::Serve,
    }
}

#[cfg(test)]
mod scan;
#[cfg(test)]
mod tests;
