//! How a target proves to its upstream who it is. Pure: what can be settled at load is, and nothing
//! here is ever shown in a log or an error.

pub mod azure;
pub mod gcp;
pub mod header;
pub mod sigv4;
pub mod token;

pub use header::Auth;

use crate::config::problems::Problems;
use crate::config::target::TargetConf;
use crate::error::Result;
use http::{HeaderName, HeaderValue, Method};

/// A cloud knows the gateway, not its clients: what they send never takes the place of its identity.
///
// KONG(llm/schemas/init.lua): also refuses these two without any `auth`, which overrides nothing.
pub(super) fn refuse_override(conf: &TargetConf, out: &mut Problems<'_>) {
    if conf.auth.allow_override {
        out.at("auth").at("allow_override").push("value must be false");
        out.push("bedrock and gemini only support auth.allow_override = false");
    }
}

/// Proves who we are on a request that is complete but for that.
pub trait Signer: Send + Sync {
    /// The headers to add; they replace others of their names.
    fn sign(&self, request: &Unsigned<'_>) -> Result<Vec<(HeaderName, HeaderValue)>>;

    /// Headers of the client that begin so do not go along.
    fn withheld(&self) -> Option<&'static str> {
        None
    }
}

/// A request as it will be sent, before it is signed.
pub struct Unsigned<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The value of `Host`.
    pub host: &'a str,
    /// As it goes on the wire.
    pub path: &'a str,
    /// Pieces of the query, to be joined by `&`; some may be empty.
    pub query: &'a [&'a str],
    /// The gateway's own headers.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// Encoded for the upstream.
    pub body: &'a [u8],
    /// Seconds since the epoch.
    pub now: u64,
}
