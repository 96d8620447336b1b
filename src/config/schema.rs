//! What an entity or a plugin's `config` may hold: one description that checks a value, fills its
//! defaults (`validate`), finds its secrets (`vault`) and will print the reference.
//!
//! A description is data: everything a reader of it may want to know (bounds, words, defaults) is
//! a value in it. Only what no bound can say is a function.

use super::problems::Problems;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Judges a text; the message of a refusal is Kong's.
pub type TextCheck = fn(&str) -> Result<(), String>;

/// A record's fields and the rules that span them.
#[derive(Default)]
pub struct Record {
    /// In the order in which they are checked and documented.
    pub fields: Vec<Field>,
    /// Checked after the fields.
    pub rules: Vec<Rule>,
}

/// One field of a record.
#[expect(clippy::struct_excessive_bools, reason = "each states a fact of its own")]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// It must be present; a record that can be made of defaults alone then is.
    pub required: bool,
    /// What it holds if absent.
    pub default: Option<Value>,
    /// May hold a `{vault://…}` reference.
    pub referenceable: bool,
    /// Kong does not know it.
    pub own: bool,
    /// Its value is for nobody's eyes: the Admin API masks it unless it is a reference.
    pub secret: bool,
    /// Its line in the configuration reference.
    pub doc: &'static str,
}

