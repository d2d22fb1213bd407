//! Stage 1: line to pattern and variables, in one pass, without allocation, without loss.

use std::fmt;

use super::bytes::{
    BLANK, CLASS, COLON, DATE_START, PATH_START, PLACE_END, RUN_END, STOP, VALUE_END, find_class, has_digit,
    is,
};
use super::date::match_date;
use super::run::classify;
use super::shape::{is_function_name, is_key};
use super::structured;
use super::trace::{Trace, find_trace};

/// Stands for a variable in a pattern.
pub const VARIABLE: u8 = 0;

/// Lines are split up to here; what is longer ends in one variable.
const SPLIT_BYTES_MAX: usize = 64 * 1024;
/// How far before that limit a blank is looked for, so that no word is cut.
const SPLIT_BYTES_SLACK: usize = 4 * 1024;
/// The last variable of a line takes all that follows it.
const VARIABLES_MAX: usize = 255;
/// A header with more is none, so that a message has variables as well.
const HEADER_VARIABLES_MAX: usize = 64;
/// From this variable in a row on, a list goes on in one variable.
const LIST_MAX: usize = 8;

/// Names a pattern: XXH3-64 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatternId(pub u64);

impl PatternId {
    /// Returns the id of a pattern.
    pub fn of(pattern: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(pattern))
    }
}

impl fmt::Display for PatternId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A range of bytes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// First byte after it.
    pub end: u32,
}

impl Span {
    /// Returns the bytes that it covers.
    pub fn of(self, line: &[u8]) -> &[u8] {
        &line[self.start as usize..self.end as usize]
    }
}

/// A split line.
#[derive(Clone, Copy, Debug)]
pub struct Split<'a> {
    /// The line with one [`VARIABLE`] byte for each variable.
    pub pattern: &'a [u8],
    /// Where the variables lie in the line, in order; at most 255.
    pub variables: &'a [Span],
    /// Where the message begins in the pattern, behind what a header has become.
    pub message: usize,
    /// Variables before the message.
    pub n_before: usize,
}

impl Split<'_> {
    /// Returns the id of the message's pattern.
    pub fn id(&self) -> PatternId {
        PatternId::of(&self.pattern[self.message..])
    }
}

/// Fills the markers of a pattern; `false` when there are fewer or more variables than markers.
pub fn restore<'a>(pattern: &[u8], variables: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> bool {
    let mut variables = variables.into_iter();
    let mut rest = pattern;
    while let Some(at) = memchr::memchr(VARIABLE, rest) {
        out.extend_from_slice(&rest[..at]);
        let Some(variable) = variables.next() else { return false };
        out.extend_from_slice(variable);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    variables.next().is_none()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Punctuation,
    Blank,
    Variable,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    kind: Kind,
    start: usize,
    end: usize,
}

/// The pieces of a line, covering it without gap or overlap.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    list: Vec<Piece>,
    n_variables: usize,
    has_wide_blank: bool,
}

impl Pieces {
    pub(super) fn push(&mut self, kind: Kind, start: usize, end: usize) {
        self.n_variables += usize::from(kind == Kind::Variable);
        self.list.push(Piece { kind, start, end });
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Joins the variable at `first` with a variable before it, if only a colon is between them.
    pub(super) fn join_over_colon(&mut self, line: &[u8], base: usize, first: usize) {
        if first < base + 2 {
            return;
        }
        let (left, colon, right) = (self.list[first - 2], self.list[first - 1], self.list[first]);
        let is_colon = colon.kind == Kind::Punctuation && &line[colon.start..colon.end] == b":";
        if is_colon && left.kind == Kind::Variable && right.kind == Kind::Variable {
            self.list[first - 2].end = right.end;
            self.list.drain(first - 1..=first);
            self.n_variables -= 1;
        }
    }

    /// Ends of the variables among the pieces from `from` on.
    pub(super) fn variables_from(&self, from: usize) -> impl Iterator<Item = usize> {
        self.list[from..].iter().filter(|p| p.kind == Kind::Variable && p.end > p.start).map(|p| p.end)
    }

    /// Takes the pieces from `n` on back.
    pub(super) fn truncate(&mut self, n: usize) {
        let n_gone = self.list[n..].iter().filter(|p| p.kind == Kind::Variable).count();
        self.n_variables -= n_gone;
        self.list.truncate(n);
    }

    /// Takes all pieces back.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.n_variables = 0;
        self.has_wide_blank = false;
    }

