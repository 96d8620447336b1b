//! What the AI plugins add to a record: with whom an exchange was, what it used, and what was said.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::net::IpAddr;

/// What an AI plugin adds.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Ai<'a> {
    /// An exchange with a provider.
    Exchange(&'a Exchange<'a>),
    /// The request before a template replaced it: under the key `payload`.
    Original {
        /// The body.
        original_request: &'a str,
    },
}

/// An exchange with a provider.
#[derive(Serialize)]
pub struct Exchange<'a> {
    /// With whom.
    pub meta: Meta<'a>,
    /// What it used.
    pub usage: Usage,
    /// What was said, if that is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload<'a>>,
    /// The attempts in order, where there are several targets.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub tried_targets: &'a [TriedTarget<'a>],
}

/// One attempt at one target.
#[derive(Serialize)]
pub struct TriedTarget<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// The configured model; absent where the client names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    /// The upstream's host; absent where it depends on the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
    /// The address that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What the target serves.
    pub route_type: &'static str,
    /// The status of its answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Milliseconds that the attempt took.
    pub duration: u64,
    /// `ok`, `http_429` and the like, or the kind of the error.
    pub reason: &'a str,
}

/// With whom an exchange was.
#[derive(Default, Serialize)]
pub struct Meta<'a> {
    /// The id of the plugin instance.
    pub plugin_id: &'a str,
    /// The provider's name.
    pub provider_name: &'a str,
    /// The model that was asked for.
    pub request_model: &'a str,
    /// The model that the provider says it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_model: Option<&'a str>,
    /// Milliseconds that the provider took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm_latency: Option<u64>,
    /// `oneshot` or `stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mode: Option<&'a str>,
    /// What only this provider's targets have.
    #[serde(flatten, serialize_with = "pairs")]
    pub own: &'a [(&'static str, String)],
}

fn pairs<S: Serializer>(pairs: &[(&'static str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// What an exchange used. What is not known is left out: an unpriced exchange has no cost, not none.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// Both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// In the unit of the configured prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Milliseconds a token of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_per_token: Option<f64>,
    /// Milliseconds until the first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_first_token: Option<u64>,
    /// Classes within `prompt_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptDetails>,
    /// Classes within `completion_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens_details: Option<CompletionDetails>,
}

/// Classes of prompt tokens.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PromptDetails {
    /// Read from the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Written to the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
}

/// Classes of completion tokens.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CompletionDetails {
    /// Spent on reasoning.
    pub reasoning_tokens: u64,
}

/// What was said.
#[derive(Serialize)]
pub struct Payload<'a> {
    /// The request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// The answer's body, or a stream's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<&'a str>,
}

/// All of them, each under its own key.
pub(super) struct Parts<'a>(pub(super) &'a [(&'a str, Ai<'a>)]);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.0.len()))?;
        for (key, part) in self.0 {
            out.serialize_entry(key, part)?;
        }
        out.end()
    }
}
