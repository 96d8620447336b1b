//! What Secrets hold. Nothing of it goes into a message.

use super::Work;
use super::object::{Object, Role};
use super::store::Store;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The value of a key of a Secret.
pub fn read(store: &Store, namespace: &str, name: &str, key: &str) -> Result<String, String> {
    let secret = find(store, namespace, name)?;
    value(secret, key)?.ok_or_else(|| format!("{secret} has no key '{key}'"))
}

/// The Secret of that name.
pub fn find<'a>(store: &'a Store, namespace: &str, name: &str) -> Result<&'a Object, String> {
    store
        .find(Role::Secret, namespace, name)
        .ok_or_else(|| format!("no Secret '{namespace}/{name}' in the files that were given"))
}

/// The value of a key: `stringData` goes before `data`, as it does when it is applied.
pub fn value(secret: &Object, key: &str) -> Result<Option<String>, String> {
    let entry = |field: &str| secret.get(field).and_then(|all| all.get(key));
    if let Some(plain) = entry("stringData").and_then(Value::as_str) {
        return Ok(Some(plain.to_owned()));
    }
    let Some(encoded) = entry("data").and_then(Value::as_str) else { return Ok(None) };
    // Long values are often wrapped.
    let packed: String = encoded.split_whitespace().collect();
    let decoded = STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map(Some).ok_or_else(|| format!("the key '{key}' of {secret} is not text in base64"))
}

/// Says that a Secret's value is part of the result.
pub fn note(work: &mut Work<'_>, secret: &Object) {
    work.note(secret, "", false, format!("the values of {secret} are written out"));
}

/// The names of a Secret's keys.
pub fn keys(secret: &Object) -> impl Iterator<Item = &str> {
    let of =
        |field: &str| secret.get(field).and_then(Value::as_object).into_iter().flat_map(|all| all.keys());
    of("data").chain(of("stringData")).map(String::as_str)
}
