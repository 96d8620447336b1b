//! What the configuration says of balancing, as the algorithms read it.

use crate::error::{Error, Kind, Result};
use crate::target::load::LatencyOf;
use serde::Deserialize;
use serde_json::Value;

/// The parts of a plugin's `config` that say how its targets are chosen.
#[derive(Debug, Default, Deserialize)]
pub struct Settings {
    #[serde(default)]
    pub balancer: Rules,
    /// As it was checked; the provider reads it.
    #[serde(default)]
    pub embeddings: Option<Value>,
    #[serde(default)]
    pub vectordb: Option<Vectors>,
}

/// `balancer`, but for what concerns attempts.
#[derive(Debug, Deserialize)]
pub struct Rules {
    pub algorithm: Name,
    pub slots: usize,
    pub hash_on_header: String,
    pub latency_strategy: LatencyOf,
    pub tokens_count_strategy: String,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            algorithm: Name::RoundRobin,
            slots: 10_000,
            hash_on_header: "X-Kong-LLM-Request-ID".to_owned(),
            latency_strategy: LatencyOf::default(),
            tokens_count_strategy: "total-tokens".to_owned(),
        }
    }
}

/// `algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    RoundRobin,
    ConsistentHashing,
    LeastConnections,
    LowestUsage,
    LowestLatency,
    Priority,
    Semantic,
}

/// `vectordb`, of which only the comparison matters: the vectors of a few descriptions are kept in the
/// process.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Vectors {
    pub dimensions: u32,
    pub distance_metric: Metric,
    #[serde(default)]
    pub threshold: Option<f64>,
}

/// How vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    Cosine,
    Euclidean,
}

/// What lowest-usage counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Total,
    Prompt,
    Completion,
    Cost,
}

/// Why `llm-accuracy` is no strategy here.
pub const NO_ACCURACY: &str = "'llm-accuracy' needs a model that judges answers, which this release does not \
                               ask: set total-tokens, prompt-tokens, completion-tokens or cost";

impl Counted {
    /// The value of `tokens_count_strategy`.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "total-tokens" => Ok(Self::Total),
            "prompt-tokens" => Ok(Self::Prompt),
            "completion-tokens" => Ok(Self::Completion),
            "cost" => Ok(Self::Cost),
            _ => Err(Error::new(Kind::Internal, format!("balancer.tokens_count_strategy: {NO_ACCURACY}"))),
        }
    }
}
