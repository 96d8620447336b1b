//! ai-prompt-decorator: puts messages before and after those of the client.

use super::{Conf, Plugin, PluginKind, Step};
use crate::config::llm;
use crate::config::schema::{Field, Kind, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use crate::wire::doc::Doc;
use pingora::http::RequestHeader;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind =
    PluginKind { rules, ..PluginKind::new("ai-prompt-decorator", 772, schema, build) };

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

#[derive(serde::Deserialize)]
struct Settings {
    prompts: Prompts,
    max_request_body_size: usize,
}

#[derive(serde::Deserialize)]
struct Prompts {
    #[serde(default)]
    prepend: Option<Vec<Message>>,
    #[serde(default)]
    append: Option<Vec<Message>>,
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Message {
    role: String,
    content: String,
}

/// Both ends, written as JSON once.
struct Decorator {
    front: Vec<Box<RawValue>>,
    back: Vec<Box<RawValue>>,
    limit: usize,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let Settings { prompts, max_request_body_size: limit } = conf.read()?;
    let (front, back) = (written(prompts.prepend.as_deref())?, written(prompts.append.as_deref())?);
    Ok(Arc::new(Decorator { front, back, limit }))
}

fn written(messages: Option<&[Message]>) -> Result<Vec<Box<RawValue>>> {
    let raw = |message: &Message| serde_json::value::to_raw_value(message);
    let written: Result<Vec<_>, _> = messages.unwrap_or_default().iter().map(raw).collect();
    written.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

impl Decorator {
    fn decorate(&self, doc: &mut Doc) -> Result<()> {
        doc.surround("messages", &self.front, &self.back)
            .map_err(|_| Error::bad_request("this LLM route only supports llm/chat type requests"))
    }
}

impl Plugin for Decorator {
    fn request(&self, x: &mut Exchange, _head: &mut RequestHeader) -> Step {
        x.ai.as_mut().map_or(Ok(()), |ai| self.decorate(&mut ai.doc)).into()
    }

    fn unreadable(&self) -> Option<&'static str> {
        Some("this LLM route only supports llm/chat type requests")
    }

    fn reads_body(&self) -> Option<usize> {
        Some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn both_ends_are_spliced_and_the_rest_is_untouched() {
        let message = |content: &str| Message { role: "system".to_owned(), content: content.to_owned() };
        let decorator = Decorator {
            front: written(Some(&[message("a \"b\"")])).unwrap(),
            back: written(Some(&[message("z")])).unwrap(),
            limit: 1,
        };
        let mut doc =
            Doc::parse(Bytes::from_static(br#"{"messages":[{"role":"user", "content":1.0}]}"#)).unwrap();
        decorator.decorate(&mut doc).unwrap();
        assert_eq!(
            doc.raw("messages").unwrap(),
            r#"[{"role":"system","content":"a \"b\""},{"role":"user", "content":1.0},{"role":"system","content":"z"}]"#
        );
    }

    #[test]
    fn only_chats_can_be_decorated() {
        let decorator = Decorator { front: Vec::new(), back: Vec::new(), limit: 1 };
        for body in [r#"{"prompt":"x"}"#, r#"{"messages":"x"}"#, "{}"] {
            let mut doc = Doc::parse(Bytes::from(body)).unwrap();
            let error = decorator.decorate(&mut doc).unwrap_err();
            assert_eq!(error.message(), "this LLM route only supports llm/chat type requests");
        }
    }
}
