//! What a request asks for, and whether this target serves it: Kong's checks, in Kong's order.

use super::Streaming;
use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Result};
use crate::wire::doc::Doc;

const NO_PROMPTS: &str = "request body doesn't contain valid prompts";

/// The request as the target will serve it.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// The configured model, or the client's.
    pub model: String,
    /// Whether the upstream is asked to stream.
    pub stream: bool,
    /// Whether the client asked for the usage chunk.
    pub include_usage: bool,
}

impl Ask {
    /// Reads and checks a request.
    pub fn read(doc: &Doc, conf: &TargetConf, streaming: Streaming) -> Result<Self> {
        let operation = conf.route_type;
        let shape = if operation == Operation::Preserve { Shape::None } else { Shape::read(doc)? };
        let model = model(doc, conf)?;
        if operation != Operation::Preserve {
            shape.fits(operation)?;
        }
        let wanted = flag(doc, "stream")?;
        if wanted && streaming == Streaming::Deny {
            return Err(Error::bad_request("response streaming is not enabled for this LLM"));
        }
        let forced = streaming == Streaming::Always && operation != Operation::Preserve;
        Ok(Self { model, stream: wanted || forced, include_usage: wants_usage(doc)? })
    }
}

/// Which of OpenAI's two request shapes a body has.
#[derive(Clone, Copy)]
enum Shape {
    Messages,
    Prompt,
    Both,
    None,
}

impl Shape {
    fn read(doc: &Doc) -> Result<Self> {
        let messages = match doc.json("messages") {
            None | Some(b"null") => false,
            Some(text) => messages(text)?,
        };
        match (messages, prompt(doc)) {
            (true, true) => Ok(Self::Both),
            (true, false) => Ok(Self::Messages),
            (false, true) => Ok(Self::Prompt),
            (false, false) => Err(Error::bad_request(NO_PROMPTS)),
        }
    }

    fn fits(self, operation: Operation) -> Result<()> {
        let (own, other) = match (self, operation) {
            (Self::Messages, Operation::Completions) => (Operation::Chat, operation),
            (Self::Prompt, Operation::Chat) => (Operation::Completions, operation),
            (Self::Both, _) => {
                return Err(Error::bad_request("request matches multiple LLM request formats"));
            }
            _ => return Ok(()),
        };
        Err(Error::bad_request(format!(
            "[{}] message format is not compatible with [{}] route type",
            own.name(),
            other.name()
        )))
    }
}

/// Whether `messages` is a list that holds something. Only its first element is looked at: what else
/// may be wrong with messages is the provider's to say, in its own words.
fn messages(text: &[u8]) -> Result<bool> {
    let Some(inner) = text.strip_prefix(b"[") else { return Ok(false) };
    match inner.trim_ascii_start().first() {
        None | Some(b']') => Ok(false),
        Some(b'{') => Ok(true),
        Some(_) => Err(Error::bad_request("field 'messages' must hold objects with 'role' and 'content'")),
    }
}

/// A non-empty text, or a list of prompts.
///
// KONG(kong/llm/drivers/shared.lua): a list of prompts was refused; OpenAI takes it.
fn prompt(doc: &Doc) -> bool {
    match doc.json("prompt") {
        Some([b'"', _, _, ..]) => true,
        Some(list @ [b'[', ..]) => {
            list.iter().skip(1).any(|byte| !byte.is_ascii_whitespace() && *byte != b']')
        }
        _ => false,
    }
}

fn model(doc: &Doc, conf: &TargetConf) -> Result<String> {
    let asked = match doc.json("model") {
        None | Some(b"null") => None,
        Some(_) => {
            Some(doc.text("model").ok_or_else(|| Error::bad_request("field 'model' must be a string"))?)
        }
    };
    let asked = asked.filter(|name| !name.is_empty());
    let alias = conf.model.model_alias.as_deref();
    match (&conf.model.name, asked) {
        (Some(own), Some(asked)) if alias == Some(&*asked) => Ok(own.clone()),
        (Some(own), Some(asked)) if *own != *asked => {
            Err(Error::bad_request(format!("cannot use own model - must be: {own}")))
        }
        (Some(own), _) => Ok(own.clone()),
        (None, Some(asked)) => Ok(asked.into_owned()),
        (None, None) if conf.route_type == Operation::Preserve => Ok("UNSPECIFIED".to_owned()),
        (None, None) => {
            Err(Error::bad_request("model parameter not found in request, nor in gateway configuration"))
        }
    }
}

