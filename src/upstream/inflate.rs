//! Answers that come compressed although they were asked not to.

use crate::error::{Error, Kind, Result};
use brotli::DecompressorWriter;
use bytes::Bytes;
use flate2::write::{GzDecoder, ZlibDecoder};
use std::io::Write;

/// An inflated answer is given up beyond this size: a small body must not fill the memory.
const LIMIT: usize = 64 * 1024 * 1024;

const SLICE: usize = 16 * 1024;

/// A decoder that takes the body piece by piece and hands out what it has.
pub enum Inflate {
    /// Of that coding.
    Gzip(GzDecoder<Vec<u8>>),
    /// `deflate`.
    Zlib(ZlibDecoder<Vec<u8>>),
    /// Of that coding.
    Brotli(Box<DecompressorWriter<Vec<u8>>>),
}

impl Inflate {
    /// The decoder for a `Content-Encoding`; `None` for identity and for codings we do not read.
    pub fn new(coding: &str) -> Option<Self> {
        match coding.trim() {
            "gzip" | "x-gzip" => Some(Self::Gzip(GzDecoder::new(Vec::new()))),
            "deflate" => Some(Self::Zlib(ZlibDecoder::new(Vec::new()))),
            "br" => Some(Self::Brotli(Box::new(DecompressorWriter::new(Vec::new(), SLICE)))),
            _ => None,
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(decoder) => decoder,
            Self::Zlib(decoder) => decoder,
            Self::Brotli(decoder) => decoder,
        }
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
        }
    }

    /// Takes a piece and returns what it inflates to so far.
    pub fn push(&mut self, piece: &[u8]) -> Result<Bytes> {
        // Slice by slice, so that the limit is seen before the memory is gone.
        for slice in piece.chunks(SLICE) {
            self.writer().write_all(slice).map_err(|_| unreadable())?;
            if self.out().len() > LIMIT {
                return Err(unreadable());
            }
        }
        self.writer().flush().map_err(|_| unreadable())?;
        if self.out().len() > LIMIT {
            return Err(unreadable());
        }
        Ok(Bytes::from(std::mem::take(self.out())))
    }

    /// Inflates a whole body; one that breaks off is an error.
    pub fn all(coding: &str, body: &Bytes) -> Result<Bytes> {
        let Some(mut decoder) = Self::new(coding) else { return Ok(body.clone()) };
        let plain = decoder.push(body)?;
        let ended = match &mut decoder {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zlib(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
        };
        ended.map_err(|_| unreadable())?;
        Ok(plain)
    }
}

fn unreadable() -> Error {
    Error::new(Kind::Unreachable, "the upstream's compressed answer cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn pieces_inflate_as_they_come() {
        let packed = gzip(b"data: {\"a\":1}\n\ndata: [DONE]\n\n");
        let mut decoder = Inflate::new("gzip").unwrap();
        let mut out = Vec::new();
        for byte in &packed {
            out.extend_from_slice(&decoder.push(std::slice::from_ref(byte)).unwrap());
        }
        assert_eq!(out, b"data: {\"a\":1}\n\ndata: [DONE]\n\n");
    }

    #[test]
    fn brotli_inflates_in_pieces_and_whole() {
        let mut packed = Vec::new();
        brotli::CompressorWriter::new(&mut packed, 4096, 5, 20).write_all(b"{\"a\":1}").unwrap();
        let mut decoder = Inflate::new("br").unwrap();
        let mut out = Vec::new();
        for byte in &packed {
            out.extend_from_slice(&decoder.push(std::slice::from_ref(byte)).unwrap());
        }
        assert_eq!(out, b"{\"a\":1}");
        assert_eq!(Inflate::all("br", &Bytes::from(packed.clone())).unwrap(), "{\"a\":1}");
        packed.truncate(packed.len() / 2);
        assert!(Inflate::all("br", &Bytes::from(packed)).is_err());
    }

    #[test]
    fn what_is_not_gzip_is_an_error_and_identity_passes() {
        assert!(Inflate::all("gzip", &Bytes::from_static(b"{\"a\":1}")).is_err());
        let whole = gzip(br#"{"a":1}"#);
        assert_eq!(Inflate::all("gzip", &Bytes::from(whole.clone())).unwrap(), r#"{"a":1}"#);
        for cut in 1..whole.len() {
            assert!(Inflate::all("gzip", &Bytes::copy_from_slice(&whole[..cut])).is_err(), "cut at {cut}");
        }
        assert_eq!(Inflate::all("identity", &Bytes::from_static(b"x")).unwrap(), "x");
    }

    #[test]
    fn a_bomb_is_refused() {
        let packed = gzip(&vec![0; LIMIT + 1]);
        assert!(Inflate::all("gzip", &Bytes::from(packed)).is_err());
    }
}
