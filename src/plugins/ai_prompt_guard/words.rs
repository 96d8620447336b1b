//! Messages as far as a guard looks at them, read in one pass: every prompt is.

use crate::wire::chat::Part;
use crate::wire::chat::lenient::Text;
use crate::wire::scan;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The messages of a request; `None` if they are none.
pub fn said(messages: &str) -> Option<Vec<Said<'_>>> {
    glance(messages).or_else(|| serde_json::from_str(messages).ok())
}

/// Messages as nearly all are: objects with plain texts, which are cut out without being parsed. `None`
/// for any other, also for one that spells a key with escapes or twice.
fn glance(messages: &str) -> Option<Vec<Said<'_>>> {
    let mut all = Vec::new();
    scan::objects(messages.as_bytes(), |object| {
        let (mut role, mut content, mut odd) = (None, None, false);
        scan::members(object, |key, value| {
            odd |= match key {
                b"role" => role.replace(plain(value)).is_some(),
                b"content" => content.replace(plain(value)).is_some(),
                other => other.contains(&b'\\'),
            };
        })?;
        if odd {
            return None;
        }
        let role = Text(Cow::Borrowed(role.unwrap_or(Some(""))?));
        let content = content.map_or(Some(Words::Nothing), |text| Some(Words::Text(Cow::Borrowed(text?))))?;
        all.push(Said { role, content });
        Some(())
    })?;
    Some(all)
}

/// The inside of a JSON string without escapes.
fn plain(value: &[u8]) -> Option<&str> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    memchr::memchr(b'\\', inner).is_none().then(|| std::str::from_utf8(inner).ok())?
}

/// A message.
#[derive(serde::Deserialize)]
pub struct Said<'a> {
    #[serde(borrow, default)]
    pub role: Text<'a>,
    #[serde(borrow, default)]
    pub content: Words<'a>,
}

/// What a message says.
#[derive(Default)]
pub enum Words<'a> {
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
    /// Neither text nor parts.
    Odd,
}

impl Words<'_> {
    /// Adds it to a text; `None` if it is odd.
    pub fn push_to(&self, text: &mut String) -> Option<()> {
        match self {
            Self::Nothing => {}
            Self::Text(content) => text.push_str(content),
            Self::Parts(parts) => {
                for part in parts.iter().filter_map(Part::text) {
                    text.push_str(part);
                    text.push(' ');
                }
            }
            Self::Odd => return None,
        }
        Some(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Words<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Words<'de>, E> {
        Ok(Words::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Words<'de>, E> {
        Ok(Words::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Words<'de>, E> {
        Ok(Words::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words<'de>, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            parts.push(part);
        }
        Ok(Words::Parts(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Words<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Words::Odd)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Words<'de>, E> {
        Ok(Words::Odd)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Words<'de>, E> {
        Ok(Words::Odd)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Words<'de>, E> {
        Ok(Words::Odd)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Words<'de>, E> {
        Ok(Words::Odd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of all messages of a role.
    fn texts(messages: &str, role: &str) -> Option<String> {
        let mut text = String::new();
        for message in said(messages)?.iter().filter(|message| &*message.role == role) {
            message.content.push_to(&mut text)?;
        }
        Some(text)
    }

    #[test]
    fn what_is_cut_out_is_what_is_parsed() {
        for (messages, glanced) in [
            (r#"[{"role":"user","content":"a"}, {"content" : "b","role":"user","x":{"role":"z"}}]"#, true),
            (r#"[{"role":"user","content":"é"},{"role":"system","content":"no"}]"#, true),
            (r#"[{"role":"user"},{"role":"user","content":"a"}]"#, true),
            (r#"[{"role":"user","content":null},{"role":"user","content":"a\"b"}]"#, false),
            (r#"[{"role":"us\u0065r","cont\u0065nt":"a"}]"#, false),
            (r#"[{"role":"user","content":[{"type":"text","text":"a"}]}]"#, false),
            (r#"[{"role":"user","content":7}]"#, false),
            (r#"[{"role":"user","content":"a"},7]"#, false),
        ] {
            assert_eq!(glance(messages).is_some(), glanced, "{messages}");
            let parsed: Option<Vec<Said<'_>>> = serde_json::from_str(messages).ok();
            assert_eq!(said(messages).map(|all| all.len()), parsed.map(|all| all.len()), "{messages}");
        }
        assert_eq!(
            texts(r#"[{"role":"us\u0065r","cont\u0065nt":"hidden"}]"#, "user").as_deref(),
            Some("hidden")
        );
        let twice = r#"[{"role":"user","content":"a","content":"b"}]"#;
        assert!(glance(twice).is_none() && said(twice).is_none(), "nobody knows which of them counts");
    }
}
