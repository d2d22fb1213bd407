//! Shapes of single tokens: which runs of bytes look like a name, an address, an identifier.

use super::bytes::{has_digit, is_word};

/// `true false null nil nan none`, in any case.
pub(super) fn is_literal(s: &[u8]) -> bool {
    (3..=5).contains(&s.len())
        && [b"true".as_slice(), b"false", b"null", b"nil", b"nan", b"none"]
            .iter()
            .any(|l| s.eq_ignore_ascii_case(l))
}

/// Eight or more letters, all `a` to `f` of one case: a hexadecimal number without a digit.
pub(super) fn is_hex_word(s: &[u8]) -> bool {
    s.len() >= 8
        && (s.iter().all(|b| (b'a'..=b'f').contains(b)) || s.iter().all(|b| (b'A'..=b'F').contains(b)))
}

/// Hexadecimal digits, then two or more parts behind colons: a clock, a MAC or an IPv6 address.
pub(super) fn is_mac_like(s: &[u8]) -> bool {
    let mut n_colons = 0;
    for &b in s {
        match b {
            b':' => n_colons += 1,
            b'.' if n_colons > 0 => {}
            _ if b.is_ascii_hexdigit() => {}
            _ => return false,
        }
    }
    n_colons >= 2
}

/// Suffixes of source files and domains: with one of these, two labels and a number are a place.
const SUFFIXES: [&[u8]; 34] = [
    b"c",
    b"cc",
    b"cpp",
    b"cxx",
    b"h",
    b"hpp",
    b"m",
    b"java",
    b"kt",
    b"scala",
    b"go",
    b"rs",
    b"py",
    b"rb",
    b"pl",
    b"js",
    b"ts",
    b"tsx",
    b"php",
    b"cs",
    b"swift",
    b"sh",
    b"ex",
    b"erl",
    b"com",
    b"net",
    b"org",
    b"io",
    b"edu",
    b"gov",
    b"local",
    b"internal",
    b"lan",
    b"svc",
];

/// `host.name.tld:80`, `Name.java:12`: a dotted name, a colon, digits.
pub(super) fn is_place(s: &[u8]) -> bool {
    let Some(colon) = s.iter().rposition(|&b| b == b':') else { return false };
    let (name, number) = (&s[..colon], &s[colon + 1..]);
    if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return false;
    }
    if !name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_') {
        return false;
    }
    let mut n_labels = 0;
    let mut last: &[u8] = b"";
    for label in name.split(|&b| b == b'.') {
        if label.is_empty() || !label.iter().all(|&b| is_word(b) || b"$/-".contains(&b)) {
            return false;
        }
        n_labels += 1;
        last = label;
    }
    n_labels >= 3 || n_labels == 2 && (SUFFIXES.contains(&last) || last == b"cn")
}

/// A key in front of `=`: a letter or `_`, then at most 31 word bytes, `.` or `-`.
pub(super) fn is_key(s: &[u8]) -> bool {
    s.len() <= 32
        && s.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && s[1..].iter().all(|&b| is_word(b) || b == b'.' || b == b'-')
}

/// The name of a function in front of `(`: letters, `_`, `.`, with at most two digits in a row.
pub(super) fn is_function_name(s: &[u8]) -> bool {
    let name = |b: &u8| b.is_ascii_alphabetic() || *b == b'_' || *b == b'.';
    let start = s.iter().take_while(|b| name(b)).count();
    let digits = s[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    start > 0 && digits <= 2 && s[start + digits..].iter().all(name)
}

/// `core.4900`: returns the length of the name in front of the dot.
pub(super) fn name_dot_number(s: &[u8]) -> Option<usize> {
    let dot = s.iter().position(|&b| b == b'.')?;
    let (name, number) = (&s[..dot], &s[dot + 1..]);
    let named = name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && name.iter().all(|b| b.is_ascii_alphabetic() || *b == b'_' || *b == b'-');
    (named && !number.is_empty() && number.iter().all(u8::is_ascii_digit)).then_some(dot)
}

/// A name that happens to hold a digit inside and stays a word: `Slf4jLogger`, `flush2DB`.
pub(super) fn is_word_with_digit(s: &[u8]) -> bool {
    s.len() >= 5
        && s.iter().filter(|b| b.is_ascii_digit()).count() <= 3
        && !s.iter().all(u8::is_ascii_hexdigit)
        && s.split(|&b| b == b'.').all(|part| !has_digit(part) || has_inner_digit(part))
}

/// Letters, one or two digits, two or more letters or `_`.
fn has_inner_digit(s: &[u8]) -> bool {
    let letters = s.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let digits = s[letters..].iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = &s[letters + digits..];
    letters > 0
        && (1..=2).contains(&digits)
        && rest.len() >= 2
        && rest.iter().all(|b| b.is_ascii_alphabetic() || *b == b'_')
}