/// A boolean field.
///
// KONG(kong/llm/plugin/shared-filters/normalize-request.lua): `null` counted as true; here it is absent.
fn flag(doc: &Doc, name: &str) -> Result<bool> {
    match doc.json(name) {
        None | Some(b"null" | b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(Error::bad_request(format!("field '{name}' must be true or false"))),
    }
}

fn wants_usage(doc: &Doc) -> Result<bool> {
    #[derive(serde::Deserialize)]
    struct Options {
        #[serde(default)]
        include_usage: Option<bool>,
    }
    let Some(text) = doc.json("stream_options").filter(|text| *text != b"null") else { return Ok(false) };
    let options: Options = serde_json::from_slice(text)
        .map_err(|_| Error::bad_request("field 'stream_options' must be an object with 'include_usage'"))?;
    Ok(options.include_usage.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    fn conf(name: Option<&str>, operation: &str) -> TargetConf {
        serde_json::from_value(json!({
            "route_type": operation, "model": {"provider": "openai", "name": name}
        }))
        .unwrap()
    }

    fn ask(body: &str, name: Option<&str>, operation: &str, streaming: Streaming) -> Result<Ask> {
        let doc = Doc::parse(Bytes::from(body.to_owned())).unwrap();
        Ask::read(&doc, &conf(name, operation), streaming)
    }

    #[test]
    fn kongs_messages_in_kongs_order() {
        let chat = "llm/v1/chat";
        let both = r#"{"messages":[{}],"prompt":"x"}"#;
        for (body, name, operation, message) in [
            ("{}", Some("m"), chat, NO_PROMPTS),
            (r#"{"messages":[]}"#, Some("m"), chat, NO_PROMPTS),
            (r#"{"messages":"x"}"#, Some("m"), chat, NO_PROMPTS),
            (r#"{"prompt":""}"#, Some("m"), chat, NO_PROMPTS),
            (r#"{"prompt":[ ]}"#, Some("m"), chat, NO_PROMPTS),
            (
                r#"{"messages":["x"]}"#,
                Some("m"),
                chat,
                "field 'messages' must hold objects with 'role' and 'content'",
            ),
            (r#"{"messages":[{}],"model":"n"}"#, Some("m"), chat, "cannot use own model - must be: m"),
            (r#"{"messages":[{}],"model":5}"#, Some("m"), chat, "field 'model' must be a string"),
            (both, None, chat, "model parameter not found in request, nor in gateway configuration"),
            (both, Some("m"), chat, "request matches multiple LLM request formats"),
            (
                r#"{"prompt":"x"}"#,
                Some("m"),
                chat,
                "[llm/v1/completions] message format is not compatible with [llm/v1/chat] route type",
            ),
            (
                r#"{"messages":[{}]}"#,
                Some("m"),
                "llm/v1/completions",
                "[llm/v1/chat] message format is not compatible with [llm/v1/completions] route type",
            ),
            (r#"{"messages":[{}],"stream":"yes"}"#, Some("m"), chat, "field 'stream' must be true or false"),
        ] {
            let error = ask(body, name, operation, Streaming::Allow).unwrap_err();
            assert_eq!((error.message(), error.kind().status()), (message, 400), "{body}");
        }
        let error = ask(r#"{"messages":[{}],"stream":true}"#, Some("m"), chat, Streaming::Deny).unwrap_err();
        assert_eq!(error.message(), "response streaming is not enabled for this LLM");
    }

    #[test]
    fn what_is_served() {
        let chat = "llm/v1/chat";
        let plain = ask(r#"{"messages":[{}],"model":null,"stream":null}"#, Some("m"), chat, Streaming::Allow);
        assert_eq!(plain.unwrap(), Ask { model: "m".into(), stream: false, include_usage: false });
        let forced = ask(r#"{"messages":[{}],"model":"own"}"#, None, chat, Streaming::Always);
        assert_eq!(forced.unwrap(), Ask { model: "own".into(), stream: true, include_usage: false });
        let usage = r#"{"prompt":["a"],"stream":true,"stream_options":{"include_usage":true}}"#;
        let usage = ask(usage, Some("m"), "llm/v1/completions", Streaming::Allow);
        assert_eq!(usage.unwrap(), Ask { model: "m".into(), stream: true, include_usage: true });
        let free = ask(r#"{"input":"x"}"#, None, "preserve", Streaming::Deny);
        assert_eq!(free.unwrap().model, "UNSPECIFIED");
    }
}
