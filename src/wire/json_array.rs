//! One JSON array whose elements arrive one by one: what Gemini streams when nobody asks for SSE.
//!
//! An element is given as soon as its last byte is there; brackets and commas of the array itself
//! are passed over. Objects that follow one another without the array are taken as well. Only
//! strings and nesting are understood: whether an element is JSON is for its decoder to find out,
//! so no byte that could be part of one is dropped.

use super::frame::{Cut, Cutter, Frame, Scan, Splitter};
use crate::error::Result;
use memchr::memchr2;

/// Gives each element of the array.
#[derive(Debug, Default)]
pub struct JsonArray {
    cutter: Cutter<Elements>,
}

impl Splitter for JsonArray {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.cutter.push(bytes)
    }

    fn next(&mut self) -> Option<Frame<'_>> {
        let element = self.cutter.next()?;
        Some(Frame { event: None, data: self.cutter.get(element) })
    }

    fn finish(&mut self) {
        self.cutter.finish();
    }
}

/// The byte order mark, let pass at the very beginning.
const MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Default)]
struct Elements {
    state: State,
    /// How many brackets and braces of the element are open.
    depth: usize,
    /// Whether the array's own bracket is open.
    inside: bool,
    /// How much of a byte order mark was seen; all of it once anything else was.
    marked: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    /// In an object or array, outside of strings.
    Nested,
    String,
    /// After a backslash in a string.
    Escape,
    /// In a number or literal, which only the next separator ends.
    Bare,
}

impl Scan for Elements {
    fn scan(&mut self, bytes: &[u8]) -> Option<Cut> {
        if self.state == State::Between {
            let gap = self.gap(bytes);
            if gap > 0 {
                return Some(Cut::Gap(gap));
            }
        }
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match self.state {
                State::String => at += memchr2(b'"', b'\\', bytes.get(at..)?)?,
                State::Bare if separates(*byte) => {
                    self.state = State::Between;
                    return Some(Cut::Message(at));
                }
                _ => {}
            }
            if self.step(*bytes.get(at)?) {
                return Some(Cut::Message(at + 1));
            }
            at += 1;
        }
        None
    }
}

impl Elements {
    /// How many bytes pass before the next element begins.
    fn gap(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let marked = MARK.get(self.marked) == Some(byte);
            self.marked = if marked { self.marked + 1 } else { MARK.len() };
            match byte {
                _ if marked => {}
                b'[' if !self.inside => self.inside = true,
                b']' if self.inside => self.inside = false,
                b' ' | b'\t' | b'\r' | b'\n' | b',' => {}
                _ => break,
            }
            at += 1;
        }
        at
    }

    /// Takes one byte of an element; says whether it is its last.
    fn step(&mut self, byte: u8) -> bool {
        self.state = match (self.state, byte) {
            (State::String, b'\\') => State::Escape,
            (State::String, b'"') if self.depth == 0 => State::Between,
            (State::String, b'"') => State::Nested,
            (State::Escape | State::String, _) | (State::Between | State::Nested, b'"') => State::String,
            (State::Between | State::Nested, b'{' | b'[') => {
                self.depth += 1;
                State::Nested
            }
            (State::Nested, b'}' | b']') => {
                self.depth -= 1;
                if self.depth == 0 { State::Between } else { State::Nested }
            }
            (State::Nested, _) => State::Nested,
            (State::Between | State::Bare, _) => State::Bare,
        };
        self.state == State::Between
    }
}

fn separates(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::wire::frame::MAX_FRAME;

    fn take(splitter: &mut JsonArray, out: &mut Vec<String>) {
        while let Some(frame) = splitter.next() {
            assert_eq!(frame.event, None);
            out.push(String::from_utf8(frame.data.to_vec()).unwrap());
        }
    }

    /// The elements of a text, which must be the same wherever it is cut.
    fn elements(text: &[u8]) -> Vec<String> {
        let mut whole = None;
        for cut in 0..=text.len() {
            let (mut splitter, mut out) = (JsonArray::default(), Vec::new());
            for read in [&text[..cut], &text[cut..]] {
                splitter.push(read).unwrap();
                take(&mut splitter, &mut out);
            }
            splitter.finish();
            take(&mut splitter, &mut out);
            assert_eq!(whole.get_or_insert_with(|| out.clone()), &out, "cut at {cut}");
        }
        whole.unwrap()
    }

    #[test]
    fn elements_with_strings_escapes_and_nesting() {
        let text = br#"[{"a":"]}\",["} ,
            {"b":[[{}],"\\"]},[1,[2]],"s\"]",-1.5e3,null]
        "#;
        let expected =
            [r#"{"a":"]}\",["}"#, r#"{"b":[[{}],"\\"]}"#, "[1,[2]]", r#""s\"]""#, "-1.5e3", "null"];
        assert_eq!(elements(text), expected);
    }

    #[test]
    fn without_the_array_and_with_more_than_one() {
        assert_eq!(elements(b"{\"a\":1}\r\n{\"b\":2}{}\n"), ["{\"a\":1}", "{\"b\":2}", "{}"]);
        assert_eq!(elements(b"[{}]\n[{\"a\":[]}]"), ["{}", "{\"a\":[]}"]);
        assert_eq!(elements(b"\xef\xbb\xbf[1,2]"), ["1", "2"]);
        for nothing in [&b""[..], b" \n", b"[]", b" [ ] ", b"[,]"] {
            assert!(elements(nothing).is_empty());
        }
    }

    #[test]
    fn what_is_not_json_is_given_and_not_dropped() {
        assert_eq!(elements(b"upstream broke"), ["upstream", "broke"]);
        assert_eq!(elements(b"[{\"a\":\"cut"), ["{\"a\":\"cut"]);
        assert_eq!(elements(b"]"), ["]"]);
    }

    #[test]
    fn an_element_is_given_with_its_last_byte() {
        let mut splitter = JsonArray::default();
        splitter.push(b"[{\"a\":{}").unwrap();
        assert!(splitter.next().is_none());
        splitter.push(b"}").unwrap();
        assert_eq!(splitter.next().unwrap().data, b"{\"a\":{}}");
        assert!(splitter.next().is_none());
    }

    #[test]
    fn elements_are_bounded_and_gaps_cost_nothing() {
        let mut splitter = JsonArray::default();
        let spaces = vec![b' '; MAX_FRAME];
        for _ in 0..3 {
            splitter.push(&spaces).unwrap();
        }
        splitter.push(b"[{},\"").unwrap();
        splitter.push(&vec![b'x'; MAX_FRAME - 1]).unwrap();
        assert_eq!(splitter.push(b"\"").unwrap_err().kind(), Kind::BadReply);
        assert_eq!(splitter.next().unwrap().data, b"{}");
        assert!(splitter.next().is_none());
    }
}
