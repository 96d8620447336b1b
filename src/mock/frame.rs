//! Frames of `application/vnd.amazon.eventstream`, the binary framing of AWS's streams.
//!
//! A frame is its length, the length of its headers and a checksum of these eight bytes, then the headers,
//! the payload, and a checksum of all before it. Numbers are big-endian, checksums CRC-32.

use flate2::Crc;

/// The lengths, their checksum, and the checksum at the end.
const AROUND: usize = 16;

/// A header's value is a string.
const STRING: u8 = 7;

/// Appends an event with a JSON payload.
pub fn write(out: &mut Vec<u8>, kind: &str, payload: &[u8]) {
    let mut headers = Vec::with_capacity(96);
    for (name, value) in
        [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")]
    {
        headers.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        headers.extend_from_slice(name.as_bytes());
        headers.push(STRING);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let mut crc = Crc::new();
    let mut put = |bytes: &[u8]| {
        crc.update(bytes);
        out.extend_from_slice(bytes);
        crc.sum().to_be_bytes()
    };
    put(&length(headers.len() + payload.len() + AROUND));
    let prelude = put(&length(headers.len()));
    put(&prelude);
    put(&headers);
    let all = put(payload);
    out.extend_from_slice(&all);
}

/// What is written here is far below the 16 MiB that a frame may have.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8], at: usize) -> usize {
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    }

    fn checksum(bytes: &[u8]) -> usize {
        let mut crc = Crc::new();
        crc.update(bytes);
        crc.sum() as usize
    }

    #[test]
    fn lengths_and_checksums_are_right() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926, "the check value of CRC-32");
        let mut frames = Vec::new();
        for (kind, payload) in [("messageStart", &b"{\"role\":\"assistant\"}"[..]), ("x", b"")] {
            let start = frames.len();
            write(&mut frames, kind, payload);
            let frame = &frames[start..];
            let headers = number(frame, 4);
            assert_eq!(number(frame, 0), frame.len());
            assert_eq!(number(frame, 8), checksum(&frame[..8]));
            assert_eq!(&frame[12 + headers..frame.len() - 4], payload);
            assert_eq!(number(frame, frame.len() - 4), checksum(&frame[..frame.len() - 4]));
            assert!(frame[12..].starts_with(b"\x0b:event-type\x07\0"));
            assert!(frame[27..].starts_with(kind.as_bytes()));
        }
    }
}
