//! Patterns as tokens, and the key under which alike patterns meet.

use std::sync::Arc;

use super::super::bytes::{BLANK as BLANK_CLASS, DIGIT, LETTER, STOP, is};
use super::super::split::VARIABLE;
use super::super::trace::trace_of;
use super::token::{BLANK, Token, Tokens, VAR};

/// Tokens of a pattern that count; what follows is one variable.
const KEY_TOKENS_MAX: usize = 256;

/// Cuts a pattern into words, punctuation, variables and blanks.
///
/// What names a stack trace is one token that is no word: faults never join, whatever is said before.
pub(super) fn tokenize(pattern: &[u8], tokens: &mut Tokens) -> Vec<Token> {
    let mut out = Vec::new();
    let (pattern, trace) = match trace_of(pattern) {
        Some(at) => pattern.split_at(at),
        None => (pattern, b"".as_slice()),
    };
    let mut at = 0;
    while at < pattern.len() {
        if out.len() >= KEY_TOKENS_MAX {
            out.push(VAR);
            break;
        }
        let b = pattern[at];
        if b == VARIABLE {
            out.push(VAR);
            at += 1;
        } else if is(b, BLANK_CLASS) {
            out.push(BLANK);
            at += pattern[at..].iter().take_while(|&&b| is(b, BLANK_CLASS)).count();
        } else if is(b, STOP) {
            out.push(tokens.number(&pattern[at..=at]));
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
            run(&pattern[at..end], tokens, &mut out);
            at = end;
        }
    }
    if !trace.is_empty() {
        out.push(tokens.number(trace));
    }
    out
}

/// A run's words and punctuation, cut where the split cuts.
fn run(s: &[u8], tokens: &mut Tokens, out: &mut Vec<Token>) {
    let mut at = 0;
    while at < s.len() {
        let rest = &s[at..];
        let starts_word = |b: u8| is(b, LETTER | DIGIT) || matches!(b, b'_' | b'/' | b'\\');
        let n_lead = rest.iter().take_while(|&&b| !starts_word(b)).count();
        if n_lead > 0 {
            out.push(tokens.number(&rest[..n_lead]));
            at += n_lead;
            continue;
        }
        let dots = rest.windows(2).position(|w| w == b"..").unwrap_or(rest.len());
        let part = rest.iter().position(|&b| b == b':').unwrap_or(rest.len()).min(dots);
        let is_tail = |b: &&u8| matches!(b, b'.' | b'-' | b'~' | b'@' | b'/' | b'\\' | b'$' | b'&' | b'_');
        let n_tail = rest[..part].iter().rev().take_while(is_tail).count();
        if part > n_tail {
            out.push(tokens.number(&rest[..part - n_tail]));
        }
        if part == rest.len() {
            if n_tail > 0 {
                out.push(tokens.number(&rest[part - n_tail..]));
            }
            return;
        }
        let n_marks = rest[part..].iter().take_while(|&&b| b == rest[part]).count();
        out.push(tokens.number(&rest[part - n_tail..part + n_marks]));
        at += part + n_marks;
    }
}

/// Joins lists of variables into one and drops a unit behind a variable; trims blanks.
///
/// Patterns of one key are one template, whatever the length of their lists.
pub(super) fn collapse(list: &[Token], tokens: &Tokens) -> Arc<[Token]> {
    let mut out: Vec<Token> = Vec::with_capacity(list.len());
    let is = |t: Token, text: &[u8]| tokens.text(t) == text;
    for &token in list {
        if token == VAR {
            match out[..] {
                [.., VAR] => continue,
                [.., VAR, sep] if sep == BLANK || tokens.is_glue(sep) => {
                    out.pop();
                    continue;
                }
                [.., VAR, sep, BLANK] if is(sep, b",") || is(sep, b"-") => {
                    out.truncate(out.len() - 2);
                    continue;
                }
                [.., VAR, BLANK, sep, BLANK] if is(sep, b"-") => {
                    out.truncate(out.len() - 3);
                    continue;
                }
                _ => {}
            }
        } else if tokens.is_unit(token) && matches!(out[..], [.., VAR, BLANK]) {
            out.pop();
            continue;
        }
        out.push(token);
    }
    while out.last() == Some(&BLANK) {
        out.pop();
    }
    let n_lead = out.iter().take_while(|&&t| t == BLANK).count();
    out.drain(..n_lead);
    out.into()
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
