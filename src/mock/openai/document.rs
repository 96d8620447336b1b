//! OpenAI's answers as they are written.

use crate::mock::ask::Spent;
use crate::mock::said::Said;
use serde::Serialize;

/// A whole answer, or one event of a stream.
#[allow(clippy::option_option)] // absent and null differ on the wire
#[derive(Serialize)]
pub struct Document<'a, C> {
    /// One for the answer and all its events.
    pub id: &'a str,
    /// What kind of answer it is.
    pub object: &'static str,
    /// Seconds since the epoch.
    pub created: u64,
    /// As it was asked for.
    pub model: &'a str,
    /// One for each answer; none in the chunk of usage.
    pub choices: &'a [C],
    /// Written as null in the events before the last, where the client asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// What was counted.
#[allow(clippy::struct_field_names)] // OpenAI's names
#[derive(Clone, Copy, Serialize)]
pub struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<Details>,
}

#[derive(Clone, Copy, Serialize)]
struct Details {
    cached_tokens: u64,
}

impl From<Spent> for Usage {
    fn from(spent: Spent) -> Self {
        Self {
            prompt_tokens: spent.prompt,
            completion_tokens: spent.completion,
            total_tokens: spent.total(),
            prompt_tokens_details: spent.cached.map(|cached_tokens| Details { cached_tokens }),
        }
    }
}

/// A choice of any kind; what a kind does not have is not written.
#[derive(Clone, Default, Serialize)]
pub struct Choice<'a> {
    /// Its place among the answers.
    pub index: u32,
    /// Of a whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Part<'a>>,
    /// Of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Part<'a>>,
    /// Of a completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// Always null.
    pub logprobs: Option<()>,
    /// In the last event, and in whole answers.
    pub finish_reason: Option<&'static str>,
}

/// A message or a piece of one.
#[allow(clippy::option_option)] // absent and null differ on the wire
#[derive(Clone, Default, Serialize)]
pub struct Part<'a> {
    /// Only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// Null where a tool is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Option<&'a str>>,
    /// At most one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<[Call<'a>; 1]>,
}

/// A tool that is called.
#[derive(Clone, Serialize)]
pub struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Clone, Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl<'a> Call<'a> {
    /// What follows of a call's arguments in a stream.
    pub fn more(arguments: &'a str) -> Self {
        let function = Function { name: None, arguments };
        Self { index: Some(0), id: None, kind: None, function }
    }
}

/// What is said, ready to be written more than once.
pub struct Voice<'a> {
    said: &'a Said,
    /// The call's.
    id: String,
    arguments: String,
}

impl<'a> Voice<'a> {
    /// The voice of what is said; `id` is that of a call.
    pub fn new(said: &'a Said, id: String) -> Self {
        let arguments = match said {
            Said::Text(_) => String::new(),
            Said::Call(call) => call.json(),
        };
        Self { said, id, arguments }
    }

    /// What is said.
    pub fn said(&self) -> &'a Said {
        self.said
    }

    /// The arguments of the call; empty if there is none.
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// A choice of a whole answer.
    pub fn whole(&self) -> Choice<'_> {
        let text = match self.said {
            Said::Text(answer) => &answer.text,
            Said::Call(_) => "",
        };
        let (part, reason) = self.part(text, &self.arguments, None);
        Choice { message: Some(part), finish_reason: Some(reason), ..Choice::default() }
    }

    /// What a stream begins with, and the reason that it ends with.
    pub fn frame(&self) -> (Part<'_>, &'static str) {
        self.part("", "", Some(0))
    }

    fn part<'b>(&'b self, text: &'b str, arguments: &'b str, index: Option<u32>) -> (Part<'b>, &'static str) {
        let role = Some("assistant");
        match self.said {
            Said::Text(answer) => {
                (Part { role, content: Some(Some(text)), tool_calls: None }, answer.finish.reason())
            }
            Said::Call(call) => {
                let function = Function { name: Some(&call.name), arguments };
                let call = Call { index, id: Some(&self.id), kind: Some("function"), function };
                (Part { role, content: Some(None), tool_calls: Some([call]) }, "tool_calls")
            }
        }
    }
}
