//! Gemini's answers as they are written, whole and in pieces.

use crate::mock::answer::{Answer, Finish};
use crate::mock::ask::Spent;
use crate::mock::reply::{Reply, Script};
use crate::mock::said::Said;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// A whole answer, or an element of a stream.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    candidates: [Candidate<'a>; 1],
    usage_metadata: Usage,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    content: Spoken<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'static str>,
    index: u32,
}

#[derive(Serialize)]
struct Spoken<'a> {
    parts: [Piece<'a>; 1],
    role: &'static str,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Piece<'a> {
    Text(&'a str),
    FunctionCall { name: &'a str, args: &'a Value },
}

#[allow(clippy::struct_field_names)] // Google's names
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates_token_count: Option<u64>,
    total_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
}

impl Usage {
    /// What is known before the end is the prompt's part.
    fn new(spent: Spent, ended: bool) -> Self {
        Self {
            prompt_token_count: spent.prompt,
            candidates_token_count: ended.then_some(spent.completion),
            total_token_count: if ended { spent.total() } else { spent.prompt },
            cached_content_token_count: spent.cached,
        }
    }
}

/// An answer.
pub fn whole(model: &str, said: &Said, spent: Spent) -> Reply {
    Reply::json(&Voice::new(model, spent).document(piece(said), Some(reason(said))))
}

/// What the parts of an answer have in common.
pub struct Voice<'a> {
    model: &'a str,
    id: String,
    spent: Spent,
}

impl<'a> Voice<'a> {
    /// An answer of that model that took so much.
    pub fn new(model: &'a str, spent: Spent) -> Self {
        Self { model, id: Uuid::new_v4().to_string(), spent }
    }

    /// The elements of a stream. The reason to end comes with the last piece.
    pub fn stream(&self, mut script: Script, said: &Said, chunks: Option<usize>) -> Reply {
        let mut pieces: Vec<_> = match said {
            Said::Text(answer) => answer.fragments(chunks).into_iter().map(Piece::Text).collect(),
            Said::Call(_) => vec![piece(said)],
        };
        if pieces.is_empty() {
            pieces.push(piece(said));
        }
        let last = pieces.len() - 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            script.content(&self.document(piece, (at == last).then(|| reason(said))));
        }
        Reply::Stream(script)
    }

    fn document<'b>(&'b self, piece: Piece<'b>, finish_reason: Option<&'static str>) -> Document<'b> {
        let content = Spoken { parts: [piece], role: "model" };
        Document {
            candidates: [Candidate { content, finish_reason, index: 0 }],
            usage_metadata: Usage::new(self.spent, finish_reason.is_some()),
            model_version: self.model,
            response_id: &self.id,
        }
    }
}

fn piece(said: &Said) -> Piece<'_> {
    match said {
        Said::Text(answer) => Piece::Text(&answer.text),
        Said::Call(call) => Piece::FunctionCall { name: &call.name, args: &call.arguments },
    }
}

fn reason(said: &Said) -> &'static str {
    match said {
        Said::Text(Answer { finish: Finish::Length, .. }) => "MAX_TOKENS",
        Said::Text(_) | Said::Call(_) => "STOP",
    }
}
