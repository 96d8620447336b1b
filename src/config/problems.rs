//! Everything that is wrong with a configuration, each with its path.

use std::fmt;

/// One problem: where, what, and on which line if the parser knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `services[0].routes[1].plugins[0].config.model.provider`; empty for the whole document.
    pub path: String,
    pub message: String,
    pub line: Option<usize>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

/// A collector that stands at a path; `at` steps into a field, and all steps share one list.
pub struct Problems<'a> {
    path: String,
    list: &'a mut Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// A collector at the root.
    pub fn new(list: &'a mut Vec<Problem>) -> Self {
        Self { path: String::new(), list }
    }

    /// The same collector one field deeper: `name`, or `[3]` for an item.
    pub fn at(&mut self, step: &str) -> Problems<'_> {
        let joint = if self.path.is_empty() || step.starts_with('[') { "" } else { "." };
        Problems { path: format!("{}{joint}{step}", self.path), list: self.list }
    }

    /// The same collector at item `index` of a list.
    pub fn item(&mut self, index: usize) -> Problems<'_> {
        self.at(&format!("[{index}]"))
    }

    /// Notes a problem here.
    pub fn push(&mut self, message: impl Into<String>) {
        self.list.push(Problem { path: self.path.clone(), message: message.into(), line: None });
    }

    /// Where the collector stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many problems there are so far.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}
