//! A JSON object that is edited in place: one validating scan, byte ranges per top-level key, no tree.
//!
//! A gateway changes two or three fields of a body that it otherwise passes on. A tree would rewrite
//! the rest (`1.0`, 9007199254740993, escapes, order); this keeps the sender's bytes. The invariant:
//! an unedited document is the very buffer that came in, and after an edit every field that was not
//! touched is written as it was received.

use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

mod refusal;

pub use refusal::BROKEN;

/// Up to here comparing every pair of keys is cheaper than sorting them.
const FEW_KEYS: usize = 24;

/// The most of a key that an error message repeats, in characters.
const SHOWN_KEY: usize = 64;

/// Where [`Doc::splice`] puts its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the first element.
    Front,
    /// After the last element.
    Back,
}

/// A JSON object, as it came plus edits.
#[derive(Clone)]
pub struct Doc {
    raw: Bytes,
    /// The text of keys and values that were set, one after the other.
    added: Vec<u8>,
    /// Shared by copies until one of them is edited.
    fields: Arc<Vec<Field>>,
    edited: bool,
}

#[derive(Clone)]
struct Field {
    /// The key as a JSON string, quotes included.
    literal: Place,
    /// The key itself where `literal` escapes parts of it.
    unescaped: Option<Box<str>>,
    value: Place,
}

/// Where a piece of text stands.
#[derive(Clone)]
enum Place {
    Raw(Range<usize>),
    Added(Range<usize>),
    /// An array that was spliced: large, so that copies of the document share it.
    Own(Bytes),
}

impl Doc {
    /// Reads one JSON object. Whitespace around it and a byte order mark before it are let pass.
    pub fn parse(raw: Bytes) -> Result<Self> {
        let text = std::str::from_utf8(&raw).map_err(|_| Error::bad_request(refusal::NOT_UTF8))?;
        let json = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = serde_json::Deserializer::from_str(json);
        let scan = Scan { base: text.as_ptr().addr() };
        let scanned = reader.deserialize_map(scan).and_then(|fields| reader.end().map(|()| fields));
        let fields = scanned.map_err(|_| Error::bad_request(refusal::of(json)))?;
        let doc = Self { raw, added: Vec::new(), fields: Arc::new(fields), edited: false };
        match doc.duplicate() {
            Some(key) => Err(Error::bad_request(format!("request body holds the key '{key}' twice"))),
            None => Ok(doc),
        }
    }

    /// `{}`.
    pub fn empty() -> Self {
        Self { raw: Bytes::from_static(b"{}"), added: Vec::new(), fields: Arc::default(), edited: false }
    }

    /// A body that is forwarded as it is, whatever it holds: no field of it is seen.
    pub fn opaque(raw: Bytes) -> Self {
        Self { raw, ..Self::empty() }
    }

    /// Whether it was made by [`Doc::opaque`] of something that is no object.
    pub fn is_opaque(&self) -> bool {
        self.fields.is_empty() && !self.edited && self.raw.trim_ascii_start().first() != Some(&b'{')
    }

