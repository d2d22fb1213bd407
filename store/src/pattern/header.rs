//! Finds where the message of a raw line starts: known formats, else columns learned per stream.
//!
//! This is state beside the split, which stays a pure function of a line.

use super::bytes::has_digit;
use super::date::is_day_or_month;
use super::structured::{LineKind, message_of};

/// Lines of a stream from which its header is learned.
const SAMPLE_LINES: usize = 256;
const COLUMNS_MAX: usize = 14;
const LEVELS: [&[u8]; 17] = [
    b"trace",
    b"debug",
    b"dbg",
    b"info",
    b"information",
    b"informational",
    b"notice",
    b"warn",
    b"warning",
    b"error",
    b"err",
    b"fatal",
    b"critical",
    b"crit",
    b"alert",
    b"emerg",
    b"severe",
];

/// What a token at the start of a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Level,
    Bracketed,
    /// Ends with a colon and is no number.
    Colon,
    Time,
    DayOrMonth,
    WithDigit,
    Word,
}

/// What a learned column must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Level,
    Bracketed,
    Time,
    Colon,
    /// Header only because something firm follows.
    Weak,
}

/// The leading columns of one stream that are no message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    columns: Vec<Column>,
}

impl Header {
    /// Learns from the first lines of a stream; more than 256 are not looked at.
    ///
    /// A header has a time or a level; where neither is found, it is empty.
    pub fn learn<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let rows: Vec<Vec<Found<'a>>> = lines
            .into_iter()
            .take(SAMPLE_LINES)
            .filter(|l| !l.is_empty())
            .map(|l| tokens(l).collect())
            .collect();
        let (mut columns, mut n_firm, mut n_words) = (Vec::new(), 0, 0);
        for at in 0..COLUMNS_MAX {
            let Some(column) = column_at(&rows, at) else { break };
            n_words = if column.is_some() { 0 } else { n_words + 1 };
            columns.push(column.unwrap_or(Column::Weak));
            match column {
                Some(Column::Level | Column::Bracketed | Column::Time) => n_firm = at + 1,
                Some(Column::Colon) => {
                    n_firm = at + 1;
                    break;
                }
                Some(Column::Weak) => {}
                None if n_words == 2 => break,
                None => {}
            }
        }
        columns.truncate(n_firm);
        if !columns.iter().any(|c| matches!(c, Column::Time | Column::Level)) {
            columns.clear();
        }
        Self { columns }
    }

    /// Returns where the message of a line starts.
    pub fn cut(&self, line: &[u8]) -> usize {
        if let Some(end) = container_header(line).or_else(|| syslog_header(line)) {
            return end;
        }
        let mut pos = 0;
        let mut found = tokens(line);
        for column in &self.columns {
            let Some(token) = found.next() else { return pos };
            let fits = match column {
                Column::Time => matches!(token.kind, Token::Time | Token::DayOrMonth | Token::WithDigit),
                Column::Level => token.kind == Token::Level,
                Column::Bracketed => token.kind == Token::Bracketed,
                Column::Colon => token.kind == Token::Colon,
                Column::Weak => true,
            };
            if !fits {
                return if *column == Column::Colon { after_version(found, pos) } else { pos };
            }
            pos = token.end;
        }
        pos
    }
}

/// `name version: message`: the colon stands one token later.
fn after_version<'a>(mut found: impl Iterator<Item = Found<'a>>, pos: usize) -> usize {
    found
        .next()
        .filter(|t| matches!(t.kind, Token::Colon | Token::Time | Token::WithDigit) && t.text.ends_with(b":"))
        .map_or(pos, |t| t.end)
}

/// Returns the range of a raw line that is its message.
pub fn message_span(line: &[u8], header: &Header) -> (usize, usize) {
    let start = if line.first() == Some(&b'{') { 0 } else { header.cut(line) };
    let rest = &line[start..];
    if line.first() == Some(&b'{') || LineKind::of(rest) == LineKind::Logfmt {
        let message = message_of(rest);
        let from = message.as_ptr() as usize - line.as_ptr() as usize;
        return (from, from + message.len());
    }
    (start, line.len())
}

