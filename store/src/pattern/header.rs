//! Finds where the message of a raw line starts: known formats, else columns learned per stream.
//!
//! This is state beside the split, which stays a pure function of a line.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use super::bytes::has_digit;
use super::date::is_day_or_month;
use super::split::VARIABLE;
use super::structured::LineKind;

/// Lines of a stream from which its header is learned. Fewer in tests, whose streams are short.
const LINES: usize = if cfg!(test) { 6 } else { 256 };
const COLUMNS_MAX: usize = 14;
/// A longer header is none.
const HEADER_BYTES_MAX: usize = 1024;
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
    /// A plain one, too short for a time.
    Number,
    WithDigit,
    Word,
}

impl Token {
    const N: usize = Self::Word as usize + 1;
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

impl Column {
    const ALL: [Self; 5] = [Self::Level, Self::Bracketed, Self::Time, Self::Colon, Self::Weak];

    /// The letter that stands for it where headers are kept.
    fn code(self) -> char {
        match self {
            Self::Level => 'l',
            Self::Bracketed => 'b',
            Self::Time => 't',
            Self::Colon => 'c',
            Self::Weak => 'w',
        }
    }
}

/// The leading columns of a stream's lines that are no message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    columns: Vec<Column>,
}

impl fmt::Display for Header {
    /// Writes a letter for each column, which [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.columns.iter().try_for_each(|column| f.write_char(column.code()))
    }
}

/// A text that stands for no [`Header`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no header: up to {COLUMNS_MAX} of the letters l, b, t, c and w")]
pub struct HeaderError(String);

impl FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let column = |letter| Column::ALL.into_iter().find(|column| column.code() == letter);
        let columns: Option<Vec<Column>> = text.chars().take(COLUMNS_MAX + 1).map(column).collect();
        let columns = columns.filter(|columns| columns.len() <= COLUMNS_MAX);
        columns.map(|columns| Self { columns }).ok_or_else(|| HeaderError(text.chars().take(80).collect()))
    }
}

/// Counts what stands in the leading columns of a stream's lines, in memory that does not grow with them.
#[derive(Clone, Debug, Default)]
pub struct Learner {
    n_lines: usize,
    columns: Vec<Counts>,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    n: usize,
    /// By kind of token.
    kinds: [usize; Token::N],
    /// Hashes of the first distinct texts, and how often each came.
    texts: Vec<(u64, usize)>,
    /// Texts without a small letter.
    n_capitals: usize,
}

/// A text that stands in nine of ten lines is among so many distinct ones that come first.
const TEXTS_MAX: usize = LINES / 10 + 2;

impl Learner {
    /// Lines that it learns from.
    #[cfg(test)]
    pub(crate) const LINES: usize = LINES;

    /// Counts a line; `true` when it has seen as many as it learns from.
    pub fn add(&mut self, line: &[u8]) -> bool {
        if line.is_empty() || self.is_done() {
            return self.is_done();
        }
        self.n_lines += 1;
        for (at, token) in tokens(line).take(COLUMNS_MAX).enumerate() {
            if self.columns.len() == at {
                self.columns.push(Counts::default());
            }
            let counts = &mut self.columns[at];
            counts.n += 1;
            counts.kinds[token.kind as usize] += 1;
            counts.n_capitals += usize::from(!token.text.iter().any(u8::is_ascii_lowercase));
            let text = xxh3_64(token.text);
            if let Some(known) = counts.texts.iter_mut().find(|known| known.0 == text) {
                known.1 += 1;
            } else if counts.texts.len() < TEXTS_MAX {
                counts.texts.push((text, 1));
            }
        }
        self.is_done()
    }

    fn is_done(&self) -> bool {
        self.n_lines == LINES
    }

