//! From files to a checked configuration: document (as written) → check (all problems at once).

pub mod entities;
pub mod problems;
pub mod schema;
pub mod target;