    /// Gives blanks beside a variable to it, all but one, so that padding makes no new patterns.
    fn tidy_blanks(&mut self, line: &[u8]) {
        for k in 0..self.list.len() {
            let Piece { kind, start, end } = self.list[k];
            if kind != Kind::Blank || end - start < 2 || !line[start..end].iter().all(|&b| b == b' ') {
                continue;
            }
            if self.list.get(k + 1).is_some_and(|next| next.kind == Kind::Variable) {
                self.list[k].end = start + 1;
                self.list[k + 1].start = start + 1;
            } else if k > 0 && self.list[k - 1].kind == Kind::Variable {
                self.list[k - 1].end = end - 1;
                self.list[k].start = end - 1;
            }
        }
    }

    /// Lets the eighth variable of a list take the rest of the list.
    fn tidy_lists(&mut self, line: &[u8]) {
        let (mut run, mut k, mut kept) = (0, 0, 0);
        while k < self.list.len() {
            let mut piece = self.list[k];
            match piece.kind {
                Kind::Variable => {
                    run += 1;
                    while let Some((at, end)) = self.next_in_list(line, k).filter(|_| run >= LIST_MAX) {
                        piece.end = end;
                        k = at;
                    }
                }
                Kind::Word => run = 0,
                Kind::Punctuation | Kind::Blank => {
                    let inside = self.separator(line, k) > 0 || k > 0 && self.was_comma(line, kept, k);
                    if !inside {
                        run = 0;
                    }
                }
            }
            self.list[kept] = piece;
            kept += 1;
            k += 1;
        }
        self.list.truncate(kept);
    }

    /// The variable that one separator behind piece `k` parts from it, and where it ends.
    fn next_in_list(&self, line: &[u8], k: usize) -> Option<(usize, usize)> {
        let n = self.separator(line, k + 1);
        let next = self.list.get(k + 1 + n).filter(|p| n > 0 && p.kind == Kind::Variable)?;
        Some((k + 1 + n, next.end))
    }

    /// How many pieces from `k` make one separator of a list: `, ` two, `,` or a blank one.
    fn separator(&self, line: &[u8], k: usize) -> usize {
        let is = |k: usize, kind: Kind, text: &[u8]| {
            self.list.get(k).is_some_and(|p| p.kind == kind && &line[p.start..p.end] == text)
        };
        if is(k, Kind::Punctuation, b",") {
            return 1 + usize::from(is(k + 1, Kind::Blank, b" "));
        }
        usize::from(is(k, Kind::Blank, b" "))
    }

    /// Tells whether piece `k` is the blank of a `, `; the comma was kept just before.
    fn was_comma(&self, line: &[u8], kept: usize, k: usize) -> bool {
        let (before, here) = (self.list[kept - 1], self.list[k]);
        before.kind == Kind::Punctuation
            && &line[before.start..before.end] == b","
            && here.kind == Kind::Blank
            && &line[here.start..here.end] == b" "
    }
}

/// Splits lines; keeps its memory between them.
#[derive(Debug, Default)]
pub struct Splitter {
    pieces: Pieces,
    pattern: Vec<u8>,
    variables: Vec<Span>,
}

