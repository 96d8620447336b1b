//! Server-sent events or JSON elements, whichever comes: an upstream that was asked for the one may
//! send the other, under either's content type.
//!
//! The first byte that is no space tells them apart: no event begins with a bracket or a brace.

use super::frame::{Frame, Splitter};
use super::json_array::JsonArray;
use super::sse::Sse;
use crate::error::Result;

/// Gives each event, or each element.
#[derive(Debug, Default)]
pub struct SseOrJson {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Nothing but space came so far. `indented`: the line that is open begins with one, and a line of
    /// events that does is no field.
    Open {
        indented: bool,
    },
    Sse(Sse),
    Json(JsonArray),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Open { indented: false }
    }
}

impl Splitter for SseOrJson {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.kind {
            Kind::Open { indented } => {
                // What JSON calls space.
                let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
                let length = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
                let (space, rest) = bytes.split_at(length);
                if let Some(last) = space.last() {
                    *indented = matches!(last, b' ' | b'\t');
                }
                let indent: &[u8] = if *indented { b" " } else { b"" };
                self.kind = match rest.first() {
                    None => return Ok(()),
                    Some(b'[' | b'{') => Kind::Json(JsonArray::default()),
                    Some(_) => Kind::Sse(Sse::default()),
                };
                self.push(indent)?;
                self.push(rest)
            }
            Kind::Sse(sse) => sse.push(bytes),
            Kind::Json(json) => json.push(bytes),
        }
    }

    fn next(&mut self) -> Option<Frame<'_>> {
        match &mut self.kind {
            Kind::Open { .. } => None,
            Kind::Sse(sse) => sse.next(),
            Kind::Json(json) => json.next(),
        }
    }

    fn finish(&mut self) {
        match &mut self.kind {
            Kind::Open { .. } => {}
            Kind::Sse(sse) => sse.finish(),
            Kind::Json(json) => json.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payloads of a text, which must be the same wherever it is cut.
    fn payloads(text: &[u8]) -> Vec<String> {
        let mut whole = None;
        for cut in 0..=text.len() {
            let (mut splitter, mut out) = (SseOrJson::default(), Vec::new());
            for read in [Some(&text[..cut]), Some(&text[cut..]), None] {
                match read {
                    Some(bytes) => splitter.push(bytes).unwrap(),
                    None => splitter.finish(),
                }
                while let Some(frame) = splitter.next() {
                    out.push(String::from_utf8(frame.data.to_vec()).unwrap());
                }
            }
            assert_eq!(whole.get_or_insert_with(|| out.clone()), &out, "cut at {cut}");
        }
        whole.unwrap()
    }

    #[test]
    fn both_forms_give_the_same() {
        for text in [
            "data: {\"a\":1}\r\n\r\ndata: {\"b\":2}\n\n",
            "\n: ping\n\ndata: {\"a\":1}\n\ndata: {\"b\":2}",
            "[{\"a\":1}\n,\r\n{\"b\":2}]",
            " \n[ {\"a\":1},{\"b\":2} ]\n",
            "{\"a\":1}\n{\"b\":2}\n",
        ] {
            assert_eq!(payloads(text.as_bytes()), ["{\"a\":1}", "{\"b\":2}"], "{text}");
        }
        assert!(payloads(b" \r\n").is_empty());
    }

    #[test]
    fn what_comes_before_the_first_byte_is_part_of_it_however_it_was_cut() {
        assert!(payloads(b" data: {}\n\n").is_empty(), "a line that begins with a space is no field");
        assert_eq!(payloads(b" \n\ndata: {}\n\n"), ["{}"]);
        assert_eq!(payloads(b"\t \r\n[1,2]"), ["1", "2"]);
        assert!(payloads(b"\x0c\x0c[1,2]").is_empty(), "what JSON does not call space is none");
    }
}
