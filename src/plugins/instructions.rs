//! A model's answer that says how the client is to be answered: status, headers and body as JSON.

use super::Whole;
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::Write;

const PREFIX: &str = "failed to parse JSON response instructions from AI backend: ";

/// Follows the instructions in `text`: what they do not name stays as it is in `answer`.
pub fn follow(text: &str, answer: &mut Whole) -> Result<()> {
    let told = read(text)?;
    answer.status = status(told.get("status"))?;
    for (name, value) in headers(told.get("headers"))? {
        set(answer, name, value)?;
    }
    answer.body = match told.get("body").filter(|body| !body.is_null()) {
        Some(Value::String(body)) => Bytes::from(body.clone()),
        Some(other) => Bytes::from(other.to_string()),
        None => Bytes::from(Value::Object(told).to_string()),
    };
    Ok(())
}

fn read(text: &str) -> Result<Map<String, Value>> {
    let start = text.trim_ascii_start();
    if !start.starts_with(['{', '[', '"', '-', 't', 'f', 'n'])
        && !start.starts_with(|c: char| c.is_ascii_digit())
    {
        let at = text.len() - start.len() + 1;
        return Err(refused(&format!("Expected value but found invalid token at character {at}")));
    }
    match serde_json::from_str(&tolerated(text)) {
        Ok(Value::Object(told)) => Ok(told),
        Ok(_) => Err(refused("expected an object with status, headers and body")),
        Err(error) => Err(refused(&error.to_string())),
    }
}

/// The text with the control characters inside its strings escaped: models write line breaks into
/// them as they are, which Kong's parser takes and JSON does not know.
fn tolerated(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte < b' ') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if quoted && c < ' ' {
            // A backslash before a line break is a line break.
            if escaped {
                out.pop();
            }
            // Writing into a string has no way to fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
            escaped = false;
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        out.push(c);
    }
    Cow::Owned(out)
}

fn status(told: Option<&Value>) -> Result<u16> {
    let Some(told) = told.filter(|value| !value.is_null()) else { return Ok(200) };
    let number = told.as_u64().or_else(|| told.as_str()?.parse().ok());
    let status = number.and_then(|number| u16::try_from(number).ok());
    status
        .filter(|status| (200..=599).contains(status))
        .ok_or_else(|| refused("'status' must be a number from 200 to 599"))
}

fn headers(told: Option<&Value>) -> Result<Vec<(&str, &Value)>> {
    match told {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(map)) => Ok(map.iter().map(|(name, value)| (name.as_str(), value)).collect()),
        // What an empty table is in Lua.
        Some(Value::Array(list)) if list.is_empty() => Ok(Vec::new()),
        Some(_) => Err(refused("'headers' must be an object")),
    }
}

fn set(answer: &mut Whole, name: &str, value: &Value) -> Result<()> {
    let bad = || {
        refused(&format!("header '{name}' must hold texts, numbers or booleans without control characters"))
    };
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| refused(&format!("'{name}' is not the name of a header")))?;
    if is_framing(&name) {
        return Ok(());
    }
    answer.headers.remove(&name);
    let list = std::slice::from_ref(value);
    for value in value.as_array().map_or(list, Vec::as_slice) {
        let text = match value {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Number(_) | Value::Bool(_) => Cow::Owned(value.to_string()),
            _ => return Err(bad()),
        };
        answer.headers.append(&name, HeaderValue::from_str(&text).map_err(|_| bad())?);
    }
    Ok(())
}

/// What says where the answer ends is for the gateway to write.
fn is_framing(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONTENT_LENGTH
            | header::CONTENT_ENCODING
            | header::TRANSFER_ENCODING
            | header::CONNECTION
            | header::TRAILER
            | header::UPGRADE
    ) || name == "keep-alive"
}

fn refused(why: &str) -> Error {
    Error::new(Kind::BadReply, format!("{PREFIX}{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn answer() -> Whole {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("x-svc", HeaderValue::from_static("1"));
        Whole { status: 201, headers, body: Bytes::from_static(b"old") }
    }

    fn followed(text: &str) -> Result<Whole> {
        let mut answer = answer();
        follow(text, &mut answer).map(|()| answer)
    }

    #[test]
    fn status_headers_and_body_are_taken_and_other_headers_stay() {
        let text = "{\"status\": 209, \"headers\": {\"Content-Type\": \"application/xml\", \"x-n\": 7, \
                    \"x-l\": [\"a\", \"b\"], \"content-length\": \"1\"}, \"body\": \"<a>\n\t\\\"é\\\"</a>\"}";
        let answer = followed(text).unwrap();
        assert_eq!((answer.status, &*answer.body), (209, "<a>\n\t\"é\"</a>".as_bytes()));
        let mut shown: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        shown.sort();
        let expected =
            ["content-type: application/xml", "x-l: a", "x-l: b", "x-n: 7", "x-svc: 1"].map(str::to_owned);
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_not_told_has_kongs_defaults() {
        assert_eq!(followed(r#"{"a": 1}"#).unwrap().status, 200);
        assert_eq!(followed(r#"{"a": 1.0, "headers": []}"#).unwrap().body, r#"{"a":1.0,"headers":[]}"#);
        assert_eq!(followed(r#"{"body": {"a": [1]}}"#).unwrap().body, r#"{"a":[1]}"#);
        assert_eq!(followed(r#"{"body": ""}"#).unwrap().body, "");
        assert_eq!(followed(r#"{"status": "202", "body": null}"#).unwrap().status, 202);
    }

    #[test]
    fn what_cannot_be_followed_is_a_500_that_says_why() {
        const VALUE: &str = "header 'a' must hold texts, numbers or booleans without control characters";
        for (text, why) in [
            ("Sure! {}", "Expected value but found invalid token at character 1"),
            ("\n ...", "Expected value but found invalid token at character 3"),
            ("[1]", "expected an object with status, headers and body"),
            ("{\"a\": ", "EOF while parsing a value at line 1 column 6"),
            (r#"{"status": 99}"#, "'status' must be a number from 200 to 599"),
            (r#"{"status": "ok"}"#, "'status' must be a number from 200 to 599"),
            (r#"{"headers": "x"}"#, "'headers' must be an object"),
            (r#"{"headers": {"a b": "c"}}"#, "'a b' is not the name of a header"),
            (r#"{"headers": {"a": "b\r\nc: d"}}"#, VALUE),
            (r#"{"headers": {"a": {}}}"#, VALUE),
        ] {
            let error = followed(text).unwrap_err();
            assert_eq!((error.message(), error.kind().status()), (&*format!("{PREFIX}{why}"), 500), "{text}");
        }
    }

    #[test]
    fn a_line_break_after_a_backslash_is_one_too() {
        assert_eq!(followed("{\"body\": \"a\\\nb \\\\\nc\"}").unwrap().body, "a\nb \\\nc");
    }
}
