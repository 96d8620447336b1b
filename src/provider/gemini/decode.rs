//! Gemini's replies and streams in OpenAI's words.

use super::super::{BROKEN_OFF, Call, Decoded, End, StreamDecoder, error_text};
use crate::error::{Error, Kind, Result};
use crate::wire::chat::lenient::{Count, Lenient, Text};
use crate::wire::chat::{Answer, Reply, ToolUse, tool_call_id};
use crate::wire::client_stream::ClientStream;
use crate::wire::doc::{Doc, Side};
use crate::wire::frame::Frame;
use crate::wire::usage::Usage;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A reply, or a piece of a stream.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Said<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    prompt_feedback: Lenient<Feedback<'a>>,
    usage_metadata: Lenient<Counts>,
    #[serde(borrow)]
    model_version: Lenient<Text<'a>>,
    #[serde(borrow)]
    response_id: Lenient<Text<'a>>,
    /// RFC 3339; of Vertex.
    #[serde(borrow)]
    create_time: Lenient<Text<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Lenient<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    thought: Lenient<bool>,
    #[serde(borrow)]
    function_call: Option<FunctionCall<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FunctionCall<'a> {
    #[serde(borrow)]
    id: Lenient<Text<'a>>,
    #[serde(borrow)]
    name: Text<'a>,
    /// An object.
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Lenient<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // Gemini's names
struct Counts {
    prompt_token_count: Count,
    tool_use_prompt_token_count: Count,
    cached_content_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
    total_token_count: Count,
}

impl<'a> Said<'a> {
    fn read(json: &'a [u8]) -> Result<Self> {
        // An array would be read as an object's fields in their order.
        let object = json.trim_ascii_start().starts_with(b"{");
        let said = object.then(|| serde_json::from_slice(json).ok()).flatten();
        said.ok_or_else(|| Error::bad_reply("failed to decode response from Gemini"))
    }

    fn candidates(&self) -> &[Candidate<'a>] {
        self.candidates.as_deref().unwrap_or_default()
    }

    fn block_reason(&self) -> Option<&str> {
        self.prompt_feedback.0.as_ref()?.block_reason.0.as_deref()
    }

    fn created(&self) -> Option<u64> {
        let time: jiff::Timestamp = self.create_time.0.as_deref()?.parse().ok()?;
        u64::try_from(time.as_second()).ok()
    }

    fn id(&self) -> Option<&str> {
        self.response_id.0.as_deref().filter(|id| !id.is_empty())
    }

    /// Gemini counts thoughts beside the answer and tool results beside the prompt, and leaves out
    /// what is zero: what it counts it states in full once there is a sum.
    fn usage(&self) -> Option<Usage> {
        let counts = self.usage_metadata.0.as_ref()?;
        let stated = counts.total_token_count.0.is_some() || counts.prompt_token_count.0.is_some();
        let sum = |a: Count, b: Count| a.0.unwrap_or(0) + b.0.unwrap_or(0);
        stated.then(|| Usage {
            prompt: Some(sum(counts.prompt_token_count, counts.tool_use_prompt_token_count)),
            completion: Some(sum(counts.candidates_token_count, counts.thoughts_token_count)),
            cached: counts.cached_content_token_count.0,
            cache_write: None,
            reasoning: counts.thoughts_token_count.0,
            total: counts.total_token_count.0,
        })
    }
}

impl<'a> Candidate<'a> {
    fn parts(&self) -> &[Part<'a>] {
        self.content.as_ref().and_then(|content| content.parts.as_deref()).unwrap_or_default()
    }

    // KONG(llm/drivers/gemini.lua): Kong reads the first part only.
    fn text(&self) -> String {
        self.parts().iter().filter_map(Part::words).collect()
    }

    fn thoughts(&self) -> String {
        self.parts().iter().filter_map(Part::thoughts).collect()
    }

