//! Records as columns, and what head and segments have in common.

use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::Xxh3;

use super::attributes::{Kept, read_rest};
use super::source::RecordId;
use crate::model::{AttributeValue, Labels, LogRecord, SpanId, Timestamp, TraceId, write_hex};
use crate::pattern::{PatternId, VARIABLE, words};
use crate::read::ReadError;

/// The type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    String,
    Int,
    Double,
    Bool,
    Bytes,
    Json,
    Null,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::String, Self::Int, Self::Double, Self::Bool, Self::Bytes, Self::Json, Self::Null];

    /// The letter that stands for it on disk and in the log.
    pub(crate) fn code(self) -> char {
        match self {
            Self::String => 's',
            Self::Int => 'i',
            Self::Double => 'd',
            Self::Bool => 'b',
            Self::Bytes => 'x',
            Self::Json => 'j',
            Self::Null => 'n',
        }
    }

    pub(crate) fn of_code(code: char) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }

    pub(crate) fn of(value: &AttributeValue) -> Self {
        match value {
            AttributeValue::String(_) => Self::String,
            AttributeValue::Int(_) => Self::Int,
            AttributeValue::Double(_) => Self::Double,
            AttributeValue::Bool(_) => Self::Bool,
            AttributeValue::Bytes(_) => Self::Bytes,
            AttributeValue::Json(_) => Self::Json,
            AttributeValue::Null => Self::Null,
        }
    }
}

/// Appends the text that stands for a value; with its [`Kind`] it gives the value back in full.
pub(crate) fn write_value(value: &AttributeValue, out: &mut String) {
    use std::fmt::Write as _;
    if let AttributeValue::Bytes(bytes) = value {
        return write_hex(bytes, out);
    }
    // Writing to a string cannot fail.
    let _ = match value {
        AttributeValue::String(s) | AttributeValue::Json(s) => out.write_str(s),
        AttributeValue::Int(n) => write!(out, "{n}"),
        // NaNs have payloads, which text does not show.
        AttributeValue::Double(n) if n.is_nan() => write!(out, "0x{:016x}", n.to_bits()),
        AttributeValue::Double(n) => write!(out, "{n}"),
        AttributeValue::Bool(b) => write!(out, "{b}"),
        AttributeValue::Bytes(_) | AttributeValue::Null => Ok(()),
    };
}

/// Reads back what [`write_value`] wrote; `None` for texts that it never writes.
pub(crate) fn read_value(kind: Kind, text: &str) -> Option<AttributeValue> {
    Some(match kind {
        Kind::String => AttributeValue::String(text.into()),
        Kind::Int => AttributeValue::Int(text.parse().ok()?),
        Kind::Double => AttributeValue::Double(match text.strip_prefix("0x") {
            Some(bits) => f64::from_bits(u64::from_str_radix(bits, 16).ok()?),
            None => text.parse().ok()?,
        }),
        Kind::Bool => AttributeValue::Bool(text.parse().ok()?),
        Kind::Bytes => {
            let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
            let bytes = digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<_>>()?;
            AttributeValue::Bytes(bytes)
        }
        Kind::Json => AttributeValue::Json(text.into()),
        Kind::Null => AttributeValue::Null,
    })
}

/// What records of one kind share: the pattern of the body, names and types of attributes. A
/// record's *slots* hold the rest: variables of the body, values of attributes, attributes of rare names together, the
/// sender's uid.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) pattern: Box<str>,
    /// Where the message begins in the pattern, behind what the line's header has become.
    pub(crate) message: usize,
    /// The id of the message's pattern.
    pub(crate) id: PatternId,
    pub(crate) n_variables: usize,
    pub(crate) attributes: Vec<(String, Kind)>,
    pub(crate) tail: Tail,
    words: OnceLock<Vec<String>>,
}

/// Which slots a shape has behind those of its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// One for attributes of rare names.
    pub(crate) has_rest: bool,
    /// One for the sender's uid.
    pub(crate) has_uid: bool,
}

impl Shape {
    pub(crate) fn new(pattern: &str, message: usize, attributes: Vec<(String, Kind)>, tail: Tail) -> Self {
        let n_variables = pattern.bytes().filter(|&b| b == VARIABLE).count();
        let id = PatternId::of(&pattern.as_bytes()[message..]);
        Self { pattern: pattern.into(), message, id, n_variables, attributes, tail, words: OnceLock::new() }
    }

    /// The pattern of the message, by which lines are grouped.
    pub(crate) fn message(&self) -> &str {
        &self.pattern[self.message..]
    }

