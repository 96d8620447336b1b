//! AWS's binary frames, read as its clients read them: with both checksums.

use flate2::Crc;
use serde_json::Value;

/// The events of a stream: their names and payloads.
pub fn read(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let (length, headers) = (number(bytes, 0), number(bytes, 4));
        assert_eq!(number(bytes, 8), checksum(&bytes[..8]), "the checksum of the lengths");
        let (frame, rest) = bytes.split_at(length);
        assert_eq!(number(frame, length - 4), checksum(&frame[..length - 4]), "the checksum of the frame");
        let payload = serde_json::from_slice(&frame[12 + headers..length - 4]).unwrap();
        events.push((name(&frame[12..12 + headers]), payload));
        bytes = rest;
    }
    events
}

/// What the headers call the event.
fn name(mut headers: &[u8]) -> String {
    let mut found = String::new();
    while !headers.is_empty() {
        let (name, rest) = headers[1..].split_at(headers[0] as usize);
        assert_eq!(rest[0], 7, "a string");
        let length = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
        let (value, rest) = rest[3..].split_at(length);
        let value = std::str::from_utf8(value).unwrap();
        match name {
            b":event-type" => value.clone_into(&mut found),
            b":message-type" => assert_eq!(value, "event"),
            b":content-type" => assert_eq!(value, "application/json"),
            other => assert!(other.is_empty(), "unknown header {other:?}"),
        }
        headers = rest;
    }
    found
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn checksum(bytes: &[u8]) -> usize {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum() as usize
}