impl Splitter {
    /// Splits a line. Any bytes are taken; the result depends on nothing but them.
    ///
    /// A line that holds [`VARIABLE`] itself, or is longer than 64 KiB without a blank, is one
    /// variable. A JSON object is split value by value, see [`fields_of`](super::fields_of).
    /// A variable begins and ends where no letter or digit continues it.
    pub fn split(&mut self, line: &[u8]) -> Split<'_> {
        self.split_behind(line, 0)
    }

    /// Splits a line whose message begins at `message`, where no word may go on: its header and its message each as a
    /// line of its own.
    pub fn split_behind(&mut self, line: &[u8], message: usize) -> Split<'_> {
        self.pattern.clear();
        self.variables.clear();
        let (header, rest) = line.split_at(message);
        if !header.is_empty() {
            self.part(header, 0);
        }
        if self.variables.len() > HEADER_VARIABLES_MAX {
            return self.split_behind(line, 0);
        }
        let (at, n_before) = (self.pattern.len(), self.variables.len());
        self.part(rest, message);
        Split { pattern: &self.pattern, variables: &self.variables, message: at, n_before }
    }

    /// Splits a part of a line that begins at `base`, and appends what it becomes.
    fn part(&mut self, line: &[u8], base: usize) {
        self.pieces.clear();
        let end = usable(line);
        if end > 0 && !structured::split_json(&line[..end], line.len(), &mut self.pieces) {
            match find_trace(&line[..end]) {
                Some(trace) => split_trace(&line[..end], &trace, &mut self.pieces),
                None => {
                    let kind = structured::LineKind::of(&line[..end]);
                    scan(&line[..end], 0, kind, &mut self.pieces);
                }
            }
        }
        if end < line.len() {
            self.pieces.push(Kind::Variable, end, line.len());
        }
        self.write(line, base);
    }

    fn write(&mut self, line: &[u8], base: usize) {
        if self.pieces.has_wide_blank {
            self.pieces.tidy_blanks(line);
        }
        if self.pieces.n_variables > LIST_MAX {
            self.pieces.tidy_lists(line);
        }
        let mut copied = 0;
        for piece in self.pieces.list.iter().filter(|p| p.kind == Kind::Variable) {
            let is_last = self.variables.len() == VARIABLES_MAX - 1;
            let end = if is_last { line.len() } else { piece.end };
            self.pattern.extend_from_slice(&line[copied..piece.start]);
            self.pattern.push(VARIABLE);
            self.variables.push(Span { start: offset(base + piece.start), end: offset(base + end) });
            copied = end;
            if is_last {
                break;
            }
        }
        self.pattern.extend_from_slice(&line[copied..]);
    }
}

fn offset(n: usize) -> u32 {
    u32::try_from(n).expect("a record is far below 4 GiB: requests are capped at 64 MiB")
}

/// How much of a line is split; the rest is one variable.
fn usable(line: &[u8]) -> usize {
    if memchr::memchr(VARIABLE, line).is_some() {
        return 0;
    }
    if line.len() <= SPLIT_BYTES_MAX {
        return line.len();
    }
    let from = SPLIT_BYTES_MAX - SPLIT_BYTES_SLACK;
    memchr::memrchr(b' ', &line[from..SPLIT_BYTES_MAX]).map_or(0, |n| from + n)
}

/// Cuts a record with a stack trace: the first line as any, then what names the trace.
fn split_trace(record: &[u8], trace: &Trace, pieces: &mut Pieces) {
    let kind = structured::LineKind::of(&record[..trace.first_line]);
    match trace.first_name {
        // What the exception said is one variable.
        Some(name) => {
            scan(&record[..name], 0, kind, pieces);
            if name < trace.first_line {
                pieces.push(Kind::Variable, name, trace.first_line);
            }
        }
        None => scan(&record[..trace.first_line], 0, kind, pieces),
    }
    let mut at = trace.first_line + 1;
    pieces.push(Kind::Punctuation, trace.first_line, at);
    for (from, to) in trace.marks.into_iter().flatten() {
        if from > at {
            pieces.push(Kind::Variable, at, from);
        }
        pieces.push(Kind::Word, from, to);
        at = to;
    }
    if at < record.len() {
        pieces.push(Kind::Variable, at, record.len());
    }
}

/// Cuts `line[pos..]` into pieces.
pub(super) fn scan(line: &[u8], mut pos: usize, kind: structured::LineKind, pieces: &mut Pieces) {
    while pos < line.len() {
        let class = CLASS[line[pos] as usize];
        pos = if class & BLANK != 0 {
            blank(line, pos, pieces)
        } else if class & STOP != 0 && !is_apostrophe(line, pos) {
            stop(line, pos, kind, pieces)
        } else {
            token(line, pos, class, pieces)
        };
    }
}

