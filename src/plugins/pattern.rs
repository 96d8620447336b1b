//! Patterns with all that PCRE knows, held within a time.
//!
//! Look-around and back-references need backtracking, which some patterns on some texts never end. The
//! engine counts its steps, but a step may read the whole text; so what it reads also has a clock.

use fancy_regex::{Input, Regex, RegexBuilder, RegexInput};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Steps that a pattern may take on one text.
const STEPS: usize = 1_000_000;

/// How long the patterns of one plugin may take on one text, all together.
pub const PATIENCE: Duration = Duration::from_millis(25);

/// Bytes that may be read between two looks at the clock. Short texts never come to the first.
const UNWATCHED: usize = 4 * 1024 * 1024;

/// A pattern.
pub struct Pattern(Regex);

/// The pattern was given up.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Pattern {
    /// Compiles a pattern. `lenient`: letters match in either case, `^` and `$` at every line.
    pub fn new(pattern: &str, lenient: bool) -> Result<Self, fancy_regex::Error> {
        let mut builder = RegexBuilder::new(pattern);
        builder.case_insensitive(lenient).multi_line(lenient).backtrack_limit(STEPS);
        builder.build().map(Self)
    }

    /// Whether it matches somewhere in `text`.
    pub fn is_match(&self, text: &str, until: Instant) -> Result<bool, TooLong> {
        let watched = Watched::new(text, until);
        bounded(|| self.0.is_match_input(RegexInput::new(&watched)))
    }

    /// The first match in `text`.
    pub fn find<'t>(&self, text: &'t str, until: Instant) -> Result<Option<&'t str>, TooLong> {
        let watched = Watched::new(text, until);
        let found = bounded(|| self.0.find_input(RegexInput::new(&watched)))?;
        Ok(found.and_then(|(start, end)| text.get(start..end)))
    }
}

/// The mark of a search that its clock has ended.
struct Late;

/// Runs a search to its end, or to that of its time.
fn bounded<T>(search: impl FnOnce() -> fancy_regex::Result<T>) -> Result<T, TooLong> {
    // The engine resets what it works with before each search, also after one that was broken off.
    match catch_unwind(AssertUnwindSafe(search)) {
        Ok(found) => found.map_err(|_| TooLong),
        Err(payload) if payload.is::<Late>() => Err(TooLong),
        Err(payload) => resume_unwind(payload),
    }
}

/// A text that looks at the clock while it is read: it is all of ours that the engine calls.
struct Watched<'t> {
    text: &'t str,
    until: Instant,
    unwatched: Cell<usize>,
}

impl<'t> Watched<'t> {
    fn new(text: &'t str, until: Instant) -> Self {
        Self { text, until, unwatched: Cell::new(0) }
    }

    fn look(&self) {
        let read = self.unwatched.get() + self.text.len();
        if read < UNWATCHED {
            return self.unwatched.set(read);
        }
        self.unwatched.set(0);
        if Instant::now() > self.until {
            // The engine has no way to be told to stop. This is no panic: no hook hears of it.
            resume_unwind(Box::new(Late));
        }
    }
}

impl Input for Watched<'_> {
    type Match<'m>
        = (usize, usize)
    where
        Self: 'm;

    fn len(&self) -> usize {
        self.look();
        self.text.len()
    }

    fn as_bytes(&self) -> &[u8] {
        self.look();
        self.text.as_bytes()
    }

    fn is_char_boundary(&self, index: usize) -> bool {
        self.text.is_char_boundary(index)
    }

    fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    fn prev_codepoint_ix(&self, index: usize) -> usize {
        Input::prev_codepoint_ix(self.text, index)
    }

    fn make_match(&self, start: usize, end: usize) -> (usize, usize) {
        (start, end)
    }

    fn advance_position(&self, index: usize) -> usize {
        Input::advance_position(self.text, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn what_pcre_knows_is_understood() {
        let later = Instant::now() + Duration::from_mins(1);
        let find = |pattern: &str, text| Pattern::new(pattern, true).unwrap().find(text, later);
        assert_eq!(find(r"(?<=^JSON: )\{.*\}$", "é\njson: {1}\n"), Ok(Some("{1}")));
        assert_eq!(find(r"\b(\w+) \1\b", "say it it"), Ok(Some("it it")));
        assert_eq!(find(r"\{(.|\n)*\}", "a {b\nc} d"), Ok(Some("{b\nc}")));
        assert_eq!(find("(?!x)y", "abc"), Ok(None));
        assert_eq!(Pattern::new("forbidden", false).unwrap().is_match("FORBIDDEN", later), Ok(false));
    }

    #[test]
    fn no_pattern_outlasts_its_time_on_a_mebibyte() {
        let same = "a".repeat(MIB);
        let words = "lorem ipsum dolor ".repeat(MIB / 18);
        for (pattern, text) in [
            // Too many steps, too much to remember,
            (r"(a+)+\1$", &same),
            (r"(?:(?=(a|aa)+$)\1)+b", &same),
            (r"\b(\w+) \1\b", &words),
            // and few steps, each through the whole text.
            (r"(?=a*c)x", &same),
            (r"(?=.*z)(?=.*q).*", &words),
            (r"(.*)\1{3}x", &words),
        ] {
            let pattern_read = Pattern::new(pattern, false).unwrap();
            let once = || {
                let began = Instant::now();
                assert_eq!(pattern_read.is_match(text, began + PATIENCE), Err(TooLong), "{pattern}");
                began.elapsed()
            };
            // Somebody else may have had the processor in between.
            let best = std::iter::repeat_with(once).take(5).min().unwrap();
            assert!(best < Duration::from_millis(50), "{pattern}: {best:?}");
        }
    }

    #[test]
    fn a_search_that_was_broken_off_leaves_nothing_behind() {
        let pattern = Pattern::new("(?=a*c)x", false).unwrap();
        assert_eq!(pattern.is_match(&"a".repeat(MIB), Instant::now()), Err(TooLong));
        let later = Instant::now() + Duration::from_mins(1);
        assert_eq!(pattern.is_match("aaac x", later), Ok(false));
        assert_eq!(Pattern::new("(?=x)x", false).unwrap().is_match("aaac x", later), Ok(true));
    }
}
