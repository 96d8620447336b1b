//! The open account of one exchange with a provider. Dropping it settles it, so it is settled
//! exactly once, whatever path the exchange takes out of the gateway.

use super::cost::Price;
use super::estimate;
use super::metrics::{Ending, TargetMetrics, Times};
use super::tally::Tally;
use crate::wire::chat;
use crate::wire::doc::Doc;
use crate::wire::frame::Splitter;
use crate::wire::scan;
use crate::wire::sse::Sse;
use crate::wire::usage::Usage;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

/// Stream events are kept unread, in case the provider states no usage; beyond this many bytes
/// they are counted and let go, so that a long stream does not hold its whole text.
const UNREAD: usize = 256 * 1024;

/// What an account belongs to.
pub struct Holder {
    /// The target's series.
    pub metrics: Arc<TargetMetrics>,
    /// The target's; none if it has none.
    pub price: Option<Price>,
    /// Whether Kong's series are asked for (`log_statistics` and the plugin's `ai_metrics`).
    pub kong: bool,
    /// Whether the answer's text is kept for the log (`log_payloads`).
    pub payloads: bool,
    /// Whether tokens are counted at all; `preserve` traffic has none but what its reply states.
    pub estimate: bool,
}

/// An exchange from its first byte sent to its settlement.
pub struct Account {
    holder: Holder,
    request: Doc,
    sent: Instant,
    head: Option<Instant>,
    first: Option<Instant>,
    arrived: Instant,
    usage: Usage,
    answer: Answer,
    ending: Option<Ending>,
    superseded: bool,
    /// The provider's counts cover all of the answer, although the client did not take it all.
    whole: bool,
    settled: Option<Settlement>,
}

/// What has been seen of the answer.
#[derive(Default)]
struct Answer {
    body: Option<Bytes>,
    unread: Vec<Bytes>,
    unread_bytes: usize,
    events: Sse,
    counted: estimate::Tally,
    text: String,
    /// Why it ended, as far as that was read.
    reasons: Vec<String>,
}

/// The end of an account, for the log.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// How it ended.
    pub ending: Ending,
    /// What was counted, if anything was to be.
    pub tally: Option<Tally>,
    /// How long things took.
    pub times: Times,
    /// Whether it was a stream.
    pub streamed: bool,
    /// The answer's text, if payloads are logged.
    pub text: Option<String>,
}

impl Account {
    /// Opens an account: the request is about to be sent. `arrived` is when the client's came.
    pub fn open(holder: Holder, request: Doc, arrived: Instant) -> Self {
        Self {
            holder,
            request,
            sent: Instant::now(),
            head: None,
            first: None,
            arrived,
            usage: Usage::default(),
            answer: Answer::default(),
            ending: None,
            superseded: false,
            whole: false,
            settled: None,
        }
    }

    /// The head of the answer came.
    pub fn head(&mut self) {
        self.head = Some(Instant::now());
    }

    /// The whole answer, OpenAI-shaped, of a request that did not stream.
    pub fn reply(&mut self, usage: Usage, body: Bytes) {
        self.usage = usage;
        self.answer.body = Some(body);
        self.ending = Some(Ending::Complete);
    }

    /// Whole events of an OpenAI-shaped stream, byte for byte.
    pub fn events(&mut self, raw: Bytes) {
        self.first.get_or_insert_with(Instant::now);
        self.answer.unread_bytes += raw.len();
        self.answer.unread.push(raw);
        if self.answer.unread_bytes > UNREAD || self.holder.payloads {
            self.answer.read(self.holder.payloads);
        }
    }

    /// Text of the answer that a decoder has written.
    pub fn text(&mut self, text: &str) {
        self.first.get_or_insert_with(Instant::now);
        self.answer.counted.push(text);
        if self.holder.payloads {
            self.answer.text.push_str(text);
        }
    }

    /// Why the answer ended, where a decoder has written it.
    pub fn reason(&mut self, reason: &str) {
        if self.answer.reasons.is_empty() {
            self.answer.reasons.push(reason.to_owned());
        }
    }

    /// What the provider states; of each count the last statement wins.
    pub fn usage(&mut self, usage: Usage) {
        self.usage = usage.over(self.usage);
    }

    /// How the exchange ended. The first statement stands.
    pub fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// The answer was read to its end, whatever its client took of it.
    pub fn whole(&mut self) {
        self.whole = true;
    }

