//! key-auth: knows consumers by their keys.

use super::PluginKind;
use crate::config::formats;
use crate::config::schema::{Field, Kind, Record};
use serde_json::json;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "key-auth",
    priority: 1250,
    schema,
    rules: Vec::new,
    consumer_scope: false,
    build: super::unserved,
};

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::list("key_names", Kind::checked(formats::header_name))
            .required()
            .default(json!(["apikey"]))
            .doc("Names of the header or parameter that holds the key."),
        Field::flag("hide_credentials", false).doc("Whether the upstream is spared the key."),
        Field::text("anonymous").doc("Consumer that requests without a valid key count as."),
        Field::flag("key_in_header", true).doc("Whether headers are searched."),
        Field::flag("key_in_query", true).doc("Whether the query is searched."),
        Field::flag("key_in_body", false).doc("Whether the body is searched."),
        Field::flag("run_on_preflight", true).doc("Whether `OPTIONS` requests need a key."),
        Field::text("realm").doc("Realm of `WWW-Authenticate`."),
    ])
}
