//! request-termination: answers for the upstream.

use super::{Conf, Echo, Plugin, PluginKind, Reply, Step};
use crate::config::formats;
use crate::config::problems::Problems;
use crate::config::rules::{get, is_set};
use crate::config::schema::{Field, Record, Rule};
use crate::error::Result;
use crate::exchange::Exchange;
use bytes::Bytes;
use pingora::http::RequestHeader;
use serde_json::Value;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("request-termination", 2, schema, build);

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::integer("status_code", 100, 599).required().default(503).doc("Status of the answer."),
        Field::text("message").doc("Message, in the gateway's own shape of an answer."),
        Field::text("content_type").doc("Content type of `body`."),
        Field::text("body").doc("The whole body, instead of a message."),
        Field::flag("echo", false)
            .doc("Whether the answer shows the request, with a body of at most 1 MiB; for debugging."),
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

const JSON: &str = "application/json; charset=utf-8";

#[derive(serde::Deserialize)]
struct Settings {
    status_code: u16,
    message: Option<String>,
    content_type: Option<String>,
    body: Option<String>,
    echo: bool,
    trigger: Option<String>,
}

struct Termination {
    status: u16,
    answer: Answer,
    trigger: Option<String>,
}

enum Answer {
    /// A body and its type; `None`: there is none.
    Fixed(Option<String>, Bytes),
    /// The request, beside a message.
    Echo(Option<String>),
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    let status = settings.status_code;
    let message = settings.message.or_else(|| usual(status).map(str::to_owned));
    let answer = match (settings.body, message) {
        (_, message) if settings.echo => Answer::Echo(message),
        (Some(body), _) => {
            Answer::Fixed(Some(settings.content_type.unwrap_or_else(|| JSON.to_owned())), body.into())
        }
        (None, Some(message)) => {
            let body = serde_json::json!({"message": message}).to_string();
            Answer::Fixed(Some(JSON.to_owned()), body.into())
        }
        (None, None) => Answer::Fixed(None, Bytes::new()),
    };
    Ok(Arc::new(Termination { status, answer, trigger: settings.trigger }))
}

/// What Kong says where the configuration gives no message; of other statuses, nothing.
fn usual(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => "Unauthorized",
        404 => "Not found",
        405 => "Method not allowed",
        500 => "An unexpected error occurred",
        502 => "Bad Gateway",
        503 => "Service unavailable",
        _ => return None,
    })
}

impl Plugin for Termination {
    fn request(&self, _x: &mut Exchange, head: &mut RequestHeader) -> Step {
        if let Some(trigger) = &self.trigger {
            let query = head.uri.query().unwrap_or_default();
            let named = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == *trigger);
            if !named && !head.headers.contains_key(trigger.as_str()) {
                return Step::Next;
            }
        }
        let status = self.status;
        match &self.answer {
            Answer::Fixed(content_type, body) => {
                let (content_type, body) = (content_type.clone(), body.clone());
                Step::Reply(Box::new(Reply { status, content_type, body }))
            }
            Answer::Echo(message) => {
                Step::Echo(Box::new(Echo { status, message: message.clone(), body: None }))
            }
        }
    }
}
