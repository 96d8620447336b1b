//! What decK and Kong write into their files beyond what this gateway reads: spelled out where it has a
//! meaning here, taken out and reported where it has none.

use super::Form;
use crate::config::items::{FOREIGN_KINDS, nested};
use crate::config::manifests::Note;
use crate::config::records::{COLLECTIONS, CONSUMERS, Collection, GROUPS, PLUGINS, ROUTES, SERVICES};
use crate::config::rules::is_set;
use crate::plugins;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Fields of entities that say nothing of requests.
const METADATA: &[&str] = &["created_at", "updated_at", "_comment", "_ignore"];

/// The head of a decK file, of which nothing else is left.
const HEAD: &[&str] = &["_workspace", "_konnect", "_info", "_comment", "_ignore"];

/// Changes a file's tree to one that loads; returns the paths of entities to be passed over.
pub fn prepare(
    file: &Arc<str>,
    root: &mut Map<String, Value>,
    form: Form,
    notes: &mut Vec<Note>,
) -> BTreeSet<String> {
    let mut take = |name: &str| root.shift_remove(name).unwrap_or_default();
    let info = take("_info");
    let configs = take("_plugin_configs");
    let mut work = Preparation {
        file,
        notes,
        defaults: info.get("defaults").cloned(),
        configs,
        skipped: BTreeSet::new(),
    };
    if is_set(info.get("select_tags")) {
        work.drop(
            "_info.select_tags",
            "decK gives these tags to every entity; write them where they are wanted",
        );
    }
    for name in HEAD.iter().filter(|name| **name != "_info") {
        if is_set(root.shift_remove(*name).as_ref()) {
            work.drop(name, "says nothing to a gateway");
        }
    }
    for collection in COLLECTIONS {
        work.list(collection, root, "");
    }
    work.foreign(root, "");
    if form == Form::Kong {
        work.placeholders(&Value::Object(root.clone()), "");
    }
    work.skipped
}

struct Preparation<'a> {
    file: &'a Arc<str>,
    notes: &'a mut Vec<Note>,
    /// What decK fills in for fields that entities leave out.
    defaults: Option<Value>,
    /// Configurations that plugins refer to.
    configs: Value,
    skipped: BTreeSet<String>,
}

impl Preparation<'_> {
    fn drop(&mut self, path: &str, message: impl Into<String>) {
        self.note(path, true, message.into());
    }

    fn note(&mut self, path: &str, dropped: bool, message: String) {
        let note = Note { file: Arc::clone(self.file), path: path.to_owned(), dropped, message };
        self.notes.push(note);
    }

    /// Entities that Kong has and this gateway does not.
    fn foreign(&mut self, owner: &mut Map<String, Value>, base: &str) {
        for name in FOREIGN_KINDS {
            // Of a service these are fields, which refuse themselves.
            let Some(value) = owner.get(*name).filter(|value| value.is_array() || value.is_null()) else {
                continue;
            };
            if is_set(Some(value)) {
                self.drop(&join(base, name), "entities of this kind are not supported by this gateway");
            }
            owner.shift_remove(*name);
        }
    }

    fn list(&mut self, collection: &'static Collection, owner: &mut Map<String, Value>, base: &str) {
        let base = join(base, collection.name);
        let Some(Value::Array(values)) = owner.get_mut(collection.name) else { return };
        for (index, value) in values.iter_mut().enumerate() {
            let path = format!("{base}[{index}]");
            if let Value::Object(entity) = value
                && !self.entity(collection, entity, &path)
            {
                // It keeps its place, so that problems of others keep their paths.
                self.skipped.insert(path);
            }
        }
    }

    /// Whether there is something like it here.
    fn entity(
        &mut self,
        collection: &'static Collection,
        entity: &mut Map<String, Value>,
        path: &str,
    ) -> bool {
        if collection.name == PLUGINS && !self.plugin(entity, path) {
            return false;
        }
        self.fill(collection, entity);
        for (child, _) in nested(collection) {
            self.list(child, entity, path);
        }
        if collection.name != SERVICES {
            self.foreign(entity, path);
        }
        self.unknown(collection, entity, path);
        true
    }

    /// Fields that this gateway does not know.
    fn unknown(&mut self, collection: &'static Collection, entity: &mut Map<String, Value>, path: &str) {
        let record = (collection.record)();
        let members = match collection.name {
            CONSUMERS => "groups",
            GROUPS => CONSUMERS,
            _ => "",
        };
        let known = |name: &str| {
            record.field(name).is_some()
                || name == members
                || nested(collection).any(|(child, _)| child.name == name)
        };
        entity.retain(|name, value| {
            let metadata = METADATA.contains(&name.as_str());
            let keep = !metadata && known(name);
            if !keep && !metadata && is_set(Some(value)) {
                self.drop(&join(path, name), "this gateway does not know the field");
            }
            keep
        });
    }

    /// Spells out the configuration that a plugin refers to.
    fn plugin(&mut self, plugin: &mut Map<String, Value>, path: &str) -> bool {
        let name = plugin.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !name.is_empty() && plugins::find(&name).is_none() {
            self.drop(path, format!("this gateway has no plugin '{name}': what it did is not done any more"));
            return false;
        }
        let shared = plugin.shift_remove("_config");
        if let Some(base) = shared.as_ref().and_then(Value::as_str).and_then(|name| self.configs.get(name)) {
            let mut config = base.clone();
            merge(&mut config, plugin.get("config").unwrap_or(&Value::Null));
            plugin.insert("config".to_owned(), config);
        } else if shared.is_some() {
            self.drop(&join(path, "_config"), "no such entry in '_plugin_configs'");
        }
        true
    }

    fn fill(&self, collection: &Collection, entity: &mut Map<String, Value>) {
        let kind = match collection.name {
            SERVICES => "service",
            ROUTES => "route",
            CONSUMERS => "consumer",
            _ => return,
        };
        let defaults = self.defaults.as_ref().and_then(|all| all.get(kind)).and_then(Value::as_object);
        for (name, value) in defaults.into_iter().flatten() {
            entity.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    /// decK's `${{ env "DECK_KEY" }}`, which nobody fills in here.
    fn placeholders(&mut self, value: &Value, path: &str) {
        match value {
            Value::String(text) if text.contains("${{") => {
                let message = "decK would fill in '${{ … }}' here, this gateway does not: where a field takes \
                               references write {vault://env/NAME}, elsewhere the value";
                self.note(path, false, message.to_owned());
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.placeholders(item, &format!("{path}[{index}]"));
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    self.placeholders(value, &join(path, name));
                }
            }
            _ => {}
        }
    }
}

/// Lays a tree over another.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (base, over) => *base = over.clone(),
    }
}

fn join(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}.{name}") }
}
