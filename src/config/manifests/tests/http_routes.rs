//! `HTTPRoute`s.

use super::*;

/// An `HTTPRoute` with these rules, each of which leads to the Service.
fn http_route(spec: &str, rules: &str) -> String {
    let rules = rules.replace("REFS", "backendRefs: [{name: s, port: 80}]");
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: h, namespace: n}}
spec: {{{spec} rules: [{rules}]}}
"
    )
}

#[test]
fn maps_matches_of_http_routes() {
    for (matches, paths) in [
        ("{path: {type: PathPrefix, value: /x}}", &["~/x$", "/x/"][..]),
        ("{path: {value: /x/}}", &["~/x/$", "/x/"]),
        ("{path: {type: Exact, value: /x.y}}", &["~/x\\.y$"]),
        ("{path: {type: RegularExpression, value: '/x/\\d+'}}", &["~/x/\\d+"]),
        ("{method: GET}", &["~/$", "/"]),
    ] {
        let route = route(&[SERVICE, &http_route("", &format!("{{matches: [{matches}], REFS}}"))]);
        assert_eq!(route.paths, paths, "{matches}");
        assert_eq!(route.name.as_deref(), Some("httproute.n.h.0.0"));
        assert!(route.preserve_host && !route.strip_path);
    }
    let match_ = "{method: POST, path: {value: /x}, headers: [{name: x-a, value: b}, {name: x-c, type: RegularExpression, value: 'd.'}]}";
    let document =
        good(&[SERVICE, &http_route("hostnames: [a.com],", &format!("{{matches: [{match_}], REFS}}"))]);
    let route = &document.routes[0];
    assert_eq!(
        (route.methods.as_slice(), route.hosts.as_slice()),
        (&["POST".to_owned()][..], &["a.com".to_owned()][..])
    );
    assert_eq!(
        (route.headers["x-a"].as_slice(), route.headers["x-c"].as_slice()),
        (&["b".to_owned()][..], &["~*d.".to_owned()][..])
    );
    assert_eq!(document.services[0].name.as_deref(), Some("httproute.n.h.0"));
    assert_eq!(document.services[0].host, "s.n.svc");
}

#[test]
fn groups_the_rules_of_http_routes() {
    let rules =
        "{matches: [{path: {value: /a}}], REFS}, {matches: [{path: {value: /b}}, {method: PUT}], REFS}, {}";
    let document = good(&[SERVICE, &http_route("", rules)]);
    let names = |all: Vec<Option<String>>| all.into_iter().flatten().collect::<Vec<_>>();
    let services = names(document.services.iter().map(|one| one.name.clone()).collect());
    assert_eq!(services, ["httproute.n.h.0", "httproute.n.h.2"]);
    let routes = names(document.routes.iter().map(|one| one.name.clone()).collect());
    assert_eq!(routes, ["httproute.n.h.0.0", "httproute.n.h.1.1", "httproute.n.h.2.0"]);
    assert_eq!(document.routes[0].paths, ["~/a$", "/a/", "~/b$", "/b/"]);
}

#[test]
fn http_routes_take_plugins_timeouts_and_protocols() {
    let filter = "filters: [{type: ExtensionRef, extensionRef: {group: configuration.konghq.com, kind: KongPlugin, name: p}}]";
    let gateway = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g, namespace: n}
spec: {gatewayClassName: kong, listeners: [{name: l, port: 80, protocol: HTTP}]}
";
    let rule = format!("{{{filter}, timeouts: {{backendRequest: 1m30s}}, REFS}}");
    let document = good(&[SERVICE, PLUGIN, gateway, &http_route("parentRefs: [{name: g}],", &rule)]);
    assert_eq!(all_scopes(&document), ["httproute.n.h.0.0"]);
    assert_eq!(document.services[0].read_timeout, 90_000);
    assert_eq!(document.routes[0].protocols, ["http"]);
}

#[test]
fn says_what_an_http_route_cannot_have() {
    let at = "documents[1].spec.rules[0]";
    for (rule, message) in [
        (
            "{matches: [{queryParams: [{name: a, value: b}]}], REFS}",
            ".matches[0].queryParams: not supported by this gateway",
        ),
        (
            "{matches: [{path: {type: Glob}}], REFS}",
            ".matches[0].path.type: expected one of: Exact, PathPrefix, RegularExpression",
        ),
        (
            "{filters: [{type: URLRewrite}], REFS}",
            ".filters[0]: filters of the type 'URLRewrite' are not supported by this gateway",
        ),
        (
            "{backendRefs: [{name: s, port: 80}, {name: s, port: 81}]}",
            ".backendRefs: several backends are not supported by this gateway: leave one",
        ),
        (
            "{backendRefs: [{name: t, port: 80}]}",
            ".backendRefs: no Service 'n/t' in the files that were given",
        ),
        (
            "{backendRefs: [{name: s, namespace: m, port: 80}]}",
            ".backendRefs: no ReferenceGrant in namespace 'm' allows the use of 's'",
        ),
        (
            "{timeouts: {backendRequest: soon}, REFS}",
            ".timeouts.backendRequest: expected a duration: 1h30m, 10s, 500ms",
        ),
    ] {
        assert_eq!(bad(&[SERVICE, &http_route("", rule)]), [format!("{at}{message}")]);
    }
}
