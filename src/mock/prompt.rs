//! A prompt, counted while a dialect reads it.

use super::refusal::Refusal;
use crate::meter::estimate;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What an image counts as: what OpenAI counts for one that is looked at roughly.
const IMAGE: u64 = 85;

/// A prompt.
#[derive(Debug, Default)]
pub struct Prompt<'a> {
    /// The last thing that the user said.
    pub question: Cow<'a, str>,
    /// How many it has.
    pub tokens: u64,
    /// How many came with it.
    pub images: usize,
    /// The tool calls that the turn before the present one made and nothing has answered.
    unanswered: Vec<Cow<'a, str>>,
}

impl<'a> Prompt<'a> {
    /// A chat of so many messages, none of them counted yet.
    pub fn chat(messages: usize) -> Self {
        Self { tokens: estimate::prompt_overhead(messages), ..Self::default() }
    }

    /// A text that is its own question.
    pub fn text(text: Cow<'a, str>) -> Self {
        Self { tokens: estimate::tokens(&text), question: text, ..Self::default() }
    }

    /// Counts any text.
    pub fn count(&mut self, text: &str) {
        self.tokens += estimate::tokens(text);
    }

    /// Counts JSON as it is written.
    pub fn count_json(&mut self, json: Option<&RawValue>) {
        self.tokens += json.map_or(0, |json| estimate::tokens(json.get()));
    }

    /// Counts an image.
    pub fn show(&mut self) {
        self.tokens += IMAGE;
        self.images += 1;
    }

    /// What the user says, already counted. A turn without text, as one of tool results, asks nothing new.
    pub fn ask(&mut self, text: Cow<'a, str>) {
        if !text.is_empty() {
            self.question = text;
        }
    }

    /// The model called a tool; the next turn has to answer.
    pub fn call(&mut self, id: Cow<'a, str>) {
        self.unanswered.push(id);
    }

    /// A tool answered.
    pub fn answer(&mut self, id: &str) -> Result<(), Refusal> {
        let place = self.unanswered.iter().position(|call| call == id);
        let place = place.ok_or_else(|| {
            Refusal::field(
                "messages",
                format!("the tool result of '{id}' answers no call of the turn before"),
            )
        })?;
        self.unanswered.remove(place);
        Ok(())
    }

    /// The turn after a turn with calls is over: each has to be answered.
    pub fn end_turn(&self) -> Result<(), Refusal> {
        match self.unanswered.first() {
            None => Ok(()),
            Some(id) => Err(Refusal::field(
                "messages",
                format!("the tool call '{id}' has no result in the turn right after it"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_answered_in_the_next_turn() {
        let mut prompt = Prompt::chat(2);
        prompt.call("a".into());
        prompt.call("b".into());
        assert!(prompt.answer("c").is_err() && prompt.end_turn().is_err());
        prompt.answer("b").unwrap();
        assert!(prompt.answer("b").is_err(), "one answer each");
        prompt.answer("a").unwrap();
        prompt.end_turn().unwrap();
    }

    #[test]
    fn the_question_is_the_last_text() {
        let mut prompt = Prompt::text("first".into());
        prompt.ask("second".into());
        prompt.ask("".into());
        prompt.show();
        assert_eq!((&*prompt.question, prompt.tokens, prompt.images), ("second", 86, 1));
    }
}
