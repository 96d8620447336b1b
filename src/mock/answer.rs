//! What the simulated model says, within the limits it was given.

use super::prompt::Prompt;
use super::{arithmetic, schema};
use crate::meter::estimate::{self, Tally};
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Of a longer question, only the beginning is repeated.
const REPEATED: usize = 160;

/// Appended, word by word, where a stream has to have more events than the answer has words.
const FILLER: &str = " and so on, one simulated word after another";

/// What bounds an answer.
#[derive(Debug, Default)]
pub struct Limits<'a> {
    /// The most tokens that it may have.
    pub tokens: Option<u64>,
    /// It ends before the first of these.
    pub stop: Vec<Cow<'a, str>>,
    /// The words that it must at least have, if it is text.
    pub words: usize,
    /// What it must be, if not text.
    pub format: Option<Format<'a>>,
}

/// What an answer must be.
#[derive(Clone, Copy, Debug)]
pub enum Format<'a> {
    /// A JSON object.
    Json,
    /// JSON that fits a schema.
    Schema(&'a RawValue),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All was said.
    End,
    /// A stop word came.
    StopWord,
    /// The limit was reached.
    Length,
}

impl Finish {
    /// OpenAI's and Ollama's word for it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::End | Self::StopWord => "stop",
            Self::Length => "length",
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// What it says.
    pub text: String,
    /// How many those are.
    pub tokens: u64,
    /// Why it ends.
    pub finish: Finish,
    /// The stop word that ended it.
    pub stop: Option<String>,
}

impl Answer {
    /// The answer to a prompt: the same prompt always has the same.
    pub fn to(prompt: &Prompt<'_>, limits: &Limits<'_>) -> Self {
        let question = prompt.question.trim();
        let mut text = match limits.format {
            Some(Format::Schema(schema)) => schema::example(schema, question).to_string(),
            Some(Format::Json) => json!({"answer": say(question, prompt.images)}).to_string(),
            None => lengthen(say(question, prompt.images), limits.words),
        };
        let mut finish = Finish::End;
        let words = limits.stop.iter().filter(|stop| !stop.is_empty());
        let first = words.filter_map(|stop| Some((text.find(&**stop)?, stop))).min();
        let stop = first.map(|(_, stop)| stop.clone().into_owned());
        if let Some((at, _)) = first {
            text.truncate(at);
            finish = Finish::StopWord;
        }
        let mut tokens = estimate::tokens(&text);
        if let Some(limit) = limits.tokens.filter(|&limit| limit < tokens) {
            text.truncate(fitting(&text, limit));
            tokens = estimate::tokens(&text);
            finish = Finish::Length;
        }
        Self { text, tokens, finish, stop: stop.filter(|_| finish == Finish::StopWord) }
    }

    /// The text in as many fragments, or one a word. It may have too few characters for so many.
    pub fn fragments(&self, count: Option<usize>) -> Vec<&str> {
        let mut cuts: Vec<usize> = starts_of_words(&self.text).collect();
        if let Some(count) = count.map(|count| count.max(1)) {
            if cuts.len() < count {
                cuts = self.text.char_indices().map(|(at, _)| at).collect();
            }
            let all = cuts.len();
            let groups = count.min(all);
            cuts = (0..groups).filter_map(|group| cuts.get(group * all / groups).copied()).collect();
        }
        cuts.push(self.text.len());
        cuts.windows(2).filter_map(|pair| self.text.get(*pair.first()?..*pair.last()?)).collect()
    }
}

fn say(question: &str, images: usize) -> String {
    if let Some(result) = arithmetic::solve(question) {
        return result;
    }
    if question.is_empty() {
        return "Hello! This is a simulated model. Ask it anything.".to_owned();
    }
    let greeting = question.trim_end_matches(['!', '.', '?']);
    if ["hello", "hi", "hey", "good morning"].iter().any(|word| greeting.eq_ignore_ascii_case(word)) {
        return "Hello! How can I help you today? (This is a simulated model.)".to_owned();
    }
    let (repeated, more) = match question.char_indices().nth(REPEATED) {
        Some((end, _)) => (question[..end].trim_end(), "…"),
        None => (question, ""),
    };
    let shown = match images {
        0 => String::new(),
        1 => " and showed an image.".to_owned(),
        _ => format!(" and showed {images} images."),
    };
    format!("You said: \"{repeated}{more}\"{shown} This is a simulated answer.")
}

fn lengthen(mut text: String, words: usize) -> String {
    let missing = words.saturating_sub(starts_of_words(&text).count());
    FILLER.split_inclusive(' ').skip(1).cycle().take(missing).for_each(|word| {
        text.push(' ');
        text.push_str(word.trim_end());
    });
    text
}

/// Where a word begins, with the space before it.
fn starts_of_words(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices()
        .scan(' ', |before, (at, c)| {
            let begins = at == 0 || (c == ' ' && *before != ' ');
            *before = c;
            Some(begins.then_some(at))
        })
        .flatten()
}

/// The length of the longest beginning with at most so many tokens.
fn fitting(text: &str, limit: u64) -> usize {
    let mut tally = Tally::default();
    let mut fits = 0;
    for (at, c) in text.char_indices() {
        tally.push(text.get(at..at + c.len_utf8()).unwrap_or_default());
        if tally.total() <= limit {
            fits = at + c.len_utf8();
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(tokens: u64) -> Limits<'static> {
        Limits { tokens: Some(tokens), ..Limits::default() }
    }

    fn answer(question: &str, limits: &Limits<'_>) -> Answer {
        Answer::to(&Prompt::text(question.into()), limits)
    }

    #[test]
    fn a_limit_holds_and_says_so() {
        let whole = answer("Tell me about Japan", &Limits::default());
        assert_eq!((whole.finish, whole.tokens), (Finish::End, estimate::tokens(&whole.text)));
        for limit in 0..whole.tokens {
            let said = answer("Tell me about Japan", &limits(limit));
            assert!(said.tokens <= limit && whole.text.starts_with(&said.text), "{said:?}");
            assert_eq!(said.finish, Finish::Length);
        }
        assert_eq!(answer("Tell me about Japan", &limits(whole.tokens)).finish, Finish::End);
    }

    #[test]
    fn a_stop_word_is_not_said() {
        let stop = vec!["simulated".into(), "".into(), "\" This".into()];
        let said = answer("Tell me", &Limits { stop, ..Limits::default() });
        assert_eq!((said.text.as_str(), said.finish), ("You said: \"Tell me", Finish::StopWord));
    }

    #[test]
    fn fragments_make_the_text_again_and_are_as_many_as_asked() {
        let said = answer("Why is the sky  blue?", &Limits { words: 40, ..Limits::default() });
        for count in [None, Some(0), Some(1), Some(7), Some(40), Some(100)] {
            let fragments = said.fragments(count);
            assert_eq!(fragments.concat(), said.text);
            assert!(fragments.iter().all(|fragment| !fragment.is_empty()));
            assert_eq!(fragments.len(), count.unwrap_or(40).max(1), "{count:?}");
        }
        let none = Answer { text: String::new(), tokens: 0, finish: Finish::StopWord, stop: None };
        assert!(none.fragments(None).concat().is_empty() && none.fragments(Some(3)).concat().is_empty());
    }

    #[test]
    fn long_questions_are_not_repeated_whole() {
        let said = answer(&"東京は".repeat(500), &Limits::default());
        assert!(said.text.chars().count() < 250 && said.text.contains('…'));
    }
}