    fn calls(&self) -> impl Iterator<Item = &FunctionCall<'a>> {
        self.parts().iter().filter_map(|part| part.function_call.as_ref())
    }

    fn finish_reason(&self, tools: bool) -> &'static str {
        finish_reason(self.finish_reason.0.as_deref().unwrap_or_default(), tools)
    }
}

impl Part<'_> {
    fn is_thought(&self) -> bool {
        self.thought.0 == Some(true)
    }

    fn words(&self) -> Option<&str> {
        self.text.as_deref().filter(|text| !self.is_thought() && !text.is_empty())
    }

    fn thoughts(&self) -> Option<&str> {
        self.text.as_deref().filter(|text| self.is_thought() && !text.is_empty())
    }
}

impl<'a> FunctionCall<'a> {
    fn id(&self, exchange: &str, index: usize) -> String {
        let given = self.id.0.as_deref().filter(|id| !id.is_empty());
        given.map_or_else(|| tool_call_id(exchange, index), str::to_owned)
    }

    fn arguments(&self) -> Cow<'a, str> {
        compact(self.args.map_or("{}", RawValue::get))
    }
}

/// JSON without the spaces between its tokens: Gemini indents its replies, and a client would find
/// the indentation in the text of the arguments.
fn compact(json: &str) -> Cow<'_, str> {
    if !json.contains('\n') {
        return Cow::Borrowed(json);
    }
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for c in json.chars() {
        if quoted || !c.is_ascii_whitespace() {
            out.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    Cow::Owned(out)
}

/// Why an answer ended, in OpenAI's words.
///
// KONG(llm/drivers/gemini.lua): Kong writes Gemini's own word, in lower case or, in streams, as it is.
fn finish_reason(reason: &str, tools: bool) -> &'static str {
    match reason {
        "MAX_TOKENS" => "length",
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR" => "content_filter",
        _ if tools => "tool_calls",
        _ => "stop",
    }
}

pub(super) fn reply(call: &Call<'_>, body: &[u8]) -> Result<Decoded> {
    let said = Said::read(body)?;
    if let Some(error) = said.error {
        return Err(Error::bad_reply(error_text(error)));
    }
    let Some((first, others)) = said.candidates().split_first() else { return Err(unanswered(&said)) };
    let mut body = written(call, &said, first, 0)?;
    if !others.is_empty() {
        body = with_choices(call, &said, body, others)?;
    }
    let usage = said.usage().unwrap_or_default();
    Ok(Decoded { body, usage, model: said.model_version.0.map(|model| model.0.into_owned()) })
}

