//! The services that rules lead to, with the routes that lead there.
//!
//! The controller gives Kong the addresses of a Service's pods, which no file knows. Here requests go to
//! the Service's name in the cluster's DNS, as the controller does it for those annotated
//! `ingress.kubernetes.io/service-upstream: "true"`.

use super::bindings::{Bindings, Scope};
use super::object::{Object, Role};
use super::store::Store;
use super::{Work, annotations};
use crate::config::records::{ROUTES, SERVICES};
use serde_json::{Map, Value};

/// A route, but for what annotations say.
pub struct RouteDraft<'a> {
    /// What it was made of.
    pub object: &'a Object,
    /// Where in the object it comes from.
    pub path: String,
    /// Its fields as a declarative file has them.
    pub value: Map<String, Value>,
    /// Plugins that filters name, and where.
    pub filters: Vec<(String, String)>,
}

/// A service, but for what annotations say.
pub struct ServiceDraft<'a> {
    /// What it was made of.
    pub object: &'a Object,
    /// Of the Ingress or route that names it.
    pub path: String,
    /// Its fields as a declarative file has them.
    pub value: Map<String, Value>,
    /// The Kubernetes Service behind it.
    pub backend: Option<&'a Object>,
    /// Those that it serves.
    pub routes: Vec<RouteDraft<'a>>,
}

/// All of them, by name, in the order of the files.
#[derive(Default)]
pub struct Services<'a> {
    drafts: Vec<(String, ServiceDraft<'a>)>,
}

/// Which port of a Service is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port<'a> {
    /// By its number.
    Number(u64),
    /// By its name.
    Name(&'a str),
}

/// A Service and where its requests go.
pub struct Backend<'a> {
    /// What was named.
    pub service: &'a Object,
    /// Its name within the cluster.
    pub host: String,
    /// Of the host.
    pub port: u64,
}

impl Backend<'_> {
    /// Says that requests go where the controller would not send them.
    pub fn note(&self, work: &mut Work<'_>) {
        if self.service.text("/spec/type") != Some("ExternalName") {
            let message = format!("requests go to {}:{} instead of to the pods", self.host, self.port);
            work.note(self.service, "", false, message);
        }
    }
}

impl<'a> Services<'a> {
    /// The service of that name, made if it is not there yet.
    pub fn entry(&mut self, name: &str, make: impl FnOnce() -> ServiceDraft<'a>) -> &mut ServiceDraft<'a> {
        let at = self.drafts.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.drafts.push((name.to_owned(), make()));
            self.drafts.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the index is that of an entry found or made just now")]
        &mut self.drafts[at].1
    }

    /// Makes the items.
    pub fn emit(self, work: &mut Work<'a>, bindings: &mut Bindings) {
        for (name, draft) in self.drafts {
            let mut value = draft.value;
            value.insert("name".to_owned(), name.as_str().into());
            if let Some(backend) = draft.backend {
                value.insert("tags".to_owned(), backend.tags().into());
                annotations::of_service(work, backend, &mut value);
                bindings.annotated(work, backend, &Scope::Service(name.clone()));
            }
            work.item(SERVICES, draft.object, &draft.path, value);
            for route in draft.routes {
                emit_route(work, bindings, route, &name);
            }
        }
    }
}

fn emit_route(work: &mut Work<'_>, bindings: &mut Bindings, route: RouteDraft<'_>, service: &str) {
    let RouteDraft { object, path, mut value, filters } = route;
    annotations::of_route(work, object, &mut value);
    value.insert("service".to_owned(), service.into());
    value.insert("tags".to_owned(), object.tags().into());
    let name = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    work.item(ROUTES, object, &path, value);
    let scope = Scope::Route(name);
    bindings.annotated(work, object, &scope);
    for (path, plugin) in filters {
        bindings.add(work, (object, &path), (&object.namespace, &plugin), &scope);
    }
}

impl<'a> Port<'a> {
    /// What a rule says of a port: `{number: 80}`, `{name: http}`.
    pub fn read(value: Option<&'a Value>) -> Option<Self> {
        let value = value?;
        let number = value.get("number").and_then(Value::as_u64).map(Self::Number);
        number.or_else(|| value.get("name").and_then(Value::as_str).map(Self::Name))
    }
}

impl std::fmt::Display for Port<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Finds a Service and the port.
pub fn backend<'a>(
    store: &'a Store,
    namespace: &str,
    name: &str,
    port: Port<'_>,
) -> Result<Backend<'a>, String> {
    let service = store
        .find(Role::Service, namespace, name)
        .ok_or_else(|| format!("no Service '{namespace}/{name}' in the files that were given"))?;
    if service.text("/spec/type") == Some("ExternalName") {
        let host = service.text("/spec/externalName").ok_or_else(|| format!("{service} names no host"))?;
        let Port::Number(port) = port else {
            return Err(format!("{service} is an ExternalName: its port needs a number"));
        };
        return Ok(Backend { service, host: host.to_owned(), port });
    }
    let meant = |entry: &&Value| match port {
        Port::Number(number) => entry.get("port").and_then(Value::as_u64) == Some(number),
        Port::Name(name) => {
            ["name", "targetPort"].iter().any(|field| entry.get(*field).and_then(Value::as_str) == Some(name))
        }
    };
    let found = service.array("/spec/ports").iter().find(meant);
    let port = found
        .and_then(|entry| entry.get("port")?.as_u64())
        .ok_or_else(|| format!("{service} has no port '{port}'"))?;
    Ok(Backend { service, host: format!("{name}.{namespace}.svc"), port })
}
