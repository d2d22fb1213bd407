//! How a batch of samples is written into the write-ahead log.
//!
//! A file of the log names a series in full once and by a number from then on. One sample of a
//! series that followed the same neighbour before takes two or three bytes:
//!
//! | part | bytes |
//! |---|---|
//! | version | 1: the byte 1, or 2 where the batch has histograms or exemplars |
//! | metadata | count, then for each: kind (1), name, help, unit (each length and text) |
//! | series | count, then for each: |
//! | - flags | 1: bit 0 first time in this file, bit 1 number is not the last one's + 1, bit 2 time differs from the sample before, bit 3 more samples than one |
//! | - number | where bit 0 or 1 is set |
//! | - labels | where bit 0 is set: length and canonical bytes |
//! | - samples | where bit 3 is set: count |
//! | - sample | where bit 2 or 3 is set: time as zigzag difference from the sample before in the record (from 0 at first); then the value |
//! | histograms | in version 2: count, then for each: place among the samples of the record, as difference from the place after the one before, and the histogram |
//! | exemplars | in version 2: count of series, then for each its exemplars |
//!
//! Lengths, counts and numbers are LEB128. A value is `zigzag << 1` in LEB128 if it is an integer
//! below 2^53 in magnitude, else the byte 1 and eight bytes, little-endian; NaN in the place of a
//! histogram. Numbers are written out where a series is named, so that a lost record can never give
//! its series' name to another. Histograms and exemplars are as `histogram_codec` and `exemplars` say.

use std::collections::HashMap;

use super::exemplars;
use super::hashing::IdentityState;
use super::histogram_codec::{Before, HistogramCodec};
use super::varint::{self, take_byte, take_slice};
use crate::append::{BatchSeries, MetricBatch, MetricKind, MetricMetadata, SeriesKey};
use crate::model::Labels;

/// A batch of floats alone: nearly every one.
const FLOATS: u8 = 1;
/// A batch with histograms or exemplars.
const MIXED: u8 = 2;
const FIRST: u8 = 1;
const JUMP: u8 = 2;
const TIME: u8 = 4;
const MANY: u8 = 8;

/// Series that a file of the log has named so far; the writer of a file keeps one, begun empty.
#[derive(Debug, Default)]
pub struct WalSeriesDict {
    // Keys never reach the file: numbers go by first appearance.
    numbers: HashMap<SeriesKey, u32, IdentityState>,
}

impl WalSeriesDict {
    #[inline]
    fn number(&mut self, key: SeriesKey) -> (u32, bool) {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        (number, number == next)
    }
}

/// Series that a file of the log has named so far; the reader of a file keeps one, begun empty.
#[derive(Debug, Default)]
pub struct WalSeriesTable {
    series: HashMap<u32, (Labels, SeriesKey), IdentityState>,
}

/// Bytes that are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is no batch of samples at byte {at}")]
pub struct WalDecodeError {
    /// Where the first wrong part begins.
    pub at: usize,
}

/// Appends a batch to `out`, naming each series in full only the first time in a file.
///
/// The record must go into the file whose dictionary this is, in the order of the calls. When it
/// does not get there, start the next file with a new dictionary.
pub fn encode(batch: &MetricBatch, dict: &mut WalSeriesDict, out: &mut Vec<u8>) {
    let is_mixed = batch.n_histograms() > 0 || !batch.exemplars().is_empty();
    out.push(if is_mixed { MIXED } else { FLOATS });
    put_metadata(out, batch.metadata());
    varint::put(out, batch.n_series() as u64);
    let mut expected = 0u32;
    let mut last_t = 0i64;
    for i in 0..batch.n_series() {
        let BatchSeries { key, labels, t_ms, values, .. } = batch.series(i);
        let (number, first) = dict.number(key);
        let mut flags = u8::from(first) * FIRST;
        flags |= u8::from(number != expected) * JUMP;
        flags |= u8::from(t_ms[0] != last_t) * TIME;
        flags |= u8::from(t_ms.len() > 1) * MANY;
        out.push(flags);
        if flags & (FIRST | JUMP) != 0 {
            varint::put(out, u64::from(number));
        }
        if first {
            varint::put_slice(out, labels);
        }
        if flags & MANY != 0 {
            varint::put(out, t_ms.len() as u64);
        }
        for (&t, &value) in t_ms.iter().zip(values) {
            if flags & (TIME | MANY) != 0 {
                varint::put(out, varint::zigzag(t.wrapping_sub(last_t)));
            }
            last_t = t;
            varint::put_float(out, value);
        }
        expected = number.wrapping_add(1);
    }
    if is_mixed {
        put_rest(batch, out);
    }
}

