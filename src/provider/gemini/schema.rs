//! Which JSON Schemas are Gemini's own kind of schema.
//!
//! `parameters` and `responseSchema` take a part of `OpenAPI`'s schema, and refuse a request with any
//! other keyword. The newer `parametersJsonSchema` and `responseJsonSchema` take JSON Schema proper.
//! Either way the client's text goes as it was written.

use crate::wire::chat::lenient::Text;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Schemas within schemas beyond this are not looked into.
const DEEPEST: usize = 32;

/// Whether the schema needs no keyword but those of the older fields.
pub(super) fn is_plain(schema: &RawValue) -> bool {
    plain(schema.get(), 0)
}

/// Whether it says no more than that there are no parameters, which some models refuse to be told.
pub(super) fn is_empty(schema: &RawValue) -> bool {
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(schema.get()) else { return false };
    fields.0.iter().all(|(key, value)| match &**key {
        "properties" => value.get().trim_matches(['{', '}', ' ', '\n', '\r', '\t']).is_empty(),
        "required" => value.get().trim_matches(['[', ']', ' ', '\n', '\r', '\t']).is_empty(),
        _ => matches!(&**key, "type" | "additionalProperties" | "$schema"),
    })
}

fn plain(schema: &str, depth: usize) -> bool {
    if depth > DEEPEST {
        return false;
    }
    let Ok(Fields(fields)) = serde_json::from_str(schema) else { return false };
    fields.iter().all(|(key, value)| {
        let value = value.get();
        match &**key {
            "type" | "title" | "description" | "pattern" => value.starts_with('"'),
            "format" => FORMATS.contains(&value),
            "enum" => serde_json::from_str::<Vec<Text<'_>>>(value).is_ok(),
            "items" => plain(value, depth + 1),
            "properties" => serde_json::from_str::<Fields<'_>>(value)
                .is_ok_and(|named| named.0.iter().all(|(_, schema)| plain(schema.get(), depth + 1))),
            "anyOf" => serde_json::from_str::<Vec<&RawValue>>(value)
                .is_ok_and(|list| list.iter().all(|schema| plain(schema.get(), depth + 1))),
            "nullable" | "required" | "default" | "example" | "minimum" | "maximum" | "minItems"
            | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties"
            | "propertyOrdering" => true,
            _ => false,
        }
    })
}

/// The formats that the older fields know.
const FORMATS: [&str; 6] = ["\"enum\"", "\"date-time\"", "\"int32\"", "\"int64\"", "\"float\"", "\"double\""];

/// The fields of an object in their order.
struct Fields<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a schema")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn plain_schemas_are_told_from_json_schema() {
        for (schema, expected) in [
            (
                r#"{"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}, "required": ["a"]}"#,
                true,
            ),
            (r#"{"type": "array", "items": {"anyOf": [{"type": "integer", "format": "int32"}]}}"#, true),
            (r#"{"type": "object", "properties": {"additionalProperties": {"type": "string"}}}"#, true),
            (r#"{"type": "object", "additionalProperties": false}"#, false),
            (r##"{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}"##, false),
            (r#"{"type": ["string", "null"]}"#, false),
            (r#"{"type": "string", "format": "email"}"#, false),
            (r#"{"type": "integer", "enum": [1, 2]}"#, false),
            (r#"{"items": [{"type": "string"}]}"#, false),
            ("true", false),
        ] {
            assert_eq!(is_plain(raw(schema)), expected, "{schema}");
        }
        let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(60), "}".repeat(60));
        assert!(!is_plain(raw(&deep)));
    }

    #[test]
    fn no_parameters_are_no_schema() {
        assert!(is_empty(raw(
            r#"{"type": "object", "properties": { }, "required": [], "additionalProperties": false}"#
        )));
        assert!(!is_empty(raw(r#"{"type": "object", "properties": {"a": {}}}"#)));
        assert!(!is_empty(raw(r#"{"type": "object", "description": "any"}"#)));
    }
}
