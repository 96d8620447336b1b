//! What the two transformers have in common: a call of their own to a model.

use crate::config::formats;
use crate::config::llm;
use crate::config::problems::Problems;
use crate::config::schema::{Field, Kind, Record, Rule};
use crate::config::target::Operation;
use serde_json::Value;

/// The fields of both.
pub fn record() -> Record {
    Record::new(vec![
        Field::text("transformation_extract_pattern")
            .doc("What to take of the model's answer: a regular expression."),
        Field::new("http_timeout", Kind::Integer { min: 0, max: i64::MAX, above: Some(-1), one_of: vec![] })
            .required()
            .default(60_000)
            .doc("Milliseconds to wait for the model."),
        Field::flag("https_verify", true).doc("Whether to verify the provider's certificate."),
        llm::body_size(),
        Field::checked("http_proxy_host", formats::host).doc("Proxy for calls by HTTP."),
        Field::port("http_proxy_port").doc("Its port."),
        Field::checked("https_proxy_host", formats::host).doc("Proxy for calls by HTTPS."),
        Field::port("https_proxy_port").doc("Its port."),
        Field::record("llm", llm::target_record()).required().doc("The model to call."),
    ])
}

/// The rules of both.
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::Check(chat_only),
        Rule::AllOrNone(&["config.http_proxy_host", "config.http_proxy_port"]),
        Rule::AllOrNone(&["config.https_proxy_host", "config.https_proxy_port"]),
    ]
}

fn chat_only(plugin: &Value, out: &mut Problems<'_>) {
    let chat = Operation::Chat.name();
    if llm::text(plugin, "config.llm.route_type").is_some_and(|operation| operation != chat) {
        out.at("config.llm.route_type").push(format!("value must be {chat}"));
        out.push(format!("'config.llm.route_type' must be '{chat}' for AI transformer plugins"));
    }
}