    /// Tells whether a record can have either shape: which it has hangs on the patterns that were known when it came.
    pub(crate) fn may_be_alike(&self, other: &Self) -> bool {
        // Names that are common when one comes may be rare when the other does.
        let have_rest = self.tail.has_rest || other.tail.has_rest;
        if self.tail.has_uid != other.tail.has_uid || !have_rest && self.attributes != other.attributes {
            return false;
        }
        let (a, b) = (self.pattern.as_bytes(), other.pattern.as_bytes());
        if self.n_variables == 0 && other.n_variables == 0 || a == b {
            return a == b;
        }
        // What stands before the first variable of both, and behind the last one.
        let same = |a: &mut dyn Iterator<Item = &u8>, b: &mut dyn Iterator<Item = &u8>| {
            a.zip(b).take_while(|(a, b)| **a != VARIABLE && **b != VARIABLE).all(|(a, b)| a == b)
        };
        same(&mut a.iter(), &mut b.iter()) && same(&mut a.iter().rev(), &mut b.iter().rev())
    }

    pub(crate) fn n_slots(&self) -> usize {
        let Tail { has_rest, has_uid } = self.tail;
        self.n_variables + self.attributes.len() + usize::from(has_rest) + usize::from(has_uid)
    }

    /// The slot of attributes of rare names.
    pub(crate) fn rest_slot(&self) -> Option<usize> {
        self.tail.has_rest.then(|| self.n_variables + self.attributes.len())
    }

    /// The words of the pattern's constant text, sorted.
    pub(crate) fn words(&self) -> &[String] {
        self.words.get_or_init(|| {
            let mut list = words(&self.pattern);
            list.sort_unstable();
            list.dedup();
            list
        })
    }

    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.words().binary_search_by(|w| w.as_str().cmp(word)).is_ok()
    }

    /// Tells whether a word of the constant text begins so.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        let words = self.words();
        words.get(words.partition_point(|w| w.as_str() < prefix)).is_some_and(|w| w.starts_with(prefix))
    }

    pub(crate) fn hash<'a>(
        pattern: &[u8],
        message: usize,
        attributes: impl Iterator<Item = (&'a str, Kind)>,
        tail: Tail,
    ) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.update(&(pattern.len() as u64).to_le_bytes());
        hasher.update(&(message as u64).to_le_bytes());
        hasher.update(pattern);
        for (name, kind) in attributes {
            hasher.update(&[kind as u8]);
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
        hasher.update(&[u8::from(tail.has_uid), u8::from(tail.has_rest)]);
        hasher.digest()
    }

    /// Tells whether it is the shape of such a body and of these attributes in slots of their own.
    pub(crate) fn is<'a>(
        &self,
        pattern: &[u8],
        message: usize,
        mut attributes: impl Iterator<Item = (&'a str, Kind)>,
        tail: Tail,
    ) -> bool {
        self.pattern.as_bytes() == pattern
            && self.message == message
            && self.tail == tail
            && self.attributes.iter().all(|own| attributes.next() == Some((own.0.as_str(), own.1)))
            && attributes.next().is_none()
    }
}

/// What the numbers in columns stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) streams: Vec<Labels>,
    pub(crate) shapes: Vec<Arc<Shape>>,
    /// Severities as their sources wrote them.
    pub(crate) texts: Vec<Arc<str>>,
}

/// Some records as columns. Reading a column of a file may fail.
pub(crate) trait Block {
    fn tables(&self) -> &Arc<Tables>;
    fn n_rows(&self) -> usize;
    /// First and last time.
    fn span(&self) -> (i64, i64);
    fn times(&self) -> Result<&[i64], ReadError>;
    fn observed(&self) -> Result<&[i64], ReadError>;
    fn streams(&self) -> Result<&[u32], ReadError>;
    fn shapes(&self) -> Result<&[u32], ReadError>;
    fn severities(&self) -> Result<&[u8], ReadError>;
    fn texts(&self) -> Result<&[u32], ReadError>;
    fn trace_id(&self, row: usize) -> Result<Option<TraceId>, ReadError>;
    fn span_id(&self, row: usize) -> Result<Option<SpanId>, ReadError>;
    /// Appends the text in one slot of a row.
    fn value(&self, row: usize, slot: usize, out: &mut String) -> Result<(), ReadError>;

    /// Tells whether rows of this row's shape may have letters of a word in a slot, or a backslash, as far as the
    /// way in which it is kept tells.
    fn may_hold(&self, _row: usize, _slot: usize, _letters: &str) -> Result<bool, ReadError> {
        Ok(true)
    }

