//! Everything that is wrong with a configuration, each with its path.

use std::fmt;
use std::sync::Arc;

/// One problem: where, what, and on which line if the parser knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// `services[0].routes[1].plugins[0].config.model.provider`; empty for the whole document.
    pub path: String,
    /// In Kong's words where Kong has any.
    pub message: String,
    /// The line of `path`, or of the nearest thing around it that is in the file.
    pub line: Option<usize>,
    /// The file, where there are several.
    pub file: Option<Arc<str>>,
    /// It is about the record at `path` as a whole: what Kong's Admin API lists under `@entity`.
    pub entity: bool,
}

impl Problem {
    /// A problem at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), ..Self::default() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
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
    file: Option<Arc<str>>,
    list: &'a mut Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// A collector at the root.
    pub fn new(list: &'a mut Vec<Problem>) -> Self {
        Self { path: String::new(), file: None, list }
    }

    /// A collector at the root of a file.
    pub fn of_file(file: Arc<str>, list: &'a mut Vec<Problem>) -> Self {
        Self { path: String::new(), file: Some(file), list }
    }

    /// The same collector at that path instead.
    #[must_use]
    pub fn into_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The same collector one field deeper: `name`, or `[3]` for an item.
    pub fn at(&mut self, step: &str) -> Problems<'_> {
        let joint = if self.path.is_empty() || step.is_empty() || step.starts_with('[') { "" } else { "." };
        let path = format!("{}{joint}{step}", self.path);
        Problems { path, file: self.file.clone(), list: self.list }
    }

    /// The same collector at item `index` of a list.
    pub fn item(&mut self, index: usize) -> Problems<'_> {
        self.at(&format!("[{index}]"))
    }

    /// Notes a problem here.
    pub fn push(&mut self, message: impl Into<String>) {
        self.note(message.into(), false);
    }

    /// Notes a problem of the record here as a whole.
    pub fn push_entity(&mut self, message: impl Into<String>) {
        self.note(message.into(), true);
    }

    /// Where the collector stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many problems there are so far.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The problems at or below this path among those found since `count` was that.
    pub fn below(&self, since: usize) -> impl Iterator<Item = &Problem> {
        self.list
            .iter()
            .skip(since)
            .filter(|problem| problem.file == self.file && is_below(&problem.path, &self.path))
    }

    /// Drops those found since `count` was that and not worth keeping.
    pub fn retain(&mut self, since: usize, keep: impl Fn(&Problem) -> bool) {
        let mut index = 0;
        self.list.retain(|problem| {
            index += 1;
            index <= since || keep(problem)
        });
    }

    /// Marks those found at this very path since `count` was that as problems of the whole record.
    pub fn mark_entity(&mut self, since: usize) {
        for problem in self.list.iter_mut().skip(since) {
            problem.entity |= problem.path == self.path;
        }
    }

    fn note(&mut self, message: String, entity: bool) {
        let problem =
            Problem { path: self.path.clone(), message, line: None, file: self.file.clone(), entity };
        if !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }
}

/// Whether `path` is `base` or leads through it.
fn is_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base)
        .is_some_and(|rest| base.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}
