//! xAI: OpenAI's dialect, with a count of its own.

use super::openai::{COMPATIBLE, OpenAiDialect, Vendor, path};
use super::{Driver, Provider};
use crate::config::target::{Operation, TargetConf};
use crate::error::Result;
use crate::wire::usage::Usage;

/// `provider: xai`.
pub struct XAi;

const VENDOR: Vendor = Vendor { limit: |_| "max_completion_tokens", usage: counted, ..COMPATIBLE };

impl Provider for XAi {
    fn name(&self) -> &'static str {
        "xai"
    }

    fn semantic_name(&self) -> &'static str {
        "x_ai"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat]
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        Ok(Driver::new("https://api.x.ai", path(conf.route_type), OpenAiDialect::new(VENDOR)))
    }
}

/// xAI counts reasoning beside the completion, not within it, and both in the total. Servers between us and
/// it may have added them up already: then the total is that of prompt and completion.
fn counted(stated: &str) -> Usage {
    let usage = Usage::read(stated);
    let sum = |completion: u64| usage.prompt?.checked_add(completion);
    let within = usage.total.is_some() && usage.completion.and_then(sum) == usage.total;
    match (usage.completion, usage.reasoning) {
        (Some(completion), Some(reasoning)) if !within => {
            Usage { completion: completion.checked_add(reasoning), ..usage }
        }
        _ => usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_is_added_once() {
        let completion = |rest: &str| {
            let details = r#""completion_tokens_details":{"reasoning_tokens":94}"#;
            counted(&format!(r#"{{"prompt_tokens":32,{details}{rest}}}"#)).completion
        };
        assert_eq!(completion(r#","completion_tokens":9,"total_tokens":135"#), Some(103), "beside");
        assert_eq!(completion(r#","completion_tokens":103,"total_tokens":135"#), Some(103), "within");
        assert_eq!(completion(r#","completion_tokens":9"#), Some(103), "as documented");
        assert_eq!(completion(""), None);
        assert_eq!(counted(r#"{"prompt_tokens":3,"completion_tokens":9}"#).completion, Some(9));
    }
}