    /// Returns what a slot of a row has as hexadecimal digits, where it is kept as bytes.
    fn hex(&self, _row: usize, _slot: usize) -> Result<Option<&[u8]>, ReadError> {
        Ok(None)
    }

    /// Appends a row's body.
    fn body(&self, row: usize, out: &mut String) -> Result<(), ReadError> {
        let shape = &self.tables().shapes[self.shapes()?[row] as usize];
        let mut parts = shape.pattern.split(char::from(VARIABLE));
        out.push_str(parts.next().unwrap_or_default());
        for (slot, part) in parts.enumerate() {
            self.value(row, slot, out)?;
            out.push_str(part);
        }
        Ok(())
    }

    /// Builds a row's record and its id.
    fn record(&self, row: usize) -> Result<(RecordId, LogRecord), ReadError> {
        let tables = self.tables();
        let shape = &tables.shapes[self.shapes()?[row] as usize];
        let mut body = String::new();
        self.body(row, &mut body)?;
        let mut text = String::new();
        let mut slot = shape.n_variables;
        let mut attributes = Vec::with_capacity(shape.attributes.len());
        for (name, kind) in &shape.attributes {
            text.clear();
            self.value(row, slot, &mut text)?;
            let value = read_value(*kind, &text).ok_or_else(|| ReadError::Corrupt {
                path: "a log segment".into(),
                detail: format!("attribute {name} holds {text:?}"),
            })?;
            attributes.push((name.clone(), value));
            slot += 1;
        }
        if shape.tail.has_rest {
            text.clear();
            self.value(row, slot, &mut text)?;
            let rest = read_rest(&text).ok_or_else(|| ReadError::Corrupt {
                path: "a log segment".into(),
                detail: format!("the slot of rare attributes holds {text:?}"),
            })?;
            // In the order of their positions, so that each finds those before it in place.
            for (at, name, value) in rest {
                attributes.insert(at.min(attributes.len()), (name, value));
            }
            slot += 1;
        }
        let mut uid = shape.tail.has_uid.then(String::new);
        if let Some(uid) = &mut uid {
            self.value(row, slot, uid)?;
        }
        let record = LogRecord {
            time: Timestamp::from_nanos(self.times()?[row]),
            observed_time: Timestamp::from_nanos(self.observed()?[row]),
            severity_number: self.severities()?[row],
            severity_text: tables.texts[self.texts()?[row] as usize].to_string(),
            body,
            labels: tables.streams[self.streams()?[row] as usize].clone(),
            attributes,
            trace_id: self.trace_id(row)?,
            span_id: self.span_id(row)?,
            uid,
        };
        Ok((id_of(&record), record))
    }
}

/// Returns the name of a record: its time, and a hash of `log.record.uid` where it is set, else of
/// labels, body and attributes.
///
/// The hash never changes: ids are handed out and outlive compaction.
pub(crate) fn id_of(record: &LogRecord) -> RecordId {
    fn part(hasher: &mut Xxh3, bytes: &[u8]) {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    let mut hasher = Xxh3::new();
    if let Some(uid) = &record.uid {
        part(&mut hasher, b"uid");
        part(&mut hasher, uid.as_bytes());
    } else {
        part(&mut hasher, record.labels.as_bytes());
        part(&mut hasher, record.body.as_bytes());
        let mut text = String::new();
        for (name, value) in &record.attributes {
            text.clear();
            write_value(value, &mut text);
            part(&mut hasher, name.as_bytes());
            part(&mut hasher, Kind::of(value).code().encode_utf8(&mut [0; 4]).as_bytes());
            part(&mut hasher, text.as_bytes());
        }
    }
    RecordId { time: record.time, hash: hasher.digest() }
}

/// Rows in memory.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) times: Vec<i64>,
    pub(crate) observed: Vec<i64>,
    pub(crate) severities: Vec<u8>,
    pub(crate) texts: Vec<u32>,
    pub(crate) streams: Vec<u32>,
    pub(crate) shapes: Vec<u32>,
    trace_ids: Vec<Option<TraceId>>,
    span_ids: Vec<Option<SpanId>>,
    /// All slots of all rows, one behind the other.
    values: String,
    ends: Vec<u32>,
    /// The number of each row's first slot.
    first: Vec<u32>,
    span: Option<(i64, i64)>,
}

/// Numbers of one record in its tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowNumbers {
    pub(crate) stream: u32,
    pub(crate) shape: u32,
    pub(crate) text: u32,
}

