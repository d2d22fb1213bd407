//! Walks a body and shows each series to a sink.

use super::Sample;
use super::native::{self, Exemplar};
use crate::exposition::MetricType;
use crate::histogram::NativeHistogram;
use crate::proto::{DecodeError, Reader, Value};

/// Receives what a body holds, in its order.
pub trait Sink<'a> {
    /// One series. A series may come several times in one body.
    ///
    /// # Errors
    /// Only what [`Series::labels`] reports as [`LabelError::Malformed`]; it ends the decoding.
    fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError>;

    /// What is said about a metric family.
    fn metadata(&mut self, _metadata: Metadata<'a>) {}
}

/// What is said about a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// The family's name.
    pub family: &'a str,
    /// Its type.
    pub metric_type: MetricType,
    /// A sentence for people; may be empty.
    pub help: &'a str,
    /// Its unit; may be empty.
    pub unit: &'a str,
}

/// A label: name and value.
pub type Label<'a> = (&'a str, &'a str);

/// One series of a body: `'a` is the body, `'s` the arrays that the next series reuses.
#[derive(Debug)]
pub struct Series<'a, 's> {
    source: Source<'a, 's>,
    labels: &'s mut Vec<Label<'a>>,
    samples: &'s [Sample],
    beside: &'s Beside<'a>,
}

/// What a series has beside floats; few have any.
#[derive(Debug, Default)]
struct Beside<'a> {
    histograms: Vec<NativeHistogram>,
    exemplars: Vec<Exemplar<'a>>,
}

impl Beside<'_> {
    fn clear(&mut self) {
        self.histograms.clear();
        self.exemplars.clear();
    }
}

/// Where the labels of a series are.
#[derive(Debug)]
enum Source<'a, 's> {
    /// Label messages, tags included; more than one range if other fields lie between.
    Messages(&'s [&'a [u8]]),
    /// Pairs of references into the symbols table.
    References(&'s [u32], &'s [&'a str]),
}

/// What is wrong with the labels of one series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The bytes are no labels; the whole body is bad.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A name or value that is not UTF-8.
    #[error("label name or value {0:?} is not valid UTF-8")]
    NotUtf8(String),
    /// A label without a name.
    #[error("a label with value {0:?} has an empty name")]
    EmptyName(String),
    /// The same name twice.
    #[error("label {0:?} appears twice")]
    Duplicate(String),
}

/// The labels of a series as they stand in the body, decoded while they are walked over: for sinks that
/// look at each once and write it down. [`Series::walk`] makes it.
#[derive(Clone, Debug)]
pub struct LabelWalk<'a> {
    text: &'a str,
    at: usize,
}

impl LabelWalk<'_> {
    /// Says whether the walk has come to the end. It stops early at anything but two short strings, name
    /// and value; [`Series::labels`] then decodes it, or says what is wrong.
    pub fn is_complete(&self) -> bool {
        self.at == self.text.len()
    }
}

impl<'a> Iterator for LabelWalk<'a> {
    type Item = Label<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let [TAG_LABEL, length, TAG_LABEL, name_length, ..] = *rest else { return None };
        let name_end = 4 + usize::from(name_length);
        let [TAG_LABEL_VALUE, value_length, ..] = *rest.get(name_end..)? else { return None };
        let end = name_end + 2 + usize::from(value_length);
        // From 128 on a length has two bytes.
        if length >= 0x80 || name_length >= 0x80 || value_length >= 0x80 || end != 2 + usize::from(length) {
            return None;
        }
        let name = self.text.get(self.at + 4..self.at + name_end)?;
        let value = self.text.get(self.at + name_end + 2..self.at + end)?;
        self.at += end;
        Some((name, value))
    }
}

