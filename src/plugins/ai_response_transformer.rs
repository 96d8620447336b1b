//! ai-response-transformer: lets a model rewrite the upstream's answer.

use super::PluginKind;
use super::transformer::{self, rules};
use crate::config::schema::{Field, Record};

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "ai-response-transformer",
    priority: 768,
    schema,
    rules,
    consumer_scope: true,
    build: super::unserved,
};

/// `config`.
pub fn schema() -> Record {
    let mut record = transformer::record();
    record
        .fields
        .insert(0, Field::text("prompt").required().doc("What the model is told to do with answers."));
    record.fields.push(
        Field::flag("parse_llm_response_json_instructions", false)
            .doc("Whether the model answers with status, headers and body as JSON."),
    );
    record
}
