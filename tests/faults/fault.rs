//! What can become of a stream, derived from any dialect.

use crate::dialects::Dialect;
use crate::support::upstream::{Reply, Step};
use serde_json::{Value, json};
use std::time::Duration;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    // Before the model has said anything.
    /// Nobody listens.
    Refused,
    ResetBeforeHead,
    SilenceBeforeHead,
    LimitedWithTime,
    Limited,
    ErrorAsJson,
    ErrorAsHtml,
    /// Status 200, and an error in JSON instead of the stream.
    ErrorUnder200,
    /// Status 200, and a page in HTML instead of the stream.
    PageUnder200,
    CutBehindHead,
    Empty,
    PreambleAlone,
    SilenceBehindPreamble,
    CutBehindPreamble,
    GarbageFirst,
    ErrorEventFirst,
    // After that.
    SilenceInside,
    CutBetweenFrames,
    CutInsideFrame,
    /// A proper end of the body in the middle of a frame.
    EndInsideFrame,
    /// A proper end of the body without a reason why the answer ends.
    NoEnding,
    CutBeforeUsage,
    NoLastEvent,
    CutBehindLastEvent,
    SilenceBehindLastEvent,
    GarbageInside,
    ErrorEventInside,
    // No reason to break anything.
    /// What ends the last frame is missing.
    NoFinalNewline,
    TwoFinishes,
    WrongType,
    Trickle,
}

/// For stalls before the first output: long enough for another target to answer on a busy machine.
const FIRST_TOKEN: u64 = 1_500;
/// For stalls behind it.
const IDLE: u64 = 1_000;

impl Fault {
    /// A name for routes and models.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What of the answer the client can see before the fault.
    pub fn said(self) -> &'static str {
        use Fault as F;
        match self {
            F::SilenceInside
            | F::CutBetweenFrames
            | F::CutInsideFrame
            | F::EndInsideFrame
            | F::GarbageInside
            | F::ErrorEventInside => "Hello",
            F::NoEnding
            | F::CutBeforeUsage
            | F::NoLastEvent
            | F::CutBehindLastEvent
            | F::SilenceBehindLastEvent
            | F::NoFinalNewline
            | F::TwoFinishes
            | F::WrongType
            | F::Trickle => "Hello world",
            _ => "",
        }
    }

    /// The timeouts that the fault has to run into.
    pub fn timeouts(self) -> Value {
        match self {
            Self::SilenceBeforeHead | Self::SilenceBehindPreamble => {
                json!({"first_token_timeout": FIRST_TOKEN})
            }
            Self::SilenceInside | Self::SilenceBehindLastEvent => json!({"stream_idle_timeout": IDLE}),
            _ => json!({}),
        }
    }

    /// What an upstream of that dialect does.
    pub fn reply(self, dialect: &Dialect) -> Reply {
        let unstreamed = self.instead_of_stream(dialect);
        unstreamed.or_else(|| self.before_output(dialect)).unwrap_or_else(|| self.behind_output(dialect))
    }

    fn instead_of_stream(self, dialect: &Dialect) -> Option<Reply> {
        let json = ("content-type", "application/json");
        let html = ("content-type", "text/html");
        let page = "<html><body><h1>Something went wrong</h1></body></html>";
        Some(match self {
            // The target's address is one that nobody listens at.
            Self::Refused => Reply(vec![Step::Close]),
            Self::ResetBeforeHead => Reply(vec![Step::Reset]),
            Self::SilenceBeforeHead => Reply(vec![Step::Hang]),
            Self::LimitedWithTime => Reply::body(429, &[json, ("retry-after", "7")], dialect.error_body),
            Self::Limited => Reply::body(429, &[json], dialect.error_body),
            Self::ErrorAsJson => Reply::body(500, &[json], dialect.error_body),
            Self::ErrorAsHtml => Reply::body(500, &[html], page),
            Self::ErrorUnder200 => Reply::body(200, &[json], dialect.error_body),
            Self::PageUnder200 => Reply::body(200, &[html], page),
            _ => return None,
        })
    }

    fn before_output(self, dialect: &Dialect) -> Option<Reply> {
        let head = || Reply::stream(dialect.content_type);
        let begun = || frames(head(), dialect, dialect.preamble);
        Some(match self {
            Self::CutBehindHead => head().then(Step::Close),
            Self::Empty => head().end(),
            Self::PreambleAlone => begun().end(),
            Self::SilenceBehindPreamble => begun().then(Step::Hang),
            Self::CutBehindPreamble => begun().then(Step::Close),
            Self::GarbageFirst => frames(begun().chunk(garbage(dialect)), dialect, &dialect.output).end(),
            Self::ErrorEventFirst => frames(begun(), dialect, &[dialect.error]).end(),
            _ => return None,
        })
    }

    fn behind_output(self, dialect: &Dialect) -> Reply {
        let head = || Reply::stream(dialect.content_type);
        let begun = || frames(head(), dialect, dialect.preamble);
        let inside = || frames(begun(), dialect, &dialect.output[..1]);
        let spoken = || frames(begun(), dialect, &dialect.output);
        let second = dialect.frame(dialect.output[1]);
        let half = &second[..second.len() / 2];
        let (last, before_last) = dialect.ending.split_last().unwrap();
        match self {
            Self::SilenceInside => inside().then(Step::Hang),
            Self::CutBetweenFrames => inside().then(Step::Close),
            Self::CutInsideFrame => inside().chunk(half).then(Step::Close),
            Self::EndInsideFrame => inside().chunk(half).end(),
            Self::NoEnding => spoken().end(),
            Self::CutBeforeUsage => frames(spoken(), dialect, &[dialect.finish]).then(Step::Close),
            Self::NoLastEvent => frames(spoken(), dialect, before_last).end(),
            Self::CutBehindLastEvent => frames(spoken(), dialect, dialect.ending).then(Step::Close),
            Self::SilenceBehindLastEvent => frames(spoken(), dialect, dialect.ending).then(Step::Hang),
            Self::GarbageInside => {
                let rest = [&dialect.output[1..], dialect.ending].concat();
                frames(inside().chunk(garbage(dialect)), dialect, &rest).end()
            }
            Self::ErrorEventInside => frames(inside(), dialect, &[dialect.error]).end(),
            Self::NoFinalNewline => {
                let end = dialect.frame(last);
                frames(spoken(), dialect, before_last).chunk(end.trim_ascii_end()).end()
            }
            Self::TwoFinishes => {
                let twice = [&dialect.ending[..1], dialect.ending].concat();
                frames(spoken(), dialect, &twice).end()
            }
            Self::WrongType => healthy(dialect, "text/plain"),
            Self::Trickle => {
                let bytes: Vec<u8> = dialect.healthy().flat_map(|text| dialect.frame(text)).collect();
                let apart = Step::Wait(Duration::from_micros(1));
                bytes.iter().fold(head(), |reply, byte| reply.chunk([*byte]).then(apart.clone())).end()
            }
            _ => unreachable!("{self:?} comes before the output"),
        }
    }
}

/// An answer without a fault.
pub fn healthy(dialect: &Dialect, content_type: &str) -> Reply {
    dialect.healthy().fold(Reply::stream(content_type), |reply, text| reply.chunk(dialect.frame(text))).end()
}

fn frames(reply: Reply, dialect: &Dialect, texts: &[&str]) -> Reply {
    texts.iter().fold(reply, |reply, text| reply.chunk(dialect.frame(text)))
}

/// A whole frame whose JSON is none.
fn garbage(dialect: &Dialect) -> Vec<u8> {
    let text = dialect.output[1];
    dialect.frame(&text[..text.len() - 2])
}
