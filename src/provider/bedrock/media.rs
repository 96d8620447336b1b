//! Images and documents.

use crate::error::{Error, Result};
use crate::wire::chat::Part;
use crate::wire::chat::lenient::{Lenient, Text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Serialize)]
pub(super) struct Image<'a> {
    format: &'static str,
    source: Source<'a>,
}

#[derive(Serialize)]
pub(super) struct Document<'a> {
    format: &'static str,
    name: String,
    source: Source<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Source<'a> {
    /// Base64. Converse also reads from S3, with whose rights is for no client to choose.
    Bytes(Cow<'a, str>),
}

/// Format, which is the extension too, and media type.
type Format = (&'static str, &'static str);

const IMAGES: [Format; 5] = [
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("jpeg", "image/jpg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
];

const DOCUMENTS: [Format; 9] = [
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("html", "text/html"),
    ("md", "text/markdown"),
    ("txt", "text/plain"),
];

pub(super) fn image<'a>(part: &Part<'a>) -> Result<Image<'a>> {
    let Some(url) = part.image() else {
        return Err(Error::bad_request(
            "message part type is 'image_url' but is missing .image_url.url block",
        ));
    };
    let (kind, data) = embedded(url).ok_or_else(|| {
        Error::bad_request("Bedrock takes images only as data URLs with base64 ('data:image/png;base64,...')")
    })?;
    let format = by_type(&IMAGES, &kind)
        .ok_or_else(|| Error::bad_request("Bedrock takes images only as png, jpeg, gif or webp"))?;
    Ok(Image { format, source: Source::Bytes(data) })
}

/// The documents of a conversation, which must have different names.
#[derive(Default)]
pub(super) struct Media {
    names: Vec<String>,
}

impl Media {
    /// The document of the part that stands at this place of the content.
    pub(super) fn document<'a>(&mut self, content: &'a RawValue, at: usize) -> Result<Document<'a>> {
        #[derive(Deserialize)]
        struct Filed<'a> {
            #[serde(borrow, default)]
            file: Lenient<File<'a>>,
        }
        #[derive(Deserialize)]
        struct File<'a> {
            #[serde(borrow)]
            filename: Option<Text<'a>>,
            #[serde(borrow)]
            file_data: Option<Text<'a>>,
        }
        let parts: Vec<Filed<'a>> = serde_json::from_str(content.get()).unwrap_or_default();
        let file = parts.into_iter().nth(at).and_then(|part| part.file.0);
        let wrong = || {
            Error::bad_request(
                "Bedrock takes files only with a 'file_data' that is a data URL with base64 \
                 ('data:application/pdf;base64,...')",
            )
        };
        let File { filename, file_data } = file.ok_or_else(wrong)?;
        let (kind, data) = file_data.and_then(|data| embedded(data.0)).ok_or_else(wrong)?;
        let filename = filename.map(|name| name.0).unwrap_or_default();
        let format = by_type(&DOCUMENTS, &kind).or_else(|| by_extension(&DOCUMENTS, &filename));
        let format = format.ok_or_else(|| {
            Error::bad_request("Bedrock takes files only as pdf, csv, doc, docx, xls, xlsx, html, md or txt")
        })?;
        Ok(Document { format, name: self.name(&filename), source: Source::Bytes(data) })
    }

    /// A name that Converse takes and that no document has yet.
    fn name(&mut self, filename: &str) -> String {
        let stem = filename.rsplit_once('.').map_or(filename, |(stem, _)| stem);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-()[]".contains(c);
        let words = stem.split(|c| !allowed(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>();
        let base = if words.is_empty() { "document".to_owned() } else { words.join(" ") };
        let mut name = base.clone();
        let mut count = 1;
        while self.names.contains(&name) {
            count += 1;
            name = format!("{base} {count}");
        }
        self.names.push(name.clone());
        name
    }
}

fn by_type(formats: &[Format], kind: &str) -> Option<&'static str> {
    formats.iter().find(|(_, known)| kind.eq_ignore_ascii_case(known)).map(|(format, _)| *format)
}

fn by_extension(formats: &[Format], name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    formats.iter().map(|(format, _)| *format).find(|format| extension.eq_ignore_ascii_case(format))
}

/// The media type and the base64 of a data URL.
fn embedded(url: Cow<'_, str>) -> Option<(String, Cow<'_, str>)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let kind = head.strip_suffix(";base64")?.split(';').next()?.to_owned();
    let start = url.len() - data.len();
    Some(match url {
        Cow::Borrowed(url) => (kind, Cow::Borrowed(url.get(start..)?)),
        Cow::Owned(mut url) => (kind, Cow::Owned(url.split_off(start))),
    })
}
