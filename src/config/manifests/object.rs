//! One Kubernetes object: what it is, what it is called, and where it was written.

use crate::config::problems::{Problem, Problems};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// What an object is to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A `KongPlugin`.
    Plugin,
    /// A `KongClusterPlugin`.
    ClusterPlugin,
    /// A `KongConsumer`.
    Consumer,
    /// A `KongConsumerGroup`.
    ConsumerGroup,
    /// An Ingress.
    Ingress,
    /// A route of the Gateway API.
    HttpRoute,
    /// Where requests go.
    Service,
    /// Keys and certificates.
    Secret,
    /// Where routes are attached.
    Gateway,
    /// Leave to refer across namespaces.
    Grant,
    /// The settings of controllers before version 3, named by `konghq.com/override`.
    Override,
}

const KONG: &str = "configuration.konghq.com";
const GATEWAY: &str = "gateway.networking.k8s.io";

const ROLES: &[(&str, &str, Role)] = &[
    (KONG, "KongPlugin", Role::Plugin),
    (KONG, "KongClusterPlugin", Role::ClusterPlugin),
    (KONG, "KongConsumer", Role::Consumer),
    (KONG, "KongConsumerGroup", Role::ConsumerGroup),
    (KONG, "KongIngress", Role::Override),
    ("networking.k8s.io", "Ingress", Role::Ingress),
    (GATEWAY, "HTTPRoute", Role::HttpRoute),
    (GATEWAY, "Gateway", Role::Gateway),
    (GATEWAY, "ReferenceGrant", Role::Grant),
    ("", "Service", Role::Service),
    ("", "Secret", Role::Secret),
];

/// Kinds of these groups say how requests go: one that is not mapped must not be passed over in silence.
const ROUTING: &[&str] = &[KONG, GATEWAY, "incubator.ingress-controller.konghq.com"];

/// Kinds of them that say nothing of single requests.
const SILENT: &[&str] = &["GatewayClass", "IngressClassParameters"];

/// The class of the objects that are ours.
const CLASS: &str = "kong";

/// An object.
pub struct Object {
    /// The place of its file among all.
    pub source: usize,
    /// That file's name.
    pub file: Arc<str>,
    /// `documents[2]`, or `documents[0].items[1]` of a list.
    pub path: String,
    /// What it is to us; none if it is nothing.
    pub role: Option<Role>,
    /// Of its API.
    pub group: String,
    /// Of its API.
    pub version: String,
    /// What the API calls it.
    pub kind: String,
    /// `default` where none is written; empty for what belongs to the whole cluster.
    pub namespace: String,
    /// Within its namespace.
    pub name: String,
    /// The whole of it.
    pub value: Map<String, Value>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joint = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} '{}{joint}{}'", self.kind, self.namespace, self.name)
    }
}

/// Reads a document: an object, or a list of some.
pub fn read(
    (source, file): (usize, &Arc<str>),
    document: Value,
    path: &str,
    objects: &mut Vec<Object>,
    list: &mut Vec<Problem>,
) {
    let mut out = Problems::of_file(Arc::clone(file), list).into_path(path);
    let Value::Object(mut value) = document else {
        if !document.is_null() {
            out.push("expected a Kubernetes object");
        }
        return;
    };
    let Some((api, kind)) = heading(&value, &mut out) else { return };
    if let Some(Value::Array(items)) = value.shift_remove("items").filter(|_| kind.ends_with("List")) {
        for (index, item) in items.into_iter().enumerate() {
            read((source, file), item, &format!("{path}.items[{index}]"), objects, list);
        }
        return;
    }
    let (group, version) = api.split_once('/').unwrap_or(("", &api));
    let role = ROLES.iter().find(|(of, name, _)| *of == group && *name == kind).map(|(_, _, role)| *role);
    if role.is_none() && ROUTING.contains(&group) && !SILENT.contains(&kind.as_str()) {
        return out.at("kind").push(format!("objects of the kind {kind} are not supported by this gateway"));
    }
    let metadata = |name: &str| value.get("metadata")?.get(name)?.as_str().map(str::to_owned);
    let Some(name) = metadata("name").filter(|name| !name.is_empty()) else {
        return out.at("metadata.name").push("required field missing");
    };
    let cluster = role == Some(Role::ClusterPlugin);
    let namespace =
        if cluster { String::new() } else { metadata("namespace").unwrap_or_else(|| "default".to_owned()) };
    let (group, version) = (group.to_owned(), version.to_owned());
    let (file, path) = (Arc::clone(file), path.to_owned());
    objects.push(Object { source, file, path, role, group, version, kind, namespace, name, value });
}

/// What says that it is an object: `apiVersion` and `kind`.
fn heading(value: &Map<String, Value>, out: &mut Problems<'_>) -> Option<(String, String)> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if let (Some(api), Some(kind)) = (text("apiVersion"), text("kind")) {
        return Some((api, kind));
    }
    out.push(if value.contains_key("_format_version") {
        "a declarative configuration goes into a file of its own: give both files with --config"
    } else {
        "expected a Kubernetes object with 'apiVersion' and 'kind'"
    });
    None
}

impl Object {
    /// The path of something in the object.
    pub fn at(&self, path: &str) -> String {
        let joint = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        format!("{}{joint}{path}", self.path)
    }

    /// The value at a JSON pointer.
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        let (first, rest) =
            pointer.trim_start_matches('/').split_once('/').unwrap_or((pointer.trim_start_matches('/'), ""));
        let value = self.value.get(first)?;
        let found = if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")) };
        found.filter(|value| !value.is_null())
    }

    /// The text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.get(pointer).and_then(Value::as_str)
    }

    /// The list at a JSON pointer; empty if there is none.
    pub fn array(&self, pointer: &str) -> &[Value] {
        self.get(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// All annotations, with their whole names.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &Value)> {
        let all = self.get("/metadata/annotations").and_then(Value::as_object);
        all.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }

    /// The annotation `konghq.com/…`.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.whole_annotation(&format!("konghq.com/{name}"))
    }

    fn whole_annotation(&self, name: &str) -> Option<&str> {
        self.get("/metadata/annotations")?.get(name)?.as_str()
    }

    /// A label, by its whole name.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.get("/metadata/labels")?.get(name)?.as_str()
    }

    /// Whether it is left to another controller. An object without a class is taken.
    pub fn is_of_another_class(&self) -> bool {
        let old = self.whole_annotation("kubernetes.io/ingress.class");
        // An annotation on a Service says nothing of who routes to it.
        let bears = matches!(
            self.role,
            Some(Role::Ingress | Role::Consumer | Role::ConsumerGroup | Role::ClusterPlugin)
        );
        bears && self.text("/spec/ingressClassName").or(old).is_some_and(|class| class != CLASS)
    }

    /// The tags that the controller gives to what it makes of the object.
    pub fn tags(&self) -> Vec<Value> {
        let own = [
            ("name", self.name.as_str()),
            ("namespace", &self.namespace),
            ("kind", &self.kind),
            ("uid", self.text("/metadata/uid").unwrap_or_default()),
            ("group", &self.group),
            ("version", &self.version),
        ];
        let own = own.into_iter().filter(|(_, value)| !value.is_empty());
        let mut tags: Vec<Value> = own.map(|(name, value)| format!("k8s-{name}:{value}").into()).collect();
        for tag in words(self.annotation("tags").unwrap_or_default()) {
            if !tags.iter().any(|other| other == tag) {
                tags.push(tag.into());
            }
        }
        tags
    }
}

/// The parts of a text between commas, without what surrounds them.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}
