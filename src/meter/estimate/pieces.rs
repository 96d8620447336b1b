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
    Letter,
    Digit,
    Space,
    /// White space that is neither a space nor a line break.
    Blank,
    Break,
    Mark,
}

impl Class {
    /// The class of a character.
    #[inline]
    pub fn of(c: char) -> Self {
        match c {
            'a'..='z' | 'A'..='Z' => Self::Letter,
            ' ' => Self::Space,
            '0'..='9' => Self::Digit,
            '\r' | '\n' => Self::Break,
            '\t' | '\x0b' | '\x0c' => Self::Blank,
            '\0'..='\x7f' => Self::Mark,
            _ => Self::wide(c),
        }
    }

    /// Beyond ASCII: the common blocks by range, the rest as Unicode has it.
    fn wide(c: char) -> Self {
        match c {
            'à'..='ö' | 'ø'..='ʯ' | 'а'..='я' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿿' | '가'..='힣' => {
                Self::Letter
            }
            '\u{300}'..='\u{36f}' | '、'..='〄' | '〈'..='〠' | '\u{1f000}'..='\u{1faff}' => Self::Mark,
            _ if c.is_alphabetic() => Self::Letter,
            _ if c.is_whitespace() => Self::Blank,
            _ if c.is_numeric() => Self::Digit,
            _ => Self::Mark,
        }
    }
}
