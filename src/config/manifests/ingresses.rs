//! Ingresses: one route for each host and backend, with all their paths.

use super::object::{Object, Role};
use super::services::{Backend, Port, RouteDraft, ServiceDraft, Services, backend};
use super::{Work, annotations, map};
use serde_json::{Value, json};

/// Makes the routes and services of all Ingresses.
pub fn translate<'a>(work: &mut Work<'a>, services: &mut Services<'a>) {
    let store = work.store;
    for service in store.all(Role::Service) {
        annotations::check(work, service);
    }
    for ingress in store.all(Role::Ingress) {
        annotations::check(work, ingress);
        if ingress.get("/spec/tls").is_some() {
            work.note(
                ingress,
                "spec.tls",
                true,
                "not supported by this gateway: give the certificate in a declarative file",
            );
        }
        for (index, rule) in ingress.array("/spec/rules").iter().enumerate() {
            self::rule(work, services, ingress, (index, rule));
        }
    }
    // KONG(kubernetes-ingress-controller internal/dataplane/translator/translate_ingress.go): of several
    // the oldest counts; files have no age, so that the first one does.
    let mut defaults = store.all(Role::Ingress).filter(|one| one.get("/spec/defaultBackend").is_some());
    if let Some(first) = defaults.next() {
        default_backend(work, services, first);
    }
    for other in defaults {
        work.problem(other, "spec.defaultBackend", "only one Ingress may have a default backend");
    }
}

/// A rule of an Ingress and its path there.
struct Rule<'a> {
    ingress: &'a Object,
    path: String,
    host: &'a str,
}

fn rule<'a>(
    work: &mut Work<'a>,
    services: &mut Services<'a>,
    ingress: &'a Object,
    (at, value): (usize, &'a Value),
) {
    let host = value.get("host").and_then(Value::as_str).unwrap_or_default();
    let rule = Rule { ingress, path: format!("spec.rules[{at}]"), host };
    let paths = value.pointer("/http/paths").and_then(Value::as_array);
    for (index, entry) in paths.into_iter().flatten().enumerate() {
        let path = format!("{}.http.paths[{index}]", rule.path);
        if let Err((field, message)) = add_path(work, services, &rule, (&path, entry)) {
            work.problem(ingress, &format!("{path}.{field}"), message);
        }
    }
}

/// Adds a path to the route of its host and backend; an error names its field.
fn add_path<'a>(
    work: &mut Work<'a>,
    services: &mut Services<'a>,
    rule: &Rule<'a>,
    (path, entry): (&str, &'a Value),
) -> Result<(), (&'static str, String)> {
    let Rule { ingress, host, .. } = rule;
    let paths = paths_of(ingress, entry).map_err(|message| ("pathType", message))?;
    let led = leads_to(work, ingress, entry.get("backend"));
    let (found, port) = led.map_err(|message| ("backend", message))?;
    // A `*` may not stand in a name.
    let host_name = host.replace('*', "_");
    let name = format!("{}.{}.{}.{host_name}.{port}", ingress.namespace, ingress.name, found.service.name);
    let service = service_of(services, ingress, (path, &port.to_string()), &found, true);
    let known = service.routes.iter_mut().find(|route| route.value.get("name") == Some(&json!(name)));
    if let Some(list) = known.and_then(|route| route.value.get_mut("paths")?.as_array_mut()) {
        list.extend(paths);
        return Ok(());
    }
    let value = map([
        ("name", name.into()),
        ("hosts", if host.is_empty() { Value::Null } else { json!([host]) }),
        ("paths", paths.into()),
        ("strip_path", false.into()),
        ("preserve_host", true.into()),
    ]);
    service.routes.push(RouteDraft { object: ingress, path: rule.path.clone(), value, filters: Vec::new() });
    Ok(())
}

