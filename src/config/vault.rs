//! References to secrets: `{vault://env/NAME[/key][?prefix=X][#version]}`.
//!
//! Only fields that say so in their schema may hold one; anywhere else it is plain text. What a
//! reference stands for is never logged, nor is the reference's own text beyond the name.

use super::schema::{Kind, Record};
use serde_json::Value;
use std::borrow::Cow;

/// Reads an environment variable; tests bring their own.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's environment.
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A parsed reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The vault: this gateway has `env`.
    pub vault: String,
    /// What the vault knows it by.
    pub resource: String,
    /// A key of the JSON object that the secret is.
    pub key: Option<String>,
    /// Goes before the resource.
    pub prefix: Option<String>,
    /// 2 is the one before the current.
    pub version: Option<u64>,
}

/// Whether a text looks like a reference.
pub fn is_reference(text: &str) -> bool {
    text.starts_with("{vault://") && text.ends_with('}')
}

/// Reads a reference.
pub fn parse(text: &str) -> Result<Reference, String> {
    let inner = text
        .strip_prefix("{vault://")
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(|| format!("not a reference [{text}]"))?;
    let (inner, version) = match inner.split_once('#') {
        Some((inner, version)) => (inner, Some(version)),
        None => (inner, None),
    };
    let (inner, query) = inner.split_once('?').unwrap_or((inner, ""));
    let (vault, path) = inner.split_once('/').ok_or_else(|| {
        let what = if inner.is_empty() { "host" } else { "path" };
        format!("reference url is missing {what} [{text}]")
    })?;
    if vault.is_empty() {
        return Err(format!("reference url is missing host [{text}]"));
    }
    if path.is_empty() {
        return Err(format!("reference url has empty path [{text}]"));
    }
    let version = match version.map(str::parse) {
        Some(Err(_)) => return Err(format!("reference url has invalid version [{text}]")),
        Some(Ok(version)) => Some(version),
        None => None,
    };
    let (resource, key) =
        split_path(path).ok_or_else(|| format!("reference url has invalid path [{text}]"))?;
    let prefix = form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "prefix").then(|| value.into_owned()));
    Ok(Reference { vault: vault.to_owned(), resource, key, prefix, version })
}

/// The last of several segments is the key; a trailing slash says that there is none.
fn split_path(path: &str) -> Option<(String, Option<String>)> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let directory = path.ends_with('/');
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => None,
        [only] => Some((decode(only), None)),
        [_, ..] if directory => Some((decode(&parts.join("/")), None)),
        [resource @ .., key] => Some((decode(&resource.join("/")), Some(decode(key)))),
    }
}

impl Reference {
    /// The environment variable it names.
    pub fn variable(&self) -> String {
        let name = format!("{}{}", self.prefix.as_deref().unwrap_or_default(), self.resource);
        let suffix = if self.version == Some(2) { "_PREVIOUS" } else { "" };
        format!("{}{suffix}", name.replace('-', "_").to_uppercase())
    }

    /// The secret, or why there is none.
    pub fn resolve(&self, env: Env<'_>) -> Result<String, Cow<'static, str>> {
        if self.vault != "env" {
            return Err("the only vault of this gateway is 'env'".into());
        }
        let variable = self.variable();
        let secret =
            env(&variable).ok_or_else(|| format!("the environment variable {variable} is not set"))?;
        let Some(key) = &self.key else { return Ok(secret) };
        let object: Value = serde_json::from_str(&secret).map_err(|_| "the secret is not JSON")?;
        match object.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err("the key's value is not a string".into()),
            None => Err("the secret has no such key".into()),
        }
    }
}

/// Replaces every reference in a checked value by what it stands for; by `""` if by nothing.
pub fn resolve(record: &Record, value: &mut Value, path: &str, env: Env<'_>) {
    for field in &record.fields {
        let Some(slot) = value.get_mut(field.name) else { continue };
        let path = format!("{path}.{}", field.name);
        if field.referenceable
            && let Some(text) = slot.as_str().filter(|text| is_reference(text))
        {
            *slot = Value::String(look_up(text, &path, env));
        } else {
            resolve_kind(&field.kind, slot, &path, env);
        }
    }
}

fn resolve_kind(kind: &Kind, value: &mut Value, path: &str, env: Env<'_>) {
    match (kind, value) {
        (Kind::Record(record), value) => resolve(record, value, path, env),
        (Kind::List { of, .. }, Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                resolve_kind(of, item, &format!("{path}[{index}]"), env);
            }
        }
        (Kind::Map { of, .. }, Value::Object(map)) => {
            for (name, value) in map {
                resolve_kind(of, value, &format!("{path}.{name}"), env);
            }
        }
        _ => {}
    }
}

fn look_up(text: &str, path: &str, env: Env<'_>) -> String {
    let resolved =
        parse(text).map_err(|_| (String::new(), Cow::from("it is malformed"))).and_then(|reference| {
            reference.resolve(env).map_err(|why| (format!("{}/{}", reference.vault, reference.resource), why))
        });
    resolved.unwrap_or_else(|(name, why)| {
        tracing::warn!(field = path, secret = name, "unable to resolve a vault reference: {why}");
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Field;
    use serde_json::json;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "OPEN_AI_KEY" => "secret",
            "OPEN_AI_KEY_PREVIOUS" => "older",
            "TEAM_KEYS" => r#"{"a": "of a", "n": 5}"#,
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn get(text: &str) -> Result<String, Cow<'static, str>> {
        parse(text).unwrap().resolve(&env)
    }

    #[test]
    fn resolves_names_keys_prefixes_and_versions() {
        assert_eq!(get("{vault://env/open-ai-key}").unwrap(), "secret");
        assert_eq!(get("{vault://env/ai-key?prefix=open-}").unwrap(), "secret");
        assert_eq!(get("{vault://env/open-ai-key#2}").unwrap(), "older");
        assert_eq!(get("{vault://env/open-ai-key#1}").unwrap(), "secret");
        assert_eq!(get("{vault://env/team-keys/a}").unwrap(), "of a");
        assert_eq!(get("{vault://env/keys/a?prefix=team_}").unwrap(), "of a");
        assert!(get("{vault://env/nope}").is_err());
        assert!(get("{vault://env/team-keys/n}").is_err());
        assert!(get("{vault://env/team-keys/z}").is_err());
        assert!(get("{vault://env/open-ai-key/z}").is_err());
        assert!(get("{vault://aws/open-ai-key}").is_err());
    }

    #[test]
    fn refuses_malformed_references() {
        for (text, part) in [
            ("{vault://env}", "missing path"),
            ("{vault://env/}", "empty path"),
            ("{vault:///x}", "missing host"),
            ("{vault://}", "missing host"),
            ("{vault://env/x#latest}", "invalid version"),
            ("{vault://env//}", "invalid path"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn resolves_only_where_the_schema_allows_it() {
        let item = || Record::new(vec![Field::text("open").referenceable(), Field::text("plain")]);
        let record = Record::new(vec![
            Field::record("one", item()),
            Field::list("many", Kind::Record(std::sync::Arc::new(item()))),
        ]);
        let reference = "{vault://env/open-ai-key}";
        let mut value = json!({
            "one": {"open": reference, "plain": reference},
            "many": [{"open": "{vault://env/nope}"}, {"open": "as it is"}],
        });
        resolve(&record, &mut value, "config", &env);
        assert_eq!(
            value,
            json!({
                "one": {"open": "secret", "plain": reference},
                "many": [{"open": ""}, {"open": "as it is"}],
            })
        );
    }
}
