//! The two files of the guided start.

use super::answers::Answers;
use crate::config::{check, document};
use crate::plugins::ai_proxy;
use crate::provider::offer::Access;
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const HEAD: &str = "\
# Written by `tollgate init`. Keys are named by reference: they stand in the file of keys.
# `tollgate check` says what is wrong with a change.
";

/// The configuration: a route to each provider.
pub fn configuration(chosen: &[Answers]) -> Result<String, String> {
    let routes: Vec<Value> = chosen.iter().map(route).collect();
    let root = json!({
        "_format_version": "3.0",
        "services": [{"name": "ai", "url": "http://localhost:32000", "routes": routes}],
        "plugins": [{"name": crate::plugins::prometheus::KIND.name, "config": {"ai_metrics": true}}],
    });
    let root = root.as_object().cloned().unwrap_or_default();
    let text = format!("{HEAD}{}", document::write(&root)?);
    // What is written must be good, or the answers were not.
    match check::check(&check::sources(&[("the configuration".to_owned(), text.clone())])) {
        Ok(_) => Ok(text),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

fn route(one: &Answers) -> Value {
    let provider = one.offer.provider;
    let mut options: Map<String, Value> =
        one.options.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    if let Some((input, output)) = one.price {
        options.insert("input_cost".to_owned(), input.into());
        options.insert("output_cost".to_owned(), output.into());
    }
    let mut config = json!({
        "route_type": "llm/v1/chat",
        "logging": {"log_statistics": true},
    });
    match &one.offer.access {
        Access::Key { header, .. } => {
            let reference = format!("{{vault://env/{provider}-auth-header}}");
            put(&mut config, "auth", json!({"header_name": header, "header_value": reference}));
        }
        Access::Address(_) => drop(options.insert("upstream_url".to_owned(), one.access.clone().into())),
    }
    put(&mut config, "model", json!({"provider": provider, "name": one.model, "options": options}));
    json!({
        "name": format!("{provider}-chat"),
        "paths": [format!("~/{provider}/chat$")],
        "plugins": [{"name": ai_proxy::KIND.name, "config": config}],
    })
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(name.to_owned(), value);
    }
}

/// The keys, as a shell reads them.
pub fn keys(chosen: &[Answers]) -> String {
    let mut text =
        String::from("# Keys of the gateway: `set -a; . ./this-file; set +a` before `tollgate run`.\n");
    for one in chosen {
        if let Access::Key { before, .. } = one.offer.access {
            let name = one.offer.provider.to_uppercase();
            let value = format!("{before}{}", one.access).replace('\'', "'\\''");
            text.extend([name.as_str(), "_AUTH_HEADER='", &value, "'\n"]);
        }
    }
    text
}

/// Writes a file that only its owner reads.
pub fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| {
        // A file that was there keeps its mode unless it is told.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    });
    written.map_err(|error| format!("cannot write '{}': {error}", path.display()))
}

/// A path as the shell's `.` wants it: without a slash it would be searched for.
pub fn sourced(path: &Path) -> String {
    let shown = path.display().to_string();
    if shown.contains('/') { shown } else { format!("./{shown}") }
}
