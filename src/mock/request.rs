//! What the dialects' requests have in common, read without copying.

use super::answer::Format;
use super::prompt::Prompt;
use super::refusal::Refusal;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A string, borrowed where it has no escapes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A message of a chat in OpenAI's shape, which Ollama and Cohere have taken over.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    /// Ollama has them beside the text.
    #[serde(borrow)]
    images: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    image_url: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow)]
    url: Text<'a>,
}

impl<'a> Message<'a> {
    /// Counts the message.
    fn hear(self, prompt: &mut Prompt<'a>) -> Result<(), Refusal> {
        let text = match self.content {
            Some(content) => text(content, prompt)?,
            None => Cow::Borrowed(""),
        };
        prompt.count(&text);
        prompt.count(&self.role.0);
        self.name.iter().for_each(|name| prompt.count(&name.0));
        self.images.iter().flatten().for_each(|_| prompt.show());
        prompt.count_json(self.tool_calls);
        match &*self.role.0 {
            "user" => prompt.ask(text),
            "system" | "developer" | "assistant" | "tool" | "function" => {}
            _ => {
                return Err(Refusal::field(
                    "messages",
                    "a message's role must be system, developer, user, assistant or tool",
                ));
            }
        }
        Ok(())
    }
}

/// The text of a string, or of an array of parts, whose images are counted.
fn text<'a>(content: &'a RawValue, prompt: &mut Prompt<'a>) -> Result<Cow<'a, str>, Refusal> {
    let json = content.get();
    let parts: Option<Vec<Part<'a>>> = match json.as_bytes().first() {
        Some(b'"') => return parse_field("messages", content).map(|text: Text<'_>| text.0),
        Some(b'n') => return Ok(Cow::Borrowed("")),
        _ => serde_json::from_str(json).ok(),
    };
    let parts = parts.ok_or_else(|| {
        Refusal::field("messages", "the content of a message must be a string, an array of parts, or null")
    })?;
    let mut whole = Cow::Borrowed("");
    for part in parts {
        match &*part.kind.0 {
            "text" => whole += required("messages", part.text, "a text part needs a text")?.0,
            "image_url" => {
                image(required("messages", part.image_url, "an image part needs 'image_url'")?, prompt)?;
            }
            "refusal" | "file" | "input_audio" | "document" | "thinking" => {}
            other => {
                return Err(Refusal::field("messages", format!("there are no parts of type '{other}'")));
            }
        }
    }
    Ok(whole)
}

/// An image by its URL; a few servers take the bare URL too.
fn image(image: &RawValue, prompt: &mut Prompt<'_>) -> Result<(), Refusal> {
    let json = image.get();
    let url = serde_json::from_str::<Image<'_>>(json).map(|image| image.url);
    let url = url.or_else(|_| serde_json::from_str::<Text<'_>>(json));
    let known =
        |url: &Text<'_>| ["data:", "https://", "http://"].iter().any(|scheme| url.0.starts_with(scheme));
    if !url.is_ok_and(|url| known(&url)) {
        return Err(Refusal::field(
            "messages",
            "an image needs a URL that begins with data:, https: or http:",
        ));
    }
    prompt.show();
    Ok(())
}

/// Reads the messages of a chat, which must be there.
pub fn chat(messages: Option<Vec<Message<'_>>>) -> Result<Prompt<'_>, Refusal> {
    let messages = messages.filter(|messages| !messages.is_empty());
    let messages = required("messages", messages, "'messages' must be an array of at least one message")?;
    let mut prompt = Prompt::chat(messages.len());
    for message in messages {
        message.hear(&mut prompt)?;
    }
    Ok(prompt)
}

/// What must be there.
pub fn required<T>(field: &'static str, value: Option<T>, message: &'static str) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::field(field, message))
}

/// What must be there and not be empty.
pub fn named<'a>(
    field: &'static str,
    value: Option<&'a Text<'_>>,
    other: Option<&'a str>,
) -> Result<&'a str, Refusal> {
    let value = value.map(|value| &*value.0).filter(|value| !value.is_empty());
    value.or(other).ok_or_else(|| Refusal::field(field, format!("'{field}' is missing")))
}

/// Reads a body, which must be a JSON object of the right types.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::status(StatusCode::BAD_REQUEST, format!("the request body cannot be read: {error}"))
    })
}

/// Reads a part of a body.
pub fn parse_field<'a, T: Deserialize<'a>>(field: &'static str, json: &'a RawValue) -> Result<T, Refusal> {
    serde_json::from_str(json.get())
        .map_err(|error| Refusal::field(field, format!("'{field}' cannot be read: {error}")))
}

/// The strings of one string or of an array of them.
pub fn strings<'a>(field: &'static str, value: Option<&'a RawValue>) -> Result<Vec<Cow<'a, str>>, Refusal> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let json = value.get();
    let strings: Option<Vec<Text<'a>>> = match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok().map(|text| vec![text]),
        Some(b'n') => Some(Vec::new()),
        _ => serde_json::from_str(json).ok(),
    };
    let strings = strings
        .ok_or_else(|| Refusal::field(field, format!("'{field}' must be a string or an array of strings")))?;
    Ok(strings.into_iter().map(|text| text.0).collect())
}

#[derive(Deserialize)]
struct Wanted<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    /// OpenAI's, which has a name; Cohere's, which is the schema.
    #[serde(borrow)]
    json_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct NamedSchema<'a> {
    #[serde(borrow, rename = "name")]
    _name: Text<'a>,
    #[serde(borrow)]
    schema: &'a RawValue,
}

/// What `response_format` asks for: as OpenAI has it, and with the schema in the places where Cohere and
/// Hugging Face have it.
pub fn format(wanted: Option<&RawValue>) -> Result<Option<Format<'_>>, Refusal> {
    let field = "response_format";
    let Some(wanted) = wanted.filter(|wanted| wanted.get() != "null") else { return Ok(None) };
    let wanted: Wanted<'_> = parse_field(field, wanted)?;
    let loose = wanted.schema.or(wanted.value);
    match &*wanted.kind.0 {
        "text" => Ok(None),
        "json_object" | "json" => Ok(Some(wanted.json_schema.or(loose).map_or(Format::Json, Format::Schema))),
        "json_schema" => {
            let schema = required(field, wanted.json_schema, "'response_format' has no 'json_schema'")?;
            Ok(Some(Format::Schema(parse_field::<NamedSchema<'_>>(field, schema)?.schema)))
        }
        other => Err(Refusal::field(field, format!("there is no format '{other}'"))),
    }
}
