//! Native histograms and exemplars of a series, in both versions.

use super::decode::{Label, LabelError};
use crate::histogram::{NativeBuckets, NativeHistogram, ResetHint};
use crate::proto::{DecodeError, Reader, Value, put_bytes, put_varint};

/// An exemplar of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Its own labels as they were sent: in any order, perhaps empty. What is wrong with them concerns this exemplar
    /// alone.
    pub labels: Result<Vec<Label<'a>>, LabelError>,
    /// Epoch milliseconds.
    pub t_ms: i64,
    /// The value, with the bits that were sent.
    pub value: f64,
}

/// One side of a histogram, whose counts come as differences of integers or as floats.
#[derive(Default)]
struct Side {
    spans: Vec<(i32, u32)>,
    // Wide enough for any sum of differences that a body holds.
    last: i128,
    integers: Vec<f64>,
    floats: Vec<f64>,
}

impl Side {
    fn into_buckets(self, is_float: bool) -> NativeBuckets {
        NativeBuckets { spans: self.spans, counts: if is_float { self.floats } else { self.integers } }
    }

    fn push_difference(&mut self, difference: i64) {
        self.last += i128::from(difference);
        self.integers.push(self.last as f64);
    }
}

/// Decodes a histogram, the same message in both versions, but for 2.0's start time (17), which is not used.
///
/// # Errors
/// [`DecodeError`] if it is no such message. Whether its parts fit each other is not looked at.
pub(super) fn histogram(message: &[u8]) -> Result<NativeHistogram, DecodeError> {
    let mut histogram = NativeHistogram::default();
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let mut is_float = false;
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => (histogram.count, is_float) = (value.into_varint(field)? as f64, false),
            2 => (histogram.count, is_float) = (double(value, field)?, true),
            3 => histogram.sum = double(value, field)?,
            4 => histogram.schema = sint32(value.into_varint(field)?),
            5 => histogram.zero_threshold = double(value, field)?,
            6 => histogram.zero_count = value.into_varint(field)? as f64,
            7 => histogram.zero_count = double(value, field)?,
            8 => negative.spans.push(span(value.into_bytes(field)?)?),
            9 => integers(value, field, |n| negative.push_difference(n))?,
            10 => doubles(value, field, &mut negative.floats)?,
            11 => positive.spans.push(span(value.into_bytes(field)?)?),
            12 => integers(value, field, |n| positive.push_difference(n))?,
            13 => doubles(value, field, &mut positive.floats)?,
            14 => histogram.reset = reset(value.into_varint(field)?),
            15 => histogram.t_ms = value.into_varint(field)?.cast_signed(),
            16 => doubles(value, field, &mut histogram.custom_bounds)?,
            _ => {}
        }
    }
    (histogram.positive, histogram.negative) =
        (positive.into_buckets(is_float), negative.into_buckets(is_float));
    Ok(histogram)
}

/// Encodes a histogram, its counts as floats.
pub(super) fn encode(histogram: &NativeHistogram) -> Vec<u8> {
    let mut out = Vec::new();
    put_double(&mut out, 2, histogram.count);
    put_double(&mut out, 3, histogram.sum);
    put_number(&mut out, 4, zigzag(histogram.schema));
    put_double(&mut out, 5, histogram.zero_threshold);
    put_double(&mut out, 7, histogram.zero_count);
    for (side, spans, counts) in [(&histogram.negative, 8, 10), (&histogram.positive, 11, 13)] {
        for (offset, length) in &side.spans {
            let mut message = Vec::new();
            put_number(&mut message, 1, zigzag(*offset));
            put_number(&mut message, 2, u64::from(*length));
            put_bytes(&mut out, spans, &message);
        }
        put_doubles(&mut out, counts, &side.counts);
    }
    let reset = match histogram.reset {
        ResetHint::Unknown => 0,
        ResetHint::Yes => 1,
        ResetHint::No => 2,
        ResetHint::Gauge => 3,
    };
    put_number(&mut out, 14, reset);
    put_number(&mut out, 15, histogram.t_ms.cast_unsigned());
    put_doubles(&mut out, 16, &histogram.custom_bounds);
    out
}

fn put_number(out: &mut Vec<u8>, field: u8, number: u64) {
    put_varint(out, u64::from(field) << 3);
    put_varint(out, number);
}

