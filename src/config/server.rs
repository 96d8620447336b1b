//! The server settings file: YAML, read through the same door as everything else, under the environment.

use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

/// A setting: its path in the file, and the form of its environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Key(pub &'static str, pub Form);

/// What the text of a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The value itself, also if it looks like a number.
    Text,
    /// A number, a truth value, or whatever else in YAML.
    Value,
    /// Values with commas between them.
    List,
}

impl Key {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("TOLLGATE_{}", self.0.replace('.', "_").to_uppercase())
    }

    fn value(&self, text: &str) -> Result<Value, String> {
        let part = |text: &str| Value::String(text.trim().to_owned());
        Ok(match self.1 {
            Form::Text => text.into(),
            Form::List => text.split(',').filter(|item| !item.trim().is_empty()).map(part).collect(),
            Form::Value => serde_yaml::from_str(text)
                // Of the text nothing is repeated: it may be a secret that stands in the wrong place.
                .map_err(|_| format!("{}: cannot be read as YAML", self.variable()))?,
        })
    }
}

/// Reads settings. An unknown field or a wrong type is an error, with its line or its variable.
pub fn settings<T: DeserializeOwned>(
    file: Option<&str>,
    keys: &[Key],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<T, String> {
    let text = file.unwrap_or("{}");
    let read = serde_yaml::from_str(text);
    let mut whole: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let mut read: T = read.map_err(|error| error.to_string())?;
    for key in keys {
        let Some(text) = variable(&key.variable()) else { continue };
        put(&mut whole, key.0, key.value(&text)?);
        // One after the other, so that an error says which.
        read =
            serde_yaml::from_value(whole.clone()).map_err(|error| format!("{}: {error}", key.variable()))?;
    }
    Ok(read)
}

fn put(whole: &mut Value, path: &str, value: Value) {
    if !whole.is_mapping() {
        *whole = Value::Mapping(Mapping::new());
    }
    let Value::Mapping(map) = whole else { return };
    match path.split_once('.') {
        Some((first, rest)) => put(map.entry(first.into()).or_insert(Value::Null), rest, value),
        None => drop(map.insert(path.into(), value)),
    }
}
