//! Native histograms as bytes: in the log, in heads and in segments.
//!
//! | part | bytes |
//! |---|---|
//! | flags | 1: bits 0 and 1 the reset (0 unknown, 1 yes, 2 no, 3 gauge), bit 2 layout as in the histogram before, bit 3 counts are integers, bit 4 counts are differences to the histogram before |
//! | layout | where bit 2 is not set: schema (zigzag), zero threshold (8), spans of the positive and of the negative side (count, then for each: offset (zigzag), length), custom bounds (count, then 8 each) |
//! | sum | a float |
//! | counts | all, zero, positive buckets, negative buckets: LEB128 where bit 3 is set, of the zigzag difference where bit 4 is; else 8 bytes each |
//!
//! Numbers are LEB128; a float is written as the values of the log are. So a series whose buckets stay says them
//! once, and a bucket that nothing fell into takes one byte, of which zstd leaves little.

use std::sync::Arc;

use super::varint;
use crate::model::{Buckets, CounterReset, Histogram, Span};

const LAYOUT: u8 = 4;
const WHOLE: u8 = 8;
const DIFFERENCES: u8 = 16;
const RESETS: [CounterReset; 4] =
    [CounterReset::Unknown, CounterReset::Yes, CounterReset::No, CounterReset::Gauge];

/// Writes or reads histograms that follow each other; begun anew wherever reading may begin.
#[derive(Debug, Default)]
pub(super) struct HistogramCodec {
    before: Option<Arc<Histogram>>,
}

/// Whose sample the histogram before was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The same series': counts have grown from there.
    SameSeries,
    /// Another's, or unknown: only the layout may be the same.
    Other,
}

impl HistogramCodec {
    /// Appends a histogram that [`Histogram::check`] has passed.
    pub(super) fn put(&mut self, histogram: &Arc<Histogram>, whose: Before, out: &mut Vec<u8>) {
        let is_whole = counts(histogram).all(|count| whole(count).is_some());
        let before = self.before.as_deref().filter(|before| has_layout(histogram, before));
        let base = before.filter(|before| {
            is_whole && whose == Before::SameSeries && counts(before).all(|c| whole(c).is_some())
        });
        let reset = RESETS.iter().position(|reset| *reset == histogram.reset).unwrap_or(0);
        let mut flags = reset as u8;
        flags |= u8::from(before.is_some()) * LAYOUT;
        flags |= u8::from(is_whole) * WHOLE;
        flags |= u8::from(base.is_some()) * DIFFERENCES;
        out.push(flags);
        if before.is_none() {
            put_layout(histogram, out);
        }
        varint::put_float(out, histogram.sum);
        match base {
            Some(base) => counts(histogram).zip(counts(base)).for_each(|(now, before)| {
                varint::put(out, varint::zigzag(now as i64 - before as i64));
            }),
            None if is_whole => counts(histogram).for_each(|count| varint::put(out, count as u64)),
            None => counts(histogram).for_each(|count| put_bits(out, count)),
        }
        self.before = Some(Arc::clone(histogram));
    }

    /// Takes a histogram off the front; `None` for bytes that [`put`](Self::put) did not write.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Option<Arc<Histogram>> {
        let flags = varint::take_byte(bytes).filter(|flags| *flags < 32)?;
        let mut histogram = match flags & LAYOUT {
            0 => take_layout(bytes)?,
            _ => layout_of(self.before.as_deref()?),
        };
        histogram.reset = RESETS[usize::from(flags & 3)];
        histogram.sum = varint::take_float(bytes)?;
        let n_of = |buckets: &Buckets| {
            let n = buckets.spans.iter().try_fold(0_usize, |n, span| n.checked_add(span.length as usize));
            // A count takes a byte at least, so a length that lies takes no memory.
            n.filter(|n| *n <= bytes.len())
        };
        let (n_positive, n_negative) = (n_of(&histogram.positive)?, n_of(&histogram.negative)?);
        let base = self.before.as_deref().filter(|_| flags & DIFFERENCES != 0);
        {
            let mut counts = match (flags & (WHOLE | DIFFERENCES), base) {
                (0, _) => Counts::Bits,
                (WHOLE, _) => Counts::Whole,
                (_, Some(base)) if flags & LAYOUT != 0 && flags & WHOLE != 0 => {
                    Counts::Differences(counts(base))
                }
                _ => return None,
            };
            histogram.count = counts.take(bytes)?;
            histogram.zero_count = counts.take(bytes)?;
            histogram.positive.counts = counts.take_all(bytes, n_positive)?;
            histogram.negative.counts = counts.take_all(bytes, n_negative)?;
        }
        histogram.check_layout().ok()?;
        let histogram = Arc::new(histogram);
        self.before = Some(Arc::clone(&histogram));
        Some(histogram)
    }
}

