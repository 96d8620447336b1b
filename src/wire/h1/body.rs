//! A body, taken out of what has been read of a connection.

use super::Framing;
use bytes::{Buf, Bytes, BytesMut};

/// The longest line in front of a chunk: its length, and extensions that nobody uses.
const LINE: usize = 1024;
/// The most that may follow the last chunk.
const TRAILERS: usize = 16 * 1024;

/// How far a body has been read.
#[derive(Debug)]
pub struct Body(State);

#[derive(Debug)]
enum State {
    /// So many bytes are still to come.
    Left(u64),
    /// The line with the length of the next chunk.
    Line,
    /// So much of a chunk is still to come,
    Chunk(u64),
    /// and then the end of its line.
    ChunkEnd,
    /// Behind the last chunk; so much of it has been passed over.
    Trailers(usize),
    UntilClose,
    Done,
}

/// The framing is broken: where the body ends, nobody can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Body {
    /// A body of which nothing was read yet.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Left(length),
            Framing::Chunked => State::Line,
            Framing::Close => State::UntilClose,
        })
    }

    /// Whether it has been read to its end.
    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// How much is still to come, where its length was stated.
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            State::Left(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece out of `buf`. None: it is done, or more has to be read.
    pub fn take(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        loop {
            match &mut self.0 {
                State::Done => return Ok(None),
                State::Left(left) => {
                    let piece = upto(buf, left);
                    if *left == 0 {
                        self.0 = State::Done;
                    }
                    return Ok(piece);
                }
                State::UntilClose => return Ok(upto(buf, &mut u64::MAX.clone())),
                State::Chunk(left) => {
                    let piece = upto(buf, left);
                    if *left == 0 {
                        self.0 = State::ChunkEnd;
                    }
                    return Ok(piece);
                }
                State::Line => match line(buf, LINE)? {
                    None => return Ok(None),
                    Some(line) => {
                        self.0 = match length(&line)? {
                            0 => State::Trailers(0),
                            length => State::Chunk(length),
                        };
                    }
                },
                State::ChunkEnd => match line(buf, 2)? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => self.0 = State::Line,
                    Some(_) => return Err(Malformed),
                },
                State::Trailers(passed) => match line(buf, TRAILERS - *passed)? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => self.0 = State::Done,
                    Some(line) => *passed = (*passed + line.len() + 2).min(TRAILERS),
                },
            }
        }
    }

    /// The connection was closed. Whether the body is whole.
    pub fn close(&mut self) -> bool {
        if matches!(self.0, State::UntilClose) {
            self.0 = State::Done;
        }
        self.is_done()
    }
}

/// All that is there, up to so many bytes.
fn upto(buf: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
    *left -= length as u64;
    (length > 0).then(|| buf.split_to(length).freeze())
}

/// The next line without its end, if all of it is there.
fn line(buf: &mut BytesMut, longest: usize) -> Result<Option<BytesMut>, Malformed> {
    let Some(end) = memchr::memchr(b'\n', buf) else {
        return if buf.len() > longest { Err(Malformed) } else { Ok(None) };
    };
    // A line that ends in a bare line feed would be read otherwise by others on the way.
    let Some(length) = end.checked_sub(1).filter(|at| buf.get(*at) == Some(&b'\r')) else {
        return Err(Malformed);
    };
    if length > longest {
        return Err(Malformed);
    }
    let line = buf.split_to(length);
    buf.advance(2);
    Ok(Some(line))
}

