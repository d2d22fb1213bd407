//! What a variable is, by which its place in the index is chosen.

use super::date::match_date;
use super::shape::is_literal;

/// The kind of a variable; tested in the order literal, uuid, time, address, number, path, other
/// ids, word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenClass {
    /// Empty, or one of true, false, null, nil, nan, none.
    Literal,
    /// A uuid, a hexadecimal or long whole number, a long mix of letters and digits.
    Id,
    /// A clock, a date or both.
    Time,
    /// A number, also with a short unit.
    Number,
    /// An IPv4 address with or without port, an IPv6 or a MAC address.
    Address,
    /// A path or a URL.
    Path,
    /// The rest: users, hosts, short names with digits.
    Word,
}

impl TokenClass {
    /// Returns the class of a variable's text.
    pub fn of(text: &[u8]) -> Self {
        let v = text.trim_ascii();
        if v.is_empty() || is_literal(v) {
            return Self::Literal;
        }
        if is_uuid(v) {
            return Self::Id;
        }
        if is_time(v) {
            return Self::Time;
        }
        if is_address(v) {
            return Self::Address;
        }
        let n_digits = v.iter().filter(|b| b.is_ascii_digit()).count();
        if is_number(v) {
            let unsigned = v.strip_prefix(b"+").or(v.strip_prefix(b"-")).unwrap_or(v);
            let is_long = n_digits >= 7 && unsigned.iter().all(u8::is_ascii_digit);
            return if is_long { Self::Id } else { Self::Number };
        }
        if v.contains(&b'/') || v.contains(&b'\\') {
            return Self::Path;
        }
        let hex = v.strip_prefix(b"0x").unwrap_or(v);
        if hex.len() >= 7 && hex.iter().all(u8::is_ascii_hexdigit)
            || n_digits >= 6
            || v.len() >= 24 && n_digits >= 3
        {
            return Self::Id;
        }
        Self::Word
    }
}

fn is_uuid(v: &[u8]) -> bool {
    let v = v.strip_prefix(b"{").and_then(|v| v.strip_suffix(b"}")).unwrap_or(v);
    v.len() == 36
        && v.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn is_time(v: &[u8]) -> bool {
    let digits_at = |at: &[usize]| at.iter().all(|&i| v.get(i).is_some_and(u8::is_ascii_digit));
    let parted = |at: &[usize]| at.iter().all(|&i| v.get(i).is_some_and(|b| b"-/.".contains(b)));
    let is_date = v.len() >= 10 && digits_at(&[0, 1, 2, 3, 5, 6, 8, 9]) && parted(&[4, 7]);
    let is_short_date = v.len() == 5 && digits_at(&[0, 1, 3, 4]) && matches!(v[2], b'-' | b'/');
    is_date || is_short_date || match_date(v, 0) == Some(v.len()) || is_clock(v)
}

/// `3:04:05[.123]`
fn is_clock(v: &[u8]) -> bool {
    let n_hours = v.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = &v[n_hours..];
    (1..=2).contains(&n_hours)
        && rest.len() >= 6
        && (rest[0], rest[3]) == (b':', b':')
        && [1, 2, 4, 5].iter().all(|&i| rest[i].is_ascii_digit())
        && match rest.get(6) {
            None => true,
            Some(b) => b".,:".contains(b) && rest.len() > 7 && rest[7..].iter().all(u8::is_ascii_digit),
        }
}

fn is_address(v: &[u8]) -> bool {
    let plain = v.strip_prefix(b"/").unwrap_or(v);
    let (host, port) = match plain.iter().position(|&b| b == b':') {
        Some(at) => (&plain[..at], Some(&plain[at + 1..])),
        None => (plain, None),
    };
    let is_byte = |part: &[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    let is_v4 = host.split(|&b| b == b'.').count() == 4 && host.split(|&b| b == b'.').all(is_byte);
    if is_v4 && port.is_none_or(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit)) {
        return true;
    }
    v.iter().filter(|&&b| b == b':').count() >= 3
        && v.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
}

/// A sign, digits with `.` and `,`, and `%` or at most three letters; or a short `0x` number.
fn is_number(v: &[u8]) -> bool {
    let v = v.strip_prefix(b"+").or(v.strip_prefix(b"-")).unwrap_or(v);
    if let Some(hex) = v.strip_prefix(b"0x") {
        return (1..=6).contains(&hex.len()) && hex.iter().all(u8::is_ascii_hexdigit);
    }
    let n = v.iter().take_while(|&&b| b.is_ascii_digit() || matches!(b, b'.' | b',')).count();
    let unit = &v[n..];
    v.first().is_some_and(u8::is_ascii_digit)
        && (unit.is_empty() || unit == b"%" || unit.len() <= 3 && unit.iter().all(u8::is_ascii_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_told_apart() {
        let cases = [
            ("", TokenClass::Literal),
            ("NULL", TokenClass::Literal),
            ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", TokenClass::Id),
            ("12:30:01.5", TokenClass::Time),
            ("2024-01-02T03:04:05Z", TokenClass::Time),
            ("10.0.0.1:8080", TokenClass::Address),
            ("fe80::1:2:3", TokenClass::Address),
            ("12.5ms", TokenClass::Number),
            ("1234567", TokenClass::Id),
            ("/var/log/x1", TokenClass::Path),
            ("blk_3587508140051953248", TokenClass::Id),
            ("host42", TokenClass::Word),
        ];
        for (text, want) in cases {
            assert_eq!(TokenClass::of(text.as_bytes()), want, "{text:?}");
        }
    }
}
