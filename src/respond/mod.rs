//! The answer to the client: an upstream's, passed on or rewritten, or one of our own.

pub mod head;
pub mod local;
