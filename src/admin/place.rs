//! What a path of the Admin API names: a list of entities, one of them, or the owner of one.

use super::fault::Fault;
use crate::config::records::{self, ACLS, CONSUMERS, Collection, GROUPS, KEYS, PLUGINS};
use crate::plugins::key_auth;
use crate::state::{Fields, State, text};
use std::sync::Arc;
use uuid::Uuid;

/// A place in the tree of entities.
#[derive(Clone)]
pub enum Place {
    /// All entities of a collection, or those below one.
    All { collection: &'static Collection, below: Option<Owner> },
    /// One entity.
    One { collection: &'static Collection, key: String, below: Option<Owner> },
    /// The entity that another refers to by a field: `/routes/{route}/service`.
    Referred { from: &'static Collection, key: String, field: &'static str, to: &'static Collection },
    /// Who belongs to a group, or the groups of a consumer; one of them if it is named.
    Members { of: &'static Collection, key: String, member: Option<String> },
}

/// The entity in whose list a path looks.
#[derive(Clone)]
pub struct Owner {
    /// Where it stands.
    pub collection: &'static Collection,
    /// Its id, or its name.
    pub key: String,
    /// The field by which those in the list refer to it.
    pub field: &'static str,
}

impl Place {
    /// Reads the segments of a path.
    pub fn of(segments: &[String]) -> Option<Self> {
        match segments {
            [all] => Some(Self::All { collection: top(all)?, below: None }),
            [all, key] => Some(Self::One { collection: top(all)?, key: key.clone(), below: None }),
            [from, key, what] => Self::below(top(from)?, key, what, None),
            [from, key, what, one] => Self::below(top(from)?, key, what, Some(one)),
            _ => None,
        }
    }

    fn below(from: &'static Collection, key: &str, what: &str, one: Option<&String>) -> Option<Self> {
        let key = key.to_owned();
        if let [CONSUMERS, GROUPS] | [GROUPS, CONSUMERS] = [from.name, what] {
            return Some(Self::Members { of: from, key, member: one.cloned() });
        }
        if let Some((field, to)) = from.foreign.iter().find(|(field, _)| *field == what) {
            let to = records::find(to)?;
            return one.is_none().then_some(Self::Referred { from, key, field, to });
        }
        let collection = nested(what)?;
        let field = collection.foreign.iter().find(|(_, to)| *to == from.name).map(|(field, _)| *field)?;
        let below = Some(Owner { collection: from, key, field });
        Some(match one {
            None => Self::All { collection, below },
            Some(key) => Self::One { collection, key: key.clone(), below },
        })
    }
}

/// A collection by its name in a path.
fn top(name: &str) -> Option<&'static Collection> {
    if name.strip_suffix('s') == Some(key_auth::KIND.name) {
        return records::find(KEYS);
    }
    records::find(name).filter(|found| found.name != KEYS)
}

/// The same below another: credentials go by the name of their plugin there.
fn nested(name: &str) -> Option<&'static Collection> {
    if name == key_auth::KIND.name {
        records::find(KEYS)
    } else {
        top(name).filter(|found| found.name != KEYS)
    }
}

/// What a collection is called in a path.
pub fn path_name(collection: &Collection) -> String {
    match collection.name {
        KEYS => format!("{}s", key_auth::KIND.name),
        name => name.to_owned(),
    }
}

/// The field that, beside the id, an entity goes by.
pub fn key_field(collection: &Collection) -> &'static str {
    match collection.name {
        PLUGINS => "instance_name",
        KEYS => "key",
        ACLS => "group",
        _ => collection.key.unwrap_or("name"),
    }
}

/// An entity by its id or name, below an owner if there is one.
pub fn find(
    state: &State,
    collection: &'static Collection,
    key: &str,
    owner: Option<(&str, Uuid)>,
) -> Option<(Uuid, Arc<Fields>)> {
    let belongs = |fields: &Fields| {
        owner.is_none_or(|(field, id)| text(fields, field) == Some(id.to_string().as_str()))
    };
    if let Ok(id) = Uuid::try_parse(key) {
        let fields = state.get(collection.name, id).filter(|fields| belongs(fields))?;
        return Some((id, fields.clone()));
    }
    let field = key_field(collection);
    let mut all = state.all(collection.name);
    let (id, fields) = all.find(|(_, fields)| text(fields, field) == Some(key) && belongs(fields))?;
    Some((*id, fields.clone()))
}

/// The owner's field and id; it has to be there.
pub fn owner(state: &State, below: Option<&Owner>) -> Result<Option<(&'static str, Uuid)>, Fault> {
    let Some(owner) = below else { return Ok(None) };
    let (id, _) = find(state, owner.collection, &owner.key, None).ok_or_else(Fault::not_found)?;
    Ok(Some((owner.field, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> String {
        let segments: Vec<String> = path.split('/').map(ToOwned::to_owned).collect();
        let below = |below: &Option<Owner>| {
            below.as_ref().map(|owner| format!(" of {}={}", owner.field, owner.key)).unwrap_or_default()
        };
        match Place::of(&segments) {
            None => "nothing".to_owned(),
            Some(Place::All { collection, below: owner }) => {
                format!("all {}{}", collection.name, below(&owner))
            }
            Some(Place::One { collection, key, below: owner }) => {
                format!("{} {key}{}", collection.name, below(&owner))
            }
            Some(Place::Referred { from, key, field, to }) => {
                format!("{field} ({}) of {} {key}", to.name, from.name)
            }
            Some(Place::Members { of, key, member }) => format!("members of {} {key}: {member:?}", of.name),
        }
    }

    #[test]
    fn paths_are_read_as_kong_reads_them() {
        for (path, expected) in [
            ("services", "all services"),
            ("services/a", "services a"),
            ("services/a/routes", "all routes of service=a"),
            ("services/a/routes/b", "routes b of service=a"),
            ("routes/b/plugins/c", "plugins c of route=b"),
            ("routes/b/service", "service (services) of routes b"),
            ("consumers/c/key-auth/k", "keyauth_credentials k of consumer=c"),
            ("consumers/c/acls", "all acls of consumer=c"),
            ("key-auths", "all keyauth_credentials"),
            ("key-auths/k/consumer", "consumer (consumers) of keyauth_credentials k"),
            ("consumer_groups/g/consumers", "members of consumer_groups g: None"),
            ("consumers/c/consumer_groups/g", "members of consumers c: Some(\"g\")"),
            ("key-auth", "nothing"),
            ("keyauth_credentials", "nothing"),
            ("routes/b/routes", "nothing"),
            ("services/a/consumers", "nothing"),
            ("services/a/routes/b/plugins", "nothing"),
            ("nope", "nothing"),
        ] {
            assert_eq!(place(path), expected, "{path}");
        }
    }
}