#[cold]
fn put_rest(batch: &MetricBatch, out: &mut Vec<u8>) {
    varint::put(out, batch.n_histograms() as u64);
    let (mut codec, mut next) = (HistogramCodec::default(), 0);
    for (place, histogram) in batch.histograms() {
        varint::put(out, u64::from(place - next));
        next = place + 1;
        codec.put(histogram, Before::Other, out);
    }
    let by_series = exemplars::by_series(batch.exemplars().iter());
    varint::put(out, by_series.len() as u64);
    by_series.iter().for_each(|(series, set)| exemplars::encode(series, set, out));
}

fn put_metadata(out: &mut Vec<u8>, metadata: &[MetricMetadata]) {
    varint::put(out, metadata.len() as u64);
    for item in metadata {
        out.push(kind_byte(item.kind));
        for text in [&item.name, &item.help, &item.unit] {
            varint::put_slice(out, text.as_bytes());
        }
    }
}

// The bytes are on disk: a kind's place here never changes.
const KINDS: [MetricKind; 8] = [
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::Summary,
    MetricKind::GaugeHistogram,
    MetricKind::Info,
    MetricKind::StateSet,
    MetricKind::Unknown,
];

fn kind_byte(kind: MetricKind) -> u8 {
    KINDS.iter().position(|k| *k == kind).map_or(7, |i| i as u8)
}

/// Reads a batch back into `batch`, which is emptied first.
///
/// # Errors
/// [`WalDecodeError`] for bytes that [`encode`] did not write with that dictionary; the batch then
/// holds nothing of use.
pub fn decode(
    bytes: &[u8],
    table: &mut WalSeriesTable,
    batch: &mut MetricBatch,
) -> Result<(), WalDecodeError> {
    batch.clear();
    let mut rest = bytes;
    let failed = |rest: &[u8]| WalDecodeError { at: bytes.len() - rest.len() };
    let version = take_byte(&mut rest).filter(|version| [FLOATS, MIXED].contains(version));
    let version = version.ok_or(WalDecodeError { at: 0 })?;
    take_metadata(&mut rest, batch).ok_or_else(|| failed(rest))?;
    let n_series = varint::take(&mut rest).ok_or_else(|| failed(rest))?;
    let mut at = Position { expected: 0, last_t: 0 };
    for _ in 0..n_series {
        // A count that lies ends here: every series takes at least two bytes.
        take_series(&mut rest, &mut at, table, batch).ok_or_else(|| failed(rest))?;
    }
    if version == MIXED {
        take_rest(&mut rest, batch).ok_or_else(|| failed(rest))?;
    }
    if rest.is_empty() { Ok(()) } else { Err(failed(rest)) }
}

struct Position {
    expected: u32,
    last_t: i64,
}

#[inline]
fn take_series(
    rest: &mut &[u8],
    at: &mut Position,
    table: &mut WalSeriesTable,
    batch: &mut MetricBatch,
) -> Option<()> {
    let flags = take_byte(rest).filter(|f| *f < 16)?;
    let mut number = at.expected;
    if flags & (FIRST | JUMP) != 0 {
        number = u32::try_from(varint::take(rest)?).ok()?;
    }
    if flags & FIRST != 0 {
        let labels = Labels::from_bytes(take_slice(rest)?).ok()?;
        let key = SeriesKey::of(labels.as_bytes());
        table.series.insert(number, (labels, key));
    }
    let n = if flags & MANY != 0 { varint::take(rest)? } else { 1 };
    let (labels, key) = table.series.get(&number)?;
    let mut writer = batch.start_known(labels, *key);
    for _ in 0..n {
        if flags & (TIME | MANY) != 0 {
            at.last_t = at.last_t.wrapping_add(varint::unzigzag(varint::take(rest)?));
        }
        writer.push(at.last_t, varint::take_float(rest)?);
    }
    at.expected = number.wrapping_add(1);
    (n > 0).then_some(())
}

