//! The router's rules, one table each.

use super::*;
use crate::config::entities::Route;
use http::{HeaderName, HeaderValue};
use uuid::Uuid;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn paths(paths: &[&str]) -> Route {
    Route { paths: texts(paths), ..Route::default() }
}

fn hosts(hosts: &[&str]) -> Route {
    Route { hosts: texts(hosts), ..Route::default() }
}

fn headers(pairs: &[(&str, &[&str])]) -> Route {
    let headers = pairs.iter().map(|(name, values)| ((*name).to_owned(), texts(values)));
    Route { headers: headers.collect(), ..Route::default() }
}

fn header_map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let lines = lines.iter();
    lines.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// The place of the route found for a request, where ids fall with the place so that among equals the
/// later one loses.
fn pick(
    routes: &[Route],
    request: &str,
    host: &str,
    lines: &[(&'static str, &'static str)],
) -> Option<usize> {
    let numbered: Vec<Route> = (1..)
        .zip(routes)
        .map(|(place, route)| Route { id: Uuid::from_u128(u128::MAX - place), ..route.clone() })
        .collect();
    let (method, target) = request.split_once(' ').unwrap_or(("GET", request));
    let headers = header_map(lines);
    let query = Query { method, host, target, headers: &headers, scheme: "http", sni: None, port: 8000 };
    Router::new(&numbered).expect("valid routes").find(&query).map(|found| found.index)
}

#[test]
fn plain_paths_are_prefixes_and_regexes_are_anchored_at_the_start() {
    let table = [
        ("/foo", "/foo", true),
        ("/foo", "/foobar", true),
        ("/foo", "/foo/bar?x", true),
        ("/foo/", "/foo", false),
        ("/foo", "/Foo", false),
        ("/foo", "/x/foo", false),
        ("/", "/anything", true),
        ("~/mistral-chat$", "/mistral-chat", true),
        ("~/mistral-chat$", "/mistral-chat?stream=1", true),
        ("~/mistral-chat$", "/mistral-chat/", false),
        ("~/mistral-chat$", "/v1/mistral-chat", false),
        ("~/v\\d+/chat", "/v12/chat/completions", true),
        ("~/v\\d+/chat", "/vx/chat", false),
        ("/chat", "/%63hat", true),
        ("/chat", "//chat", true),
        ("/chat", "/x/../chat", true),
        ("/chat", "/chat/../other", false),
        ("/a/b", "/a%2Fb", false),
        ("/a%2Fb", "/a%2fb", true),
        ("/grün", "/gr%C3%BCn", true),
        ("/", "/%ff", false),
    ];
    for (path, target, expected) in table {
        assert_eq!(pick(&[paths(&[path])], target, "h", &[]).is_some(), expected, "{path} {target}");
    }
}

#[test]
fn methods_are_exact() {
    let route = Route { methods: texts(&["POST", "PUT"]), ..Route::default() };
    for (request, expected) in [("POST /", true), ("PUT /", true), ("GET /", false), ("post /", false)] {
        assert_eq!(pick(std::slice::from_ref(&route), request, "h", &[]).is_some(), expected, "{request}");
    }
}

#[test]
fn hosts_ignore_case_and_mind_a_port_only_if_they_name_one() {
    let table = [
        ("ai.example", "ai.example", true),
        ("ai.example", "AI.Example:9000", true),
        ("AI.example", "ai.example", true),
        ("ai.example", "x.ai.example", false),
        ("ai.example", "", false),
        ("ai.example:9000", "ai.example:9000", true),
        ("ai.example:9000", "ai.example:9001", false),
        ("ai.example:8000", "ai.example", true),
        ("ai.example:9000", "ai.example", false),
        ("*.example", "ai.example", true),
        ("*.example", "a.b.example:1", true),
        ("*.example", "example", false),
        ("*.example", "ai.example.org", false),
        ("ai.*", "ai.example", true),
        ("ai.*", "ai.a.b", true),
        ("ai.*", "my.ai.example", false),
        ("*.example:9000", "ai.example:9000", true),
        ("*.example:9000", "ai.example:9001", false),
    ];
    for (pattern, host, expected) in table {
        assert_eq!(pick(&[hosts(&[pattern])], "/", host, &[]).is_some(), expected, "{pattern} {host}");
    }
    assert!(pick(&[hosts(&["a", "b"])], "/", "b", &[]).is_some(), "any of the hosts will do");
}