/// Which column most rows have at a place. Outer `None`: too few rows reach so far; inner: words.
fn column_at(rows: &[Vec<Found<'_>>], at: usize) -> Option<Option<Column>> {
    let have: Vec<&Found<'_>> = rows.iter().filter_map(|r| r.get(at)).collect();
    let n = rows.len();
    let share = |k: usize, percent: usize| n > 0 && k * 100 >= n * percent;
    if !share(have.len(), 90) || have.is_empty() {
        return None;
    }
    let count = |kinds: &[Token]| have.iter().filter(|t| kinds.contains(&t.kind)).count();
    let column = if share(count(&[Token::Level]), 90) {
        Column::Level
    } else if share(count(&[Token::Bracketed]), 90) {
        Column::Bracketed
    } else if share(count(&[Token::Colon]), 80) {
        Column::Colon
    } else if share(count(&[Token::Time]), 90) || share(count(&[Token::DayOrMonth]), 90) {
        Column::Time
    } else if share(count(&[Token::Time, Token::WithDigit]), 98) || share(most_common(&have), 90) {
        Column::Weak
    } else {
        return Some(None);
    };
    Some(Some(column))
}

fn most_common(tokens: &[&Found<'_>]) -> usize {
    let mut counts = std::collections::HashMap::new();
    for token in tokens {
        *counts.entry(token.text).or_insert(0) += 1;
    }
    counts.values().copied().max().unwrap_or(0)
}

#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    kind: Token,
    text: &'a [u8],
    /// Behind the token and the blanks and bars that follow it.
    end: usize,
}

/// The first tokens of a line, parted by blanks and `|`; a bracketed group is one.
fn tokens(line: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut pos = 0;
    (0..COLUMNS_MAX + 1).map_while(move |_| {
        let end = token_end(line, pos)?;
        let text = &line[pos..end];
        let n_gap = line[end..].iter().take_while(|&&b| is_gap(b)).count();
        pos = end + n_gap;
        Some(Found { kind: kind_of(text), text, end: pos })
    })
}

fn is_gap(b: u8) -> bool {
    b == b'|' || b.is_ascii_whitespace()
}

fn token_end(line: &[u8], pos: usize) -> Option<usize> {
    let rest = line.get(pos..)?;
    let colon = |at: usize| at + usize::from(line.get(at) == Some(&b':'));
    if rest.first()? == &b'[' {
        return Some(match rest.iter().position(|&b| b == b']') {
            Some(n) => colon(pos + n + 1),
            None => pos + 1,
        });
    }
    let n = rest.iter().take_while(|&&b| !is_gap(b) && b != b'[').count();
    if n == 0 {
        return None;
    }
    if rest.get(n) == Some(&b'[') {
        let inner = rest[n + 1..].iter().position(|&b| b == b']' || b.is_ascii_whitespace());
        if let Some(k) = inner.filter(|k| rest[n + 1 + k] == b']') {
            return Some(colon(pos + n + 1 + k + 1));
        }
    }
    Some(pos + n)
}

fn kind_of(token: &[u8]) -> Token {
    let n_tail = token.iter().rev().take_while(|b| matches!(b, b':' | b'|' | b',')).count();
    let core = &token[..token.len() - n_tail];
    let n = token.len();
    if is_level(token) {
        Token::Level
    } else if token[0] == b'[' && core.last() == Some(&b']') {
        Token::Bracketed
    } else if n > 1
        && token[n - 1] == b':'
        && token[n - 2] != b':'
        && !token[..n - 1].iter().all(u8::is_ascii_digit)
    {
        Token::Colon
    } else if is_time_like(token) || matches!(token, b"-" | b"--" | b"---") {
        Token::Time
    } else if is_day_or_month(token.strip_suffix(b",").unwrap_or(token)) {
        Token::DayOrMonth
    } else if has_digit(token) {
        Token::WithDigit
    } else {
        Token::Word
    }
}

fn is_level(token: &[u8]) -> bool {
    let t = token.strip_suffix(b":").or(token.strip_suffix(b"|")).unwrap_or(token);
    let t = t.strip_prefix(b"[").or(t.strip_prefix(b"(")).or(t.strip_prefix(b"<")).unwrap_or(t);
    let t = t.strip_suffix(b"]").or(t.strip_suffix(b")")).or(t.strip_suffix(b">")).unwrap_or(t);
    LEVELS.iter().any(|l| t.eq_ignore_ascii_case(l))
        || t.eq_ignore_ascii_case(b"panic")
        || t.len() == 1 && b"VDIWEF".contains(&t[0].to_ascii_uppercase())
}

/// A digit, then digits and what stands between the parts of a time; brackets and a comma around.
fn is_time_like(token: &[u8]) -> bool {
    let t = token.strip_suffix(b",").unwrap_or(token);
    let t = t.strip_prefix(b"[").or(t.strip_prefix(b"(")).unwrap_or(t);
    let t = t.strip_suffix(b"]").or(t.strip_suffix(b")")).unwrap_or(t);
    let t = t.strip_suffix(b"Z").unwrap_or(t);
    t.first().is_some_and(u8::is_ascii_digit)
        && t.iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b'T' | b':' | b'.' | b',' | b'/' | b'+' | b'_' | b'-'))
}

