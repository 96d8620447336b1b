//! The router: paths in their normal form, and regex paths, of which the beginning is compared as text.

use super::halves;
use http::HeaderMap;
use regex::Regex;
use std::borrow::Cow;
use tollgate::config::entities::Route;
use tollgate::config::route_paths;
use tollgate::route::path::{escape, normalize};
use tollgate::route::{Query, Router};

/// A request target: its normal form is one, and what goes upstream may stand in a request line.
pub fn path(data: &[u8]) {
    let target = String::from_utf8_lossy(data);
    route_paths::migrate(&target);
    route_paths::normalize(&target);
    let Some(once) = normalize(&target) else { return };
    if target.starts_with('/') {
        assert!(once.starts_with('/'), "{target:?} is {once:?}");
        let mut segments = once[1..].split('/').rev();
        segments.next();
        assert!(segments.all(|segment| !matches!(segment, "" | "." | "..")), "{target:?} is {once:?}");
        assert!(!once.ends_with("/.") && !once.ends_with("/.."), "{target:?} is {once:?}");
    }
    let sent = escape(Cow::Borrowed(&once));
    assert!(sent.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{sent:?}");
    assert_eq!(escape(Cow::Borrowed(&sent)), sent, "escaped twice");
}

pub fn paths() -> Vec<Vec<u8>> {
    let known =
        ["/a//b/../c/./d?x=/../b", "/%2E%2e/x/%2f%7Btenant%7D", "/gr%C3%BCn/%FF", "*", "/bad%zzend%4"];
    known.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A regex, a byte 0, a path: what the check lets pass compiles, and the router finds what one regex finds.
pub fn pattern(data: &[u8]) {
    let (pattern, path) = halves(data, 0);
    let (Ok(pattern), Ok(path)) = (std::str::from_utf8(pattern), std::str::from_utf8(path)) else { return };
    let configured = format!("~{pattern}");
    let accepted = route_paths::path(&configured).is_ok();
    let router = Router::new(&[route(configured)]);
    assert!(!accepted || router.is_ok(), "{pattern:?} passes the check and does not compile");
    let (Ok(router), Some(path)) = (router, normalize(path)) else { return };
    let Ok(whole) = Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})"))) else { return };
    let headers = HeaderMap::new();
    let query = Query {
        method: "GET",
        host: "h",
        target: &path,
        headers: &headers,
        scheme: "http",
        sni: None,
        port: 80,
    };
    if normalize(&path).as_deref() != Some(&*path) {
        return; // what was decoded once may decode again
    }
    let found = router.find(&query).map(|found| found.prefix_len);
    assert_eq!(found, whole.find(&path).map(|found| found.end()), "{pattern:?} on {path:?}");
}

fn route(path: String) -> Route {
    Route { paths: vec![path], ..Route::default() }
}

pub fn patterns() -> Vec<Vec<u8>> {
    let known = [
        "/v1/(?<model>[^/]+)/x$\0/v1/gpt/x",
        "/(?:chat|complete)(/|$)\0/complete",
        "(?i)/CHAT\\b\0/chat",
        "/a(b|c)/\\B.?\0/ac/",
        "(?x) /a # comment\0/a",
    ];
    known.iter().map(|text| text.as_bytes().to_vec()).collect()
}
