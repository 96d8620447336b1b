//! The server settings file: YAML, read through the same door as everything else.

use serde::de::DeserializeOwned;

/// Reads settings; an unknown field or a wrong type is an error with its line.
pub fn settings<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}
