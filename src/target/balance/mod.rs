//! Which target takes a request.
//!
//! An [`Algorithm`] chooses among those targets that its caller says are usable: healthy, not tried
//! before, and what else the caller knows. What an algorithm must know of the request it says by
//! [`Balancer::wants`]; a [`Bearing`] holds it, and serves for every attempt of that request. What it
//! must know of the targets stands in their [`State`](super::state::State).

mod least;
mod least_connections;
mod lowest_latency;
mod lowest_usage;
mod priority;
mod ring;
mod round_robin;
pub mod semantic;
pub mod settings;

use super::Target;
use crate::error::{Error, Kind, Result};
use crate::upstream::attempt::Connections;
use crate::wire::doc::Doc;
use http::{HeaderMap, HeaderName};
use least_connections::LeastConnections;
use lowest_latency::LowestLatency;
use lowest_usage::{LowestUsage, Rated};
use priority::Priority;
use ring::Ring;
use round_robin::RoundRobin;
use semantic::{Ranking, Semantic};
use settings::{Counted, Name, Settings};
use std::sync::Arc;
use std::time::Instant;

/// One pick.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// Whether a target may be chosen. It is asked under a lock: it must be quick, and pick nothing itself.
    pub usable: &'a dyn Fn(usize) -> bool,
    /// What the request hashes by.
    pub key: Option<&'a [u8]>,
    /// How near its prompt is to the targets' descriptions.
    pub near: Option<&'a Ranking>,
    /// The time.
    pub now: Instant,
}

/// A way to choose.
trait Algorithm: Send + Sync {
    /// A usable target; `None` only if there is none.
    fn pick(&self, turn: &Turn<'_>) -> Option<usize>;
}

/// What an algorithm must know of a request.
#[derive(Clone, Copy)]
pub enum Wants<'a> {
    /// It rests on nothing of the request.
    Nothing,
    /// The value of that header; the request's id if it has none.
    Key(&'a HeaderName),
    /// How near its prompt is to the descriptions.
    Nearness(&'a Semantic),
}

/// What is known of one request, for all picks that are made for it.
#[derive(Default)]
pub struct Bearing {
    key: Option<Vec<u8>>,
    near: Option<Ranking>,
}

impl Bearing {
    /// A pick among the usable targets.
    pub fn turn<'a>(&'a self, usable: &'a dyn Fn(usize) -> bool, now: Instant) -> Turn<'a> {
        Turn { usable, key: self.key.as_deref(), near: self.near.as_ref(), now }
    }
}

/// A request, as far as a bearing may need it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The client's.
    pub headers: &'a HeaderMap,
    /// The request's id.
    pub id: &'a str,
    /// As the plugins have left it.
    pub doc: &'a Doc,
}

/// Chooses among the targets of one plugin instance.
pub struct Balancer(Way);

/// How it chooses.
enum Way {
    /// There is nothing to choose.
    One,
    /// By what is known of the targets.
    Plain(Box<dyn Algorithm>),
    /// By a header.
    Hashed(Ring, HeaderName),
    Semantic(Box<Semantic>),
}

impl Balancer {
    /// The configured algorithm over these targets.
    pub fn load(settings: &Settings, targets: &[Target]) -> Result<Self> {
        if targets.len() < 2 {
            return Ok(Self(Way::One));
        }
        way(settings, targets).map(Self)
    }

    /// What must be known of a request before a pick.
    pub fn wants(&self) -> Wants<'_> {
        match &self.0 {
            Way::One | Way::Plain(_) => Wants::Nothing,
            Way::Hashed(_, name) => Wants::Key(name),
            Way::Semantic(semantic) => Wants::Nearness(semantic),
        }
    }

