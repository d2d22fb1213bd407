//! Patterns as tokens, and the key under which alike patterns meet.

use std::ops::Range;
use std::sync::Arc;

use super::super::bytes::{BLANK as BLANK_CLASS, DIGIT, LETTER, STOP, is};
use super::super::split::VARIABLE;
use super::super::trace::trace_of;
use super::token::{BLANK, Token, Tokens, VAR, is_word};

/// Tokens of a pattern that count; what follows is one variable.
const KEY_TOKENS_MAX: usize = 256;

/// Cuts a pattern into words, punctuation, variables and blanks.
///
/// What names a stack trace is one token that is no word: faults never join, whatever is said before.
pub(super) fn tokenize(pattern: &[u8], tokens: &mut Tokens) -> Vec<Token> {
    let mut out = Vec::new();
    cut(pattern, &mut |piece| {
        out.push(match piece {
            Piece::Variable => VAR,
            Piece::Blank => BLANK,
            Piece::Text(range) => tokens.number(&pattern[range]),
        });
    });
    out
}

/// Cuts a pattern as [`tokenize`] does, without taking in what was never seen, and says where each token lies.
pub(super) fn locate(pattern: &[u8], tokens: &Tokens) -> Vec<(Token, Range<usize>)> {
    let mut out = Vec::new();
    cut(pattern, &mut |piece| {
        out.push(match piece {
            Piece::Variable => (VAR, 0..0),
            Piece::Blank => (BLANK, 0..0),
            Piece::Text(range) => (tokens.known(&pattern[range.clone()]), range),
        });
    });
    out
}

/// Returns where the words of a pattern end.
pub(super) fn word_ends(pattern: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    cut(pattern, &mut |piece| match piece {
        Piece::Text(range) if is_word(&pattern[range.clone()]) => ends.push(range.end),
        _ => {}
    });
    ends
}

enum Piece {
    Variable,
    Blank,
    Text(Range<usize>),
}

fn cut(whole: &[u8], on_piece: &mut dyn FnMut(Piece)) {
    let (pattern, trace) = match trace_of(whole) {
        Some(at) => whole.split_at(at),
        None => (whole, b"".as_slice()),
    };
    let mut at = 0;
    let mut n_pieces = 0;
    let mut on_piece = |piece| {
        n_pieces += 1;
        on_piece(piece);
        n_pieces
    };
    let mut n = 0;
    while at < pattern.len() {
        if n >= KEY_TOKENS_MAX {
            on_piece(Piece::Variable);
            break;
        }
        let b = pattern[at];
        if b == VARIABLE {
            n = on_piece(Piece::Variable);
            at += 1;
        } else if is(b, BLANK_CLASS) {
            n = on_piece(Piece::Blank);
            at += pattern[at..].iter().take_while(|&&b| is(b, BLANK_CLASS)).count();
        } else if is(b, STOP) {
            n = on_piece(Piece::Text(at..at + 1));
            at += 1;
        } else {
            let apostrophe = |i: usize| {
                pattern[i] == b'\''
                    && i > at
                    && pattern[i - 1].is_ascii_alphabetic()
                    && pattern.get(i + 1).is_some_and(u8::is_ascii_lowercase)
            };
            let ends =
                |i: usize| pattern[i] == VARIABLE || is(pattern[i], BLANK_CLASS | STOP) && !apostrophe(i);
            let end = (at..pattern.len()).find(|&i| ends(i)).unwrap_or(pattern.len());
            run(&pattern[at..end], &mut |part| {
                n = on_piece(Piece::Text(at + part.start..at + part.end));
            });
            at = end;
        }
    }
    if !trace.is_empty() {
        on_piece(Piece::Text(pattern.len()..whole.len()));
    }
}

/// A run's words and punctuation, cut where the split cuts.
fn run(s: &[u8], on_part: &mut dyn FnMut(Range<usize>)) {
    let mut at = 0;
    while at < s.len() {
        let rest = &s[at..];
        let starts_word = |b: u8| is(b, LETTER | DIGIT) || matches!(b, b'_' | b'/' | b'\\');
        let n_lead = rest.iter().take_while(|&&b| !starts_word(b)).count();
        if n_lead > 0 {
            on_part(at..at + n_lead);
            at += n_lead;
            continue;
        }
        let dots = rest.windows(2).position(|w| w == b"..").unwrap_or(rest.len());
        let part = rest.iter().position(|&b| b == b':').unwrap_or(rest.len()).min(dots);
        let is_tail = |b: &&u8| matches!(b, b'.' | b'-' | b'~' | b'@' | b'/' | b'\\' | b'$' | b'&' | b'_');
        let n_tail = rest[..part].iter().rev().take_while(is_tail).count();
        if part > n_tail {
            on_part(at..at + part - n_tail);
        }
        if part == rest.len() {
            if n_tail > 0 {
                on_part(at + part - n_tail..s.len());
            }
            return;
        }
        let n_marks = rest[part..].iter().take_while(|&&b| b == rest[part]).count();
        on_part(at + part - n_tail..at + part + n_marks);
        at += part + n_marks;
    }
}

/// Joins lists of variables into one and drops a unit behind a variable; trims blanks.
///
/// Patterns of one key are one template, whatever the length of their lists.
pub(super) fn collapse(list: &[Token], tokens: &Tokens) -> Arc<[Token]> {
    let kept = collapsed(list, tokens);
    kept.into_iter().map(|at| list[at]).collect()
}

/// Returns which tokens of a list are those of its key.
pub(super) fn collapsed(list: &[Token], tokens: &Tokens) -> Vec<usize> {
    let mut out: Vec<usize> = Vec::with_capacity(list.len());
    let is = |at: usize, text: &[u8]| tokens.text(list[at]) == text;
    let is_var = |at: usize| list[at] == VAR;
    let is_blank = |at: usize| list[at] == BLANK;
    for (at, &token) in list.iter().enumerate() {
        if token == VAR {
            match out[..] {
                [.., a] if is_var(a) => continue,
                [.., a, sep] if is_var(a) && (is_blank(sep) || tokens.is_glue(list[sep])) => {
                    out.pop();
                    continue;
                }
                [.., a, sep, c] if is_var(a) && is_blank(c) && (is(sep, b",") || is(sep, b"-")) => {
                    out.truncate(out.len() - 2);
                    continue;
                }
                [.., a, b, sep, d] if is_var(a) && is_blank(b) && is(sep, b"-") && is_blank(d) => {
                    out.truncate(out.len() - 3);
                    continue;
                }
                _ => {}
            }
        } else if tokens.is_unit(token) && matches!(out[..], [.., a, b] if is_var(a) && is_blank(b)) {
            out.pop();
            continue;
        }
        out.push(at);
    }
    while out.last().is_some_and(|&at| is_blank(at)) {
        out.pop();
    }
    let n_lead = out.iter().take_while(|&&at| is_blank(at)).count();
    out.drain(..n_lead);
    out
}

/// Tells whether a key is a single word, or none, without a variable: it never joins others.
pub(super) fn is_single_word(key: &[Token], words: &[usize]) -> bool {
    !key.contains(&VAR)
        && match words {
            [] => true,
            [0] => key.len() <= 2,
            _ => false,
        }
}