    /// Whether the key is there, even if its value is null.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The JSON text of a value.
    pub fn raw(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.value(key)?).ok()
    }

    /// The same as bytes, for a look that need not go over a long value.
    pub fn json(&self, key: &str) -> Option<&[u8]> {
        self.value(key)
    }

    /// Whether the key is there and its value is null.
    pub fn is_null(&self, key: &str) -> bool {
        self.value(key) == Some(b"null")
    }

    /// Reads a value as `T`; `None` if it is absent or null.
    pub fn field<'a, T: Deserialize<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        match self.value(key) {
            None | Some(b"null") => Ok(None),
            Some(text) => {
                serde_json::from_slice(text).map(Some).map_err(|error| refusal::mismatch(key, text, &error))
            }
        }
    }

    /// A value that is a string.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let literal = self.raw(key)?;
        let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str(literal).ok().map(Cow::Owned)
    }

    /// The keys in the order of the text.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| std::str::from_utf8(self.name(field)).unwrap_or_default())
    }

    /// Sets a key: in its place if it is there, else at the end.
    pub fn set(&mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        let start = self.added.len();
        self.added.reserve(64);
        match serde_json::to_writer(&mut self.added, value) {
            Ok(()) => {
                self.put(key, start);
                Ok(())
            }
            Err(error) => {
                self.added.truncate(start);
                Err(Error::new(Kind::Internal, format!("field '{key}' cannot be written as JSON: {error}")))
            }
        }
    }

    /// Sets a key to JSON text.
    pub fn set_raw(&mut self, key: &str, value: &RawValue) {
        let start = self.added.len();
        self.added.extend_from_slice(value.get().as_bytes());
        self.put(key, start);
    }

    /// Takes a key out; says whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(index) = self.find(key) else { return false };
        Arc::make_mut(&mut self.fields).remove(index);
        self.edited = true;
        true
    }

    /// Adds items at one end of an array without looking at its elements.
    pub fn splice(&mut self, key: &str, at: Side, items: &[Box<RawValue>]) -> Result<()> {
        match at {
            Side::Front => self.surround(key, items, &[]),
            Side::Back => self.surround(key, &[], items),
        }
    }

    /// Adds items at both ends of an array without looking at its elements.
    pub fn surround(&mut self, key: &str, front: &[Box<RawValue>], back: &[Box<RawValue>]) -> Result<()> {
        let found = self.find(key);
        let inner = found.and_then(|index| elements(self.at(&self.fields.get(index)?.value)));
        let (Some(index), Some(inner)) = (found, inner) else {
            return Err(Error::bad_request(format!("field '{key}' must be an array")));
        };
        if front.is_empty() && back.is_empty() {
            return Ok(());
        }
        let array = Bytes::from(joined(front, inner, back));
        if let Some(field) = Arc::make_mut(&mut self.fields).get_mut(index) {
            field.value = Place::Own(array);
            self.edited = true;
        }
        Ok(())
    }

    /// Whether the text is no longer the one that came in.
    pub fn is_edited(&self) -> bool {
        self.edited
    }

    /// The document's text: the original buffer if nothing was edited.
    pub fn bytes(&self) -> Bytes {
        if !self.edited {
            return self.raw.clone();
        }
        let size: usize = self.fields.iter().map(|field| self.written(field).size() + 1).sum();
        let mut out = Vec::with_capacity(size.max(1) + 1);
        out.push(b'{');
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match self.written(field) {
                Written::Whole(text) => out.extend_from_slice(text),
                Written::Parts(literal, value) => {
                    out.extend_from_slice(literal);
                    out.push(b':');
                    out.extend_from_slice(value);
                }
            }
        }
        out.push(b'}');
        Bytes::from(out)
    }

    /// Points `key` to the text that was just added from `start` on.
    fn put(&mut self, key: &str, start: usize) {
        let found = self.find(key);
        if found.is_some() && self.value(key) == self.added.get(start..) {
            self.added.truncate(start);
            return;
        }
        let value = Place::Added(start..self.added.len());
        self.edited = true;
        let fields = Arc::make_mut(&mut self.fields);
        if let Some(field) = found.and_then(|index| fields.get_mut(index)) {
            field.value = value;
            return;
        }
        let start = self.added.len();
        let escaped = write_key(&mut self.added, key);
        let literal = Place::Added(start..self.added.len());
        fields.push(Field { literal, unescaped: escaped.then(|| key.into()), value });
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.fields.iter().position(|field| self.name(field) == key.as_bytes())
    }

    fn value(&self, key: &str) -> Option<&[u8]> {
        let field = self.fields.get(self.find(key)?)?;
        Some(self.at(&field.value))
    }

    fn name<'a>(&'a self, field: &'a Field) -> &'a [u8] {
        match (&field.unescaped, self.at(&field.literal)) {
            (Some(name), _) => name.as_bytes(),
            (None, [b'"', name @ .., b'"']) => name,
            (None, other) => other,
        }
    }

    fn at<'a>(&'a self, place: &'a Place) -> &'a [u8] {
        match place {
            Place::Raw(range) => self.raw.get(range.clone()).unwrap_or_default(),
            Place::Added(range) => self.added.get(range.clone()).unwrap_or_default(),
            Place::Own(bytes) => bytes,
        }
    }

    fn written<'a>(&'a self, field: &'a Field) -> Written<'a> {
        if let (Place::Raw(literal), Place::Raw(value)) = (&field.literal, &field.value) {
            return Written::Whole(self.raw.get(literal.start..value.end).unwrap_or_default());
        }
        Written::Parts(self.at(&field.literal), self.at(&field.value))
    }

    /// A key that stands twice: readers disagree on which of the two counts, so none may slip through.
    fn duplicate(&self) -> Option<String> {
        let mut names: Vec<&[u8]> = Vec::new();
        let twice = if self.fields.len() <= FEW_KEYS {
            let seen = |(index, field)| {
                let before = self.fields.get(..index).unwrap_or_default();
                before.iter().any(|other| self.name(other) == self.name(field)).then(|| self.name(field))
            };
            self.fields.iter().enumerate().find_map(seen)
        } else {
            names.extend(self.fields.iter().map(|field| self.name(field)));
            names.sort_unstable();
            names.windows(2).find_map(|pair| match pair {
                [a, b] if a == b => Some(*a),
                _ => None,
            })
        };
        twice.map(|name| String::from_utf8_lossy(name).chars().take(SHOWN_KEY).collect())
    }
}

