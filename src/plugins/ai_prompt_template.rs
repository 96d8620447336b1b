//! ai-prompt-template: fills prompts that the configuration holds.

use super::PluginKind;
use crate::config::llm;
use crate::config::schema::{Field, Kind, Record};
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "ai-prompt-template",
    priority: 773,
    schema,
    rules: Vec::new,
    consumer_scope: true,
    build: super::unserved,
};

/// `config`.
pub fn schema() -> Record {
    let template = Record::new(vec![
        Field::text("name").required().doc("What requests call it by: `{template://NAME}`."),
        Field::text("template").required().doc("The request body, with `{{placeholders}}`."),
    ]);
    Record::new(vec![
        Field::list("templates", Kind::Record(Arc::new(template))).required().doc("The templates."),
        Field::flag("allow_untemplated_requests", true).doc("Whether requests may go without a template."),
        Field::flag("log_original_request", false).doc("Whether the client's own request is logged."),
        llm::body_size(),
    ])
}
