//! Fields inside a plugin's configuration that this gateway does not know: other releases of Kong have
//! them. They are taken out and named; what is merely wrong stays and is refused, or a slip would cost a
//! guard its route.

use crate::config::document::Source;
use crate::config::manifests::Note;
use crate::config::problems::Problem;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Their paths, each with its file.
#[derive(Default)]
pub struct Unknown {
    paths: Vec<(Arc<str>, String)>,
}

impl Unknown {
    /// Adds those that a check has found; whether there is one that was not known to be unknown.
    pub fn add(&mut self, sources: &[Source], problems: &[Problem]) -> bool {
        let before = self.paths.len();
        for problem in problems {
            let inside = problem.path.contains(".config.") && !problem.path.starts_with("documents[");
            // Only of several files is the file named.
            let file = problem.file.clone().or_else(|| Some(Arc::clone(&sources.first()?.name)));
            if let Some(file) = file.filter(|_| inside && problem.message == "unknown field") {
                let place = (file, problem.path.clone());
                if !self.paths.contains(&place) {
                    self.paths.push(place);
                }
            }
        }
        self.paths.len() > before
    }

    /// Takes them out of a file's tree.
    pub fn remove(&self, file: &Arc<str>, root: &mut Map<String, Value>, notes: &mut Vec<Note>) {
        for (_, path) in self.paths.iter().filter(|(of, _)| of == file) {
            let Some((way, field)) = path.rsplit_once('.') else { continue };
            let owner = find(root, way).and_then(Value::as_object_mut);
            if owner.and_then(|owner| owner.shift_remove(field)).is_some() {
                let message = "this gateway does not know the field".to_owned();
                notes.push(Note { file: Arc::clone(file), path: path.clone(), dropped: true, message });
            }
        }
    }
}

/// The value at `services[0].plugins[1].config`.
fn find<'a>(root: &'a mut Map<String, Value>, path: &str) -> Option<&'a mut Value> {
    let mut steps = path.split('.');
    let (name, indexes) = indexed(steps.next()?);
    let mut at = follow(root.get_mut(name)?, indexes)?;
    for step in steps {
        let (name, indexes) = indexed(step);
        at = follow(at.get_mut(name)?, indexes)?;
    }
    Some(at)
}

/// A name, and the indexes behind it.
fn indexed(step: &str) -> (&str, &str) {
    step.split_at(step.find('[').unwrap_or(step.len()))
}

fn follow<'a>(mut at: &'a mut Value, indexes: &str) -> Option<&'a mut Value> {
    for index in indexes.split('[').skip(1) {
        at = at.get_mut(index.trim_end_matches(']').parse::<usize>().ok()?)?;
    }
    Some(at)
}
