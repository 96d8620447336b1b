//! One JSON value a line (NDJSON, JSON Lines): what Ollama and its kin stream.
//!
//! Lines end with LF or CRLF; blank ones are skipped, and the last one needs no end. The values are
//! not looked into: JSON has no raw line ends inside a value.

use super::frame::{Cut, Cutter, Frame, Scan, Splitter};
use crate::error::Result;
use memchr::memchr;

/// Gives each line that is not blank, without the spaces around it.
#[derive(Debug, Default)]
pub struct JsonLines {
    cutter: Cutter<Lines>,
    begun: bool,
}

impl Splitter for JsonLines {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.cutter.push(bytes)
    }

    fn next(&mut self) -> Option<Frame<'_>> {
        let line = loop {
            let mut line = self.cutter.next()?;
            let text = self.cutter.get(line.clone());
            if !self.begun && text.starts_with(b"\xef\xbb\xbf") {
                line.start += 3;
            }
            self.begun = true;
            if !self.cutter.get(line.clone()).trim_ascii().is_empty() {
                break line;
            }
        };
        Some(Frame { event: None, data: self.cutter.get(line).trim_ascii() })
    }

    fn finish(&mut self) {
        self.cutter.finish();
    }
}

#[derive(Debug, Default)]
struct Lines;

impl Scan for Lines {
    fn scan(&mut self, bytes: &[u8]) -> Option<Cut> {
        memchr(b'\n', bytes).map(|at| Cut::Message(at + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::wire::frame::MAX_FRAME;

    fn lines(reads: &[&[u8]]) -> Vec<String> {
        let mut splitter = JsonLines::default();
        let mut out = Vec::new();
        for read in reads {
            splitter.push(read).unwrap();
            while let Some(frame) = splitter.next() {
                out.push(String::from_utf8(frame.data.to_vec()).unwrap());
            }
        }
        splitter.finish();
        while let Some(frame) = splitter.next() {
            assert_eq!(frame.event, None);
            out.push(String::from_utf8(frame.data.to_vec()).unwrap());
        }
        out
    }

    #[test]
    fn line_ends_blank_lines_and_an_open_end() {
        assert_eq!(lines(&[b"{\"a\":1}\r\n\r\n \n{\"b\":2}\n[3]"]), ["{\"a\":1}", "{\"b\":2}", "[3]"]);
        assert_eq!(lines(&[b"{\"a\"", b":1}", b"\r", b"\n{\"b\":2}\n"]), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(lines(&[b"\xef\xbb\xbf{}\n"]), ["{}"]);
        assert!(lines(&[b"", b"\n", b"  "]).is_empty());
    }

    #[test]
    fn nothing_is_given_before_its_line_ends() {
        let mut splitter = JsonLines::default();
        splitter.push(b"{\"a\":1}").unwrap();
        assert!(splitter.next().is_none());
        splitter.push(b"\n").unwrap();
        assert_eq!(splitter.next().unwrap().data, b"{\"a\":1}");
        assert!(splitter.next().is_none());
        splitter.finish();
        assert!(splitter.next().is_none());
    }

    #[test]
    fn a_line_is_bounded_and_those_before_it_survive() {
        let mut splitter = JsonLines::default();
        let mut read = b"{}\n".to_vec();
        read.resize(MAX_FRAME + 3, b'x');
        splitter.push(&read).unwrap();
        assert_eq!(splitter.push(b"x").unwrap_err().kind(), Kind::BadReply);
        assert_eq!(splitter.push(b"\n").unwrap_err().kind(), Kind::BadReply);
        assert_eq!(splitter.next().unwrap().data, b"{}");
        splitter.finish();
        assert!(splitter.next().is_none());
    }
}
