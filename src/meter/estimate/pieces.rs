//! Where `cl100k_base` cuts text before it looks for tokens, as a state machine over characters.
//!
//! It follows this expression, the longest alternative first, without looking ahead:
//!
//! ```text
//! (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,3} |
//! ␠?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
//! ```
//!
//! One case is simplified: white space between two line breaks begins a piece of its own.

/// What the piece so far is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Empty,
    /// One mark or white-space character, which may belong to a following word.
    Lead(Class),
    /// An apostrophe at the front.
    Quote,
    /// An apostrophe and a letter, where another letter would complete a contraction.
    Half(char),
    /// A whole contraction.
    Contraction,
    /// Letters that go on.
    Word,
    /// So many digits.
    Number(u8),
    /// Marks, perhaps after a space.
    Marks,
    /// Marks and the line breaks after them.
    Ends,
    /// White space within a line, and the last of it.
    Blank(char),
    /// White space that ends in a line break.
    Lines,
}

impl State {
    /// The state of a piece that begins with this character.
    #[inline]
    pub fn begin(class: Class, c: char) -> Self {
        match class {
            Class::Letter => Self::Word,
            Class::Digit => Self::Number(1),
            Class::Break => Self::Lines,
            Class::Mark if c == '\'' => Self::Quote,
            Class::Space | Class::Blank | Class::Mark => Self::Lead(class),
        }
    }

    /// The state after one more character; `None` if that begins a new piece.
    #[inline]
    pub fn next(self, class: Class, c: char) -> Option<Self> {
        use Class::{Blank, Break, Digit, Letter, Mark, Space};
        Some(match (self, class) {
            (Self::Word | Self::Lead(_), Letter) => Self::Word,
            (Self::Number(digits @ 1..=2), Digit) => Self::Number(digits + 1),
            (Self::Quote | Self::Lead(Space | Mark) | Self::Marks, Mark) => Self::Marks,
            (Self::Quote | Self::Lead(Mark) | Self::Marks | Self::Ends, Break) => Self::Ends,
            (Self::Lead(Space | Blank) | Self::Blank(_), Space | Blank) => Self::Blank(c),
            (Self::Lead(Space | Blank) | Self::Blank(_) | Self::Lines, Break) => Self::Lines,
            (Self::Quote | Self::Half(_), Letter) => self.contract(c.to_ascii_lowercase()),
            _ => return None,
        })
    }

    /// The state after another letter of what may be an English contraction.
    fn contract(self, c: char) -> Self {
        match (self, c) {
            (Self::Quote, 's' | 't' | 'm' | 'd') | (Self::Half('r' | 'v'), 'e') | (Self::Half('l'), 'l') => {
                Self::Contraction
            }
            (Self::Quote, 'r' | 'v' | 'l') => Self::Half(c),
            _ => Self::Word,
        }
    }
}

/// What a character is to the cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of any script.
    Letter,
    /// Of any script.
    Digit,
    /// The space itself.
    Space,
    /// White space that is neither a space nor a line break.
    Blank,
    /// The end of a line.
    Break,
    /// All else.
    Mark,
}

/// The classes of ASCII.
#[allow(clippy::indexing_slicing)] // at compile time, and within bounds
static ASCII: [Class; 128] = {
    let mut classes = [Class::Mark; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte as usize] = Class::narrow(byte);
        byte += 1;
    }
    classes
};

impl Class {
    /// The class of a character.
    #[inline]
    pub fn of(c: char) -> Self {
        ASCII.get(c as usize).copied().unwrap_or_else(|| Self::wide(c))
    }

    const fn narrow(byte: u8) -> Self {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => Self::Letter,
            b' ' => Self::Space,
            b'0'..=b'9' => Self::Digit,
            b'\r' | b'\n' => Self::Break,
            b'\t' | b'\x0b' | b'\x0c' => Self::Blank,
            _ => Self::Mark,
        }
    }

    /// Beyond ASCII: the common blocks by range, the rest as Unicode has it.
    fn wide(c: char) -> Self {
        match c {
            'À'..='Ö'
            | 'Ø'..='ö'
            | 'ø'..='ʯ'
            | 'Ѐ'..='ҁ'
            | 'ؠ'..='ي'
            | 'ぁ'..='ゖ'
            | 'ァ'..='ヺ'
            | 'ー'..='ヿ'
            | '一'..='鿿'
            | '가'..='힣' => Self::Letter,
            '\u{300}'..='\u{36f}' | '、'..='〄' | '〈'..='〠' | '\u{1f000}'..='\u{1faff}' => Self::Mark,
            _ if c.is_alphabetic() => Self::Letter,
            _ if c.is_whitespace() => Self::Blank,
            _ if c.is_numeric() => Self::Digit,
            _ => Self::Mark,
        }
    }
}
