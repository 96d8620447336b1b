//! Checked items, typed.

use super::entities::{Certificate, Consumer, Document, Plugin};
use super::items::Item;
use super::problems::Problem;
use super::records::{ACLS, CERTIFICATES, CONSUMERS, GROUPS, KEYS, PLUGINS, ROUTES, SERVICES, SNIS};
use super::schema::Record;
use super::secret::wipe;
use super::vault::{self, Env};
use crate::plugins;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// Makes the entities of checked items, and reads their secrets.
pub fn build(mut items: Vec<Item>, env: Env<'_>) -> Result<Document, Vec<Problem>> {
    let ids: Vec<Uuid> = items.iter().map(|item| item.id).collect();
    let mut document = Document::default();
    let mut list = Vec::new();
    let mut secrets = Secrets { env, schemas: HashMap::new() };
    for item in &mut items {
        item.value.insert("id".to_owned(), item.id.to_string().into());
    }
    for item in &items {
        match item.collection.name {
            SERVICES => document.services.extend(typed(item, &mut list)),
            ROUTES => document.routes.extend(typed(item, &mut list)),
            CONSUMERS => document.consumers.extend(consumer(item, &ids, &mut list)),
            GROUPS => document.consumer_groups.extend(typed(item, &mut list)),
            PLUGINS => document.plugins.extend(plugin(item, &ids, &mut secrets)),
            CERTIFICATES => document.certificates.extend(certificate(item, env)),
            _ => {}
        }
    }
    for item in items.iter().filter(|item| item.collection.name == SNIS) {
        let id = item.refers_to("certificate").and_then(|at| ids.get(at));
        let shown = document.certificates.iter_mut().find(|certificate| Some(&certificate.id) == id);
        if let (Some(certificate), Some(name)) = (shown, item.text("name")) {
            certificate.snis.push(name.to_owned());
        }
    }
    attach(&items, &ids, &mut document.consumers);
    if list.is_empty() { Ok(document) } else { Err(list) }
}

/// What passed its schema and still does not fit its type is a fault of this program.
fn typed<T: DeserializeOwned>(item: &Item, list: &mut Vec<Problem>) -> Option<T> {
    serde_json::from_value(Value::Object(item.value.clone()))
        .map_err(|why| item.problems(list).push(format!("cannot be read: {why}")))
        .ok()
}

/// Where secrets come from and where they go.
struct Secrets<'a> {
    env: Env<'a>,
    schemas: HashMap<&'static str, Record>,
}

fn plugin(item: &Item, ids: &[Uuid], secrets: &mut Secrets<'_>) -> Option<Plugin> {
    let kind = plugins::find(item.text("name")?)?;
    let scope = |field| item.refers_to(field).and_then(|at| ids.get(at).copied());
    let mut config = item.value.get("config")?.clone();
    let schema = secrets.schemas.entry(kind.name).or_insert_with(kind.schema);
    vault::resolve(schema, &mut config, &format!("{}.config", item.path), secrets.env);
    Some(Plugin {
        id: item.id,
        kind,
        instance_name: item.text("instance_name").map(ToOwned::to_owned),
        service: scope("service"),
        route: scope("route"),
        consumer: scope("consumer"),
        consumer_group: scope("consumer_group"),
        enabled: item.value.get("enabled").and_then(Value::as_bool).unwrap_or(true),
        config,
        path: item.path.clone(),
    })
}

fn certificate(item: &Item, env: Env<'_>) -> Option<Certificate> {
    let mut value = Value::Object(item.value.clone());
    vault::resolve(&(item.collection.record)(), &mut value, &item.path, env);
    let made = Certificate {
        id: item.id,
        cert: value.get("cert")?.as_str()?.to_owned(),
        key: value.get("key")?.as_str()?.into(),
        snis: Vec::new(),
        path: item.path.clone(),
    };
    wipe(&mut value);
    Some(made)
}

fn consumer(item: &Item, ids: &[Uuid], list: &mut Vec<Problem>) -> Option<Consumer> {
    let mut consumer: Consumer = typed(item, list)?;
    consumer.groups = item.members.iter().filter_map(|member| ids.get(member.item?).copied()).collect();
    Some(consumer)
}

/// Gives consumers what stands elsewhere: their keys, their groups for acl, groups that list them.
fn attach(items: &[Item], ids: &[Uuid], consumers: &mut [Consumer]) {
    let places: HashMap<Uuid, usize> =
        consumers.iter().enumerate().map(|(place, consumer)| (consumer.id, place)).collect();
    let place = |at: Option<usize>| places.get(ids.get(at?)?).copied();
    for item in items {
        let owner = place(item.refers_to("consumer")).and_then(|place| consumers.get_mut(place));
        match item.collection.name {
            KEYS => {
                if let (Some(consumer), Some(key)) = (owner, item.text("key")) {
                    consumer.keys.push(key.into());
                }
            }
            ACLS => {
                if let (Some(consumer), Some(group)) = (owner, item.text("group")) {
                    consumer.acl_groups.push(group.to_owned());
                }
            }
            GROUPS => {
                for member in &item.members {
                    let consumer = place(member.item).and_then(|place| consumers.get_mut(place));
                    if let Some(consumer) = consumer.filter(|one| !one.groups.contains(&item.id)) {
                        consumer.groups.push(item.id);
                    }
                }
            }
            _ => {}
        }
    }
}
