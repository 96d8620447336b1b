//! tollgate: an AI gateway on Pingora that reads Kong's declarative configuration.
//!
//! The modules are the path of a request. ARCHITECTURE.md tells it in one page.

// The way in: flags, listeners, and the configuration that is in force.
pub mod config;
pub mod listen;
pub mod process;
pub mod snapshot;
pub mod state;

// The life of a request.
pub mod edge;
pub mod exchange;
pub mod express;
pub mod gateway;
pub mod serving;

// The stages, in order.
pub mod accept;
pub mod log;
pub mod meter;
pub mod plugins;
pub mod provider;
pub mod respond;
pub mod route;
pub mod target;
pub mod upstream;

// Where the stages meet: AI exchanges, plain routes, and the end of both.
pub mod attempts;
pub mod echo;
pub mod journal;
pub mod phases;
pub mod plain;
pub mod settle;

// Used by all of them, or beside them.
pub mod admin;
pub mod clock;
pub mod convert;
pub mod error;
pub mod gather;
pub mod heap;
pub mod init;
pub mod mock;
pub mod node;
pub mod polling;
pub mod turns;
pub mod wire;
