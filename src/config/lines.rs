//! Where in its file a value stands: read a second time, and only when there is something to say.

use saphyr_parser::{Event, Parser};
use std::collections::HashMap;

/// Lines of all paths of one file.
#[derive(Debug, Default)]
pub struct Lines {
    lines: HashMap<String, usize>,
    /// What goes before the paths of a stream's document: `documents[1]`.
    base: String,
}

enum Level {
    /// A mapping, and the key whose value comes next.
    Map(Option<String>),
    /// A list, and the number of items so far.
    List(usize),
}

impl Lines {
    /// Reads YAML or JSON. What cannot be read has no lines.
    pub fn read(text: &str) -> Self {
        let mut lines = Self::default();
        lines.documents(text, |_, _| false);
        lines
    }

    /// Reads a stream of documents: `documents[1].spec`.
    pub fn of_stream(text: &str) -> Self {
        let mut lines = Self { base: "documents[0]".to_owned(), ..Self::default() };
        lines.documents(text, |lines, count| {
            lines.base = format!("documents[{count}]");
            true
        });
        lines
    }

    /// Reads on after a document as long as `next` says so.
    fn documents(&mut self, text: &str, next: impl Fn(&mut Self, usize) -> bool) {
        let mut count = 0;
        let mut levels: Vec<(Level, String)> = Vec::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            match event {
                Event::MappingStart(..) => {
                    let path = self.value(&mut levels, span.start.line());
                    levels.push((Level::Map(None), path));
                }
                Event::SequenceStart(..) => {
                    let path = self.value(&mut levels, span.start.line());
                    levels.push((Level::List(0), path));
                }
                Event::MappingEnd | Event::SequenceEnd => drop(levels.pop()),
                Event::Scalar(text, ..) => self.scalar(&mut levels, &text, span.start.line()),
                Event::Alias(_) => drop(self.value(&mut levels, span.start.line())),
                Event::DocumentEnd => {
                    count += 1;
                    if !next(self, count) {
                        break;
                    }
                }
                _ => {}
            }
        }
    }

    /// The line of a path, or of the nearest thing around it that is in the file.
    pub fn find(&self, path: &str) -> Option<usize> {
        let mut path = path;
        while !path.is_empty() {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = path.rfind(['.', '[']).map_or("", |end| path.get(..end).unwrap_or_default());
        }
        None
    }

    fn scalar(&mut self, levels: &mut [(Level, String)], text: &str, line: usize) {
        if let Some((Level::Map(key @ None), path)) = levels.last_mut() {
            // The line of a key is that of its value, unless a block stands between.
            self.lines.entry(join(path, text)).or_insert(line);
            *key = Some(text.to_owned());
        } else {
            self.value(levels, line);
        }
    }

    /// Notes the value that comes now and returns its path.
    fn value(&mut self, levels: &mut [(Level, String)], line: usize) -> String {
        let path = match levels.last_mut() {
            None => self.base.clone(),
            Some((Level::Map(key), path)) => join(path, key.take().as_deref().unwrap_or("?")),
            Some((Level::List(count), path)) => {
                *count += 1;
                format!("{path}[{}]", *count - 1)
            }
        };
        if !path.is_empty() {
            self.lines.entry(path.clone()).or_insert(line);
        }
        path
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_blocks_flows_and_what_is_missing() {
        let text = "services:\n- name: a\n  routes:\n    - paths: [\"/x\",\n        /y]\n      plugins: []\n- name: b\n";
        let lines = Lines::read(text);
        for (path, line) in [
            ("services", 1),
            ("services[0].name", 2),
            ("services[0].routes[0].paths[0]", 4),
            ("services[0].routes[0].paths[1]", 5),
            ("services[0].routes[0].plugins[3].config.x", 6),
            ("services[0].routes[0].service", 4),
            ("services[1]", 7),
            ("services[1].host", 7),
        ] {
            assert_eq!(lines.find(path), Some(line), "{path}");
        }
        assert_eq!(lines.find("nothing.there"), None);
        assert_eq!(lines.find(""), None);
    }

    #[test]
    fn finds_lines_in_all_documents_of_a_stream() {
        let lines = Lines::of_stream("a: 1\n---\n# nothing\n---\nkind: X\nspec:\n  rules: [1]\n");
        for (path, line) in [
            ("documents[0].a", 1),
            ("documents[2]", 5),
            ("documents[2].spec.rules[0].http", 7),
            ("documents[2].metadata", 5),
        ] {
            assert_eq!(lines.find(path), Some(line), "{path}");
        }
    }

    #[test]
    fn survives_aliases_json_and_nonsense() {
        let lines = Lines::read("a: &x {p: 1}\nb: *x\nc:\n  <<: *x\n  d: 2\n");
        assert_eq!((lines.find("b.p"), lines.find("c.d")), (Some(2), Some(5)));
        assert_eq!(Lines::read("{\"a\":\n {\"b\": [1]}}").find("a.b[0]"), Some(2));
        assert_eq!(Lines::read("a: [").find("a"), Some(1));
        assert_eq!(Lines::read("a: [").find("b"), None);
    }
}
