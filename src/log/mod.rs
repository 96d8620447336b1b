//! The log of exchanges: Kong's record, and where it is written.

pub mod ai;
pub mod entity;
pub mod part;
pub mod queue;
pub mod record;
pub mod sink;
pub mod trace;

#[cfg(test)]
mod tests;