impl Rows {
    /// Adds a record. `variables` are those of its body, `kept` says in which slots its attributes are.
    pub(crate) fn push<'a>(
        &mut self,
        record: &LogRecord,
        numbers: RowNumbers,
        variables: impl Iterator<Item = &'a str>,
        kept: &Kept,
    ) {
        let t = record.time.as_nanos();
        self.times.push(t);
        self.observed.push(record.observed_time.as_nanos());
        self.severities.push(record.severity_number);
        self.texts.push(numbers.text);
        self.streams.push(numbers.stream);
        self.shapes.push(numbers.shape);
        self.trace_ids.push(record.trace_id);
        self.span_ids.push(record.span_id);
        self.first.push(offset(self.ends.len()));
        for variable in variables {
            self.values.push_str(variable);
            self.ends.push(offset(self.values.len()));
        }
        for &at in &kept.own {
            write_value(&record.attributes[at].1, &mut self.values);
            self.ends.push(offset(self.values.len()));
        }
        if !kept.rest.is_empty() {
            self.values.push_str(&kept.rest);
            self.ends.push(offset(self.values.len()));
        }
        if let Some(uid) = &record.uid {
            self.values.push_str(uid);
            self.ends.push(offset(self.values.len()));
        }
        let (first, last) = self.span.unwrap_or((t, t));
        self.span = Some((first.min(t), last.max(t)));
    }

    /// Makes empty rows with room for as many as these, so that memory is not doubled step by step.
    pub(crate) fn successor(&self) -> Self {
        let n = self.times.len();
        Self {
            times: Vec::with_capacity(n),
            observed: Vec::with_capacity(n),
            severities: Vec::with_capacity(n),
            texts: Vec::with_capacity(n),
            streams: Vec::with_capacity(n),
            shapes: Vec::with_capacity(n),
            trace_ids: Vec::with_capacity(n),
            span_ids: Vec::with_capacity(n),
            values: String::with_capacity(self.values.len() + self.values.len() / 16),
            ends: Vec::with_capacity(self.ends.len() + self.ends.len() / 16),
            first: Vec::with_capacity(n),
            span: None,
        }
    }

    /// Gives back the memory of a chunk that was closed long before it was full.
    pub(crate) fn shrink(&mut self) {
        if self.times.len() >= self.times.capacity() / 4 * 3 {
            return;
        }
        self.times.shrink_to_fit();
        self.observed.shrink_to_fit();
        self.severities.shrink_to_fit();
        self.texts.shrink_to_fit();
        self.streams.shrink_to_fit();
        self.shapes.shrink_to_fit();
        self.trace_ids.shrink_to_fit();
        self.span_ids.shrink_to_fit();
        self.values.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.first.shrink_to_fit();
    }

    /// About how much memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.values.len() + 4 * self.ends.len() + 64 * self.times.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// Bytes of slots, by which chunks are kept far below the 4 GiB that an offset can name.
    pub(crate) fn value_bytes(&self) -> usize {
        self.values.len()
    }
}

fn offset(n: usize) -> u32 {
    u32::try_from(n).expect("a chunk is closed at a few MiB and a batch is at most 128 MiB")
}

/// Rows in memory with the tables that they were numbered by.
#[derive(Clone, Debug)]
pub(crate) struct MemoryBlock {
    pub(crate) rows: Arc<Rows>,
    pub(crate) tables: Arc<Tables>,
}

impl Block for MemoryBlock {
    fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn span(&self) -> (i64, i64) {
        self.rows.span.unwrap_or((0, 0))
    }

    fn times(&self) -> Result<&[i64], ReadError> {
        Ok(&self.rows.times)
    }

    fn observed(&self) -> Result<&[i64], ReadError> {
        Ok(&self.rows.observed)
    }

    fn streams(&self) -> Result<&[u32], ReadError> {
        Ok(&self.rows.streams)
    }

    fn shapes(&self) -> Result<&[u32], ReadError> {
        Ok(&self.rows.shapes)
    }

    fn severities(&self) -> Result<&[u8], ReadError> {
        Ok(&self.rows.severities)
    }

    fn texts(&self) -> Result<&[u32], ReadError> {
        Ok(&self.rows.texts)
    }

    fn trace_id(&self, row: usize) -> Result<Option<TraceId>, ReadError> {
        Ok(self.rows.trace_ids[row])
    }

    fn span_id(&self, row: usize) -> Result<Option<SpanId>, ReadError> {
        Ok(self.rows.span_ids[row])
    }

    fn value(&self, row: usize, slot: usize, out: &mut String) -> Result<(), ReadError> {
        let at = self.rows.first[row] as usize + slot;
        let start = if at == 0 { 0 } else { self.rows.ends[at - 1] as usize };
        out.push_str(&self.rows.values[start..self.rows.ends[at] as usize]);
        Ok(())
    }
}
