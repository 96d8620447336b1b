//! The path of the upstream request of a plain route: the service's path and what the route leaves.

use super::path::escape;
use super::{Match, PathHandling};
use std::borrow::Cow;

impl Match<'_> {
    /// The path to ask the service for, ready for the request line, without the query.
    ///
    /// `service_path` is the service's, `None` standing for `/`.
    ///
    /// KONG(kong/router/atc.lua): `traditional_compatible` joins as v0 whatever `path_handling` says;
    /// only the older `traditional` flavour knows v1.
    pub fn upstream_path(
        &self,
        service_path: Option<&str>,
        strip_path: bool,
        handling: PathHandling,
    ) -> Cow<'_, str> {
        let base = service_path.unwrap_or("/");
        let path = self.path.as_ref();
        let rest = if strip_path {
            harmless(path.get(self.prefix_len.max(1)..).unwrap_or_default())
        } else {
            path.strip_prefix('/').unwrap_or(path)
        };
        escape(match handling {
            PathHandling::V0 if strip_path => stripped_v0(base, rest, path),
            PathHandling::V0 => kept_v0(base, rest, path),
            PathHandling::V1 => joined_v1(base, rest, strip_path),
        })
    }
}

/// What follows the matched part must not become a dot segment once it stands behind a slash.
fn harmless(rest: &str) -> &str {
    match rest {
        "." | ".." => "",
        _ => rest.strip_prefix("./").or_else(|| rest.strip_prefix("../")).unwrap_or(rest),
    }
}

fn stripped_v0<'m>(base: &str, rest: &'m str, path: &str) -> Cow<'m, str> {
    let stem = base.strip_suffix('/').unwrap_or(base);
    if !rest.is_empty() {
        if stem.is_empty() && rest.starts_with('/') {
            return Cow::Borrowed(rest);
        }
        return Cow::Owned(format!("{stem}/{}", rest.strip_prefix('/').unwrap_or(rest)));
    }
    let closed = if path == "/" { base.ends_with('/') } else { path.ends_with('/') };
    Cow::Owned(if closed || stem.is_empty() { format!("{stem}/") } else { stem.to_owned() })
}

fn kept_v0<'m>(base: &str, rest: &'m str, path: &'m str) -> Cow<'m, str> {
    match base.strip_suffix('/') {
        Some("") if path.starts_with('/') => Cow::Borrowed(path),
        Some(stem) => Cow::Owned(format!("{stem}/{rest}")),
        None if path == "/" => Cow::Owned(base.to_owned()),
        None => Cow::Owned(format!("{base}{path}")),
    }
}

