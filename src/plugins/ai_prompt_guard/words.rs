//! Messages as far as a guard looks at them, read in one pass: every prompt is.

use crate::wire::chat::Part;
use crate::wire::chat::lenient::Text;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

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