/// The reply of one candidate; `seen` calls of tools came before its own.
fn written(call: &Call<'_>, said: &Said<'_>, candidate: &Candidate<'_>, seen: usize) -> Result<Bytes> {
    let (text, thoughts) = (candidate.text(), candidate.thoughts());
    let used = |(index, tool): (usize, &FunctionCall<'_>)| tool.id(call.id, seen + index);
    let arguments: Vec<_> = candidate.calls().map(FunctionCall::arguments).collect();
    let tools: Vec<_> = candidate
        .calls()
        .enumerate()
        .zip(&arguments)
        .map(|(pair, arguments)| ToolUse { id: used(pair), name: &pair.1.name, arguments })
        .collect();
    let shape = call.shape();
    let own_id = shape.reply_id(call.id);
    let reply = Reply {
        shape,
        id: said.id().unwrap_or(&own_id),
        created: said.created().unwrap_or(call.now),
        // Clients know the model by the name that they, or the configuration, asked for.
        model: call.model,
        answer: Answer { text: &text, reasoning: (!thoughts.is_empty()).then_some(&thoughts), tools: &tools },
        finish_reason: candidate.finish_reason(!tools.is_empty()),
        usage: said.usage().unwrap_or_default(),
    };
    reply.write()
}

/// Adds the choices of further candidates, which `n` asked for.
fn with_choices(call: &Call<'_>, said: &Said<'_>, body: Bytes, others: &[Candidate<'_>]) -> Result<Bytes> {
    let mut reply = Doc::parse(body)?;
    let mut seen = said.candidates().first().map_or(0, |first| first.calls().count());
    let mut choices = Vec::with_capacity(others.len());
    for (index, candidate) in others.iter().enumerate() {
        let own = Doc::parse(written(call, said, candidate, seen)?)?;
        let [choice] = own.field::<[&RawValue; 1]>("choices")?.ok_or_else(unwritten)?;
        let mut choice = Doc::parse(Bytes::copy_from_slice(choice.get().as_bytes()))?;
        choice.set("index", &(index + 1))?;
        let json = String::from_utf8(choice.bytes().to_vec()).map_err(|_| unwritten())?;
        choices.push(RawValue::from_string(json).map_err(|_| unwritten())?);
        seen += candidate.calls().count();
    }
    reply.splice("choices", Side::Back, &choices)?;
    Ok(reply.bytes())
}

fn unwritten() -> Error {
    Error::new(Kind::Internal, "the choices of a reply cannot be written")
}

fn unanswered(said: &Said<'_>) -> Error {
    let mut why = "no generation candidates received from Gemini, or max_tokens too short".to_owned();
    if let Some(reason) = said.block_reason() {
        why.push_str(": the prompt was blocked (");
        why.push_str(reason);
        why.push(')');
    }
    Error::bad_reply(why)
}

/// The stream: pieces of one reply, each with the counts so far.
pub(super) struct Decoder {
    exchange: String,
    /// Tool calls so far.
    tools: usize,
    /// The last reason given: old models gave one with every piece.
    reason: Option<String>,
    blocked: bool,
    model: Option<String>,
    /// Whether a chunk was written: from then on the client's stream keeps the model it began with.
    begun: bool,
}

impl Decoder {
    pub(super) fn new(call: &Call<'_>) -> Self {
        let exchange = call.id.to_owned();
        Self { exchange, tools: 0, reason: None, blocked: false, model: None, begun: false }
    }

    fn candidate(&mut self, candidate: &Candidate<'_>, out: &mut ClientStream) {
        for part in candidate.parts() {
            if let Some(thoughts) = part.thoughts() {
                out.reasoning(thoughts);
            } else if let Some(text) = part.words() {
                out.text(text);
            } else if let Some(tool) = &part.function_call {
                out.tool_call(self.tools, &tool.id(&self.exchange, self.tools), &tool.name);
                out.tool_arguments(self.tools, &tool.arguments());
                self.tools += 1;
            } else {
                continue;
            }
            self.begun = true;
        }
        if let Some(reason) = candidate.finish_reason.0.as_deref() {
            self.reason = Some(reason.to_owned());
        }
    }

    /// Notes the model that the provider says it runs.
    fn note_model(&self, out: &mut ClientStream) {
        if self.begun {
            out.start(None, self.model.as_deref(), None);
        }
    }
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()> {
        if frame.data.trim_ascii().is_empty() || frame.data == b"[DONE]" {
            return Ok(());
        }
        let said = Said::read(frame.data)?;
        if let Some(error) = said.error {
            out.error(&error_text(error));
            return Ok(());
        }
        out.start(said.id(), None, said.created());
        if let Some(model) =
            said.model_version.0.as_deref().filter(|model| Some(*model) != self.model.as_deref())
        {
            self.model = Some(model.to_owned());
        }
        self.blocked |= said.block_reason().is_some();
        // More than one is not asked for in streams.
        if let Some(candidate) = said.candidates().first() {
            self.candidate(candidate, out);
        }
        if let Some(usage) = said.usage() {
            out.usage(usage);
        }
        self.note_model(out);
        Ok(())
    }

    fn finish(&mut self, end: End, out: &mut ClientStream) -> Result<()> {
        let reason = match &self.reason {
            Some(reason) => finish_reason(reason, self.tools > 0),
            None if self.blocked => "content_filter",
            None => "",
        };
        if end == End::Cut || reason.is_empty() {
            out.error(BROKEN_OFF);
            return Ok(());
        }
        out.finish(reason);
        self.begun = true;
        self.note_model(out);
        out.done();
        Ok(())
    }
}
