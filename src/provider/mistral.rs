//! Mistral: its own cloud or any server with its models, in OpenAI's dialect or Ollama's.

use super::embedding::Embedder;
use super::ollama::OllamaDialect;
use super::openai::{COMPATIBLE, OpenAiDialect, Vendor, path, rename};
use super::{Call, Decoded, Dialect, Driver, End, Outbound, Provider, StreamDecoder, StreamPlan};
use crate::config::problems::Problems;
use crate::config::schema::Field;
use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Count, Text};
use crate::wire::chat::{self, Answer, Reply};
use crate::wire::client_stream::ClientStream;
use crate::wire::frame::{Frame, Framing};
use crate::wire::usage::Usage;
use bytes::Bytes;
use serde::Deserialize;

mod embed;

/// `provider: mistral`.
pub struct Mistral;

const CLOUD: &str = "https://api.mistral.ai";

/// Mistral's cloud refuses fields that it does not know (422, `extra_forbidden`), so OpenAI's names
/// become its own. It needs no asking for usage: the last chunk always carries it.
//
// KONG(llm/drivers/mistral.lua): Kong sends OpenAI's names.
const CLOUD_VENDOR: Vendor = Vendor {
    asks_usage: false,
    reword: |doc| {
        rename(doc, "seed", "random_seed");
        rename(doc, "max_completion_tokens", "max_tokens");
        doc.remove("stream_options");
    },
    ..COMPATIBLE
};

impl Provider for Mistral {
    fn name(&self) -> &'static str {
        "mistral"
    }

    fn options(&self) -> Vec<Field> {
        vec![
            Field::one_of("mistral_format", &["openai", "ollama"])
                .doc("What the upstream speaks; required for provider mistral."),
        ]
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat, Operation::Completions]
    }

    fn check(&self, conf: &TargetConf, out: &mut Problems<'_>) {
        if conf.model.options.own_str("mistral_format").is_none() {
            out.push("must set 'model.options.mistral_format' for mistral provider");
        }
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        if conf.model.options.own_str("mistral_format") == Some("ollama") {
            return Ok(OllamaDialect::driver(conf.route_type));
        }
        let cloud = is_cloud(conf.model.options.upstream_url.as_deref());
        let vendor = if cloud { CLOUD_VENDOR } else { COMPATIBLE };
        let openai = OpenAiDialect::new(vendor);
        let fim = cloud && conf.route_type == Operation::Completions;
        if fim {
            // KONG(llm/drivers/mistral.lua): Kong has no path for completions and asks for `/`.
            return Ok(Driver::new(CLOUD, "/v1/fim/completions", FimDialect { openai }));
        }
        Ok(Driver::new(CLOUD, path(conf.route_type), openai))
    }

    fn semantic_name(&self) -> &'static str {
        "mistral_ai"
    }

    fn embeddings(&self) -> Option<&'static dyn Embedder> {
        Some(&embed::MistralEmbedder)
    }
}

/// Whether requests go to Mistral itself.
fn is_cloud(upstream_url: Option<&str>) -> bool {
    let Some(text) = upstream_url else { return true };
    url::Url::parse(text)
        .ok()
        .and_then(|url| url.host_str().map(|host| host == "mistral.ai" || host.ends_with(".mistral.ai")))
        .unwrap_or(false)
}

/// Mistral's completions: asked as OpenAI's are, answered as a chat.
struct FimDialect {
    openai: OpenAiDialect,
}

impl Dialect for FimDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        self.openai.request(call)
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        let passed = self.openai.reply(call, body)?;
        let Ok(fim) = serde_json::from_slice::<Fim<'_>>(&passed.body) else {
            let operation = call.conf.route_type.name();
            return Err(Error::bad_reply(format!("failed to decode {operation} response")));
        };
        let choice = fim.choices.first();
        let Some(message) = choice.and_then(|choice| choice.message.as_ref()) else { return Ok(passed) };
        let id = call.shape().reply_id(call.id);
        let reply = Reply {
            shape: call.shape(),
            id: fim.id.as_deref().unwrap_or(&id),
            created: fim.created.0.unwrap_or(call.now),
            model: passed.model.as_deref().unwrap_or(call.model),
            answer: Answer { text: message.content.as_deref().unwrap_or_default(), ..Answer::default() },
            finish_reason: choice.and_then(|choice| choice.finish_reason.as_deref()).unwrap_or("stop"),
            usage: passed.usage,
        };
        let body = reply.write()?;
        Ok(Decoded { body, ..passed })
    }

    fn stream(&self, _call: &Call<'_>) -> StreamPlan {
        StreamPlan::Translate(Framing::Sse, Box::new(FimDecoder))
    }
}

/// A reply or a chunk.
#[derive(Deserialize)]
struct Fim<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(default)]
    created: Count,
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, alias = "delta")]
    message: Option<Spoken<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
}

/// Nothing lives across the chunks that the client's stream does not keep.
struct FimDecoder;

impl StreamDecoder for FimDecoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        if frame.data == b"[DONE]" {
            out.done();
            return Ok(());
        }
        let read = chat::reply_scan(frame.data).zip(serde_json::from_slice::<Fim<'_>>(frame.data).ok());
        let Some((scan, chunk)) = read else {
            return Err(Error::bad_reply("failed to decode llm/v1/completions response"));
        };
        if let Some(error) = scan.error {
            out.error(&super::error_text(error));
            return Ok(());
        }
        out.start(chunk.id.as_deref(), scan.model.as_deref(), chunk.created.0);
        if let Some(usage) = scan.usage {
            out.usage(Usage::read(usage));
        }
        for choice in &chunk.choices {
            if let Some(text) = choice.message.as_ref().and_then(|message| message.content.as_deref()) {
                out.text(text);
            }
            if let Some(reason) = choice.finish_reason.as_deref() {
                out.finish(reason);
            }
        }
        Ok(())
    }

    fn finish(&mut self, end: End, out: &mut ClientStream) -> Result<()> {
        if end == End::Clean && out.is_finished() {
            out.done();
        } else if !out.is_done() {
            out.error(super::BROKEN_OFF);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::doc::Doc;

    #[test]
    fn the_cloud_gets_its_own_names() {
        let client = r#"{"seed": 7, "max_completion_tokens": 30, "stream_options": {"include_usage": true}}"#;
        let mut doc = Doc::parse(Bytes::from_static(client.as_bytes())).unwrap();
        (CLOUD_VENDOR.reword)(&mut doc);
        assert_eq!(doc.bytes(), r#"{"random_seed":7,"max_tokens":30}"#);
    }

    #[test]
    fn the_cloud_is_known_by_its_host() {
        for (url, cloud) in [
            (None, true),
            (Some("https://api.mistral.ai/v1/chat/completions"), true),
            (Some("https://mistral.ai.example.com/"), false),
            (Some("http://127.0.0.1:8000/v1/chat/completions"), false),
        ] {
            assert_eq!(is_cloud(url), cloud, "{url:?}");
        }
    }
}
