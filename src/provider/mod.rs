//! The providers: each checks its part of a target's configuration and translates both ways.
//!
//! Everything here is pure and synchronous. Time and ids come in with the [`Call`], so that what a
//! provider writes is the same in a golden test as on the wire.
//!
//! A [`Provider`] is an entry of [`PROVIDERS`]: a name, its own options, its rules. At load it turns
//! a target's configuration into a [`Driver`]: a default address and the [`Dialect`] that the
//! upstream speaks. Several providers share a dialect (Ollama's format serves mistral and llama2).

use crate::config::problems::Problems;
use crate::config::schema::Field;
use crate::config::target::{Operation, OptionsConf, TargetConf};
use crate::error::{Error, Kind, Result};
use crate::wire::address::Address;
use crate::wire::chat::Shape;
use crate::wire::chat::lenient::Text;
use crate::wire::client_stream::ClientStream;
use crate::wire::doc::Doc;
use crate::wire::frame::{Frame, Framing};
use crate::wire::usage::Usage;
use auth::token::Token;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

pub mod anthropic;
pub mod auth;
pub mod azure;
pub mod bedrock;
pub mod cohere;
pub mod deepseek;
pub mod embedding;
pub mod gemini;
pub mod huggingface;
pub mod llama2;
pub mod mistral;
pub mod native;
pub mod offer;
pub mod ollama;
pub mod openai;
pub mod parameter;
mod passage;
mod tgi;
pub mod vocabulary;
pub mod xai;

use auth::Signer;

/// Every provider, in the order of Kong's documentation. Adding one is one line here.
pub static PROVIDERS: &[&dyn Provider] = &[
    &openai::OpenAi,
    &azure::Azure,
    &anthropic::Anthropic,
    &cohere::Cohere,
    &mistral::Mistral,
    &llama2::Llama2,
    &gemini::Gemini,
    &bedrock::Bedrock,
    &huggingface::HuggingFace,
    &xai::XAi,
    &deepseek::DeepSeek,
];

/// The provider of that name.
pub fn find(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}

/// A provider: configuration in, driver out.
pub trait Provider: Send + Sync + 'static {
    /// The value of `model.provider`, the metric label and the fixture folder.
    fn name(&self) -> &'static str;

    /// What OpenTelemetry's conventions for generative AI call it (`gen_ai.provider.name`).
    fn semantic_name(&self) -> &'static str {
        self.name()
    }

    /// Its own fields of `model.options`.
    fn options(&self) -> Vec<Field> {
        Vec::new()
    }

    /// What it translates; any provider can `preserve`.
    fn operations(&self) -> &'static [Operation];

    /// Kong's rules over several fields. `out` is at the target's record (the one that holds `model`).
    fn check(&self, _conf: &TargetConf, _out: &mut Problems<'_>) {}

    /// Settles what does not depend on a request. Called on configuration that passed `check`.
    fn load(&self, conf: &TargetConf) -> Result<Driver>;

    /// Its own API as the language of clients, where `llm_format` may name it.
    fn native(&self) -> Option<&'static dyn native::NativeFormat> {
        None
    }

    /// How its models make embeddings, if it has such.
    fn embeddings(&self) -> Option<&'static dyn embedding::Embedder> {
        None
    }
}

/// How to talk to one target: what `load` settled.
pub struct Driver {
    /// Where requests go unless `upstream_url` says otherwise; `None` if that option is mandatory.
    pub address: Option<Cow<'static, str>>,
    /// Path of the operation below that address.
    pub path: Cow<'static, str>,
    /// What the upstream speaks.
    pub dialect: Box<dyn Dialect>,
    /// Whether `upstream_url` is a base that the path goes below, not the whole address.
    pub below: bool,
    /// A pair of the query that goes along unless the client, or `upstream_url`, has one of its name.
    pub pair: Option<Pair>,
    /// Proves who we are where a key that is always the same does not.
    pub signer: Option<Box<dyn Signer>>,
    /// What the log says of this target beside provider and model.
    pub meta: Meta,
}

