//! ai-prompt-template: fills prompts that the configuration holds.

use super::{Conf, Plugin, PluginKind, Step};
use crate::config::llm;
use crate::config::schema::{Field, Kind, Record};
use crate::error::{Error, Result};
use crate::exchange::Exchange;
use crate::wire::doc::Doc;
use bytes::Bytes;
use pingora::http::RequestHeader;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("ai-prompt-template", 773, schema, build);

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

#[derive(serde::Deserialize)]
struct Settings {
    templates: Vec<Source>,
    allow_untemplated_requests: bool,
    log_original_request: bool,
    max_request_body_size: usize,
}

#[derive(serde::Deserialize)]
struct Source {
    name: String,
    template: String,
}

/// A template, cut at its placeholders.
struct Template(Vec<Piece>);

enum Piece {
    Text(String),
    Value(String),
}

struct Templates {
    known: HashMap<String, Template>,
    untemplated: bool,
    keep_original: bool,
    limit: usize,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    Ok(Arc::new(Templates::new(settings)))
}

impl Templates {
    fn new(settings: Settings) -> Self {
        let cut = |source: Source| (source.name, Template::cut(&source.template));
        Self {
            known: settings.templates.into_iter().map(cut).collect(),
            untemplated: settings.allow_untemplated_requests,
            keep_original: settings.log_original_request,
            limit: settings.max_request_body_size,
        }
    }

    /// The rendered request; `None` if none was asked for.
    fn render(&self, doc: &Doc) -> Result<Option<Doc>> {
        let chosen = match (reference(doc, "messages"), reference(doc, "prompt")) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_request(
                    "cannot run 'messages' and 'prompt' templates at the same time",
                ));
            }
            (None, None) if doc.raw("messages").is_none() && doc.raw("prompt").is_none() => {
                let message =
                    "only 'llm/v1/chat' and 'llm/v1/completions' formats are supported for templating";
                return Err(Error::bad_request(message));
            }
            (chat, completion) => chat.or(completion),
        };
        let Some(name) = chosen else {
            return if self.untemplated {
                Ok(None)
            } else {
                Err(Error::bad_request("this LLM route only supports templated requests"))
            };
        };
        let template = self
            .known
            .get(&name)
            .ok_or_else(|| Error::bad_request(format!("could not find template name [{name}]")))?;
        let text = template.fill(&properties(doc)?)?;
        let mut rendered = Doc::parse(Bytes::from(text)).map_err(|error| {
            Error::bad_request(format!("template [{name}] does not render to a request: {error}"))
        })?;
        // KONG(kong/plugins/ai-prompt-template/filters/render-prompt-template.lua): the whole body was
        // replaced, and a client that asked for a stream or a model got neither.
        for key in ["stream", "stream_options", "model"] {
            if let (Some(value), false) = (doc.raw(key), rendered.has(key))
                && let Ok(value) = serde_json::from_str::<&serde_json::value::RawValue>(value)
            {
                rendered.set_raw(key, value);
            }
        }
        Ok(Some(rendered))
    }
}

/// The name in `{template://NAME}`.
fn reference(doc: &Doc, key: &str) -> Option<String> {
    let text = doc.text(key)?;
    Some(text.strip_prefix("{template://")?.strip_suffix('}')?.to_owned())
}

fn properties(doc: &Doc) -> Result<Map<String, Value>> {
    match doc.raw("properties").filter(|raw| *raw != "null") {
        None => Ok(Map::new()),
        Some(raw) => {
            serde_json::from_str(raw).map_err(|_| Error::bad_request("properties must be an object"))
        }
    }
}

