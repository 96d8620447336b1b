//! Token counts of one exchange, as a provider states them.

use super::scan;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Counts in OpenAI's sense: `prompt` includes cached tokens, `completion` includes reasoning.
///
/// `None` means that the provider said nothing; an explicit zero is kept as zero. A provider that
/// counts otherwise (cache reads outside the prompt, thoughts outside the answer) is added up here
/// by its own decoder, so that the classes are disjoint for the meter without further knowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request.
    pub prompt: Option<u64>,
    /// Tokens of the answer.
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

    /// These counts, and the earlier ones where nothing new was said: a stream may state its prompt
    /// at the beginning and its answer at the end.
    #[must_use]
    pub fn over(self, earlier: Self) -> Self {
        Self {
            prompt: self.prompt.or(earlier.prompt),
            completion: self.completion.or(earlier.completion),
            cached: self.cached.or(earlier.cached),
            cache_write: self.cache_write.or(earlier.cache_write),
            reasoning: self.reasoning.or(earlier.reasoning),
            total: self.total.or(earlier.total),
        }
    }

    /// Reads the JSON text of an OpenAI `usage` object, of Chat Completions or of the Responses API.
    /// A count that cannot be read is a count that was not given, never an error.
    pub fn read(json: &str) -> Self {
        let json = json.as_bytes();
        Stated::glance(json).or_else(|| Stated::walk(json)).map(Self::from).unwrap_or_default()
    }

    /// The provider's sum, or ours where it gave both parts and no sum.
    pub fn sum(&self) -> Option<u64> {
        self.total.or_else(|| self.prompt?.checked_add(self.completion?))
    }
}

/// Writes OpenAI's object; what is unknown is left out.
impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let counts = [
            ("prompt_tokens", self.prompt),
            ("completion_tokens", self.completion),
            ("total_tokens", self.sum()),
        ];
        for (key, count) in counts {
            if let Some(count) = count {
                map.serialize_entry(key, &count)?;
            }
        }
        if let Some(cached_tokens) = self.cached {
            map.serialize_entry("prompt_tokens_details", &PromptDetails { cached_tokens })?;
        }
        if let Some(reasoning_tokens) = self.reasoning {
            map.serialize_entry("completion_tokens_details", &CompletionDetails { reasoning_tokens })?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

/// The object as OpenAI and those who follow it write it. It is walked by hand: it stands in every reply, and
/// serde took as long for it as for the whole request.
#[derive(Default)]
struct Stated {
    prompt: Option<u64>,
    completion: Option<u64>,
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    of_prompt: Details,
    of_completion: Details,
    of_input: Details,
    of_output: Details,
}

#[derive(Default)]
struct Details {
    cached: Option<u64>,
    reasoning: Option<u64>,
}

impl Stated {
    /// Reads an object as nearly all are: whole numbers, and objects of whole numbers. None for any other.
    fn glance(json: &[u8]) -> Option<Self> {
        let (mut stated, mut parent) = (Self::default(), &b""[..]);
        let mut rest = json.trim_ascii_start().strip_prefix(b"{")?;
        loop {
            rest = rest.trim_ascii_start();
            match rest.split_first()? {
                (b',', after) => rest = after,
                (b'}', after) if parent.is_empty() => {
                    return after.trim_ascii().is_empty().then_some(stated);
                }
                (b'}', after) => (parent, rest) = (b"", after),
                (b'"', after) => {
                    let end = memchr::memchr2(b'"', b'\\', after)?;
                    let (key, after) = after.split_at_checked(end)?;
                    let colon = after.strip_prefix(b"\"")?.trim_ascii_start();
                    let value = colon.strip_prefix(b":")?.trim_ascii_start();
                    if let Some(inside) = value.strip_prefix(b"{").filter(|_| parent.is_empty()) {
                        (parent, rest) = (key, inside);
                        continue;
                    }
                    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let (number, after) = value.split_at_checked(digits).filter(|_| digits > 0)?;
                    stated.note(parent, key, count(number));
                    rest = after;
                }
                _ => return None,
            }
        }
    }

    fn note(&mut self, parent: &[u8], key: &[u8], count: Option<u64>) {
        match parent {
            b"" => self.top(key, count),
            b"prompt_tokens_details" => self.of_prompt.note(key, count),
            b"completion_tokens_details" => self.of_completion.note(key, count),
            b"input_tokens_details" => self.of_input.note(key, count),
            b"output_tokens_details" => self.of_output.note(key, count),
            _ => {}
        }
    }

    fn top(&mut self, key: &[u8], count: Option<u64>) {
        match key {
            b"prompt_tokens" => self.prompt = count,
            b"completion_tokens" => self.completion = count,
            b"input_tokens" => self.input = count,
            b"output_tokens" => self.output = count,
            b"total_tokens" => self.total = count,
            _ => {}
        }
    }

    /// Reads an object whatever it holds.
    fn walk(json: &[u8]) -> Option<Self> {
        let mut stated = Self::default();
        scan::members(json, |key, value| stated.take(key, value))?;
        Some(stated)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"prompt_tokens_details" => self.of_prompt = Details::read(value),
            b"completion_tokens_details" => self.of_completion = Details::read(value),
            b"input_tokens_details" => self.of_input = Details::read(value),
            b"output_tokens_details" => self.of_output = Details::read(value),
            _ => self.top(key, count(value)),
        }
    }
}

