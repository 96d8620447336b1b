//! Checked items as the tree of one file: each stands inside what it belongs to.

use super::Form;
use super::lean::Lean;
use crate::config::items::Item;
use crate::config::manifests::Note;
use crate::config::records::{
    self, ACLS, CERTIFICATES, CONSUMERS, GROUPS, KEYS, PLUGINS, ROUTES, SERVICES, SNIS,
};
use crate::config::schema::Record;
use crate::plugins;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// The order of the collections, in the file and inside entities.
const ORDER: &[&str] = &[SERVICES, ROUTES, PLUGINS, CONSUMERS, GROUPS, KEYS, ACLS, CERTIFICATES, SNIS];

/// Fields that are written first, or in the place of others.
const FIRST: &[&str] = &["name", "username", "custom_id", "key", "group"];
const APART: &[&str] = &["id", "created_at", "updated_at", "_comment", "_ignore", "tags"];

/// Makes the tree of a file.
pub fn make(items: &[Item], form: Form, notes: &mut Vec<Note>) -> Map<String, Value> {
    let mut writer = Writer { items, form, notes, children: HashMap::new(), schemas: HashMap::new() };
    for (at, item) in items.iter().enumerate() {
        writer.children.entry(home(item)).or_default().push(at);
    }
    let mut root = Map::new();
    root.insert("_format_version".to_owned(), "3.0".into());
    writer.lists(None, &mut root);
    root
}

/// What an item stands in: the one entity that it refers to.
fn home(item: &Item) -> Option<usize> {
    match item.refers.as_slice() {
        [(_, at)] => Some(*at),
        _ => None,
    }
}

struct Writer<'a> {
    items: &'a [Item],
    form: Form,
    notes: &'a mut Vec<Note>,
    children: HashMap<Option<usize>, Vec<usize>>,
    schemas: HashMap<&'static str, Arc<Record>>,
}

impl Writer<'_> {
    /// The items that stand in another, or in none, in their collections.
    fn lists(&mut self, owner: Option<usize>, into: &mut Map<String, Value>) {
        let children = self.children.remove(&owner).unwrap_or_default();
        for name in ORDER {
            let of = |at: &&usize| self.items.get(**at).is_some_and(|item| item.collection.name == *name);
            let mut list: Vec<usize> = children.iter().filter(of).copied().collect();
            if ![KEYS, ACLS].contains(name) {
                list.sort_by_cached_key(|at| self.rank(*at));
            }
            let list: Vec<Value> = list.into_iter().filter_map(|at| self.entity(at)).collect();
            if !list.is_empty() {
                into.insert((*name).to_owned(), list.into());
            }
        }
    }

    /// By name; what has none comes last, by id. Plugins of one name by what they are bound to.
    fn rank(&self, at: usize) -> (bool, String, Vec<String>) {
        let Some(item) = self.items.get(at) else { return (true, String::new(), Vec::new()) };
        let key = item.collection.key.unwrap_or("name");
        let scopes = item.refers.iter().map(|(field, to)| format!("{field} {}", self.called(*to))).collect();
        match item.text(key) {
            Some(name) => (false, name.to_owned(), scopes),
            None => (true, item.id.to_string(), scopes),
        }
    }

    /// How others refer to an item: by its key, or its id.
    fn called(&self, at: usize) -> String {
        let Some(item) = self.items.get(at) else { return String::new() };
        let key = item.collection.key.and_then(|key| item.text(key));
        key.map_or_else(|| item.id.to_string(), ToOwned::to_owned)
    }

    fn entity(&mut self, at: usize) -> Option<Value> {
        let items = self.items;
        let item = items.get(at)?;
        let schema = self.schema(item);
        let mut own = Vec::new();
        let mut lean = Lean { form: self.form, own: &mut own }.record(&schema, &item.value, &item.path);
        for path in own {
            let message = "Kong does not know the field".to_owned();
            self.notes.push(Note { file: Arc::clone(&item.file), path, dropped: true, message });
        }
        if lean.get("config").and_then(Value::as_object).is_some_and(Map::is_empty) {
            lean.shift_remove("config");
        }
        let mut entity = Map::new();
        for name in FIRST {
            if let Some(value) = lean.shift_remove(*name) {
                entity.insert((*name).to_owned(), value);
            }
        }
        if let Some(id) = identity(item) {
            entity.insert("id".to_owned(), id.into());
        }
        let foreign = |name: &str| item.collection.foreign.iter().any(|(field, _)| *field == name);
        let tags = lean.get("tags").cloned();
        entity.extend(lean.into_iter().filter(|(name, _)| !foreign(name) && !APART.contains(&name.as_str())));
        if home(item).is_none() {
            for (field, to) in &item.refers {
                entity.insert((*field).to_owned(), self.called(*to).into());
            }
        }
        entity.extend(tags.map(|tags| ("tags".to_owned(), tags)));
        if item.collection.name == CONSUMERS {
            let groups = self.groups(at);
            if !groups.is_empty() {
                entity.insert("groups".to_owned(), groups.into());
            }
        }
        self.lists(Some(at), &mut entity);
        Some(entity.into())
    }

    /// The groups that a consumer lists, and those that list it.
    fn groups(&self, consumer: usize) -> Vec<Value> {
        let lists = |item: &Item| item.members.iter().any(|member| member.item == Some(consumer));
        let mut groups: Vec<usize> = self
            .items
            .get(consumer)
            .map(|item| item.members.iter().filter_map(|member| member.item).collect())
            .unwrap_or_default();
        for (at, item) in self.items.iter().enumerate() {
            if item.collection.name == GROUPS && lists(item) && !groups.contains(&at) {
                groups.push(at);
            }
        }
        groups.into_iter().map(|at| json!({"name": self.called(at)})).collect()
    }

    fn schema(&mut self, item: &Item) -> Arc<Record> {
        let name = item.text("name").filter(|_| item.collection.name == PLUGINS);
        let made = if let Some(kind) = name.and_then(plugins::find) {
            self.schemas.entry(kind.name).or_insert_with(|| Arc::new(records::plugin(kind)))
        } else {
            let make = item.collection.record;
            self.schemas.entry(item.collection.name).or_insert_with(|| Arc::new(make()))
        };
        Arc::clone(made)
    }
}

/// The id, where it was given or where there is no name to make it of.
fn identity(item: &Item) -> Option<String> {
    let given = item.value.contains_key("id");
    let nameless = item.collection.key.is_some_and(|key| item.text(key).is_none());
    (given || nameless).then(|| item.id.to_string())
}
