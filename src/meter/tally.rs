//! From what the provider said, and what passed, to what is counted.

use super::cost::{Amount, Price};
use crate::wire::usage::Usage;

/// Where a count comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The provider said so.
    Provider,
    /// We counted.
    Estimated,
    /// We counted what came before the answer broke off.
    Partial,
}

impl Provenance {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Estimated => "estimated",
            Self::Partial => "partial",
        }
    }
}

/// One count and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub tokens: u64,
    /// Who counted.
    pub from: Provenance,
}

/// The settled usage of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Of the request.
    pub prompt: Count,
    /// Of the answer.
    pub completion: Count,
    /// Part of the prompt: what the provider's cache held.
    pub cached: Option<u64>,
    /// Part of the prompt: what went into the cache.
    pub cache_write: Option<u64>,
    /// Part of the completion: what the model thought.
    pub reasoning: Option<u64>,
    /// `None`: no price is configured.
    pub cost: Option<Amount>,
}

/// The disjoint classes of tokens, as they are exported.
pub const CLASSES: [&str; 5] = ["input", "cached_input", "cache_write", "output", "reasoning"];

impl Tally {
    /// Settles: the provider's counts where it gave them, otherwise ours. The two closures count
    /// the prompt and the answer; each is called only if its count is missing.
    pub fn settle(
        usage: &Usage,
        broken: bool,
        price: Option<Price>,
        prompt: impl FnOnce() -> u64,
        completion: impl FnOnce() -> u64,
    ) -> Self {
        let own = if broken { Provenance::Partial } else { Provenance::Estimated };
        let count = |said: Option<u64>, ours: &mut dyn FnMut() -> u64| match said {
            Some(tokens) => Count { tokens, from: Provenance::Provider },
            None => Count { tokens: ours(), from: own },
        };
        let (mut prompt_of, mut completion_of) = (Some(prompt), Some(completion));
        let prompt = count(usage.prompt, &mut || prompt_of.take().map_or(0, |f| f()));
        // A count given before the answer broke off does not cover what came after it.
        let said = if broken { None } else { usage.completion };
        let completion = count(said, &mut || completion_of.take().map_or(0, |f| f()));
        Self {
            prompt,
            completion,
            cached: usage.cached,
            cache_write: usage.cache_write,
            reasoning: usage.reasoning,
            cost: price.map(|price| price.of(prompt.tokens, completion.tokens)),
        }
    }

    /// Prompt and completion.
    pub fn total(&self) -> u64 {
        self.prompt.tokens.saturating_add(self.completion.tokens)
    }

    /// Tokens by class, in the order of [`CLASSES`]: no token is in two of them.
    pub fn classes(&self) -> [u64; 5] {
        let cached = self.cached.unwrap_or(0).min(self.prompt.tokens);
        let written = self.cache_write.unwrap_or(0).min(self.prompt.tokens - cached);
        let reasoning = self.reasoning.unwrap_or(0).min(self.completion.tokens);
        [
            self.prompt.tokens - cached - written,
            cached,
            written,
            self.completion.tokens - reasoning,
            reasoning,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_provider_said_is_not_counted_again() {
        let usage = Usage { prompt: Some(25), completion: Some(0), ..Usage::default() };
        let tally = Tally::settle(&usage, false, None, || panic!("said"), || panic!("an explicit zero"));
        assert_eq!(tally.completion, Count { tokens: 0, from: Provenance::Provider });
        assert_eq!(tally.cost, None);
    }

    #[test]
    fn what_it_did_not_say_is_estimated_and_a_broken_answer_is_partial() {
        let tally = Tally::settle(&Usage::default(), false, None, || 7, || 3);
        assert_eq!(tally.prompt, Count { tokens: 7, from: Provenance::Estimated });
        let early = Usage { prompt: Some(9), completion: Some(1), ..Usage::default() };
        let tally = Tally::settle(&early, true, None, || 7, || 30);
        assert_eq!(tally.prompt, Count { tokens: 9, from: Provenance::Provider });
        assert_eq!(tally.completion, Count { tokens: 30, from: Provenance::Partial });
    }

    #[test]
    fn classes_are_disjoint_and_add_up() {
        let usage = Usage {
            prompt: Some(100),
            completion: Some(50),
            cached: Some(60),
            cache_write: Some(10),
            reasoning: Some(20),
            total: None,
        };
        let tally = Tally::settle(&usage, false, Price::new(Some(1.0), Some(2.0)), || 0, || 0);
        assert_eq!(tally.classes(), [30, 60, 10, 30, 20]);
        assert_eq!(tally.classes().iter().sum::<u64>(), tally.total());
        // Also where the parts are said to be more than the whole.
        let more = Usage { cached: Some(60), cache_write: Some(60), reasoning: Some(60), ..usage };
        assert_eq!(Tally::settle(&more, false, None, || 0, || 0).classes(), [0, 60, 40, 0, 50]);
    }
}
