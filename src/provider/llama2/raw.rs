//! The raw format: one prompt in, one text out, as text-generation servers have it.

use super::super::parameter::Parameter;
use super::super::tgi::{Decoder, Details};
use super::super::{Call, Decoded, Dialect, Outbound, StreamPlan};
use super::prompt::{self, History};
use crate::config::target::Operation;
use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::chat::{Answer, Reply};
use crate::wire::frame::Framing;
use crate::wire::usage::Usage;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What closes the prompt, where a server repeats it before its answer.
const PROMPT_END: &str = "[/INST]";

pub(super) struct RawDialect {
    history: History,
}

impl RawDialect {
    pub(super) fn new(history: Option<&str>) -> Self {
        Self { history: if history == Some("full") { History::Full } else { History::Kong } }
    }
}

impl Dialect for RawDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        let inputs = match call.conf.route_type {
            Operation::Completions => prompt::completion(call.doc)?,
            Operation::Chat | Operation::Preserve => prompt::chat(call.doc, self.history)?,
        };
        let request = Request { inputs, parameters: parameters(call)?, stream: call.stream.then_some(true) };
        Ok(Outbound::json(call.write(&request)?))
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        let (text, details, usage) = generated(&body)?;
        let usage = usage.map_or_else(
            || details.as_ref().map(Details::usage).unwrap_or_default(),
            |raw| Usage::read(raw.get()),
        );
        let reply = Reply {
            shape: call.shape(),
            id: &call.shape().reply_id(call.id),
            created: call.now,
            model: call.model,
            answer: Answer { text: text.trim(), ..Answer::default() },
            finish_reason: details.as_ref().map_or("stop", Details::finish_reason),
            usage,
        };
        Ok(Decoded { body: reply.write()?, usage, model: None })
    }

    // KONG(llm/drivers/llama2.lua): Kong sends the stream on, but nothing of its content.
    fn stream(&self, _call: &Call<'_>) -> StreamPlan {
        let decoder = Decoder::new(true, "failed to decode llama2 response");
        StreamPlan::Translate(Framing::Sse, Box::new(decoder))
    }
}

#[derive(Serialize)]
struct Request<'a> {
    inputs: String,
    parameters: Parameters<'a>,
    /// Text Generation Inference looks here, and only when it is to stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
}

#[derive(Serialize)]
struct Parameters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens: Option<Parameter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Parameter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<Parameter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<Parameter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Parameter<'a>>,
    stream: bool,
    /// Asks for the counts at the end of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<bool>,
}

/// The configured options, or else the client's.
fn parameters<'a>(call: &'a Call<'_>) -> Result<Parameters<'a>> {
    Ok(Parameters {
        max_new_tokens: call.max_tokens()?,
        temperature: call.temperature()?,
        top_k: call.top_k()?,
        top_p: call.top_p()?,
        seed: call.doc.field("seed")?,
        stop: call.stop()?,
        stream: call.stream,
        details: call.stream.then_some(true),
    })
}

/// A text that a server generated.
#[derive(Deserialize)]
struct Generated<'a> {
    #[serde(borrow)]
    generated_text: Option<Text<'a>>,
    #[serde(borrow, default)]
    details: Lenient<Details<'a>>,
}

/// A text, with what is known of it.
type Answered<'a> = (String, Option<Details<'a>>, Option<&'a RawValue>);

/// Finds the answer in any of the three forms: `{"data": [{"generated_text"}]}` of the servers Kong
/// knows, `[{"generated_text"}]` and `{"generated_text"}` of Text Generation Inference.
///
// KONG(llm/drivers/llama2.lua): Kong reads only the first.
fn generated(body: &[u8]) -> Result<Answered<'_>> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        data: Option<Vec<Generated<'a>>>,
        #[serde(borrow)]
        generated_text: Option<&'a RawValue>,
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    let unreadable = || Error::bad_reply("cannot parse response from llama2 endpoint");
    let raw: &RawValue =
        serde_json::from_slice(body).map_err(|_| Error::bad_reply("failed to decode llama2 response"))?;
    if raw.get().starts_with('[') {
        let list: Vec<Generated<'_>> = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
        return answer(list, false, None);
    }
    let wrapped: Wrapped<'_> = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
    match (wrapped.data, wrapped.generated_text) {
        (Some(list), _) => answer(list, true, wrapped.usage),
        (None, Some(_)) => {
            let one = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
            answer(vec![one], false, wrapped.usage)
        }
        (None, None) => Err(unreadable()),
    }
}

/// The first text, from the end of the prompt on. A server of the first form always repeats the
/// prompt; what lacks its end there is no answer to it.
fn answer<'a>(list: Vec<Generated<'a>>, repeats: bool, usage: Option<&'a RawValue>) -> Result<Answered<'a>> {
    let Some(first) = list.into_iter().next() else {
        return Err(Error::bad_reply("response data is empty from llama2 endpoint"));
    };
    let silent = || Error::bad_reply("response did not contain a system reply");
    let text = first.generated_text.ok_or_else(silent)?;
    let text = match text.rsplit_once(PROMPT_END) {
        Some((_, answer)) => answer.to_owned(),
        None if repeats => return Err(silent()),
        None => text.0.into_owned(),
    };
    Ok((text, first.details.0, usage))
}
