//! Upstreams: where they are, how they are reached, what one try of one of them brings.

pub mod attempt;
pub mod connection;
pub mod endpoint;
pub mod fetch;
pub mod head;
pub mod inflate;
mod pool;
pub mod trust;
pub mod tunnel;
