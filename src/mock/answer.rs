//! What the simulated model says, within the limits it was given.

use super::arithmetic;
use crate::meter::estimate::{self, Tally};
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
    /// The words that it must at least have.
    pub words: usize,
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
    pub text: String,
    pub tokens: u64,
    pub finish: Finish,
}

impl Answer {
    /// The answer to a question: the same question always has the same.
    pub fn to(question: &str, limits: &Limits<'_>) -> Self {
        let mut text = lengthen(say(question.trim()), limits.words);
        let mut finish = Finish::End;
        let stop =
            limits.stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(&**stop)).min();
        if let Some(at) = stop {
            text.truncate(at);
            finish = Finish::StopWord;
        }
        let mut tokens = estimate::tokens(&text);
        if let Some(limit) = limits.tokens.filter(|&limit| limit < tokens) {
            text.truncate(fitting(&text, limit));
            tokens = estimate::tokens(&text);
            finish = Finish::Length;
        }
        Self { text, tokens, finish }
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

fn say(question: &str) -> String {
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
    match question.char_indices().nth(REPEATED) {
        Some((end, _)) => {
            format!("You said: \"{}…\" This is a simulated answer.", question[..end].trim_end())
        }
        None => format!("You said: \"{question}\" This is a simulated answer."),
    }
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

    #[test]
    fn a_limit_holds_and_says_so() {
        let whole = Answer::to("Tell me about Japan", &Limits::default());
        assert_eq!((whole.finish, whole.tokens), (Finish::End, estimate::tokens(&whole.text)));
        for limit in 0..whole.tokens {
            let answer = Answer::to("Tell me about Japan", &limits(limit));
            assert!(answer.tokens <= limit && whole.text.starts_with(&answer.text), "{answer:?}");
            assert_eq!(answer.finish, Finish::Length);
        }
        assert_eq!(Answer::to("Tell me about Japan", &limits(whole.tokens)).finish, Finish::End);
    }

    #[test]
    fn a_stop_word_is_not_said() {
        let stop = vec!["simulated".into(), "".into(), "\" This".into()];
        let answer = Answer::to("Tell me", &Limits { stop, ..Limits::default() });
        assert_eq!((answer.text.as_str(), answer.finish), ("You said: \"Tell me", Finish::StopWord));
    }

    #[test]
    fn fragments_make_the_text_again_and_are_as_many_as_asked() {
        let answer = Answer::to("Why is the sky  blue?", &Limits { words: 40, ..Limits::default() });
        for count in [None, Some(0), Some(1), Some(7), Some(40), Some(100)] {
            let fragments = answer.fragments(count);
            assert_eq!(fragments.concat(), answer.text);
            assert!(fragments.iter().all(|fragment| !fragment.is_empty()));
            assert_eq!(fragments.len(), count.unwrap_or(40).max(1), "{count:?}");
        }
        let none = Answer { text: String::new(), tokens: 0, finish: Finish::StopWord };
        assert!(none.fragments(None).concat().is_empty() && none.fragments(Some(3)).concat().is_empty());
    }

    #[test]
    fn long_questions_are_not_repeated_whole() {
        let answer = Answer::to(&"東京は".repeat(500), &Limits::default());
        assert!(answer.text.chars().count() < 250 && answer.text.contains('…'));
    }
}