impl<'a> Series<'a, '_> {
    /// Walks over the labels without gathering, sorting or checking them, at a third of the cost of
    /// [`labels`](Self::labels). `None` for 2.0, and for labels that are not UTF-8 in one piece.
    pub fn walk(&self) -> Option<LabelWalk<'a>> {
        match &self.source {
            Source::Messages([range]) => {
                std::str::from_utf8(range).ok().map(|text| LabelWalk { text, at: 0 })
            }
            Source::Messages(_) | Source::References(..) => None,
        }
    }

    /// Returns the labels sorted by name, unique, without empty values (which mean no label).
    ///
    /// Decoded at this call; a second call decodes again. Free of allocation once the array has grown to
    /// the largest series.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn labels(&mut self) -> Result<&[Label<'a>], LabelError> {
        self.labels.clear();
        match &self.source {
            Source::Messages(ranges) => {
                for range in *ranges {
                    read_labels(range, self.labels)?;
                }
            }
            Source::References(references, symbols) => {
                let symbol = |reference: u32| symbols[reference as usize];
                self.labels.extend(
                    references
                        .chunks_exact(2)
                        .map(|pair| (symbol(pair[0]), symbol(pair[1])))
                        // An empty name is kept, to be refused below.
                        .filter(|(name, value)| !value.is_empty() || name.is_empty()),
                );
            }
        }
        if !self.labels.is_sorted_by(|a, b| a.0 < b.0) {
            self.labels.sort_unstable();
            if let Some(pair) = self.labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(LabelError::Duplicate(pair[0].0.to_owned()));
            }
        }
        match self.labels.first() {
            Some(("", value)) => Err(LabelError::EmptyName((*value).to_owned())),
            _ => Ok(self.labels),
        }
    }

    /// Returns the labels as [`labels`](Self::labels) does, and the samples.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn labels_and_samples(&mut self) -> Result<(&[Label<'a>], &[Sample]), LabelError> {
        let samples = self.samples;
        Ok((self.labels()?, samples))
    }

    /// Returns the samples in the body's order.
    pub fn samples(&self) -> &[Sample] {
        self.samples
    }

    /// Returns the native histograms in the body's order, unchecked.
    pub fn histograms(&self) -> &[NativeHistogram] {
        &self.beside.histograms
    }

    /// Returns the exemplars in the body's order. A sender may name a series for these alone.
    pub fn exemplars(&self) -> &[Exemplar<'a>] {
        &self.beside.exemplars
    }
}

/// Decodes a `prometheus.WriteRequest`, decompressed.
///
/// # Errors
/// [`DecodeError`] at the first byte that is no valid message; the sink has seen the series before it.
pub fn decode_v1<'a>(body: &'a [u8], sink: &mut impl Sink<'a>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(body);
    let mut labels = Vec::new();
    let mut samples = Vec::new();
    let mut ranges = Vec::new();
    let mut beside = Beside::default();
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => {
                let message = value.into_bytes(field)?;
                series_v1(message, sink, (&mut labels, &mut samples, &mut beside), &mut ranges)?;
            }
            3 => sink.metadata(metadata_v1(value.into_bytes(field)?)?),
            _ => {}
        }
    }
    Ok(())
}

/// Decodes an `io.prometheus.write.v2.Request`, decompressed.
///
/// # Errors
/// [`DecodeError`], also for references past the symbols table and a table that does not begin with the
/// empty string.
pub fn decode_v2<'a>(body: &'a [u8], sink: &mut impl Sink<'a>) -> Result<(), DecodeError> {
    // Symbols come before the series in practice, but protobuf does not promise it.
    let mut symbols: Vec<&'a str> = Vec::new();
    let mut reader = Reader::new(body);
    while let Some((field, value)) = reader.field()? {
        if field == 4 {
            symbols.push(value.into_str(field)?);
        }
    }
    if let Some(first) = symbols.first().filter(|first| !first.is_empty()) {
        return Err(DecodeError::FirstSymbol { found: (*first).to_owned() });
    }
    let mut labels = Vec::new();
    let mut samples = Vec::new();
    let mut references = Vec::new();
    let mut beside = Beside::default();
    let mut reader = Reader::new(body);
    while let Some((field, value)) = reader.field()? {
        if field == 5 {
            let message = value.into_bytes(field)?;
            series_v2(message, &symbols, sink, (&mut labels, &mut samples, &mut beside), &mut references)?;
        }
    }
    Ok(())
}