    /// Returns the header that the lines have.
    ///
    /// A header has a time or a level; where neither is found, it is empty. Where most lines are alike, so are their
    /// words: what follows words is of the header only if what is behind it differs from line to line.
    pub fn header(&self) -> Header {
        let (mut columns, mut n_firm, mut n_words, mut n_solid) = (Vec::new(), 0, 0, 0);
        let mut has_anchor = false;
        for (at, counts) in self.columns.iter().enumerate() {
            let Some(column) = self.column(counts) else { break };
            n_words = if column.is_some() { 0 } else { n_words + 1 };
            let is_first = n_solid == at;
            let is_before_message = || {
                let next = self.columns.get(at + 1);
                next.is_some_and(|next| self.share(next.n, 90) && !self.share(next.most_common(), 90))
            };
            let is_constant = || self.share(counts.most_common(), 90);
            let is_number = counts.of(&[Token::Number]) > counts.of(&[Token::Time, Token::DayOrMonth]);
            let is_firm = match column {
                // A number that differs from line to line may be the message's.
                Some(Column::Time) if is_number => is_constant() && is_before_message(),
                Some(Column::Time) => is_first || is_before_message(),
                // So may be a word such as error, unless it stands where a level does.
                Some(Column::Level) => {
                    is_first || is_before_message() && (!is_constant() || counts.n_capitals * 2 > counts.n)
                }
                Some(Column::Bracketed | Column::Colon) => true,
                Some(Column::Weak) | None => false,
            };
            has_anchor |= match column {
                Some(Column::Level) => true,
                Some(Column::Time) => is_firm && !is_number,
                _ => false,
            };
            if is_first && matches!(column, Some(Column::Time | Column::Level | Column::Bracketed)) {
                n_solid = at + 1;
            }
            columns.push(column.unwrap_or(Column::Weak));
            if is_firm {
                n_firm = at + 1;
            }
            if n_words == 2 || column == Some(Column::Colon) {
                break;
            }
        }
        columns.truncate(n_firm);
        if !has_anchor {
            columns.clear();
        }
        Header { columns }
    }

    fn share(&self, k: usize, percent: usize) -> bool {
        k * 100 >= self.n_lines * percent
    }

    /// Which column most lines have at a place. Outer `None`: too few lines reach so far; inner: words.
    fn column(&self, counts: &Counts) -> Option<Option<Column>> {
        if !self.share(counts.n, 90) {
            return None;
        }
        let share = |kinds: &[Token], percent| self.share(counts.of(kinds), percent);
        let column = if share(&[Token::Level], 90) {
            Column::Level
        } else if share(&[Token::Bracketed], 90) {
            Column::Bracketed
        } else if share(&[Token::Colon], 80) {
            Column::Colon
        } else if share(&[Token::Time, Token::Number], 90) || share(&[Token::DayOrMonth], 90) {
            Column::Time
        } else if share(&[Token::Time, Token::Number, Token::WithDigit], 98)
            || self.share(counts.most_common(), 90)
        {
            Column::Weak
        } else {
            return Some(None);
        };
        Some(Some(column))
    }
}

impl Counts {
    fn of(&self, kinds: &[Token]) -> usize {
        kinds.iter().map(|kind| self.kinds[*kind as usize]).sum()
    }

    /// How often the text came that came most often.
    fn most_common(&self) -> usize {
        self.texts.iter().map(|text| text.1).max().unwrap_or(0)
    }
}

/// Returns where the message of a line begins: behind the header of a known format, else behind that of `known` which
/// fits best. 0 for a line that is a record itself, in JSON or logfmt.
pub fn message_start(line: &[u8], known: &[Header]) -> usize {
    if line.first() == Some(&b'{') {
        return 0;
    }
    let start = container_header(line).or_else(|| syslog_header(line)).or_else(|| {
        let best = known.iter().map(|header| header.fit(line)).max()?;
        (best.end > 0 && LineKind::of(line) == LineKind::Plain).then_some(best.end)
    });
    start.filter(|&start| start <= HEADER_BYTES_MAX && memchr::memchr(VARIABLE, line).is_none()).unwrap_or(0)
}

/// How a header fits a line; the better one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    is_whole: bool,
    /// Where it ends, or the first column that does not fit begins.
    end: usize,
}

impl Header {
    /// Tells whether nothing is known to stand before the message.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    fn fit(&self, line: &[u8]) -> Fit {
        let mut end = 0;
        let mut found = tokens(line);
        for column in &self.columns {
            let Some(token) = found.next() else { return Fit { is_whole: false, end } };
            let fits = match column {
                Column::Time => {
                    matches!(token.kind, Token::Time | Token::DayOrMonth | Token::Number | Token::WithDigit)
                }
                Column::Level => token.kind == Token::Level,
                Column::Bracketed => token.kind == Token::Bracketed,
                Column::Colon => token.kind == Token::Colon,
                Column::Weak => true,
            };
            if !fits {
                let end = if *column == Column::Colon { after_version(found, end) } else { end };
                return Fit { is_whole: false, end };
            }
            end = token.end;
        }
        Fit { is_whole: true, end }
    }
}

