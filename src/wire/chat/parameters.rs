//! What a request asks for beside its messages, read once for all providers that speak otherwise:
//! tools, stop sequences, the form of the answer.

use crate::error::{Error, Result};
use crate::wire::chat::lenient::Text;
use crate::wire::doc::Doc;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An item of `tools`.
#[derive(Debug)]
pub enum Tool<'a> {
    /// A function.
    Function(Function<'a>),
    /// What only the provider knows: its own tools, in its own words.
    Other(&'a RawValue),
}

/// A function that the model may call.
#[derive(Debug, Deserialize)]
pub struct Function<'a> {
    /// What calls name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// What it does.
    #[serde(borrow)]
    pub description: Option<Text<'a>>,
    /// The JSON schema of its arguments.
    #[serde(borrow)]
    pub parameters: Option<&'a RawValue>,
}

/// `tool_choice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// The model decides.
    Auto,
    /// At least one call.
    Required,
    /// No call.
    None,
    /// A call of this function.
    Named(Cow<'a, str>),
}

/// `response_format`, where it asks for more than text.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// Any JSON.
    Json,
    /// What this JSON schema describes.
    Schema(&'a RawValue),
}

/// The tools of a request.
pub fn tools(doc: &Doc) -> Result<Vec<Tool<'_>>> {
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow)]
        function: Option<Function<'a>>,
    }
    let items: Vec<&RawValue> = doc.field("tools")?.unwrap_or_default();
    let read = |raw| match serde_json::from_str::<Item<'_>>(RawValue::get(raw)) {
        Ok(Item { function: Some(function) }) => Ok(Tool::Function(function)),
        Ok(Item { function: None }) => Ok(Tool::Other(raw)),
        Err(_) => Err(Error::bad_request("each of 'tools' must be an object, a function with its 'name'")),
    };
    items.into_iter().map(read).collect()
}

/// Which tools must be called; `None` if the client says nothing that is understood.
pub fn tool_choice(doc: &Doc) -> Option<ToolChoice<'_>> {
    #[derive(Deserialize)]
    struct Chosen<'a> {
        #[serde(borrow)]
        function: Name<'a>,
    }
    #[derive(Deserialize)]
    struct Name<'a> {
        #[serde(borrow)]
        name: Text<'a>,
    }
    match doc.text("tool_choice").as_deref() {
        Some("auto") => Some(ToolChoice::Auto),
        Some("required" | "any") => Some(ToolChoice::Required),
        Some("none") => Some(ToolChoice::None),
        Some(_) => None,
        None => {
            let chosen = doc.field::<Chosen<'_>>("tool_choice").ok()??;
            Some(ToolChoice::Named(chosen.function.name.0))
        }
    }
}

/// Where the answer is to stop: OpenAI takes one string or several.
pub fn stop(doc: &Doc) -> Result<Vec<&RawValue>> {
    let Some(raw) = doc.field::<&RawValue>("stop")? else { return Ok(Vec::new()) };
    if raw.get().starts_with('"') {
        return Ok(vec![raw]);
    }
    serde_json::from_str(raw.get())
        .map_err(|_| Error::bad_request("'stop' must be a string or an array of strings"))
}

/// The form that the answer must have; `None` is text.
pub fn form(doc: &Doc) -> Result<Option<Form<'_>>> {
    #[derive(Deserialize)]
    struct Wanted<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
        #[serde(borrow)]
        json_schema: Option<Named<'a>>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
    }
    let Some(wanted) = doc.field::<Wanted<'_>>("response_format")? else { return Ok(None) };
    Ok(match (&*wanted.kind, wanted.json_schema.and_then(|named| named.schema)) {
        ("json_schema", Some(schema)) => Some(Form::Schema(schema)),
        ("json_schema" | "json_object", _) => Some(Form::Json),
        _ => None,
    })
}

