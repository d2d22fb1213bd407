//! How many distinct words show that a slot is a variable.

use super::super::bytes::is_word as is_word_byte;
use super::token::{BLANK, Token, Tokens};

/// Nouns behind which a name stands.
const ENTITIES: [&str; 76] = [
    "user",
    "username",
    "host",
    "hostname",
    "node",
    "server",
    "client",
    "peer",
    "file",
    "filename",
    "directory",
    "dir",
    "path",
    "device",
    "driver",
    "interface",
    "domain",
    "realm",
    "name",
    "named",
    "called",
    "service",
    "daemon",
    "job",
    "task",
    "process",
    "program",
    "command",
    "thread",
    "pod",
    "container",
    "namespace",
    "image",
    "volume",
    "bucket",
    "topic",
    "queue",
    "table",
    "database",
    "db",
    "schema",
    "index",
    "key",
    "class",
    "method",
    "function",
    "module",
    "package",
    "plugin",
    "component",
    "group",
    "role",
    "account",
    "tenant",
    "project",
    "cluster",
    "zone",
    "region",
    "session",
    "id",
    "uid",
    "address",
    "url",
    "port",
    "tag",
    "version",
    "branch",
    "release",
    "metric",
    "label",
    "rule",
    "policy",
    "app",
    "application",
    "instance",
    "partition",
];
const PREPOSITIONS: [&str; 15] =
    ["from", "to", "by", "on", "at", "for", "of", "in", "with", "via", "into", "as", "is", "than", "was"];

/// Returns how many distinct words the slot `i` of `key` needs, judged by one of its words.
///
/// What stands before decides: names follow `=`, `user` or `from`; verbs, states and methods stand
/// free. `first` is the message's first word, if no variable is before it.
pub(super) fn need(key: &[Token], i: usize, first: Option<usize>, word: Token, tokens: &Tokens) -> usize {
    let text = tokens.text(word);
    let is_first = first == Some(i);
    let base = if is_first { 16 } else { base(key, i, tokens) };
    if text.len() > 1 && is_enum_like(text) {
        return base + 1;
    }
    if text.iter().any(|b| b"./@\\$_".contains(b)) {
        return if is_first { 3 } else { 2 };
    }
    base
}

fn base(key: &[Token], i: usize, tokens: &Tokens) -> usize {
    let at = |i: usize| key.get(i).map_or(b"".as_slice(), |&t| tokens.text(t));
    let left = if i > 0 { at(i - 1) } else { b"" };
    let right = at(i + 1);
    let before = key[..i].iter().rev().find(|&&t| t != BLANK).copied();
    let before_text = before.map_or(b"".as_slice(), |t| tokens.text(t));
    let prior = before.filter(|&t| tokens.is_word(t)).map(|t| tokens.text(t).to_ascii_lowercase());
    let is_prior = |list: &[&str]| prior.as_deref().is_some_and(|p| list.iter().any(|w| w.as_bytes() == p));
    let between = left == right && matches!(left, b"\"" | b"'" | b"|");
    let in_brackets = matches!(left, b"(" | b"[" | b"{") && matches!(right, b")" | b"]" | b"}");
    if between
        || in_brackets
        || matches!(left, b"=" | b"|" | b":")
        || before_text == b"="
        || is_prior(&ENTITIES)
    {
        3
    } else if is_prior(&PREPOSITIONS) || before_text == b":" {
        4
    } else {
        8
    }
}

/// `SCREEN_ON`, `android.intent.SCREEN_ON`: states and actions.
fn is_enum_like(text: &[u8]) -> bool {
    let mut parts = text.rsplit(|&b| b == b'.');
    let last = parts.next().unwrap_or_default();
    last.first().is_some_and(u8::is_ascii_uppercase)
        && last.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
        && parts.all(|p| !p.is_empty() && p.iter().all(|&b| is_word_byte(b)))
}
