//! Token counts of one exchange, as a provider states them.

/// Counts in OpenAI's sense: `prompt` includes cached tokens, `completion` includes reasoning.
///
/// `None` means that the provider said nothing; an explicit zero is kept as zero. A provider that
/// counts otherwise (cache reads outside the prompt, thoughts outside the answer) is added up here
/// by its own decoder, so that the classes are disjoint for the meter without further knowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: Option<u64>,
    pub completion: Option<u64>,
    /// Part of `prompt` that was read from the provider's cache.
    pub cached: Option<u64>,
    /// Part of `prompt` that was written to the provider's cache.
    pub cache_write: Option<u64>,
    /// Part of `completion` that was spent on reasoning.
    pub reasoning: Option<u64>,
    /// The provider's own sum, if it gives one.
    pub total: Option<u64>,
}

impl Usage {
    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        self.prompt.is_none() && self.completion.is_none()
    }
}
