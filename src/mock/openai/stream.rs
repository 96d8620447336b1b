//! OpenAI's streams.

use super::document::{Call, Choice, Document, Part, Usage, Voice};
use super::now;
use crate::mock::answer::Answer;
use crate::mock::call::pieces;
use crate::mock::reply::{Framing, Reply, Script};
use crate::mock::said::Said;

/// A stream in the making.
pub struct Stream<'a> {
    script: Script,
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    include_usage: bool,
}

impl<'a> Stream<'a> {
    /// A stream without events.
    pub fn new(id: &'a str, object: &'static str, model: &'a str, include_usage: bool) -> Self {
        Self { script: Script::new(Framing::Sse), id, object, created: now(), model, include_usage }
    }

    /// A choice of a chat.
    pub fn chat(&mut self, index: u32, voice: &Voice<'_>, chunks: Option<usize>) {
        let (first, reason) = voice.frame();
        self.delta(index, first, false);
        match voice.said() {
            Said::Text(answer) => {
                for fragment in answer.fragments(chunks) {
                    self.delta(index, Part { content: Some(Some(fragment)), ..Part::default() }, true);
                }
            }
            Said::Call(_) => {
                for fragment in pieces(voice.arguments()) {
                    let tool_calls = Some([Call::more(fragment)]);
                    self.delta(index, Part { tool_calls, ..Part::default() }, true);
                }
            }
        }
        let last =
            Choice { index, delta: Some(Part::default()), finish_reason: Some(reason), ..Choice::default() };
        self.event(&[last], false);
    }

    /// A choice of a completion.
    pub fn text(&mut self, index: u32, answer: &Answer, chunks: Option<usize>) {
        for fragment in answer.fragments(chunks) {
            self.event(&[Choice { index, text: Some(fragment), ..Choice::default() }], true);
        }
        let reason = Some(answer.finish.reason());
        self.event(&[Choice { index, text: Some(""), finish_reason: reason, ..Choice::default() }], false);
    }

    /// What the stream ends with.
    pub fn end(mut self, usage: Usage) -> Reply {
        if self.include_usage {
            let event = self.document::<Choice<'_>>(&[], Some(usage));
            self.script.event(&event);
        }
        self.script.done();
        Reply::Stream(self.script)
    }

    fn delta(&mut self, index: u32, delta: Part<'_>, content: bool) {
        self.event(&[Choice { index, delta: Some(delta), ..Choice::default() }], content);
    }

    fn event(&mut self, choices: &[Choice<'_>], content: bool) {
        let event = self.document(choices, None);
        if content { self.script.content(&event) } else { self.script.event(&event) }
    }

    /// Where usage is asked for, every event has the field.
    fn document<'b, C>(&self, choices: &'b [C], usage: Option<Usage>) -> Document<'b, C>
    where
        'a: 'b,
    {
        Document {
            id: self.id,
            object: self.object,
            created: self.created,
            model: self.model,
            choices,
            usage: self.include_usage.then_some(usage),
        }
    }
}