#[test]
fn headers_need_one_value_of_each_name() {
    let any = headers(&[("X-Model", &["gpt-4o", "~*^claude-\\d"]), ("x-tier", &["Gold"])]);
    let table: [(&[(&str, &str)], bool); 8] = [
        (&[("x-model", "gpt-4o"), ("x-tier", "gold")], true),
        (&[("x-model", "GPT-4O"), ("x-tier", "GOLD")], true),
        (&[("x-model", "Claude-3-opus"), ("x-tier", "gold")], true),
        (&[("x-model", "my-claude-3"), ("x-tier", "gold")], false),
        (&[("x-model", "claude-x"), ("x-tier", "gold")], false),
        (&[("x-model", "other"), ("x-model", "gpt-4o"), ("x-tier", "gold")], true),
        (&[("x-model", "gpt-4o")], false),
        (&[("x-model", "gpt-4o"), ("x-tier", "golden")], false),
    ];
    for (lines, expected) in table {
        let lines: Vec<(&'static str, &'static str)> = lines.to_vec();
        assert_eq!(pick(std::slice::from_ref(&any), "/", "h", &lines).is_some(), expected, "{lines:?}");
    }
    let negated = headers(&[("x-id", &["~*^\\D+$"])]);
    assert!(pick(std::slice::from_ref(&negated), "/", "h", &[("x-id", "abc")]).is_some());
    assert!(pick(&[negated], "/", "h", &[("x-id", "123")]).is_none());
}

#[test]
fn server_names_count_only_under_tls() {
    let route = Route { snis: texts(&["ai.example.", "*.tls.test"]), ..Route::default() };
    let router = Router::new(&[route]).expect("valid");
    let headers = HeaderMap::new();
    let table = [
        ("https", Some("ai.example"), true),
        ("https", Some("AI.example"), true),
        ("https", Some("x.tls.test"), true),
        ("https", Some("tls.test"), false),
        ("https", None, false),
        ("http", None, true),
    ];
    for (scheme, sni, expected) in table {
        let query = Query { method: "GET", host: "", target: "/", headers: &headers, scheme, sni, port: 443 };
        assert_eq!(router.find(&query).is_some(), expected, "{scheme} {sni:?}");
    }
}

#[test]
fn the_stronger_route_wins() {
    let methods = |route: Route| Route { methods: texts(&["GET"]), ..route };
    let ranked = |regex_priority: i64, path: &str| Route { regex_priority, ..paths(&[path]) };
    let with_paths = |route: Route| Route { paths: texts(&["/a/b"]), ..route };
    let table: [(&str, Route, Route); 13] = [
        ("a longer path", paths(&["/a"]), paths(&["/a/b"])),
        ("a regex over a plain path", paths(&["/a/b"]), paths(&["~/a"])),
        ("a higher regex_priority", ranked(1, "~/a/b$"), ranked(2, "~/a")),
        ("a regex over a plain path of any regex_priority", ranked(9, "/a/b"), ranked(0, "~/a")),
        ("a negative regex_priority is still a regex", paths(&["/a/b"]), ranked(-1, "~/a")),
        ("more kinds of fields", paths(&["~/a/b$"]), methods(paths(&["/"]))),
        ("kinds before plain hosts", hosts(&["h.test"]), methods(paths(&["/"]))),
        (
            "plain hosts over wildcards",
            with_paths(hosts(&["h.test", "*.x"])),
            Route { paths: texts(&["/"]), ..hosts(&["h.test"]) },
        ),
        (
            "plain hosts over other kinds",
            methods(paths(&["~/a/b$"])),
            Route { paths: texts(&["/"]), ..hosts(&["h.test"]) },
        ),
        (
            "plain hosts over headers",
            with_paths(headers(&[("x-a", &["1"])])),
            Route { paths: texts(&["/"]), ..hosts(&["h.test"]) },
        ),
        ("more headers", headers(&[("x-a", &["1"])]), headers(&[("x-a", &["1"]), ("x-b", &["2"])])),
        (
            "headers over regexes",
            Route { paths: texts(&["~/a/b$"]), ..headers(&[("x-a", &["1"])]) },
            Route { paths: texts(&["/"]), ..headers(&[("x-a", &["1"]), ("x-b", &["2"])]) },
        ),
        ("a path over none", Route::default(), paths(&["/"])),
    ];
    for (why, weaker, stronger) in table {
        let found = pick(&[weaker, stronger], "/a/b", "h.test", &[("x-a", "1"), ("x-b", "2")]);
        assert_eq!(found, Some(1), "{why}");
    }
}

#[test]
fn among_equals_the_greatest_id_wins() {
    let with_id = |id: u128| Route { id: Uuid::from_u128(id), ..paths(&["/a"]) };
    let router = Router::new(&[with_id(1), with_id(3), with_id(2)]).expect("valid");
    let headers = HeaderMap::new();
    let query = Query {
        method: "GET",
        host: "",
        target: "/a",
        headers: &headers,
        scheme: "http",
        sni: None,
        port: 80,
    };
    assert_eq!(router.find(&query).map(|found| found.index), Some(1));
}

