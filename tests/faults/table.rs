//! The table: what each fault of each dialect comes to, for the client and for the meter.

use crate::dialects::TROUBLE;
use crate::fault::Fault::{self, *};

/// What the client sees.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// The gateway's own error: plain JSON with this status, and a whole answer.
    Error(u16),
    /// The upstream's refusal, as it came.
    Passed(u16),
    /// Status 200, what the model said, so many finish reasons, `[DONE]`, and a proper end. No error.
    Whole { finishes: usize },
    /// Status 200, what the model had said until then, one error event, no `[DONE]`, and a connection
    /// that is cut: by no parser an answer that is complete.
    Broken,
}

/// Where the meter has its tokens from; [`None`] where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    None,
    Provider,
    Estimated,
    Partial,
}

/// One cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub client: Client,
    /// `end` of `tollgate_settlements_total`; `None`: nothing was settled, because nothing was sent.
    pub end: Option<&'static str>,
    pub input: From,
    pub output: From,
}

/// One fault in all dialects.
pub struct Row {
    pub fault: Fault,
    /// How the attempt ended: in the log, and as `outcome` of `tollgate_attempts_total`.
    pub reason: &'static str,
    /// What the client is told, if it is told of an error.
    pub told: &'static str,
    /// openai, anthropic, gemini, bedrock, cohere, ollama.
    pub cells: [Cell; 6],
}

const fn cell(client: Client, end: &'static str, input: From, output: From) -> Cell {
    Cell { client, end: Some(end), input, output }
}

/// Where no connection was made nobody has earned anything.
const UNSENT: Cell = Cell { client: Client::Error(502), end: None, input: From::None, output: From::None };
/// An upstream that got the prompt and broke off may charge it: what we counted of it is in the
/// meter, and marked as such.
const E502: Cell = cell(Client::Error(502), "broken", From::Partial, From::None);
const E504: Cell = cell(Client::Error(504), "broken", From::Partial, From::None);
const E500: Cell = cell(Client::Error(500), "broken", From::Partial, From::None);
/// The same where the provider had stated the prompt's tokens before.
const SAID_502: Cell = cell(Client::Error(502), "broken", From::Provider, From::None);
const SAID_504: Cell = cell(Client::Error(504), "broken", From::Provider, From::None);
const SAID_500: Cell = cell(Client::Error(500), "broken", From::Provider, From::None);
/// A refusal costs nothing.
const P429: Cell = cell(Client::Passed(429), "refused", From::None, From::None);
const P500: Cell = cell(Client::Passed(500), "refused", From::None, From::None);
/// All is there.
const WHOLE: Cell = cell(Client::Whole { finishes: 1 }, "complete", From::Provider, From::Provider);
/// All but the usage.
const NO_USE: Cell = cell(Client::Whole { finishes: 1 }, "complete", From::Estimated, From::Estimated);
/// Bytes pass from OpenAI to OpenAI's clients, and with several choices each has its own reason: what
/// the provider says twice the client sees twice.
const TWICE: Cell = cell(Client::Whole { finishes: 2 }, "complete", From::Provider, From::Provider);
/// It breaks off. The answer's tokens are what we counted of it, whatever the provider had stated.
const CUT: Cell = cell(Client::Broken, "broken", From::Partial, From::Partial);
const SAID_CUT: Cell = cell(Client::Broken, "broken", From::Provider, From::Partial);

const fn row(fault: Fault, reason: &'static str, told: &'static str, cells: [Cell; 6]) -> Row {
    Row { fault, reason, told, cells }
}

const INVALID: &str = "An invalid response was received from the upstream server";
const LATE: &str = "The upstream server is timing out";
const EMPTY: &str = "the upstream's stream ended before it began";
const SHUT: &str = "the upstream closed the connection before the end of its answer";
const SILENT: &str = "the upstream fell silent before the end of its answer";
const OPEN: &str = "before it was complete";

