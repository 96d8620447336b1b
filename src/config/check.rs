//! All that can be said against a configuration, at once.
//!
//! Order: take the entities out of the files, give them ids, settle their references, hold each
//! against its schema, then against the others. Nothing is typed before all of it passed.

use super::document::{self, Content, Source};
use super::ids;
use super::items::{self, Item};
use super::lines::Lines;
use super::manifests::{Manifests, Note};
use super::problems::Problem;
use super::records::{self, Collection, PLUGINS, ROUTES};
use super::references;
use super::schema::Record;
use super::unique;
use super::validate::validate;
use crate::plugins::{self, PluginKind};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Changes a declarative file's tree before it is read, and says at which paths entities are to be
/// passed over; gets the file's name.
pub type Prepare<'a> = &'a mut dyn FnMut(&Arc<str>, &mut Map<String, Value>) -> BTreeSet<String>;

/// Checks the files as one configuration. The items of a good one are complete: defaults filled,
/// references replaced by ids.
pub fn check(sources: &[Source]) -> Result<Vec<Item>, Vec<Problem>> {
    let (items, notes) = check_prepared(sources, &mut |_, _| BTreeSet::new())?;
    for note in notes.iter().filter(|note| note.dropped) {
        tracing::info!("{note}");
    }
    Ok(items)
}

/// The same of declarative files that `prepare` may change first; also what manifests did not say whole.
pub fn check_prepared(
    sources: &[Source],
    prepare: Prepare<'_>,
) -> Result<(Vec<Item>, Vec<Note>), Vec<Problem>> {
    let mut list = Vec::new();
    let mut items = Vec::new();
    let mut manifests = Manifests::default();
    for (at, source) in sources.iter().enumerate() {
        match document::read(source) {
            Ok(Content::Declarative(mut root)) => {
                let skipped = prepare(&source.name, &mut root);
                items::take((at, &source.name), root, &skipped, &mut items, &mut list);
            }
            Ok(Content::Manifests(documents)) => manifests.add((at, &source.name), documents, &mut list),
            Err(problems) => list.extend(problems),
        }
    }
    let notes = manifests.translate(&mut items, &mut list);
    settle(&mut items, &mut list);
    manifests.redact(&mut list);
    if list.is_empty() { Ok((items, notes)) } else { Err(located(list, sources)) }
}

/// Checks a configuration that was never text: its problems have paths and no lines.
pub fn check_tree(root: Map<String, Value>) -> Result<Vec<Item>, Vec<Problem>> {
    let (mut list, mut items) = (Vec::new(), Vec::new());
    items::take((0, &Arc::from("")), root, &BTreeSet::new(), &mut items, &mut list);
    settle(&mut items, &mut list);
    for problem in &mut list {
        problem.file = None;
    }
    if list.is_empty() { Ok(items) } else { Err(list) }
}

/// Checks one entity for itself and fills it; whom it refers to is not looked at. Paths of problems
/// start at the entity.
pub fn check_entity(collection: &'static Collection, value: &mut Map<String, Value>) -> Vec<Problem> {
    let foreign = collection.foreign.iter().map(|(field, _)| *field);
    let refers =
        foreign.filter(|field| value.get(*field).is_some_and(Value::is_string)).map(|field| (field, 0));
    let mut item = Item {
        collection,
        source: 0,
        file: Arc::from(""),
        path: String::new(),
        parent: None,
        id: Uuid::nil(),
        refers: refers.collect(),
        members: Vec::new(),
        value: std::mem::take(value),
    };
    let mut list = Vec::new();
    Descriptions::default().check(&mut item, &mut list);
    *value = item.value;
    list
}

/// What is said of all entities once they are in one list.
fn settle(items: &mut [Item], list: &mut Vec<Problem>) {
    ids::assign(items);
    references::settle(items, list);
    unique::check(items, list);
    let mut known = Descriptions::default();
    for item in items.iter_mut() {
        known.check(item, list);
    }
    check_protocols(items, list);
}

