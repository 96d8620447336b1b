//! OpenAI, and the dialect that half of the industry shares with it.
//!
//! The request is an edit of the client's own text, the reply and the stream are the upstream's own
//! bytes: a field that nobody here knows passes in both directions.

use super::embedding::Embedder;
use super::{Call, Decoded, Dialect, Driver, Outbound, Provider, StreamPlan};
use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Result};
use crate::wire::chat;
use crate::wire::doc::Doc;
use crate::wire::usage::Usage;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

mod embed;

/// `provider: openai`.
pub struct OpenAi;

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat, Operation::Completions]
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        let dialect = OpenAiDialect::new(OPENAI);
        Ok(Driver::new("https://api.openai.com", path(conf.route_type), dialect))
    }

    fn embeddings(&self) -> Option<&'static dyn Embedder> {
        Some(&embed::OpenAiEmbedder)
    }
}

/// OpenAI's paths.
pub(super) fn path(operation: Operation) -> &'static str {
    match operation {
        Operation::Chat => "/v1/chat/completions",
        Operation::Completions => "/v1/completions",
        Operation::Preserve => "/",
    }
}

/// What an upstream of this dialect does in its own way. Who follows OpenAI to the letter is
/// [`COMPATIBLE`]; whoever does not says here what is otherwise, in the file of its provider.
#[derive(Clone, Copy)]
pub struct Vendor {
    /// The field that bounds the answers of the model of that name to chats.
    pub limit: fn(&str) -> &'static str,
    /// Whether streams are asked for their usage; some state it unasked and refuse the question.
    pub asks_usage: bool,
    /// Puts its words in the place of OpenAI's.
    pub reword: fn(&mut Doc),
    /// What it counted, in OpenAI's sense, of the text of its `usage` objects.
    pub usage: fn(&str) -> Usage,
}

/// A server that follows OpenAI.
pub const COMPATIBLE: Vendor =
    Vendor { limit: |_| "max_tokens", asks_usage: true, reword: |_| {}, usage: Usage::read };

/// OpenAI itself.
//
// KONG(llm/drivers/openai.lua): Kong always sends `max_tokens`, which OpenAI's reasoning models refuse.
pub const OPENAI: Vendor = Vendor {
    limit: |model| if is_reasoning(model) { "max_completion_tokens" } else { "max_tokens" },
    ..COMPATIBLE
};

/// The OpenAI dialect.
pub struct OpenAiDialect {
    vendor: Vendor,
}

impl OpenAiDialect {
    /// The dialect as that vendor speaks it.
    pub fn new(vendor: Vendor) -> Self {
        Self { vendor }
    }

    /// The client's request with the target's model and options.
    pub(super) fn edit(&self, call: &Call<'_>) -> Result<Doc> {
        let mut doc = call.doc.clone();
        doc.set("model", call.model)?;
        self.set_options(call, &mut doc)?;
        (self.vendor.reword)(&mut doc);
        doc.set("stream", &call.stream)?;
        if !call.stream {
            // OpenAI refuses it in a request that does not stream.
            doc.remove("stream_options");
        } else if self.vendor.asks_usage {
            ask_for_usage(&mut doc)?;
        }
        Ok(doc)
    }

    /// The configured options win over the client's.
    fn set_options(&self, call: &Call<'_>, doc: &mut Doc) -> Result<()> {
        let options = &call.conf.model.options;
        if let Some(limit) = options.max_tokens {
            let chat = call.conf.route_type == Operation::Chat;
            let name = if chat { (self.vendor.limit)(call.model) } else { "max_tokens" };
            doc.set(name, &limit)?;
            // KONG(llm/drivers/openai.lua): Kong lets the client's other limit through beside its own,
            // which either is an error or lifts the configured one.
            for other in ["max_tokens", "max_completion_tokens"] {
                if chat && other != name {
                    doc.remove(other);
                }
            }
        }
        if let Some(temperature) = &options.temperature {
            doc.set("temperature", temperature)?;
        }
        if let Some(top_p) = &options.top_p {
            doc.set("top_p", top_p)?;
        }
        // OpenAI has no such field.
        doc.remove("top_k");
        Ok(())
    }
}

impl Dialect for OpenAiDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        Ok(Outbound::json(self.edit(call)?.bytes()))
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        let operation = call.conf.route_type.name();
        if body.is_empty() {
            return Err(Error::bad_reply("no response body found when transforming response"));
        }
        let Some(scan) = chat::reply_glance(&body).or_else(|| chat::reply_scan(&body)) else {
            return Err(Error::bad_reply(format!("failed to decode {operation} response")));
        };
        if !scan.choices {
            // Kong's sentence is for replies; in the place of a stream the provider's own words say more.
            let reported = if call.stream { chat::reported(&body) } else { None };
            let silent = || format!("'choices' not in {operation} response");
            return Err(Error::bad_reply(reported.unwrap_or_else(silent)));
        }
        let usage = scan.usage.map(self.vendor.usage).unwrap_or_default();
        let model = scan.model.map(Cow::into_owned);
        Ok(Decoded { body, usage, model })
    }

    fn stream(&self, _call: &Call<'_>) -> StreamPlan {
        StreamPlan::Verbatim
    }

    fn usage(&self) -> fn(&str) -> Usage {
        self.vendor.usage
    }
}

/// Asks for the chunk with the usage; the client's other stream options stay.
///
// KONG(llm/drivers/openai.lua): Kong does not ask, and so has to guess the usage of streams.
fn ask_for_usage(doc: &mut Doc) -> Result<()> {
    #[derive(Serialize)]
    struct Ask {
        include_usage: bool,
    }
    let Some(raw) = doc.raw("stream_options").filter(|raw| *raw != "null") else {
        return doc.set("stream_options", &Ask { include_usage: true });
    };
    // What is no object is for the provider to refuse.
    let Ok(mut options) = Doc::parse(Bytes::copy_from_slice(raw.as_bytes())) else { return Ok(()) };
    options.set("include_usage", &true)?;
    if let Ok(raw) = serde_json::from_slice::<&RawValue>(&options.bytes()) {
        doc.set_raw("stream_options", raw);
    }
    Ok(())
}

/// Renames a field; one that already has the new name wins.
pub(super) fn rename(doc: &mut Doc, from: &str, to: &str) {
    let value = doc.raw(from).and_then(|raw| RawValue::from_string(raw.to_owned()).ok());
    if let Some(value) = value {
        doc.remove(from);
        if !doc.has(to) {
            doc.set_raw(to, &value);
        }
    }
}

/// Whether OpenAI's model of that name takes `max_completion_tokens` only: the o series, and gpt-5
/// and what follows it.
fn is_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let name = name.strip_prefix("ft:").unwrap_or(name);
    match name.strip_prefix("gpt-").map(str::as_bytes) {
        // One digit: `gpt-35` is how Azure's users write 3.5.
        Some([b'5'..=b'9', next, ..]) => !next.is_ascii_digit(),
        Some([b'5'..=b'9']) => true,
        Some(_) => false,
        None => matches!(name.as_bytes(), [b'o', b'1'..=b'9', ..]),
    }
}

#[cfg(test)]
mod tests;
