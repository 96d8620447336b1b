//! Hugging Face's text generation, as its inference servers and raw llama2 endpoints speak it.

use super::answer::{Answer, Finish, Limits};
use super::ask::Ask;
use super::prompt::Prompt;
use super::refusal::Refusal;
use super::reply::{Framing, Reply, Script};
use super::request::{Text, format, parse, required, strings};
use crate::meter::estimate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a whole answer is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `[{generated_text}]`
    List,
    /// `{data: [{generated_text}]}`
    Data,
    /// Nothing: this path always streams.
    Stream,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    inputs: Option<Text<'a>>,
    stream: Option<bool>,
    #[serde(borrow, default)]
    parameters: Parameters<'a>,
}

#[derive(Default, Deserialize)]
struct Parameters<'a> {
    max_new_tokens: Option<u64>,
    max_length: Option<u64>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
    return_full_text: Option<bool>,
    details: Option<bool>,
    stream: Option<bool>,
    #[serde(borrow)]
    grammar: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Generated<'a> {
    generated_text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Clone, Copy, Serialize)]
struct Details {
    finish_reason: &'static str,
    generated_tokens: u64,
    input_length: u64,
}

#[derive(Serialize)]
struct Data<'a> {
    data: [Generated<'a>; 1],
}

impl Parameters<'_> {
    fn limits(&self, ask: &Ask<'_>) -> Result<Limits<'_>, Refusal> {
        Ok(Limits {
            tokens: self.max_new_tokens.or(self.max_length),
            stop: strings("stop", self.stop)?,
            words: ask.words(),
            format: format(self.grammar)?, // a grammar is written as a format is
        })
    }
}

/// One event of a stream.
#[derive(Serialize)]
struct Event<'a> {
    index: usize,
    token: Token<'a>,
    generated_text: Option<&'a str>,
    details: Option<Details>,
}

#[derive(Serialize)]
struct Token<'a> {
    id: usize,
    text: &'a str,
    logprob: f32,
    special: bool,
}

/// `POST /generate`, `POST /models/{m}`, `POST /`.
pub fn generate(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    answer(ask, Shape::List)
}

/// `POST /generate_stream`.
pub fn stream(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    answer(ask, Shape::Stream)
}

/// `POST /raw`, as llama2 servers have it.
pub fn raw(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    answer(ask, Shape::Data)
}

fn answer(ask: &Ask<'_>, shape: Shape) -> Result<Reply, Refusal> {
    let request: Request<'_> = parse(ask.body)?;
    let inputs = required("inputs", request.inputs, "'inputs' is missing")?.0;
    let wish = request.parameters;
    let answer = Answer::to(&Prompt::text(question(&inputs).into()), &wish.limits(ask)?);
    let details = Details {
        finish_reason: reason(answer.finish),
        generated_tokens: answer.tokens,
        input_length: estimate::tokens(&inputs),
    };
    if shape == Shape::Stream || request.stream.or(wish.stream).unwrap_or(false) {
        return Ok(streamed(&answer, details, ask.options.chunks));
    }
    let full = wish.return_full_text.unwrap_or_else(|| is_llama2(&inputs));
    let text = if full { format!("{inputs}\n\n{}", answer.text) } else { answer.text };
    let details = wish.details.unwrap_or(false).then_some(details);
    let generated = [Generated { generated_text: &text, details }];
    Ok(match shape {
        Shape::Data => Reply::json(&Data { data: generated }),
        Shape::List | Shape::Stream => Reply::json(&generated),
    })
}

fn streamed(answer: &Answer, details: Details, chunks: Option<usize>) -> Reply {
    let mut script = Script::new(Framing::Sse);
    let fragments = answer.fragments(chunks);
    let token = |index, text, special| Token { id: index, text, logprob: 0.0, special };
    for (index, &text) in fragments.iter().enumerate() {
        script.content(&Event {
            index: index + 1,
            token: token(index + 1, text, false),
            generated_text: None,
            details: None,
        });
    }
    let index = fragments.len() + 1;
    let end = token(0, "</s>", true);
    script.event(&Event { index, token: end, generated_text: Some(&answer.text), details: Some(details) });
    Reply::Stream(script)
}

fn is_llama2(inputs: &str) -> bool {
    inputs.starts_with("<s>") && inputs.contains("[INST]")
}

/// The last instruction of a llama2 prompt, without the system's unless there is no other; of another
/// prompt all.
fn question(inputs: &str) -> &str {
    let Some((_, last)) = inputs.rsplit_once("[INST]").filter(|_| is_llama2(inputs)) else { return inputs };
    let last = last.split_once("[/INST]").map_or(last, |(inside, _)| inside);
    let parts = last.rsplit_once("<</SYS>>").or_else(|| last.rsplit_once("<<SYS>>"));
    parts.map_or(last, |(system, user)| {
        let system = system.trim_start().trim_start_matches("<<SYS>>");
        if user.trim().is_empty() { system } else { user }
    })
}

fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::End => "eos_token",
        Finish::StopWord => "stop_sequence",
        Finish::Length => "length",
    }
}

#[cfg(test)]
mod tests {
    use super::question;

    #[test]
    fn the_question_is_the_last_instruction() {
        for inputs in [
            " What is 1+1? ",
            "<s>[INST] <<SYS>> What is 1+1? <</SYS>>",
            "<s>[INST] <<SYS>> You add. <</SYS>> What is 1+1? [/INST]",
            "<s> [INST] <<SYS>> You add. <<SYS>> What is 1+1? [/INST]",
            "<s>[INST] <<SYS>> You add. <</SYS>> Hello [/INST] Hi </s> <s>[INST] What is 1+1? [/INST]",
        ] {
            assert_eq!(question(inputs).trim(), "What is 1+1?", "{inputs}");
        }
    }
}
