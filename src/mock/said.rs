//! What the simulated model says to a prompt: a text, or a call.

use super::answer::{Answer, Limits};
use super::call::{ToolCall, Tools};
use super::prompt::Prompt;
use super::refusal::Refusal;

/// What the simulated model says.
#[derive(Debug)]
pub enum Said {
    /// Words.
    Text(Answer),
    /// A tool is called.
    Call(ToolCall),
}

impl Said {
    /// The call that is demanded, or else an answer.
    pub fn to(prompt: &Prompt<'_>, tools: &Tools<'_>, limits: &Limits<'_>) -> Result<Self, Refusal> {
        Ok(match tools.demanded(&prompt.question)? {
            Some(call) => Self::Call(call),
            None => Self::Text(Answer::to(prompt, limits)),
        })
    }

    /// What it counts as.
    pub fn tokens(&self) -> u64 {
        match self {
            Self::Text(answer) => answer.tokens,
            Self::Call(call) => call.tokens(),
        }
    }
}
