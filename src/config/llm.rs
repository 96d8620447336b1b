//! The schema that the AI plugins share: how one target is called (Kong's llm/schemas/init.lua).
//!
//! What only one provider knows comes from the providers themselves. As in Kong, every provider's
//! options are accepted whichever provider is configured.

use super::formats;
use super::problems::Problems;
use super::rules::get;
use super::schema::{Field, Kind, Record, Rule};
use super::target::{Operation, TargetConf};
use crate::provider::{self, vocabulary};
use serde_json::Value;

/// The largest `max_request_body_size`: bodies are held in memory.
const MAX_BODY: i64 = 64 * 1024 * 1024;

/// One target: `config` of a plugin that has one, an item of `targets` of one that has several.
pub fn target_record() -> Record {
    Record::new(vec![
        Field::one_of(
            "route_type",
            &[Operation::Chat.name(), Operation::Completions.name(), Operation::Preserve.name()],
        )
        .required()
        .doc("What the route serves; `preserve` forwards requests and replies as they come."),
        Field::record("auth", auth_record()),
        Field::record("model", model_record()).required(),
        Field::record("logging", logging_record()).required(),
    ])
    .rules(vec![
        Rule::AllOrNone(&["auth.header_name", "auth.header_value"]),
        Rule::AllOrNone(&["auth.param_name", "auth.param_value", "auth.param_location"]),
        Rule::Check(provider_rules),
    ])
}

/// How the gateway proves who it is to the provider, or to a model that makes embeddings.
pub fn auth_record() -> Record {
    let mut fields = vec![
        Field::text("header_name").referenceable().shown().doc("Header that carries the key."),
        Field::text("header_value").referenceable().doc("The whole value of that header: `Bearer KEY`."),
        Field::text("param_name").referenceable().shown().doc("Parameter that carries the key."),
        Field::text("param_value").referenceable().doc("The key for that parameter."),
        Field::one_of("param_location", &["query", "body"]).doc("Where that parameter goes."),
        Field::boolean("allow_override")
            .default(false)
            .doc("Whether the client's own header or parameter of that name is kept."),
    ];
    fields.extend(vocabulary::identity_fields());
    Record::new(fields)
}

/// `max_request_body_size`, which all AI plugins have.
pub fn body_size() -> Field {
    // KONG(plugins/ai-proxy/schema.lua): has no upper bound, nor the memory for one.
    Field::new(
        "max_request_body_size",
        Kind::Integer { min: 1, max: MAX_BODY, above: Some(0), one_of: Vec::new() },
    )
    .default(8192)
    .doc("Largest request body in bytes, up to 64 MiB.")
}

/// `llm_format`, the language of the route's clients.
pub fn format_field() -> Field {
    let mut formats = vec![vocabulary::COMMON_FORMAT];
    formats.extend(vocabulary::NATIVE_FORMATS);
    Field::one_of("llm_format", &formats)
        .default(vocabulary::COMMON_FORMAT)
        .doc("The API that clients speak; a provider's own is forwarded untranslated.")
}

/// `llm_format` against one target that stands at `place` below the plugin.
pub fn check_format(format: &str, target: &Value, place: &str, out: &mut Problems<'_>) {
    if !vocabulary::NATIVE_FORMATS.contains(&format) {
        return;
    }
    let chat = Operation::Chat.name();
    if text(target, "route_type").is_some_and(|operation| operation != chat) {
        out.at(place).at("route_type").push(format!("value must be {chat}"));
        out.push_entity(format!(
            "native provider options in llm_format can only be used with the '{chat}' route_type"
        ));
    }
    if text(target, "model.provider").is_some_and(|provider| provider != format) {
        out.at(place).at("model.provider").push(format!("value must be {format}"));
        out.push_entity(format!(
            "native llm_format '{format}' can only be used with the '{format}' model.provider"
        ));
    }
}

/// The text at a dotted path.
pub fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    get(value, path).and_then(Value::as_str)
}

fn model_record() -> Record {
    Record::new(vec![
        Field::one_of("provider", &provider_names()).required().doc("Whose API the upstream speaks."),
        Field::text("name").doc("Model to ask for; without it the client chooses."),
        Field::record("options", options_record()),
    ])
}

fn options_record() -> Record {
    let mut fields = vec![
        Field::new(
            "max_tokens",
            Kind::Integer { min: 0, max: i64::MAX, above: Some(-1), one_of: Vec::new() },
        )
        .doc("Most tokens of an answer."),
        Field::above("input_cost", 0.0).doc("Price of a million prompt tokens."),
        Field::above("output_cost", 0.0).doc("Price of a million completion tokens."),
        Field::number("temperature", 0.0, 5.0).doc("Sampling temperature."),
        Field::number("top_p", 0.0, 1.0).doc("Probability mass of nucleus sampling."),
        Field::integer("top_k", 0, 500).doc("How many of the most likely tokens are considered."),
        Field::checked("upstream_url", formats::http_url)
            .doc("Where to send requests instead of the provider's address."),
        Field::text("upstream_path")
            .doc("Path to send requests to instead of the provider's; superseded by `upstream_url`."),
    ];
    let own = provider::PROVIDERS.iter().flat_map(|provider| provider.options());
    for field in own {
        if !fields.iter().any(|known| known.name == field.name) {
            fields.push(field);
        }
    }
    Record::new(fields)
}

fn logging_record() -> Record {
    Record::new(vec![
        Field::flag("log_statistics", false).doc("Whether token counts and cost go to the logs and metrics."),
        Field::flag("log_payloads", false).doc("Whether request and reply bodies go to the logs."),
    ])
}

fn provider_names() -> Vec<&'static str> {
    provider::PROVIDERS.iter().map(|provider| provider.name()).collect()
}

/// Hands the target to its provider's own rules.
fn provider_rules(value: &Value, out: &mut Problems<'_>) {
    let Some(name) = text(value, "model.provider") else { return };
    let (conf, bad) = match readable(value, out) {
        (Ok(conf), bad) => (conf, bad),
        // What is missing has been reported; anything else must not pass for checked.
        (Err(why), bad) if bad.is_empty() => return out.push(format!("cannot be read: {why}")),
        _ => return,
    };
    let since = out.count();
    if let Some(provider) = provider::find(name) {
        provider.check(&conf, out);
    }
    // A field that is there but wrong has been reported as that, and is not missing as well.
    out.retain(since, |problem| !bad.iter().any(|name| problem.message.contains(&format!("'{name}'"))));
}

/// The target without the fields that are wrong, and the names of those.
fn readable(value: &Value, out: &Problems<'_>) -> (serde_json::Result<TargetConf>, Vec<String>) {
    let mut value = value.clone();
    let bad: Vec<String> = out
        .below(0)
        .filter_map(|problem| problem.path.strip_prefix(out.path()))
        .map(|path| path.trim_start_matches('.').to_owned())
        .filter(|path| !path.is_empty())
        .collect();
    for path in &bad {
        remove(&mut value, path);
    }
    if let Value::Object(map) = &mut value {
        map.entry("route_type").or_insert_with(|| Operation::Chat.name().into());
    }
    (serde_json::from_value(value), bad)
}

fn remove(value: &mut Value, path: &str) {
    match path.split_once('.') {
        Some((head, rest)) => {
            if let Some(value) = value.get_mut(head) {
                remove(value, rest);
            }
        }
        None => {
            if let Value::Object(map) = value {
                map.shift_remove(path);
            }
        }
    }
}
