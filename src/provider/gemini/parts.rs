//! The content of OpenAI's messages as Gemini's parts.

use crate::error::{Error, Result};
use crate::wire::chat::lenient::{Lenient, Text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A part of a turn.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Part<'a> {
    InlineData(Inline<'a>),
    FileData(File<'a>),
    FunctionResponse(FunctionResponse<'a>),
    #[serde(untagged)]
    Text {
        text: Cow<'a, str>,
    },
    #[serde(untagged, rename_all = "camelCase")]
    Call {
        function_call: FunctionCall<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        thought_signature: Option<&'static str>,
    },
}

/// Base64 with what it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inline<'a> {
    mime_type: Cow<'a, str>,
    data: Cow<'a, str>,
}

/// Something that Gemini fetches itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<Cow<'a, str>>,
    file_uri: Cow<'a, str>,
}

/// A call that the model made.
#[derive(Serialize)]
pub(super) struct FunctionCall<'a> {
    /// The function's.
    pub name: Cow<'a, str>,
    /// Its arguments, an object.
    pub args: Box<RawValue>,
}

/// What a call brought.
#[derive(Serialize)]
pub(super) struct FunctionResponse<'a> {
    /// The function's.
    pub name: Cow<'a, str>,
    /// What it gave.
    pub response: Response<'a>,
}

/// An object goes as it is; other results go in one.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Response<'a> {
    Object(Box<RawValue>),
    Output { output: Cow<'a, str> },
}

/// A part as clients write it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Given<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Lenient<Text<'a>>,
    #[serde(borrow)]
    refusal: Lenient<Text<'a>>,
    #[serde(borrow)]
    image_url: Option<&'a RawValue>,
    #[serde(borrow)]
    input_audio: Lenient<Audio<'a>>,
    #[serde(borrow)]
    file: Lenient<Upload<'a>>,
    #[serde(borrow)]
    mime_type: Lenient<Text<'a>>,
}

#[derive(Deserialize)]
struct Audio<'a> {
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow)]
    format: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Upload<'a> {
    /// A data URL.
    #[serde(borrow)]
    file_data: Lenient<Text<'a>>,
    /// Of a file that Gemini has: its URI.
    #[serde(borrow)]
    file_id: Lenient<Text<'a>>,
    #[serde(borrow)]
    filename: Lenient<Text<'a>>,
}

/// `image_url`: an object, or the URL itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Image<'a> {
    #[serde(borrow)]
    url: Lenient<Text<'a>>,
    #[serde(borrow, alias = "format")]
    mime_type: Lenient<Text<'a>>,
}

/// The parts of a message's content. `position` is the message's, counted from one.
pub(super) fn of(content: &RawValue, position: usize) -> Result<Vec<Part<'_>>> {
    let raw = content.get();
    if raw == "null" {
        return Ok(Vec::new());
    }
    if let Ok(Text(text)) = serde_json::from_str(raw) {
        return Ok(vec![Part::Text { text }]);
    }
    let Ok(given) = serde_json::from_str::<Vec<Given<'_>>>(raw) else {
        return Err(Error::bad_request(format!(
            "message at position {position} does not match expected array format"
        )));
    };
    given.into_iter().map(part).collect()
}

/// The text of a content that may be text only.
pub(super) fn text_of(content: &RawValue, position: usize) -> Result<String> {
    let texts = of(content, position)?.into_iter().map(|part| match part {
        Part::Text { text } => Ok(text),
        _ => Err(Error::bad_request(format!("message at position {position} can hold text only"))),
    });
    Ok(texts.collect::<Result<Vec<_>>>()?.join("\n"))
}

fn part(given: Given<'_>) -> Result<Part<'_>> {
    let kind = &*given.kind;
    let missing = |block: &str| {
        Error::bad_request(format!("message part type is '{kind}' but is missing .{block} block"))
    };
    match kind {
        "text" | "input_text" | "output_text" => {
            let text = given.text.0.ok_or_else(|| missing("text"))?.0;
            Ok(Part::Text { text })
        }
        "refusal" => Ok(Part::Text { text: given.refusal.0.ok_or_else(|| missing("refusal"))?.0 }),
        "image_url" => {
            let Image { url, mime_type } = given.image_url.and_then(image).unwrap_or_default();
            let url = url.0.ok_or_else(|| missing("image_url.url"))?.0;
            if url.len() < 10 {
                return Err(Error::bad_request("image URL is less than 10 bytes, which is not parsable"));
            }
            linked(url, mime_type.0.or(given.mime_type.0), None)
        }
        "input_audio" => {
            let Audio { data, format } = given.input_audio.0.ok_or_else(|| missing("input_audio"))?;
            let mime_type = Cow::Owned(format!("audio/{}", &*format));
            Ok(Part::InlineData(Inline { mime_type, data: data.0 }))
        }
        "file" => {
            let file = given.file.0.ok_or_else(|| missing("file"))?;
            let url = file.file_data.0.or(file.file_id.0).ok_or_else(|| missing("file.file_data"))?.0;
            linked(url, given.mime_type.0, file.filename.0.as_deref())
        }
        _ => Err(Error::bad_request(format!("cannot transform part of type '{kind}' to Gemini format"))),
    }
}

fn image(raw: &RawValue) -> Option<Image<'_>> {
    let raw = raw.get();
    if raw.starts_with('{') {
        return serde_json::from_str(raw).ok();
    }
    Some(Image { url: serde_json::from_str(raw).ok()?, ..Image::default() })
}

/// What a URL leads to: the data that it holds, or a file.
fn linked<'a>(url: Cow<'a, str>, own: Option<Text<'a>>, name: Option<&str>) -> Result<Part<'a>> {
    let Some((head, data)) = url.strip_prefix("data:").map(|rest| rest.split_once(',').unwrap_or((rest, "")))
    else {
        // KONG(llm/drivers/gemini.lua): Kong calls every linked image `image/generic`.
        let known = by_extension(&url).or_else(|| by_extension(name?));
        let mime_type = known.map(Cow::Borrowed).or(own.map(|own| own.0));
        return Ok(Part::FileData(File { mime_type, file_uri: url }));
    };
    let kind = head.strip_suffix(";base64").map(|kind| kind.split(';').next().unwrap_or_default());
    let Some(kind) = kind.filter(|kind| !kind.is_empty()) else {
        return Err(Error::bad_request(
            "data URLs need a MIME type and base64 for Gemini ('data:image/png;base64,...')",
        ));
    };
    let (from, at) = ("data:".len(), url.len() - data.len());
    let range = from..from + kind.len();
    Ok(Part::InlineData(match url {
        Cow::Borrowed(url) => Inline {
            mime_type: Cow::Borrowed(url.get(range).unwrap_or_default()),
            data: Cow::Borrowed(url.get(at..).unwrap_or_default()),
        },
        Cow::Owned(mut url) => {
            let data = Cow::Owned(url.split_off(at));
            Inline { mime_type: Cow::Owned(url.get(range).unwrap_or_default().to_owned()), data }
        }
    }))
}

/// The MIME type that the name of a file tells.
fn by_extension(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        "svg" => "image/svg+xml",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "mp4" => "video/mp4",
        "mov" => "video/mov",
        "mpeg" | "mpg" => "video/mpeg",
        "webm" => "video/webm",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "m4a" | "aac" => "audio/aac",
        _ => return None,
    })
}
