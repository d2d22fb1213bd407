//! The newest samples of one series, and the columns that samples are read into.

use std::sync::Arc;

use super::chunk::{Chunks, Packer, Unpacker};
use crate::model::Histogram;
use crate::read::{Samples, SpanMs};

/// Samples that wait, unpacked, until they make a chunk. More would pack a little better and cost
/// memory in every series; fewer would leave the chunk's header the larger part.
pub(super) const TAIL_MAX: usize = 128;

/// The samples of one series in a head: packed chunks and an unpacked tail.
///
/// The tail is sorted. A sample older than the chunks goes into the tail like any other; the chunk
/// that comes of it then overlaps those before it, which readers sort out: the later chunk answers.
///
/// Half a cache line: taking a sample touches this and the tail's end, nothing else.
#[derive(Debug, Default)]
pub(super) struct SeriesSamples {
    tail: Vec<(i64, f64)>,
    packed: Option<Box<Packed>>,
}

/// All but the newest samples of a series.
#[derive(Debug)]
struct Packed {
    chunks: Vec<u8>,
    span: SpanMs,
    overlaps: bool,
}

/// Arrays for reading, kept from one series to the next.
#[derive(Debug, Default)]
pub(super) struct ReadScratch {
    unpacker: Unpacker,
    sorted: Vec<(i64, f64)>,
}

/// Samples of one series being gathered; see [`Samples`].
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) t_ms: Vec<i64>,
    pub(super) values: Vec<f64>,
    pub(super) histograms: Vec<(usize, Arc<Histogram>)>,
    /// Empty, or as long as the others; see [`Samples::counts`].
    pub(super) counts: Vec<u32>,
}

impl Columns {
    /// Forgets all samples and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.t_ms.clear();
        self.values.clear();
        self.histograms.clear();
        self.counts.clear();
    }

    /// Lends the samples, which are sorted by now.
    pub(super) fn samples(&self) -> Samples<'_> {
        Samples { t_ms: &self.t_ms, values: &self.values, histograms: &self.histograms, counts: &self.counts }
    }

    /// Sorts the samples by time; of several at one time the last one stays.
    pub(super) fn last_write_wins(&mut self, scratch: &mut Vec<(i64, f64)>) {
        if self.histograms.is_empty() && self.counts.is_empty() {
            return last_write_wins(0, &mut self.t_ms, &mut self.values, scratch);
        }
        if self.t_ms.is_sorted_by(|a, b| a < b) {
            return;
        }
        let mut histograms = self.histograms.drain(..).peekable();
        let floats = self.t_ms.drain(..).zip(self.values.drain(..)).enumerate();
        let counts = std::mem::take(&mut self.counts);
        let mut all: Vec<_> = floats
            .map(|(i, (t_ms, value))| {
                let histogram = histograms.next_if(|h| h.0 == i).map(|h| h.1);
                (t_ms, value, histogram, counts.get(i).copied())
            })
            .collect();
        drop(histograms);
        // Stable, so that those of one time stay in the order in which they were written.
        all.sort_by_key(|sample| sample.0);
        let mut all = all.into_iter().peekable();
        while let Some((t_ms, value, histogram, count)) = all.next() {
            if all.peek().is_some_and(|next| next.0 == t_ms) {
                continue;
            }
            self.histograms.extend(histogram.map(|histogram| (self.t_ms.len(), histogram)));
            self.counts.extend(count);
            self.t_ms.push(t_ms);
            self.values.push(value);
        }
    }

    /// Takes out the samples in a span, of those that are sorted; returns how many.
    pub(super) fn remove(&mut self, span: SpanMs) -> usize {
        let from = self.t_ms.partition_point(|t| *t < span.start);
        let to = self.t_ms.partition_point(|t| *t <= span.end).max(from);
        self.t_ms.drain(from..to);
        self.values.drain(from..to);
        self.histograms.retain_mut(|(at, _)| {
            let stays = !(from..to).contains(at);
            if *at >= to {
                *at -= to - from;
            }
            stays
        });
        to - from
    }
}

