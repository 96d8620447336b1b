//! Plugins: one entity for each combination of what a `KongPlugin` is attached to.

use super::bindings::{Binding, Bindings, Scope};
use super::object::{Object, Role};
use super::{Work, map, secrets};
use crate::config::document;
use crate::config::problems::Problems;
use crate::config::records::{self, PLUGINS};
use crate::config::validate::validate;
use crate::plugins;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

const KNOWN: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "status",
    "plugin",
    "config",
    "configFrom",
    "configPatches",
    "disabled",
    "instance_name",
    "protocols",
];

/// Fields that Kong has and this gateway does not.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("ordering", "not supported by this gateway: plugins run in the order of their priorities"),
    ("run_on", "not supported by this gateway"),
    (
        "consumerRef",
        "not supported by this gateway: name the plugin in the KongConsumer's konghq.com/plugins",
    ),
];

/// Makes the plugins.
pub fn translate(work: &mut Work<'_>, bindings: &Bindings) {
    let store = work.store;
    for binding in &bindings.all {
        if let Some(plugin) = store.plugin(&binding.namespace, &binding.name) {
            bound(work, plugin, binding);
        }
    }
    let mut globals: HashMap<&str, &Object> = HashMap::new();
    for plugin in store.all(Role::Plugin).chain(store.all(Role::ClusterPlugin)) {
        let cluster = plugin.role == Some(Role::ClusterPlugin);
        if plugin.get("/metadata/labels/global").is_some_and(|value| !value.is_string()) {
            work.problem(plugin, "metadata.labels.global", "expected a string: put the value into quotes");
        }
        if cluster && plugin.label("global") == Some("true") {
            if let Some(value) = entity(work, plugin) {
                work.item(PLUGINS, plugin, "", value);
            }
            if let Some(other) = globals.insert(plugin.text("plugin").unwrap_or_default(), plugin) {
                work.problem(
                    plugin,
                    "metadata.labels.global",
                    format!("{other} is the same plugin, for all requests, too"),
                );
            }
        } else if !bindings.all.iter().any(|one| is_of(work, one, plugin)) {
            // Nothing runs it, but what is wrong with it should be known before something does.
            if let Some(value) = entity(work, plugin) {
                judge(work, plugin, value);
            }
            work.note(plugin, "", true, format!("{plugin} is attached to nothing"));
        }
    }
}

/// Holds a plugin that becomes no entity against its schema.
fn judge(work: &mut Work<'_>, plugin: &Object, value: Map<String, Value>) {
    if let Some(kind) = plugins::find(plugin.text("plugin").unwrap_or_default()) {
        let mut out = Problems::of_file(Arc::clone(&plugin.file), work.list).into_path(&plugin.path);
        validate(&records::plugin(kind), &mut Value::Object(value), &mut out);
    }
}

fn is_of(work: &Work<'_>, binding: &Binding, plugin: &Object) -> bool {
    work.store.plugin(&binding.namespace, &binding.name).is_some_and(|found| std::ptr::eq(found, plugin))
}

fn bound(work: &mut Work<'_>, plugin: &Object, binding: &Binding) {
    let Some(value) = entity(work, plugin) else { return };
    for scopes in binding.combinations() {
        let mut value = value.clone();
        let mut parent = None;
        for scope in &scopes {
            let (field, name) = match scope {
                Scope::Service(name) => ("service", name),
                Scope::Route(name) => ("route", name),
                Scope::Group(name) => ("consumer_group", name),
                Scope::Consumer(place) => {
                    parent = Some((*place, "consumer"));
                    continue;
                }
            };
            value.insert(field.to_owned(), name.as_str().into());
        }
        if let Some(name) = value.get("instance_name").and_then(Value::as_str) {
            let name = format!("{name}-{}", suffix(work, &scopes));
            value.insert("instance_name".to_owned(), name.into());
        }
        let made = work.item(PLUGINS, plugin, "", value);
        if let Some(item) = made.and_then(|made| work.items.get_mut(made)) {
            item.parent = parent;
        }
    }
}

/// What makes the name of an instance unique: the controller's digest of the scopes.
fn suffix(work: &Work<'_>, scopes: &[&Scope]) -> String {
    let mut text = String::new();
    for scope in scopes {
        let (kind, name) = match scope {
            Scope::Service(name) => ("service", name.as_str()),
            Scope::Route(name) => ("route", name.as_str()),
            Scope::Group(name) => ("group", name.as_str()),
            Scope::Consumer(place) => {
                let item = work.items.get(*place);
                let name = item.and_then(|item| item.text("username").or_else(|| item.text("custom_id")));
                ("consumer", name.unwrap_or_default())
            }
        };
        // Writing to a text does not fail.
        let _ = write!(text, "_{kind}-{name}");
    }
    let mut hex = String::new();
    for byte in digest(&SHA256, text.as_bytes()).as_ref().iter().take(5) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.truncate(9);
    hex
}

