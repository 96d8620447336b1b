//! What a client is told of a body, or of a field, that is not what it should be.

use crate::error::Error;
use serde::de::IgnoredAny;

/// Kong's answer to a body that is not JSON.
pub const BROKEN: &str = "content-type header does not match request body, or bad JSON formatting";

pub(super) const NOT_AN_OBJECT: &str = "request body must be a JSON object";
pub(super) const NOT_UTF8: &str = "request body is not valid UTF-8";

/// Why text that is no JSON object is none.
pub(super) fn of(json: &str) -> &'static str {
    let other = !json.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(json).is_ok();
    if other { NOT_AN_OBJECT } else { BROKEN }
}

/// The error for a value of another type than its field's, in JSON's words instead of Rust's.
pub(super) fn mismatch(key: &str, text: &[u8], error: &serde_json::Error) -> Error {
    let full = error.to_string();
    let cause = full.rsplit_once(" at line ").map_or(full.as_str(), |(cause, _)| cause);
    let nested = matches!(text.first(), Some(b'[' | b'{')) && error.column() > 1;
    let place = if nested {
        format!(" (at line {}, column {} of its value)", error.line(), error.column())
    } else {
        String::new()
    };
    let said = match cause.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {}", json_type(expected)),
        None => cause.to_owned(),
    };
    Error::bad_request(format!("field '{key}'{place}: {said}"))
}

fn json_type(expected: &str) -> &str {
    match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a non-negative integer",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "a sequence" => "an array",
        "a borrowed string" | "string" => "a string",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}