fn default_backend<'a>(work: &mut Work<'a>, services: &mut Services<'a>, ingress: &'a Object) {
    let path = "spec.defaultBackend";
    match leads_to(work, ingress, ingress.get("/spec/defaultBackend")) {
        Ok((found, port)) => {
            let value = map([
                ("name", format!("{}.{}", ingress.namespace, ingress.name).into()),
                ("paths", json!(["/"])),
                ("strip_path", false.into()),
                ("preserve_host", true.into()),
            ]);
            let service = service_of(services, ingress, (path, &port.to_string()), &found, false);
            service.routes.push(RouteDraft {
                object: ingress,
                path: path.to_owned(),
                value,
                filters: Vec::new(),
            });
        }
        Err(message) => work.problem(ingress, path, message),
    }
}

fn leads_to<'a>(
    work: &mut Work<'a>,
    ingress: &Object,
    entry: Option<&'a Value>,
) -> Result<(Backend<'a>, Port<'a>), String> {
    let service = entry.and_then(|entry| entry.get("service")).ok_or("only a Service may be the backend")?;
    let name = service.get("name").and_then(Value::as_str).ok_or("the backend names no Service")?;
    let port = Port::read(service.get("port")).ok_or("the backend says no port: give its number or name")?;
    let found = backend(work.store, &ingress.namespace, name, port)?;
    found.note(work);
    Ok((found, port))
}

fn service_of<'s, 'a>(
    services: &'s mut Services<'a>,
    ingress: &'a Object,
    (path, port): (&str, &str),
    found: &Backend<'a>,
    root: bool,
) -> &'s mut ServiceDraft<'a> {
    let name = format!("{}.{}.{port}", ingress.namespace, found.service.name);
    services.entry(&name, || ServiceDraft {
        object: ingress,
        path: path.to_owned(),
        value: map([
            ("host", found.host.as_str().into()),
            ("port", found.port.into()),
            ("path", if root { "/".into() } else { Value::Null }),
        ]),
        backend: Some(found.service),
        routes: Vec::new(),
    })
}

/// What Kong's router matches for a path of an Ingress.
fn paths_of(ingress: &Object, entry: &Value) -> Result<Vec<Value>, String> {
    let written = flat(entry.get("path").and_then(Value::as_str).unwrap_or_default());
    let kind = entry.get("pathType").and_then(Value::as_str).unwrap_or("ImplementationSpecific");
    let prefix = ingress.annotation("regex-prefix").unwrap_or("/~");
    // What the prefix marks is a regular expression, whatever the type says.
    if let Some(pattern) = written.strip_prefix(prefix).filter(|_| !prefix.is_empty()) {
        let slash = if pattern.starts_with('/') { "" } else { "/" };
        return Ok(vec![format!("~{slash}{pattern}").into()]);
    }
    let paths = match kind {
        "Prefix" => match written.trim_matches('/') {
            "" => vec!["/".to_owned()],
            base => vec![format!("/{base}/"), exactly(&format!("/{base}"))],
        },
        "Exact" => vec![exactly(&format!("/{}", written.trim_start_matches('/')))],
        "ImplementationSpecific" => vec![written],
        _ => return Err("expected one of: Exact, Prefix, ImplementationSpecific".to_owned()),
    };
    Ok(paths.into_iter().map(Value::from).collect())
}

/// The pattern of a path and nothing else.
///
/// KONG(kubernetes-ingress-controller internal/dataplane/translator/subtranslator/ingress.go): does not
/// escape, so that the dot of `/v1.0` stands for any character.
pub fn exactly(path: &str) -> String {
    let mut pattern = String::from("~");
    for c in path.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "$"
}

/// A path without repeated slashes; `/` if it is empty.
fn flat(path: &str) -> String {
    let mut flat = String::new();
    for c in path.chars() {
        if c != '/' || !flat.ends_with('/') {
            flat.push(c);
        }
    }
    if flat.is_empty() { "/".to_owned() } else { flat }
}