impl SeriesSamples {
    /// Takes a sample; one at the same time is replaced. Returns by how much its memory grew.
    #[inline]
    pub(super) fn push(&mut self, t_ms: i64, value: f64, packer: &mut Packer) -> usize {
        let mut grown = 0;
        if self.tail.len() == self.tail.capacity() || self.tail.len() == TAIL_MAX {
            grown = self.make_room(packer);
        }
        match self.tail.last() {
            Some(last) if last.0 >= t_ms => self.insert(t_ms, value),
            _ => self.tail.push((t_ms, value)),
        }
        grown
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, packer: &mut Packer) -> usize {
        let before = self.heap_bytes();
        if self.tail.len() == TAIL_MAX {
            self.pack_tail(packer);
        } else {
            self.tail.reserve_exact(self.tail.len().max(4));
        }
        self.heap_bytes() - before
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, t_ms: i64, value: f64) {
        match self.tail.binary_search_by_key(&t_ms, |s| s.0) {
            Ok(at) => self.tail[at].1 = value,
            Err(at) => self.tail.insert(at, (t_ms, value)),
        }
    }

    fn pack_tail(&mut self, packer: &mut Packer) {
        let Some(tail) = self.tail_span() else { return };
        let packed = self.packed.get_or_insert_with(|| {
            let nothing = SpanMs { start: i64::MAX, end: i64::MIN };
            Box::new(Packed { chunks: Vec::new(), span: nothing, overlaps: false })
        });
        packed.overlaps |= tail.start <= packed.span.end && !packed.chunks.is_empty();
        packed.span.start = packed.span.start.min(tail.start);
        packed.span.end = packed.span.end.max(tail.end);
        if packed.chunks.capacity() - packed.chunks.len() < 2 * TAIL_MAX {
            // A quarter more, not double: most of a head's memory is here.
            packed.chunks.reserve_exact(packed.chunks.len() / 4 + 2 * TAIL_MAX);
        }
        packer.pack(&self.tail, &mut packed.chunks);
        self.tail.clear();
    }

    fn tail_span(&self) -> Option<SpanMs> {
        Some(SpanMs { start: self.tail.first()?.0, end: self.tail.last()?.0 })
    }

    fn chunks(&self) -> Chunks<'_> {
        Chunks(self.packed.as_ref().map_or(&[], |p| &p.chunks))
    }

    /// Tells whether there is no sample.
    pub(super) fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.packed.is_none()
    }

    /// Returns the memory it holds beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        let packed = self.packed.as_ref().map_or(0, |p| p.chunks.capacity() + size_of::<Packed>());
        packed + self.tail.capacity() * size_of::<(i64, f64)>()
    }

    /// Returns the times of the first and the last sample.
    pub(super) fn span(&self) -> Option<SpanMs> {
        let spans = [self.tail_span(), self.packed.as_ref().map(|p| p.span)];
        spans
            .into_iter()
            .flatten()
            .reduce(|a, b| SpanMs { start: a.start.min(b.start), end: a.end.max(b.end) })
    }

    /// Calls `f` with the times of samples, but for those that lie between two of them for which
    /// `same` says that this makes no difference.
    pub(super) fn for_each_time(&self, same: impl Fn(i64, i64) -> bool, mut f: impl FnMut(i64)) {
        let (mut unpacker, mut t_ms, mut values) = (Unpacker::default(), Vec::new(), Vec::new());
        for chunk in self.chunks() {
            f(chunk.span.start);
            if !same(chunk.span.start, chunk.span.end) {
                t_ms.clear();
                values.clear();
                unpacker.unpack(&chunk, &mut t_ms, &mut values);
                t_ms.iter().for_each(|&t| f(t));
            }
        }
        self.tail.iter().for_each(|s| f(s.0));
    }

    /// Appends the samples in a span, sorted by time and distinct in it.
    pub(super) fn read(
        &self,
        span: SpanMs,
        scratch: &mut ReadScratch,
        t_ms: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) {
        let start = t_ms.len();
        for chunk in self.chunks() {
            if chunk.span.end < span.start || span.end < chunk.span.start {
                continue;
            }
            let from = t_ms.len();
            scratch.unpacker.unpack(&chunk, t_ms, values);
            cut(span, from, t_ms, values);
        }
        let from = self.tail.partition_point(|s| s.0 < span.start);
        let to = self.tail.partition_point(|s| s.0 <= span.end);
        let tail = &self.tail[from.min(to)..to];
        t_ms.extend(tail.iter().map(|s| s.0));
        values.extend(tail.iter().map(|s| s.1));
        let overlaps = |p: &Packed| p.overlaps || self.tail.first().is_some_and(|s| s.0 <= p.span.end);
        if self.packed.as_deref().is_some_and(overlaps) {
            last_write_wins(start, t_ms, values, &mut scratch.sorted);
        }
    }
}

