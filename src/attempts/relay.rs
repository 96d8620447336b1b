//! What becomes of a stream's bytes: passed as they are, translated, or passed and read beside.

use super::Try;
use crate::config::target::Operation;
use crate::error::{Error, Result};
use crate::meter::account::Account;
use crate::provider::{End, StreamDecoder, StreamPlan};
use crate::wire::chat::{self, Shape};
use crate::wire::client_stream::ClientStream;
use crate::wire::frame::{Frame, Splitter};
use crate::wire::scan;
use crate::wire::sse::SseEvents;
use crate::wire::usage::Usage;
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;

/// The three ways through.
pub enum Relay {
    /// As it comes.
    Verbatim(Verbatim),
    /// In other words.
    Translate(Box<Translate>),
    /// As it comes, and read beside.
    Native(Box<Native>),
}

impl Relay {
    /// The way for this try.
    pub fn new(current: &Try<'_>) -> Self {
        let preserve = current.settled.operation() == Operation::Preserve;
        let plan = if preserve {
            StreamPlan::Verbatim
        } else {
            current.settled.driver.dialect.stream(&current.call)
        };
        match plan {
            StreamPlan::Verbatim => Self::Verbatim(Verbatim {
                events: SseEvents::default(),
                hide_usage: !preserve && !current.call.include_usage,
                ready: Vec::new(),
                model: None,
                spoke: false,
                finished: false,
                ended: false,
                failed: false,
                reported: None,
                preserve,
                usage: current.settled.driver.dialect.usage(),
            }),
            StreamPlan::Translate(framing, decoder) => {
                let (splitter, out) = (framing.splitter(), current.call.client_stream());
                let reader = Translate { splitter, decoder, out };
                if current.native {
                    return Self::Native(Box::new(Native { reader, ready: Vec::new(), lost: false }));
                }
                Self::Translate(Box::new(reader))
            }
        }
    }

    /// Whether bytes pass in the provider's own dialect.
    pub fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }

    /// Takes the next piece of the upstream's answer.
    pub fn push(&mut self, piece: Bytes, account: &mut Account) -> Result<()> {
        match self {
            Self::Verbatim(relay) => relay.push(piece, account),
            Self::Translate(relay) => relay.push(&piece),
            Self::Native(relay) => {
                relay.push(piece);
                Ok(())
            }
        }
    }

    /// The upstream's answer is over.
    pub fn finish(&mut self, end: End, account: &mut Account) -> Result<()> {
        match self {
            Self::Verbatim(relay) => relay.finish(end, account),
            Self::Translate(relay) => relay.finish(end),
            Self::Native(relay) => {
                relay.finish(end);
                Ok(())
            }
        }
    }

    /// What is ready for the client.
    pub fn take(&mut self, account: &mut Account) -> Bytes {
        match self {
            Self::Verbatim(relay) => relay.take(account),
            Self::Translate(relay) => relay.take(account),
            Self::Native(relay) => {
                relay.reader.take(account);
                joined(&mut relay.ready)
            }
        }
    }

    /// Whether the answer has come to its own end: its dialect's last event is here.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Verbatim(relay) => relay.ended && !relay.failed && !relay.preserve,
            Self::Translate(relay) => relay.out.is_done(),
            Self::Native(relay) => relay.reader.out.is_done() && !relay.lost,
        }
    }

    /// Whether the client has been told of an error.
    pub fn failed(&self) -> bool {
        match self {
            Self::Verbatim(relay) => relay.failed,
            Self::Translate(relay) => relay.out.is_failed(),
            Self::Native(relay) => relay.reader.out.is_failed(),
        }
    }

    /// Whether the model has said something, be it only why it stops.
    pub fn has_output(&self) -> bool {
        match self {
            Self::Verbatim(relay) => relay.spoke,
            Self::Translate(relay) => relay.out.has_output(),
            // What we cannot read is not ours to hold back: the client perhaps can.
            Self::Native(relay) => relay.lost || relay.reader.out.has_output(),
        }
    }

    /// The error that the provider has reported, in its words.
    pub fn reported(&self) -> Option<String> {
        match self {
            Self::Verbatim(relay) => relay.reported.clone(),
            Self::Translate(relay) => relay.out.failure().map(str::to_owned),
            Self::Native(relay) => relay.reader.out.failure().map(str::to_owned),
        }
    }

    /// The stream breaks here: the client is told, unless it has been. In a provider's own dialect
    /// the break itself has to tell.
    pub fn fail(&mut self, message: &str) {
        match self {
            Self::Verbatim(relay) => relay.fail(message),
            Self::Translate(relay) => relay.out.error(message),
            Self::Native(_) => {}
        }
    }

    /// Tells the meter what the provider has stated so far.
    pub fn state(&self, account: &mut Account) {
        let out = match self {
            // Its counts are told as they come.
            Self::Verbatim(_) => return,
            Self::Translate(relay) => &relay.out,
            Self::Native(relay) => &relay.reader.out,
        };
        if let Some(usage) = out.seen_usage() {
            account.usage(usage);
        }
        if let Some(reason) = out.finish_reason() {
            account.reason(reason);
        }
    }

    /// The model that the upstream says it runs.
    pub fn model(&self) -> Option<String> {
        match self {
            Self::Verbatim(relay) => relay.model.clone(),
            Self::Translate(relay) => relay.out.response_model().map(str::to_owned),
            Self::Native(relay) => relay.reader.out.response_model().map(str::to_owned),
        }
    }
}