#[cold]
fn take_rest(rest: &mut &[u8], batch: &mut MetricBatch) -> Option<()> {
    let (mut codec, mut next, mut histograms) = (HistogramCodec::default(), 0_u32, Vec::new());
    for _ in 0..varint::take(rest)? {
        let place = u32::try_from(varint::take(rest)?).ok()?.checked_add(next)?;
        if place as usize >= batch.n_samples() {
            return None;
        }
        histograms.push((place, codec.take(rest)?));
        next = place + 1;
    }
    let mut list = Vec::new();
    for _ in 0..varint::take(rest)? {
        let (series, set) = exemplars::decode(rest)?;
        list.extend(set.into_list().into_iter().map(|exemplar| (series.clone(), exemplar)));
    }
    batch.set_histograms(histograms);
    batch.set_exemplars(list);
    Some(())
}

fn take_metadata(rest: &mut &[u8], batch: &mut MetricBatch) -> Option<()> {
    for _ in 0..varint::take(rest)? {
        let kind = *KINDS.get(usize::from(take_byte(rest)?))?;
        let mut text = || Some(std::str::from_utf8(take_slice(rest)?).ok()?.to_string());
        let (name, help, unit) = (text()?, text()?, text()?);
        batch.push_metadata(MetricMetadata { name, kind, help, unit });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exemplars::tests::exemplars;
    use super::super::histogram_codec::tests::histograms;
    use super::*;
    use crate::model::{Exemplar, Histogram};

    type Rows = Vec<(u8, Vec<(i64, u64)>)>;

    fn labels(n: u8) -> Labels {
        Labels::from_pairs([("__name__", format!("m{n}")), ("instance", "a".repeat(usize::from(n)))]).unwrap()
    }

    fn batch_of(rows: &Rows) -> MetricBatch {
        let mut batch = MetricBatch::default();
        for (n, samples) in rows {
            let mut writer = batch.start_labels(&labels(*n));
            for &(t, bits) in samples {
                writer.push(t, f64::from_bits(bits));
            }
        }
        batch
    }

    fn content(batch: &MetricBatch) -> Vec<(Vec<u8>, Vec<i64>, Vec<u64>)> {
        let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect();
        batch.iter().map(|(l, t, v)| (l.to_vec(), t.to_vec(), bits(v))).collect()
    }

    fn value_bits() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (-100_000i64..100_000).prop_map(|n| (n as f64).to_bits()),
            Just((-0.0f64).to_bits()),
            Just(crate::read::STALE_NAN_BITS),
            Just((1u64 << 53) as f64).prop_map(f64::to_bits),
        ]
    }

    fn rows() -> impl Strategy<Value = Rows> {
        let time = prop_oneof![any::<i64>(), 0i64..3];
        let samples = proptest::collection::vec((time, value_bits()), 1..4);
        proptest::collection::vec((any::<u8>(), samples), 0..8)
    }

    proptest! {
        #[test]
        fn batches_come_back_bit_for_bit(batches in proptest::collection::vec(rows(), 1..5)) {
            let (mut dict, mut table) = (WalSeriesDict::default(), WalSeriesTable::default());
            let mut back = MetricBatch::default();
            for rows in &batches {
                let mut batch = batch_of(rows);
                batch.push_metadata(MetricMetadata {
                    name: "m".into(), kind: MetricKind::GaugeHistogram, help: "说明".into(), unit: String::new(),
                });
                let mut bytes = Vec::new();
                encode(&batch, &mut dict, &mut bytes);
                decode(&bytes, &mut table, &mut back).unwrap();
                prop_assert_eq!(content(&back), content(&batch));
                prop_assert_eq!(back.metadata(), batch.metadata());
            }
        }

        #[test]
        fn histograms_and_exemplars_come_back_with_their_series(
            series in proptest::collection::vec(
                (any::<u8>(), proptest::collection::vec((0i64..9, proptest::option::of(histograms())), 0..4)), 0..5,
            ),
            list in proptest::collection::vec((any::<u8>(), exemplars()), 0..5),
            cut in any::<u16>(),
        ) {
            let mut batch = MetricBatch::default();
            for (n, samples) in series {
                let mut writer = batch.start_labels(&labels(n));
                for (t_ms, histogram) in samples {
                    match histogram {
                        Some(histogram) => writer.push_histogram(t_ms, histogram).unwrap(),
                        None => writer.push(t_ms, 1.5),
                    }
                }
            }
            list.into_iter().for_each(|(n, exemplar)| batch.push_exemplar(labels(n), exemplar).unwrap());
            let (mut bytes, mut back) = (Vec::new(), MetricBatch::default());
            encode(&batch, &mut WalSeriesDict::default(), &mut bytes);
            decode(&bytes, &mut WalSeriesTable::default(), &mut back).unwrap();
            prop_assert_eq!(content(&back), content(&batch));
            let places = |batch: &MetricBatch| batch.histograms().iter().map(|h| h.0).collect::<Vec<_>>();
            prop_assert_eq!(places(&back), places(&batch));
            let same = |a: &(u32, std::sync::Arc<Histogram>), b: &(u32, std::sync::Arc<Histogram>)| a.1.is_same(&b.1);
            prop_assert!(back.histograms().iter().zip(batch.histograms()).all(|(a, b)| same(a, b)));
            let keys = |batch: &MetricBatch| {
                let key = |(series, e): &(Labels, Exemplar)| (series.clone(), e.t_ms, e.labels.clone(), e.value.to_bits());
                batch.exemplars().iter().map(key).collect::<std::collections::BTreeSet<_>>()
            };
            prop_assert_eq!(keys(&back), keys(&batch));
            let at = usize::from(cut) % bytes.len();
            prop_assert!(decode(&bytes[..at], &mut WalSeriesTable::default(), &mut back).is_err());
            bytes[at] ^= 1 << (cut % 8);
            let _ = decode(&bytes, &mut WalSeriesTable::default(), &mut back);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..60), good in rows(), cut in any::<u16>()) {
            let (mut table, mut batch) = (WalSeriesTable::default(), MetricBatch::default());
            let _ = decode(&bytes, &mut table, &mut batch);
            let mut torn = Vec::new();
            encode(&batch_of(&good), &mut WalSeriesDict::default(), &mut torn);
            let at = usize::from(cut) % torn.len();
            prop_assert!(decode(&torn[..at], &mut table, &mut batch).is_err());
            torn[at] ^= 1 << (cut % 8);
            let _ = decode(&torn, &mut table, &mut batch);
        }
    }

    #[test]
    fn a_lost_record_never_gives_its_series_to_another() {
        let mut dict = WalSeriesDict::default();
        let (mut lost, mut later, mut last) = (Vec::new(), Vec::new(), Vec::new());
        encode(&batch_of(&vec![(1, vec![(5, 0)])]), &mut dict, &mut lost);
        encode(&batch_of(&vec![(2, vec![(5, 0)])]), &mut dict, &mut later);
        encode(&batch_of(&vec![(1, vec![(6, 0)])]), &mut dict, &mut last);
        let (mut table, mut batch) = (WalSeriesTable::default(), MetricBatch::default());
        decode(&later, &mut table, &mut batch).unwrap();
        assert_eq!(content(&batch)[0].0, labels(2).as_bytes());
        assert!(decode(&last, &mut table, &mut batch).is_err());
    }

    #[test]
    fn a_known_series_takes_few_bytes() {
        let mut dict = WalSeriesDict::default();
        let rows: Rows = (0..200).map(|n| (n, vec![(1_795_132_800_000, 42f64.to_bits())])).collect();
        encode(&batch_of(&rows), &mut dict, &mut Vec::new());
        let mut bytes = Vec::new();
        encode(&batch_of(&rows), &mut dict, &mut bytes);
        assert!(bytes.len() <= 200 * 3 + 16, "{} bytes for 200 samples", bytes.len());
    }
}
