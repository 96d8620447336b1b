//! Completions: the text-generation task, one prompt in, one text out.

use super::super::parameter::Parameter;
use super::super::tgi;
use super::super::{Call, Decoded, Dialect, Outbound, StreamPlan};
use super::{Parameters, Setting, Wishes, refused};
use crate::error::{Error, Result};
use crate::wire::address::segment;
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::chat::{Answer, Reply};
use crate::wire::doc::Doc;
use crate::wire::frame::Framing;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) struct TextDialect {
    pub(super) wishes: Wishes,
}

/// Fields of OpenAI's that go elsewhere or mean nothing here.
const TAKEN: [&str; 11] = [
    "prompt",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_k",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "echo",
    "stream_options",
];

impl Dialect for TextDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        let mut doc = call.doc.clone();
        for name in TAKEN {
            doc.remove(name);
        }
        doc.set("model", call.model)?;
        doc.set_raw("inputs", prompt(call.doc)?);
        doc.set("parameters", &parameters(call)?)?;
        doc.set("options", &self.wishes.options())?;
        doc.set("stream", &call.stream)?;
        let mut outbound = Outbound::json(doc.bytes());
        outbound.headers.extend(self.wishes.headers());
        let options = &call.conf.model.options;
        if options.upstream_url.is_none() && options.upstream_path.is_none() {
            outbound.path = Some(path(call.model)?);
        }
        Ok(outbound)
    }

    // KONG(llm/drivers/huggingface.lua): Kong puts the text of a completion into a chat's `message`.
    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        let generated = Generated::read(&body)?;
        let details = generated.details.0;
        let usage = details.as_ref().map(tgi::Details::usage).unwrap_or_default();
        let reply = Reply {
            shape: call.shape(),
            id: &call.shape().reply_id(call.id),
            created: call.now,
            model: call.model,
            answer: Answer { text: &generated.generated_text, ..Answer::default() },
            finish_reason: details.as_ref().map_or("stop", tgi::Details::finish_reason),
            usage,
        };
        Ok(Decoded { body: reply.write()?, usage, model: None })
    }

    fn stream(&self, _call: &Call<'_>) -> StreamPlan {
        let decoder = tgi::Decoder::new(false, "Invalid response format");
        StreamPlan::Translate(Framing::Sse, Box::new(decoder))
    }
}

/// Where the router has the model. Its name may come from the client, and must not lead elsewhere.
pub(super) fn path(model: &str) -> Result<String> {
    let mut path = "/hf-inference/models".to_owned();
    for part in model.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(Error::bad_request("the model's name must have the form 'name' or 'owner/name'"));
        }
        path.push('/');
        path.push_str(&segment(part));
    }
    Ok(path)
}

/// A string, or a list of one string.
fn prompt(doc: &Doc) -> Result<&RawValue> {
    let single = || Error::bad_request("'prompt' must be a single string for huggingface");
    let raw: &RawValue = doc.field("prompt")?.ok_or_else(single)?;
    if raw.get().starts_with('"') {
        return Ok(raw);
    }
    match serde_json::from_str::<[&RawValue; 1]>(raw.get()) {
        Ok([only]) if only.get().starts_with('"') => Ok(only),
        _ => Err(single()),
    }
}

fn parameters<'a>(call: &'a Call<'_>) -> Result<Parameters<'a>> {
    let doc = call.doc;
    let mut parameters = Parameters::of(call, "max_new_tokens")?;
    for name in ["seed", "frequency_penalty"] {
        parameters.put(name, doc.field(name)?.map(|raw| Setting::One(Parameter::Client(raw))));
    }
    let stop = doc.field::<&RawValue>("stop")?.map(|raw| {
        let stop = Parameter::Client(raw);
        if raw.get().starts_with('"') { Setting::Listed([stop]) } else { Setting::One(stop) }
    });
    parameters.put("stop", stop);
    // The task repeats the prompt if nothing is said, OpenAI's completions do not.
    let echo = doc.field::<bool>("echo")?.unwrap_or(false);
    parameters.put("return_full_text", Some(Setting::Flag(echo)));
    // Asks for the counts at the end of a stream.
    parameters.put("details", call.stream.then_some(Setting::Flag(true)));
    Ok(parameters)
}

/// A text that was generated.
#[derive(Deserialize)]
struct Generated<'a> {
    #[serde(borrow)]
    generated_text: Text<'a>,
    #[serde(borrow, default)]
    details: Lenient<tgi::Details<'a>>,
}

impl<'a> Generated<'a> {
    /// The first of a list, or the only one.
    fn read(body: &'a [u8]) -> Result<Self> {
        let list = serde_json::from_slice::<Vec<Self>>(body).ok().and_then(|list| list.into_iter().next());
        list.or_else(|| serde_json::from_slice(body).ok()).ok_or_else(|| refused(body))
    }
}
