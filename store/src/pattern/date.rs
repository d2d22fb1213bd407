//! Dates in words, and ISO dates with a blank, as one variable.

use super::bytes::is_word;

const DAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Returns where the date that starts at `pos` ends.
///
/// Optional parts are taken greedily and given back when what follows them is a word or a dot.
pub(super) fn match_date(s: &[u8], pos: usize) -> Option<usize> {
    if s[pos].is_ascii_digit() {
        return iso(s, pos).or_else(|| day_first(s, pos));
    }
    if let Some(next) = name(s, pos, &DAYS) {
        let next = if s.get(next) == Some(&b',') { next + 1 } else { next };
        let next = blanks(s, next)?;
        return month_first(s, next).or_else(|| day_first(s, next));
    }
    month_first(s, pos)
}

/// Tells whether a token is the name of a day or a month.
pub(super) fn is_day_or_month(s: &[u8]) -> bool {
    s.len() == 3 && (name(s, 0, &DAYS).is_some() || name(s, 0, &MONTHS).is_some())
}

/// `Jun 18[ 02:23:10][ PDT][ 2005]`
fn month_first(s: &[u8], pos: usize) -> Option<usize> {
    let pos = blanks(s, name(s, pos, &MONTHS)?)?;
    let after_day = digits(s, pos, 1, 2)?;
    let mut ends = [None, None, Some(after_day)];
    if let Some(at) = separated(s, after_day) {
        let (with, without) = clock(s, at);
        (ends[0], ends[1]) = (with, without);
    }
    for end in ends.into_iter().flatten() {
        let zone = blanks(s, end).and_then(|at| capitals(s, at));
        for end in [zone, Some(end)].into_iter().flatten() {
            let year = separated(s, end).and_then(|at| digits(s, at, 4, 4));
            if let Some(end) = [year, Some(end)].into_iter().flatten().find(|&e| closed(s, e)) {
                return Some(end);
            }
        }
    }
    None
}

/// `18 Jun 2005[ 02:23:10][ +0100]`
fn day_first(s: &[u8], pos: usize) -> Option<usize> {
    let pos = byte(s, digits(s, pos, 1, 2)?, b" ")?;
    let pos = byte(s, name(s, pos, &MONTHS)?, b" ")?;
    let after_year = digits(s, pos, 4, 4)?;
    let mut ends = [None, None, Some(after_year)];
    if let Some(at) = blanks(s, after_year) {
        (ends[0], ends[1]) = clock(s, at);
    }
    for end in ends.into_iter().flatten() {
        let zone = blanks(s, end).and_then(|at| digits(s, byte(s, at, b"+-")?, 4, 4));
        if let Some(end) = [zone, Some(end)].into_iter().flatten().find(|&e| closed(s, e)) {
            return Some(end);
        }
    }
    None
}

/// `2024-01-02[T ]03:04:05[.123][Z|+01:00]`
fn iso(s: &[u8], pos: usize) -> Option<usize> {
    let pos = byte(s, digits(s, pos, 4, 4)?, b"-/")?;
    let pos = byte(s, digits(s, pos, 2, 2)?, b"-/")?;
    let pos = byte(s, digits(s, pos, 2, 2)?, b"T ")?;
    let (with, without) = clock(s, pos);
    for end in [with, without].into_iter().flatten() {
        let zone = byte(s, end, b"Z").or_else(|| {
            let at = digits(s, byte(s, end, b"+-")?, 2, 2)?;
            digits(s, byte(s, at, b":").unwrap_or(at), 2, 2)
        });
        if let Some(end) = [zone, Some(end)].into_iter().flatten().find(|&e| closed(s, e)) {
            return Some(end);
        }
    }
    None
}

/// Ends of a clock with its fraction, if it has one, and without.
fn clock(s: &[u8], pos: usize) -> (Option<usize>, Option<usize>) {
    let plain = || {
        let pos = byte(s, digits(s, pos, 1, 2)?, b":")?;
        let pos = byte(s, digits(s, pos, 2, 2)?, b":")?;
        digits_prefix(s, pos, 2)
    };
    let Some(end) = plain() else { return (None, None) };
    let fraction = byte(s, end, b".,:").and_then(|at| digits(s, at, 1, usize::MAX));
    (fraction, Some(end))
}

/// What follows a date may be neither part of a word nor a dot.
fn closed(s: &[u8], end: usize) -> bool {
    s.get(end).is_none_or(|&b| !is_word(b) && b != b'.')
}

fn name(s: &[u8], pos: usize, names: &[&[u8; 3]]) -> Option<usize> {
    let got = s.get(pos..pos + 3)?;
    names.iter().any(|n| n.as_slice() == got).then_some(pos + 3)
}

fn byte(s: &[u8], pos: usize, any_of: &[u8]) -> Option<usize> {
    s.get(pos).filter(|b| any_of.contains(b)).map(|_| pos + 1)
}

/// At least `min` digits and no more than `max`: a longer run of digits is none.
fn digits(s: &[u8], pos: usize, min: usize, max: usize) -> Option<usize> {
    let n = s.get(pos..)?.iter().take_while(|b| b.is_ascii_digit()).count();
    (min <= n && n <= max).then_some(pos + n)
}

/// Exactly `n` digits; more may follow, which `closed` refuses later.
fn digits_prefix(s: &[u8], pos: usize, n: usize) -> Option<usize> {
    s.get(pos..pos + n)?.iter().all(u8::is_ascii_digit).then_some(pos + n)
}

fn blanks(s: &[u8], pos: usize) -> Option<usize> {
    let n = s.get(pos..)?.iter().take_while(|&&b| b == b' ').count();
    (n > 0).then_some(pos + n)
}

/// An optional comma, then blanks.
fn separated(s: &[u8], pos: usize) -> Option<usize> {
    blanks(s, byte(s, pos, b",").unwrap_or(pos))
}

fn capitals(s: &[u8], pos: usize) -> Option<usize> {
    let n = s.get(pos..)?.iter().take_while(|b| b.is_ascii_uppercase()).count();
    (3..=4).contains(&n).then_some(pos + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        assert_eq!(match_date(text.as_bytes(), 0).map(|end| &text[..end]), want, "{text:?}");
    }

    #[test]
    fn optional_parts_are_taken_as_far_as_the_date_stays_closed() {
        check("Sat Jun 18 02:23:10 PDT 2005 x", Some("Sat Jun 18 02:23:10 PDT 2005"));
        check("Jun 18 02:23:10,123 x", Some("Jun 18 02:23:10,123"));
        check("Jun 18 02:23:10,5x", Some("Jun 18 02:23:10"));
        check("Jun 18 apples", Some("Jun 18"));
        check("Jun 18.5", None);
        check("18 Jun 2005 02:23:10 +0100", Some("18 Jun 2005 02:23:10 +0100"));
        check("Mon, 18 Jun 2005]", Some("Mon, 18 Jun 2005"));
        check("2024-01-02T03:04:05.123Z", Some("2024-01-02T03:04:05.123Z"));
        check("2024-01-02 03:04:05+01:00 ", Some("2024-01-02 03:04:05+01:00"));
        check("2024-01-02 x", None);
        check("Monday", None);
        check("Mon", None);
    }
}
