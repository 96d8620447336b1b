//! One request to the simulated model: what a dialect may look at besides the body that it reads.

use super::Options;
use axum::http::HeaderMap;
use std::borrow::Cow;

/// A request.
pub struct Ask<'a> {
    /// How the simulated model behaves.
    pub options: &'a Options,
    /// The request's.
    pub headers: &'a HeaderMap,
    /// Without its question mark.
    pub query: &'a str,
    /// The request's.
    pub body: &'a [u8],
    /// The model or deployment that the path names.
    pub model: Option<Cow<'a, str>>,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// All tokens of the prompt, those from a cache among them.
    pub prompt: u64,
    /// Tokens of the answer.
    pub completion: u64,
    /// The tokens of the prompt that came from a cache; `None` if the request did not ask for any.
    pub cached: Option<u64>,
}

impl Ask<'_> {
    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        parameter(self.query, name)
    }

    /// The words that an answer must at least have.
    pub fn words(&self) -> usize {
        self.options.chunks.unwrap_or(0)
    }

    /// What an answer cost, of which `x-mock-cached` may have put a part into a cache.
    pub fn spent(&self, prompt: u64, completion: u64) -> Spent {
        let wanted = self.headers.get("x-mock-cached");
        let cached: Option<u64> = wanted.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Spent { prompt, completion, cached: cached.map(|cached| cached.min(prompt)) }
    }
}

impl Spent {
    /// The tokens of the prompt that did not come from a cache.
    pub fn fresh(&self) -> u64 {
        self.prompt - self.cached.unwrap_or(0)
    }

    /// All tokens.
    pub fn total(&self) -> u64 {
        self.prompt + self.completion
    }
}

/// A parameter of a query.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == name).then_some(value))
}