/// The prompt of a completion, as a JSON string: OpenAI takes several, most providers one.
pub fn prompt(doc: &Doc) -> Result<&RawValue> {
    let single = |raw: &'_ RawValue| raw.get().starts_with('"');
    let raw = doc.field::<&RawValue>("prompt")?.ok_or_else(|| Error::bad_request("'prompt' is missing"))?;
    if single(raw) {
        return Ok(raw);
    }
    match serde_json::from_str::<[&RawValue; 1]>(raw.get()) {
        Ok([only]) if single(only) => Ok(only),
        _ => Err(Error::bad_request("'prompt' must be a single string for this provider")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn doc(json: &str) -> Doc {
        Doc::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    #[test]
    fn tools_are_functions_or_the_providers_own() {
        let doc =
            doc(r#"{"tools": [{"type": "function", "function": {"name": "f", "parameters": {"n": 1.0}}},
            {"type": "web_search"}]}"#);
        let tools = tools(&doc).unwrap();
        let [Tool::Function(function), Tool::Other(own)] = tools.as_slice() else { panic!("{tools:?}") };
        assert_eq!((&*function.name, function.parameters.unwrap().get()), ("f", r#"{"n": 1.0}"#));
        assert_eq!(own.get(), r#"{"type": "web_search"}"#);
    }

    #[test]
    fn tools_without_a_name_are_refused() {
        for tools in [r#"["f"]"#, r#"[{"function": {}}]"#] {
            let error = super::tools(&doc(&format!(r#"{{"tools": {tools}}}"#))).unwrap_err();
            assert!(error.message().contains("each of 'tools'"), "{tools}");
        }
    }

    #[test]
    fn choices_are_words_or_a_name() {
        let choice = |json: &str| match tool_choice(&doc(&format!(r#"{{"tool_choice": {json}}}"#))) {
            Some(ToolChoice::Named(name)) => Some(ToolChoice::Named(Cow::Owned(name.into_owned()))),
            Some(ToolChoice::Auto) => Some(ToolChoice::Auto),
            Some(ToolChoice::Required) => Some(ToolChoice::Required),
            Some(ToolChoice::None) => Some(ToolChoice::None),
            None => None,
        };
        assert_eq!(choice(r#""auto""#), Some(ToolChoice::Auto));
        assert_eq!(choice(r#""required""#), Some(ToolChoice::Required));
        assert_eq!(choice(r#""none""#), Some(ToolChoice::None));
        let named = r#"{"type": "function", "function": {"name": "f"}}"#;
        assert_eq!(choice(named), Some(ToolChoice::Named("f".into())));
        for odd in ["null", "7", r#""often""#, "{}"] {
            assert_eq!(choice(odd), None, "{odd}");
        }
    }

    #[test]
    fn stops_are_one_or_many() {
        let stops = |json: &str| -> Vec<String> {
            stop(&doc(json)).unwrap().iter().map(|raw| raw.get().to_owned()).collect()
        };
        assert_eq!(stops(r#"{"stop": "\n"}"#), [r#""\n""#]);
        assert_eq!(stops(r#"{"stop": ["a", "b"]}"#), [r#""a""#, r#""b""#]);
        assert!(stops(r#"{"stop": null}"#).is_empty());
        assert!(stop(&doc(r#"{"stop": 3}"#)).is_err());
    }

    #[test]
    fn forms_are_json_or_a_schema() {
        let read = |json: &str| {
            form(&doc(json)).unwrap().map(|form| match form {
                Form::Json => String::new(),
                Form::Schema(schema) => schema.get().to_owned(),
            })
        };
        assert_eq!(read(r#"{"response_format": {"type": "text"}}"#), None);
        assert_eq!(read(r#"{"response_format": {"type": "json_object"}}"#), Some(String::new()));
        let schema = r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1.0}}}}"#;
        assert_eq!(read(schema), Some(r#"{"a": 1.0}"#.to_owned()));
    }

    #[test]
    fn one_prompt_is_taken() {
        assert_eq!(prompt(&doc(r#"{"prompt": "a"}"#)).unwrap().get(), r#""a""#);
        assert_eq!(prompt(&doc(r#"{"prompt": ["a"]}"#)).unwrap().get(), r#""a""#);
        for json in [r#"{"prompt": ["a", "b"]}"#, r#"{"prompt": [1]}"#, "{}"] {
            assert!(prompt(&doc(json)).is_err(), "{json}");
        }
    }
}