/// Tag of field 1 with a length: a label in a series of 1.0, and the name in a label.
const TAG_LABEL: u8 = 1 << 3 | 2;

/// Tag of field 2 with a length: the value in a label.
const TAG_LABEL_VALUE: u8 = 2 << 3 | 2;

/// The arrays that one series after the other fills.
type Arrays<'a, 's> = (&'s mut Vec<Label<'a>>, &'s mut Vec<Sample>, &'s mut Beside<'a>);

fn series_v1<'a>(
    message: &'a [u8],
    sink: &mut impl Sink<'a>,
    (labels, samples, beside): Arrays<'a, '_>,
    ranges: &mut Vec<&'a [u8]>,
) -> Result<(), DecodeError> {
    samples.clear();
    ranges.clear();
    beside.clear();
    let mut reader = Reader::new(message);
    loop {
        let start = reader.at();
        while reader.peek() == Some(TAG_LABEL) {
            reader.field()?;
        }
        if reader.at() > start {
            ranges.push(&message[start..reader.at()]);
        }
        let start = reader.at();
        match reader.field()? {
            None => break,
            Some((2, value)) => samples.push(sample(value.into_bytes(2)?)?),
            Some((3, value)) => beside.exemplars.push(native::exemplar_v1(value.into_bytes(3)?)?),
            Some((4, value)) => beside.histograms.push(native::histogram(value.into_bytes(4)?)?),
            // A label again, its tag written in more bytes than needed.
            Some((1, value)) => ranges.push(value.into_bytes(1).map(|_| &message[start..reader.at()])?),
            Some(_) => {}
        }
    }
    sink.series(&mut Series { source: Source::Messages(ranges), labels, samples, beside })
}

fn series_v2<'a>(
    message: &'a [u8],
    symbols: &[&'a str],
    sink: &mut impl Sink<'a>,
    (labels, samples, beside): Arrays<'a, '_>,
    references: &mut Vec<u32>,
) -> Result<(), DecodeError> {
    samples.clear();
    references.clear();
    beside.clear();
    let mut metadata = None;
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (1, Value::Varint(reference)) => references.push(check_reference(reference, symbols)?),
            (1, value) => {
                let mut packed = Reader::new(value.into_bytes(field)?);
                while !packed.is_empty() {
                    references.push(check_reference(packed.varint()?, symbols)?);
                }
            }
            (2, value) => samples.push(sample(value.into_bytes(field)?)?),
            (3, value) => beside.histograms.push(native::histogram(value.into_bytes(field)?)?),
            (4, value) => {
                let symbol = |reference| Ok(symbols[check_reference(reference, symbols)? as usize]);
                beside.exemplars.push(native::exemplar_v2(value.into_bytes(field)?, symbol)?);
            }
            (5, value) => metadata = Some(metadata_v2(value.into_bytes(field)?, symbols)?),
            _ => {}
        }
    }
    if !references.len().is_multiple_of(2) {
        return Err(DecodeError::OddReferences { count: references.len() });
    }
    let symbol = |reference: u32| symbols[reference as usize];
    let name =
        references.chunks_exact(2).find(|pair| symbol(pair[0]) == "__name__").map(|pair| symbol(pair[1]));
    if let (Some((metric_type, help, unit)), Some(name)) = (metadata, name) {
        sink.metadata(Metadata { family: family_of(name, metric_type), metric_type, help, unit });
    }
    let source = Source::References(references, symbols);
    sink.series(&mut Series { source, labels, samples, beside })
}

