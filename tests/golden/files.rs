//! What a case is expected to come to: files to compare with, or to write.

use super::{EXPECTED, Outputs};
use std::fs;
use std::path::Path;

/// Writes what came out.
pub fn bless(folder: &Path, outputs: &Outputs) {
    for name in EXPECTED {
        let file = folder.join(name);
        match outputs.get(name) {
            Some(text) => fs::write(file, text).unwrap(),
            None if file.exists() => fs::remove_file(file).unwrap(),
            None => {}
        }
    }
}

/// What differs, one line each.
pub fn compare(folder: &Path, outputs: &Outputs) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in EXPECTED {
        let file = folder.join(name);
        let want = fs::read(&file).ok();
        let got = outputs.get(name);
        if want.as_ref() == got {
            continue;
        }
        let place = file.display();
        wrong.push(match (want, got) {
            (Some(want), Some(got)) => {
                format!("{place}\n  want {}\n  got  {}", shown(&want, got), shown(got, &want))
            }
            (Some(_), None) => format!("{place}\n  is expected but did not come out"),
            (None, Some(got)) => {
                format!("{place}\n  came out but is not expected: {}", String::from_utf8_lossy(got))
            }
            (None, None) => unreachable!("the two are equal"),
        });
    }
    wrong
}

/// The text from shortly before the first difference on.
fn shown(text: &[u8], other: &[u8]) -> String {
    let differs = text.iter().zip(other).position(|(a, b)| a != b).unwrap_or(text.len().min(other.len()));
    let start = differs.saturating_sub(40);
    let end = text.len().min(differs + 80);
    format!("…{:?}", String::from_utf8_lossy(&text[start..end]))
}