/// Descriptions are made once a check, however many items need them.
#[derive(Default)]
struct Descriptions {
    collections: HashMap<&'static str, Record>,
    plugins: HashMap<&'static str, Record>,
}

impl Descriptions {
    fn check(&mut self, item: &mut Item, list: &mut Vec<Problem>) {
        let mut value = Value::Object(std::mem::take(&mut item.value));
        let own = item.collection;
        let kind = if own.name == PLUGINS { plugin_kind(item, &mut value, list) } else { None };
        let description = match kind {
            Some(kind) => self.plugins.entry(kind.name).or_insert_with(|| records::plugin(kind)),
            None => self.collections.entry(own.name).or_insert_with(own.record),
        };
        validate(description, &mut value, &mut item.problems(list));
        if let Value::Object(map) = value {
            item.value = map;
        }
    }
}

/// Which plugin an item is, ready for its description.
fn plugin_kind(item: &Item, value: &mut Value, list: &mut Vec<Problem>) -> Option<&'static PluginKind> {
    let out = &mut item.problems(list);
    let name = value.get("name").and_then(Value::as_str)?;
    let Some(kind) = plugins::find(name) else {
        let message = format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property");
        out.at("name").push(message);
        return None;
    };
    if !kind.consumer_scope {
        for field in ["consumer", "consumer_group"] {
            if item.refers_to(field).is_some() {
                out.at(field).push("value must be null");
            }
        }
    }
    if let Value::Object(map) = value {
        let config = map.entry("config").or_insert(Value::Null);
        if config.is_null() {
            *config = Value::Object(Map::new());
        }
    }
    Some(kind)
}

/// A plugin must be able to see some request of its route or service.
fn check_protocols(items: &[Item], list: &mut Vec<Problem>) {
    let mut routes: HashMap<usize, Vec<&Item>> = HashMap::new();
    for route in items.iter().filter(|item| item.collection.name == ROUTES) {
        if let Some(service) = route.refers_to("service") {
            routes.entry(service).or_default().push(route);
        }
    }
    for plugin in items.iter().filter(|item| item.collection.name == PLUGINS) {
        let meets = |route: &Item| protocols(plugin).any(|one| protocols(route).any(|other| one == other));
        let message = if let Some(route) = plugin.refers_to("route").and_then(|at| items.get(at)) {
            (!meets(route)).then_some("must match the associated route's protocols")
        } else {
            let of_service = plugin.refers_to("service").and_then(|service| routes.get(&service));
            of_service
                .is_some_and(|routes| !routes.iter().any(|route| meets(route)))
                .then_some("must match the protocols of at least one route pointing to this Plugin's service")
        };
        if let Some(message) = message {
            plugin.problems(list).at("protocols").push(message);
        }
    }
}

fn protocols(item: &Item) -> impl Iterator<Item = &str> {
    item.value.get("protocols").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// In the order of the files, with lines; the file is only named where there are several.
fn located(mut list: Vec<Problem>, sources: &[Source]) -> Vec<Problem> {
    let place =
        |problem: &Problem| sources.iter().position(|source| Some(&source.name) == problem.file.as_ref());
    for source in sources {
        let mut lines = None;
        let mut of_documents = None;
        for problem in list.iter_mut().filter(|problem| problem.file.as_ref() == Some(&source.name)) {
            if problem.line.is_none() {
                let lines = if problem.path.starts_with("documents[") {
                    of_documents.get_or_insert_with(|| Lines::of_stream(&source.text))
                } else {
                    lines.get_or_insert_with(|| Lines::read(&source.text))
                };
                problem.line = lines.find(&problem.path);
            }
        }
    }
    list.sort_by_key(|problem| (place(problem), problem.line));
    if sources.len() < 2 {
        for problem in &mut list {
            problem.file = None;
        }
    }
    list
}

/// Names that tell the files apart.
pub fn sources(texts: &[(String, String)]) -> Vec<Source> {
    texts.iter().map(|(name, text)| Source { name: Arc::from(name.as_str()), text: text.clone() }).collect()
}
