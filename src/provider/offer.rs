//! What the guided start offers: one entry for each provider of Kong's quickstart.

/// A provider, and what has to be known to reach it.
pub struct Offer {
    /// A name of the list of providers.
    pub provider: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Served unless another is named.
    pub model: &'static str,
    /// How it is reached.
    pub access: Access,
    /// Options that go without asking.
    pub options: &'static [(&'static str, &'static str)],
    /// Options that nobody can guess, each with its question.
    pub asks: &'static [(&'static str, &'static str)],
}

/// How it is reached.
pub enum Access {
    /// By a key, in that header and after that word.
    #[expect(missing_docs, reason = "named for what they are")]
    Key { header: &'static str, before: &'static str },
    /// At an address of the user's own, which this is an example of.
    Address(&'static str),
}

/// All of them, in the order in which they are asked for.
pub static OFFERS: &[Offer] = &[
    Offer {
        provider: "openai",
        title: "OpenAI",
        model: "gpt-4o-mini",
        access: Access::Key { header: "Authorization", before: "Bearer " },
        options: &[],
        asks: &[],
    },
    Offer {
        provider: "cohere",
        title: "Cohere",
        model: "command-a-03-2025",
        access: Access::Key { header: "Authorization", before: "Bearer " },
        options: &[],
        asks: &[],
    },
    Offer {
        provider: "azure",
        title: "Azure OpenAI",
        model: "gpt-4o-mini",
        access: Access::Key { header: "api-key", before: "" },
        options: &[("azure_api_version", "2024-10-21")],
        asks: &[
            ("azure_instance", "name of the Azure resource"),
            ("azure_deployment_id", "name of the deployment"),
        ],
    },
    Offer {
        provider: "anthropic",
        title: "Anthropic",
        model: "claude-sonnet-4-5",
        access: Access::Key { header: "x-api-key", before: "" },
        options: &[("anthropic_version", "2023-06-01")],
        asks: &[],
    },
    Offer {
        provider: "mistral",
        title: "a local Mistral (Ollama)",
        model: "mistral",
        access: Access::Address("http://localhost:11434/api/chat"),
        options: &[("mistral_format", "ollama")],
        asks: &[],
    },
    Offer {
        provider: "llama2",
        title: "a local Llama2 (Ollama)",
        model: "llama2",
        access: Access::Address("http://localhost:11434/api/chat"),
        options: &[("llama2_format", "ollama")],
        asks: &[],
    },
];
