//! What the configuration says of balancing, as the algorithms read it.

use crate::error::{Error, Kind, Result};
use crate::target::load::LatencyOf;
use serde::Deserialize;
use serde_json::Value;

/// The parts of a plugin's `config` that say how its targets are chosen.
#[derive(Debug, Default, Deserialize)]
pub struct Settings {
    /// How one is chosen.
    #[serde(default)]
    pub balancer: Rules,
    /// As it was checked; the provider reads it.
    #[serde(default)]
    pub embeddings: Option<Value>,
    /// How texts are compared.
    #[serde(default)]
    pub vectordb: Option<Vectors>,
}

/// `balancer`, but for what concerns attempts.
#[derive(Debug, Deserialize)]
pub struct Rules {
    /// Which way.
    pub algorithm: Name,
    /// How fine a ring is cut.
    pub slots: usize,
    /// The header whose value decides, for a ring.
    pub hash_on_header: String,
    /// What of an answer's time counts.
    pub latency_strategy: LatencyOf,
    /// What of its usage counts.
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
    /// In turn, by weight.
    RoundRobin,
    /// By where a value falls on a ring.
    ConsistentHashing,
    /// Who has the most room.
    LeastConnections,
    /// Who used the least of late.
    LowestUsage,
    /// Who is quickest.
    LowestLatency,
    /// Groups, the highest first.
    Priority,
    /// Who is described most like the prompt.
    Semantic,
}

/// `vectordb`, of which only the comparison matters: the vectors of a few descriptions are kept in the
/// process.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Vectors {
    /// How long vectors are.
    pub dimensions: u32,
    /// How they are compared.
    pub distance_metric: Metric,
    /// How near a text must be.
    #[serde(default)]
    pub threshold: Option<f64>,
}

/// How vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// By their angle.
    Cosine,
    /// By their distance.
    Euclidean,
}

/// What lowest-usage counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Prompt and answer.
    Total,
    /// Of the prompt.
    Prompt,
    /// Of the answer.
    Completion,
    /// In the currency of the prices.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_chosen_by_name() {
        for (name, counted) in [
            ("total-tokens", "Total"),
            ("prompt-tokens", "Prompt"),
            ("completion-tokens", "Completion"),
            ("cost", "Cost"),
        ] {
            assert_eq!(format!("{:?}", Counted::named(name).unwrap()), counted);
        }
        assert!(Counted::named("llm-accuracy").unwrap_err().message().ends_with(NO_ACCURACY));
    }
}