fn blank(line: &[u8], pos: usize, pieces: &mut Pieces) -> usize {
    let mut end = pos + 1;
    while end < line.len() && is(line[end], BLANK) {
        end += 1;
    }
    pieces.has_wide_blank |= end - pos > 1;
    pieces.push(Kind::Blank, pos, end);
    end
}

/// A date, a URL, a path or a run.
fn token(line: &[u8], pos: usize, class: u16, pieces: &mut Pieces) -> usize {
    if class & DATE_START != 0
        && let Some(end) = match_date(line, pos)
    {
        pieces.push(Kind::Variable, pos, end);
        return end;
    }
    let mut joins_quotes = true;
    if (class & PATH_START != 0 || is_drive(line, pos))
        && let Some(end) = path_end(line, pos)
    {
        let at_start =
            pos == 0 || !(line[pos - 1].is_ascii_alphanumeric() || b"_.-/\\~".contains(&line[pos - 1]));
        if at_start && end - pos >= 3 {
            return place(line, pos, end, pieces);
        }
        joins_quotes = false;
    }
    let (mut end, mut flags, mut seen_colon) = (pos, 0, false);
    while end < line.len() {
        let b = line[end];
        let class = CLASS[b as usize];
        if class & RUN_END != 0 && !(joins_quotes && is_apostrophe(line, end)) {
            break;
        }
        if class & COLON != 0 && !seen_colon {
            seen_colon = true;
            if line[end..].starts_with(b"://") && is_scheme(&line[pos..end]) {
                let end = find_class(line, end + 3, PLACE_END);
                return place(line, pos, end, pieces);
            }
        }
        flags |= class;
        end += 1;
    }
    match line.get(end) {
        Some(b'=') if is_key(&line[pos..end]) => pieces.push(Kind::Word, pos, end),
        Some(b'(') if is_function_name(&line[pos..end]) => pieces.push(Kind::Word, pos, end),
        _ => classify(line, pos, end, flags, pieces),
    }
    end
}

/// `'` between a letter and a lower-case letter: can't.
fn is_apostrophe(line: &[u8], at: usize) -> bool {
    line[at] == b'\''
        && at > 0
        && line[at - 1].is_ascii_alphabetic()
        && line.get(at + 1).is_some_and(u8::is_ascii_lowercase)
}

fn is_scheme(s: &[u8]) -> bool {
    s.first().is_some_and(u8::is_ascii_alphabetic)
        && s.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-'))
}

/// `C:\`
fn is_drive(line: &[u8], pos: usize) -> bool {
    line.get(pos + 1) == Some(&b':') && line.get(pos + 2) == Some(&b'\\') && line[pos].is_ascii_alphabetic()
}

/// Where a path that starts with `/ ./ ../ ~/ C:\ \\` ends, if something follows that start.
fn path_end(line: &[u8], pos: usize) -> Option<usize> {
    let rest = &line[pos..];
    let starts: [&[u8]; 5] = [b"../", b"./", b"~/", b"/", b"\\\\"];
    let n =
        starts.iter().find(|s| rest.starts_with(s)).map(|s| s.len()).or(is_drive(line, pos).then_some(3))?;
    let end = find_class(line, pos + n, PLACE_END);
    (end > pos + n).then_some(end)
}

/// Pushes a URL or path and gives a trailing `.` or `:` back.
fn place(line: &[u8], pos: usize, end: usize, pieces: &mut Pieces) -> usize {
    let n_tail = line[pos..end].iter().rev().take_while(|b| matches!(b, b'.' | b':')).count();
    pieces.push(Kind::Variable, pos, end - n_tail);
    if n_tail > 0 {
        pieces.push(Kind::Punctuation, end - n_tail, end);
    }
    end
}

