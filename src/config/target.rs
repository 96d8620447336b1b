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
    pub route_type: Operation,
    #[serde(default)]
    pub auth: AuthConf,
    pub model: ModelConf,
    #[serde(default)]
    pub logging: LoggingConf,
    #[serde(default = "default_weight")]
    pub weight: u32,
    #[serde(default)]
    pub description: Option<String>,
}

fn default_weight() -> u32 {
    100
}

/// `model`.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelConf {
    pub provider: String,
    #[serde(default)]
    pub name: Option<String>,
    /// By which clients may ask for it.
    #[serde(default)]
    pub model_alias: Option<String>,
    #[serde(default)]
    pub options: OptionsConf,
}

/// `model.options`: the fields common to all providers, and those a provider declares for itself.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OptionsConf {
    pub max_tokens: Option<u64>,
    /// Price of a million prompt tokens.
    pub input_cost: Option<f64>,
    /// Price of a million completion tokens.
    pub output_cost: Option<f64>,
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_k: Option<Number>,
    pub upstream_url: Option<String>,
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
    Query,
    Body,
}

/// `auth`. Its `Debug` shows no secret.
#[derive(Clone, Default, Deserialize)]
pub struct AuthConf {
    pub header_name: Option<String>,
    pub header_value: Option<Secret>,
    pub param_name: Option<String>,
    pub param_value: Option<Secret>,
    pub param_location: Option<ParamLocation>,
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
    #[serde(default)]
    pub log_statistics: bool,
    #[serde(default)]
    pub log_payloads: bool,
}
