//! Changes to single entities: made to a copy of the state, refused in Kong's words.

use super::fault::Fault;
use super::place::{self, Owner};
use super::{references, view};
use crate::config::check::check_entity;
use crate::config::problems::Problem;
use crate::config::records::{Collection, GROUPS, KEYS, ROUTES, SERVICES};
use crate::config::schema::{Kind, Record};
use crate::state::{Fields, MEMBERSHIPS, State, now, text};
use serde_json::Value;
use uuid::Uuid;

use super::body::Args;

/// What a change made: the new state and the entity in it.
pub type Made = (State, Uuid);

/// How an entity is addressed, and what the request says of it.
pub struct Ask<'a> {
    /// Where it belongs.
    pub collection: &'static Collection,
    /// Its id or name, if it is there already or is to go by it.
    pub key: Option<&'a str>,
    /// The entity whose list the path names.
    pub below: Option<&'a Owner>,
    /// What the request's body and query say.
    pub args: &'a Args,
}

/// POST: a new entity.
pub fn create(state: &State, ask: &Ask<'_>) -> Result<Made, Fault> {
    let mut fields = read(ask, None)?;
    if let Some((field, id)) = place::owner(state, ask.below)? {
        fields.insert(field.to_owned(), id.to_string().into());
    }
    finish(state, ask.collection, fields, None)
}

/// PATCH: some fields of an entity; records are merged, everything else is replaced.
pub fn update(state: &State, ask: &Ask<'_>) -> Result<Made, Fault> {
    let owner = place::owner(state, ask.below)?;
    let (id, old) = place::find(state, ask.collection, ask.key.unwrap_or_default(), owner)
        .ok_or_else(Fault::not_found)?;
    let given = read(ask, Some(&old))?;
    if text(&given, "id").is_some_and(|given| Uuid::try_parse(given) != Ok(id)) {
        return Err(Fault::schema(&[Problem::new("id", "immutable field cannot be updated")]));
    }
    let mut fields = (*old).clone();
    merge(&view::description(ask.collection, &old), &mut fields, given);
    finish(state, ask.collection, fields, Some((id, &old)))
}

/// PUT: the whole entity; one that is not there is made.
pub fn upsert(state: &State, ask: &Ask<'_>) -> Result<Made, Fault> {
    let owner = place::owner(state, ask.below)?;
    let key = ask.key.unwrap_or_default();
    let found = place::find(state, ask.collection, key, owner);
    let mut fields = read(ask, found.as_ref().map(|(_, old)| &**old))?;
    if let Some((field, id)) = owner {
        fields.insert(field.to_owned(), id.to_string().into());
    }
    // Whatever the body says, the entity goes by what the path calls it.
    match Uuid::try_parse(key) {
        Ok(id) => fields.insert("id".to_owned(), id.to_string().into()),
        Err(_) => fields.insert(place::key_field(ask.collection).to_owned(), key.into()),
    };
    if let Some((id, old)) = &found {
        fields.insert("id".to_owned(), id.to_string().into());
        if let Some(at) = old.get("created_at") {
            fields.entry("created_at").or_insert_with(|| at.clone());
        }
    }
    finish(state, ask.collection, fields, found.as_ref().map(|(id, old)| (*id, &**old)))
}

/// DELETE: an entity, and what only makes sense with it. What is not there is gone already.
pub fn delete(
    state: &State,
    collection: &'static Collection,
    key: &str,
    below: Option<&Owner>,
) -> Result<Option<State>, Fault> {
    let owner = place::owner(state, below)?;
    let Some((id, _)) = place::find(state, collection, key, owner) else { return Ok(None) };
    let shown = id.to_string();
    // Routes are worth something without their service: they hold it.
    if collection.name == SERVICES
        && state.all(ROUTES).any(|(_, route)| text(route, "service") == Some(shown.as_str()))
    {
        return Err(Fault::referenced(ROUTES, SERVICES));
    }
    let mut new = state.clone();
    new.remove(collection.name, id);
    references::drop_dependents(&mut new, collection, &shown);
    if collection.name == GROUPS {
        references::drop_memberships(&mut new, &shown);
    }
    Ok(Some(new))
}

/// The fields of the request; whose schema they follow may only be known from the entity before.
fn read(ask: &Ask<'_>, old: Option<&Fields>) -> Result<Fields, Fault> {
    let name = ask.args.text("name").or_else(|| old.and_then(|old| text(old, "name")));
    ask.args.fields(&crate::config::records::description(ask.collection, name))
}

/// What every write ends in: references, the schema, keys that were masked, and who else is there.
fn finish(
    state: &State,
    collection: &'static Collection,
    mut fields: Fields,
    old: Option<(Uuid, &Fields)>,
) -> Result<Made, Fault> {
    references::resolve(state, collection, &mut fields)?;
    if collection.name == KEYS && fields.get("key").is_none_or(Value::is_null) {
        let made = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        fields.insert("key".to_owned(), made.into());
    }
    let given = text(&fields, "id").and_then(|id| Uuid::try_parse(id).ok());
    let id = given.unwrap_or_else(Uuid::new_v4);
    if fields.get("id").is_none_or(Value::is_null) {
        fields.insert("id".to_owned(), id.to_string().into());
    }
    let memberships = fields.shift_remove(MEMBERSHIPS).filter(|_| old.is_some());
    let problems = check_entity(collection, &mut fields);
    if !problems.is_empty() {
        return Err(Fault::schema(&problems));
    }
    unmask(collection, &mut fields, old.map(|(_, old)| old))?;
    let kept = old.and_then(|(_, old)| old.get(MEMBERSHIPS).cloned());
    if let Some(groups) = memberships.or(kept) {
        fields.insert(MEMBERSHIPS.to_owned(), groups);
    }
    fields.insert("id".to_owned(), id.to_string().into());
    fields.insert("updated_at".to_owned(), now().into());
    fields.entry("created_at").or_insert_with(|| now().into());
    references::exist(state, collection, &fields)?;
    references::alone(state, collection, id, &fields, old.is_none())?;
    let mut new = state.clone();
    new.insert(collection.name, id, fields);
    Ok((new, id))
}

fn unmask(collection: &'static Collection, fields: &mut Fields, old: Option<&Fields>) -> Result<(), Fault> {
    let record = view::description(collection, fields);
    let before = old.map_or(Value::Null, |old| Value::Object(old.clone()));
    let mut value = Value::Object(std::mem::take(fields));
    let mut left = Vec::new();
    view::unmask(&record, &mut value, &before, "", &mut left);
    if let Value::Object(map) = value {
        *fields = map;
    }
    let masked = |path: &String| Problem::new(path.clone(), STILL_MASKED);
    let problems: Vec<Problem> = left.iter().map(masked).collect();
    if problems.is_empty() { Ok(()) } else { Err(Fault::schema(&problems)) }
}

/// What is wrong with a mask whose key nobody knows.
pub const STILL_MASKED: &str =
    "this is the mask that is shown instead of a key: send the key itself, or a {vault://…} reference";

/// KONG(db/dao/init.lua): a PATCH goes into records and nothing else; `null` sets back.
fn merge(record: &Record, old: &mut Fields, new: Fields) {
    for (name, value) in new {
        let kind = record.field(&name).map(|field| &field.kind);
        match (kind, value, old.get_mut(&name)) {
            (Some(Kind::Record(inner)), Value::Object(new), Some(Value::Object(old))) => {
                merge(inner, old, new);
            }
            (_, value, _) => drop(old.insert(name, value)),
        }
    }
}