/// Further facts of a target for the log.
pub type Meta = Arc<[(&'static str, String)]>;

/// A pair of a query.
pub struct Pair {
    name: &'static str,
    encoded: String,
}

impl Pair {
    /// The pair, to be encoded.
    pub fn new(name: &'static str, value: &str) -> Self {
        let encoded = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        Self { name, encoded }
    }
}

impl Driver {
    /// A driver with an address of its own, and nothing out of the ordinary.
    pub fn new(
        address: impl Into<Cow<'static, str>>,
        path: impl Into<Cow<'static, str>>,
        dialect: impl Dialect + 'static,
    ) -> Self {
        Self {
            address: Some(address.into()),
            path: path.into(),
            dialect: Box::new(dialect),
            below: false,
            pair: None,
            signer: None,
            meta: Meta::default(),
        }
    }

    /// Where the requests of a target with these options go.
    pub fn address(&self, options: &OptionsConf) -> Result<Address> {
        let Some(url) = &options.upstream_url else {
            let Some(own) = &self.address else {
                return Err(Error::bad_request("must set 'model.options.upstream_url'"));
            };
            let mut address = Address::parse(own).map_err(Error::bad_request)?;
            options.upstream_path.as_deref().unwrap_or(&self.path).clone_into(&mut address.path);
            return Ok(address);
        };
        let mut address = Address::parse(url).map_err(Error::bad_request)?;
        if self.below && !address.path.ends_with(&*self.path) {
            address.path.truncate(address.path.trim_end_matches('/').len());
            address.path.push_str(&self.path);
        }
        Ok(address)
    }

    /// The driver's own pair of the query, encoded; nothing where one of the queries has that name.
    pub fn own_pair(&self, queries: &[&str]) -> &str {
        let Some(pair) = &self.pair else { return "" };
        let named =
            |query: &&str| form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == pair.name);
        if queries.iter().any(named) { "" } else { &pair.encoded }
    }
}

/// What one attempt is about.
pub struct Call<'a> {
    /// The target.
    pub conf: &'a TargetConf,
    /// The client's request, edited by the plugins before.
    pub doc: &'a Doc,
    /// The model to ask for: configured, or the client's.
    pub model: &'a str,
    /// Whether the upstream is asked to stream.
    pub stream: bool,
    /// Whether the client asked for the usage chunk (`stream_options.include_usage`).
    pub include_usage: bool,
    /// Seconds since the epoch, for `created`.
    pub now: u64,
    /// The exchange's id (32 hex digits), for ids the provider does not give.
    pub id: &'a str,
}

impl Call<'_> {
    /// Which of OpenAI's two APIs the client speaks.
    pub fn shape(&self) -> Shape {
        match self.conf.route_type {
            Operation::Completions => Shape::Text,
            Operation::Chat | Operation::Preserve => Shape::Chat,
        }
    }

    /// A request's body as JSON.
    pub fn write(&self, request: &impl serde::Serialize) -> Result<Bytes> {
        let mut body = Vec::with_capacity(512 + self.doc.raw("messages").map_or(0, str::len));
        serde_json::to_writer(&mut body, request).map_err(|error| {
            Error::new(Kind::Internal, format!("request cannot be written as JSON: {error}"))
        })?;
        Ok(Bytes::from(body))
    }

    /// An empty stream for this call's client.
    pub fn client_stream(&self) -> ClientStream {
        let shape = self.shape();
        ClientStream::new(shape, shape.reply_id(self.id), self.model, self.now, self.include_usage)
    }
}

/// What goes to the upstream, before the gateway's own headers and the key.
pub struct Outbound {
    /// Replaces the driver's path where it depends on the call; may end in a query of its own.
    pub path: Option<String>,
    /// What the dialect needs beside the body.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// The encoded request.
    pub body: Bytes,
}

impl Outbound {
    /// A JSON body to the driver's path.
    pub fn json(body: Bytes) -> Self {
        let json = http::HeaderValue::from_static("application/json");
        Self { path: None, headers: vec![(http::header::CONTENT_TYPE, json)], body }
    }
}

/// A reply as the client will see it.
pub struct Decoded {
    /// The very bytes of the upstream where they already are what the client expects.
    pub body: Bytes,
    /// What the provider says it counted.
    pub usage: Usage,
    /// The model that the upstream says it ran.
    pub model: Option<String>,
}