    /// Finds out what the picks for a request rest on. Only nearness takes time: an embedding is asked
    /// for, unless it is remembered.
    pub async fn bearing(&self, connections: &Arc<Connections>, seen: &Seen<'_>) -> Bearing {
        match self.wants() {
            Wants::Nothing => Bearing::default(),
            Wants::Key(name) => {
                let given = seen.headers.get(name).map(http::HeaderValue::as_bytes);
                let key = given.unwrap_or(seen.id.as_bytes()).to_vec();
                Bearing { key: Some(key), near: None }
            }
            Wants::Nearness(semantic) => {
                // Boxed: it is rare, and would be the largest part of every exchange's future.
                let near = Box::pin(semantic.near(connections, seen.doc)).await;
                Bearing { key: None, near }
            }
        }
    }

    /// A usable target; `None` if no target is.
    pub fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        match &self.0 {
            Way::One => (turn.usable)(0).then_some(0),
            Way::Plain(algorithm) => algorithm.pick(turn),
            Way::Hashed(ring, _) => ring.pick(turn),
            Way::Semantic(semantic) => semantic.pick(turn),
        }
    }
}

fn way(settings: &Settings, targets: &[Target]) -> Result<Way> {
    let rules = &settings.balancer;
    let weights = || targets.iter().map(|target| target.conf.weight);
    let states = || targets.iter().map(|target| (target.state.clone(), target.conf.weight)).collect();
    let plain: Box<dyn Algorithm> = match rules.algorithm {
        Name::RoundRobin => Box::new(RoundRobin::new(weights())),
        Name::LeastConnections => Box::new(LeastConnections::new(states())),
        Name::LowestLatency => Box::new(LowestLatency::new(rules.latency_strategy, states())),
        Name::Priority => Box::new(Priority::new(weights().collect())),
        Name::LowestUsage => {
            let counted = Counted::named(&rules.tokens_count_strategy)?;
            Box::new(LowestUsage::new(counted, targets.iter().map(rated).collect()))
        }
        Name::ConsistentHashing => {
            let ring = Ring::new(rules.slots, targets.iter().map(placed));
            return Ok(Way::Hashed(ring, header(&rules.hash_on_header)?));
        }
        Name::Semantic => return semantic(settings, targets),
    };
    Ok(Way::Plain(plain))
}

fn semantic(settings: &Settings, targets: &[Target]) -> Result<Way> {
    let (Some(embeddings), Some(vectors)) = (&settings.embeddings, settings.vectordb) else {
        let message = "balancer.algorithm: semantic needs 'embeddings' and 'vectordb'";
        return Err(Error::new(Kind::Internal, message));
    };
    let described = targets.iter().map(|target| (target.conf.description.as_deref(), target.conf.weight));
    let described: Vec<_> = described.collect();
    Ok(Way::Semantic(Box::new(Semantic::load(embeddings, vectors, &described)?)))
}

fn header(name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        let message = format!("balancer.hash_on_header: '{name}' cannot be the name of a header");
        Error::new(Kind::Internal, message)
    })
}

fn placed(target: &Target) -> (serde_json::Value, u32) {
    (ring::identity(&target.conf), target.conf.weight)
}

fn rated(target: &Target) -> Rated {
    let options = &target.conf.model.options;
    Rated {
        state: target.state.clone(),
        weight: target.conf.weight,
        price: options.input_cost.zip(options.output_cost),
    }
}

#[cfg(test)]
fn turn(usable: &dyn Fn(usize) -> bool) -> Turn<'_> {
    at(Instant::now(), usable)
}

#[cfg(test)]
fn at(now: Instant, usable: &dyn Fn(usize) -> bool) -> Turn<'_> {
    Turn { usable, key: None, near: None, now }
}

/// How often each target came out of `rounds` picks.
#[cfg(test)]
fn counts(rounds: usize, mut pick: impl FnMut() -> usize) -> Vec<usize> {
    let mut counts = Vec::new();
    for _ in 0..rounds {
        let index = pick();
        counts.resize(counts.len().max(index + 1), 0);
        counts[index] += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
