//! `config` of opentelemetry, field by field as Kong has it.

use super::super::{post, queue};
use crate::config::formats;
use crate::config::problems::Problems;
use crate::config::rules::get;
use crate::config::schema::{Field, Kind, Record, Rule};
use serde_json::{Map, Value, json};

/// The formats of contexts that Kong knows; this gateway speaks W3C's.
const EXTRACT: &[&str] = &["ot", "w3c", "datadog", "b3", "gcp", "jaeger", "aws"];
const INJECT: &[&str] = &["preserve", "ot", "w3c", "datadog", "b3", "b3-single", "gcp", "jaeger", "aws"];
const HEADER_TYPES: &[&str] =
    &["preserve", "ignore", "b3", "b3-single", "w3c", "jaeger", "ot", "aws", "gcp", "datadog"];
const DEFAULTS: &[&str] = &["w3c", "datadog", "b3", "gcp", "b3-single", "jaeger", "aws", "ot"];

/// `config`.
pub fn schema() -> Record {
    let texts = |key| Kind::Map { of: Box::new(Kind::text()), key };
    let url = || Kind::checked(formats::http_url);
    Record::new(vec![
        Field::new("traces_endpoint", url()).referenceable().doc("URL of the collector."),
        Field::new("endpoint", Kind::Shorthand { of: Box::new(url()), expand: endpoint })
            .doc("Older name of `traces_endpoint`."),
        Field::new("logs_endpoint", url()).referenceable().doc("Accepted; logs are not sent."),
        Field::new("headers", texts(Some(post::own_header))).secret().doc("Headers of the requests to it."),
        Field::new("resource_attributes", texts(None))
            .doc("What all spans say of this gateway, beside its name, version and host."),
        Field::record("queue", queue::record_of(200)).required().doc("How spans wait."),
        Field::integer("batch_span_count", 1, 1_000_000).doc("Deprecated; use `queue.max_batch_size`."),
        Field::number("batch_flush_delay", 0.0, 3600.0).doc("Deprecated; use `queue.max_coalescing_delay`."),
        Field::above("connect_timeout", 0.0).default(1000).doc("Milliseconds to wait for a connection."),
        Field::above("send_timeout", 0.0).default(5000).doc("Milliseconds to wait between two writes."),
        Field::above("read_timeout", 0.0).default(5000).doc("Milliseconds to wait for the answer."),
        Field::checked("http_response_header_for_traceid", formats::header_name)
            .doc("Header by which clients are told the trace."),
        Field::one_of("header_type", HEADER_TYPES)
            .required()
            .default("preserve")
            .doc("Older way to say `propagation`; `ignore` neither reads nor writes contexts."),
        Field::number("sampling_rate", 0.0, 1.0).doc("Which part of the traces is sent; all if not set."),
        Field::one_of(
            "sampling_strategy",
            &["parent_drop_probability_fallback", "parent_probability_fallback"],
        )
        .required()
        .default("parent_drop_probability_fallback")
        .doc("Whether a caller's own choice is only a bound, or decides."),
        Field::record("propagation", propagation()).required().doc("Which contexts are read and written."),
    ])
}

fn propagation() -> Record {
    let any = |name, words: &[&'static str]| Field::list(name, Kind::one_of(words));
    Record::new(vec![
        any("extract", EXTRACT).doc("Formats to read; `w3c` is."),
        Field::list("clear", Kind::checked(formats::header_name)).doc("Headers that do not go on."),
        any("inject", INJECT).doc("Formats to write; `w3c` is, and `preserve` means it."),
        Field::one_of("default_format", DEFAULTS)
            .required()
            .default("w3c")
            .doc("The format to write where a caller had none."),
    ])
}

/// The rules over several of its fields.
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::AtLeastOneNonEmpty(&["config.traces_endpoint", "config.logs_endpoint"]),
        Rule::Check(formats_served),
    ]
}

fn endpoint(_name: &str, value: Value, config: &mut Map<String, Value>) -> Result<(), String> {
    let named = config.get("traces_endpoint").filter(|named| !named.is_null());
    if named.is_some_and(|named| *named != value) {
        return Err("names another collector than 'traces_endpoint': remove one of the two".to_owned());
    }
    config.insert("traces_endpoint".to_owned(), value);
    Ok(())
}

/// A format that would be written and is not would break the traces of whoever relies on it.
fn formats_served(plugin: &Value, out: &mut Problems<'_>) {
    let refused = "is not supported by this gateway, whose contexts are those of w3c";
    let text = |path: &str| get(plugin, path).and_then(Value::as_str).unwrap_or("w3c").to_owned();
    for (path, more) in
        [("header_type", ["preserve", "ignore"]), ("propagation.default_format", ["w3c", "w3c"])]
    {
        let given = text(&format!("config.{path}"));
        if given != "w3c" && !more.contains(&given.as_str()) {
            out.at("config").at(path).push(format!("'{given}' {refused}"));
        }
    }
    for (list, known) in [("extract", json!(["w3c"])), ("inject", json!(["w3c", "preserve"]))] {
        let given = get(plugin, &format!("config.propagation.{list}")).and_then(Value::as_array);
        let served = |one: &Value| known.as_array().is_some_and(|known| known.contains(one));
        let Some(given) = given.filter(|given| !given.is_empty()) else { continue };
        // Of several to read one is enough; of several to write all are meant.
        let ok = if list == "extract" { given.iter().any(served) } else { given.iter().all(served) };
        if !ok {
            out.at("config").at("propagation").at(list).push(refused);
        }
    }
}
