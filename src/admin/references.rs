//! What an entity says of others and others of it, when one of them changes.

use super::fault::Fault;
use super::place::key_field;
use super::view::MASK;
use crate::config::records::{self, ACLS, COLLECTIONS, CONSUMERS, Collection, KEYS, PLUGINS};
use crate::state::{Fields, MEMBERSHIPS, State, text};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Puts ids in the place of `{"id": …}`, `{"name": …}` and names.
pub fn resolve(state: &State, collection: &Collection, fields: &mut Fields) -> Result<(), Fault> {
    for (field, to) in collection.foreign {
        let Some(target) = records::find(to) else { continue };
        let found = match fields.get(*field) {
            Some(Value::Object(map)) => {
                let key = key_field(target);
                let given = |name: &str| text(map, name).filter(|text| !text.is_empty());
                match (given("id"), given(key)) {
                    (Some(id), _) => Value::from(id),
                    (None, Some(name)) => named(state, field, (key, name), to)?,
                    // `service.id=` in a form, and `{}`.
                    (None, None) => Value::Null,
                }
            }
            Some(Value::String(none)) if none.is_empty() => Value::Null,
            Some(Value::String(name)) if Uuid::try_parse(name).is_err() => {
                named(state, field, (key_field(target), name), to)?
            }
            _ => continue,
        };
        fields.insert((*field).to_owned(), found);
    }
    Ok(())
}

fn named(state: &State, field: &str, key: (&str, &str), to: &str) -> Result<Value, Fault> {
    let found = state.find(to, key.0, key.1);
    found.map(|(id, _)| id.to_string().into()).ok_or_else(|| Fault::unresolved(field, key, to))
}

/// Whether what the entity refers to is there.
pub fn exist(state: &State, collection: &Collection, fields: &Fields) -> Result<(), Fault> {
    for (field, to) in collection.foreign {
        let Some(id) = text(fields, field) else { continue };
        let there = Uuid::try_parse(id).ok().and_then(|id| state.get(to, id));
        if there.is_none() {
            return Err(Fault::foreign_key(field, id, to));
        }
    }
    Ok(())
}

/// Whether no other entity has what only one may have.
pub fn alone(
    state: &State,
    collection: &Collection,
    id: Uuid,
    fields: &Fields,
    new: bool,
) -> Result<(), Fault> {
    if new && state.get(collection.name, id).is_some() {
        return Err(Fault::primary_key(&id.to_string()));
    }
    let others = || state.all(collection.name).filter(|(other, _)| **other != id).map(|(_, fields)| fields);
    for field in collection.unique {
        let Some(own) = text(fields, field) else { continue };
        if others().any(|other| text(other, field) == Some(own)) {
            // A credential is a secret, also in the report about it.
            let shown = if collection.name == KEYS { MASK } else { own };
            return Err(Fault::unique(Map::from_iter([((*field).to_owned(), shown.into())])));
        }
    }
    let joint: &[&str] = match collection.name {
        PLUGINS => &["name", "route", "service", "consumer", "consumer_group"],
        ACLS => &["consumer", "group"],
        _ => return Ok(()),
    };
    if others().any(|other| joint.iter().all(|field| text(other, field) == text(fields, field))) {
        return Err(Fault::unique(joint_key(collection, joint, fields)));
    }
    Ok(())
}

fn joint_key(collection: &Collection, joint: &[&str], fields: &Fields) -> Map<String, Value> {
    let is_reference = |field: &str| collection.foreign.iter().any(|(name, _)| *name == field);
    let shown = |field: &str| match text(fields, field) {
        Some(id) if is_reference(field) => json!({"id": id}),
        Some(text) => text.into(),
        None => Value::Null,
    };
    // Kong's open-source key knows no groups: they are only named where there is one.
    let named = joint.iter().filter(|field| **field != "consumer_group" || fields.contains_key(**field));
    named.map(|field| ((*field).to_owned(), shown(field))).collect()
}

/// Takes out what only made sense with an entity that is gone.
pub fn drop_dependents(state: &mut State, gone: &Collection, id: &str) {
    for collection in COLLECTIONS {
        let fields: Vec<&str> =
            collection.foreign.iter().filter(|(_, to)| *to == gone.name).map(|(field, _)| *field).collect();
        let dependents: Vec<Uuid> = state
            .all(collection.name)
            .filter(|(_, entity)| fields.iter().any(|field| text(entity, field) == Some(id)))
            .map(|(id, _)| *id)
            .collect();
        for id in dependents {
            state.remove(collection.name, id);
        }
    }
}

/// Takes a group off all consumers.
pub fn drop_memberships(state: &mut State, group: &str) {
    let members: Vec<Uuid> = state
        .all(CONSUMERS)
        .filter(|(_, fields)| groups(fields).any(|own| own == group))
        .map(|(id, _)| *id)
        .collect();
    for consumer in members {
        set_member(state, consumer, group, false);
    }
}

/// The groups of a consumer.
pub fn groups(consumer: &Fields) -> impl Iterator<Item = &str> {
    consumer.get(MEMBERSHIPS).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Puts a consumer into a group, or takes it out.
pub fn set_member(state: &mut State, consumer: Uuid, group: &str, member: bool) {
    let Some(known) = state.get(CONSUMERS, consumer) else { return };
    let mut fields = (**known).clone();
    let mut list: Vec<Value> = groups(&fields).filter(|own| *own != group).map(Value::from).collect();
    if member {
        list.push(group.into());
    }
    fields.insert(MEMBERSHIPS.to_owned(), list.into());
    state.insert(CONSUMERS, consumer, fields);
}