/// A stop byte, with the value that is taken whole after some of them.
fn stop(line: &[u8], pos: usize, kind: structured::LineKind, pieces: &mut Pieces) -> usize {
    let end = pos + 1;
    pieces.push(Kind::Punctuation, pos, end);
    let Some(&next) = line.get(end) else { return end };
    let value = match line[pos] {
        b'=' => value_after_equals(line, pos, kind),
        quote @ (b'"' | b'\'') => quoted_value(line, pos, quote),
        b'[' if next == b']' => Some((end, end)),
        b'(' if next == b')' && pos > 0 && line[pos - 1] == b' ' => Some((end, end)),
        _ => None,
    };
    let Some((from, mut to)) = value else { return end };
    if from > end {
        let kind = if &line[end..from] == b" " { Kind::Blank } else { Kind::Punctuation };
        pieces.push(kind, end, from);
    }
    let closes = line.get(to).is_none_or(|b| b" ,;)".contains(b));
    if to - from > 1 && matches!(line[to - 1], b'.' | b':') && closes {
        to -= 1;
    }
    pieces.push(Kind::Variable, from, to);
    to
}

/// `key=value`, `key="..."`, `key = value`; not after `== != <= >=`.
fn value_after_equals(line: &[u8], pos: usize, kind: structured::LineKind) -> Option<(usize, usize)> {
    let end = pos + 1;
    if pos > 0 && matches!(line[pos - 1], b'=' | b'!' | b'<' | b'>') {
        return None;
    }
    let plain = |from: usize| {
        let to = find_class(line, from, VALUE_END);
        let is_name = kind == structured::LineKind::Plain && is_constant_name(&line[from..to]);
        (to > from && !is_name).then_some((from, to))
    };
    let (from, to) = match line[end] {
        b'=' => return None,
        quote @ (b'"' | b'\'') => {
            if kind.keeps_open(line, pos) {
                return None;
            }
            let close = end + 1 + memchr::memchr(quote, &line[end + 1..])?;
            (close > end + 1).then_some((end + 1, close))?
        }
        b' ' if pos > 0 && line[pos - 1] == b' ' => plain(end + 1)?,
        _ => plain(end)?,
    };
    let opens = line.get(to).is_some_and(|b| b"([{".contains(b));
    if !opens || has_digit(&line[from..to]) {
        return Some((from, to));
    }
    // A glued constructor stays constant unless it closes without blank or `=`: WorkSource{10113}.
    let to = constructor_end(line, from)?;
    (line[from - 1] == b'=').then_some((from, to))
}

/// `ERR_TIMEOUT`: a name that programs give to what happened, so that a new one is news. It is left to
/// stage 2, as words are, whether a slot holds many of them.
fn is_constant_name(value: &[u8]) -> bool {
    value.len() >= 5
        && value.contains(&b'_')
        && value.iter().all(|b| b.is_ascii_uppercase() || *b == b'_')
        && value.first().is_some_and(u8::is_ascii_uppercase)
        && value.last().is_some_and(u8::is_ascii_uppercase)
}

fn constructor_end(line: &[u8], from: usize) -> Option<usize> {
    let n_name = line[from..].iter().take_while(|&&b| super::bytes::is_word(b)).count();
    let open = from + n_name;
    let close = match line.get(open)? {
        b'{' => b'}',
        b'(' => b')',
        _ => return None,
    };
    let inner = line[open + 1..]
        .iter()
        .position(|&b| is(b, BLANK) || matches!(b, b'=' | b'(' | b')' | b'{' | b'}'))?;
    let at = open + 1 + inner;
    (n_name > 0 && line[at] == close).then_some(at + 1)
}

/// `:"value"` and `"key": "value"`.
fn quoted_value(line: &[u8], pos: usize, quote: u8) -> Option<(usize, usize)> {
    let glued = pos >= 1 && line[pos - 1] == b':';
    let spaced = quote == b'"' && pos >= 3 && &line[pos - 3..pos] == b"\": ";
    if !glued && !spaced {
        return None;
    }
    let close = pos + 1 + memchr::memchr(quote, &line[pos + 1..])?;
    (close > pos + 1).then_some((pos + 1, close))
}

#[cfg(test)]
mod tests;
