//! Which plugins are attached to what, and the entities that come of it.

use super::Work;
use super::object::{Object, words};
use super::store::Crossing;

/// An entity that a plugin is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// By name.
    Service(String),
    /// By name.
    Route(String),
    /// By the place of the item: a consumer may have no name.
    Consumer(usize),
    /// By name.
    Group(String),
}

/// A plugin and what it is attached to, by namespace and name of the plugin.
pub struct Binding {
    /// Where it stands.
    pub namespace: String,
    /// Within the namespace.
    pub name: String,
    /// One for each place that names it.
    pub scopes: Vec<Scope>,
}

/// All of them, in the order in which plugins were first named.
#[derive(Default)]
pub struct Bindings {
    /// In that order.
    pub all: Vec<Binding>,
}

impl Bindings {
    /// Attaches the plugins that an object's `konghq.com/plugins` lists.
    pub fn annotated(&mut self, work: &mut Work<'_>, object: &Object, scope: &Scope) {
        for word in words(object.annotation("plugins").unwrap_or_default()) {
            let (namespace, name) = word.split_once(':').unwrap_or((&object.namespace, word));
            self.add(work, (object, "metadata.annotations.konghq.com/plugins"), (namespace, name), scope);
        }
    }

    /// Attaches one plugin that an object names at a path.
    pub fn add(
        &mut self,
        work: &mut Work<'_>,
        (object, path): (&Object, &str),
        (namespace, name): (&str, &str),
        scope: &Scope,
    ) {
        if work.store.plugin(namespace, name).is_none() {
            let message = format!("no KongPlugin '{namespace}/{name}' and no KongClusterPlugin '{name}'");
            return work.problem(object, path, message + " in the files that were given");
        }
        let group = "configuration.konghq.com";
        let crossing = Crossing { from: object, namespace, group, kind: "KongPlugin", name };
        if !work.store.allows(&crossing) {
            let message = format!("no ReferenceGrant in namespace '{namespace}' allows the use of '{name}'");
            return work.problem(object, path, message);
        }
        let same = |binding: &&mut Binding| binding.namespace == namespace && binding.name == name;
        match self.all.iter_mut().find(same) {
            Some(binding) if binding.scopes.contains(scope) => {}
            Some(binding) => binding.scopes.push(scope.clone()),
            None => self.all.push(Binding {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                scopes: vec![scope.clone()],
            }),
        }
    }
}

impl Binding {
    /// One list of scopes for each entity: a plugin of consumers and of routes is one for each pair.
    pub fn combinations(&self) -> Vec<Vec<&Scope>> {
        let callers = |scope: &&Scope| matches!(scope, Scope::Consumer(_) | Scope::Group(_));
        let (callers, places): (Vec<&Scope>, Vec<&Scope>) = self.scopes.iter().partition(callers);
        // KONG(kubernetes-ingress-controller internal/util/rels/relations.go): groups of a plugin that
        // consumers have, too, are dropped there. Here each of them counts.
        match (callers.as_slice(), places.as_slice()) {
            ([], places) => places.iter().map(|place| vec![*place]).collect(),
            (callers, []) => callers.iter().map(|caller| vec![*caller]).collect(),
            (callers, places) => {
                let pairs =
                    callers.iter().flat_map(|caller| places.iter().map(|place| vec![*place, *caller]));
                pairs.collect()
            }
        }
    }
}
