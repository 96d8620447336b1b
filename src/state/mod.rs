//! The configuration as entities: what the Admin API shows and changes.
//!
//! Every entity is complete: checked, its defaults filled, what it refers to held by id. A `State` never
//! changes once it is in force; a change makes another one (`control`), which is kept by a store
//! (`store`) before anybody sees it.

pub mod control;
pub mod directory;
pub mod redis;
pub mod store;

use crate::config::items::Item;
use crate::config::records::{COLLECTIONS, CONSUMERS, GROUPS};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use uuid::Uuid;

/// The fields of one entity.
pub type Fields = Map<String, Value>;

/// The field of a consumer that lists its groups; it stands in no schema and in no reply.
pub const MEMBERSHIPS: &str = "groups";

/// All entities, by collection and id.
#[derive(Clone, Default)]
pub struct State {
    entities: BTreeMap<&'static str, BTreeMap<Uuid, Arc<Fields>>>,
    /// Of the text that it was read from, if it was.
    hash: Option<String>,
}

impl State {
    /// The entities of checked items.
    pub fn of(items: &[Item]) -> Self {
        let mut state = Self::default();
        let now = now();
        for item in items {
            let mut fields = item.value.clone();
            fields.insert("id".to_owned(), item.id.to_string().into());
            for stamp in ["created_at", "updated_at"] {
                fields.entry(stamp).or_insert_with(|| now.into());
            }
            state.insert(item.collection.name, item.id, fields);
        }
        state.join_groups(items);
        state
    }

    /// The same, known by the text that it was read from.
    #[must_use]
    pub fn read_from(mut self, text: &str) -> Self {
        self.hash = Some(hash(text));
        self
    }

    /// The entities of a collection, in the order of their ids.
    pub fn all(&self, collection: &str) -> impl Iterator<Item = (&Uuid, &Arc<Fields>)> {
        self.entities.get(collection).into_iter().flatten()
    }

    /// An entity by its id.
    pub fn get(&self, collection: &str, id: Uuid) -> Option<&Arc<Fields>> {
        self.entities.get(collection)?.get(&id)
    }

    /// The first entity that has this text in that field.
    pub fn find(&self, collection: &str, field: &str, text: &str) -> Option<(&Uuid, &Arc<Fields>)> {
        self.all(collection).find(|(_, fields)| self::text(fields, field) == Some(text))
    }

    /// Adds an entity, or replaces the one of that id.
    pub fn insert(&mut self, collection: &'static str, id: Uuid, fields: Fields) {
        self.hash = None;
        self.entities.entry(collection).or_default().insert(id, Arc::new(fields));
    }

    /// Takes an entity out.
    pub fn remove(&mut self, collection: &'static str, id: Uuid) {
        self.hash = None;
        if let Some(entities) = self.entities.get_mut(collection) {
            entities.remove(&id);
        }
    }

    /// The whole as a declarative configuration: flat, complete, every entity with its id.
    pub fn tree(&self) -> Fields {
        let mut root = Fields::new();
        root.insert("_format_version".to_owned(), "3.0".into());
        for collection in COLLECTIONS {
            let entities: Vec<Value> =
                self.all(collection.name).map(|(_, fields)| Value::Object((**fields).clone())).collect();
            if !entities.is_empty() {
                root.insert(collection.name.to_owned(), entities.into());
            }
        }
        root
    }

    /// 32 hexadecimal digits that change with the configuration.
    pub fn hash(&self) -> String {
        self.hash.clone().unwrap_or_else(|| hash(&Value::Object(self.tree()).to_string()))
    }

    /// Memberships, on whichever side they were written, become fields of the consumers.
    fn join_groups(&mut self, items: &[Item]) {
        let id_of = |at: Option<usize>| at.and_then(|at| items.get(at)).map(|item| item.id);
        let mut pairs: Vec<(Uuid, Uuid)> = Vec::new();
        for item in items {
            for other in item.members.iter().filter_map(|member| id_of(member.item)) {
                match item.collection.name {
                    CONSUMERS => pairs.push((item.id, other)),
                    GROUPS => pairs.push((other, item.id)),
                    _ => {}
                }
            }
        }
        for (consumer, group) in pairs {
            if let Some(known) = self.get(CONSUMERS, consumer) {
                let mut fields = (**known).clone();
                let group = Value::from(group.to_string());
                if let Some(list) =
                    fields.entry(MEMBERSHIPS).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()
                    && !list.contains(&group)
                {
                    list.push(group);
                }
                self.insert(CONSUMERS, consumer, fields);
            }
        }
    }
}

/// One of an entity's texts.
pub fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// 32 hexadecimal digits of a text.
pub fn hash(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{check, check_tree, sources};

    fn read(text: &str) -> State {
        State::of(&check(&sources(&[("f".to_owned(), text.to_owned())])).unwrap_or_default())
    }

    #[test]
    fn what_it_writes_is_what_it_reads() {
        let state = read(
            "_format_version: '3.0'\n\
             services: [{name: s, url: 'http://h:1/p', routes: [{name: r, paths: [/r], plugins: [{name: key-auth}]}]}]\n\
             consumer_groups: [{name: gold, consumers: [{username: bob}]}, {name: iron}]\n\
             consumers: [{username: bob, keyauth_credentials: [{key: k}], groups: [{name: iron}]}]\n",
        );
        assert_eq!(state.all("plugins").count(), 1);
        let (_, bob) = state.find("consumers", "username", "bob").unwrap();
        assert_eq!(bob[MEMBERSHIPS].as_array().unwrap().len(), 2, "{bob:?}");
        let again = State::of(&check_tree(state.tree()).unwrap_or_default());
        assert_eq!(again.tree(), state.tree());
        assert_eq!(again.hash(), state.hash());
        assert_eq!(state.hash().len(), 32);
    }

    #[test]
    fn the_hash_follows_every_change() {
        let mut state = read("_format_version: '3.0'\nconsumers: [{username: a}]\n").read_from("text");
        let before = state.hash();
        assert_eq!(before, hash("text"));
        state.insert("consumers", Uuid::nil(), Fields::new());
        assert_ne!(state.hash(), before);
    }
}
