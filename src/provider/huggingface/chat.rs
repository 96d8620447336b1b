//! Chats: OpenAI's dialect, but for the words of older servers, which are put right on the way back.

use super::super::openai::OpenAiDialect;
use super::super::{Call, Decoded, Dialect, Outbound, StreamDecoder, StreamPlan, error_text};
use super::{Parameters, Wishes, refused};
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Count, Lenient, Text};
use crate::wire::chat::{self, Shape};
use crate::wire::client_stream::ClientStream;
use crate::wire::doc::Doc;
use crate::wire::frame::{Frame, Framing};
use crate::wire::usage::Usage;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

pub(super) struct ChatDialect {
    pub(super) openai: OpenAiDialect,
    pub(super) wishes: Wishes,
}

impl Dialect for ChatDialect {
    // KONG(llm/drivers/huggingface.lua): Kong moves the options into `parameters`, where no chat
    // looks for them. Here they stay, and endpoints get both; the router's providers, of which some
    // refuse what they do not know, get OpenAI's alone.
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        let mut doc = self.openai.edit(call)?;
        if call.conf.model.options.upstream_url.is_some() {
            let parameters = Parameters::of(call, "max_length")?;
            if !parameters.is_empty() {
                doc.set("parameters", &parameters)?;
            }
            doc.set("options", &self.wishes.options())?;
        }
        let mut outbound = Outbound::json(doc.bytes());
        outbound.headers.extend(self.wishes.headers());
        Ok(outbound)
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        let Some(scan) = chat::reply_scan(&body).filter(|scan| scan.choices) else {
            return Err(refused(&body));
        };
        let look = Look::at(&body);
        if look.choices.0.is_none() {
            return Err(refused(&body));
        }
        let (usage, model) =
            (scan.usage.map(Usage::read).unwrap_or_default(), scan.model.map(Cow::into_owned));
        let body = match look.tidy(&body, &Shape::Chat.reply_id(call.id)) {
            Some(tidy) => tidy,
            None => body,
        };
        Ok(Decoded { body, usage, model })
    }

    // KONG(llm/drivers/huggingface.lua): Kong swallows the end of the stream, `[DONE]`.
    fn stream(&self, call: &Call<'_>) -> StreamPlan {
        let decoder = Decoder { id: Shape::Chat.reply_id(call.id) };
        StreamPlan::Translate(Framing::Sse, Box::new(decoder))
    }
}

/// What may have to be put right in a reply or chunk.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Look<'a> {
    #[serde(borrow)]
    id: Lenient<Text<'a>>,
    created: Count,
    #[serde(borrow)]
    choices: Lenient<Vec<Lenient<Choice<'a>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Lenient<Text<'a>>,
    #[serde(borrow)]
    message: Lenient<Spoken<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spoken<'a> {
    #[serde(borrow)]
    tool_calls: Lenient<Vec<&'a RawValue>>,
}

impl<'a> Look<'a> {
    fn at(json: &'a [u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }

    fn finish_reasons(&self) -> impl Iterator<Item = &str> {
        let choices = self.choices.0.iter().flatten().filter_map(|choice| choice.0.as_ref());
        choices.filter_map(|choice| choice.finish_reason.0.as_deref())
    }

    /// The text as OpenAI would have written it; `None` if it is that already.
    fn tidy(&self, json: &[u8], id: &str) -> Option<Bytes> {
        let nameless = self.id.0.as_deref().is_none_or(str::is_empty);
        let foreign = self.finish_reasons().any(|reason| openai_reason(reason) != reason);
        if !nameless && !foreign {
            return None;
        }
        let mut doc = Doc::parse(Bytes::copy_from_slice(json)).ok()?;
        if nameless {
            doc.set("id", id).ok()?;
        }
        if foreign {
            let choices: Vec<&RawValue> = doc.field("choices").ok()??;
            let choices: Vec<_> = choices.into_iter().map(tidy_choice).collect::<Option<_>>()?;
            doc.set("choices", &choices).ok()?;
        }
        Some(doc.bytes())
    }
}

fn tidy_choice(raw: &RawValue) -> Option<Box<RawValue>> {
    let choice: Choice<'_> = serde_json::from_str(raw.get()).ok()?;
    let mut doc = Doc::parse(Bytes::copy_from_slice(raw.get().as_bytes())).ok()?;
    if let Some(reason) = &choice.finish_reason.0 {
        let calls =
            choice.message.0.is_some_and(|message| message.tool_calls.0.is_some_and(|c| !c.is_empty()));
        doc.set("finish_reason", if calls { "tool_calls" } else { openai_reason(reason) }).ok()?;
    }
    RawValue::from_string(String::from_utf8(doc.bytes().to_vec()).ok()?).ok()
}

/// Older servers say what they generated last.
fn openai_reason(reason: &str) -> &str {
    match reason {
        "eos_token" | "stop_sequence" => "stop",
        other => other,
    }
}

/// Passes chunks on. Ids and usage live in the client's stream.
struct Decoder {
    /// For chunks that have none.
    id: String,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        if frame.data == b"[DONE]" {
            out.done();
            return Ok(());
        }
        let Some(scan) = chat::reply_scan(frame.data) else {
            return Err(Error::bad_reply("failed to decode llm/v1/chat response"));
        };
        if let Some(error) = scan.error {
            out.error(&error_text(error));
            return Ok(());
        }
        let look = Look::at(frame.data);
        out.start(look.id.0.as_deref(), scan.model.as_deref(), look.created.0);
        if let Some(usage) = scan.usage {
            out.usage(Usage::read(usage));
        }
        // The chunk of usage alone is written at the end, if the client asked for it.
        if !scan.no_choice {
            let last = look.finish_reasons().next().is_some();
            let tidy = look.tidy(frame.data, &self.id);
            out.pass(tidy.as_deref().unwrap_or(frame.data), last, &chat::chunk_text(frame.data));
        }
        Ok(())
    }
}
