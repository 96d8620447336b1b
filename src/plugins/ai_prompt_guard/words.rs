//! Messages as far as a guard looks at them, read in one pass: every prompt is.
//!
//! The usual form, nothing but a role and a text without escapes, is read by hand; any other by serde, whose word
//! counts on what is odd.

use crate::wire::chat::Part;
use crate::wire::chat::lenient::Text;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The messages of a request; `None` if they are none.
pub fn said(messages: &str) -> Option<Vec<Said<'_>>> {
    plain(messages).or_else(|| serde_json::from_str(messages).ok().map(|Talk(all)| all))
}

/// Messages in their usual form; `None` if they have another. The text is JSON already.
fn plain(messages: &str) -> Option<Vec<Said<'_>>> {
    let mut all = Vec::with_capacity(8);
    let mut rest = messages.strip_prefix('[')?;
    loop {
        let (message, behind) = plain_message(rest.trim_ascii_start().strip_prefix('{')?)?;
        all.push(message);
        let behind = behind.trim_ascii_start();
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (behind == "]").then_some(all),
        }
    }
}

/// A message that begins here, behind its brace, and what follows it.
fn plain_message(mut rest: &str) -> Option<(Said<'_>, &str)> {
    let (mut role, mut content) = (None, None);
    loop {
        let key = rest.trim_ascii_start();
        let (seen, behind) = match key.strip_prefix("\"role\"") {
            Some(behind) => (&mut role, behind),
            None => (&mut content, key.strip_prefix("\"content\"")?),
        };
        let (value, behind) = plain_text(behind.trim_ascii_start().strip_prefix(':')?)?;
        if seen.replace(value).is_some() {
            return None;
        }
        let behind = behind.trim_ascii_start();
        if let Some(next) = behind.strip_prefix(',') {
            rest = next;
            continue;
        }
        let said = Said {
            role: Text(Cow::Borrowed(role.unwrap_or_default())),
            content: content.map(Cow::Borrowed).map(Words::Text).unwrap_or_default(),
        };
        return Some((said, behind.strip_prefix('}')?));
    }
}

/// The string that comes next, if it holds no escape, and what follows it.
fn plain_text(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_start().strip_prefix('"')?;
    let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
    Some((text.get(..end)?, text.get(end..)?.strip_prefix('"')?))
}

/// Messages in a list that is made once, and not as it grows.
struct Talk<'a>(Vec<Said<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Talk<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Messages;
        impl<'de> Visitor<'de> for Messages {
            type Value = Talk<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Talk<'de>, A::Error> {
                let mut all = Vec::with_capacity(8);
                while let Some(message) = list.next_element()? {
                    all.push(message);
                }
                Ok(Talk(all))
            }
        }
        deserializer.deserialize_seq(Messages)
    }
}

/// A message.
#[derive(serde::Deserialize)]
pub struct Said<'a> {
    /// Who spoke.
    #[serde(borrow, default)]
    pub role: Text<'a>,
    /// What was said.
    #[serde(borrow, default)]
    pub content: Words<'a>,
}

/// What a message says.
#[derive(Default)]
pub enum Words<'a> {
    /// There are none.
    #[default]
    Nothing,
    /// As it was written.
    Text(Cow<'a, str>),
    /// Several, of which only texts count.
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
    fn the_usual_form_says_the_same_by_hand() {
        let read = |all: Vec<Said<'_>>| -> Vec<(String, String)> {
            let text = |said: &Said<'_>| {
                let mut text = String::new();
                said.content.push_to(&mut text).unwrap();
                (said.role.to_string(), text)
            };
            all.iter().map(text).collect()
        };
        for messages in [
            r#"[{"role":"user","content":"hidden"}]"#,
            "[ { \"content\" : \"é, {x}: [1]\" ,\n\"role\": \"user\" } , {\"role\":\"system\"},{\"content\":\"\"} ]",
        ] {
            let Talk(all) = serde_json::from_str(messages).unwrap();
            assert_eq!(plain(messages).map(read), Some(read(all)), "{messages}");
        }
        for other in [
            "[]",
            "[{}]",
            r#"[{"role":"user","content":"a\"b"}]"#,
            r#"[{"role":"user","content":null}]"#,
            r#"[{"role":"user","content":"a","name":"b"}]"#,
            r#"[{"role":"user","content":"a","content":"b"}]"#,
            r#"[{"role":"user","content":["a"]}]"#,
            r#"[{"role":"user","content":"a"},7]"#,
            r#"[{"role":"user","content":"a"}"#,
        ] {
            assert!(plain(other).is_none(), "{other}");
        }
    }

    #[test]
    fn keys_are_read_however_they_are_spelled() {
        for messages in [
            r#"[{"role":"user","content":"hidden"}]"#,
            r#"[{"role":"us\u0065r","cont\u0065nt":"hidden"}]"#,
            r#"[{"content" : "hidden","role":"user","x":{"role":"z"}},{"role":"user","content":null}]"#,
        ] {
            assert_eq!(texts(messages, "user").as_deref(), Some("hidden"), "{messages}");
        }
        for none in [
            r#"[{"role":"user","content":"a","content":"b"}]"#,
            r#"[{"role":"user","content":7}]"#,
            r#"[{"role":"user","content":"a"},7]"#,
        ] {
            assert_eq!(texts(none, "user"), None, "{none}");
        }
    }
}