/// Same dialect on both sides: events pass as they are, but for a usage chunk that only we asked for.
#[allow(clippy::struct_excessive_bools)] // independent facts of one stream
pub struct Verbatim {
    events: SseEvents,
    hide_usage: bool,
    ready: Vec<Bytes>,
    model: Option<String>,
    /// The model has said something.
    spoke: bool,
    /// The provider said why its answer ends.
    finished: bool,
    /// `[DONE]` has passed.
    ended: bool,
    /// The provider reported an error in the stream, or the client was told of one.
    failed: bool,
    /// What it reported.
    reported: Option<String>,
    preserve: bool,
    /// Reads what the provider counted.
    usage: fn(&str) -> Usage,
}

impl Verbatim {
    fn push(&mut self, piece: Bytes, account: &mut Account) -> Result<()> {
        self.spoke |= self.preserve;
        self.events.push(piece);
        self.forward(account)
    }

    fn forward(&mut self, account: &mut Account) -> Result<()> {
        let Self { model, spoke, finished, ended, failed, reported, preserve, usage: read, .. } = self;
        let hide = self.hide_usage;
        let mut garbage = false;
        let keep = |frame: Frame<'_>| {
            let data = frame.data;
            if data == b"[DONE]" {
                *ended = true;
                // After an error it would make the answer look complete.
                return !*failed;
            }
            if garbage || !(*preserve || scan::is_object(data)) {
                // Nothing behind it is passed on: who knows what was lost.
                garbage = true;
                return false;
            }
            if model.is_none() {
                *model = chat::reply_scan(data).and_then(|seen| seen.model).map(Cow::into_owned);
            }
            *finished = *finished || scan::is_finish(data);
            *spoke = *spoke || chat::has_output(data);
            if !*preserve && scan::is_error(data) {
                *failed = true;
                *reported = chat::reported(data);
            }
            let Some(usage) = scan::usage_object(data) else { return true };
            account.usage(read(std::str::from_utf8(usage).unwrap_or_default()));
            // A chunk of usage alone, which only we have asked for.
            !(hide && chat::reply_scan(data).is_some_and(|seen| seen.no_choice))
        };
        self.events.forward(keep, &mut self.ready)?;
        if garbage {
            return Err(Error::bad_reply("the upstream sent an event that is not a JSON object"));
        }
        Ok(())
    }

    fn finish(&mut self, end: End, account: &mut Account) -> Result<()> {
        // Half an event would swallow the error that follows it.
        if self.preserve || end == End::Clean {
            self.events.finish();
            self.forward(account).inspect_err(|error| self.fail(error.message()))?;
        }
        if end == End::Cut {
            self.fail("the upstream closed the connection before the end of its answer");
        } else if !self.preserve {
            self.end_event();
            if !self.ended && self.finished {
                self.ready.push(Bytes::from_static(b"data: [DONE]\n\n"));
                self.ended = true;
            } else if !self.ended {
                self.fail("the upstream's answer ended without a finish reason");
            }
        }
        Ok(())
    }

    /// Ends the last event with its blank line. One without is not seen by parsers that follow the
    /// standard.
    fn end_event(&mut self) {
        let Some(last) = self.ready.last() else { return };
        if last.ends_with(b"\n\n") || last.ends_with(b"\n\r\n") || last.ends_with(b"\r\r") {
            return;
        }
        let begun_line = last.ends_with(b"\n") || last.ends_with(b"\r");
        self.ready.push(Bytes::from_static(if begun_line { b"\n" } else { b"\n\n" }));
    }

    /// The stream breaks here: the client is told, unless the provider has told it.
    fn fail(&mut self, message: &str) {
        if !self.preserve && !self.failed {
            let mut event = ClientStream::new(Shape::Chat, String::new(), "", 0, false);
            event.error(message);
            self.ready.push(event.take());
        }
        self.failed = true;
    }

    fn take(&mut self, account: &mut Account) -> Bytes {
        let out = joined(&mut self.ready);
        if !out.is_empty() {
            account.events(out.clone());
        }
        out
    }
}

