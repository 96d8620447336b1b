//! request-termination: answers for the upstream.

use super::PluginKind;
use crate::config::formats;
use crate::config::problems::Problems;
use crate::config::rules::{get, is_set};
use crate::config::schema::{Field, Record, Rule};
use serde_json::Value;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "request-termination",
    priority: 2,
    schema,
    rules: Vec::new,
    consumer_scope: true,
    build: super::unserved,
};

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::integer("status_code", 100, 599).required().default(503).doc("Status of the answer."),
        Field::text("message").doc("Message, in the gateway's own shape of an answer."),
        Field::text("content_type").doc("Content type of `body`."),
        Field::text("body").doc("The whole body, instead of a message."),
        Field::flag("echo", false).doc("Whether the answer is a copy of the request."),
        Field::checked("trigger", formats::header_name)
            .doc("Header or parameter without which requests pass."),
    ])
    .rules(vec![Rule::Check(one_way_to_answer)])
}

fn one_way_to_answer(config: &Value, out: &mut Problems<'_>) {
    let set = |name: &str| is_set(get(config, name));
    if set("message") && (set("content_type") || set("body")) {
        out.push("message cannot be used with content_type or body");
    }
    if set("content_type") && !set("body") {
        out.push("content_type requires a body");
    }
    let echo = get(config, "echo").and_then(Value::as_bool) == Some(true);
    if echo && (set("content_type") || set("body")) {
        out.push("echo cannot be used with content_type and body");
    }
}
