//! What must not occur twice: names, ids, and the same plugin in the same scope.

use super::items::Item;
use super::problems::Problem;
use super::records::{KEYS, PLUGINS};
use std::collections::HashMap;

/// Reports every second occurrence.
pub fn check(items: &[Item], list: &mut Vec<Problem>) {
    let mut seen = Seen { values: HashMap::new(), scopes: HashMap::new() };
    for (index, item) in items.iter().enumerate() {
        let before = list.len();
        seen.fields(index, item, list);
        if list.len() == before {
            seen.scope(index, item, items, list);
        }
        // Generated ids are as unique as what they were made of, which has just been reported.
        if list.len() == before && seen.taken(item.collection.name, "id", item.id.to_string(), index) {
            item.problems(list).at("id").push(violation(item, "primary key", &item.id.to_string()));
        }
    }
}

type References<'a> = &'a [(&'static str, usize)];

struct Seen<'a> {
    values: HashMap<(&'static str, &'static str, String), usize>,
    /// By a plugin's name and what it refers to.
    scopes: HashMap<(&'a str, References<'a>), usize>,
}

impl<'a> Seen<'a> {
    fn taken(&mut self, collection: &'static str, field: &'static str, value: String, index: usize) -> bool {
        *self.values.entry((collection, field, value)).or_insert(index) != index
    }

    fn fields(&mut self, index: usize, item: &Item, list: &mut Vec<Problem>) {
        for field in item.collection.unique {
            let Some(text) = item.text(field) else { continue };
            if self.taken(item.collection.name, field, text.to_owned(), index) {
                // A credential is a secret, also in the report about it.
                let shown = if item.collection.name == KEYS { "***" } else { text };
                item.problems(list).at(field).push(violation(item, field, shown));
            }
        }
    }

    fn scope(&mut self, index: usize, item: &'a Item, items: &[Item], list: &mut Vec<Problem>) {
        let Some(name) = item.text("name").filter(|_| item.collection.name == PLUGINS) else { return };
        let first = *self.scopes.entry((name, item.refers.as_slice())).or_insert(index);
        if let Some(other) = items.get(first).filter(|_| first != index) {
            let what = violation(item, "primary key", &item.id.to_string());
            item.problems(list).push(format!("{what} (the same plugin in the same scope as {})", other.path));
        }
    }
}

fn violation(item: &Item, field: &str, value: &str) -> String {
    format!(
        "uniqueness violation: '{}' entity with {field} set to '{value}' already declared",
        item.collection.name
    )
}