/// What is ready, in one piece.
fn joined(ready: &mut Vec<Bytes>) -> Bytes {
    match ready.len() {
        0 => Bytes::new(),
        1 => ready.swap_remove(0),
        _ => {
            let mut joined = BytesMut::with_capacity(ready.iter().map(Bytes::len).sum());
            ready.drain(..).for_each(|piece| joined.extend_from_slice(&piece));
            joined.freeze()
        }
    }
}

/// The provider's own dialect on both sides: bytes pass, and the decoder reads them for the meter.
pub struct Native {
    reader: Translate,
    ready: Vec<Bytes>,
    /// The decoder could not read on; the client perhaps can.
    lost: bool,
}

impl Native {
    fn push(&mut self, piece: Bytes) {
        self.lost = self.lost || self.reader.push(&piece).is_err();
        self.ready.push(piece);
    }

    fn finish(&mut self, end: End) {
        self.lost = self.lost || self.reader.finish(end).is_err();
    }
}

/// Another dialect: frames go through the provider's decoder.
pub struct Translate {
    splitter: Box<dyn Splitter>,
    decoder: Box<dyn StreamDecoder>,
    out: ClientStream,
}

impl Translate {
    fn push(&mut self, piece: &[u8]) -> Result<()> {
        self.splitter.push(piece)?;
        self.decode()
    }

    fn decode(&mut self) -> Result<()> {
        while let Some(frame) = self.splitter.next() {
            if let Err(error) = self.decoder.frame(frame, &mut self.out) {
                self.fail(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<()> {
        if self.out.is_failed() {
            return Ok(());
        }
        if end == End::Clean {
            self.splitter.finish();
            self.decode()?;
        }
        self.decoder.finish(end, &mut self.out).inspect_err(|error| self.out.error(error.message()))
    }

    fn fail(&mut self, error: &Error) {
        self.out.error(error.message());
    }

    fn take(&mut self, account: &mut Account) -> Bytes {
        let text = self.out.take_text();
        if !text.is_empty() {
            account.text(&text);
        }
        if let Some(usage) = self.out.seen_usage() {
            account.usage(usage);
        }
        if let Some(reason) = self.out.finish_reason() {
            account.reason(reason);
        }
        self.out.take()
    }
}
