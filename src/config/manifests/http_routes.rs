//! `HTTPRoute`s of the Gateway API: rules of the same backends share a service, and matches that differ in
//! their paths only share a route.

use super::object::{Object, Role};
use super::services::{Backend, Port, RouteDraft, ServiceDraft, Services, backend};
use super::store::Crossing;
use super::{Work, annotations, ingresses::exactly, map};
use serde_json::{Map, Value, json};

/// A rule and its place.
type Rule<'a> = (usize, &'a Value);

/// Makes the routes and services of all `HTTPRoute`s.
pub fn translate<'a>(work: &mut Work<'a>, services: &mut Services<'a>) {
    let store = work.store;
    for route in store.all(Role::HttpRoute) {
        annotations::check(work, route);
        let rules: Vec<Rule<'a>> = route.array("/spec/rules").iter().enumerate().collect();
        if rules.is_empty() {
            work.problem(route, "spec.rules", "an HTTPRoute needs a rule");
        }
        for group in grouped(&rules, |(_, rule)| key(rule.get("backendRefs"))) {
            service_of(work, services, route, &group);
        }
    }
}

/// Groups in the order of their first members.
fn grouped<T: Copy>(all: &[T], key: impl Fn(&T) -> String) -> Vec<Vec<T>> {
    let mut groups: Vec<(String, Vec<T>)> = Vec::new();
    for one in all {
        let key = key(one);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(*one),
            None => groups.push((key, vec![*one])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// What tells lists apart, whatever their order.
fn key(list: Option<&Value>) -> String {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    let mut texts: Vec<String> = items.map(ToString::to_string).collect();
    texts.sort();
    texts.join(";")
}

fn service_of<'a>(work: &mut Work<'a>, services: &mut Services<'a>, route: &'a Object, rules: &[Rule<'a>]) {
    let Some((first, rule)) = rules.first().copied() else { return };
    let name = format!("httproute.{}.{}.{first}", route.namespace, route.name);
    let path = format!("spec.rules[{first}]");
    let mut value = map([("host", name.as_str().into())]);
    let mut found = None;
    match backend_of(work, route, (&path, rule)) {
        Ok(Some(backend)) => {
            backend.note(work);
            found = Some(backend.service);
            value = map([("host", backend.host.into()), ("port", backend.port.into())]);
        }
        Ok(None) => {}
        Err((path, message)) => return work.problem(route, &path, message),
    }
    timeouts(work, route, rules, &mut value);
    let mut routes = Vec::new();
    for group in grouped(rules, |(_, rule)| key(rule.get("filters"))) {
        routes_of(work, route, &group, &mut routes);
    }
    services.entry(&name, || ServiceDraft { object: route, path, value, backend: found, routes });
}

/// The backend of a rule, or the path and the text of a problem.
fn backend_of<'a>(
    work: &Work<'a>,
    route: &Object,
    (path, rule): (&str, &Value),
) -> Result<Option<Backend<'a>>, (String, String)> {
    let list = rule.get("backendRefs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let used = |entry: &&Value| entry.get("weight").and_then(Value::as_u64) != Some(0);
    let path = format!("{path}.backendRefs");
    let refs: Vec<&Value> = list.iter().filter(used).collect();
    let entry = match refs.as_slice() {
        [] => return Ok(None),
        [only] => only,
        _ => return Err((path, "several backends are not supported by this gateway: leave one".to_owned())),
    };
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if text("kind").unwrap_or("Service") != "Service" || !text("group").unwrap_or_default().is_empty() {
        return Err((path, "only a Service may be the backend".to_owned()));
    }
    if entry.get("filters").and_then(Value::as_array).is_some_and(|filters| !filters.is_empty()) {
        return Err((path, "filters of backends are not supported by this gateway".to_owned()));
    }
    let namespace = text("namespace").unwrap_or(&route.namespace);
    let name = text("name").unwrap_or_default();
    if !work.store.allows(&Crossing { from: route, namespace, group: "", kind: "Service", name }) {
        let message = format!("no ReferenceGrant in namespace '{namespace}' allows the use of '{name}'");
        return Err((path, message));
    }
    let Some(port) = entry.get("port").and_then(Value::as_u64).map(Port::Number) else {
        return Err((path, "the backend says no port: give its number".to_owned()));
    };
    backend(work.store, namespace, name, port).map(Some).map_err(|message| (path, message))
}

/// The last timeout of a rule is that of the service.
fn timeouts(work: &mut Work<'_>, route: &Object, rules: &[Rule<'_>], service: &mut Map<String, Value>) {
    for (index, rule) in rules {
        let path = format!("spec.rules[{index}].timeouts");
        if rule.pointer("/timeouts/request").is_some() {
            work.note(route, &format!("{path}.request"), true, "only backendRequest has an effect");
        }
        let Some(text) = rule.pointer("/timeouts/backendRequest").and_then(Value::as_str) else { continue };
        match milliseconds(text) {
            Some(time) => {
                for field in ["connect_timeout", "read_timeout", "write_timeout"] {
                    service.insert(field.to_owned(), time.into());
                }
            }
            None => work.problem(
                route,
                &format!("{path}.backendRequest"),
                "expected a duration: 1h30m, 10s, 500ms",
            ),
        }
    }
}

/// `1h30m`, `10s`, `500ms`
fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

/// A match, its rule and its place there.
type Match<'a> = (usize, usize, &'a Value);

