//! Texts that nobody is to see: shown as dots, and wiped from memory when they are let go.
//!
//! What a library takes a copy of (a header, a connection) is out of reach here; what the configuration
//! holds is not.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use zeroize::{Zeroize, Zeroizing};

/// A key, a password, a token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// As a text's own, so that it is found by one.
impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Secret {
    fn as_str(&self) -> &str {
        self
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Fields of which some are secret.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Fields(Map<String, Value>);

impl Deref for Fields {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// Wipes every text below a value, of which nobody knows which are secret.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_is_used_and_not_shown() {
        let secret: Secret = serde_json::from_value(json!("s3cret")).unwrap();
        assert_eq!(&*secret, "s3cret");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(…) Some(Secret(…))");
    }

    #[test]
    fn wiping_reaches_every_text() {
        let mut value = json!({"a": ["s3cret", {"b": "s3cret"}], "n": 5});
        wipe(&mut value);
        assert_eq!(value, json!({"a": ["", {"b": ""}], "n": 5}));
    }
}
