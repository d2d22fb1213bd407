//! The native histograms of one series in a head.
//!
//! The head's columns of times and floats have a NaN in the place of each; what it is lies here, by time. So
//! series of floats alone, nearly all, carry nothing for this.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::histogram_codec::{Before, HistogramCodec};
use super::samples::Columns;
use super::varint;
use crate::model::Histogram;
use crate::read::SpanMs;

/// Histograms that wait, unpacked, until they are packed: a tenth of the memory is left of them then.
const RECENT_MAX: usize = 32;

/// Native histograms of one series, by time.
#[derive(Debug, Default)]
pub(super) struct SeriesHistograms {
    // `None` where a float has taken the place of a histogram that is packed.
    recent: BTreeMap<i64, Option<Arc<Histogram>>>,
    // In order of packing: of two at one time the later answers.
    packed: Vec<Packed>,
    bytes: usize,
}

/// Packed histograms; they never leave memory.
#[derive(Debug)]
struct Packed {
    span: SpanMs,
    bytes: Box<[u8]>,
}

const PACKED: &str = "what was packed is what is here";

impl SeriesHistograms {
    /// Takes a histogram; whatever was at its time is replaced.
    pub(super) fn put(&mut self, t_ms: i64, histogram: Arc<Histogram>) {
        self.bytes += memory_bytes(&histogram);
        if let Some(Some(old)) = self.recent.insert(t_ms, Some(histogram)) {
            self.bytes -= memory_bytes(&old);
        }
        if self.recent.len() >= RECENT_MAX {
            self.pack();
        }
    }

    /// Takes note that the sample at a time is a float.
    pub(super) fn remove(&mut self, t_ms: i64) {
        let is_packed = self.packed.iter().any(|p| p.span.start <= t_ms && t_ms <= p.span.end);
        let old = if is_packed { self.recent.insert(t_ms, None) } else { self.recent.remove(&t_ms) };
        if let Some(Some(old)) = old {
            self.bytes -= memory_bytes(&old);
        }
        if self.recent.len() >= RECENT_MAX {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let recent = std::mem::take(&mut self.recent);
        let (Some((&start, _)), Some((&end, _))) = (recent.first_key_value(), recent.last_key_value()) else {
            return;
        };
        let (mut bytes, mut codec, mut last) = (Vec::new(), HistogramCodec::default(), 0_i64);
        for (t_ms, histogram) in recent {
            varint::put(&mut bytes, varint::zigzag(t_ms.wrapping_sub(last)));
            last = t_ms;
            bytes.push(u8::from(histogram.is_some()));
            if let Some(histogram) = histogram {
                self.bytes -= memory_bytes(&histogram);
                codec.put(&histogram, Before::SameSeries, &mut bytes);
            }
        }
        self.bytes += bytes.len() + size_of::<Packed>();
        self.packed.push(Packed { span: SpanMs { start, end }, bytes: bytes.into() });
    }

    /// Returns about how much memory it holds beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Finds the histograms among the samples that begin at `from`, which are all of the series' in a span.
    pub(super) fn read(&self, span: SpanMs, from: usize, columns: &mut Columns) {
        let mut found: BTreeMap<i64, Option<Arc<Histogram>>> = BTreeMap::new();
        for packed in &self.packed {
            if span.start <= packed.span.end && packed.span.start <= span.end {
                packed.unpack(|t_ms, histogram| {
                    if span.start <= t_ms && t_ms <= span.end {
                        found.insert(t_ms, histogram);
                    }
                });
            }
        }
        if span.start <= span.end {
            found.extend(self.recent.range(span.start..=span.end).map(|(t_ms, h)| (*t_ms, h.clone())));
        }
        let mut at = from;
        for (t_ms, histogram) in found {
            let Some(histogram) = histogram else { continue };
            at += columns.t_ms[at..].partition_point(|t| *t < t_ms);
            debug_assert_eq!(
                columns.t_ms.get(at),
                Some(&t_ms),
                "a histogram has its place among the samples"
            );
            columns.histograms.push((at, histogram));
        }
    }
}

impl Packed {
    fn unpack(&self, mut f: impl FnMut(i64, Option<Arc<Histogram>>)) {
        let (mut rest, mut codec, mut t_ms) = (&self.bytes[..], HistogramCodec::default(), 0_i64);
        while !rest.is_empty() {
            t_ms = t_ms.wrapping_add(varint::unzigzag(varint::take(&mut rest).expect(PACKED)));
            let is_there = varint::take_byte(&mut rest).expect(PACKED) == 1;
            f(t_ms, is_there.then(|| codec.take(&mut rest).expect(PACKED)));
        }
    }
}

/// Returns about how much memory a histogram takes, with what keeps it.
pub(crate) fn memory_bytes(histogram: &Histogram) -> usize {
    let sides = [&histogram.positive, &histogram.negative];
    let buckets: usize = sides.map(|b| b.spans.len() + b.counts.len()).into_iter().sum();
    size_of::<Histogram>() + 32 + 8 * (buckets + histogram.custom_bounds.len())
}

/// Says for how many samples a histogram counts where samples are counted to bound memory.
pub(super) fn weight(histogram: &Histogram) -> usize {
    memory_bytes(histogram) / size_of::<(i64, f64)>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::histogram_codec::tests::histograms;
    use super::*;

    proptest! {
        #[test]
        fn histograms_in_any_order_read_as_a_map_would(
            writes in proptest::collection::vec((0i64..90, proptest::option::weighted(0.8, histograms())), 0..150),
            span in (0i64..90, 0i64..90),
        ) {
            let (mut series, mut map) = (SeriesHistograms::default(), BTreeMap::new());
            for (t_ms, histogram) in writes {
                let histogram = histogram.map(Arc::new);
                map.insert(t_ms, histogram.clone());
                match histogram {
                    Some(histogram) => series.put(t_ms, histogram),
                    None => series.remove(t_ms),
                }
            }
            let inside = |t: i64| span.0 <= t && t <= span.1;
            let mut columns = Columns::default();
            columns.t_ms.push(-1);
            columns.t_ms.extend(map.keys().copied().filter(|t| inside(*t)));
            series.read(SpanMs { start: span.0, end: span.1 }, 1, &mut columns);
            let want: Vec<_> = map.into_iter().filter(|(t, h)| inside(*t) && h.is_some()).collect();
            prop_assert_eq!(columns.histograms.len(), want.len());
            for ((at, got), (t_ms, want)) in columns.histograms.iter().zip(&want) {
                prop_assert_eq!(columns.t_ms[*at], *t_ms);
                prop_assert!(want.as_ref().is_some_and(|want| want.is_same(got)));
            }
        }
    }
}