/// How counts are written.
enum Counts<I> {
    Bits,
    Whole,
    Differences(I),
}

impl<I: Iterator<Item = f64>> Counts<I> {
    fn take(&mut self, bytes: &mut &[u8]) -> Option<f64> {
        match self {
            Self::Bits => varint::take_bits(bytes),
            Self::Whole => exact(varint::take(bytes)?),
            Self::Differences(before) => {
                let before = whole(before.next()?)?;
                exact(before.checked_add_signed(varint::unzigzag(varint::take(bytes)?))?)
            }
        }
    }

    fn take_all(&mut self, bytes: &mut &[u8], n: usize) -> Option<Vec<f64>> {
        let mut all = Vec::with_capacity(n);
        for _ in 0..n {
            all.push(self.take(bytes)?);
        }
        Some(all)
    }
}

fn counts(histogram: &Histogram) -> impl Iterator<Item = f64> + '_ {
    let (positive, negative) = (&histogram.positive.counts, &histogram.negative.counts);
    [histogram.count, histogram.zero_count].into_iter().chain(positive.iter().chain(negative).copied())
}

const EXACT: u64 = 1 << 53;

// The integer that a count is, where an integer gives back its bits.
fn whole(count: f64) -> Option<u64> {
    let n = count as u64;
    (n < EXACT && (n as f64).to_bits() == count.to_bits()).then_some(n)
}

fn exact(n: u64) -> Option<f64> {
    (n < EXACT).then_some(n as f64)
}

fn has_layout(a: &Histogram, b: &Histogram) -> bool {
    let same =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive.spans == b.positive.spans
        && a.negative.spans == b.negative.spans
        && same(&a.custom_bounds, &b.custom_bounds)
}

fn layout_of(before: &Histogram) -> Histogram {
    let spans = |buckets: &Buckets| Buckets { spans: buckets.spans.clone(), counts: Vec::new() };
    Histogram {
        schema: before.schema,
        zero_threshold: before.zero_threshold,
        positive: spans(&before.positive),
        negative: spans(&before.negative),
        custom_bounds: before.custom_bounds.clone(),
        ..Histogram::default()
    }
}

