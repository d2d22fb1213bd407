//! What is asked of one text.

use std::fmt::Write as _;
use std::sync::Arc;

use regex_syntax::hir::Hir;

use super::QueryError;
use super::anchor::{Anchor, anchors};
use crate::pattern::{for_each_word, is_cjk, words};

/// A question about one text: a body or the value of a field.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// The words stand in it one behind the other; at least one.
    Words(Vec<String>),
    /// The word stands in it; it is this many bytes as hexadecimal digits, mostly an identifier.
    Id([String; 1], Vec<u8>),
    /// The words, and then one that begins so.
    Prefix(Vec<String>, String),
    /// A regular expression matches somewhere.
    Regex(Arc<Expression>),
    /// The text is in it, byte for byte.
    Contains(Arc<Part>),
    /// It is this text, which has these words.
    Exact(String, Vec<String>),
    /// It is a number that compares so.
    Number(Compare, f64),
    /// It is not empty.
    Exists,
}

/// A regular expression.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) regex: regex::Regex,
    anchors: Option<Vec<Anchor>>,
    /// Whether a match hangs on what is around it.
    has_look: bool,
}

/// A part of a text.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) text: String,
    anchors: Option<Vec<Anchor>>,
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
            return Self::contains(text);
        }
        if let [word] = list.as_slice()
            && let Some(bytes) = id_bytes(word)
        {
            return Self::Id([word.clone()], bytes);
        }
        Self::Words(list)
    }

    /// Makes the test for words in which `*` stands for any letters and digits of the word, and `?` for one.
    pub(super) fn of_glob(text: &str, at: usize) -> Result<Self, QueryError> {
        const LETTER: &str = r"[\p{Alphabetic}\p{N}]";
        const EDGE: &str = r"[^\p{Alphabetic}\p{N}]";
        // As is_cjk.
        const CJK: &str = r"[\x{3040}-\x{30ff}\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}\x{ac00}-\x{d7af}\x{f900}-\x{faff}\x{20000}-\x{3134f}]";
        let is_gap = |c: char| !c.is_alphanumeric() && !matches!(c, '*' | '?');
        let text = text.trim_matches(is_gap);
        let is_part = |c: char| (c.is_alphanumeric() && !is_cjk(c)) || matches!(c, '*' | '?');
        let mut expression = String::new();
        if text.starts_with(is_part) {
            let _ = write!(expression, "(?:^|{EDGE}|{CJK})");
        }
        let mut was_gap = false;
        for c in text.chars() {
            match c {
                '*' => expression.extend([LETTER, "*"]),
                '?' => expression.push_str(LETTER),
                c if is_gap(c) && was_gap => {}
                c if is_gap(c) => expression.extend([EDGE, "+"]),
                c if c.is_ascii_alphabetic() => {
                    expression.extend(['[', c.to_ascii_uppercase(), c.to_ascii_lowercase(), ']']);
                }
                c if c.is_ascii() => expression.push(c),
                c => expression.extend(["(?i:", c.encode_utf8(&mut [0; 4]), ")"]),
            }
            was_gap = is_gap(c);
        }
        if text.ends_with(is_part) {
            let _ = write!(expression, "(?:$|{EDGE}|{CJK})");
        }
        regex(&expression, at)
    }

    /// Makes the test for a part of a text.
    pub(super) fn contains(text: &str) -> Self {
        let anchors = anchors(&Hir::literal(text.as_bytes()));
        Self::Contains(Arc::new(Part { text: text.into(), anchors }))
    }

    /// Makes the test for a whole text.
    pub(super) fn exact(text: String) -> Self {
        let list = words(&text);
        Self::Exact(text, list)
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
            Self::Id(list, _) => has_words(text, list, None, scratch),
            Self::Prefix(list, last) => has_words(text, list, Some(last), scratch),
            Self::Regex(expression) => expression.regex.is_match(text),
            Self::Contains(part) => memchr::memmem::find(text.as_bytes(), part.text.as_bytes()).is_some(),
            Self::Exact(want, _) => text == want,
            Self::Number(compare, limit) => number(text).is_some_and(|n| compare.holds(n, *limit)),
            Self::Exists => !text.is_empty(),
        }
    }

    /// Returns the one word or text that is asked for, if it is one.
    pub(crate) fn whole_text(&self) -> Option<&str> {
        match self {
            Self::Words(list) if list.len() == 1 => list.first().map(String::as_str),
            Self::Id([word], _) => Some(word),
            Self::Exact(text, _) => Some(text),
            _ => None,
        }
    }

    /// Tells whether a text passes that has a part which does, whole words at its ends.
    pub(crate) fn is_of_parts(&self) -> bool {
        match self {
            Self::Words(_) | Self::Id(..) | Self::Prefix(..) | Self::Contains(_) => true,
            Self::Regex(expression) => !expression.has_look,
            Self::Exact(..) | Self::Number(..) | Self::Exists => false,
        }
    }

    /// Returns the ways in which a text may pass, one of which it has to take; `None` where that is not known.
    pub(crate) fn anchors(&self) -> Option<&[Anchor]> {
        match self {
            Self::Regex(expression) => expression.anchors.as_deref(),
            Self::Contains(part) => part.anchors.as_deref(),
            _ => None,
        }
    }

    /// Returns words that any text that passes has, as whole words.
    pub(crate) fn words(&self) -> &[String] {
        match self {
            Self::Words(list) | Self::Prefix(list, _) | Self::Exact(_, list) => list,
            Self::Id(list, _) => list,
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

/// Reads a word of hexadecimal digits as bytes; short ones are words, and the end of very long ones is cut off.
fn id_bytes(word: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = word.as_bytes().as_chunks::<2>();
    if !(4..=60).contains(&pairs.len()) || !rest.is_empty() {
        return None;
    }
    let byte = |pair: &[u8; 2]| {
        let is_lower = pair.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
        let text = std::str::from_utf8(pair).ok().filter(|_| is_lower)?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs.iter().map(byte).collect()
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
    let regex = compiled.map_err(|e| QueryError::Syntax {
        at,
        message: match e {
            regex::Error::CompiledTooBig(_) => "the regular expression is too large".into(),
            e => e.to_string().lines().last().unwrap_or("no regular expression").trim().to_owned(),
        },
    })?;
    let hir = regex_syntax::parse(expression).ok();
    let has_look = hir.as_ref().is_none_or(|hir| !hir.properties().look_set().is_empty());
    Ok(Test::Regex(Arc::new(Expression { regex, anchors: hir.as_ref().and_then(anchors), has_look })))
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
    fn wildcards_stay_inside_of_words() {
        let glob = |text: &str| Test::of_glob(text, 0).unwrap();
        check(glob("t*out"), "a Timeout here", true);
        check(glob("t*out"), "time out", false);
        check(glob("t*out"), "timeouts", false);
        check(glob("*out"), "time_out", true);
        check(glob("t?me"), "TIME", true);
        check(glob("t?me"), "te_me", false);
        check(glob("/api/*/orders"), "GET /api/v2/orders?x", true);
        check(glob("/api/*/orders"), "GET /api/v2/x/orders", false);
        check(glob("t*ut"), "登timeout录", true);
        check(glob("登*败"), "用户登录失败了", true);
        check(glob("gr*n"), "GRÜN", true);
    }

    #[test]
    fn hexadecimal_words_are_identifiers() {
        assert!(
            matches!(Test::of_words("DEADbeef01"), Test::Id(_, bytes) if bytes == [0xde, 0xad, 0xbe, 0xef, 1])
        );
        check(Test::of_words("deadbeef01"), "id=DeadBeef01,", true);
        check(Test::of_words("deadbeef01"), "id=deadbeef012", false);
        assert!(matches!(Test::of_words("deadbeef0"), Test::Words(_)));
    }

    #[test]
    fn numbers_are_whole_texts() {
        check(Test::Number(Compare::Greater, 5.0), "5.5", true);
        check(Test::Number(Compare::Greater, 5.0), "6ms", false);
        check(Test::Number(Compare::LessOrEqual, -1.0), "-1", true);
        check(Test::Number(Compare::Greater, 5.0), "inf", false);
    }
}
