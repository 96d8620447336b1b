//! What the gateway needs to know of a reply or chunk that it passes on untouched.

use crate::wire::chat::lenient::Text;
use crate::wire::scan;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::LazyLock;

/// A look at an OpenAI-shaped reply or chunk.
#[derive(Debug, Default)]
pub struct ReplyScan<'a> {
    /// Whether `choices` is there and not null.
    pub choices: bool,
    /// Whether `choices` is there and empty: the form of the usage chunk.
    pub no_choice: bool,
    /// The text of `usage`, where it is an object.
    pub usage: Option<&'a str>,
    /// `model`, where it is a string.
    pub model: Option<Cow<'a, str>>,
    /// `error`, where it is not null.
    pub error: Option<&'a RawValue>,
}

static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""choices""#));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""usage""#));
static MODEL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""model""#));

/// What a reply as nearly all are says, found by three searches: each key stands once. `None` for any
/// other; [`reply_scan`] tells then.
pub fn reply_glance(body: &[u8]) -> Option<ReplyScan<'_>> {
    let body = body.trim_ascii();
    if !(body.starts_with(b"{") && body.ends_with(b"}")) {
        return None;
    }
    scan::only(body, &CHOICES).filter(|value| value.starts_with(b"["))?;
    let usage = std::str::from_utf8(scan::object(scan::only(body, &USAGE)?)?).ok()?;
    let name = scan::only(body, &MODEL)?.strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', name).filter(|end| name.get(*end) == Some(&b'"'))?;
    let name = name.get(..end)?;
    Some(ReplyScan {
        choices: true,
        usage: Some(usage),
        model: Some(Cow::Borrowed(std::str::from_utf8(name).ok()?)),
        ..ReplyScan::default()
    })
}

/// Looks at a reply or chunk; `None` if it is not a JSON object, or reports an error that is no text. Of a
/// key that stands twice the last counts: it is not for us to refuse a reply that the client can read.
pub fn reply_scan(body: &[u8]) -> Option<ReplyScan<'_>> {
    let mut seen = ReplyScan::default();
    let mut garbled = false;
    scan::members(body, |key, value| {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match key {
            b"choices" => {
                seen.choices = text != "null";
                seen.no_choice = is_empty_array(text);
            }
            b"usage" => seen.usage = Some(text).filter(|text| text.starts_with('{')),
            b"model" => seen.model = serde_json::from_str::<Text<'_>>(text).ok().map(|model| model.0),
            b"error" => {
                garbled = text.is_empty();
                seen.error = serde_json::from_str::<Option<&RawValue>>(text).ok().flatten();
            }
            _ => {}
        }
    })?;
    (!garbled).then_some(seen)
}

/// Whether a chunk brings something of the answer: more than a role, be it only why the answer ends.
/// A chunk of another shape counts as output: who does not know it must not hold it back.
pub fn has_output(chunk: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk<'a> {
        #[serde(borrow, default)]
        choices: Option<Vec<Choice<'a>>>,
    }
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow, default)]
        delta: Option<&'a RawValue>,
        #[serde(borrow, default)]
        text: Option<&'a RawValue>,
        #[serde(borrow, default)]
        finish_reason: Option<&'a RawValue>,
    }
    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(chunk) else { return true };
    let says = |value: &RawValue| !is_blank(value.get());
    let speaks = |delta: &RawValue| {
        let mut spoken = false;
        let object = scan::members(delta.get().as_bytes(), |key, value| {
            spoken |= key != b"role" && !std::str::from_utf8(value).is_ok_and(is_blank);
        });
        spoken || object.is_none()
    };
    chunk.choices.unwrap_or_default().iter().any(|choice| {
        choice.delta.is_some_and(speaks)
            || [choice.text, choice.finish_reason].into_iter().flatten().any(says)
    })
}

fn is_blank(json: &str) -> bool {
    matches!(json, "null" | "\"\"" | "[]" | "{}")
}

/// The message of an error that a chunk reports, or the error itself if it has none.
pub fn reported(chunk: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Reported<'a> {
        #[serde(borrow)]
        message: Text<'a>,
    }
    let error = reply_scan(chunk)?.error?.get();
    let text = serde_json::from_str::<Text<'_>>(error);
    let message = text.or_else(|_| serde_json::from_str::<Reported<'_>>(error).map(|error| error.message));
    Some(message.map_or_else(|_| error.to_owned(), |message| message.0.into_owned()))
}

