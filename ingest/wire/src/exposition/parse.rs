//! Reads a page line by line. Lines never span: a newline inside a label value is escaped.

use std::borrow::Cow;

use super::{Format, MetricType};
use crate::number::parse_value;

/// One label of a sample: name, value. Owned only where the page escaped a character.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Receives the lines of a page in their order. Methods that are not overridden ignore their line.
pub trait Visitor {
    /// A `# TYPE` line.
    fn metric_type(&mut self, _family: &str, _type: MetricType) {}
    /// A `# HELP` line, unescaped.
    fn help(&mut self, _family: &str, _help: &str) {}
    /// A `# UNIT` line.
    fn unit(&mut self, _family: &str, _unit: &str) {}
    /// A sample line.
    fn sample(&mut self, sample: &Sample<'_>);
}

/// One sample line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The series' name, suffixes such as `_total` and `_bucket` included.
    pub name: &'a str,
    /// Labels in the page's order, without the name; names are unique.
    pub labels: &'a [Label<'a>],
    /// The value; every NaN is the ordinary one.
    pub value: f64,
    /// Epoch milliseconds, where the page states a time.
    pub timestamp_ms: Option<i64>,
    /// OpenMetrics exemplar.
    pub exemplar: Option<Exemplar<'a>>,
}

/// An example observation behind a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Its labels, such as a trace id.
    pub labels: Vec<Label<'a>>,
    /// The observed value.
    pub value: f64,
    /// Epoch milliseconds, where stated.
    pub timestamp_ms: Option<i64>,
}

/// Why a page was refused: the line (from 1) and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ParseError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Bytes that are no UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// A name outside the allowed characters, or none.
    #[error("invalid name {0:?}")]
    Name(String),
    /// A quoted string without its end, or something else where one has to be.
    #[error("expected a quoted string")]
    Quote,
    /// Something else than `,` or `}` after a label.
    #[error("expected ',' or '}}' after a label")]
    LabelSeparator,
    /// The same label twice.
    #[error("label {0:?} appears twice")]
    DuplicateLabel(String),
    /// A value that is no number.
    #[error("invalid value {0:?}")]
    Value(String),
    /// A timestamp that is no number or out of range.
    #[error("invalid timestamp {0:?}")]
    Timestamp(String),
    /// Text after the end of the sample.
    #[error("unexpected text {0:?} after the sample")]
    Trailing(String),
    /// A `# TYPE` line with an unknown type.
    #[error("unknown metric type {0:?}")]
    Type(String),
    /// A blank line in OpenMetrics.
    #[error("blank line")]
    Blank,
    /// No `# EOF` at the end of an OpenMetrics page.
    #[error("the page does not end with # EOF")]
    NoEof,
    /// Lines after `# EOF`.
    #[error("text after # EOF")]
    AfterEof,
}

/// Parses a whole page. Lines before a bad one have been visited when it fails, so a caller that wants all
/// or nothing (as Prometheus does) collects first.
///
/// # Errors
/// [`ParseError`] names the first bad line.
pub fn parse(page: &[u8], format: Format, visitor: &mut impl Visitor) -> Result<(), ParseError> {
    let text = std::str::from_utf8(page).map_err(|bad| ParseError {
        line: memchr::memchr_iter(b'\n', &page[..bad.valid_up_to()]).count() + 1,
        problem: Problem::NotUtf8,
    })?;
    let mut labels: Vec<Label<'_>> = Vec::new();
    let mut line_no = 0;
    let mut ended = false;
    let mut rest = text;
    while !rest.is_empty() {
        line_no += 1;
        let line;
        (line, rest) = match memchr::memchr(b'\n', rest.as_bytes()) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        let done =
            if ended { Err(Problem::AfterEof) } else { parse_line(line, format, &mut labels, visitor) };
        ended = done.map_err(|problem| ParseError { line: line_no, problem })?;
    }
    if format == Format::OpenMetrics && !ended {
        return Err(ParseError { line: line_no + 1, problem: Problem::NoEof });
    }
    Ok(())
}

