//! What annotations say of routes and services: `konghq.com/strip-path: "true"` and the like.
//!
//! KONG(kubernetes-ingress-controller internal/dataplane/kongstate/route.go): a value that cannot be read
//! is passed over there, and so is a name that nobody knows. Here both are problems.

use super::Work;
use super::object::{Object, Role, words};
use serde_json::{Map, Value, json};

const PREFIX: &str = "konghq.com/";

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    Flag,
    Integer,
    Text,
    Words,
    /// Words in capitals.
    Capitals,
}

/// What a name says of a kind of entity.
struct Setting(&'static str, &'static str, Form);

const ROUTE: &[Setting] = &[
    Setting("strip-path", "strip_path", Form::Flag),
    Setting("preserve-host", "preserve_host", Form::Flag),
    Setting("request-buffering", "request_buffering", Form::Flag),
    Setting("response-buffering", "response_buffering", Form::Flag),
    Setting("https-redirect-status-code", "https_redirect_status_code", Form::Integer),
    Setting("regex-priority", "regex_priority", Form::Integer),
    Setting("path-handling", "path_handling", Form::Text),
    Setting("methods", "methods", Form::Capitals),
    Setting("protocols", "protocols", Form::Words),
    Setting("snis", "snis", Form::Words),
];

const SERVICE: &[Setting] = &[
    Setting("protocol", "protocol", Form::Text),
    Setting("path", "path", Form::Text),
    Setting("connect-timeout", "connect_timeout", Form::Integer),
    Setting("read-timeout", "read_timeout", Form::Integer),
    Setting("write-timeout", "write_timeout", Form::Integer),
    Setting("retries", "retries", Form::Integer),
    Setting("tls-verify", "tls_verify", Form::Flag),
    Setting("tls-verify-depth", "tls_verify_depth", Form::Integer),
];

/// Names with a meaning of their own.
const ELSEWHERE: &[&str] = &["plugins", "tags", "override"];
const ROUTE_ELSEWHERE: &[&str] = &["host-aliases", "regex-prefix", "headers-separator"];

/// Names that the controller knows and this gateway has nothing for.
const UNSUPPORTED: &[&str] = &[
    "rewrite",
    "client-cert",
    "ca-certificates-secrets",
    "ca-certificates-configmaps",
    "host-header",
    "upstream-policy",
];

/// Writes into a route what its object's annotations say.
pub fn of_route(work: &mut Work<'_>, object: &Object, route: &mut Map<String, Value>) {
    overridden(work, object, "route", ROUTE, route);
    if let Some(headers) = overriding(work, object).and_then(|settings| settings.get("/route/headers")) {
        route.insert("headers".to_owned(), headers.clone());
    }
    if object.get("/metadata/annotations").and_then(|all| all.get("ingress.kubernetes.io/force-ssl-redirect"))
        == Some(&json!("true"))
    {
        route.insert("https_redirect_status_code".to_owned(), 302.into());
        route.insert("protocols".to_owned(), json!(["https"]));
    }
    apply(work, object, ROUTE, route);
    let aliases: Vec<&str> = words(object.annotation("host-aliases").unwrap_or_default()).collect();
    if !aliases.is_empty()
        && let Some(hosts) = route.entry("hosts").or_insert_with(|| json!([])).as_array_mut()
    {
        for alias in aliases {
            if !hosts.iter().any(|host| host == alias) {
                hosts.push(alias.into());
            }
        }
    }
    let headers = headers(object);
    if !headers.is_empty() {
        route.insert("headers".to_owned(), headers.into());
    }
}

/// Writes into a service what the annotations of a Kubernetes Service say.
pub fn of_service(work: &mut Work<'_>, object: &Object, service: &mut Map<String, Value>) {
    overridden(work, object, "proxy", SERVICE, service);
    apply(work, object, SERVICE, service);
}

/// Reports annotations of ours that have no meaning on such an object.
pub fn check(work: &mut Work<'_>, object: &Object) {
    let settings = match object.role {
        Some(Role::Ingress | Role::HttpRoute) => ROUTE,
        Some(Role::Service) => SERVICE,
        _ => &[],
    };
    let routes = matches!(object.role, Some(Role::Ingress | Role::HttpRoute));
    for (whole, value) in object.annotations() {
        let Some(name) = whole.strip_prefix(PREFIX) else { continue };
        let path = format!("metadata.annotations.{whole}");
        let known = ELSEWHERE.contains(&name)
            || settings.iter().any(|setting| setting.0 == name)
            || (routes && (ROUTE_ELSEWHERE.contains(&name) || name.starts_with("headers.")));
        if UNSUPPORTED.contains(&name) {
            work.problem(object, &path, "not supported by this gateway");
        } else if !known {
            work.problem(object, &path, format!("no such annotation for {}", object.kind));
        } else if !value.is_string() {
            work.problem(object, &path, "expected a string: put the value into quotes");
        }
    }
}

fn apply(work: &mut Work<'_>, object: &Object, settings: &[Setting], entity: &mut Map<String, Value>) {
    for Setting(name, field, form) in settings {
        let Some(text) = object.annotation(name) else { continue };
        match parse(*form, text.trim()) {
            Ok(value) => drop(entity.insert((*field).to_owned(), value)),
            Err(message) => {
                work.problem(object, &format!("metadata.annotations.{PREFIX}{name}"), message);
            }
        }
    }
}

fn parse(form: Form, text: &str) -> Result<Value, &'static str> {
    match form {
        Form::Flag => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err("expected \"true\" or \"false\""),
        },
        Form::Integer => text.parse::<i64>().map(Value::from).map_err(|_| "expected an integer, in quotes"),
        Form::Text => Ok(text.into()),
        Form::Words => Ok(words(text).collect()),
        Form::Capitals => Ok(words(text).map(str::to_ascii_uppercase).collect()),
    }
}

/// `konghq.com/headers.x-team: a,b`
fn headers(object: &Object) -> Map<String, Value> {
    let separator = object.annotation("headers-separator").unwrap_or(",");
    let mut headers = Map::new();
    for (name, value) in object.annotations() {
        let name = name.strip_prefix("konghq.com/headers.").filter(|name| !name.is_empty());
        if let (Some(name), Some(text)) = (name, value.as_str().filter(|text| !text.is_empty())) {
            headers.insert(name.to_owned(), text.split(separator).map(str::trim).collect());
        }
    }
    headers
}

/// The `KongIngress` that an object names.
fn overriding<'a>(work: &Work<'a>, object: &Object) -> Option<&'a Object> {
    work.store.find(Role::Override, &object.namespace, object.annotation("override")?)
}

/// Writes what a `KongIngress` says in one of its parts; annotations come after it and win.
fn overridden(
    work: &mut Work<'_>,
    object: &Object,
    part: &str,
    settings: &[Setting],
    entity: &mut Map<String, Value>,
) {
    let Some(name) = object.annotation("override") else { return };
    let path = format!("metadata.annotations.{PREFIX}override");
    let Some(found) = overriding(work, object) else {
        let message = format!("no KongIngress '{}/{name}' in the files that were given", object.namespace);
        return work.problem(object, &path, message);
    };
    if found.get("/upstream").is_some() {
        work.problem(found, "upstream", "not supported by this gateway");
    }
    let Some(fields) = found.get(&format!("/{part}")).and_then(Value::as_object) else { return };
    for (field, value) in fields {
        if settings.iter().any(|setting| setting.1 == field) {
            entity.insert(field.clone(), value.clone());
        } else if field != "headers" || part != "route" {
            work.problem(found, &format!("{part}.{field}"), "unknown field");
        }
    }
}