#[test]
fn the_parts_of_a_route_have_ids_of_their_own() {
    // Version 5, of the route's id and the part's number: `00000000-0000-0000-0000-000000000001#1`.
    let part = uuid::uuid!("3a184dfe-491e-5108-ad97-30094f995e90").as_u128();
    let headers = HeaderMap::new();
    let query = Query {
        method: "GET",
        host: "",
        target: "/a",
        headers: &headers,
        scheme: "http",
        sni: None,
        port: 80,
    };
    for (rival, expected) in [(part - 1, 0), (part + 1, 1)] {
        let list = [
            Route { id: Uuid::from_u128(1), ..paths(&["/a", "/bb"]) },
            Route { id: Uuid::from_u128(rival), ..paths(&["/a"]) },
        ];
        let router = Router::new(&list).expect("valid");
        assert_eq!(router.find(&query).map(|found| found.index), Some(expected));
    }
}

#[test]
fn each_path_of_a_route_has_its_own_strength() {
    let many = paths(&["/a", "~/r/\\d+$", "/a/b/c", "~/q"]);
    let one = paths(&["/a/b"]);
    let routes = [many, one];
    for (target, expected) in
        [("/a", 0), ("/a/b", 1), ("/a/b/c", 0), ("/r/12", 0), ("/a/b/x", 1), ("/q/x", 0)]
    {
        assert_eq!(pick(&routes, target, "h", &[]), Some(expected), "{target}");
    }
}

#[test]
fn a_match_says_what_matched() {
    type Row = (
        &'static [&'static str],
        &'static str,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
    );
    let table: [Row; 6] = [
        (&["/v1"], "/v1/chat?x=1", "/v1/chat", "/v1", &[]),
        (&["/v1", "/v1/chat"], "/v1/chat/x", "/v1/chat/x", "/v1/chat", &[]),
        (&["~/v\\d+/"], "/v12/chat", "/v12/chat", "/v12/", &[]),
        (&[], "/v1//chat", "/v1/chat", "", &[]),
        (
            &["~/(?<tenant>[^/]+)/models/(?<model>[^/:]+)(:(?<op>\\w+))?"],
            "/acme/models/gpt%2D4:chat/tail",
            "/acme/models/gpt-4:chat/tail",
            "/acme/models/gpt-4:chat",
            &[("tenant", "acme"), ("model", "gpt-4"), ("op", "chat")],
        ),
        (&["~/x/(?<a>\\d+)", "~/x/(?<b>\\w+)"], "/x/abc", "/x/abc", "/x/abc", &[("b", "abc")]),
    ];
    let headers = HeaderMap::new();
    for (texts, target, path, prefix, captures) in table {
        let router = Router::new(&[paths(texts)]).expect("valid");
        let query =
            Query { method: "GET", host: "", target, headers: &headers, scheme: "http", sni: None, port: 80 };
        let found = router.find(&query).expect("a match");
        assert_eq!((found.path.as_ref(), found.prefix()), (path, prefix), "{target}");
        let named: Vec<(&str, &str)> = found.captures.iter().map(|(n, v)| (n.as_ref(), v.as_str())).collect();
        assert_eq!(named, captures, "{target}");
    }
}

#[test]
fn an_https_route_does_not_serve_plain_http() {
    let only = |status: u16| Route {
        protocols: texts(&["https"]),
        https_redirect_status_code: status,
        ..paths(&["/a"])
    };
    let to = |status, location: Option<&str>| Outcome::NeedsHttps {
        status,
        location: location.map(str::to_owned),
    };
    let table = [
        (only(426), "http", to(426, None)),
        (only(301), "http", to(301, Some("https://ai.example/a//b?x=1"))),
        (only(308), "https", Outcome::Serve),
        (paths(&["/a"]), "http", Outcome::Serve),
        (Route { protocols: texts(&["http"]), ..paths(&["/a"]) }, "https", Outcome::Serve),
    ];
    let headers = HeaderMap::new();
    for (route, scheme, outcome) in table {
        let router = Router::new(&[route]).expect("valid");
        let (host, target) = ("AI.example:8000", "/a//b?x=1");
        let query = Query { method: "GET", host, target, headers: &headers, scheme, sni: None, port: 80 };
        assert_eq!(router.find(&query).map(|found| found.outcome), Some(outcome));
    }
}

#[test]
fn what_cannot_be_compiled_is_reported_by_place() {
    let routes = [
        paths(&["/fine"]),
        paths(&["~/("]),
        hosts(&["a.*.b"]),
        headers(&[("x-a", &["~*("])]),
        headers(&[("not a name", &["1"])]),
    ];
    let problems = Router::new(&routes).err().expect("refused");
    let places: Vec<usize> = problems.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 2, 3, 4], "{problems:?}");
}

#[test]
fn a_lookup_by_plain_path_borrows_the_request() {
    let router = Router::new(&[paths(&["/v1"])]).expect("valid");
    let headers = HeaderMap::new();
    let target = "/v1/chat/completions?x=1";
    let query =
        Query { method: "POST", host: "h", target, headers: &headers, scheme: "http", sni: None, port: 80 };
    let found = router.find(&query).expect("a match");
    assert!(matches!(found.path, Cow::Borrowed("/v1/chat/completions")));
    assert_eq!(found.captures.capacity(), 0);
}