fn routes_of<'a>(
    work: &mut Work<'a>,
    route: &'a Object,
    rules: &[Rule<'a>],
    routes: &mut Vec<RouteDraft<'a>>,
) {
    // What an API server fills in where a rule says no match.
    static ANY: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({}));
    let mut matches: Vec<Match<'a>> = Vec::new();
    for (index, rule) in rules {
        match rule.get("matches").and_then(Value::as_array).filter(|list| !list.is_empty()) {
            Some(list) => matches.extend(list.iter().enumerate().map(|(at, one)| (*index, at, one))),
            None => matches.push((*index, 0, &ANY)),
        }
    }
    let Some((first, rule)) = rules.first() else { return };
    let filters = filters(work, route, (*first, rule));
    for group in grouped(&matches, |(_, _, one)| match_key(one)) {
        let Some((rule, at, one)) = group.first().copied() else { continue };
        let path = format!("spec.rules[{rule}]");
        if let Some(value) = route_of(work, route, (&format!("{path}.matches[{at}]"), one), &group) {
            routes.push(RouteDraft { object: route, path, value, filters: filters.clone() });
        }
    }
}

/// Method and headers: what matches of one route have in common.
fn match_key(one: &Value) -> String {
    let mut headers: Vec<String> =
        headers_of(one).map(|(name, value)| format!("{}={value}", name.to_ascii_lowercase())).collect();
    headers.sort();
    format!("{:?} {headers:?} {}", one.get("method"), key(one.get("queryParams")))
}

/// Names and values as Kong writes them; a value that cannot be written is empty.
fn headers_of(one: &Value) -> impl Iterator<Item = (&str, String)> {
    one.get("headers").and_then(Value::as_array).into_iter().flatten().map(|header| {
        let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default();
        let mark = if text("type") == "RegularExpression" { "~*" } else { "" };
        (text("name"), format!("{mark}{}", text("value")))
    })
}

fn route_of(
    work: &mut Work<'_>,
    route: &Object,
    (path, first): (&str, &Value),
    group: &[Match<'_>],
) -> Option<Map<String, Value>> {
    if first.get("queryParams").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
        work.problem(route, &format!("{path}.queryParams"), "not supported by this gateway");
    }
    let mut paths: Vec<Value> = Vec::new();
    for (rule, at, one) in group {
        match paths_of(one) {
            Ok(made) => paths.extend(made.into_iter().map(Value::from)),
            Err(message) => {
                work.problem(route, &format!("spec.rules[{rule}].matches[{at}].path.type"), message);
            }
        }
    }
    if paths.is_empty() {
        return None;
    }
    let mut headers = Map::new();
    for (name, value) in headers_of(first) {
        if headers.insert(name.to_owned(), json!([value])).is_some() {
            work.problem(route, &format!("{path}.headers"), format!("'{name}' occurs more than once"));
        }
    }
    let (rule, at, _) = group.first()?;
    let list = |value: Option<&Value>| value.map_or(Value::Null, |value| json!([value]));
    Some(map([
        ("name", format!("httproute.{}.{}.{rule}.{at}", route.namespace, route.name).into()),
        ("hosts", route.get("/spec/hostnames").cloned().unwrap_or_default()),
        ("methods", list(first.get("method"))),
        ("paths", paths.into()),
        ("headers", if headers.is_empty() { Value::Null } else { headers.into() }),
        ("protocols", protocols(work, route)),
        ("strip_path", false.into()),
        ("preserve_host", true.into()),
    ]))
}

fn paths_of(one: &Value) -> Result<Vec<String>, &'static str> {
    let text = |name: &str| one.pointer(&format!("/path/{name}")).and_then(Value::as_str);
    let value = text("value").unwrap_or("/");
    match text("type").unwrap_or("PathPrefix") {
        "Exact" => Ok(vec![exactly(value)]),
        "PathPrefix" if value.ends_with('/') => Ok(vec![exactly(value), value.to_owned()]),
        "PathPrefix" => Ok(vec![exactly(value), format!("{value}/")]),
        "RegularExpression" => Ok(vec![format!("~{value}")]),
        _ => Err("expected one of: Exact, PathPrefix, RegularExpression"),
    }
}

/// The plugins that filters name, with the path of each.
fn filters(work: &mut Work<'_>, route: &Object, (index, rule): Rule<'_>) -> Vec<(String, String)> {
    let mut names = Vec::new();
    let filters = rule.get("filters").and_then(Value::as_array);
    for (at, filter) in filters.into_iter().flatten().enumerate() {
        let path = format!("spec.rules[{index}].filters[{at}]");
        let text = |pointer: &str| filter.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text("/type") != "ExtensionRef" {
            let message =
                format!("filters of the type '{}' are not supported by this gateway", text("/type"));
            work.problem(route, &path, message);
        } else if text("/extensionRef/group") != "configuration.konghq.com"
            || text("/extensionRef/kind") != "KongPlugin"
        {
            work.problem(route, &path, "expected a KongPlugin of the group configuration.konghq.com");
        } else {
            names.push((path, text("/extensionRef/name").to_owned()));
        }
    }
    names
}

/// What the listeners of the route's Gateways speak; null, which is both, without such a Gateway.
fn protocols(work: &Work<'_>, route: &Object) -> Value {
    let mut found = Vec::new();
    for parent in route.array("/spec/parentRefs") {
        let text = |name: &str| parent.get(name).and_then(Value::as_str);
        let namespace = text("namespace").unwrap_or(&route.namespace);
        let Some(gateway) = work.store.find(Role::Gateway, namespace, text("name").unwrap_or_default())
        else {
            continue;
        };
        for listener in gateway.array("/spec/listeners") {
            let of = |name: &str| listener.get(name).and_then(Value::as_str);
            if text("sectionName").is_none_or(|section| of("name") == Some(section)) {
                found.extend(match of("protocol") {
                    Some("HTTP") => Some("http"),
                    Some("HTTPS") => Some("https"),
                    _ => None,
                });
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { Value::Null } else { json!(found) }
}
