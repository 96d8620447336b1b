//! The writer of the client's stream: every decoder writes through it, so that all providers
//! produce the same canonical chunks.
//!
//! The invariants: one id, one model and one role for the whole stream, at most one finish reason,
//! nothing after `[DONE]`, and no `[DONE]` after an error, so that a broken answer never looks
//! complete.

use super::chat::Shape;
use super::usage::Usage;
use bytes::{BufMut, Bytes, BytesMut};

/// How much of the answer's text is kept for the meter until it is taken, in bytes.
const TEXT_SEEN: usize = 1024 * 1024;

/// What has become of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Done,
    Failed,
}

/// An SSE stream of `chat.completion.chunk` or `text_completion` objects with one choice.
#[allow(clippy::struct_excessive_bools)] // independent facts of one stream
pub struct ClientStream {
    shape: Shape,
    include_usage: bool,
    id: String,
    model: String,
    created: u64,
    /// A chunk up to its `choices`, once the first chunk is written.
    head: Option<Vec<u8>>,
    out: BytesMut,
    role_sent: bool,
    finished: bool,
    spoken: bool,
    state: State,
    /// Why the answer ended.
    reason: Option<String>,
    /// What the client was told of an error.
    failure: Option<String>,
    usage: Option<Usage>,
    response_model: Option<String>,
    text: String,
}

impl ClientStream {
    /// A stream that says so of itself until the provider knows better ([`ClientStream::start`]).
    pub fn new(shape: Shape, id: String, model: &str, created: u64, include_usage: bool) -> Self {
        Self {
            shape,
            include_usage,
            id,
            model: model.to_owned(),
            created,
            head: None,
            out: BytesMut::new(),
            role_sent: shape == Shape::Text,
            finished: false,
            spoken: false,
            state: State::Open,
            reason: None,
            failure: None,
            usage: None,
            response_model: None,
            text: String::new(),
        }
    }

    /// Takes over what the provider says of its answer. Id, model and time stay what they are once
    /// the first chunk is out; the model is still noted for the log.
    pub fn start(&mut self, id: Option<&str>, model: Option<&str>, created: Option<u64>) {
        if let Some(model) = model.filter(|model| self.response_model.as_deref() != Some(*model)) {
            self.response_model = Some(model.to_owned());
        }
        if self.head.is_some() {
            return;
        }
        if let Some(id) = id.filter(|id| !id.is_empty() && *id != self.id) {
            id.clone_into(&mut self.id);
        }
        if let Some(model) = model.filter(|model| !model.is_empty() && *model != self.model) {
            model.clone_into(&mut self.model);
        }
        self.created = created.unwrap_or(self.created);
    }

    /// A chunk with the role alone, for providers that announce their answer before it begins.
    pub fn role(&mut self) {
        if !self.role_sent && self.open() {
            self.put(b"\"content\":\"\"");
            self.close(None);
        }
    }

    /// A piece of the answer.
    pub fn text(&mut self, text: &str) {
        if text.is_empty() || !self.open() {
            return;
        }
        self.see(text);
        if self.shape == Shape::Chat {
            self.put(b"\"content\":");
            self.put_string(text);
        } else {
            self.put_string(text);
        }
        self.close(None);
    }

    /// A piece of the model's reasoning. Completions have no place for it; it is metered all the same.
    pub fn reasoning(&mut self, text: &str) {
        if text.is_empty() || self.state != State::Open {
            return;
        }
        self.see(text);
        if self.shape == Shape::Chat && self.open() {
            self.put(b"\"reasoning_content\":");
            self.put_string(text);
            self.close(None);
        }
    }

    /// The model begins to call a tool.
    pub fn tool_call(&mut self, index: usize, id: &str, name: &str) {
        if self.state != State::Open {
            return;
        }
        self.see(name);
        let first = !self.role_sent;
        if self.shape == Shape::Chat && self.open() {
            if first {
                self.put(b"\"content\":null,");
            }
            self.put(b"\"tool_calls\":[{\"index\":");
            self.put_number(index as u64);
            self.put(b",\"id\":");
            self.put_string(id);
            self.put(b",\"type\":\"function\",\"function\":{\"name\":");
            self.put_string(name);
            self.put(b",\"arguments\":\"\"}}]");
            self.close(None);
        }
    }

    /// A piece of that call's arguments, which are JSON text.
    pub fn tool_arguments(&mut self, index: usize, arguments: &str) {
        if arguments.is_empty() || self.state != State::Open {
            return;
        }
        self.see(arguments);
        if self.shape == Shape::Chat && self.open() {
            self.put(b"\"tool_calls\":[{\"index\":");
            self.put_number(index as u64);
            self.put(b",\"function\":{\"arguments\":");
            self.put_string(arguments);
            self.put(b"}}]");
            self.close(None);
        }
    }

    /// A chunk that is already written as the client expects it, `last` if it has a finish reason,
    /// and the text that it holds.
    pub fn pass(&mut self, json: &[u8], last: bool, text: &str) {
        if self.state != State::Open {
            return;
        }
        self.see(text);
        let head = self.head.take().unwrap_or_else(|| self.render_head());
        self.head = Some(head);
        self.role_sent = true;
        self.finished |= last;
        if last {
            self.reason = super::chat::finish_reasons(json).pop();
        }
        self.spoken |= last || !text.is_empty();
        self.put(b"data: ");
        for line in json.split(|byte| *byte == b'\n') {
            self.put(line);
        }
        self.put(b"\n\n");
    }