    /// Tokens of the answer so far, as we count them.
    pub fn counted(&mut self) -> u64 {
        self.answer.read(self.holder.payloads);
        self.answer.counted.total()
    }

    /// Another attempt follows: Kong's series count an exchange once, but every token.
    pub fn supersede(&mut self) {
        self.superseded = true;
    }

    /// The request never went out: there is nothing to settle.
    pub fn cancel(mut self) {
        self.settled = Some(Settlement::none());
    }

    /// Why the answer ended, in OpenAI's words, one for each choice.
    pub fn finish_reasons(&self) -> Vec<String> {
        match &self.answer.body {
            Some(body) => chat::finish_reasons(body),
            None => self.answer.finish_reasons(),
        }
    }

    /// How it was settled, if it is.
    pub fn settled(&self) -> Option<&Settlement> {
        self.settled.as_ref()
    }

    /// Closes the account.
    pub fn settle(&mut self) -> &Settlement {
        if self.settled.is_none() {
            let settlement = self.close();
            let kong = self.holder.kong && (!self.superseded || settlement.tally.is_some());
            self.holder.metrics.settle(settlement.ending, settlement.tally.as_ref(), settlement.times, kong);
            self.settled = Some(settlement);
        }
        self.settled.get_or_insert_with(Settlement::none)
    }

    fn close(&mut self) -> Settlement {
        let now = Instant::now();
        // Nobody said how it ended: the exchange was torn down in the middle.
        let ending = self.ending.unwrap_or(Ending::Broken);
        let streamed = self.first.is_some();
        let broken = ending != Ending::Complete && !self.whole;
        let counted = self.holder.estimate || !self.usage.is_empty();
        let tally = (ending != Ending::Refused && counted).then(|| {
            let price = self.holder.price;
            let (request, answer) = (&self.request, &mut self.answer);
            Tally::settle(&self.usage, broken, price, || prompt_tokens(request), || answer.tokens())
        });
        let until = if streamed { self.head.unwrap_or(now) } else { now };
        let times = Times {
            provider: until - self.sent,
            first_token: self.first.map(|first| first - self.arrived),
            rest: self.first.map(|first| now - first),
        };
        let text = self.holder.payloads.then(|| self.answer.take_text());
        Settlement { ending, tally, times, streamed, text }
    }
}

impl Settlement {
    fn none() -> Self {
        Self { ending: Ending::Broken, tally: None, times: Times::default(), streamed: false, text: None }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Answer {
    /// Reads what is unread, and lets it go.
    fn read(&mut self, keep: bool) {
        for raw in std::mem::take(&mut self.unread) {
            // Whole events, so nothing stays behind in the splitter; one too long for it is lost here only.
            let _ = self.events.push(&raw);
            while let Some(frame) = self.events.next() {
                let text = chat::chunk_text(frame.data);
                self.counted.push(&text);
                self.reasons.extend(reasons(frame.data));
                if keep {
                    self.text.push_str(&text);
                }
            }
        }
        self.unread_bytes = 0;
    }

    /// What was noted of them, and what stands in the events that nobody had to read.
    fn finish_reasons(&self) -> Vec<String> {
        let mut all = self.reasons.clone();
        for raw in &self.unread {
            let mut events = Sse::default();
            let _ = events.push(raw);
            while let Some(frame) = events.next() {
                all.extend(reasons(frame.data));
            }
        }
        all
    }

    fn tokens(&mut self) -> u64 {
        if let Some(body) = &self.body {
            return estimate::tokens(&chat::answer_text(body));
        }
        self.read(false);
        self.counted.total()
    }

    fn take_text(&mut self) -> String {
        self.read(true);
        match &self.body {
            Some(body) => String::from_utf8_lossy(body).into_owned(),
            None => std::mem::take(&mut self.text),
        }
    }
}

fn reasons(chunk: &[u8]) -> Vec<String> {
    if scan::is_finish(chunk) { chat::finish_reasons(chunk) } else { Vec::new() }
}

fn prompt_tokens(request: &Doc) -> u64 {
    let (text, messages) = chat::prompt_text(request);
    estimate::tokens(&text) + if messages == 0 { 0 } else { estimate::prompt_overhead(messages) }
}

#[cfg(test)]
mod tests;
