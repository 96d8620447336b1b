//! `deepseek`: OpenAI's dialect, with paths, and a word for what its cache held, of its own.

use super::openai::{COMPATIBLE, OpenAiDialect, Vendor, rename};
use super::{Driver, Provider};
use crate::config::target::{Operation, TargetConf};
use crate::error::Result;
use crate::wire::chat::lenient::Count;
use crate::wire::usage::Usage;
use serde::Deserialize;

/// `provider: deepseek`.
pub struct DeepSeek;

/// It passes over OpenAI's newer name for the limit without a word.
const VENDOR: Vendor =
    Vendor { reword: |doc| rename(doc, "max_completion_tokens", "max_tokens"), usage: counted, ..COMPATIBLE };

impl Provider for DeepSeek {
    fn name(&self) -> &'static str {
        "deepseek"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat, Operation::Completions]
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        let path = match conf.route_type {
            Operation::Chat => "/chat/completions",
            // Only the interface that it calls beta completes texts.
            Operation::Completions => "/beta/completions",
            Operation::Preserve => "/",
        };
        Ok(Driver::new("https://api.deepseek.com", path, OpenAiDialect::new(VENDOR)))
    }
}

/// What the cache held stands beside the counts, not in `prompt_tokens_details`.
fn counted(stated: &str) -> Usage {
    #[derive(Default, Deserialize)]
    struct Cache {
        #[serde(default, rename = "prompt_cache_hit_tokens")]
        hit: Count,
    }
    let usage = Usage::read(stated);
    let cache: Cache = serde_json::from_str(stated).unwrap_or_default();
    Usage { cached: usage.cached.or(cache.hit.0), ..usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cache_held_is_seen_where_it_is_said() {
        for (stated, cached) in [
            (r#"{"prompt_tokens":9,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":1}"#, Some(8)),
            (r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}"#, Some(4)),
            (r#"{"prompt_tokens":9}"#, None),
        ] {
            assert_eq!(counted(stated).cached, cached, "{stated}");
        }
    }
}