fn put_bits(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn put_layout(histogram: &Histogram, out: &mut Vec<u8>) {
    varint::put(out, varint::zigzag(i64::from(histogram.schema)));
    put_bits(out, histogram.zero_threshold);
    for buckets in [&histogram.positive, &histogram.negative] {
        varint::put(out, buckets.spans.len() as u64);
        for span in &buckets.spans {
            varint::put(out, varint::zigzag(i64::from(span.offset)));
            varint::put(out, u64::from(span.length));
        }
    }
    varint::put(out, histogram.custom_bounds.len() as u64);
    histogram.custom_bounds.iter().for_each(|bound| put_bits(out, *bound));
}

fn take_layout(bytes: &mut &[u8]) -> Option<Histogram> {
    let mut histogram = Histogram { schema: take_i32(bytes)?, ..Histogram::default() };
    histogram.zero_threshold = varint::take_bits(bytes)?;
    for buckets in [&mut histogram.positive, &mut histogram.negative] {
        for _ in 0..varint::take(bytes)? {
            let offset = take_i32(bytes)?;
            buckets.spans.push(Span { offset, length: u32::try_from(varint::take(bytes)?).ok()? });
        }
    }
    for _ in 0..varint::take(bytes)? {
        histogram.custom_bounds.push(varint::take_bits(bytes)?);
    }
    Some(histogram)
}

fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    i32::try_from(varint::unzigzag(varint::take(bytes)?)).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::CUSTOM_BOUNDS;

    fn buckets(max: usize) -> impl Strategy<Value = Vec<(u8, Vec<u64>)>> {
        let count = prop_oneof![6 => 0u64..50, 1 => any::<u64>()];
        proptest::collection::vec((any::<u8>(), proptest::collection::vec(count, 0..5)), 0..max)
    }

    fn of(spans: &[(u8, Vec<u64>)], first: i32, is_float: bool) -> Buckets {
        let mut buckets = Buckets::default();
        for (i, (offset, counts)) in spans.iter().enumerate() {
            let offset = i32::from(*offset) + if i == 0 { first } else { 0 };
            buckets.spans.push(Span { offset, length: counts.len() as u32 });
            buckets.counts.extend(counts.iter().map(|n| if is_float { *n as f64 / 3.0 } else { *n as f64 }));
        }
        buckets
    }

    /// Any histogram that is taken, odd floats and wide numbers among them.
    pub(in crate::metrics) fn histograms() -> impl Strategy<Value = Histogram> {
        let odd = prop_oneof![
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(-0.0),
            Just(f64::from_bits(0x7ff8_dead_beef_0001)),
        ];
        let sum = prop_oneof![3 => -1e3..1e6f64, 2 => (-99i64..9999).prop_map(|n| n as f64), 1 => odd];
        let shape = (0usize..4, -4i32..=8, any::<bool>(), any::<bool>());
        let parts = (buckets(4), buckets(3), 0u64..9, sum, prop_oneof![Just(1e-128), Just(0.0), Just(0.5)]);
        (shape, parts).prop_map(
            |((reset, schema, is_float, is_custom), (positive, negative, zero, sum, threshold))| {
                let mut h = Histogram { reset: RESETS[reset], schema, sum, ..Histogram::default() };
                if is_custom {
                    h.schema = CUSTOM_BOUNDS;
                    h.positive = of(&positive, 0, is_float);
                    let n = h.positive.iter().last().map_or(0, |(index, _)| index);
                    h.custom_bounds = (0..n).map(|i| f64::from(i) / 3.0).collect();
                } else {
                    h.positive = of(&positive, -40, is_float);
                    h.negative = of(&negative, -3, is_float);
                    (h.zero_count, h.zero_threshold) = (zero as f64, threshold);
                }
                h.count = h.positive.counts.iter().chain(&h.negative.counts).sum::<f64>() + h.zero_count;
                h.check().expect("made to be good");
                h
            },
        )
    }

    proptest! {
        #[test]
        fn histograms_come_back_bit_for_bit(
            runs in proptest::collection::vec((histograms(), any::<bool>(), 0usize..3), 0..8),
        ) {
            let (mut writer, mut bytes, mut put) = (HistogramCodec::default(), Vec::new(), Vec::new());
            for (mut histogram, same_series, n_again) in runs {
                let whose = if same_series { Before::SameSeries } else { Before::Other };
                for _ in 0..=n_again {
                    let one = Arc::new(histogram.clone());
                    writer.put(&one, whose, &mut bytes);
                    put.push(one);
                    // The next one of the series: the same buckets, more in them.
                    histogram.positive.counts.iter_mut().step_by(2).for_each(|count| *count += 1.0);
                    histogram.count += histogram.positive.counts.len().div_ceil(2) as f64;
                    histogram.sum += 0.25;
                }
            }
            let (mut reader, mut rest) = (HistogramCodec::default(), &bytes[..]);
            for want in &put {
                let got = reader.take(&mut rest).expect("just written");
                prop_assert!(got.is_same(want), "{got:?} {want:?}");
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_refused_or_read(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), good in histograms(), at in any::<u16>(), bit in 0..8,
        ) {
            let (mut reader, mut rest) = (HistogramCodec::default(), &bytes[..]);
            while reader.take(&mut rest).is_some() {}
            let mut torn = Vec::new();
            HistogramCodec::default().put(&Arc::new(good), Before::Other, &mut torn);
            let at = usize::from(at) % torn.len();
            prop_assert!(HistogramCodec::default().take(&mut &torn[..at]).is_none());
            torn[at] ^= 1u8 << bit;
            if let Some(read) = HistogramCodec::default().take(&mut &torn[..]) {
                prop_assert_eq!(read.check_layout(), Ok(()));
            }
        }
    }

    #[test]
    fn buckets_that_stay_are_said_once() {
        let spans = vec![Span { offset: -10, length: 80 }];
        let counts = (0..80).map(f64::from).collect::<Vec<_>>();
        let count = counts.iter().sum();
        let positive = Buckets { spans, counts };
        let one = Arc::new(Histogram { schema: 3, count, sum: 12.5, positive, ..Histogram::default() });
        let (mut codec, mut bytes) = (HistogramCodec::default(), Vec::new());
        codec.put(&one, Before::SameSeries, &mut bytes);
        let first = bytes.len();
        codec.put(&one, Before::SameSeries, &mut bytes);
        assert_eq!(bytes.len() - first, 1 + 9 + 82);
        assert!(bytes[first + 10..].iter().all(|b| *b == 0));
    }
}
