//! What OpenTelemetry's conventions for generative AI call the providers.

/// The value of `gen_ai.provider.name` for a provider.
pub fn semantic_name(provider: &'static str) -> &'static str {
    match provider {
        "azure" => "azure.ai.openai",
        "bedrock" => "aws.bedrock",
        "gemini" => "gcp.gemini",
        "mistral" => "mistral_ai",
        // Those that the conventions know under our name, and those that they do not know.
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_conventions() {
        for (provider, name) in [("openai", "openai"), ("azure", "azure.ai.openai"), ("llama2", "llama2")] {
            assert_eq!(semantic_name(provider), name);
        }
    }
}
