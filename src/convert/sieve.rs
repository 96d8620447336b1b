//! Takes out what this gateway does not know, and says so; everything else has to be right.

use super::Report;
use crate::config::check::check_tree;
use crate::config::items::Item;
use crate::config::problems::Problem;
use serde_json::{Map, Value};

/// Drops the unknown until what is left is good, or wrong in another way.
pub fn pass(root: &mut Map<String, Value>, report: &mut Report) -> Result<Vec<Item>, Vec<Problem>> {
    loop {
        let problems = match check_tree(root.clone()) {
            Ok(items) => return Ok(items),
            Err(problems) => problems,
        };
        let mut unknown: Vec<(Vec<Step>, &Problem)> =
            problems.iter().filter_map(|problem| Some((place(problem)?, problem))).collect();
        if unknown.is_empty() {
            return Err(problems);
        }
        // From the end: what is taken out of a list moves what comes after it.
        unknown.sort_by(|(one, _), (other, _)| other.cmp(one));
        unknown.dedup_by(|(one, _), (other, _)| one == other);
        let mut taken = Vec::new();
        for (path, problem) in unknown {
            if take(root, &path) {
                taken.push(format!("{}: {}", problem.path, problem.message));
            }
        }
        if taken.is_empty() {
            return Err(problems);
        }
        taken.reverse();
        report.dropped.append(&mut taken);
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Item(usize),
    Field(String),
}

/// Where what is unknown stands, if that is what the problem is.
fn place(problem: &Problem) -> Option<Vec<Step>> {
    let mut steps = steps(&problem.path);
    let message = problem.message.as_str();
    if message.starts_with("plugin '") && message.contains("' not enabled") {
        // Not its name: the whole plugin.
        steps.pop();
        return Some(steps);
    }
    let unknown = message == "unknown field" || message.ends_with("not supported by this gateway");
    unknown.then_some(steps).filter(|steps| !steps.is_empty())
}

fn steps(path: &str) -> Vec<Step> {
    let mut found = Vec::new();
    for part in path.split('.') {
        let mut pieces = part.split('[');
        found.extend(
            pieces.next().filter(|field| !field.is_empty()).map(|field| Step::Field(field.to_owned())),
        );
        found.extend(pieces.filter_map(|piece| piece.trim_end_matches(']').parse().ok()).map(Step::Item));
    }
    found
}

fn take(root: &mut Map<String, Value>, path: &[Step]) -> bool {
    let Some((end, way)) = path.split_last() else { return false };
    let mut way = way.iter();
    let Some(first) = way.next() else {
        return matches!(end, Step::Field(name) if root.shift_remove(name).is_some());
    };
    let Step::Field(first) = first else { return false };
    let mut at = root.get_mut(first);
    for step in way {
        at = at.and_then(|value| match step {
            Step::Field(name) => value.get_mut(name),
            Step::Item(index) => value.get_mut(*index),
        });
    }
    match (at, end) {
        (Some(Value::Object(map)), Step::Field(name)) => map.shift_remove(name).is_some(),
        (Some(Value::Array(list)), Step::Item(index)) if *index < list.len() => {
            list.remove(*index);
            true
        }
        _ => false,
    }
}