/// What a field holds.
pub enum Kind {
    /// One of a few words; or a text of so many characters that passes a check.
    #[expect(missing_docs, reason = "named for what they bound")]
    Text { min: usize, max: usize, one_of: Vec<&'static str>, check: Option<TextCheck> },
    /// One of a few; or within `min` and `max`, both included, and greater than `above`.
    #[expect(missing_docs, reason = "named for what they bound")]
    Integer { min: i64, max: i64, above: Option<i64>, one_of: Vec<i64> },
    /// Within `min` and `max`, both included, and greater than `above`.
    #[expect(missing_docs, reason = "named for what they bound")]
    Number { min: f64, max: f64, above: Option<f64> },
    /// True or false.
    Boolean,
    /// A nested record.
    Record(Arc<Record>),
    /// An array; a set when `unique`.
    #[expect(missing_docs, reason = "named for what they bound")]
    List { of: Box<Kind>, unique: bool, min: usize, max: usize },
    /// A reference to an entity of that collection.
    Foreign(&'static str),
    /// Names, which may have to pass a check, to values.
    #[expect(missing_docs, reason = "named for what they bound")]
    Map { of: Box<Kind>, key: Option<TextCheck> },
    /// Anything.
    Any,
    /// Another way to write other fields of the record: it is checked, spelled out and dropped.
    #[expect(missing_docs, reason = "named for what they do")]
    Shorthand { of: Box<Kind>, expand: Expand },
}

/// Spells a shorthand of that name and value out into the record.
pub type Expand = fn(&str, Value, &mut Map<String, Value>) -> Result<(), String>;

/// A rule over several fields of one record, reported as Kong reports its `@entity` errors.
/// Names are dotted paths below the record.
pub enum Rule {
    /// All of them are set, or none.
    AllOrNone(&'static [&'static str]),
    /// One of them at least is set and not empty.
    AtLeastOneNonEmpty(&'static [&'static str]),
    /// One of them and no other is set and not empty.
    ExactlyOneNonEmpty(&'static [&'static str]),
    /// If one field matches, another has to.
    Conditional(Conditional),
    /// Any other: it may also report below the record.
    Check(fn(&Value, &mut Problems<'_>)),
}

/// If `when` matches `is`, then `then` has to match `must`.
pub struct Conditional {
    /// The field that decides.
    pub when: &'static str,
    /// What it has to be for the rule to apply; a field that is not set never does.
    pub is: Match,
    /// The field that is bound.
    pub then: &'static str,
    /// What it has to be.
    pub must: Match,
    /// Instead of `failed conditional validation given value of field '…'`.
    pub message: Option<&'static str>,
}

/// A condition on one value.
#[derive(Clone, Copy)]
pub enum Match {
    /// Is that text.
    Text(&'static str),
    /// Is a text, but not one of these.
    NoneOf(&'static [&'static str]),
    /// Is that truth.
    Truth(bool),
    /// Is set.
    Set,
    /// Is not set.
    Unset,
}

impl Record {
    /// A record without rules.
    pub fn new(fields: Vec<Field>) -> Self {
        Self { fields, rules: Vec::new() }
    }

    /// With these rules.
    #[must_use]
    pub fn rules(mut self, rules: Vec<Rule>) -> Self {
        self.rules = rules;
        self
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field at a dotted path.
    pub fn find(&self, path: &str) -> Option<&Field> {
        let (head, rest) = match path.split_once('.') {
            Some((head, rest)) => (head, Some(rest)),
            None => (path, None),
        };
        let field = self.field(head)?;
        match (rest, &field.kind) {
            (None, _) => Some(field),
            (Some(rest), Kind::Record(record)) => record.find(rest),
            _ => None,
        }
    }
}

impl Kind {
    /// Any non-empty text.
    pub const fn text() -> Self {
        Self::Text { min: 1, max: usize::MAX, one_of: Vec::new(), check: None }
    }

    /// A text of so many characters.
    pub const fn sized(min: usize, max: usize) -> Self {
        Self::Text { min, max, one_of: Vec::new(), check: None }
    }

    /// A text that passes a check.
    pub const fn checked(check: TextCheck) -> Self {
        Self::Text { min: 1, max: usize::MAX, one_of: Vec::new(), check: Some(check) }
    }

    /// One of a closed set of words.
    pub fn one_of(words: &[&'static str]) -> Self {
        Self::Text { min: 0, max: usize::MAX, one_of: words.to_vec(), check: None }
    }

    /// Integers of any size.
    pub const fn integer() -> Self {
        Self::Integer { min: i64::MIN, max: i64::MAX, above: None, one_of: Vec::new() }
    }

    /// An array of these.
    #[must_use]
    pub fn list(self) -> Self {
        Self::List { of: Box::new(self), unique: false, min: 0, max: usize::MAX }
    }

    /// A set of these.
    #[must_use]
    pub fn set(self) -> Self {
        Self::List { of: Box::new(self), unique: true, min: 0, max: usize::MAX }
    }
}

impl Field {
    /// A field of that kind, optional and without default.
    pub fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: false,
            default: None,
            referenceable: false,
            own: false,
            secret: false,
            doc: "",
        }
    }

    /// Any non-empty text.
    pub fn text(name: &'static str) -> Self {
        Self::new(name, Kind::text())
    }

    /// A text that passes a check.
    pub fn checked(name: &'static str, check: TextCheck) -> Self {
        Self::new(name, Kind::checked(check))
    }

    /// One of a closed set of words.
    pub fn one_of(name: &'static str, words: &[&'static str]) -> Self {
        Self::new(name, Kind::one_of(words))
    }

    /// An integer within bounds, both included.
    pub fn integer(name: &'static str, min: i64, max: i64) -> Self {
        Self::new(name, Kind::Integer { min, max, above: None, one_of: Vec::new() })
    }

    /// A number within bounds, both included.
    pub fn number(name: &'static str, min: f64, max: f64) -> Self {
        Self::new(name, Kind::Number { min, max, above: None })
    }

    /// A number greater than that.
    pub fn above(name: &'static str, above: f64) -> Self {
        Self::new(name, Kind::Number { min: f64::MIN, max: f64::MAX, above: Some(above) })
    }

    /// A TCP port.
    pub fn port(name: &'static str) -> Self {
        Self::integer(name, 0, 65_535)
    }

    /// True or false.
    pub fn boolean(name: &'static str) -> Self {
        Self::new(name, Kind::Boolean)
    }

    /// True or false, one of which is the default.
    pub fn flag(name: &'static str, default: bool) -> Self {
        Self::boolean(name).default(default).required()
    }

    /// A nested record.
    pub fn record(name: &'static str, record: Record) -> Self {
        Self::new(name, Kind::Record(Arc::new(record)))
    }

    /// An array of these.
    pub fn list(name: &'static str, of: Kind) -> Self {
        Self::new(name, of.list())
    }

    /// It must be present.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What an absent field holds.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// It may hold a `{vault://…}` reference, and counts as a secret unless it is `shown`.
    #[must_use]
    pub fn referenceable(mut self) -> Self {
        self.referenceable = true;
        self.secret = true;
        self
    }

    /// Its value is for nobody's eyes, although it cannot be a reference.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// It may be a reference, and what it says is no secret: a name, an id.
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.secret = false;
        self
    }

    /// Kong does not know it.
    #[must_use]
    pub fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// How many items a list may have, or characters a text.
    #[must_use]
    pub fn sized(mut self, at_least: usize, at_most: usize) -> Self {
        if let Kind::List { min, max, .. } | Kind::Text { min, max, .. } = &mut self.kind {
            (*min, *max) = (at_least, at_most);
        }
        self
    }

    /// Its line in the configuration reference.
    #[must_use]
    pub fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}
