//! What of a request is compared with the targets' descriptions: its latest question.

use crate::wire::chat::{self, Content, Message, Part};
use crate::wire::doc::Doc;

/// The most of a prompt that is embedded, in characters. Models take about 8,000 tokens, and what a
/// prompt is about shows long before that.
const EMBEDDED: usize = 8_000;

/// The text of the last message of the user's, or of the prompt; `None` if there is none.
pub fn text(doc: &Doc) -> Option<String> {
    let whole = match chat::messages(doc).ok()?.iter().rev().find(|message| &*message.role == "user") {
        Some(message) => said(message),
        None => prompt(doc),
    }?;
    let text: String = whole.trim().chars().take(EMBEDDED).collect();
    (!text.is_empty()).then_some(text)
}

fn said(message: &Message<'_>) -> Option<String> {
    match message.content().ok()? {
        Content::None => None,
        Content::Text(text) => Some(text.into_owned()),
        Content::Parts(parts) => Some(parts.iter().filter_map(Part::text).collect::<Vec<_>>().join("\n")),
    }
}

fn prompt(doc: &Doc) -> Option<String> {
    match doc.text("prompt") {
        Some(prompt) => Some(prompt.into_owned()),
        None => doc.field::<Vec<String>>("prompt").ok()?.map(|prompts| prompts.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_latest_question_counts() {
        let long = format!(r#"{{"prompt": "{}"}}"#, "é".repeat(EMBEDDED + 1));
        let cut = "é".repeat(EMBEDDED);
        for (body, expected) in [
            (
                r#"{"messages": [{"role": "user", "content": "old"}, {"role": "assistant", "content": "x"},
                    {"role": "user", "content": "new "}, {"role": "tool", "content": "y"}]}"#,
                Some("new"),
            ),
            (
                r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "b"}]}]}"#,
                Some("a\nb"),
            ),
            (r#"{"prompt": "p"}"#, Some("p")),
            (r#"{"prompt": ["p", "q"]}"#, Some("p\nq")),
            (long.as_str(), Some(cut.as_str())),
            (r#"{"messages": [{"role": "system", "content": "x"}]}"#, None),
            (r#"{"messages": [{"role": "user", "content": " "}]}"#, None),
            (r#"{"messages": "x"}"#, None),
            ("{}", None),
        ] {
            let doc = Doc::parse(Bytes::from(body.to_owned())).unwrap();
            assert_eq!(text(&doc).as_deref(), expected, "{body}");
        }
    }
}
