//! How a route treats its targets, beyond which of them it picks: what it tolerates, for how long it
//! waits, and what becomes of an answer that nobody waits for any more.

use super::failover::Failover;
use super::health::Tolerance;
use std::time::Duration;

/// What `balancer` says, but for its algorithm. The default is that of a lone target.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Which failures another target may follow.
    pub failover: Failover,
    /// How many of them take a target out, and for how long.
    pub tolerance: Tolerance,
    /// From a request to the first output of its stream, at most.
    pub first_token: Option<Duration>,
    /// Between two reads of a stream, at most; without it the read timeout counts.
    pub idle: Option<Duration>,
    /// What becomes of a stream whose client has gone.
    pub abandoned: Abandoned,
}

/// What becomes of a stream whose client has hung up.
#[derive(Clone, Copy, Debug, Default)]
pub enum Abandoned {
    /// What is there already is read, and the upstream is hung up on.
    #[default]
    Cancel,
    /// It is read on, to learn the provider's own count, up to so much time and so many tokens.
    #[expect(missing_docs, reason = "named for what they bound")]
    Drain { time: Duration, tokens: u64 },
}