/// Strips what a series of this type adds to its family's name.
fn family_of(name: &str, metric_type: MetricType) -> &str {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_sum", "_count"],
        MetricType::Summary => &["_sum", "_count"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

fn check_reference(reference: u64, symbols: &[&str]) -> Result<u32, DecodeError> {
    let out_of_range = DecodeError::SymbolRange { reference, n_symbols: symbols.len() };
    match u32::try_from(reference) {
        Ok(index) if (index as usize) < symbols.len() => Ok(index),
        _ => Err(out_of_range),
    }
}

/// A sample is the same message in both versions, but for 2.0's start time (3), which is not used.
#[inline]
fn sample(message: &[u8]) -> Result<Sample, DecodeError> {
    // What nearly every sample looks like: the value's tag and eight bytes, the time's tag and a number.
    if let [0x09, rest @ ..] = message
        && let Some((value, [0x10, time @ ..])) = rest.split_first_chunk::<8>()
    {
        let mut reader = Reader::new(time);
        let t_ms = reader.varint()?.cast_signed();
        if reader.is_empty() {
            return Ok(Sample { t_ms, value: f64::from_le_bytes(*value) });
        }
    }
    let mut sample = Sample { t_ms: 0, value: 0.0 };
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => sample.value = f64::from_bits(value.into_fixed64(field)?),
            2 => sample.t_ms = value.into_varint(field)?.cast_signed(),
            _ => {}
        }
    }
    Ok(sample)
}

/// Appends the labels of one range of label messages.
fn read_labels<'a>(range: &'a [u8], labels: &mut Vec<Label<'a>>) -> Result<(), LabelError> {
    // One check over the whole range is far cheaper than one for each string. Tags and lengths below 128
    // are ASCII, so the range is UTF-8 exactly if its strings are, unless one is 128 bytes or longer.
    let text = std::str::from_utf8(range).ok();
    let base = range.as_ptr() as usize;
    let string = |bytes: &'a [u8]| -> Result<&'a str, LabelError> {
        let start = bytes.as_ptr() as usize - base;
        text.and_then(|text| text.get(start..start + bytes.len()))
            .map_or_else(|| std::str::from_utf8(bytes), Ok)
            .map_err(|_| LabelError::NotUtf8(String::from_utf8_lossy(bytes).into_owned()))
    };
    let mut reader = Reader::new(range);
    while let Some((field, value)) = reader.field()? {
        let mut label = Reader::new(value.into_bytes(field)?);
        let (mut name, mut text): (&[u8], &[u8]) = (&[], &[]);
        while let Some((field, value)) = label.field()? {
            match field {
                1 => name = value.into_bytes(field)?,
                2 => text = value.into_bytes(field)?,
                _ => {}
            }
        }
        if name.is_empty() {
            return Err(LabelError::EmptyName(String::from_utf8_lossy(text).into_owned()));
        }
        if !text.is_empty() {
            labels.push((string(name)?, string(text)?));
        }
    }
    Ok(())
}

fn metadata_v1(message: &[u8]) -> Result<Metadata<'_>, DecodeError> {
    let mut metadata = Metadata { family: "", metric_type: MetricType::Unknown, help: "", unit: "" };
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => metadata.metric_type = metric_type(value.into_varint(field)?),
            2 => metadata.family = value.into_str(field)?,
            4 => metadata.help = value.into_str(field)?,
            5 => metadata.unit = value.into_str(field)?,
            _ => {}
        }
    }
    Ok(metadata)
}

fn metadata_v2<'a>(
    message: &[u8],
    symbols: &[&'a str],
) -> Result<(MetricType, &'a str, &'a str), DecodeError> {
    let mut metadata = (MetricType::Unknown, "", "");
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => metadata.0 = metric_type(value.into_varint(field)?),
            3 => metadata.1 = symbols[check_reference(value.into_varint(field)?, symbols)? as usize],
            4 => metadata.2 = symbols[check_reference(value.into_varint(field)?, symbols)? as usize],
            _ => {}
        }
    }
    Ok(metadata)
}

/// The numbers are the same in both versions; unknown ones are read as unknown type, as protobuf asks.
fn metric_type(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}