fn put_double(out: &mut Vec<u8>, field: u8, number: f64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_doubles(out: &mut Vec<u8>, field: u8, numbers: &[f64]) {
    if numbers.is_empty() {
        return;
    }
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, 8 * numbers.len() as u64);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)).cast_unsigned())
}

fn reset(number: u64) -> ResetHint {
    match number {
        1 => ResetHint::Yes,
        2 => ResetHint::No,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    }
}

fn span(message: &[u8]) -> Result<(i32, u32), DecodeError> {
    let mut span = (0, 0);
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => span.0 = sint32(value.into_varint(field)?),
            // As every protobuf library cuts it.
            2 => span.1 = value.into_varint(field)? as u32,
            _ => {}
        }
    }
    Ok(span)
}

fn double(value: Value<'_>, field: u64) -> Result<f64, DecodeError> {
    value.into_fixed64(field).map(f64::from_bits)
}

/// Undoes zigzag in 32 bits, to which every protobuf library cuts the number.
fn sint32(number: u64) -> i32 {
    let number = number as u32;
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

fn sint64(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Reads a list of `sint64`, packed or one by one.
fn integers(value: Value<'_>, field: u64, mut each: impl FnMut(i64)) -> Result<(), DecodeError> {
    if let Value::Varint(number) = value {
        each(sint64(number));
        return Ok(());
    }
    let mut packed = Reader::new(value.into_bytes(field)?);
    while !packed.is_empty() {
        each(sint64(packed.varint()?));
    }
    Ok(())
}

/// Reads a list of `double`, packed or one by one.
fn doubles(value: Value<'_>, field: u64, out: &mut Vec<f64>) -> Result<(), DecodeError> {
    if let Value::Fixed64(bits) = value {
        out.push(f64::from_bits(bits));
        return Ok(());
    }
    let bytes = value.into_bytes(field)?;
    let (chunks, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(DecodeError::Truncated { at: bytes.len() - rest.len() });
    }
    out.extend(chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)));
    Ok(())
}

/// Decodes an exemplar of 1.0.
pub(super) fn exemplar_v1(message: &[u8]) -> Result<Exemplar<'_>, DecodeError> {
    let mut exemplar = Exemplar { labels: Ok(Vec::new()), t_ms: 0, value: 0.0 };
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => {
                let label = label(value.into_bytes(field)?)?;
                match (&mut exemplar.labels, label) {
                    (Ok(labels), Ok(label)) => labels.push(label),
                    (Ok(_), Err(error)) => exemplar.labels = Err(error),
                    (Err(_), _) => {}
                }
            }
            2 => exemplar.value = double(value, field)?,
            3 => exemplar.t_ms = value.into_varint(field)?.cast_signed(),
            _ => {}
        }
    }
    Ok(exemplar)
}

fn label(message: &[u8]) -> Result<Result<Label<'_>, LabelError>, DecodeError> {
    let mut parts: [&[u8]; 2] = [&[], &[]];
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        if let 1 | 2 = field {
            parts[usize::from(field == 2)] = value.into_bytes(field)?;
        }
    }
    let text = |bytes| {
        std::str::from_utf8(bytes)
            .map_err(|_| LabelError::NotUtf8(String::from_utf8_lossy(bytes).into_owned()))
    };
    Ok(text(parts[0]).and_then(|name| Ok((name, text(parts[1])?))))
}

/// Decodes an exemplar of 2.0, whose labels are pairs of references into the symbols table.
pub(super) fn exemplar_v2<'a>(
    message: &[u8],
    symbol: impl Fn(u64) -> Result<&'a str, DecodeError>,
) -> Result<Exemplar<'a>, DecodeError> {
    let (mut texts, mut t_ms, mut number) = (Vec::new(), 0, 0.0);
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (1, Value::Varint(reference)) => texts.push(symbol(reference)?),
            (1, value) => {
                let mut packed = Reader::new(value.into_bytes(field)?);
                while !packed.is_empty() {
                    texts.push(symbol(packed.varint()?)?);
                }
            }
            (2, value) => number = double(value, field)?,
            (3, value) => t_ms = value.into_varint(field)?.cast_signed(),
            _ => {}
        }
    }
    let (pairs, rest) = texts.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(DecodeError::OddReferences { count: texts.len() });
    }
    Ok(Exemplar {
        labels: Ok(pairs.iter().map(|[name, value]| (*name, *value)).collect()),
        t_ms,
        value: number,
    })
}