fn joined_v1<'m>(base: &str, rest: &str, strip_path: bool) -> Cow<'m, str> {
    let rest = match rest.strip_prefix('/') {
        Some(shorter) if strip_path && base.ends_with('/') => shorter,
        _ => rest,
    };
    Cow::Owned(format!("{base}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::super::path::normalize;
    use super::super::{Query, Router};
    use super::*;
    use crate::config::entities::Route;
    use PathHandling::{V0, V1};

    /// Service path, route path (empty for none), request path; the result as v0 stripped, v0 kept,
    /// v1 stripped, v1 kept.
    type Row = (&'static str, &'static str, &'static str, [&'static str; 4]);

    const TABLE: &[Row] = &[
        ("/", "/", "/", ["/", "/", "/", "/"]),
        ("/", "/", "/in/x/", ["/in/x/", "/in/x/", "/in/x/", "/in/x/"]),
        ("/", "", "/", ["/", "/", "/", "/"]),
        ("/", "", "/in/x/", ["/in/x/", "/in/x/", "/in/x/", "/in/x/"]),
        ("/", "/in", "/in", ["/", "/in", "/", "/in"]),
        ("/", "/in", "/in/", ["/", "/in/", "/", "/in/"]),
        ("/", "/in", "/inner", ["/ner", "/inner", "/ner", "/inner"]),
        ("/", "/in/", "/in/", ["/", "/in/", "/", "/in/"]),
        ("/", "/in/", "/in/x", ["/x", "/in/x", "/x", "/in/x"]),
        ("/up", "/", "/", ["/up", "/up", "/up", "/up"]),
        ("/up", "/", "/in", ["/up/in", "/up/in", "/upin", "/upin"]),
        ("/up", "/", "/in/", ["/up/in/", "/up/in/", "/upin/", "/upin/"]),
        ("/up", "", "/", ["/up", "/up", "/up", "/up"]),
        ("/up", "", "/in/x", ["/up/in/x", "/up/in/x", "/upin/x", "/upin/x"]),
        ("/up", "/in", "/in", ["/up", "/up/in", "/up", "/upin"]),
        ("/up", "/in", "/in/", ["/up/", "/up/in/", "/up/", "/upin/"]),
        ("/up", "/in", "/inner", ["/up/ner", "/up/inner", "/upner", "/upinner"]),
        ("/up", "/in/", "/in/", ["/up/", "/up/in/", "/up", "/upin/"]),
        ("/up", "/in/", "/in/x", ["/up/x", "/up/in/x", "/upx", "/upin/x"]),
        ("/up/", "/", "/", ["/up/", "/up/", "/up/", "/up/"]),
        ("/up/", "/", "/in/", ["/up/in/", "/up/in/", "/up/in/", "/up/in/"]),
        ("/up/", "", "/in", ["/up/in", "/up/in", "/up/in", "/up/in"]),
        ("/up/", "/in", "/in", ["/up", "/up/in", "/up/", "/up/in"]),
        ("/up/", "/in", "/in/", ["/up/", "/up/in/", "/up/", "/up/in/"]),
        ("/up/", "/in", "/inner", ["/up/ner", "/up/inner", "/up/ner", "/up/inner"]),
        ("/up/", "/in/", "/in/x", ["/up/x", "/up/in/x", "/up/x", "/up/in/x"]),
        // What is left must not climb out of the service's path.
        ("/up", "/in", "/in./x", ["/up/x", "/up/in./x", "/upx", "/upin./x"]),
        ("/up", "/in", "/in../x", ["/up/x", "/up/in../x", "/upx", "/upin../x"]),
        ("/up/", "/in", "/in%2E%2e/x", ["/up/x", "/up/in../x", "/up/x", "/up/in../x"]),
        ("/up", "/in", "/in..", ["/up", "/up/in..", "/up", "/upin.."]),
        // Decoded for the match, encoded again for the request line.
        (
            "/up",
            "/in",
            "/in/%C3%BC%20/%2f",
            ["/up/%C3%BC%20/%2F", "/up/in/%C3%BC%20/%2F", "/up/%C3%BC%20/%2F", "/upin/%C3%BC%20/%2F"],
        ),
    ];

    fn joined(route: Route, target: &str, base: &str) -> [String; 4] {
        let headers = http::HeaderMap::new();
        let query =
            Query { method: "GET", host: "", target, headers: &headers, scheme: "http", sni: None, port: 80 };
        let router = Router::new(&[route]).expect("valid");
        let found = router.find(&query).expect("a match");
        let join = |strip, handling| found.upstream_path(Some(base), strip, handling).into_owned();
        [join(true, V0), join(false, V0), join(true, V1), join(false, V1)]
    }

    #[test]
    fn paths_join_as_the_tables_say() {
        for (base, path, target, expected) in TABLE {
            let plain_path = (!path.is_empty()).then(|| (*path).to_owned()).into_iter().collect();
            let found = joined(Route { paths: plain_path, ..Route::default() }, target, base);
            assert_eq!(found, *expected, "{base} + {path} + {target}");
            if let Some(tail) = path.strip_prefix('/') {
                let regex = vec![format!("~/[x]?{tail}")];
                let found = joined(Route { paths: regex, ..Route::default() }, target, base);
                assert_eq!(found, *expected, "{base} + ~{path} + {target}");
            }
        }
    }

    #[test]
    fn the_whole_match_of_a_regex_is_stripped() {
        let route = || Route { paths: vec!["~/v\\d+/(?<team>\\w+)".to_owned()], ..Route::default() };
        let [stripped, kept, ..] = joined(route(), "/v12/red/chat", "/up");
        assert_eq!((stripped.as_str(), kept.as_str()), ("/up/chat", "/up/v12/red/chat"));
        let [stripped, ..] =
            joined(Route { paths: vec!["~/chat$".to_owned()], ..Route::default() }, "/chat", "/");
        assert_eq!(stripped, "/");
    }

    #[test]
    fn a_path_that_stays_is_borrowed() {
        let headers = http::HeaderMap::new();
        let target = "/in/x?q=1";
        let query =
            Query { method: "GET", host: "", target, headers: &headers, scheme: "http", sni: None, port: 80 };
        let router =
            Router::new(&[Route { paths: vec!["/in".to_owned()], ..Route::default() }]).expect("valid");
        let found = router.find(&query).expect("a match");
        assert_eq!(normalize(target).as_deref(), Some("/in/x"));
        for (strip, expected) in [(false, "/in/x"), (true, "/x")] {
            let path = found.upstream_path(None, strip, PathHandling::V0);
            assert!(matches!(path, Cow::Borrowed(same) if same == expected), "{path}");
        }
    }
}
