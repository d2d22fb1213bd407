//! Templates as text for people.

use super::key::collapse;
use super::token::{BLANK, Token, Tokens, VAR};

const HOLE: &str = "<*>";

/// The most frequent member's text with `<*>` where members differ; `None` when even their keys
/// have different lengths. `lists` are sorted by frequency.
pub(super) fn of_members(lists: &[&[Token]], tokens: &Tokens) -> Option<String> {
    let (first, rest) = lists.split_first()?;
    if rest.iter().all(|l| l.len() == first.len()) {
        return Some(render(&overlaid(first, rest), tokens));
    }
    let keys: Vec<_> = lists.iter().map(|l| collapse(l, tokens)).collect();
    let keys: Vec<&[Token]> = keys.iter().map(|k| &**k).collect();
    let (first, rest) = keys.split_first()?;
    if rest.iter().all(|l| l.len() == first.len()) {
        return Some(render(&collapse(&overlaid(first, rest), tokens), tokens));
    }
    None
}

fn overlaid(base: &[Token], others: &[&[Token]]) -> Vec<Token> {
    let mut out = base.to_vec();
    for other in others {
        for (slot, &token) in out.iter_mut().zip(*other) {
            if *slot != token {
                *slot = VAR;
            }
        }
    }
    out
}

/// Writes tokens with `<*>` for variables, blanks as one, glued variables as one.
pub(super) fn render(list: &[Token], tokens: &Tokens) -> String {
    let mut out = String::new();
    let mut i = 0;
    while i < list.len() {
        match list[i] {
            VAR => {
                out.push_str(HOLE);
                while let Some(n) = glued(&list[i + 1..], tokens) {
                    i += n;
                }
            }
            BLANK => out.push(' '),
            // The name of a stack trace holds its variables.
            token => {
                out.push_str(
                    &String::from_utf8_lossy(tokens.text(token)).replace('\0', &format!(" {HOLE} ")),
                );
            }
        }
        i += 1;
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many tokens a variable glued to the one before takes: `<*>:<*>`, `<*>.<*>`, `<*>/<*>`.
fn glued(rest: &[Token], tokens: &Tokens) -> Option<usize> {
    match rest {
        [VAR, ..] => Some(1),
        [sep, VAR, ..] if matches!(tokens.text(*sep), b":" | b"/" | b".") => Some(2),
        _ => None,
    }
}
