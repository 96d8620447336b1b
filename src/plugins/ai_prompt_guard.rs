//! ai-prompt-guard: lets prompts pass by what matches them.

use super::PluginKind;
use crate::config::llm;
use crate::config::schema::{Conditional, Field, Kind, Match, Record, Rule};

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "ai-prompt-guard",
    priority: 771,
    schema,
    rules,
    consumer_scope: true,
    build: super::unserved,
};

/// `config`. A pattern that does not compile is no problem of the file: see the runtime.
pub fn schema() -> Record {
    let patterns = |name| Field::list(name, Kind::sized(1, 500)).sized(0, 10);
    Record::new(vec![
        patterns("allow_patterns").doc("A prompt has to match one of these."),
        patterns("deny_patterns").doc("A prompt must not match any of these."),
        Field::flag("allow_all_conversation_history", false)
            .doc("Whether only the latest message is looked at."),
        Field::flag("match_all_roles", false).doc("Whether messages of other roles than the user's count."),
        llm::body_size(),
        llm::format_field(),
    ])
}

fn rules() -> Vec<Rule> {
    vec![
        Rule::AtLeastOneNonEmpty(&["config.allow_patterns", "config.deny_patterns"]),
        Rule::Conditional(Conditional {
            when: "config.match_all_roles",
            is: Match::Truth(true),
            then: "config.allow_all_conversation_history",
            must: Match::Truth(false),
            message: None,
        }),
    ]
}
