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

#[derive(Debug, Default)]
enum Kind {
    /// Nothing but space came so far.
    #[default]
    Open,
    Sse(Sse),
    Json(JsonArray),
}

impl Splitter for SseOrJson {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if matches!(self.kind, Kind::Open) {
            self.kind = match bytes.trim_ascii_start().first() {
                None => return Ok(()),
                Some(b'[' | b'{') => Kind::Json(JsonArray::default()),
                Some(_) => Kind::Sse(Sse::default()),
            };
        }
        match &mut self.kind {
            Kind::Open => Ok(()),
            Kind::Sse(sse) => sse.push(bytes),
            Kind::Json(json) => json.push(bytes),
        }
    }

    fn next(&mut self) -> Option<Frame<'_>> {
        match &mut self.kind {
            Kind::Open => None,
            Kind::Sse(sse) => sse.next(),
            Kind::Json(json) => json.next(),
        }
    }

    fn finish(&mut self) {
        match &mut self.kind {
            Kind::Open => {}
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
}
