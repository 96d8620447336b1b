//! All objects, found by kind and name.

use super::object::{Object, Role};
use crate::config::problems::{Problem, Problems};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// The objects of all files, in their order.
#[derive(Default)]
pub struct Store {
    /// All of them.
    pub objects: Vec<Object>,
}

/// A reference from one namespace into another, which needs a grant there.
pub struct Crossing<'a> {
    /// Where it stands.
    pub from: &'a Object,
    /// Where it leads.
    pub namespace: &'a str,
    /// Of what it names.
    pub group: &'a str,
    /// Of what it names.
    pub kind: &'a str,
    /// Of what it names.
    pub name: &'a str,
}

impl Store {
    /// Reports objects that occur twice.
    pub fn check(&self, list: &mut Vec<Problem>) {
        let mut seen = HashSet::new();
        for object in &self.objects {
            if !seen.insert((&object.group, &object.kind, &object.namespace, &object.name)) {
                Problems::of_file(Arc::clone(&object.file), list)
                    .into_path(&object.path)
                    .push(format!("{object} is declared more than once"));
            }
        }
    }

    /// The objects of a role that are ours.
    pub fn all(&self, role: Role) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.role == Some(role) && !object.is_of_another_class())
    }

    /// The object of that name.
    pub fn find(&self, role: Role, namespace: &str, name: &str) -> Option<&Object> {
        self.all(role).find(|object| object.name == name && object.namespace == namespace)
    }

    /// The plugin of that name: a `KongPlugin` of the namespace goes before a `KongClusterPlugin`.
    pub fn plugin(&self, namespace: &str, name: &str) -> Option<&Object> {
        self.find(Role::Plugin, namespace, name).or_else(|| self.find(Role::ClusterPlugin, "", name))
    }

    /// Whether a `ReferenceGrant` in the other namespace allows the reference.
    pub fn allows(&self, crossing: &Crossing<'_>) -> bool {
        crossing.namespace == crossing.from.namespace
            || self
                .all(Role::Grant)
                .filter(|grant| grant.namespace == crossing.namespace)
                .any(|grant| crossing.is_from(grant) && crossing.is_to(grant))
    }
}

impl Crossing<'_> {
    fn is_from(&self, grant: &Object) -> bool {
        grant.array("/spec/from").iter().any(|from| {
            text(from, "group") == self.from.group
                && text(from, "kind") == self.from.kind
                && text(from, "namespace") == self.from.namespace
        })
    }

    fn is_to(&self, grant: &Object) -> bool {
        grant.array("/spec/to").iter().any(|to| {
            text(to, "group") == self.group
                && text(to, "kind") == self.kind
                && ["", self.name].contains(&text(to, "name"))
        })
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
