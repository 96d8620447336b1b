//! Pure codecs, used by every stage: bytes in, bytes out, no I/O, no configuration.

pub mod address;
pub mod chat;
pub mod client_stream;
pub mod doc;
pub mod event_stream;
pub mod frame;
pub mod h1;
pub mod ip_range;
pub mod json_array;
pub mod json_lines;
pub mod scan;
pub mod sse;
pub mod sse_or_json;
pub mod usage;
