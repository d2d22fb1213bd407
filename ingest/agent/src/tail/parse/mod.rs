//! Reads what a line says besides its text: time, severity, trace, fields.
//!
//! Flow: [`parse`] tries the configured format, or each in turn under `auto`; what fits no format is plain text.
//! Every function here is pure, borrows from the line and never fails: a line that cannot be read is a record
//! with a body and nothing else.

mod access;
mod json;
mod logfmt;
mod plain;
mod severity;
#[cfg(test)]
mod tests;
mod time;

use std::borrow::Cow;

use serde::Deserialize;

use crate::clock::Timestamp;

pub use severity::Severity;
pub use time::Zone;

/// How lines are written; section `format` of a log source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Each line is looked at; what fits no other format is plain.
    #[default]
    Auto,
    /// Text, perhaps with a time and a level in front.
    Plain,
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// nginx or Apache access lines: common, combined, and what teams add behind it.
    Access,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl<'a> Value<'a> {
    /// Reads a word as a number where it is written as one, and leaves it as text otherwise.
    ///
    /// Words that would read back differently (`007`, `+1`, `1e5`, twenty digits) stay text.
    pub fn from_word(word: &'a str) -> Self {
        let digits = word.strip_prefix('-').unwrap_or(word);
        let canonical = digits == "0" || !digits.starts_with('0') || digits.starts_with("0.");
        let numeric = digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.ends_with(|c: char| c.is_ascii_digit())
            && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if numeric && canonical && word.len() <= 18 {
            if let Ok(int) = word.parse() {
                return Self::Int(int);
            }
            if let Ok(float) = word.parse() {
                return Self::Float(float);
            }
        }
        Self::Text(Cow::Borrowed(word))
    }
}

/// A named value; names of nested fields are joined by dots.
pub type Field<'a> = (Cow<'a, str>, Value<'a>);

/// What a line says besides its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed<'a> {
    /// When it happened, if the line tells.
    pub time: Option<Timestamp>,
    /// How bad it is, if the line tells.
    pub severity: Option<Severity<'a>>,
    /// The trace that it belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// The span that it belongs to.
    pub span_id: Option<[u8; 8]>,
    /// Its other fields, in the order of the line.
    pub fields: Vec<Field<'a>>,
}

// A line with more is data, not a log; what is beyond stays in the body.
const FIELDS_MAX: usize = 128;

/// What a reader has to know besides the line.
#[derive(Clone, Debug)]
pub struct Context<'z> {
    /// The zone of times that name none.
    pub zone: &'z Zone,
    /// The present, for times without a year.
    pub now: Timestamp,
}

/// Reads `line` as `format` says.
pub fn parse<'a>(line: &'a str, format: Format, context: &Context<'_>) -> Parsed<'a> {
    let read = match format {
        Format::Auto => detect(line, context),
        Format::Plain => None,
        Format::Json => json::parse(line, context),
        Format::Logfmt => logfmt::parse(line, context),
        Format::Access => access::parse(line, context),
    };
    read.unwrap_or_else(|| plain::parse(line, context))
}

fn detect<'a>(line: &'a str, context: &Context<'_>) -> Option<Parsed<'a>> {
    if line.starts_with('{') {
        return json::parse(line, context);
    }
    if access::is_likely(line) {
        return access::parse(line, context);
    }
    if logfmt::is_likely(line) {
        return logfmt::parse(line, context);
    }
    None
}

/// Tells whether a line is of a format whose records are one line long, so that nothing can follow it.
pub fn is_whole(line: &str, format: Format) -> bool {
    match format {
        Format::Json | Format::Logfmt | Format::Access => true,
        Format::Plain => false,
        Format::Auto => {
            (line.starts_with('{') && line.trim_end().ends_with('}'))
                || access::is_likely(line)
                || logfmt::is_likely(line)
        }
    }
}

/// Tells whether a line begins with a time, as the first line of a record does.
pub fn starts_with_time(line: &str) -> bool {
    let bytes = line.as_bytes();
    let start = usize::from(bytes.first() == Some(&b'['));
    time::Prefix::read(&bytes[start..]).is_some()
}

/// Puts a field where it belongs: time, level, trace and span have places of their own, the message is the
/// body's, and everything else is an attribute.
fn put<'a>(parsed: &mut Parsed<'a>, name: Cow<'a, str>, value: Value<'a>, context: &Context<'_>) {
    match (name.as_ref(), &value) {
        ("time" | "timestamp" | "ts" | "@timestamp" | "t" | "datetime" | "asctime", value)
            if parsed.time.is_none() =>
        {
            parsed.time = match value {
                Value::Text(text) => time::parse(text, context),
                Value::Int(number) => time::from_epoch(*number as f64, Some(*number)),
                Value::Float(number) => time::from_epoch(*number, None),
                Value::Bool(_) => None,
            };
            if parsed.time.is_some() {
                return;
            }
        }
        ("level" | "severity" | "lvl" | "loglevel" | "levelname" | "log.level" | "@l", value)
            if parsed.severity.is_none() =>
        {
            parsed.severity = match value {
                Value::Text(Cow::Borrowed(text)) => severity::from_word(text),
                Value::Text(Cow::Owned(text)) => severity::from_word(text).map(Severity::into_canonical),
                Value::Int(number) => severity::from_number(*number),
                _ => None,
            };
            if parsed.severity.is_some() {
                return;
            }
        }
        ("trace_id" | "traceId" | "traceid" | "trace.id" | "dd.trace_id", Value::Text(text)) => {
            parsed.trace_id = hex(text);
            if parsed.trace_id.is_some() {
                return;
            }
        }
        ("span_id" | "spanId" | "spanid" | "span.id" | "dd.span_id", Value::Text(text)) => {
            parsed.span_id = hex(text);
            if parsed.span_id.is_some() {
                return;
            }
        }
        ("traceparent", Value::Text(text)) => {
            let mut parts = text.split('-').skip(1);
            parsed.trace_id = parts.next().and_then(hex);
            parsed.span_id = parts.next().and_then(hex);
            return;
        }
        // The body holds it, and is searched by word.
        ("msg" | "message" | "log" | "body" | "@m" | "@mt", Value::Text(_)) => return,
        _ => {}
    }
    if parsed.fields.len() < FIELDS_MAX {
        parsed.fields.push((name, value));
    }
}

/// Reads an id of exactly `N` bytes in hexadecimal; one of zeros is none.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut id = [0; N];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    (id != [0; N]).then_some(id)
}

/// Reads a word that is a time.
pub fn time_of(text: &str, context: &Context<'_>) -> Option<Timestamp> {
    time::parse(text, context)
}
