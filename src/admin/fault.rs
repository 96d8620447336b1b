//! Kong's error objects: `{code, name, message, fields}`, each with its status.

use super::tree;
use crate::config::problems::Problem;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// Why a request to the Admin API failed.
#[derive(Debug)]
pub struct Fault {
    /// The answer's.
    pub status: StatusCode,
    /// Kong's number of the error, and its name.
    pub kind: Option<(u8, &'static str)>,
    /// In Kong's words.
    pub message: String,
    /// What is wrong with which field.
    pub fields: Option<Box<Value>>,
    /// The same by entity, where a whole configuration was refused.
    pub flattened: Option<Box<Value>>,
}

impl Fault {
    /// An error that is only a message.
    pub fn message(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, kind: None, message: message.into(), fields: None, flattened: None }
    }

    fn kind(status: StatusCode, code: u8, name: &'static str, message: impl Into<String>) -> Self {
        Self { kind: Some((code, name)), ..Self::message(status, message) }
    }

    fn fields(mut self, fields: impl Into<Value>) -> Self {
        self.fields = Some(Box::new(fields.into()));
        self
    }

    /// Nothing is there.
    pub fn not_found() -> Self {
        Self::message(StatusCode::NOT_FOUND, "Not found")
    }

    /// Something is there, but not for this method.
    pub fn not_allowed() -> Self {
        Self::message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
    }

    /// An entity is not what its schema asks for. Paths of the problems start at the entity.
    pub fn schema(problems: &[Problem]) -> Self {
        Self::violations(tree::of(problems))
    }

    /// The same of a tree of errors.
    pub fn violations(fields: Map<String, Value>) -> Self {
        let texts = tree::texts(&fields);
        let joined = texts.join("; ");
        let message = match texts.len() {
            0 | 1 => format!("schema violation ({joined})"),
            count => format!("{count} schema violations ({joined})"),
        };
        Self::kind(StatusCode::BAD_REQUEST, 2, "schema violation", message).fields(fields)
    }

    /// The id is taken.
    pub fn primary_key(id: &str) -> Self {
        let message = format!("primary key violation on key '{{id=\"{id}\"}}'");
        Self::kind(StatusCode::BAD_REQUEST, 3, "primary key violation", message).fields(json!({"id": id}))
    }

    /// What an entity refers to is not there.
    pub fn foreign_key(field: &str, id: &str, collection: &str) -> Self {
        let message = format!(
            "the foreign key '{{id=\"{id}\"}}' does not reference an existing '{collection}' entity."
        );
        Self::kind(StatusCode::BAD_REQUEST, 4, "foreign key violation", message)
            .fields(json!({field: {"id": id}}))
    }

    /// Others refer to an entity that was to go.
    pub fn referenced(by: &str, collection: &str) -> Self {
        let message = format!("an existing '{by}' entity references this '{collection}' entity");
        Self::kind(StatusCode::BAD_REQUEST, 4, "foreign key violation", message)
            .fields(json!({"@referenced_by": by}))
    }

    /// Another entity has these values already.
    pub fn unique(fields: Map<String, Value>) -> Self {
        let message = format!("UNIQUE violation detected on '{}'", tree::lua(&Value::Object(fields.clone())));
        Self::kind(StatusCode::CONFLICT, 5, "unique constraint violation", message).fields(fields)
    }

    /// The offset was not given out by this gateway.
    pub fn offset(offset: &str) -> Self {
        let message = format!("'{offset}' is not a valid offset");
        Self::kind(StatusCode::BAD_REQUEST, 7, "invalid offset", message)
    }

    /// The store failed.
    pub fn store(why: &str) -> Self {
        Self::kind(StatusCode::INTERNAL_SERVER_ERROR, 8, "database error", why)
    }

    /// The page is too small or too large.
    pub fn size() -> Self {
        let message = "size must be an integer between 1 and 1000";
        Self::kind(StatusCode::BAD_REQUEST, 9, "invalid size", message)
    }

    /// An argument of the query makes no sense.
    pub fn option(name: &str, why: &str) -> Self {
        let message = format!("invalid option ({name}: {why})");
        Self::kind(StatusCode::BAD_REQUEST, 11, "invalid options", message).fields(json!({name: why}))
    }

    /// The configuration comes from files, and those are not written.
    pub fn read_only(verb: &str, collection: &str, by: Option<&str>) -> Self {
        let by = by.map(|field| format!(" by '{field}'")).unwrap_or_default();
        let message = format!("cannot {verb} '{collection}' entities{by} when not using a database");
        Self::kind(StatusCode::METHOD_NOT_ALLOWED, 12, "operation unsupported", message)
    }

    /// What an entity refers to by name is not there.
    pub fn unresolved(field: &str, (key, name): (&str, &str), collection: &str) -> Self {
        let why = format!(
            "the foreign key cannot be resolved with '{{{key}=\"{name}\"}}' for an existing '{collection}' entity"
        );
        let message = format!("foreign key unresolved ({field}.{key}: {why})");
        Self::kind(StatusCode::BAD_REQUEST, 13, "foreign keys unresolved", message)
            .fields(json!({field: {key: why}}))
    }

    /// A declarative configuration was refused.
    pub fn declarative(fields: Map<String, Value>) -> Self {
        let shown = tree::lua(&Value::Object(fields.clone()));
        let message = format!("declarative config is invalid: {shown}");
        Self::kind(StatusCode::BAD_REQUEST, 14, "invalid declarative configuration", message).fields(fields)
    }

    /// The body.
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        if let Some((code, name)) = self.kind {
            body.insert("code".to_owned(), code.into());
            body.insert("name".to_owned(), name.into());
        }
        body.insert("message".to_owned(), self.message.clone().into());
        if let Some(fields) = &self.fields {
            body.insert("fields".to_owned(), (**fields).clone());
        }
        if let Some(flattened) = &self.flattened {
            body.insert("flattened_errors".to_owned(), (**flattened).clone());
        }
        Value::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_worded_as_kong_words_them() {
        let problems = [Problem::new("config.model", "required field missing")];
        assert_eq!(
            Fault::schema(&problems).body(),
            json!({"code": 2, "name": "schema violation",
                "message": "schema violation (config.model: required field missing)",
                "fields": {"config": {"model": "required field missing"}}})
        );
        let mut whole = Problem::new("", "at least one");
        whole.entity = true;
        let problems = [Problem::new("port", "expected an integer"), whole, Problem::new("paths[1]", "bad")];
        let fault = Fault::schema(&problems);
        assert_eq!(
            fault.message,
            "3 schema violations (at least one; paths.2: bad; port: expected an integer)"
        );
        assert_eq!(
            *fault.fields.unwrap(),
            json!({"@entity": ["at least one"], "paths": [null, "bad"], "port": "expected an integer"})
        );
    }

    #[test]
    fn a_unique_violation_names_the_values() {
        let fields = json!({"name": "x", "route": {"id": "i"}, "service": null}).as_object().unwrap().clone();
        let fault = Fault::unique(fields);
        assert_eq!(
            fault.message,
            "UNIQUE violation detected on '{name=\"x\",route={id=\"i\"},service=null}'"
        );
        assert_eq!((fault.status.as_u16(), fault.kind.unwrap().0), (409, 5));
    }
}
