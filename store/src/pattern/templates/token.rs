//! Tokens of patterns as small numbers.

use std::collections::HashMap;

use super::super::bytes::{DIGIT, LETTER, is};

/// A token of a pattern; equal tokens have equal numbers within one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Token(pub(super) u32);

/// A variable.
pub(super) const VAR: Token = Token(0);
/// Blanks.
pub(super) const BLANK: Token = Token(1);
/// Tokens that a model has never seen, which is all that is asked of them: a word, a unit, another.
const NEW_WORD: Token = Token(u32::MAX - 1);
const NEW_UNIT: Token = Token(u32::MAX - 2);
const NEW_MARK: Token = Token(u32::MAX - 3);

const UNITS: [&str; 23] = [
    "b", "kb", "mb", "gb", "tb", "pb", "kib", "mib", "gib", "tib", "bytes", "byte", "ns", "us", "ms", "s",
    "sec", "secs", "min", "mins", "hz", "khz", "mhz",
];
const GLUE: [&str; 8] = [",", ":", "/", "-", ".", "+", "x", "@"];

#[derive(Debug)]
struct Facts {
    text: Box<[u8]>,
    is_word: bool,
    is_unit: bool,
    is_glue: bool,
}

/// The tokens of one model and what is known of each.
#[derive(Debug)]
pub(super) struct Tokens {
    list: Vec<Facts>,
    by_text: HashMap<Box<[u8]>, Token>,
}

impl Default for Tokens {
    fn default() -> Self {
        let mut tokens = Self { list: Vec::new(), by_text: HashMap::new() };
        // In the order of the constants above.
        tokens.number(b"\0");
        tokens.number(b" ");
        for glue in GLUE {
            tokens.number(glue.as_bytes());
        }
        tokens
    }
}

impl Tokens {
    /// Returns the number of a token's text.
    pub(super) fn number(&mut self, text: &[u8]) -> Token {
        if let Some(&token) = self.by_text.get(text) {
            return token;
        }
        // A model keeps at most 16,384 patterns of at most 256 tokens.
        let token = Token(u32::try_from(self.list.len()).expect("a model has far fewer than 2^32 tokens"));
        let (is_word, is_unit) = (is_word(text), is_unit(text));
        let is_glue = GLUE.iter().any(|g| g.as_bytes() == text);
        self.list.push(Facts { text: text.into(), is_word, is_unit, is_glue });
        self.by_text.insert(text.into(), token);
        token
    }

    /// Returns the number of a token's text, without taking in a text that was never seen.
    pub(super) fn known(&self, text: &[u8]) -> Token {
        match self.by_text.get(text) {
            Some(&token) => token,
            None if is_unit(text) => NEW_UNIT,
            None if is_word(text) => NEW_WORD,
            None => NEW_MARK,
        }
    }

    /// The text of a token; empty for one that was never seen.
    pub(super) fn text(&self, token: Token) -> &[u8] {
        self.list.get(token.0 as usize).map_or(b"", |facts| &facts.text)
    }

    pub(super) fn is_word(&self, token: Token) -> bool {
        let seen = self.list.get(token.0 as usize);
        seen.map_or(matches!(token, NEW_WORD | NEW_UNIT), |facts| facts.is_word)
    }

    pub(super) fn is_unit(&self, token: Token) -> bool {
        self.list.get(token.0 as usize).map_or(token == NEW_UNIT, |facts| facts.is_unit)
    }

    pub(super) fn is_glue(&self, token: Token) -> bool {
        // Those that glue are known from the start.
        self.list.get(token.0 as usize).is_some_and(|facts| facts.is_glue)
    }

    /// The hash of a key's text: the same in every model.
    pub(super) fn hash(&self, key: &[Token]) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for &token in key {
            hasher.update(self.text(token));
            hasher.update(b"\x01");
        }
        hasher.digest()
    }

    /// The hash of a key's layout: its first word and all that is no word.
    pub(super) fn shape(&self, key: &[Token], first_word: usize) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for (i, &token) in key.iter().enumerate() {
            let number = if i != first_word && self.is_word(token) { u32::MAX } else { token.0 };
            hasher.update(&number.to_le_bytes());
        }
        hasher.digest()
    }
}

/// Tells whether a token is a word.
pub(super) fn is_word(text: &[u8]) -> bool {
    text.first().is_some_and(|&b| is(b, LETTER | DIGIT) || b == b'_')
}

fn is_unit(text: &[u8]) -> bool {
    UNITS.iter().chain(&["ghz"]).any(|unit| text.eq_ignore_ascii_case(unit.as_bytes()))
}
