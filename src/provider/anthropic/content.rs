//! Content blocks: what OpenAI's content parts become.

use super::super::passage::Passage;
use crate::error::{Error, Result};
use crate::wire::chat::{Content, DataUrl, File, Message, Part};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The content of a turn or of a tool's result.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Said<'a> {
    /// A plain string, as the client wrote it.
    Text(&'a RawValue),
    Blocks(Vec<Block<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: Passage<'a>,
    },
    Image {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<Cow<'a, str>>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Box<RawValue>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Said::is_empty")]
        content: Said<'a>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 { media_type: Cow<'a, str>, data: Cow<'a, str> },
    Url { url: Cow<'a, str> },
    File { file_id: Cow<'a, str> },
}

impl<'a> Said<'a> {
    /// The content of a message.
    pub(super) fn read(message: &Message<'a>) -> Result<Self> {
        if let Some(raw) = message.content.filter(|raw| raw.get().starts_with('"')) {
            return Ok(Self::Text(raw));
        }
        Ok(Self::Blocks(match message.content()? {
            Content::None => Vec::new(),
            Content::Text(text) => vec![Block::Text { text: Passage::Read(text) }],
            Content::Parts(parts) => {
                parts.into_iter().filter_map(|part| block(part).transpose()).collect::<Result<_>>()?
            }
        }))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Blocks(blocks) if blocks.is_empty())
    }

    /// As blocks. An empty string becomes none: the API refuses blocks without text.
    pub(super) fn into_blocks(self) -> Vec<Block<'a>> {
        match self {
            Self::Text(raw) if raw.get() == "\"\"" => Vec::new(),
            Self::Text(raw) => vec![Block::Text { text: Passage::Raw(raw) }],
            Self::Blocks(blocks) => blocks,
        }
    }
}

fn block(part: Part<'_>) -> Result<Option<Block<'_>>> {
    match &*part.kind {
        "image_url" => {
            let missing = "message part type is 'image_url' but is missing .image_url.url block";
            let url = part.image().ok_or_else(|| Error::bad_request(missing))?;
            Ok(Some(Block::Image { source: image(url)? }))
        }
        "file" => file(part.file.0.unwrap_or_default()).map(Some),
        _ => {
            let text = part.into_text(foreign)?;
            Ok((!text.is_empty()).then_some(Block::Text { text: Passage::Read(text) }))
        }
    }
}

fn image(url: Cow<'_, str>) -> Result<Source<'_>> {
    match DataUrl::read(&url) {
        Some(DataUrl { media_type, data }) => Ok(Source::Base64 { media_type, data }),
        None if url.starts_with("data:") => {
            Err(Error::bad_request("the data URL of an image must hold base64 ('data:image/png;base64,...')"))
        }
        None => Ok(Source::Url { url }),
    }
}

/// A file is a document; one that is an image is an image. Files that were uploaded before are
/// known by the ids that Anthropic gave them.
fn file(file: File<'_>) -> Result<Block<'_>> {
    let title = file.filename.map(|name| name.0);
    if let Some(file_id) = file.file_id {
        return Ok(Block::Document { source: Source::File { file_id: file_id.0 }, title });
    }
    let missing = || Error::bad_request("message part type is 'file' but is missing .file.file_data block");
    let url = file.file_data.ok_or_else(missing)?.0;
    let unread = "the file_data of a file must be a data URL with base64 ('data:application/pdf;base64,...')";
    let DataUrl { media_type, data } = DataUrl::read(&url).ok_or_else(|| Error::bad_request(unread))?;
    if media_type.starts_with("image/") {
        return Ok(Block::Image { source: Source::Base64 { media_type, data } });
    }
    Ok(Block::Document { source: Source::Base64 { media_type, data }, title })
}

pub(super) fn foreign(kind: &str) -> Error {
    Error::bad_request(format!("cannot transform part of type '{kind}' to anthropic format"))
}