/// Handles one line and says whether it was the end mark.
fn parse_line<'a>(
    line: &'a str,
    format: Format,
    labels: &mut Vec<Label<'a>>,
    visitor: &mut impl Visitor,
) -> Result<bool, Problem> {
    let line = match format {
        Format::PrometheusText => line.trim_matches(is_blank),
        Format::OpenMetrics => line,
    };
    if line.is_empty() {
        return match format {
            Format::PrometheusText => Ok(false),
            Format::OpenMetrics => Err(Problem::Blank),
        };
    }
    if let Some(comment) = line.strip_prefix('#') {
        if format == Format::OpenMetrics && comment == " EOF" {
            return Ok(true);
        }
        parse_comment(comment, format, visitor)?;
        return Ok(false);
    }
    parse_sample(line, format, labels, visitor)?;
    Ok(false)
}

fn parse_comment(comment: &str, format: Format, visitor: &mut impl Visitor) -> Result<(), Problem> {
    let mut cursor = Cursor { rest: comment };
    cursor.skip_blanks();
    let keyword = cursor.word();
    if !matches!(keyword, "TYPE" | "HELP" | "UNIT") {
        return Ok(());
    }
    cursor.skip_blanks();
    let family = if cursor.rest.starts_with('"') { cursor.quoted()? } else { Cow::Borrowed(cursor.word()) };
    if family.is_empty() {
        return Err(Problem::Name(String::new()));
    }
    cursor.skip_blanks();
    match keyword {
        "TYPE" => {
            let word = cursor.rest.trim_end_matches(is_blank);
            let kind = MetricType::from_word(word).ok_or_else(|| Problem::Type(word.to_owned()))?;
            visitor.metric_type(&family, kind);
        }
        "HELP" => visitor.help(&family, &unescape(cursor.rest, format == Format::OpenMetrics)),
        _ => visitor.unit(&family, cursor.rest),
    }
    Ok(())
}

fn parse_sample<'a>(
    line: &'a str,
    format: Format,
    labels: &mut Vec<Label<'a>>,
    visitor: &mut impl Visitor,
) -> Result<(), Problem> {
    let mut cursor = Cursor { rest: line };
    labels.clear();
    let mut name: Option<Cow<'a, str>> = None;
    if !line.starts_with('{') {
        name = Some(Cow::Borrowed(cursor.plain_name(true)?));
        cursor.skip_blanks();
    }
    if cursor.rest.starts_with('{') {
        cursor.labels(labels, Some(&mut name))?;
    }
    let name = name.ok_or_else(|| Problem::Name(String::new()))?;
    let value = cursor.value()?;
    let timestamp_ms = cursor.timestamp(format)?;
    let exemplar = match format {
        Format::OpenMetrics => cursor.exemplar()?,
        Format::PrometheusText => None,
    };
    cursor.skip_blanks();
    if !cursor.rest.is_empty() {
        return Err(Problem::Trailing(cursor.rest.to_owned()));
    }
    visitor.sample(&Sample { name: &name, labels, value, timestamp_ms, exemplar });
    Ok(())
}

