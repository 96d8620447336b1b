//! What an entity or a plugin's `config` may hold: one description that checks a value, fills its
//! defaults and words its problems as Kong does.

use serde_json::Value;
use std::sync::Arc;

/// A record's fields and the rules that span them.
#[derive(Default)]
pub struct Record {
    pub fields: Vec<Field>,
    pub rules: Vec<Rule>,
}

/// One field of a record.
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub default: Option<Value>,
    /// May hold a `{vault://…}` reference.
    pub referenceable: bool,
    pub doc: &'static str,
}

/// What a field holds.
pub enum Kind {
    Text { min: usize, max: usize, one_of: Vec<&'static str>, check: Option<fn(&str) -> Result<(), String>> },
    Integer { min: i64, max: i64 },
    Number { min: f64, max: f64, above: Option<f64> },
    Boolean,
    Record(Arc<Record>),
    /// An array; a set when `unique`.
    List { of: Box<Kind>, unique: bool, min: usize, max: usize },
    /// Names to values.
    Map { of: Box<Kind> },
    /// Anything.
    Any,
}

/// A rule over several fields of one record, reported as Kong reports its `@entity` errors.
pub enum Rule {
    AllOrNone(&'static [&'static str]),
    AtLeastOneNonEmpty(&'static [&'static str]),
    /// Any other; returns its messages.
    Check(fn(&Value) -> Vec<String>),
}

impl Field {
    /// A field of that kind, optional and without default.
    pub fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false, default: None, referenceable: false, doc: "" }
    }

    /// Any non-empty text.
    pub fn text(name: &'static str) -> Self {
        Self::new(name, Kind::Text { min: 1, max: usize::MAX, one_of: Vec::new(), check: None })
    }

    /// One of a closed set of words.
    pub fn one_of(name: &'static str, words: &[&'static str]) -> Self {
        Self::new(name, Kind::Text { min: 0, max: usize::MAX, one_of: words.to_vec(), check: None })
    }

    /// An integer within bounds, both included.
    pub fn integer(name: &'static str, min: i64, max: i64) -> Self {
        Self::new(name, Kind::Integer { min, max })
    }

    /// A number within bounds, both included.
    pub fn number(name: &'static str, min: f64, max: f64) -> Self {
        Self::new(name, Kind::Number { min, max, above: None })
    }

    /// True or false.
    pub fn boolean(name: &'static str) -> Self {
        Self::new(name, Kind::Boolean)
    }

    /// A nested record.
    pub fn record(name: &'static str, record: Record) -> Self {
        Self::new(name, Kind::Record(Arc::new(record)))
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

    /// It may hold a `{vault://…}` reference.
    #[must_use]
    pub fn referenceable(mut self) -> Self {
        self.referenceable = true;
        self
    }

    /// Its line in the configuration reference.
    #[must_use]
    pub fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}
