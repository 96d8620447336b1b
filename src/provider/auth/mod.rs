//! How a target proves to its upstream who it is. Pure: what can be settled at load is, and nothing
//! here is ever shown in a log or an error.

pub mod header;

pub use header::Auth;
