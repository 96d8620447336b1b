//! Cohere's dialects: `/v2/chat`, and what came before it.

pub mod v1;
pub mod v2;

use super::answer::Finish;
use super::ask::Spent;
use super::call::Choice;
use super::refusal::Refusal;
use super::request::{Text, parse_field};
use super::said::Said;
use serde::Serialize;
use serde_json::value::RawValue;

/// What was used: what is paid for, and what went through the model.
#[derive(Clone, Copy, Serialize)]
struct Usage {
    billed_units: Units,
    tokens: Units,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
}

#[derive(Clone, Copy, Serialize)]
struct Units {
    input_tokens: u64,
    output_tokens: u64,
}

impl From<Spent> for Usage {
    fn from(spent: Spent) -> Self {
        let units = Units { input_tokens: spent.prompt, output_tokens: spent.completion };
        Self { billed_units: units, tokens: units, cached_tokens: spent.cached }
    }
}

fn reason(said: &Said) -> &'static str {
    match said {
        Said::Call(_) => "TOOL_CALL",
        Said::Text(answer) => finish(answer.finish),
    }
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::End => "COMPLETE",
        Finish::StopWord => "STOP_SEQUENCE",
        Finish::Length => "MAX_TOKENS",
    }
}

/// Cohere can demand any tool, but not a certain one.
fn choice(choice: Option<&RawValue>) -> Result<Choice<'static>, Refusal> {
    let Some(choice) = choice.filter(|choice| choice.get() != "null") else { return Ok(Choice::Free) };
    let word: Text<'_> = parse_field("tool_choice", choice)?;
    match &*word.0 {
        "REQUIRED" => Ok(Choice::Any),
        "NONE" => Ok(Choice::Free),
        _ => Err(Refusal::field("tool_choice", "'tool_choice' must be REQUIRED or NONE")),
    }
}
