//! `$(headers.x)`, `$(uri_captures.x)` and `$(query_params.x)` in a target's options.

use crate::error::{Error, Result};
use http::HeaderMap;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// What a template may read of the request.
pub struct Source<'a> {
    /// The request's.
    pub headers: &'a HeaderMap,
    /// What the route's pattern matched, by name.
    pub captures: &'a [(Arc<str>, String)],
    /// The query string, undecoded.
    pub query: &'a str,
}

/// Whether any text below `value` holds an expression: such a target is resolved for each request.
pub fn is_dynamic(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("$("),
        Value::Array(items) => items.iter().any(is_dynamic),
        Value::Object(fields) => fields.values().any(is_dynamic),
        _ => false,
    }
}

/// Replaces the expressions in every text below `value`.
///
// KONG(kong/llm/drivers/shared.lua): only the first expression of a text was replaced; here all.
pub fn resolve(value: &mut Value, source: &Source<'_>) -> Result<()> {
    match value {
        Value::String(text) => {
            if let Cow::Owned(new) = expand(text, source)? {
                *text = new;
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, source)),
        Value::Object(fields) => fields.values_mut().try_for_each(|field| resolve(field, source)),
        _ => Ok(()),
    }
}

/// Replaces the expressions of one text.
pub fn expand<'a>(text: &'a str, source: &Source<'_>) -> Result<Cow<'a, str>> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        let Some((expression, behind)) = after.split_once(')') else {
            return Err(unreadable(text));
        };
        out.push_str(before);
        out.push_str(&look_up(expression, text, source)?);
        rest = behind;
    }
    if rest.len() == text.len() {
        return Ok(Cow::Borrowed(text));
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn unreadable(text: &str) -> Error {
    Error::bad_request(format!("cannot parse expression for field '{text}'"))
}

fn look_up(expression: &str, text: &str, source: &Source<'_>) -> Result<String> {
    let (from, key) = expression.split_once('.').ok_or_else(|| unreadable(text))?;
    if key.is_empty() || key.contains('.') {
        return Err(unreadable(text));
    }
    let value = match from {
        "headers" => source.headers.get(key).and_then(|value| value.to_str().ok()).map(str::to_owned),
        "uri_captures" => source.captures.iter().find(|(name, _)| **name == *key).map(|(_, v)| v.clone()),
        "query_params" => form_urlencoded::parse(source.query.as_bytes())
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.into_owned()),
        other => return Err(Error::bad_request(format!("source '{other}' is not supported"))),
    };
    let value = value.ok_or_else(|| Error::bad_request(format!("{from} key {key} was not provided")))?;
    if value.chars().any(char::is_control) {
        return Err(Error::bad_request(format!("{from} key {key} must not hold control characters")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::json;

    fn with<T>(run: impl FnOnce(&Source<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        headers.insert("x-model", HeaderValue::from_static("gpt-4o"));
        let captures = [(Arc::from("tenant"), "acme".to_owned())];
        run(&Source { headers: &headers, captures: &captures, query: "size=b%20ig&evil=a%0d%0ab" })
    }

    #[test]
    fn every_expression_of_a_text_is_replaced() {
        let text = "http://x/$(uri_captures.tenant)/$(headers.x-model)?s=$(query_params.size)";
        let out = with(|source| expand(text, source).unwrap().into_owned());
        assert_eq!(out, "http://x/acme/gpt-4o?s=b ig");
    }

    #[test]
    fn expressions_are_found_and_replaced_however_deep_they_stand() {
        let mut value = json!({"name": "$(headers.x-model)", "options": {"stop": ["a", "$(uri_captures.tenant)"]}, "n": 1});
        assert!(is_dynamic(&value) && is_dynamic(&json!([["$("]])));
        with(|source| resolve(&mut value, source).unwrap());
        assert_eq!(value, json!({"name": "gpt-4o", "options": {"stop": ["a", "acme"]}, "n": 1}));
        assert!(!is_dynamic(&value) && !is_dynamic(&json!(["$", {"a": null}])));
    }

    #[test]
    fn kongs_messages() {
        for (text, message) in [
            ("$(headers_x_model)", "cannot parse expression for field '$(headers_x_model)'"),
            ("$(headers.)", "cannot parse expression for field '$(headers.)'"),
            ("$(headers.x.model)", "cannot parse expression for field '$(headers.x.model)'"),
            ("$(headers.x-model", "cannot parse expression for field '$(headers.x-model'"),
            ("$(cookies.a)", "source 'cookies' is not supported"),
            ("$(headers.absent)", "headers key absent was not provided"),
            ("$(uri_captures.absent)", "uri_captures key absent was not provided"),
            ("$(query_params.absent)", "query_params key absent was not provided"),
        ] {
            let error = with(|source| expand(text, source).unwrap_err());
            assert_eq!((error.message(), error.kind().status()), (message, 400));
        }
    }

    #[test]
    fn a_line_break_cannot_be_smuggled_in() {
        let error = with(|source| expand("$(query_params.evil)", source).unwrap_err());
        assert_eq!(error.message(), "query_params key evil must not hold control characters");
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(with(|source| matches!(expand("gpt-4o", source), Ok(Cow::Borrowed(_)))));
    }
}
