//! The target whose description is nearest to the prompt.
//!
//! Who configures descriptions wants the better answer, and any answer before none. So every usable
//! target stays in reach, in this order: targets whose description is within the threshold, the
//! nearest first; targets described as `CATCHALL`; all others. Targets of one description take turns
//! by weight. Where the prompt cannot be compared (the descriptions have no vectors yet, the model
//! that makes them does not answer, there is no text), the order begins with `CATCHALL`.

mod prompt;
pub mod space;

use super::round_robin::RoundRobin;
use super::settings::{Metric, Vectors};
use super::{Algorithm, Turn};
use crate::error::Result;
use crate::upstream::attempt::Connections;
use crate::wire::doc::Doc;
use serde_json::Value;
use space::{SPACES, Space};
use std::sync::Arc;

/// The description of a target that takes what no other is described for.
const CATCHALL: &str = "CATCHALL";

/// The algorithm.
pub struct Semantic {
    space: Arc<Space>,
    vectors: Vectors,
    /// Of each target.
    described: Vec<Described>,
    turns: RoundRobin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Described {
    /// By the text at that index of the space.
    As(usize),
    Rest,
    Not,
}

/// Which targets to prefer for a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// Of each text of the space, in the order of its distance; `None` is too far.
    ranks: Vec<Option<usize>>,
}

impl Semantic {
    /// Over targets of these descriptions and weights.
    pub fn load(embeddings: &Value, vectors: Vectors, targets: &[(Option<&str>, u32)]) -> Result<Self> {
        let mut texts: Vec<String> = Vec::new();
        let mut place = |text: &str| {
            texts.iter().position(|known| known == text).unwrap_or_else(|| {
                texts.push(text.to_owned());
                texts.len() - 1
            })
        };
        let described = |(description, _): &(Option<&str>, u32)| match description.map(str::trim) {
            None | Some("") => Described::Not,
            Some(CATCHALL) => Described::Rest,
            Some(text) => Described::As(place(text)),
        };
        let described = targets.iter().map(described).collect();
        let space = SPACES.shared(embeddings, vectors.dimensions, texts)?;
        let turns = RoundRobin::new(targets.iter().map(|(_, weight)| *weight));
        Ok(Self { space, vectors, described, turns })
    }

    /// Compares a request's prompt with the descriptions. `None` if it cannot be compared.
    pub async fn near(&self, connections: &Arc<Connections>, doc: &Doc) -> Option<Ranking> {
        let known = self.space.vectors()?;
        let text = prompt::text(doc)?;
        match self.space.model.prompt(connections, &text).await {
            Ok(vector) => self.rank(&known, &vector),
            Err(error) => {
                tracing::warn!("a prompt is routed without its embedding: {error}");
                None
            }
        }
    }

    fn rank(&self, known: &[Vec<f32>], vector: &[f32]) -> Option<Ranking> {
        let distance = |own: &Vec<f32>| distance(self.vectors.distance_metric, own, vector);
        let distances = known.iter().map(distance).collect::<Option<Vec<f64>>>()?;
        // KONG(vectordb.threshold): the largest distance that still counts. Kong hands it to Redis or
        // PostgreSQL, which measure distances; its examples (0.1 for a cache, 0.7 for routing) say the same.
        let most = self.vectors.threshold.unwrap_or(f64::INFINITY);
        let rank = |own: &f64| (*own <= most).then(|| distances.iter().filter(|other| *other < own).count());
        Some(Ranking { ranks: distances.iter().map(rank).collect() })
    }

    /// How late a target comes in the order.
    fn tier(&self, index: usize, near: Option<&Ranking>) -> usize {
        let last = self.described.len();
        match self.described.get(index) {
            Some(Described::As(text)) => {
                near.and_then(|near| near.ranks.get(*text).copied().flatten()).unwrap_or(last + 1)
            }
            Some(Described::Rest) => last,
            Some(Described::Not) | None => last + 1,
        }
    }
}

impl Algorithm for Semantic {
    fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        let usable = (0..self.described.len()).filter(|index| (turn.usable)(*index));
        let first = usable.map(|index| self.tier(index, turn.near)).min()?;
        self.turns.next(|index| self.tier(index, turn.near) == first && (turn.usable)(index))
    }
}

/// The distance of two vectors; `None` if they are not of one length.
fn distance(metric: Metric, one: &[f32], other: &[f32]) -> Option<f64> {
    if one.len() != other.len() {
        return None;
    }
    let pairs = || one.iter().zip(other).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    Some(match metric {
        Metric::Euclidean => pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
        Metric::Cosine => {
            let length = |sum: f64| sum.sqrt().max(f64::MIN_POSITIVE);
            let product: f64 = pairs().map(|(a, b)| a * b).sum();
            let (one, other) = (pairs().map(|(a, _)| a * a).sum(), pairs().map(|(_, b)| b * b).sum());
            1.0 - product / (length(one) * length(other))
        }
    })
}

#[cfg(test)]
mod tests;