impl fmt::Debug for Doc {
    /// Sizes only: what clients write does not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doc")
            .field("bytes", &self.raw.len())
            .field("fields", &self.fields.len())
            .field("edited", &self.edited)
            .finish_non_exhaustive()
    }
}

/// How a field is written out.
enum Written<'a> {
    /// Untouched: from the key's quote to the value's end, spaces around the colon included.
    Whole(&'a [u8]),
    Parts(&'a [u8], &'a [u8]),
}

impl Written<'_> {
    fn size(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::Parts(literal, value) => literal.len() + 1 + value.len(),
        }
    }
}

/// Notes where keys and values stand in the text that begins at address `base`.
struct Scan {
    base: usize,
}

impl Scan {
    fn range(&self, piece: &RawValue) -> Range<usize> {
        let start = piece.get().as_ptr().addr() - self.base;
        start..start + piece.get().len()
    }
}

impl<'de> Visitor<'de> for Scan {
    type Value = Vec<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Field>, A::Error> {
        let mut fields = Vec::with_capacity(8);
        // Raw text for the keys too: only it tells where an escaped key begins. `RawValue` is skipped
        // over without recursion, so depth costs no stack.
        while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let escaped = memchr::memchr(b'\\', key.get().as_bytes()).is_some();
            let unescaped =
                escaped.then(|| serde_json::from_str(key.get())).transpose().map_err(A::Error::custom)?;
            let (literal, value) = (Place::Raw(self.range(key)), Place::Raw(self.range(value)));
            fields.push(Field { literal, unescaped, value });
        }
        Ok(fields)
    }
}

/// What stands between the brackets of an array; empty if it has no elements.
fn elements(array: &[u8]) -> Option<&[u8]> {
    match array {
        [b'[', inner @ .., b']'] => Some(inner.trim_ascii()),
        _ => None,
    }
}

fn joined(front: &[Box<RawValue>], inner: &[u8], back: &[Box<RawValue>]) -> Vec<u8> {
    let size: usize = front.iter().chain(back).map(|item| item.get().len() + 1).sum();
    let mut out = Vec::with_capacity(size + inner.len() + 2 - usize::from(inner.is_empty()));
    let before = front.iter().map(|item| item.get().as_bytes());
    let behind = back.iter().map(|item| item.get().as_bytes());
    let inner = (!inner.is_empty()).then_some(inner);
    for piece in before.chain(inner).chain(behind) {
        out.push(if out.is_empty() { b'[' } else { b',' });
        out.extend_from_slice(piece);
    }
    out.push(b']');
    out
}

/// Writes a key as a JSON string; says whether it needed escapes.
fn write_key(out: &mut Vec<u8>, key: &str) -> bool {
    let start = out.len();
    // Writing a string into memory has no way to fail.
    let _ = serde_json::to_writer(&mut *out, key);
    out.len() - start != key.len() + 2
}

#[cfg(test)]
mod tests;