impl Details {
    fn read(json: &[u8]) -> Self {
        let mut details = Self::default();
        // What is no object states nothing.
        let _ = scan::members(json, |key, value| details.note(key, count(value)));
        details
    }

    fn note(&mut self, key: &[u8], count: Option<u64>) {
        match key {
            b"cached_tokens" => self.cached = count,
            b"reasoning_tokens" => self.reasoning = count,
            _ => {}
        }
    }
}

/// A number of tokens. Some servers write all numbers as floats.
fn count(value: &[u8]) -> Option<u64> {
    let digits = value.strip_suffix(b".0").unwrap_or(value);
    let add = |sum: u64, digit: &u8| {
        let digit = char::from(*digit).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(digit.into())
    };
    digits.iter().try_fold(0, add).filter(|_| !digits.is_empty())
}

impl From<Stated> for Usage {
    fn from(stated: Stated) -> Self {
        Self {
            prompt: stated.prompt.or(stated.input),
            completion: stated.completion.or(stated.output),
            cached: stated.of_prompt.cached.or(stated.of_input.cached),
            cache_write: None,
            reasoning: stated.of_completion.reasoning.or(stated.of_output.reasoning),
            total: stated.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_sees_what_a_walk_sees_or_nothing() {
        let mut glanced = 0;
        for text in [
            r#"{"prompt_tokens":25,"completion_tokens":0,"total_tokens":25,"prompt_tokens_details":{"cached_tokens":16,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3}}"#,
            r#" { "input_tokens" : 7 , "output_tokens_details" : { "reasoning_tokens" : 2 } } "#,
            r#"{"prompt_tokens":25.0,"completion_tokens":2}"#,
            r#"{"prompt_tokens":null,"completion_tokens":2}"#,
            r#"{"prompt_tokens":-1,"cost":{"cached_tokens":1},"completion_tokens":2}"#,
            r#"{"name":"a\"b","prompt_tokens":4,"list":[{"prompt_tokens":5}]}"#,
            r#"{"a":{"b":{"cached_tokens":1}},"prompt_tokens":6}"#,
            r#"{"prompt_tokens":99999999999999999999}"#,
            r#"{"prompt_tokens":1"#,
            "{}",
            "[]",
        ] {
            if let Some(glance) = Stated::glance(text.as_bytes()) {
                glanced += 1;
                let walk = Stated::walk(text.as_bytes()).map(Usage::from);
                assert_eq!(Some(Usage::from(glance)), walk, "{text}");
            }
        }
        assert_eq!(glanced, 4, "and of the plain ones it sees all");
    }

    #[test]
    fn a_walk_reads_all_details_and_one_count_is_no_silence() {
        let text =
            r#"{"prompt_tokens": null, "input_tokens": 7, "input_tokens_details": {"cached_tokens": 3}}"#;
        let usage = Usage::read(text);
        assert_eq!((usage.prompt, usage.cached), (Some(7), Some(3)));
        assert!(!usage.is_empty() && !Usage { completion: Some(0), ..Usage::default() }.is_empty());
        assert!(Usage { total: Some(3), ..Usage::default() }.is_empty());
    }

    #[test]
    fn chat_and_responses_objects_are_read() {
        let chat = Usage::read(
            r#"{"prompt_tokens": 25, "completion_tokens": 0, "total_tokens": 25, "queue_time": 0.1,
                "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0}}"#,
        );
        assert_eq!(
            chat,
            Usage {
                prompt: Some(25),
                completion: Some(0),
                cached: Some(16),
                cache_write: None,
                reasoning: Some(0),
                total: Some(25)
            }
        );
        let responses = Usage::read(
            r#"{"input_tokens": 7, "output_tokens": 9, "input_tokens_details": {"cached_tokens": 3},
                "output_tokens_details": {"reasoning_tokens": 5}}"#,
        );
        assert_eq!((responses.prompt, responses.completion), (Some(7), Some(9)));
        assert_eq!((responses.cached, responses.reasoning, responses.total), (Some(3), Some(5), None));
        assert_eq!(responses.sum(), Some(16));
    }

    #[test]
    fn what_cannot_be_read_was_not_given() {
        for json in ["null", "[]", r#""no usage data""#, "{}", r#"{"prompt_tokens": "many"}"#] {
            assert_eq!(Usage::read(json), Usage::default(), "{json}");
        }
        let partly =
            Usage::read(r#"{"prompt_tokens": -1, "completion_tokens": 4, "prompt_tokens_details": 3}"#);
        assert_eq!(partly, Usage { completion: Some(4), ..Usage::default() });
    }

    #[test]
    fn the_unknown_is_left_out() {
        let usage = Usage { completion: Some(0), reasoning: Some(0), ..Usage::default() };
        let json = serde_json::to_string(&usage).unwrap();
        assert_eq!(json, r#"{"completion_tokens":0,"completion_tokens_details":{"reasoning_tokens":0}}"#);
        let whole = Usage { prompt: Some(2), completion: Some(3), cached: Some(1), ..Usage::default() };
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(
            json,
            r#"{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1}}"#
        );
    }
}