/// The container runtime's `2024-01-02T03:04:05Z stdout F `.
fn container_header(line: &[u8]) -> Option<usize> {
    let time = line.iter().position(|&b| b == b' ')?;
    if line.get(4) != Some(&b'-') || line.get(10) != Some(&b'T') || !line[..4].iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let rest = &line[time + 1..];
    let known = [b"stdout F ", b"stdout P ", b"stderr F ", b"stderr P "].iter().any(|s| rest.starts_with(*s));
    known.then_some(time + 10)
}

/// RFC 5424: `<34>1 time host app pid id [data] `.
fn syslog_header(line: &[u8]) -> Option<usize> {
    let rest = line.strip_prefix(b"<")?;
    let n = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=3).contains(&n) || !rest[n..].starts_with(b">1 ") {
        return None;
    }
    let mut pos = n + 4;
    for _ in 0..5 {
        let n = line[pos..].iter().position(|&b| b == b' ').filter(|&n| n > 0)?;
        pos += n + 1;
    }
    if line.get(pos) == Some(&b'-') {
        pos += 1;
    } else {
        let from = pos;
        while line.get(pos) == Some(&b'[') {
            pos += line[pos..].iter().position(|&b| b == b']')? + 1;
        }
        if pos == from {
            return None;
        }
    }
    Some(pos + usize::from(line.get(pos) == Some(&b' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], want: &[&str]) {
        let header = Header::learn(lines.iter().map(|l| l.as_bytes()));
        for (line, want) in lines.iter().zip(want) {
            let (from, to) = message_span(line.as_bytes(), &header);
            assert_eq!(&line[from..to], *want, "{header:?}");
        }
    }

    #[test]
    fn columns_are_learned_from_a_sample() {
        check(
            &[
                "2024-01-02 03:04:05,123 INFO core.Main: started up",
                "2024-01-02 03:04:06,001 WARN core.Disk: is full",
            ],
            &["started up", "is full"],
        );
        check(
            &["Jun 14 15:16:01 combo sshd[19939]: check pass", "Jun 15 02:04:59 combo su(pam)[1]: opened"],
            &["check pass", "opened"],
        );
        check(&["no header here", "nor in this one"], &["no header here", "nor in this one"]);
    }

    #[test]
    fn known_formats_need_no_sample() {
        check(&["2024-01-02T03:04:05.1Z stderr F it failed"], &["it failed"]);
        check(&["<34>1 2024-01-02T03:04:05Z host app - ID47 [a b=\"c\"] su failed"], &["su failed"]);
        check(&[r#"{"level":"info","msg":"hello 1"}"#], &["hello 1"]);
        check(&[r#"level=info ts=1 msg="hello 1" x=y"#], &["hello 1"]);
    }
}
