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
        let is_word = text.first().is_some_and(|&b| is(b, LETTER | DIGIT) || b == b'_');
        let lower = text.to_ascii_lowercase();
        let is_unit = UNITS.iter().chain(&["ghz"]).any(|u| u.as_bytes() == lower);
        let is_glue = GLUE.iter().any(|g| g.as_bytes() == text);
        self.list.push(Facts { text: text.into(), is_word, is_unit, is_glue });
        self.by_text.insert(text.into(), token);
        token
    }

    pub(super) fn text(&self, token: Token) -> &[u8] {
        &self.list[token.0 as usize].text
    }

    pub(super) fn is_word(&self, token: Token) -> bool {
        self.list[token.0 as usize].is_word
    }

    pub(super) fn is_unit(&self, token: Token) -> bool {
        self.list[token.0 as usize].is_unit
    }

    pub(super) fn is_glue(&self, token: Token) -> bool {
        self.list[token.0 as usize].is_glue
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
