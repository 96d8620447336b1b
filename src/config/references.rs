//! What entities say of each other: by name or id, or by standing in each other's lists.

use super::items::Item;
use super::problems::Problem;
use super::records::{self, CONSUMERS, GROUPS};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// Finds items by collection and key or id.
struct Index {
    keys: HashMap<(&'static str, String), usize>,
}

/// Puts ids in the place of references, and notes which items they are.
pub fn settle(items: &mut [Item], list: &mut Vec<Problem>) {
    let index = Index::new(items);
    let ids: Vec<String> = items.iter().map(|item| item.id.to_string()).collect();
    for item in items.iter_mut() {
        for (field, to) in item.collection.foreign {
            let parent = item.parent.filter(|(_, own)| own == field).map(|(at, _)| at);
            let Some(found) = parent.map_or_else(|| index.resolve(item, field, to, list), Some) else {
                continue;
            };
            item.refers.push((field, found));
            if let Some(id) = ids.get(found) {
                item.value.insert((*field).to_owned(), id.clone().into());
            }
        }
        index.settle_members(item, list);
    }
}

impl Index {
    fn new(items: &[Item]) -> Self {
        let mut keys = HashMap::new();
        for (at, item) in items.iter().enumerate() {
            let name = item.collection.name;
            keys.entry((name, item.id.to_string())).or_insert(at);
            if let Some(key) = item.collection.key.and_then(|key| item.text(key)) {
                keys.entry((name, key.to_owned())).or_insert(at);
            }
        }
        Self { keys }
    }

    fn resolve(&self, item: &Item, field: &str, to: &'static str, list: &mut Vec<Problem>) -> Option<usize> {
        let value = item.value.get(field).filter(|value| !value.is_null())?;
        match self.find(value, to) {
            Ok(found) => Some(found),
            Err(Why::Missing) => {
                item.problems(list).at(field).push(missing(field, value, to));
                None
            }
            // The schema will say so.
            Err(Why::NoReference) => None,
        }
    }

    fn find(&self, value: &Value, to: &'static str) -> Result<usize, Why> {
        let key = match value {
            Value::String(text) => Some(text.as_str()),
            Value::Object(map) => {
                let name = records::find(to).and_then(|collection| collection.key).unwrap_or("name");
                ["id", name].iter().find_map(|field| map.get(*field)).and_then(Value::as_str)
            }
            _ => return Err(Why::NoReference),
        };
        let key = key.ok_or(Why::Missing)?;
        let at = |key: String| self.keys.get(&(to, key)).copied();
        // An id means the same in capitals.
        let id = || Uuid::try_parse(key).ok().and_then(|id| at(id.to_string()));
        at(key.to_owned()).or_else(id).ok_or(Why::Missing)
    }

    fn settle_members(&self, item: &mut Item, list: &mut Vec<Problem>) {
        let of_consumer = item.collection.name == CONSUMERS;
        let (field, to) = if of_consumer { ("group", GROUPS) } else { ("consumer", CONSUMERS) };
        let mut members = std::mem::take(&mut item.members);
        for member in &mut members {
            let mut out = item.problems(list).into_path(&member.path);
            match self.find(&member.value, to) {
                Ok(found) => member.item = Some(found),
                Err(Why::Missing) => out.push(missing(field, &member.value, to)),
                Err(Why::NoReference) => out.push("expected a string"),
            }
        }
        item.members = members;
    }
}

/// Why a reference leads nowhere.
enum Why {
    Missing,
    /// The value is neither a text nor `{id: …}` or the like.
    NoReference,
}

fn missing(field: &str, value: &Value, to: &str) -> String {
    let written = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    format!("invalid reference '{field}: {written}' (no such entry in '{to}')")
}