/// Drops what lies outside a span from the sorted samples that begin at `from`.
pub(super) fn cut(span: SpanMs, from: usize, t_ms: &mut Vec<i64>, values: &mut Vec<f64>) {
    let end = from + t_ms[from..].partition_point(|&t| t <= span.end);
    t_ms.truncate(end);
    values.truncate(end);
    let start = from + t_ms[from..].partition_point(|&t| t < span.start);
    t_ms.drain(from..start);
    values.drain(from..start);
}

/// Sorts the samples that begin at `from` by time; of several at one time the last one stays.
pub(super) fn last_write_wins(
    from: usize,
    t_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
    scratch: &mut Vec<(i64, f64)>,
) {
    if t_ms[from..].is_sorted_by(|a, b| a < b) {
        return;
    }
    scratch.clear();
    scratch.extend(t_ms[from..].iter().copied().zip(values[from..].iter().copied()));
    // Stable, so that those of one time stay in the order in which they were written.
    scratch.sort_by_key(|s| s.0);
    t_ms.truncate(from);
    values.truncate(from);
    for (i, sample) in scratch.iter().enumerate() {
        if scratch.get(i + 1).is_none_or(|next| next.0 != sample.0) {
            t_ms.push(sample.0);
            values.push(sample.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::histogram_codec::tests::histograms;
    use super::*;

    proptest! {
        #[test]
        fn columns_sort_and_cut_as_a_map_would(
            samples in proptest::collection::vec((0i64..30, any::<f64>(), proptest::option::of(histograms())), 0..40),
            span in (0i64..35, 0i64..35),
        ) {
            let (mut columns, mut map) = (Columns::default(), BTreeMap::new());
            for (i, (t_ms, value, histogram)) in samples.into_iter().enumerate() {
                let histogram = histogram.map(Arc::new);
                columns.t_ms.push(t_ms);
                columns.values.push(value);
                columns.histograms.extend(histogram.clone().map(|h| (i, h)));
                map.insert(t_ms, (value.to_bits(), histogram));
            }
            let check = |columns: &Columns, map: &BTreeMap<i64, (u64, Option<Arc<Histogram>>)>| {
                let mut histograms = columns.histograms.iter().peekable();
                let floats = columns.t_ms.iter().zip(&columns.values).enumerate();
                let got: Vec<_> = floats
                    .map(|(i, (t, v))| (*t, v.to_bits(), histograms.next_if(|h| h.0 == i).map(|h| Arc::as_ptr(&h.1))))
                    .collect();
                let want: Vec<_> =
                    map.iter().map(|(t, (v, h))| (*t, *v, h.as_ref().map(Arc::as_ptr))).collect();
                assert_eq!(got, want);
                assert!(histograms.next().is_none());
            };
            columns.last_write_wins(&mut Vec::new());
            check(&columns, &map);
            let n = map.len();
            map.retain(|t, _| !(span.0 <= *t && *t <= span.1));
            prop_assert_eq!(columns.remove(SpanMs { start: span.0, end: span.1 }), n - map.len());
            check(&columns, &map);
        }

        #[test]
        fn samples_in_any_order_read_as_a_map_would(
            runs in proptest::collection::vec((0i64..2_000, 1usize..300), 1..8),
            span in (0i64..2_500, 0i64..2_500),
        ) {
            let (mut samples, mut packer) = (SeriesSamples::default(), Packer::default());
            let mut map = BTreeMap::new();
            let mut n = 0.0;
            for (start, len) in runs {
                for t in start..start + len as i64 {
                    n += 1.0;
                    samples.push(t, n, &mut packer);
                    map.insert(t, n);
                }
            }
            let (mut t, mut v) = (vec![7], vec![7.0]);
            samples.read(SpanMs { start: span.0, end: span.1 }, &mut ReadScratch::default(), &mut t, &mut v);
            let got: Vec<_> = t.into_iter().zip(v).skip(1).collect();
            let want: Vec<_> = map.iter().filter(|s| span.0 <= *s.0 && *s.0 <= span.1).map(|(t, v)| (*t, *v)).collect();
            prop_assert_eq!(got, want);
            let whole = SpanMs { start: *map.keys().next().unwrap(), end: *map.keys().last().unwrap() };
            prop_assert_eq!(samples.span(), Some(whole));
        }
    }
}