/// What is left of a line.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(is_blank);
    }

    /// Takes everything up to the next blank.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(is_blank).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Takes an unquoted metric name (which may hold colons) or label name.
    fn plain_name(&mut self, colons: bool) -> Result<&'a str, Problem> {
        let bytes = self.rest.as_bytes();
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (colons && *byte == b':');
        let end = bytes.iter().position(|byte| !part(byte)).unwrap_or(bytes.len());
        if end == 0 || bytes[0].is_ascii_digit() {
            let shown = self.rest.split(is_blank).next().unwrap_or("");
            return Err(Problem::Name(shown.to_owned()));
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(name)
    }

    /// Takes a quoted string and undoes its escapes.
    fn quoted(&mut self) -> Result<Cow<'a, str>, Problem> {
        let body = self.rest.strip_prefix('"').ok_or(Problem::Quote)?;
        let bytes = body.as_bytes();
        let mut at = 0;
        let mut escaped = false;
        loop {
            let found = memchr::memchr2(b'"', b'\\', &bytes[at..]).ok_or(Problem::Quote)? + at;
            if bytes[found] == b'"' {
                self.rest = &body[found + 1..];
                let inner = &body[..found];
                return Ok(if escaped { unescape(inner, true) } else { Cow::Borrowed(inner) });
            }
            escaped = true;
            // A backslash covers the byte after it; that byte is never the middle of a character.
            at = (found + 2).min(bytes.len());
        }
    }

    /// Takes `{...}`. A quoted name without `=` is the metric's, where one may still come.
    fn labels(
        &mut self,
        labels: &mut Vec<Label<'a>>,
        mut metric: Option<&mut Option<Cow<'a, str>>>,
    ) -> Result<(), Problem> {
        self.rest = self.rest.strip_prefix('{').ok_or(Problem::LabelSeparator)?;
        loop {
            self.skip_blanks();
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Ok(());
            }
            let quoted = self.rest.starts_with('"');
            let name = if quoted { self.quoted()? } else { Cow::Borrowed(self.plain_name(false)?) };
            self.skip_blanks();
            match self.rest.strip_prefix('=') {
                Some(rest) => {
                    self.rest = rest;
                    self.skip_blanks();
                    let value = self.quoted()?;
                    if name.is_empty() {
                        return Err(Problem::Name(String::new()));
                    }
                    if labels.iter().any(|(other, _)| *other == name) {
                        return Err(Problem::DuplicateLabel(name.into_owned()));
                    }
                    labels.push((name, value));
                }
                None => match metric.as_deref_mut() {
                    Some(metric @ None) if quoted && !name.is_empty() => *metric = Some(name),
                    _ => return Err(Problem::Name(name.into_owned())),
                },
            }
            self.skip_blanks();
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else if !self.rest.starts_with('}') {
                return Err(Problem::LabelSeparator);
            }
        }
    }

    fn value(&mut self) -> Result<f64, Problem> {
        self.skip_blanks();
        let word = self.word();
        parse_value(word).ok_or_else(|| Problem::Value(word.to_owned()))
    }

    /// Takes a timestamp, if the next word is one: milliseconds in the text format, else seconds.
    fn timestamp(&mut self, format: Format) -> Result<Option<i64>, Problem> {
        self.skip_blanks();
        if self.rest.is_empty() || self.rest.starts_with('#') {
            return Ok(None);
        }
        let word = self.word();
        let bad = || Problem::Timestamp(word.to_owned());
        match format {
            Format::PrometheusText => word.parse().map(Some).map_err(|_| bad()),
            Format::OpenMetrics => {
                let ms = (word.parse::<f64>().map_err(|_| bad())? * 1000.0).round();
                // 2^63 is exact as a float, and the first value that does not fit.
                let limit = -(i64::MIN as f64);
                if ms >= -limit && ms < limit { Ok(Some(ms as i64)) } else { Err(bad()) }
            }
        }
    }

    /// Takes ` # {labels} value [seconds]`, if there is one.
    fn exemplar(&mut self) -> Result<Option<Exemplar<'a>>, Problem> {
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix('#') else { return Ok(None) };
        self.rest = rest;
        self.skip_blanks();
        let mut labels = Vec::new();
        self.labels(&mut labels, None)?;
        let value = self.value()?;
        let timestamp_ms = self.timestamp(Format::OpenMetrics)?;
        Ok(Some(Exemplar { labels, value, timestamp_ms }))
    }
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// Undoes `\\`, `\n` and, inside quotes, `\"`. Any other backslash stands for itself.
fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    let (plain, mut rest) = text.split_at(first);
    out.push_str(plain);
    while let Some(after) = rest.strip_prefix('\\') {
        let (c, used) = match after.as_bytes().first() {
            Some(b'\\') => ('\\', 1),
            Some(b'n') => ('\n', 1),
            Some(b'"') if quotes => ('"', 1),
            _ => ('\\', 0),
        };
        out.push(c);
        let after = &after[used..];
        let next = memchr::memchr(b'\\', after.as_bytes()).unwrap_or(after.len());
        out.push_str(&after[..next]);
        rest = &after[next..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