/// Every fault, in every dialect.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    //   fault                  attempt        told     openai, anthropic, gemini,   bedrock, cohere, ollama
    row(Refused,                "unreachable", INVALID, [UNSENT; 6]),
    row(ResetBeforeHead,        "unreachable", INVALID, [E502; 6]),
    row(SilenceBeforeHead,      "timeout",     LATE,    [E504; 6]),
    row(LimitedWithTime,        "http_429",    "",      [P429; 6]),
    row(Limited,                "http_429",    "",      [P429; 6]),
    row(ErrorAsJson,            "http_500",    "",      [P500; 6]),
    row(ErrorAsHtml,            "http_500",    "",      [P500; 6]),
    row(ErrorUnder200,          "bad_reply",   TROUBLE, [E500; 6]),
    row(PageUnder200,           "bad_reply",   "",      [E500; 6]),
    row(CutBehindHead,          "unreachable", SHUT,    [E502; 6]),
    row(Empty,                  "bad_reply",   EMPTY,   [E500; 6]),
    row(PreambleAlone,          "bad_reply",   "",      [E500,   SAID_500, SAID_500, E500,   E500,   E500]),
    row(SilenceBehindPreamble,  "timeout",     SILENT, [E504,   SAID_504, SAID_504, E504,   E504,   E504]),
    row(CutBehindPreamble,      "unreachable", SHUT,    [E502,   SAID_502, SAID_502, E502,   E502,   E502]),
    row(GarbageFirst,           "bad_reply",   "",      [E500,   SAID_500, SAID_500, E500,   E500,   E500]),
    row(ErrorEventFirst,        "bad_reply",   TROUBLE, [E500,   SAID_500, SAID_500, E500,   E500,   E500]),
    row(SilenceInside,          "broken",      SILENT,  [CUT,    SAID_CUT, SAID_CUT, CUT,    CUT,    CUT]),
    row(CutBetweenFrames,       "broken",      SHUT,    [CUT,    SAID_CUT, SAID_CUT, CUT,    CUT,    CUT]),
    row(CutInsideFrame,         "broken",      SHUT,    [CUT,    SAID_CUT, SAID_CUT, CUT,    CUT,    CUT]),
    row(EndInsideFrame,         "broken",      "",      [CUT,    SAID_CUT, SAID_CUT, CUT,    CUT,    CUT]),
    row(NoEnding,               "broken",      "",      [CUT,    SAID_CUT, SAID_CUT, CUT,    CUT,    CUT]),
    row(CutBeforeUsage,         "broken",      SHUT,    [CUT,    SAID_CUT, SAID_CUT, CUT,    NO_USE, NO_USE]),
    row(NoLastEvent,            "broken",      OPEN,    [WHOLE,  SAID_CUT, SAID_CUT, NO_USE, WHOLE,  CUT]),
    row(CutBehindLastEvent,     "broken",      SHUT,    [WHOLE,  WHOLE,    SAID_CUT, WHOLE,  WHOLE,  WHOLE]),
    row(SilenceBehindLastEvent, "broken",     SILENT,  [WHOLE,  WHOLE,    SAID_CUT, WHOLE,  WHOLE,  WHOLE]),
    row(GarbageInside,          "broken",      "",      [CUT,    SAID_CUT, SAID_CUT, CUT,    CUT,    CUT]),
    row(ErrorEventInside,       "broken",      TROUBLE, [CUT,    SAID_CUT, SAID_CUT, CUT,    CUT,    CUT]),
    row(NoFinalNewline,         "ok",          "",      [WHOLE; 6]),
    row(TwoFinishes,            "ok",          "",      [TWICE,  WHOLE,    WHOLE,    WHOLE,  WHOLE,  WHOLE]),
    row(WrongType,              "ok",          "",      [WHOLE; 6]),
    row(Trickle,                "ok",          "",      [WHOLE; 6]),
];
