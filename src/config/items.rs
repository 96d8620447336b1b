//! The entities of all files in one list, each still knowing where it was written.
//!
//! Children may stand in a list of their parent (`services[0].routes`); here they are on their own,
//! with the parent in the field that refers to it.

use super::problems::{Problem, Problems};
use super::records::{COLLECTIONS, CONSUMERS, Collection, GROUPS, ROUTES, head};
use super::route_paths::migrate;
use super::validate::validate;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Kinds of entities that Kong has and this gateway does not.
pub const FOREIGN_KINDS: &[&str] = &[
    "upstreams",
    "targets",
    "ca_certificates",
    "vaults",
    "keys",
    "key_sets",
    "filter_chains",
    "basicauth_credentials",
    "hmacauth_credentials",
    "jwt_secrets",
    "oauth2_credentials",
];

/// One entity as written.
pub struct Item {
    /// Where it belongs.
    pub collection: &'static Collection,
    /// Which of the files, and its name.
    pub source: usize,
    /// Where it was written.
    pub file: Arc<str>,
    /// `services[0].routes[1]`.
    pub path: String,
    /// Without its children.
    pub value: Map<String, Value>,
    /// The item whose list it was in, and the field that now refers to it.
    pub parent: Option<(usize, &'static str)>,
    /// Given, or made of what names it.
    pub id: Uuid,
    /// Fields that refer to other items, and to which; known after `references`.
    pub refers: Vec<(&'static str, usize)>,
    /// Other ends of a membership that the item lists: groups of a consumer, consumers of a group.
    pub members: Vec<Member>,
}

/// An entry of a consumer's `groups` or a group's `consumers`.
pub struct Member {
    /// Where it was written.
    pub path: String,
    /// What was written.
    pub value: Value,
    /// The item it names; known after `references`.
    pub item: Option<usize>,
}

impl Item {
    /// A collector that stands at the item.
    pub fn problems<'a>(&self, list: &'a mut Vec<Problem>) -> Problems<'a> {
        Problems::of_file(Arc::clone(&self.file), list).into_path(&self.path)
    }

    /// The item that a field refers to.
    pub fn refers_to(&self, field: &str) -> Option<usize> {
        self.refers.iter().find(|(name, _)| *name == field).map(|(_, index)| *index)
    }

    /// One of its texts.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value.get(name).and_then(Value::as_str)
    }
}

/// Takes the entities out of one file's tree and checks what is left. Those at `skipped` paths are
/// passed over, with all that is inside them.
pub fn take(
    (source, file): (usize, &Arc<str>),
    mut root: Map<String, Value>,
    skipped: &BTreeSet<String>,
    items: &mut Vec<Item>,
    list: &mut Vec<Problem>,
) {
    let old = matches!(root.get("_format_version").and_then(Value::as_str), Some("1.1" | "2.1"));
    let mut taker = Taker { source, file, old, skipped, items, list };
    for collection in COLLECTIONS {
        taker.list_of(collection, &mut root, "", None);
    }
    let out = &mut Problems::of_file(Arc::clone(file), list);
    for name in FOREIGN_KINDS {
        if let Some(value) = root.shift_remove(*name)
            && super::rules::is_set(Some(&value))
        {
            out.at(name).push("entities of this kind are not supported by this gateway");
        }
    }
    validate(&head(), &mut Value::Object(root), out);
}

struct Taker<'a> {
    source: usize,
    file: &'a Arc<str>,
    /// Whether the file is of a format in which regular expressions had no mark.
    old: bool,
    skipped: &'a BTreeSet<String>,
    items: &'a mut Vec<Item>,
    list: &'a mut Vec<Problem>,
}

impl Taker<'_> {
    fn list_of(
        &mut self,
        collection: &'static Collection,
        owner: &mut Map<String, Value>,
        base: &str,
        parent: Option<(usize, &'static str)>,
    ) {
        let Some(value) = owner.shift_remove(collection.name) else { return };
        let joint = if base.is_empty() { "" } else { "." };
        let base = format!("{base}{joint}{}", collection.name);
        match value {
            Value::Null => {}
            Value::Object(map) if map.is_empty() => {}
            Value::Array(values) => {
                for (index, value) in values.into_iter().enumerate() {
                    self.item(collection, value, &format!("{base}[{index}]"), parent);
                }
            }
            _ => self.problem(&base, "expected an array"),
        }
    }

    fn item(
        &mut self,
        collection: &'static Collection,
        value: Value,
        path: &str,
        parent: Option<(usize, &'static str)>,
    ) {
        if self.skipped.contains(path) {
            return;
        }
        let Value::Object(mut value) = value else {
            let message = if value.is_null() { "required field missing" } else { "expected a record" };
            return self.problem(path, message);
        };
        if self.old && collection.name == ROUTES {
            migrate_paths(&mut value);
        }
        let index = self.items.len();
        let members = self.members(collection, &mut value, path);
        let mut children = Map::new();
        for (child, _) in nested(collection) {
            if let Some(list) = value.shift_remove(child.name) {
                children.insert(child.name.to_owned(), list);
            }
        }
        self.items.push(Item {
            collection,
            source: self.source,
            file: Arc::clone(self.file),
            path: path.to_owned(),
            value,
            parent,
            id: Uuid::nil(),
            refers: Vec::new(),
            members,
        });
        for (child, field) in nested(collection) {
            self.list_of(child, &mut children, path, Some((index, field)));
        }
    }

    fn members(
        &mut self,
        collection: &Collection,
        value: &mut Map<String, Value>,
        path: &str,
    ) -> Vec<Member> {
        let name = match collection.name {
            CONSUMERS => "groups",
            GROUPS => CONSUMERS,
            _ => return Vec::new(),
        };
        let path = format!("{path}.{name}");
        match value.shift_remove(name) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values
                .into_iter()
                .enumerate()
                .map(|(index, value)| Member { path: format!("{path}[{index}]"), value, item: None })
                .collect(),
            Some(_) => {
                self.problem(&path, "expected an array");
                Vec::new()
            }
        }
    }

    fn problem(&mut self, path: &str, message: &str) {
        Problems::of_file(Arc::clone(self.file), self.list).into_path(path).push(message);
    }
}

/// The collections whose entities may stand inside those of this one, and by which field they refer.
pub fn nested(parent: &Collection) -> impl Iterator<Item = (&'static Collection, &'static str)> {
    let name = parent.name;
    COLLECTIONS.iter().filter_map(move |child| {
        child.foreign.iter().find(|(_, to)| *to == name).map(|(field, _)| (child, *field))
    })
}

fn migrate_paths(route: &mut Map<String, Value>) {
    if let Some(Value::Array(paths)) = route.get_mut("paths") {
        for path in paths {
            if let Value::String(text) = path {
                *text = migrate(text);
            }
        }
    }
}
