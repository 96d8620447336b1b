//! How a target proves to its upstream who it is. Pure: what can be settled at load is, and nothing
//! here is ever shown in a log or an error.

pub mod gcp;
pub mod header;
pub mod token;

pub use header::Auth;

use crate::config::problems::Problems;
use crate::config::target::TargetConf;

/// A cloud knows the gateway, not its clients: what they send never takes the place of its identity.
///
// KONG(llm/schemas/init.lua): also refuses these two without any `auth`, which overrides nothing.
pub(super) fn refuse_override(conf: &TargetConf, out: &mut Problems<'_>) {
    if conf.auth.allow_override {
        out.at("auth").at("allow_override").push("value must be false");
        out.push("bedrock and gemini only support auth.allow_override = false");
    }
}