impl Template {
    fn cut(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut from = 0;
        while let Some(open) = rest.get(from..).and_then(|tail| tail.find("{{")).map(|at| from + at) {
            let inner = rest.get(open + 2..).unwrap_or_default();
            let name = inner.split_once("}}").map(|(name, _)| name);
            match name.filter(|name| is_name(name)) {
                Some(name) => {
                    pieces.push(Piece::Text(rest.get(..open).unwrap_or_default().to_owned()));
                    pieces.push(Piece::Value(name.to_owned()));
                    rest = inner.get(name.len() + 2..).unwrap_or_default();
                    from = 0;
                }
                None => from = open + 2,
            }
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Self(pieces)
    }

    /// The text with every placeholder's value in it, escaped as inside a JSON string.
    fn fill(&self, properties: &Map<String, Value>) -> Result<String> {
        let mut out = String::new();
        let mut missing: Vec<&str> = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(name) => match properties.get(name) {
                    Some(Value::String(value)) => out.push_str(&escaped(value)),
                    Some(other) => return Err(not_a_string(other)),
                    None if missing.contains(&name.as_str()) => {}
                    None => missing.push(name),
                },
            }
        }
        if missing.is_empty() {
            return Ok(out);
        }
        let names: Vec<String> = missing.iter().map(|name| format!("[{name}]")).collect();
        Err(Error::bad_request(format!("missing template parameters: {}", names.join(", "))))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

fn not_a_string(value: &Value) -> Error {
    let kind = match value {
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Null => "null",
        _ => "table",
    };
    Error::bad_request(format!("property values must be a string, got {kind}"))
}

impl Plugin for Templates {
    fn request(&self, x: &mut Exchange, _head: &mut RequestHeader) -> Step {
        let Some(ai) = &mut x.ai else { return Step::Next };
        match self.render(&ai.doc) {
            Ok(Some(rendered)) => {
                let original = std::mem::replace(&mut ai.doc, rendered);
                ai.original = self.keep_original.then(|| original.bytes());
                Step::Next
            }
            Ok(None) => Step::Next,
            Err(error) => Step::Fail(error),
        }
    }

    fn unreadable(&self) -> Option<&'static str> {
        Some("this LLM route only supports application/json requests")
    }

    fn reads_body(&self) -> Option<usize> {
        Some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(body: &Value) -> Result<Option<String>> {
        let settings = serde_json::json!({
            "templates": [{"name": "a", "template": r#"{"messages":[{"role":"user","content":"Say {{what}} {{ no }}"}]}"#}],
            "allow_untemplated_requests": false, "log_original_request": false, "max_request_body_size": 1
        });
        let templates = Templates::new(serde_json::from_value(settings).unwrap());
        let doc = Doc::parse(Bytes::from(body.to_string())).unwrap();
        let rendered = templates.render(&doc)?;
        Ok(rendered.map(|doc| String::from_utf8(doc.bytes().to_vec()).unwrap()))
    }

    #[test]
    fn values_are_escaped_and_what_the_client_asked_for_survives() {
        let body = serde_json::json!({
            "messages": "{template://a}", "properties": {"what": "\"hi\"\n{{what}}"}, "stream": true, "model": "m"
        });
        assert_eq!(
            render(&body).unwrap().unwrap(),
            r#"{"messages":[{"role":"user","content":"Say \"hi\"\n{{what}} {{ no }}"}],"stream":true,"model":"m"}"#
        );
    }

    #[test]
    fn kongs_messages() {
        let reference = "{template://a}";
        for (body, message) in [
            (serde_json::json!({"messages": []}), "this LLM route only supports templated requests"),
            (
                serde_json::json!({"messages": reference, "prompt": reference}),
                "cannot run 'messages' and 'prompt' templates at the same time",
            ),
            (
                serde_json::json!({"x": 1}),
                "only 'llm/v1/chat' and 'llm/v1/completions' formats are supported for templating",
            ),
            (serde_json::json!({"messages": "{template://b}"}), "could not find template name [b]"),
            (serde_json::json!({"messages": reference}), "missing template parameters: [what]"),
            (serde_json::json!({"messages": reference, "properties": 1}), "properties must be an object"),
            (
                serde_json::json!({"messages": reference, "properties": {"what": 1}}),
                "property values must be a string, got number",
            ),
        ] {
            assert_eq!(render(&body).unwrap_err().message(), message, "{body}");
        }
    }
}
