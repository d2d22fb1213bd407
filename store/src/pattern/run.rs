//! Classifies a run: a stretch without blanks and stops.

use super::bytes::{CLASS, COLON, DIGIT, DOT, LETTER, SLASH, has_digit, is};
use super::shape::{is_hex_word, is_literal, is_mac_like, is_place, is_word_with_digit, name_dot_number};
use super::split::{Kind, Pieces};

/// Cuts the run `line[start..end]` into pieces. `flags` are the classes of its bytes, together.
pub(super) fn classify(line: &[u8], start: usize, end: usize, flags: u16, pieces: &mut Pieces) {
    let (i, j) = strip(line, start, end);
    if i > start {
        pieces.push(Kind::Punctuation, start, i);
    }
    if j > i {
        if flags & (DIGIT | COLON | SLASH) == 0 && (flags & DOT == 0 || double_dot(&line[i..j]).is_none()) {
            // By far the most runs: plain words.
            pieces.push(plain_word(&line[i..j]), i, j);
        } else {
            body(line, i, j, pieces);
        }
    }
    if end > j {
        pieces.push(Kind::Punctuation, j, end);
    }
}

/// Cuts off joiners: in front all but `_ / \` and a sign or point before a digit, behind some.
fn strip(line: &[u8], start: usize, end: usize) -> (usize, usize) {
    let mut i = start;
    while i < end {
        let b = line[i];
        if is(b, LETTER | DIGIT) || matches!(b, b'_' | b'/' | b'\\') {
            break;
        }
        let before_digit = i + 1 < end && line[i + 1].is_ascii_digit();
        if before_digit && matches!(b, b'+' | b'-' | b'.' | b':') && (i == start || line[i - 1] != b) {
            break;
        }
        i += 1;
    }
    let mut j = end;
    while j > i && matches!(line[j - 1], b'.' | b':' | b'-' | b'~' | b'@' | b'/' | b'\\' | b'$' | b'&' | b'_')
    {
        j -= 1;
    }
    (i, j)
}

/// Splits at `..`, each part on its own. A loop, since a hostile line has thousands of them.
///
/// The bytes end with one that is not cut off behind, and so does every rest.
fn body(line: &[u8], start: usize, end: usize, pieces: &mut Pieces) {
    let mut i = start;
    while i < end {
        let Some(at) = double_dot(&line[i..end]) else {
            return without_dots(line, i, end, pieces);
        };
        let dots = i + at;
        if dots > i {
            without_dots(line, i, dots, pieces);
        }
        let rest = dots + line[dots..end].iter().take_while(|&&b| b == b'.').count();
        pieces.push(Kind::Punctuation, dots, rest);
        i = strip(line, rest, end).0;
        if i > rest {
            pieces.push(Kind::Punctuation, rest, i);
        }
    }
}

fn double_dot(s: &[u8]) -> Option<usize> {
    s.windows(2).position(|w| w == b"..")
}

/// A run without `..`: an address, parts between colons, or a single token.
fn without_dots(line: &[u8], start: usize, end: usize, pieces: &mut Pieces) {
    let s = &line[start..end];
    let flags = s.iter().fold(0, |f, &b| f | CLASS[b as usize]);
    if flags & COLON == 0 {
        return single(line, start, end, pieces);
    }
    if flags & DIGIT != 0 && (is_mac_like(s) || is_place(s)) {
        return pieces.push(Kind::Variable, start, end);
    }
    let base = pieces.len();
    let mut at = start;
    loop {
        let colon = line[at..end].iter().position(|&b| b == b':').map_or(end, |n| at + n);
        part(line, at, colon, base, pieces);
        if colon == end {
            return;
        }
        pieces.push(Kind::Punctuation, colon, colon + 1);
        at = colon + 1;
    }
}

/// One part between colons; variable, colon, variable become one variable.
fn part(line: &[u8], start: usize, end: usize, base: usize, pieces: &mut Pieces) {
    if start == end {
        return;
    }
    let (i, j) = strip(line, start, end);
    if i > start {
        pieces.push(Kind::Punctuation, start, i);
    }
    if j > i {
        let first = pieces.len();
        single(line, i, j, pieces);
        if i == start {
            pieces.join_over_colon(line, base, first);
        }
    }
    if end > j {
        pieces.push(Kind::Punctuation, j, end);
    }
}

/// A token without `..` and `:`. The loop walks over names in front of `@`.
fn single(line: &[u8], start: usize, end: usize, pieces: &mut Pieces) {
    let mut i = start;
    while i < end {
        let s = &line[i..end];
        if !has_digit(s) {
            return pieces.push(plain_word(s), i, end);
        }
        let at = s.iter().position(|&b| b == b'@').filter(|&at| at > 0 && at < s.len() - 1);
        let Some(at) = at.map(|n| i + n) else {
            return with_digit(line, i, end, pieces);
        };
        let left = &line[i..at];
        let is_object = left.contains(&b'.') || has_digit(left);
        pieces.push(if is_object { Kind::Variable } else { Kind::Word }, i, at);
        pieces.push(Kind::Punctuation, at, at + 1);
        if is_object {
            return pieces.push(Kind::Variable, at + 1, end);
        }
        i = strip(line, at + 1, end).0;
        if i > at + 1 {
            pieces.push(Kind::Punctuation, at + 1, i);
        }
    }
}

/// A token with a digit and without `@` inside.
fn with_digit(line: &[u8], i: usize, j: usize, pieces: &mut Pieces) {
    let s = &line[i..j];
    if let Some(dot) = name_dot_number(s) {
        pieces.push(Kind::Word, i, i + dot);
        pieces.push(Kind::Punctuation, i + dot, i + dot + 1);
        pieces.push(Kind::Variable, i + dot + 1, j);
    } else if is_word_with_digit(s) {
        pieces.push(Kind::Word, i, j);
    } else {
        pieces.push(Kind::Variable, i, j);
    }
}

/// A token without a digit: a word, but for literals, hexadecimal words, mail addresses and paths.
fn plain_word(s: &[u8]) -> Kind {
    if is_literal(s) || is_hex_word(s) {
        return Kind::Variable;
    }
    let at = s.iter().position(|&b| b == b'@').filter(|&at| at > 0);
    if at.is_some_and(|at| s[at..].contains(&b'.')) {
        return Kind::Variable;
    }
    let n_slashes = s.iter().filter(|&&b| b == b'/').count();
    if n_slashes >= 2 || s[0] == b'/' || s.contains(&b'\\') {
        return Kind::Variable;
    }
    Kind::Word
}
