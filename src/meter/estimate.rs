//! Token counts for text that no provider counted.
//!
//! It counts as OpenAI's `cl100k_base` would, closely: text is cut into the same pieces (words with the
//! space before them, up to three digits, runs of marks, of white space), and a piece counts as many
//! tokens as are left when the longest known token is taken off its front again and again. Byte-pair
//! merging may choose other tokens, but nearly always as many. What is known of the vocabulary is in
//! [`vocabulary`].
//!
//! The count does not depend on how the text was cut into fragments, nothing is allocated, and the
//! memory in use does not grow with the text.

mod pieces;
mod vocabulary;

use pieces::{Class, State};

/// The tokens of a text.
pub fn tokens(text: &str) -> u64 {
    let mut tally = Tally::default();
    tally.push(text);
    tally.total()
}

/// What the framing of a chat adds to its messages' texts: three tokens for each message (where it
/// begins, where its role ends, where it ends) and three that open the answer, as OpenAI's cookbook
/// gives them for the models since `gpt-3.5-turbo-0613`. Roles and names are texts of their own.
pub fn prompt_overhead(messages: usize) -> u64 {
    3 + 3 * messages as u64
}

/// The bytes of an unfinished piece that are kept; of a longer one the beginning is settled early.
const OPEN: usize = 2 * vocabulary::LONGEST_RUN;

/// The tokens of a text that comes in fragments.
#[derive(Clone, Debug)]
pub struct Tally {
    settled: u64,
    state: State,
    /// How much of `open` is in use.
    len: usize,
    /// What earlier fragments held of the unfinished piece.
    open: [u8; OPEN],
}

impl Default for Tally {
    fn default() -> Self {
        Self { settled: 0, state: State::Empty, len: 0, open: [0; OPEN] }
    }
}

impl Tally {
    /// Takes the next fragment, cut anywhere.
    pub fn push(&mut self, fragment: &str) {
        let bytes = fragment.as_bytes();
        let (mut start, mut at) = (0, 0);
        while let Some(c) = char_at(fragment, at) {
            let class = Class::of(c);
            if let State::Blank(last) = self.state
                && matches!(class, Class::Letter | Class::Digit | Class::Mark)
            {
                start = self.part(bytes, start, at, last);
            }
            self.state = self.state.next(class, c).unwrap_or_else(|| {
                self.close(bytes, start, at);
                start = at;
                State::begin(class, c)
            });
            at += c.len_utf8();
            if self.state == State::Word {
                at += bytes.get(at..).map_or(0, letters);
            }
        }
        self.keep(bytes.get(start..).unwrap_or_default());
    }

    /// The tokens of all that was pushed, as if the text ended here.
    pub fn total(&self) -> u64 {
        self.settled + self.count(self.kept(), self.len)
    }

    fn kept(&self) -> &[u8] {
        self.open.get(..self.len).unwrap_or_default()
    }

    /// White space is over. All but its `last` character, which goes with what follows, is a piece.
    fn part(&mut self, fragment: &[u8], start: usize, at: usize, last: char) -> usize {
        let width = last.len_utf8();
        let start = if at >= start + width {
            self.close(fragment, start, at - width);
            at - width
        } else {
            let blank = self.len.saturating_sub(width);
            self.settled += self.count(self.kept(), blank);
            self.open.copy_within(blank..self.len, 0);
            self.len -= blank;
            start
        };
        self.state = State::begin(Class::of(last), last);
        start
    }

    /// A piece is over: what is kept of it, and `start..end` of the fragment.
    fn close(&mut self, fragment: &[u8], start: usize, end: usize) {
        if self.len == 0 {
            self.settled += self.count(fragment.get(start..).unwrap_or_default(), end - start);
        } else {
            self.keep(fragment.get(start..end).unwrap_or_default());
            self.settled += self.count(self.kept(), self.len);
            self.len = 0;
        }
    }

    /// The tokens of the piece that `text` begins with.
    #[inline]
    fn count(&self, text: &[u8], len: usize) -> u64 {
        match self.state {
            State::Number(_) => 1, // of up to three digits there is each
            _ => vocabulary::take(text, len, 0).0,
        }
    }