fn is_empty_array(raw: &str) -> bool {
    raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|inner| inner.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_usage_and_model_are_seen() {
        let body = br#"{"id": "x", "model": "gpt-4", "choices": [{"message": {"content": "\"usage\""}}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 3}, "model": "gpt-4-0613"}"#;
        let scan = reply_scan(body).unwrap();
        assert!(scan.choices && !scan.no_choice && scan.error.is_none());
        assert_eq!(scan.model.as_deref(), Some("gpt-4-0613"), "the last of two keys counts");
        assert_eq!(scan.usage, Some(r#"{"prompt_tokens": 0, "completion_tokens": 3}"#));
    }

    #[test]
    fn an_error_that_is_no_text_is_not_overlooked() {
        assert!(reply_scan(b"{\"error\":\"gone: \xff\"}").is_none());
        assert!(reply_scan(br#"{"error":null,"choices":[]}"#).unwrap().error.is_none());
    }

    #[test]
    fn output_is_more_than_a_role() {
        let chunk = |choice: &str| format!(r#"{{"id":"c","choices":[{choice}],"usage":null}}"#);
        for held in [
            "",
            r#"{"delta":{"role":"assistant"},"finish_reason":null}"#,
            r#"{"delta":{"role":"assistant","content":"","refusal":null,"tool_calls":[]},"logprobs":null}"#,
            r#"{"text":"","finish_reason":null}"#,
        ] {
            assert!(!has_output(chunk(held).as_bytes()), "{held}");
        }
        for output in [
            r#"{"delta":{"content":" "}}"#,
            r#"{"delta":{"reasoning_content":"x"}}"#,
            r#"{"delta":{"tool_calls":[{"index":0}]}}"#,
            r#"{"delta":{},"finish_reason":"stop"}"#,
            r#"{"text":"x"}"#,
        ] {
            assert!(has_output(chunk(output).as_bytes()), "{output}");
        }
        assert!(has_output(br#"{"choices":7}"#), "of a shape that we do not know");
        assert!(!has_output(br#"{"error":{"message":"x"}}"#));
    }

    #[test]
    fn a_reported_error_is_given_in_its_own_words() {
        for (chunk, message) in [
            (r#"{"error":{"message":"over\"loaded","code":1}}"#, "over\"loaded"),
            (r#"{"error":"down"}"#, "down"),
            (r#"{"error":{"code":7}}"#, r#"{"code":7}"#),
        ] {
            assert_eq!(reported(chunk.as_bytes()).as_deref(), Some(message));
        }
        assert_eq!(reported(br#"{"error":null}"#), None);
    }

    #[test]
    fn a_glance_sees_what_a_scan_sees_or_nothing() {
        let plain = r#"{"id":"x","model":"m","choices":[{"message":{"content":"\"usage\":{\"a\":1} {"}}],
            "usage":{"prompt_tokens":1,"completion_tokens":2,"x":{"y":"}"}}}"#;
        let (glance, scan) = (reply_glance(plain.as_bytes()).unwrap(), reply_scan(plain.as_bytes()).unwrap());
        assert_eq!((glance.usage, &glance.model, glance.choices), (scan.usage, &scan.model, scan.choices));
        for other in [
            r#"{"model":"m","choices":null,"usage":{}}"#,
            r#"{"model":"m","choices":[],"usage":null}"#,
            r#"{"model":"m","choices":[{"usage":{}}],"usage":{}}"#,
            r#"{"model":"m\u0020","choices":[],"usage":{}}"#,
            r#"{"choices":[],"usage":{}}"#,
            "<html>",
        ] {
            assert!(reply_glance(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn the_usage_chunk_has_no_choice() {
        let scan = reply_scan(br#"{"choices": [ ], "usage": null}"#).unwrap();
        assert!(scan.choices && scan.no_choice && scan.usage.is_none());
    }

    #[test]
    fn missing_and_null_choices_are_the_same() {
        assert!(!reply_scan(br#"{"choices": null}"#).unwrap().choices);
        let scan = reply_scan(br#"{"error": {"message": "no"}, "model": 7}"#).unwrap();
        assert!(!scan.choices && scan.model.is_none() && scan.error.is_some());
    }

    #[test]
    fn only_an_object_is_a_reply() {
        for body in ["", "[]", "<html>", r#"{"choices": []"#, "{} {}", "\"x\""] {
            assert!(reply_scan(body.as_bytes()).is_none(), "{body}");
        }
    }
}
