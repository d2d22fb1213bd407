//! Lines that are records themselves: JSON objects and logfmt.
//!
//! A JSON object is split value by value: the skeleton of keys and punctuation is constant text,
//! each value is a variable, and the message's text is split like a plain line. So the fields of
//! such a line lie in its variables, and nothing but the pattern is needed to name them.

use super::bytes::{BLANK, is, is_word};
use super::split::{Kind, Pieces, VARIABLE, scan};

/// Objects inside objects are opened up to here; deeper ones are one variable.
const DEPTH_MAX: usize = 4;
/// Names of the field that holds the message.
const MESSAGE_KEYS: [&[u8]; 6] = [b"message", b"msg", b"log", b"body", b"event", b"MESSAGE"];
/// Keys of which logfmt lines have one.
const LOGFMT_KEYS: [&[u8]; 5] = [b"level", b"lvl", b"severity", b"ts", b"time"];

/// A field whose value is one variable of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSlot {
    /// Its name; names of objects inside objects are joined by dots.
    pub name: String,
    /// Which variable holds its value.
    pub variable: usize,
    /// Whether the value stands in quotes, so that escapes are to be undone.
    pub is_quoted: bool,
}

/// What a plain line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    Plain,
    Logfmt,
}

impl LineKind {
    /// A logfmt line starts with `key=`, and has a level or a time among its first keys.
    pub(super) fn of(line: &[u8]) -> Self {
        let mut at = 0;
        loop {
            let n_key = line[at..].iter().take_while(|&&b| is_word(b) || b == b'.').count();
            if n_key == 0 || line.get(at + n_key) != Some(&b'=') {
                return Self::Plain;
            }
            if LOGFMT_KEYS.contains(&&line[at..at + n_key]) {
                return Self::Logfmt;
            }
            let Some(end) = logfmt_value_end(line, at + n_key + 1) else { return Self::Plain };
            if line.get(end) != Some(&b' ') {
                return Self::Plain;
            }
            at = end + 1;
        }
    }

    /// Tells whether the quoted value behind the `=` at `equals` is the message, to be split inside.
    pub(super) fn keeps_open(self, line: &[u8], equals: usize) -> bool {
        self == Self::Logfmt
            && [b"msg".as_slice(), b"message"].iter().any(|key| {
                line[..equals].ends_with(key)
                    && (equals == key.len() || is(line[equals - key.len() - 1], BLANK))
            })
    }
}

fn logfmt_value_end(line: &[u8], from: usize) -> Option<usize> {
    if line.get(from) == Some(&b'"') {
        return string_end(line, from + 1).map(|close| close + 1);
    }
    Some(super::bytes::find_class(line, from, BLANK))
}

/// Splits a JSON object; leaves `pieces` empty and answers `false` when the line is none.
pub(super) fn split_json(line: &[u8], full_len: usize, pieces: &mut Pieces) -> bool {
    if line.first() != Some(&b'{') || line.len() != full_len {
        return false;
    }
    let mut covered = 0;
    let mut has_message = false;
    let whole = walk(line, &mut |keys, value| {
        pieces.push(Kind::Punctuation, covered, value.start);
        covered = value.end;
        let is_message = !has_message && value.is_quoted && is_message_key(keys);
        if is_message && value.start < value.end {
            has_message = true;
            let n_before = pieces.len();
            scan(&line[..value.end], value.start, LineKind::Plain, pieces);
            // A variable that ends inside an escape would leave a bare quote in the pattern.
            if !pieces.variables_from(n_before).any(|end| line[end - 1] == b'\\') {
                return;
            }
            pieces.truncate(n_before);
        }
        pieces.push(Kind::Variable, value.start, value.end);
    });
    match whole {
        Some(end) if line[end..].iter().all(|&b| is(b, BLANK)) && covered > 0 => {
            pieces.push(Kind::Punctuation, covered, line.len());
            true
        }
        _ => {
            pieces.clear();
            false
        }
    }
}

/// Names the fields of a JSON or logfmt line by its pattern; empty for other lines.
///
/// The message is no field here when it was split inside: it is in the pattern itself.
pub fn fields_of(pattern: &[u8]) -> Vec<FieldSlot> {
    let mut fields = Vec::new();
    if pattern.first() == Some(&b'{') {
        let mut seen = (0, 0);
        let whole = walk(pattern, &mut |keys, value| {
            if &pattern[value.start..value.end] == [VARIABLE].as_slice() {
                let variable = count_to(pattern, &mut seen, value.start);
                fields.push(FieldSlot { name: joined(keys), variable, is_quoted: value.is_quoted });
            }
        });
        if whole.is_none() {
            fields.clear();
        }
    } else if LineKind::of(pattern) == LineKind::Logfmt {
        logfmt_fields(pattern, &mut fields);
    }
    fields
}

fn logfmt_fields(pattern: &[u8], fields: &mut Vec<FieldSlot>) {
    let mut seen = (0, 0);
    let mut at = 0;
    while at < pattern.len() {
        let n_key = pattern[at..].iter().take_while(|&&b| is_word(b) || b == b'.' || b == b'-').count();
        if n_key == 0 || pattern.get(at + n_key) != Some(&b'=') {
            at += n_key + 1;
            continue;
        }
        let from = at + n_key + 1;
        let Some(end) = logfmt_value_end(pattern, from) else { return };
        let is_quoted = pattern.get(from) == Some(&b'"');
        let value = if is_quoted { &pattern[from + 1..end - 1] } else { &pattern[from..end] };
        if value == [VARIABLE].as_slice()
            && let Ok(name) = std::str::from_utf8(&pattern[at..at + n_key])
        {
            let variable = count_to(pattern, &mut seen, from + usize::from(is_quoted));
            fields.push(FieldSlot { name: name.into(), variable, is_quoted });
        }
        at = end + 1;
    }
}

