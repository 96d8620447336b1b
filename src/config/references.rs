//! What entities say of each other: by name or id, or by standing in each other's lists.

use super::items::Item;
use super::problems::Problem;
use super::records::{CONSUMERS, Collection, GROUPS, find};
use serde_json::Value;
use std::collections::HashMap;

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
        let found = self.find(value, to)?;
        if found.is_none() {
            item.problems(list).at(field).push(missing(field, value, to));
        }
        found
    }

    /// `None` if the value is no reference at all, which the schema will say.
    fn find(&self, value: &Value, to: &'static str) -> Option<Option<usize>> {
        let key = match value {
            Value::String(text) => Some(text.as_str()),
            Value::Object(map) => {
                let name = find(to).and_then(|collection: &Collection| collection.key).unwrap_or("name");
                ["id", name].iter().find_map(|field| map.get(*field)).and_then(Value::as_str)
            }
            _ => return None,
        };
        let lower = |key: &str| key.to_ascii_lowercase();
        Some(key.and_then(|key| {
            let at = |key: String| self.keys.get(&(to, key)).copied();
            at(key.to_owned()).or_else(|| at(lower(key)).filter(|_| uuid::Uuid::try_parse(key).is_ok()))
        }))
    }

    fn settle_members(&self, item: &mut Item, list: &mut Vec<Problem>) {
        let (field, to) =
            if item.collection.name == CONSUMERS { ("group", GROUPS) } else { ("consumer", CONSUMERS) };
        let mut members = std::mem::take(&mut item.members);
        for member in &mut members {
            let mut out = item.problems(list).into_path(&member.path);
            match self.find(&member.value, to) {
                Some(Some(found)) => member.item = Some(found),
                Some(None) => out.push(missing(field, &member.value, to)),
                None => out.push("expected a string"),
            }
        }
        item.members = members;
    }
}

fn missing(field: &str, value: &Value, to: &str) -> String {
    let written = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    format!("invalid reference '{field}: {written}' (no such entry in '{to}')")
}