/// The length in front of a chunk, in hexadecimal digits; extensions behind it are ignored.
fn length(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits).ok_or(Malformed)?;
    let bounded = matches!(rest.first(), None | Some(b';' | b' ' | b'\t'));
    if digits.is_empty() || digits.len() > 15 || !bounded {
        return Err(Malformed);
    }
    let digit = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or_default());
    Ok(digits.iter().fold(0, |sum, byte| sum * 16 + digit(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `size` bytes; what came out, whether it ended, and what was left.
    fn read(framing: Framing, wire: &[u8], size: usize) -> Result<(Vec<u8>, bool, Vec<u8>), Malformed> {
        let (mut body, mut buf, mut out) = (Body::new(framing), BytesMut::new(), Vec::new());
        for piece in wire.chunks(size) {
            buf.extend_from_slice(piece);
            while let Some(piece) = body.take(&mut buf)? {
                assert!(!piece.is_empty());
                out.extend_from_slice(&piece);
            }
        }
        Ok((out, body.is_done(), buf.to_vec()))
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let chunked = b"4\r\nwiki\r\n5;name=value\r\npedia\r\nE \r\n in\r\n\r\nchunks.\r\n0\r\nexpires: never\r\n\r\nGET /next";
        let cases: [(_, &[u8], &[u8], &[u8]); 4] = [
            (Framing::Chunked, chunked, b"wikipedia in\r\n\r\nchunks.", b"GET /next"),
            (Framing::Chunked, b"0\r\n\r\n", b"", b""),
            (Framing::Length(5), b"helloGET /next", b"hello", b"GET /next"),
            (Framing::Length(0), b"GET /next", b"", b"GET /next"),
        ];
        for (framing, wire, body, behind) in cases {
            for size in 1..=wire.len() {
                let read = read(framing, wire, size).unwrap();
                assert_eq!(read, (body.to_vec(), true, behind.to_vec()), "{framing:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_is_not_whole() {
        for (framing, wire) in [
            (Framing::Length(5), &b"hell"[..]),
            (Framing::Chunked, b"4\r\nwiki\r\n"),
            (Framing::Chunked, b"4\r\nwiki\r\n0\r\n"),
            (Framing::Chunked, b"4\r\nwi"),
        ] {
            let (mut body, mut buf) = (Body::new(framing), BytesMut::from(wire));
            while body.take(&mut buf).unwrap().is_some() {}
            assert!(!body.close(), "{framing:?}");
        }
        let mut body = Body::new(Framing::Close);
        assert_eq!(body.take(&mut BytesMut::from(&b"all"[..])), Ok(Some(Bytes::from_static(b"all"))));
        assert!(!body.is_done() && body.close());
    }

    #[test]
    fn framing_that_two_could_read_differently_is_refused() {
        for wire in [
            &b"4\nwiki\r\n0\r\n\r\n"[..],
            b"4\r\nwikis\r\n0\r\n\r\n",
            b"-4\r\nwiki\r\n",
            b"0x4\r\nwiki\r\n",
            b"\r\nwiki",
            b"4 4\r\x0bwiki\n",
            b"fffffffffffffffff\r\n",
            b"4\r\nwiki\n0\r\n\r\n",
        ] {
            assert_eq!(read(Framing::Chunked, wire, wire.len()), Err(Malformed), "{}", wire.escape_ascii());
        }
        let endless = vec![b'1'; LINE + 8];
        assert_eq!(read(Framing::Chunked, &endless, 64), Err(Malformed));
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(TRAILERS)].concat();
        assert_eq!(read(Framing::Chunked, &trailers, 4096), Err(Malformed));
    }

    #[test]
    fn what_is_still_to_come_is_known_where_it_was_stated() {
        let mut body = Body::new(Framing::Length(5));
        assert_eq!(body.left(), Some(5));
        body.take(&mut BytesMut::from(&b"he"[..])).unwrap();
        assert_eq!(body.left(), Some(3));
        assert_eq!(Body::new(Framing::Length(0)).left(), Some(0));
        assert_eq!(Body::new(Framing::Chunked).left(), None);
    }

    #[test]
    fn bounds_are_kept_to_the_byte() {
        let long = |length: usize, end: &str| line(&mut BytesMut::from(&*("x".repeat(length) + end)), LINE);
        assert_eq!(long(LINE, ""), Ok(None));
        assert_eq!(long(LINE + 1, ""), Err(Malformed));
        assert_eq!(long(LINE, "\r\n").map(|line| line.map(|line| line.len())), Ok(Some(LINE)));
        assert_eq!(long(LINE + 1, "\r\n"), Err(Malformed));
        assert_eq!(length(b"1f"), Ok(31));
        assert_eq!(length(&[b'f'; 15]), Ok((1 << 60) - 1));
        assert_eq!(length(&[b'0'; 16]), Err(Malformed));
        // Each line of trailers takes six bytes, and the last may begin where the bound is.
        let trailed = |count| [b"0\r\n".to_vec(), b"a: b\r\n".repeat(count), b"\r\n".to_vec()].concat();
        let most = TRAILERS / 6 + 1;
        assert_eq!(read(Framing::Chunked, &trailed(most), 4096), Ok((vec![], true, vec![])));
        assert_eq!(read(Framing::Chunked, &trailed(most + 1), 4096), Err(Malformed));
    }
}
