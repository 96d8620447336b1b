//! Llama 2 on a server of one's own, in one of three formats: OpenAI's, Ollama's, or a raw prompt.

use super::ollama::OllamaDialect;
use super::openai::{COMPATIBLE, OpenAiDialect, path};
use super::{Driver, Provider};
use crate::config::problems::Problems;
use crate::config::schema::Field;
use crate::config::target::{Operation, TargetConf};
use crate::error::Result;

mod prompt;
mod raw;

/// `provider: llama2`.
pub struct Llama2;

impl Provider for Llama2 {
    fn name(&self) -> &'static str {
        "llama2"
    }

    fn options(&self) -> Vec<Field> {
        vec![
            Field::one_of("llama2_format", &["raw", "openai", "ollama"])
                .doc("What the upstream speaks; required for provider llama2."),
            Field::one_of("llama2_history", &["kong", "full"]).doc(
                "With llama2_format raw: 'kong' (the default) leaves earlier answers of the assistant out of \
                 the prompt, as Kong does; 'full' keeps the whole conversation.",
            ),
        ]
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat, Operation::Completions]
    }

    fn check(&self, conf: &TargetConf, out: &mut Problems<'_>) {
        let options = &conf.model.options;
        if options.own_str("llama2_format").is_none() {
            out.push("must set 'model.options.llama2_format' for llama2 provider");
        }
        if options.upstream_url.is_none() {
            out.push("must set 'model.options.upstream_url' for self-hosted providers/models");
        }
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        let options = &conf.model.options;
        let driver = match options.own_str("llama2_format") {
            Some("ollama") => OllamaDialect::driver(conf.route_type),
            Some("openai") => Driver::new("", path(conf.route_type), OpenAiDialect::new(COMPATIBLE)),
            _ => Driver::new("", "/", raw::RawDialect::new(options.own_str("llama2_history"))),
        };
        Ok(Driver { address: None, ..driver })
    }
}

#[cfg(test)]
mod tests;