/// The field of a JSON or logfmt line that holds its message, split inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageField {
    /// Its name.
    pub name: String,
    /// Where in the pattern its text lies.
    pub range: std::ops::Range<usize>,
    /// Variables in front of it.
    pub n_before: usize,
}

/// Finds the message of a JSON or logfmt line by its pattern. Its text stands in quotes.
pub fn message_field(pattern: &[u8]) -> Option<MessageField> {
    let mut found: Option<(&[u8], std::ops::Range<usize>)> = None;
    if pattern.first() == Some(&b'{') {
        walk(pattern, &mut |keys, value| {
            if found.is_none() && value.is_quoted && is_message_key(keys) {
                found = Some((keys[0], value.start..value.end));
            }
        })?;
    } else if LineKind::of(pattern) == LineKind::Logfmt {
        for key in [b"msg=\"".as_slice(), b"message=\""] {
            let at =
                memchr::memmem::find_iter(pattern, key).find(|&at| at == 0 || is(pattern[at - 1], BLANK));
            if let Some(from) = at.map(|at| at + key.len())
                && let Some(close) = string_end(pattern, from)
            {
                found = Some((&key[..key.len() - 2], from..close));
                break;
            }
        }
    }
    let (name, range) = found?;
    let n_before = pattern[..range.start].iter().filter(|&&b| b == VARIABLE).count();
    Some(MessageField { name: String::from_utf8_lossy(name).into_owned(), range, n_before })
}

/// Tells whether a line, by its pattern, is one whose keys name fields, or begins as a JSON object does.
pub(super) fn is_structured(pattern: &[u8]) -> bool {
    pattern.first() == Some(&b'{') || LineKind::of(pattern) == LineKind::Logfmt
}

/// Returns the part of a pattern that people read: the message's text, or all of it.
pub fn message_of(pattern: &[u8]) -> &[u8] {
    message_field(pattern).map_or(pattern, |message| &pattern[message.range])
}

/// Counts markers up to `to`, going on from where the last count ended.
fn count_to(pattern: &[u8], seen: &mut (usize, usize), to: usize) -> usize {
    seen.1 += pattern[seen.0..to].iter().filter(|&&b| b == VARIABLE).count();
    seen.0 = to;
    seen.1
}

fn is_message_key(keys: &[&[u8]]) -> bool {
    matches!(keys, [key] if MESSAGE_KEYS.contains(key))
}

fn joined(keys: &[&[u8]]) -> String {
    keys.iter().map(|key| String::from_utf8_lossy(key)).collect::<Vec<_>>().join(".")
}

#[derive(Clone, Copy)]
struct Value {
    start: usize,
    end: usize,
    is_quoted: bool,
}

/// Walks the values of the object that `s` starts with; returns where it ends, `None` if it is no
/// JSON. A value comes with its key behind the keys of the objects around it; strings are reported
/// without quotes. A [`VARIABLE`] byte is taken for a value as well.
fn walk<'a>(s: &'a [u8], on_value: &mut dyn FnMut(&[&'a [u8]], Value)) -> Option<usize> {
    let mut depth = 0;
    let mut at = after_blanks(s, 1);
    let mut is_first = true;
    let mut keys: [&[u8]; DEPTH_MAX] = [b""; DEPTH_MAX];
    loop {
        match s.get(at)? {
            b'}' => {
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
                depth -= 1;
                is_first = false;
                at = after_blanks(s, at);
                continue;
            }
            b',' if !is_first => at = after_blanks(s, at + 1),
            b'"' if is_first => {}
            _ => return None,
        }
        if s.get(at) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(s, at + 1)?;
        keys[depth] = &s[at + 1..key_end];
        at = after_blanks(s, key_end + 1);
        if s.get(at) != Some(&b':') {
            return None;
        }
        at = after_blanks(s, at + 1);
        match s.get(at)? {
            b'{' if depth + 1 < DEPTH_MAX && s.get(after_blanks(s, at + 1)) != Some(&b'}') => {
                depth += 1;
                is_first = true;
                at = after_blanks(s, at + 1);
                continue;
            }
            b'"' => {
                let end = string_end(s, at + 1)?;
                on_value(&keys[..=depth], Value { start: at + 1, end, is_quoted: true });
                at = end + 1;
            }
            _ => {
                let end = bare_end(s, at)?;
                on_value(&keys[..=depth], Value { start: at, end, is_quoted: false });
                at = end;
            }
        }
        is_first = false;
        at = after_blanks(s, at);
    }
}

fn after_blanks(s: &[u8], from: usize) -> usize {
    s[from.min(s.len())..].iter().position(|&b| !is(b, BLANK)).map_or(s.len(), |n| from + n)
}

/// Where the string that starts at `from`, behind its quote, ends: the place of the closing quote.
fn string_end(s: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'"', b'\\', s.get(at..)?)?;
        if s[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Where a number, a word, an array or a deep object ends.
fn bare_end(s: &[u8], from: usize) -> Option<usize> {
    let mut nesting = 0usize;
    let mut at = from;
    while let Some(&b) = s.get(at) {
        match b {
            b'"' if nesting > 0 => at = string_end(s, at + 1)?,
            b'[' | b'{' => nesting += 1,
            b']' | b'}' if nesting > 0 => {
                nesting -= 1;
                if nesting == 0 {
                    return Some(at + 1);
                }
            }
            b',' | b'}' | b']' if nesting == 0 => break,
            b'"' | b':' if nesting == 0 => return None,
            _ if nesting == 0 && is(b, BLANK) => break,
            _ => {}
        }
        at += 1;
    }
    (at > from && nesting == 0).then_some(at)
}
