//! ai-request-transformer: lets a model rewrite the client's request.

use super::PluginKind;
use super::transformer::{self, rules};
use crate::config::schema::{Field, Record};

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "ai-request-transformer",
    priority: 777,
    schema,
    rules,
    consumer_scope: false,
    build: super::unserved,
};

/// `config`.
pub fn schema() -> Record {
    let mut record = transformer::record();
    record
        .fields
        .insert(0, Field::text("prompt").required().doc("What the model is told to do with requests."));
    record
}
