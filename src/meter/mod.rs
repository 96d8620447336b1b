//! The meter: what an exchange used, where each count comes from, what it cost.
//!
//! The invariant: every exchange that reached a provider is settled exactly once, whatever became
//! of the client, the stream or a plugin.

pub mod account;
pub mod cost;
pub mod estimate;
pub mod metrics;
pub mod sum;
pub mod tally;
