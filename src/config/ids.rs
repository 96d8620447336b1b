//! Ids for entities that come without one: the same at every load, and the same as Kong's.
//!
//! `KONG(db/schema/others/declarative_config.lua)`: a UUID of version 5, of the unique key in the
//! namespace of the collection, which is itself one of the collection's name.

use super::items::Item;
use super::records::PLUGINS;
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// The namespace of the namespaces.
const ENTITIES: Uuid = Uuid::from_u128(0xfd02_801f_0957_4a15_a55a_c8d9_606f_30b5);

/// Gives every item its id; parents come before their children.
pub fn assign(items: &mut [Item]) {
    let mut namespaces: HashMap<&str, Uuid> = HashMap::new();
    let mut given: Vec<Uuid> = Vec::with_capacity(items.len());
    for item in items {
        let own = item.text("id").filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok());
        let id = own.unwrap_or_else(|| {
            let namespace = namespaces
                .entry(item.collection.name)
                .or_insert_with(|| Uuid::new_v5(&ENTITIES, item.collection.name.as_bytes()));
            let parent = item.parent.and_then(|(index, field)| Some((field, *given.get(index)?)));
            Uuid::new_v5(namespace, key(item, parent).as_bytes())
        });
        item.id = id;
        given.push(id);
    }
}

/// What tells the item from all others of its collection.
fn key(item: &Item, parent: Option<(&str, Uuid)>) -> String {
    if item.collection.name == PLUGINS {
        return plugin_key(item, parent);
    }
    match item.collection.key.and_then(|name| item.text(name)) {
        Some(key) => key.to_owned(),
        // Kong draws lots here. The place in the files at least survives a reload of the same files.
        None => format!("{}:{}", item.source, item.path),
    }
}

/// Name and scope, as written: a parent by its id, a reference by whatever it says.
fn plugin_key(item: &Item, parent: Option<(&str, Uuid)>) -> String {
    let mut parts = vec![PLUGINS.to_owned(), "*".to_owned()];
    let mut scopes = vec!["name", "route", "service", "consumer"];
    let grouped = item.value.contains_key("consumer_group")
        || parent.is_some_and(|(field, _)| field == "consumer_group");
    if grouped {
        scopes.push("consumer_group");
    }
    for scope in scopes {
        match item.value.get(scope) {
            Some(Value::String(text)) => parts.push(text.clone()),
            None | Some(Value::Null) => match parent {
                Some((field, id)) if field == scope => parts.push(id.to_string()),
                _ => parts.push(String::new()),
            },
            // KONG(db/schema/others/declarative_config.lua): `{id: …}` leaves no trace in the key. Here
            // it does, or the same plugin on two such routes would be taken for one.
            Some(other) => parts.push(other.to_string()),
        }
    }
    parts.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::records::find;
    use serde_json::json;

    fn item(collection: &str, value: &Value, parent: Option<(usize, &'static str)>) -> Item {
        Item {
            collection: find(collection).unwrap(),
            source: 0,
            file: "f".into(),
            path: format!("{collection}[0]"),
            value: value.as_object().unwrap().clone(),
            parent,
            id: Uuid::nil(),
            refers: Vec::new(),
            members: Vec::new(),
        }
    }

    fn v5(collection: &str, key: &str) -> Uuid {
        Uuid::new_v5(&Uuid::new_v5(&ENTITIES, collection.as_bytes()), key.as_bytes())
    }

    #[test]
    fn follows_the_unique_key_of_each_collection() {
        let mut items = [
            item("services", &json!({"name": "ai"}), None),
            item("routes", &json!({"name": "r"}), Some((0, "service"))),
            item("plugins", &json!({"name": "p"}), Some((1, "route"))),
            item("plugins", &json!({"name": "p", "service": "ai", "consumer": "alice"}), None),
            item("routes", &json!({"id": "0dc6f45b-8f8d-40d2-a504-473544ee190b", "name": "x"}), None),
        ];
        assign(&mut items);
        let route = v5("routes", "r");
        assert_eq!(items[0].id, v5("services", "ai"));
        assert_eq!(items[1].id, route);
        assert_eq!(items[2].id, v5("plugins", &format!("plugins:*:p:{route}::")));
        assert_eq!(items[3].id, v5("plugins", "plugins:*:p::ai:alice"));
        assert_eq!(items[4].id.to_string(), "0dc6f45b-8f8d-40d2-a504-473544ee190b");
    }

    #[test]
    fn invents_nothing_at_random() {
        let mut nameless = [item("routes", &json!({"paths": ["/a"]}), None)];
        assign(&mut nameless);
        let first = nameless[0].id;
        assign(&mut nameless);
        assert_eq!(nameless[0].id, first);
        assert_ne!(first, Uuid::nil());
    }
}
