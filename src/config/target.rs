//! One AI target as configured: the common `llm` schema of Kong's AI plugins, typed.
//!
//! Source: kong/llm/schemas/init.lua, and the ai-proxy-advanced reference for the fields of
//! `targets[]`. Deserialised from a value that the schema has checked and filled with defaults.

use super::secret::{Fields, Secret};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// What a route serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum Operation {
    /// OpenAI Chat Completions.
    #[serde(rename = "llm/v1/chat")]
    Chat,
    /// OpenAI legacy Completions.
    #[serde(rename = "llm/v1/completions")]
    Completions,
    /// Anything: forwarded as it comes.
    #[serde(rename = "preserve")]
    Preserve,
}

impl Operation {
    /// The `route_type` as written in configuration and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "llm/v1/chat",
            Self::Completions => "llm/v1/completions",
            Self::Preserve => "preserve",
        }
    }
}

/// One target: `config` of ai-proxy, an item of `targets` of ai-proxy-advanced, `llm` of the transformers.
#[derive(Clone, Debug, Deserialize)]
pub struct TargetConf {
    /// What clients ask for.
    pub route_type: Operation,
    /// How we are known to the provider.
    #[serde(default)]
    pub auth: AuthConf,
    /// Who answers, and how it is reached.
    pub model: ModelConf,
    /// What is written down of it.
    #[serde(default)]
    pub logging: LoggingConf,
    /// Its share among the targets.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// What it is good at, for semantic routing.
    #[serde(default)]
    pub description: Option<String>,
}

fn default_weight() -> u32 {
    100
}

/// `model`.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelConf {
    /// A name of the list of providers.
    pub provider: String,
    /// The provider's name for it; the client's word if absent.
    #[serde(default)]
    pub name: Option<String>,
    /// By which clients may ask for it.
    #[serde(default)]
    pub model_alias: Option<String>,
    /// How it is asked.
    #[serde(default)]
    pub options: OptionsConf,
}

/// `model.options`: the fields common to all providers, and those a provider declares for itself.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OptionsConf {
    /// Most tokens of an answer; over the client's word.
    pub max_tokens: Option<u64>,
    /// Price of a million prompt tokens.
    pub input_cost: Option<f64>,
    /// Price of a million completion tokens.
    pub output_cost: Option<f64>,
    /// Likewise.
    pub temperature: Option<Number>,
    /// Likewise.
    pub top_p: Option<Number>,
    /// Likewise, where the provider has it.
    pub top_k: Option<Number>,
    /// Another server than the provider's own.
    pub upstream_url: Option<String>,
    /// Another path on the provider's own server.
    pub upstream_path: Option<String>,
    /// What only some providers know; each reads its own (`Provider::options` declares them).
    #[serde(flatten)]
    pub own: Map<String, Value>,
}

impl OptionsConf {
    /// A provider's own text option; `None` if absent or null.
    pub fn own_str(&self, name: &str) -> Option<&str> {
        self.own.get(name).and_then(Value::as_str)
    }
}

/// Where the key of `auth.param_*` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamLocation {
    /// In the query.
    Query,
    /// In the body.
    Body,
}

/// `auth`. Its `Debug` shows no secret.
#[derive(Clone, Default, Deserialize)]
pub struct AuthConf {
    /// The header of a key.
    pub header_name: Option<String>,
    /// The key in it.
    pub header_value: Option<Secret>,
    /// The argument of a key.
    pub param_name: Option<String>,
    /// The key in it.
    pub param_value: Option<Secret>,
    /// Whether that is one of the query or of the body.
    pub param_location: Option<ParamLocation>,
    /// Whether a key that the client sends is kept.
    #[serde(default)]
    pub allow_override: bool,
    /// Cloud identities; each provider reads its own.
    #[serde(flatten)]
    pub own: Fields,
}

impl std::fmt::Debug for AuthConf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConf")
            .field("header_name", &self.header_name)
            .field("param_name", &self.param_name)
            .field("param_location", &self.param_location)
            .field("allow_override", &self.allow_override)
            .finish_non_exhaustive()
    }
}

/// `logging`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct LoggingConf {
    /// Whether usage and cost are written down.
    #[serde(default)]
    pub log_statistics: bool,
    /// Whether prompts and answers are.
    #[serde(default)]
    pub log_payloads: bool,
}
