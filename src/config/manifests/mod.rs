//! Kubernetes objects as a configuration: each is mapped as Kong's ingress controller maps it, to items
//! that then go the same way as those of a declarative file.
//!
//! Objects of all files are seen together, so that a Secret may stand apart from what reads it. What the
//! controller would drop with a line in its log is a problem here: a file that loads is served whole.

mod annotations;
mod bindings;
mod consumers;
mod http_routes;
mod ingresses;
mod object;
mod plugins;
mod secrets;
mod services;
mod store;

use super::items::Item;
use super::problems::{Problem, Problems};
use super::records::{self, Collection};
use bindings::Bindings;
use object::Object;
use serde_json::{Map, Value};
use services::Services;
use std::fmt;
use std::sync::Arc;
use store::Store;
use uuid::Uuid;

/// The objects of all files.
#[derive(Default)]
pub struct Manifests {
    store: Store,
    /// Texts that came out of Secrets.
    hidden: Vec<String>,
}

/// Something that was mapped, but not to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub file: Arc<str>,
    /// `documents[2].spec.tls`
    pub path: String,
    /// Whether it has no effect at all.
    pub dropped: bool,
    /// What was done instead.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file, self.path, self.message)
    }
}

impl Manifests {
    /// Adds the objects of a file.
    pub fn add(&mut self, (at, file): (usize, &Arc<str>), documents: Vec<Value>, list: &mut Vec<Problem>) {
        for (index, document) in documents.into_iter().enumerate() {
            object::read((at, file), document, &format!("documents[{index}]"), &mut self.store.objects, list);
        }
    }

    /// Makes items of all objects; they refer to each other, and to those of declarative files, by name.
    pub fn translate(&mut self, items: &mut Vec<Item>, list: &mut Vec<Problem>) -> Vec<Note> {
        self.store.check(list);
        let mut work = Work { store: &self.store, items, list, notes: Vec::new(), hidden: Vec::new() };
        let mut bindings = Bindings::default();
        let mut services = Services::default();
        work.note_foreign();
        consumers::translate(&mut work, &mut bindings);
        ingresses::translate(&mut work, &mut services);
        http_routes::translate(&mut work, &mut services);
        services.emit(&mut work, &mut bindings);
        plugins::translate(&mut work, &bindings);
        self.hidden = work.hidden;
        work.notes
    }

    /// Takes what came out of Secrets out of messages that quote it.
    pub fn redact(&self, list: &mut [Problem]) {
        for problem in list {
            for text in &self.hidden {
                if problem.message.contains(text) {
                    problem.message = problem.message.replace(text, "***");
                }
            }
        }
    }
}

/// What the mappings share: what there is, and where results go.
struct Work<'a> {
    store: &'a Store,
    items: &'a mut Vec<Item>,
    list: &'a mut Vec<Problem>,
    notes: Vec<Note>,
    hidden: Vec<String>,
}

impl Work<'_> {
    /// Notes a problem of an object at a path below it.
    fn problem(&mut self, object: &Object, path: &str, message: impl Into<String>) {
        let path = object.at(path);
        Problems::of_file(Arc::clone(&object.file), self.list).into_path(&path).push(message);
    }

    fn note(&mut self, object: &Object, path: &str, dropped: bool, message: impl Into<String>) {
        let note =
            Note { file: Arc::clone(&object.file), path: object.at(path), dropped, message: message.into() };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Adds an entity that an object's path stands for; returns its place.
    fn item(
        &mut self,
        collection: &'static str,
        object: &Object,
        path: &str,
        value: Map<String, Value>,
    ) -> Option<usize> {
        let collection: &'static Collection = records::find(collection)?;
        self.items.push(Item {
            collection,
            source: object.source,
            file: Arc::clone(&object.file),
            path: object.at(path),
            value,
            parent: None,
            id: Uuid::nil(),
            refers: Vec::new(),
            members: Vec::new(),
        });
        Some(self.items.len() - 1)
    }

    /// Objects that say nothing to a gateway.
    fn note_foreign(&mut self) {
        let store = self.store;
        for object in &store.objects {
            if object.is_of_another_class() {
                self.note(object, "", true, format!("{object} is of another ingress class"));
            } else if object.role.is_none() {
                self.note(object, "", true, format!("{object} configures no gateway"));
            }
        }
    }
}

/// A map of these fields, without those that have no value.
fn map<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests;