/// How the upstream's stream becomes the client's.
pub enum StreamPlan {
    /// Same dialect: events are forwarded as they come.
    Verbatim,
    /// Another dialect: frames of that framing go through the decoder.
    Translate(Framing, Box<dyn StreamDecoder>),
}

/// The language an upstream speaks. Requests, replies and streams of `llm/v1/chat` and
/// `llm/v1/completions` go through it; `preserve` does not.
pub trait Dialect: Send + Sync {
    /// The client's OpenAI request, in the upstream's words. The message of an error is only the
    /// detail, as in [`Dialect::reply`].
    fn request(&self, call: &Call<'_>) -> Result<Outbound>;

    /// The token to send, where a cloud identity authenticates the target.
    fn identity(&self) -> Option<&Arc<Token>> {
        None
    }

    /// A request that is in the upstream's words already (`llm_format`): only where it goes, and
    /// with which headers, is still to be said.
    fn forward(&self, _call: &Call<'_>, body: Bytes) -> Result<Outbound> {
        Ok(Outbound::json(body))
    }

    /// The upstream's 200 reply, in OpenAI's words. The message of an error is only the detail
    /// (`'choices' not in llm/v1/chat response`): the caller says what it was transforming.
    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded>;

    /// How its streams are read.
    fn stream(&self, call: &Call<'_>) -> StreamPlan;

    /// What the text of a `usage` object says in OpenAI's sense, where bytes pass as they are.
    fn usage(&self) -> fn(&str) -> Usage {
        Usage::read
    }

    /// Whether the model of that name knows a system prompt.
    fn takes_system(&self, _model: &str) -> bool {
        true
    }

    /// What an answer is called that the provider's filter kept back.
    fn withheld(&self) -> &'static str {
        "the provider's content filter kept the answer back"
    }

    /// Headers that its upstreams want with requests that `preserve` forwards, too.
    fn headers(&self) -> &[(http::HeaderName, http::HeaderValue)] {
        &[]
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream closed its answer properly.
    Clean,
    /// The connection broke.
    Cut,
}

/// A state machine from upstream frames to client chunks: ids, indexes and usage live across frames.
pub trait StreamDecoder: Send + Sync {
    /// Takes one frame. An error ends the stream visibly.
    fn frame(&mut self, frame: Frame<'_>, out: &mut ClientStream) -> Result<()>;

    /// The stream is over: what is still owed is written now (finish reason, usage, `[DONE]`). Unless a
    /// dialect knows better, an answer whose end was said is whole if the upstream closed it properly (some
    /// servers send no last event); without its end, however the connection ended, more was to come.
    fn finish(&mut self, end: End, out: &mut ClientStream) -> Result<()> {
        if end == End::Clean && out.is_finished() {
            out.done();
        } else if !out.is_done() {
            out.error(BROKEN_OFF);
        }
        Ok(())
    }
}

/// What the client reads where a stream ends before its answer does.
pub(crate) const BROKEN_OFF: &str = "the provider's answer broke off before it was complete";

/// The text of an `error` that a provider puts into a reply or a stream: a string, or an object
/// with a `message`.
pub(crate) fn error_text(error: &RawValue) -> String {
    #[derive(serde::Deserialize)]
    struct Told<'a> {
        #[serde(borrow)]
        message: Text<'a>,
    }
    let raw = error.get();
    let text = serde_json::from_str::<Text<'_>>(raw)
        .or_else(|_| serde_json::from_str::<Told<'_>>(raw).map(|told| told.message));
    text.map_or_else(|_| raw.to_owned(), |text| text.0.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_call_providers_as_the_conventions_do() {
        let known = [("openai", "openai"), ("azure", "azure.ai.openai"), ("bedrock", "aws.bedrock")];
        for (name, convention) in known {
            assert_eq!(find(name).map(Provider::semantic_name), Some(convention));
        }
        let mut all: Vec<_> = PROVIDERS.iter().map(|provider| provider.semantic_name()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), PROVIDERS.len(), "each has a name of its own");
    }
}