/// The plugin, but for what it is attached to.
fn entity(work: &mut Work<'_>, plugin: &Object) -> Option<Map<String, Value>> {
    for field in plugin.value.keys().filter(|field| !KNOWN.contains(&field.as_str())) {
        let message = UNSUPPORTED.iter().find(|(name, _)| name == field);
        work.problem(plugin, field, message.map_or("unknown field", |(_, message)| message));
    }
    let Some(name) = plugin.text("plugin") else {
        work.problem(plugin, "plugin", "required field missing");
        return None;
    };
    let config = config(work, plugin)?;
    let field = |name: &str| plugin.get(name).cloned().unwrap_or_default();
    let enabled = if plugin.get("disabled") == Some(&json!(true)) { json!(false) } else { Value::Null };
    Some(map([
        ("name", name.into()),
        ("config", config),
        ("enabled", enabled),
        ("instance_name", field("instance_name")),
        ("protocols", field("protocols")),
        ("tags", plugin.tags().into()),
    ]))
}

fn config(work: &mut Work<'_>, plugin: &Object) -> Option<Value> {
    let written = plugin.get("config").cloned();
    let mut config = match plugin.get("configFrom") {
        Some(_) if written.is_some() => {
            work.problem(plugin, "configFrom", "'config' and 'configFrom' cannot both be set");
            return None;
        }
        Some(from) => match whole(work, plugin, from) {
            Ok(config) => config,
            Err(message) => {
                work.problem(plugin, "configFrom", message);
                return None;
            }
        },
        None => written.unwrap_or_else(|| json!({})),
    };
    for (index, patch) in plugin.array("configPatches").iter().enumerate() {
        if let Err(message) = apply(work, plugin, patch, &mut config) {
            work.problem(plugin, &format!("configPatches[{index}]"), message);
            return None;
        }
    }
    Some(config)
}

/// A configuration that is a whole value of a Secret.
fn whole(work: &mut Work<'_>, plugin: &Object, from: &Value) -> Result<Value, String> {
    let text = secret_of(work, plugin, from.get("secretKeyRef"))?;
    let read = document::value(&text).filter(Value::is_object);
    let config = read.ok_or("the value of the Secret is not a JSON or YAML object")?;
    hide(&config, &mut work.hidden);
    Ok(config)
}

/// Puts the value of a Secret into a configuration.
fn apply(work: &mut Work<'_>, plugin: &Object, patch: &Value, config: &mut Value) -> Result<(), String> {
    let pointer = patch.get("path").and_then(Value::as_str).ok_or("'path' is missing")?;
    let text = secret_of(work, plugin, patch.pointer("/valueFrom/secretKeyRef"))?;
    let value = serde_json::from_str(&text)
        .map_err(|_| "the value of the Secret is not JSON: put a text into quotes".to_owned())?;
    hide(&value, &mut work.hidden);
    add(config, pointer, value)
}

/// Collects the texts of a value: no message may quote them.
fn hide(value: &Value, hidden: &mut Vec<String>) {
    match value {
        // Shorter ones hide nothing and would stand in many a word.
        Value::String(text) if text.len() > 3 => hidden.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| hide(item, hidden)),
        Value::Object(map) => map.values().for_each(|value| hide(value, hidden)),
        _ => {}
    }
}

fn secret_of(work: &mut Work<'_>, plugin: &Object, reference: Option<&Value>) -> Result<String, String> {
    let reference = reference.ok_or("'secretKeyRef' is missing")?;
    let text = |name: &str| reference.get(name).and_then(Value::as_str);
    let name = text("name").ok_or("'secretKeyRef.name' is missing")?;
    let key = text("key").ok_or("'secretKeyRef.key' is missing")?;
    let namespace = match plugin.role {
        Some(Role::ClusterPlugin) => text("namespace").ok_or("'secretKeyRef.namespace' is missing")?,
        _ => &plugin.namespace,
    };
    let text = secrets::read(work.store, namespace, name, key)?;
    secrets::note(work, secrets::find(work.store, namespace, name)?);
    Ok(text)
}

/// JSON patch's `add`; objects and lists on the way are made.
pub fn add(config: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *config = value;
        return Ok(());
    }
    let steps = path.strip_prefix('/').ok_or("'path' must be empty or start with /")?;
    let mut steps = steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).peekable();
    let mut place = config;
    while let Some(step) = steps.next() {
        let next = steps.peek();
        let child = match place {
            Value::Object(map) => map.entry(step).or_insert(Value::Null),
            Value::Array(list) => {
                let at = if step == "-" { Some(list.len()) } else { step.parse().ok() };
                let at = at
                    .filter(|at| *at <= list.len())
                    .ok_or_else(|| format!("'{step}' of 'path' is not a place in the list"))?;
                // The last step puts a value in; those before it go into what is there.
                if next.is_none() || at == list.len() {
                    list.insert(at, Value::Null);
                }
                list.get_mut(at).ok_or("no such place")?
            }
            _ => return Err(format!("'{step}' of 'path' is in neither an object nor a list")),
        };
        if let Some(next) = next
            && child.is_null()
        {
            let index = next == "-" || next.parse::<usize>().is_ok();
            *child = if index { json!([]) } else { json!({}) };
        }
        place = child;
    }
    *place = value;
    Ok(())
}
