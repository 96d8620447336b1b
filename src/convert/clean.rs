//! Checked entities as a person would write them: children in their parents, names for references,
//! nothing that goes without saying.

use super::Report;
use crate::config::items::Item;
use crate::config::records::{self, COLLECTIONS, CONSUMERS, GROUPS, PLUGINS};
use crate::config::schema::{Kind, Record};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The tree of a declarative file.
pub fn tree(items: &[Item], report: &mut Report) -> Map<String, Value> {
    let mut writer = Writer { items, children: HashMap::new(), tops: Vec::new() };
    for (at, item) in items.iter().enumerate() {
        match writer.parent(item) {
            Some(parent) => writer.children.entry(parent).or_default().push(at),
            None => writer.tops.push(at),
        }
    }
    let mut root = Map::new();
    root.insert("_format_version".to_owned(), "3.0".into());
    let mut stamps = 0;
    for collection in COLLECTIONS {
        let count = items.iter().filter(|item| item.collection.name == collection.name).count();
        if count > 0 {
            report.exact.push((collection.name, count));
        }
        let tops = writer.tops.iter().filter_map(|at| Some((*at, items.get(*at)?)));
        let own = tops.filter(|(_, item)| item.collection.name == collection.name);
        let entities: Vec<Value> = own.map(|(at, item)| writer.entity(at, item, None)).collect();
        if !entities.is_empty() {
            root.insert(collection.name.to_owned(), entities.into());
        }
    }
    for item in items {
        stamps += usize::from(item.value.contains_key("created_at") || item.value.contains_key("updated_at"));
    }
    if stamps > 0 {
        report
            .dropped
            .push(format!("times of creation and change of {stamps} entities: they configure nothing"));
    }
    root
}

struct Writer<'a> {
    items: &'a [Item],
    children: HashMap<usize, Vec<usize>>,
    tops: Vec<usize>,
}

impl Writer<'_> {
    /// The one item that an item refers to. A plugin of several scopes stands for itself.
    fn parent(&self, item: &Item) -> Option<usize> {
        match item.refers.as_slice() {
            [(_, parent)] => self.items.get(*parent).map(|_| *parent),
            _ => None,
        }
    }

    fn entity(&self, at: usize, item: &Item, within: Option<&str>) -> Value {
        let name = item.text("name").filter(|_| item.collection.name == PLUGINS);
        let record = records::description(item.collection, name);
        let mut fields = item.value.clone();
        for stamp in ["created_at", "updated_at"] {
            fields.shift_remove(stamp);
        }
        for (field, to) in &item.refers {
            fields.shift_remove(*field);
            if within != Some(*field) {
                fields.insert((*field).to_owned(), self.reference(*to));
            }
        }
        strip(&record, &mut fields);
        self.put_members(item, &mut fields);
        for child in self.children.get(&at).into_iter().flatten() {
            let Some(item) = self.items.get(*child) else { continue };
            let field = item.refers.first().map(|(field, _)| *field);
            let list = fields.entry(item.collection.name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(self.entity(*child, item, field));
            }
        }
        fields.into()
    }

    /// What an entity is called by others.
    fn reference(&self, at: usize) -> Value {
        let Some(item) = self.items.get(at) else { return Value::Null };
        let name = item.collection.key.and_then(|key| item.text(key));
        name.map_or_else(|| item.id.to_string().into(), Value::from)
    }

    /// Memberships stand with the consumers, where decK has them.
    fn put_members(&self, item: &Item, fields: &mut Map<String, Value>) {
        if item.collection.name != CONSUMERS {
            return;
        }
        let mut groups: Vec<usize> = item.members.iter().filter_map(|member| member.item).collect();
        for (at, group) in self.items.iter().enumerate().filter(|(_, other)| other.collection.name == GROUPS)
        {
            let lists = group.members.iter().filter_map(|member| self.items.get(member.item?));
            if lists.into_iter().any(|member| member.id == item.id) && !groups.contains(&at) {
                groups.push(at);
            }
        }
        if !groups.is_empty() {
            let groups: Vec<Value> =
                groups.into_iter().map(|at| json!({"name": self.reference(at)})).collect();
            fields.insert("groups".to_owned(), groups.into());
        }
    }
}

/// Takes out what a field holds anyway.
fn strip(record: &Record, fields: &mut Map<String, Value>) {
    for field in &record.fields {
        let Some(value) = fields.get_mut(field.name) else { continue };
        if field.default.as_ref() == Some(value) {
            fields.shift_remove(field.name);
            continue;
        }
        strip_kind(&field.kind, value);
        // A record that must be there is made of its defaults again; another one says that it is there.
        if field.required
            && matches!(field.kind, Kind::Record(_))
            && value.as_object().is_some_and(Map::is_empty)
        {
            fields.shift_remove(field.name);
        }
    }
}

fn strip_kind(kind: &Kind, value: &mut Value) {
    match (kind, value) {
        (Kind::Record(record), Value::Object(fields)) => strip(record, fields),
        (Kind::List { of, .. }, Value::Array(items)) => {
            for item in items {
                strip_kind(of, item);
            }
        }
        _ => {}
    }
}
