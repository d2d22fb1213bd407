//! `key=value` pairs, as Go programs write them.

use std::borrow::Cow;

use super::{Context, Parsed, Value, put};

/// Tells whether the first two words of a line are pairs.
pub(super) fn is_likely(line: &str) -> bool {
    let mut rest = line;
    (0..2).all(|_| match next(rest) {
        Some((key, Some(_), after)) => {
            rest = after;
            key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '@')
        }
        _ => false,
    })
}

/// Reads a line of pairs; a key without a value is true.
pub(super) fn parse<'a>(line: &'a str, context: &Context<'_>) -> Option<Parsed<'a>> {
    let mut parsed = Parsed::default();
    let mut rest = line;
    let mut n_pairs = 0;
    while let Some((key, value, after)) = next(rest) {
        n_pairs += usize::from(value.is_some());
        let value = match value {
            None => Value::Bool(true),
            Some(Raw::Word(word)) => Value::from_word(word),
            Some(Raw::Quoted(text)) => Value::Text(text),
        };
        put(&mut parsed, Cow::Borrowed(key), value, context);
        rest = after;
    }
    (n_pairs > 0 && rest.trim().is_empty()).then_some(parsed)
}

enum Raw<'a> {
    Word(&'a str),
    Quoted(Cow<'a, str>),
}

/// Takes one key and its value; returns them with what follows.
fn next(line: &str) -> Option<(&str, Option<Raw<'_>>, &str)> {
    let line = line.trim_start_matches(' ');
    let is_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '@');
    let key_end = line.find(|c| !is_key(c)).unwrap_or(line.len());
    let (key, rest) = line.split_at(key_end);
    if key.is_empty() {
        return None;
    }
    let Some(value) = rest.strip_prefix('=') else {
        let ends = rest.is_empty() || rest.starts_with(' ');
        return ends.then_some((key, None, rest));
    };
    if let Some(quoted) = value.strip_prefix('"') {
        let (text, after) = unquote(quoted)?;
        return Some((key, Some(Raw::Quoted(text)), after));
    }
    let end = value.find(' ').unwrap_or(value.len());
    let (word, after) = value.split_at(end);
    (!word.contains('"')).then_some((key, Some(Raw::Word(word)), after))
}

/// Takes a text up to its closing quote, which must be there.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut owned = text[..end].to_owned();
    let mut chars = text[end..].char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Some((Cow::Owned(owned), &text[end + i + 1..])),
            '\\' => owned.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            other => owned.push(other),
        }
    }
    None
}
