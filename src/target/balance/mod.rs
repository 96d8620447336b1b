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
pub mod settings;

use super::Target;
use crate::error::{Error, Kind, Result};
use http::{HeaderMap, HeaderName};
use least_connections::LeastConnections;
use lowest_latency::LowestLatency;
use lowest_usage::{LowestUsage, Rated};
use priority::Priority;
use ring::Ring;
use round_robin::RoundRobin;
use settings::{Counted, Name, Rules, Settings};
use std::time::Instant;

/// One pick.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// Whether a target may be chosen.
    pub usable: &'a dyn Fn(usize) -> bool,
    /// What the request hashes by.
    pub key: Option<&'a [u8]>,
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
    Nothing,
    /// The value of that header; the request's id if it has none.
    Key(&'a HeaderName),
}

/// What is known of one request, for all picks that are made for it.
#[derive(Default)]
pub struct Bearing {
    key: Option<Vec<u8>>,
}

impl Bearing {
    /// A pick among the usable targets.
    pub fn turn<'a>(&'a self, usable: &'a dyn Fn(usize) -> bool, now: Instant) -> Turn<'a> {
        Turn { usable, key: self.key.as_deref(), now }
    }
}

/// A request, as far as a bearing may need it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub headers: &'a HeaderMap,
    /// The request's id.
    pub id: &'a str,
}

/// Chooses among the targets of one plugin instance.
pub struct Balancer {
    /// `None` where there is nothing to choose.
    algorithm: Option<Box<dyn Algorithm>>,
    /// Where consistent hashing finds its key.
    key: Option<HeaderName>,
}

impl Balancer {
    /// The configured algorithm over these targets.
    pub fn load(settings: &Settings, targets: &[Target]) -> Result<Self> {
        let rules = &settings.balancer;
        if targets.len() < 2 {
            return Ok(Self { algorithm: None, key: None });
        }
        let hashing = rules.algorithm == Name::ConsistentHashing;
        let key = if hashing { Some(header(&rules.hash_on_header)?) } else { None };
        Ok(Self { algorithm: Some(algorithm(rules, targets)?), key })
    }

    /// What must be known of a request before a pick.
    pub fn wants(&self) -> Wants<'_> {
        self.key.as_ref().map_or(Wants::Nothing, Wants::Key)
    }

    /// Finds out what the picks for a request rest on.
    pub fn bearing(&self, seen: &Seen<'_>) -> Bearing {
        match self.wants() {
            Wants::Nothing => Bearing::default(),
            Wants::Key(name) => {
                let given = seen.headers.get(name).map(http::HeaderValue::as_bytes);
                Bearing { key: Some(given.unwrap_or(seen.id.as_bytes()).to_vec()) }
            }
        }
    }

    /// A usable target; `None` if no target is.
    pub fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        match &self.algorithm {
            Some(algorithm) => algorithm.pick(turn),
            None => (turn.usable)(0).then_some(0),
        }
    }
}

fn header(name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        let message = format!("balancer.hash_on_header: '{name}' cannot be the name of a header");
        Error::new(Kind::Internal, message)
    })
}

fn algorithm(rules: &Rules, targets: &[Target]) -> Result<Box<dyn Algorithm>> {
    let weights = || targets.iter().map(|target| target.conf.weight);
    let states = || targets.iter().map(|target| (target.state.clone(), target.conf.weight)).collect();
    Ok(match rules.algorithm {
        Name::RoundRobin | Name::Semantic => Box::new(RoundRobin::new(weights())),
        Name::ConsistentHashing => Box::new(Ring::new(rules.slots, targets.iter().map(placed))),
        Name::LeastConnections => Box::new(LeastConnections::new(states())),
        Name::LowestLatency => Box::new(LowestLatency::new(rules.latency_strategy, states())),
        Name::Priority => Box::new(Priority::new(weights().collect())),
        Name::LowestUsage => {
            let counted = Counted::named(&rules.tokens_count_strategy)?;
            Box::new(LowestUsage::new(counted, targets.iter().map(rated).collect()))
        }
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
    Turn { usable, key: None, now }
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
