//! ai-prompt-decorator: puts messages before and after those of the client.

use super::PluginKind;
use crate::config::llm;
use crate::config::schema::{Field, Kind, Record, Rule};
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "ai-prompt-decorator",
    priority: 772,
    schema,
    rules,
    consumer_scope: true,
    build: super::unserved,
};

/// `config`.
pub fn schema() -> Record {
    let message = Arc::new(Record::new(vec![
        Field::one_of("role", &["system", "assistant", "user"])
            .required()
            .default("system")
            .doc("Who is said to speak."),
        Field::new("content", Kind::sized(1, 500)).required().doc("What is said."),
    ]));
    let messages = |name| Field::list(name, Kind::Record(Arc::clone(&message))).sized(0, 15);
    Record::new(vec![
        Field::record(
            "prompts",
            Record::new(vec![
                messages("prepend").doc("Messages before the client's."),
                messages("append").doc("Messages after the client's."),
            ]),
        ),
        llm::body_size(),
        llm::format_field(),
    ])
}

fn rules() -> Vec<Rule> {
    vec![Rule::AtLeastOneNonEmpty(&["config.prompts.prepend", "config.prompts.append"])]
}