    /// Why the answer ends, in OpenAI's words. Only the first reason is written.
    pub fn finish(&mut self, reason: &str) {
        if self.finished {
            return;
        }
        let owed = !self.role_sent;
        if self.open() {
            (self.finished, self.spoken) = (true, true);
            match self.shape {
                Shape::Chat if owed => self.put(b"\"content\":\"\""),
                Shape::Chat => {}
                Shape::Text => self.put(b"\"\""),
            }
            self.close(Some(reason));
            self.reason = Some(reason.to_owned());
        }
    }

    /// The provider's counts; the last statement wins. The client sees them if it asked for them.
    pub fn usage(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// The stream breaks here: the client is told, and nothing follows.
    pub fn error(&mut self, message: &str) {
        if self.state == State::Open {
            self.state = State::Failed;
            self.failure = Some(message.to_owned());
            self.put(b"data: {\"error\":{\"message\":");
            self.put_string(message);
            self.put(b"}}\n\n");
        }
    }

    /// The answer is complete.
    pub fn done(&mut self) {
        if self.state != State::Open {
            return;
        }
        if let Some(usage) = self.usage.filter(|usage| self.include_usage && !usage.is_empty()) {
            self.put_head();
            self.put(b"],\"usage\":");
            // Numbers under fixed keys: writing them into memory does not fail.
            if serde_json::to_writer((&mut self.out).writer(), &usage).is_err() {
                self.put(b"null");
            }
            self.put(b"}\n\n");
        }
        self.put(b"data: [DONE]\n\n");
        self.state = State::Done;
    }

    /// What is ready to be sent.
    pub fn take(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// The provider's counts so far.
    pub fn seen_usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The model that the provider says it runs.
    pub fn response_model(&self) -> Option<&str> {
        self.response_model.as_deref()
    }

    /// Whether the model has said something, be it only why it stops: more than a role.
    pub fn has_output(&self) -> bool {
        self.spoken || self.state == State::Done
    }

    /// Whether a finish reason was written.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The finish reason that was written.
    pub fn finish_reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether `[DONE]` was written: only then the answer is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The error that was written.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether an error was written.
    pub fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// The text that was written since it was last taken: answer, reasoning, tool calls. It is
    /// bounded, so it should be taken after every frame.
    pub fn text_seen(&self) -> &str {
        &self.text
    }

    /// Takes that text.
    pub fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn see(&mut self, text: &str) {
        self.spoken |= !text.is_empty();
        if self.text.len() + text.len() <= TEXT_SEEN {
            self.text.push_str(text);
        }
    }

    /// Begins a chunk up to its delta (or text); says whether the stream still takes one.
    fn open(&mut self) -> bool {
        if self.state != State::Open {
            return false;
        }
        self.put_head();
        match self.shape {
            Shape::Chat => self.put(b"{\"index\":0,\"delta\":{"),
            Shape::Text => self.put(b"{\"index\":0,\"text\":"),
        }
        if !self.role_sent {
            self.role_sent = true;
            self.put(b"\"role\":\"assistant\",");
        }
        true
    }

    fn close(&mut self, finish: Option<&str>) {
        if self.shape == Shape::Chat {
            self.put(b"}");
        }
        self.put(b",\"logprobs\":null,\"finish_reason\":");
        match finish {
            Some(reason) => self.put_string(reason),
            None => self.put(b"null"),
        }
        self.put(if self.include_usage { b"}],\"usage\":null}\n\n" } else { b"}]}\n\n" });
    }

    fn put_head(&mut self) {
        let head = self.head.take().unwrap_or_else(|| self.render_head());
        self.out.reserve(head.len() + 128);
        self.out.put_slice(&head);
        self.head = Some(head);
    }

    fn render_head(&self) -> Vec<u8> {
        let mut head = BytesMut::with_capacity(128);
        head.put_slice(b"data: {\"id\":");
        write_string(&mut head, &self.id);
        head.put_slice(match self.shape {
            Shape::Chat => b",\"object\":\"chat.completion.chunk\",\"created\":".as_slice(),
            Shape::Text => b",\"object\":\"text_completion\",\"created\":".as_slice(),
        });
        head.put_slice(itoa::Buffer::new().format(self.created).as_bytes());
        head.put_slice(b",\"model\":");
        write_string(&mut head, &self.model);
        head.put_slice(b",\"choices\":[");
        head.to_vec()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    fn put_number(&mut self, number: u64) {
        self.out.put_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn put_string(&mut self, text: &str) {
        write_string(&mut self.out, text);
    }
}

/// Writes a JSON string: runs that need no escape are copied whole.
fn write_string(out: &mut BytesMut, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (run, tail) = rest.split_at(at);
        out.put_slice(run);
        let Some((&byte, tail)) = tail.split_first() else { break };
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            _ => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.put_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        rest = tail;
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests;