    /// Keeps the beginning of a piece whose end is in a later fragment.
    fn keep(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let (part, rest) = piece.split_at(piece.len().min(OPEN - self.len));
            if let Some(room) = self.open.get_mut(self.len..self.len + part.len()) {
                room.copy_from_slice(part);
                self.len += part.len();
            }
            piece = rest;
            if self.len == OPEN {
                let (tokens, end) = vocabulary::take(&self.open, OPEN, vocabulary::LONGEST_RUN);
                self.settled += tokens;
                self.open.copy_within(end.., 0);
                self.len -= end;
            }
        }
    }
}

#[inline]
fn char_at(text: &str, at: usize) -> Option<char> {
    match text.as_bytes().get(at) {
        Some(&byte) if byte.is_ascii() => Some(char::from(byte)),
        _ => text.get(at..)?.chars().next(),
    }
}

/// How many ASCII letters come first. Eight at a time: few words are longer, so that the processor
/// seldom guesses wrong how often this repeats.
#[inline]
fn letters(bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some(&eight) = bytes.get(count..).and_then(|rest| rest.first_chunk()) {
        let letters = leading_letters(u64::from_le_bytes(eight));
        count += letters;
        if letters < 8 {
            return count;
        }
    }
    let rest = bytes.get(count..).unwrap_or_default();
    count + rest.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(rest.len())
}

/// How many of eight bytes, the lowest first, are ASCII letters before one is not.
#[inline]
fn leading_letters(eight: u64) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    let lower = (eight | (0x20 * ONES)) & (0x7f * ONES);
    let from_a = lower + (0x80 - 0x61) * ONES; // the high bit of a byte is set from `a` on
    let past_z = lower + (0x80 - 0x7b) * ONES; // and here past `z`
    let others = (!from_a | past_z | eight) & (0x80 * ONES);
    others.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = "Don't they'RE 'tis 'quoted' \t\tif (x[\"key\"] != 12345) {\r\n\r\n    return  naïve::größe;\n} \
        東京で3回、コーヒーを飲みました。 Привет, мир! 안녕하세요 🙂\u{3000}\u{3000}x\u{a0}\u{a0}y ";

    #[test]
    fn cuts_do_not_matter() {
        let (blank, rule, word) = (" ".repeat(400), "-".repeat(200), "ありがとう".repeat(60));
        let long = format!("{MIXED}{blank}{rule}{MIXED}{word}{blank}");
        let whole = tokens(&long);
        for at in (0..=long.len()).filter(|&at| long.is_char_boundary(at)) {
            let mut tally = Tally::default();
            tally.push(&long[..at]);
            tally.push(&long[at..]);
            assert_eq!(tally.total(), whole, "cut at {at}");
        }
        let mut tally = Tally::default();
        for c in long.chars() {
            tally.push(c.encode_utf8(&mut [0; 4]));
        }
        assert_eq!(tally.total(), whole);
    }

    #[test]
    fn pieces_count_as_the_vocabulary_has_them() {
        for (text, count) in [
            ("", 0),
            ("Hello, world!", 4),
            ("don't", 2),
            ("12345678", 3),
            ("    return", 2),
            ("\n\n", 1),
            ("========================", 1),
        ] {
            assert_eq!(tokens(text), count, "{text:?}");
        }
    }

    #[test]
    fn letters_are_told_from_all_other_bytes() {
        for byte in 0..=u8::MAX {
            let text = [b'a', b'Z', byte, b'x', byte, b'z', b'A', byte, b'q'];
            let expected = if byte.is_ascii_alphabetic() { 9 } else { 2 };
            assert_eq!(letters(&text), expected, "{byte}");
        }
        assert_eq!([letters(b""), letters(b"abc"), letters(b"abcdefghijklmnopq1")], [0, 3, 17]);
    }

    #[test]
    fn the_framing_of_a_chat_is_three_a_message_and_three() {
        assert_eq!([0, 1, 2].map(prompt_overhead), [3, 6, 9]);
    }
}