/// `name version: message`: the colon stands one token later.
fn after_version<'a>(mut found: impl Iterator<Item = Found<'a>>, pos: usize) -> usize {
    found
        .next()
        .filter(|t| matches!(t.kind, Token::Colon | Token::Time | Token::WithDigit) && t.text.ends_with(b":"))
        .map_or(pos, |t| t.end)
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
    } else if is_plain_number(token) {
        Token::Number
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

/// A number that is no date or time since the epoch.
fn is_plain_number(token: &[u8]) -> bool {
    let n_digits = token.iter().filter(|b| b.is_ascii_digit()).count();
    (1..9).contains(&n_digits) && token.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
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
    if line.get(4) != Some(&b'-') || line.get(10) != Some(&b'T') || !line[..4].iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let time = line.iter().position(|&b| b == b' ')?;
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

    fn learned(lines: &[&str]) -> Header {
        let mut learner = Learner::default();
        for line in lines {
            learner.add(line.as_bytes());
        }
        learner.header()
    }

    #[track_caller]
    fn check(lines: &[&str], want: &[&str]) {
        let header = learned(lines);
        for (line, want) in lines.iter().zip(want) {
            let start = message_start(line.as_bytes(), std::slice::from_ref(&header));
            assert_eq!(&line[start..], *want, "{header:?}");
        }
        assert_eq!(header.to_string().parse(), Ok(header));
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
    fn a_message_that_most_lines_have_is_no_header() {
        let lines = |line: &dyn Fn(usize) -> String| (10..40).map(line).collect::<Vec<String>>();
        let check_all = |lines: Vec<String>, header: usize| {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let want: Vec<&str> = lines.iter().map(|line| &line[header..]).collect();
            check(&lines, &want);
        };
        check_all(lines(&|n| format!("processed {n} items")), 0);
        check_all(lines(&|n| format!("said {n}")), 0);
        check_all(lines(&|n| format!("connection error to db-{n}")), 0);
        check_all(lines(&|n| format!("connection error db-{n}")), 0);
        check_all(lines(&|n| format!("user {n} came at 12:00:{n} again")), 0);
        check_all(lines(&|n| format!("12:00:{n} processed {n} items")), 9);
        check_all(lines(&|n| format!("12:00:{n} {n} items")), 9);
        check_all(lines(&|n| format!("12:00:{n} info job {n} is done")), 14);
        check_all(lines(&|n| format!("081109 2036{n} {n} INFO a.B$C: got {n}")), 29);
        check_all(lines(&|n| format!("20171223-22:15:29:606|Step|30002312|on{n} {n}")), 36);
    }

    #[test]
    fn known_formats_need_no_sample() {
        check(&["2024-01-02T03:04:05.1Z stderr F it failed"], &["it failed"]);
        check(&["<34>1 2024-01-02T03:04:05Z host app - ID47 [a b=\"c\"] su failed"], &["su failed"]);
    }

    #[test]
    fn records_of_their_own_have_no_header() {
        for line in [r#"{"level":"info","msg":"hello 1"}"#, r#"level=info ts=1 msg="hello 1" x=y"#] {
            check(&[line], &[line]);
        }
    }

    #[test]
    fn a_line_has_the_header_that_fits_it_best() {
        let short = learned(&["12:00:01 one two", "12:00:02 two one"]);
        let long = learned(&["12:00:01 INFO x: one two", "12:00:02 WARN y: two one"]);
        for known in [[short.clone(), long.clone()], [long, short]] {
            let message = |line: &'static str| &line[message_start(line.as_bytes(), &known)..];
            assert_eq!(message("12:00:03 three four"), "three four");
            assert_eq!(message("12:00:03 INFO z: three four"), "three four");
            assert_eq!(message("no time"), "no time");
            assert_eq!(message("12:00:03 INFO z: three \0 four"), "12:00:03 INFO z: three \0 four");
        }
    }

    #[test]
    fn what_is_learned_does_not_hang_on_how_many_lines_come() {
        let mut learner = Learner::default();
        for n in 0..LINES {
            // Beyond the texts that are counted.
            let line = format!("{} node{n} {} said {n}", if n < LINES / 2 { "first" } else { "app" }, n * 7);
            assert_eq!(learner.add(line.as_bytes()), n + 1 == LINES);
        }
        let header = learner.header();
        assert!(learner.add(b"other") && learner.header() == header && learner.columns[0].texts.len() == 2);
        assert!(learner.columns[1].texts.len() == TEXTS_MAX);
        assert!("x".repeat(99).parse::<Header>().is_err() && "w".repeat(15).parse::<Header>().is_err());
    }
}
