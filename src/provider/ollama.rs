//! Ollama's own API (`/api/chat`, `/api/generate`), which mistral and llama2 targets can speak.

use super::{Call, Decoded, Dialect, Driver, Outbound, StreamPlan};
use crate::config::target::Operation;
use crate::error::Result;
use crate::wire::frame::Framing;
use bytes::Bytes;

mod decode;
mod encode;
mod messages;

/// The Ollama dialect.
pub struct OllamaDialect;

impl OllamaDialect {
    /// A driver for a target that speaks it.
    ///
    // KONG(llm/drivers/mistral.lua): without an `upstream_url` Kong sends Ollama's format to
    // Mistral's cloud, which does not read it. Here it goes where Ollama listens by default.
    pub fn driver(operation: Operation) -> Driver {
        let path = match operation {
            Operation::Chat => "/api/chat",
            Operation::Completions => "/api/generate",
            Operation::Preserve => "/",
        };
        Driver::new("http://localhost:11434", path, Self)
    }
}

impl Dialect for OllamaDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        encode::request(call)
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        decode::reply(call, &body)
    }

    fn stream(&self, call: &Call<'_>) -> StreamPlan {
        StreamPlan::Translate(Framing::JsonLines, Box::new(decode::Decoder::new(call)))
    }
}

#[cfg(test)]
mod tests;
