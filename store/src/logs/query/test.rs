//! What is asked of one text.

use super::QueryError;
use crate::pattern::{for_each_word, words};

/// A question about one text: a body or the value of a field.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// The words stand in it one behind the other; at least one.
    Words(Vec<String>),
    /// The words, and then one that begins so.
    Prefix(Vec<String>, String),
    /// A regular expression matches somewhere.
    Regex(regex::Regex),
    /// The text is in it, byte for byte.
    Contains(String),
    /// It is this text.
    Exact(String),
    /// It is a number that compares so.
    Number(Compare, f64),
    /// It is not empty.
    Exists,
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Memory that tests reuse from text to text.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    word: String,
    /// How many words of the phrase the running matches have behind them.
    running: Vec<usize>,
}

impl Test {
    /// Makes the test for a word or phrase.
    pub(super) fn of_words(text: &str) -> Self {
        let list = words(text);
        // A text without a letter has no words; a lone Chinese letter is in no pair.
        let lone = |w: &String| w.chars().count() == 1 && !w.is_ascii();
        if list.is_empty() || list.iter().any(lone) {
            return Self::Contains(text.into());
        }
        Self::Words(list)
    }

    /// Makes the test for a text that ends in a word's beginning.
    pub(super) fn of_prefix(text: &str) -> Self {
        let mut list = words(text);
        let ends_in_word = text.chars().next_back().is_some_and(char::is_alphanumeric);
        match list.pop() {
            Some(last) if ends_in_word => Self::Prefix(list, last),
            _ => Self::of_words(text),
        }
    }

    /// Tells whether a text passes. This is what every search means; indexes only leave texts out
    /// that would not pass.
    pub(crate) fn matches(&self, text: &str, scratch: &mut Scratch) -> bool {
        match self {
            Self::Words(list) => has_words(text, list, None, scratch),
            Self::Prefix(list, last) => has_words(text, list, Some(last), scratch),
            Self::Regex(regex) => regex.is_match(text),
            Self::Contains(part) => memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some(),
            Self::Exact(want) => text == want,
            Self::Number(compare, limit) => number(text).is_some_and(|n| compare.holds(n, *limit)),
            Self::Exists => !text.is_empty(),
        }
    }

    /// Returns the one word or text that is asked for, if it is one.
    pub(crate) fn whole_text(&self) -> Option<&str> {
        match self {
            Self::Words(list) if list.len() == 1 => list.first().map(String::as_str),
            Self::Exact(text) => Some(text),
            _ => None,
        }
    }

    /// Returns words that any text that passes has, as whole words.
    pub(crate) fn words(&self) -> &[String] {
        match self {
            Self::Words(list) | Self::Prefix(list, _) => list,
            _ => &[],
        }
    }
}

impl Compare {
    pub(crate) fn holds(self, n: f64, limit: f64) -> bool {
        match self {
            Self::Less => n < limit,
            Self::LessOrEqual => n <= limit,
            Self::Greater => n > limit,
            Self::GreaterOrEqual => n >= limit,
        }
    }
}

/// Reads a number, without blanks around it; infinities and NaN are none.
pub(crate) fn number(text: &str) -> Option<f64> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
        return None;
    }
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

/// Compiles a regular expression that stands at character `at`.
pub(super) fn regex(expression: &str, at: usize) -> Result<Test, QueryError> {
    let compiled = regex::RegexBuilder::new(expression).size_limit(1 << 20).build();
    compiled.map(Test::Regex).map_err(|e| QueryError::Syntax {
        at,
        message: match e {
            regex::Error::CompiledTooBig(_) => "the regular expression is too large".into(),
            e => e.to_string().lines().last().unwrap_or("no regular expression").trim().to_owned(),
        },
    })
}

fn has_words(text: &str, list: &[String], last: Option<&str>, scratch: &mut Scratch) -> bool {
    let n = list.len() + usize::from(last.is_some());
    if list.iter().any(|word| lacks(text, word)) {
        return false;
    }
    let Scratch { word, running } = scratch;
    running.clear();
    let mut found = false;
    let fits = |at: usize, word: &str| match list.get(at) {
        Some(want) => want == word,
        None => last.is_some_and(|prefix| word.starts_with(prefix)),
    };
    for_each_word(text, word, &mut |word| {
        if found {
            return;
        }
        running.retain_mut(|at| {
            let goes_on = fits(*at, word);
            *at += 1;
            found |= goes_on && *at == n;
            goes_on
        });
        if fits(0, word) {
            found |= n == 1;
            running.push(1);
        }
    });
    found
}

/// Tells cheaply that a text cannot have a word; most texts end here, before they are cut up.
fn lacks(text: &str, word: &str) -> bool {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    if text.len() < word.len() {
        // A letter's lower case may be longer than itself, but only outside of ASCII.
        return text.is_ascii();
    }
    let Some(&first) = word.first() else { return false };
    // Letters outside of ASCII may have a lower case inside of it.
    if !text.is_ascii() || !word.is_ascii() {
        return false;
    }
    let last_start = text.len() - word.len();
    !memchr::memchr2_iter(first, first.to_ascii_uppercase(), &text[..=last_start])
        .any(|at| text[at..at + word.len()].eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(test: Test, text: &str, want: bool) {
        assert_eq!(test.matches(text, &mut Scratch::default()), want, "{test:?} on {text:?}");
    }

    #[test]
    fn phrases_are_whole_words_in_order() {
        check(Test::of_words("time out"), "a time Time OUT b", true);
        check(Test::of_words("time out"), "time is out", false);
        check(Test::of_words("out"), "about", false);
        check(Test::of_words("a a b"), "a a a b", true);
        check(Test::of_words("10.0.3.7"), "at 10.0.3.7:80", true);
        check(Test::of_words("10.0.3.7"), "at 10.0.3.70", false);
        check(Test::of_words("登录失败"), "用户登录失败了", true);
        check(Test::of_words("登"), "用户登录", true);
        check(Test::of_words("***"), "a *** b", true);
        check(Test::of_prefix("time ou"), "time outer", true);
        check(Test::of_prefix("ou"), "the outer", true);
        check(Test::of_prefix("ou"), "about", false);
    }

    #[test]
    fn numbers_are_whole_texts() {
        check(Test::Number(Compare::Greater, 5.0), "5.5", true);
        check(Test::Number(Compare::Greater, 5.0), "6ms", false);
        check(Test::Number(Compare::LessOrEqual, -1.0), "-1", true);
        check(Test::Number(Compare::Greater, 5.0), "inf", false);
    }
}
