//! The newest samples of a tenant, in memory.
//!
//! A head takes batches until it is frozen; its successor shares the registry of series, so that
//! a series that goes on is not registered again. Series are spread over shards by their key; a
//! batch is grouped by shard first and locks each once. Native histograms lie beside the samples, and
//! exemplars beside the series, so that series of floats alone know nothing of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::chunk::Packer;
use super::exemplars::{self, ExemplarMap};
use super::hashing::IdentityState;
use super::histograms::SeriesHistograms;
use super::registry::{N_SHARDS, Registry, RegistryShard, Slot};
use super::samples::{Columns, ReadScratch, SeriesSamples};
use super::segment::window_of;
use crate::append::{BatchSeries, MetricBatch, SeriesKey};
use crate::read::SpanMs;

/// Newest samples of one tenant, in memory; covered by the write-ahead log.
#[derive(Debug)]
pub struct Head {
    registry: Arc<Registry>,
    shards: [Mutex<Shard>; N_SHARDS],
    exemplars: Mutex<ExemplarMap>,
    n_series: AtomicUsize,
    n_samples: AtomicU64,
    n_exemplars: AtomicUsize,
    bytes: AtomicUsize,
    start: AtomicI64,
    end: AtomicI64,
}

/// What a batch changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Series that the index had not held before.
    pub n_new_series: usize,
}

/// A head that takes no more samples; as readable as before.
#[derive(Clone, Debug)]
pub struct FrozenHead(Arc<Head>);

#[derive(Debug, Default)]
struct Shard {
    // By position in the registry's shard.
    series: Vec<SeriesSamples>,
    // Of the series that have some, by the same position.
    histograms: HashMap<u32, SeriesHistograms, IdentityState>,
    packer: Packer,
}

#[derive(Default)]
struct Growth {
    n_new_series: usize,
    n_begun: usize,
    bytes: usize,
    // Packed, histograms take less than before.
    freed: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

impl Head {
    /// Makes an empty head.
    pub fn new() -> Self {
        Self::over(Arc::default())
    }

    fn over(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            shards: Default::default(),
            exemplars: Mutex::default(),
            n_series: AtomicUsize::new(0),
            n_samples: AtomicU64::new(0),
            n_exemplars: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            start: AtomicI64::new(i64::MAX),
            end: AtomicI64::new(i64::MIN),
        }
    }

    /// Makes the empty head that follows this one; it shares the index of series, so that series
    /// that go on cost nothing again. When most of the index has had no sample here, the successor
    /// begins an index of its own: this is how series that ended leave memory.
    pub fn successor(&self) -> Self {
        let n_known = self.registry.n_series();
        // Twice, so that the work of beginning anew is paid by as many series that ended.
        let mostly_ended = n_known > 2 * self.n_series() + 1024;
        Self::over(if mostly_ended { Arc::default() } else { self.registry.clone() })
    }

    /// Takes a batch. Any order and any age of samples; of two at one time the later call answers.
    /// The call never waits for a disk. Several threads may append at once.
    pub fn append_batch(&self, batch: &MetricBatch) -> Applied {
        if !batch.exemplars().is_empty() {
            self.append_exemplars(batch);
        }
        let Some(&first) = batch.times().first() else { return Applied::default() };
        let (start, end) = batch.times().iter().fold((first, first), |(a, b), &t| (a.min(t), b.max(t)));
        // Before the samples: a reader may take the span for too wide, never for too narrow.
        self.start.fetch_min(start, Ordering::AcqRel);
        self.end.fetch_max(end, Ordering::AcqRel);
        let (order, ends) = by_shard(batch.keys());
        let mut growth = Growth::default();
        let mut from = 0;
        for (shard, &to) in ends.iter().enumerate() {
            if from < to {
                self.append_shard(shard, batch, &order[from..to], &mut growth);
            }
            from = to;
        }
        self.n_series.fetch_add(growth.n_begun, Ordering::Relaxed);
        self.n_samples.fetch_add(batch.n_samples() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(growth.bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(growth.freed, Ordering::Relaxed);
        Applied { n_new_series: growth.n_new_series }
    }

    fn append_shard(&self, shard: usize, batch: &MetricBatch, order: &[u32], growth: &mut Growth) {
        let mut names = self.registry.shard(shard).lock();
        let mut samples = self.shards[shard].lock();
        let n_new = growth.n_new_series;
        for &i in order {
            samples.append(&batch.series(i as usize), &mut names, growth);
        }
        self.registry.added(growth.n_new_series - n_new);
    }

    #[cold]
    fn append_exemplars(&self, batch: &MetricBatch) {
        let mut map = self.exemplars.lock();
        let (mut n_new, mut bytes) = (0, 0);
        for (series, exemplar) in batch.exemplars() {
            let is_new_series = !map.contains_key(series);
            if is_new_series {
                bytes += 64 + series.as_bytes().len();
            }
            if map.entry(series.clone()).or_default().insert(exemplar) {
                (n_new, bytes) = (n_new + 1, bytes + exemplars::memory_bytes(exemplar));
            }
        }
        self.n_exemplars.fetch_add(n_new, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Turns this head into one that takes no more.
    ///
    /// Callers see to it that no `append_batch` runs or begins afterwards: the store puts the
    /// successor into the snapshot while it keeps appenders out.
    pub fn freeze(self: &Arc<Self>) -> FrozenHead {
        FrozenHead(self.clone())
    }

    /// Makes the table of its series now, which the first question would make otherwise.
    pub(crate) fn tabulate(&self) {
        self.registry().view();
    }

    /// Returns about how much memory its samples hold; the index of series is not counted.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns times between which all samples lie.
    pub fn span(&self) -> Option<SpanMs> {
        let span =
            SpanMs { start: self.start.load(Ordering::Acquire), end: self.end.load(Ordering::Acquire) };
        (span.start <= span.end).then_some(span)
    }

    /// Returns how many series have samples here.
    pub fn n_series(&self) -> usize {
        self.n_series.load(Ordering::Relaxed)
    }

    /// Returns how many samples were taken, repeated ones included.
    pub fn n_samples(&self) -> u64 {
        self.n_samples.load(Ordering::Relaxed)
    }

    /// Tells whether there is nothing to seal.
    pub fn is_empty(&self) -> bool {
        self.n_samples() == 0 && self.n_exemplars.load(Ordering::Relaxed) == 0
    }

    /// Locks the exemplars.
    pub(super) fn exemplars(&self) -> MutexGuard<'_, ExemplarMap> {
        self.exemplars.lock()
    }

    /// Returns the series that this head and those it shares them with have seen.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Locks all samples, for a look at many series.
    pub(super) fn lock(&self) -> LockedHead<'_> {
        LockedHead { shards: self.shards.each_ref().map(|shard| shard.lock()) }
    }

    /// Appends the samples of one series in a span, sorted by time and distinct in it.
    pub(super) fn read(&self, slot: Slot, span: SpanMs, scratch: &mut ReadScratch, columns: &mut Columns) {
        let shard = self.shards[usize::from(slot.shard)].lock();
        let Some(series) = shard.series.get(slot.at as usize) else { return };
        let from = columns.t_ms.len();
        series.read(span, scratch, &mut columns.t_ms, &mut columns.values);
        if let Some(histograms) = shard.histograms.get(&slot.at) {
            histograms.read(span, from, columns);
        }
    }
}

/// All samples of a head, locked. Appends wait meanwhile.
pub(super) struct LockedHead<'a> {
    shards: [MutexGuard<'a, Shard>; N_SHARDS],
}

impl LockedHead<'_> {
    /// Tells whether a series may have a sample in a span.
    pub(super) fn may_have(&self, slot: Slot, span: SpanMs) -> bool {
        let series = self.shards[usize::from(slot.shard)].series.get(slot.at as usize);
        series.and_then(SeriesSamples::span).is_some_and(|s| s.start <= span.end && span.start <= s.end)
    }
}

// Returns the positions of a batch's series grouped by shard, and where each group ends.
fn by_shard(keys: &[SeriesKey]) -> (Vec<u32>, [usize; N_SHARDS]) {
    let mut ends = [0; N_SHARDS];
    keys.iter().for_each(|key| ends[key.shard(N_SHARDS)] += 1);
    let mut sum = 0;
    for end in &mut ends {
        // Starts for now; each becomes its end as its group fills, in the order of the batch.
        (sum, *end) = (sum + *end, sum);
    }
    let mut order = vec![0; keys.len()];
    for (i, key) in keys.iter().enumerate() {
        let at = &mut ends[key.shard(N_SHARDS)];
        order[*at] = i as u32;
        *at += 1;
    }
    (order, ends)
}

impl Shard {
    #[inline]
    fn append(&mut self, batch: &BatchSeries<'_>, names: &mut RegistryShard, growth: &mut Growth) {
        let (at, new) = names.find_or_add(batch);
        growth.n_new_series += usize::from(new);
        let at = at as usize;
        if self.series.len() <= at {
            growth.bytes += (at + 1 - self.series.len()) * size_of::<SeriesSamples>();
            self.series.resize_with(at + 1, SeriesSamples::default);
        }
        let series = &mut self.series[at];
        growth.n_begun += usize::from(series.is_empty());
        for (&t, &value) in batch.t_ms.iter().zip(batch.values) {
            growth.bytes += series.push(t, value, &mut self.packer);
        }
        if batch.has_histograms() || !self.histograms.is_empty() {
            self.append_histograms(at as u32, batch, growth);
        }
    }

    // Puts the histograms beside the samples, and forgets those whose place a float has taken.
    #[cold]
    fn append_histograms(&mut self, at: u32, batch: &BatchSeries<'_>, growth: &mut Growth) {
        if !batch.has_histograms() && !self.histograms.contains_key(&at) {
            return;
        }
        let beside = self.histograms.entry(at).or_default();
        let before = beside.heap_bytes();
        let mut histograms = batch.histograms().peekable();
        for (i, &t_ms) in batch.t_ms.iter().enumerate() {
            match histograms.next_if(|(place, _)| *place == i) {
                Some((_, histogram)) => beside.put(t_ms, Arc::clone(histogram)),
                None => beside.remove(t_ms),
            }
        }
        let after = beside.heap_bytes();
        growth.bytes += after.saturating_sub(before);
        growth.freed += before.saturating_sub(after);
    }
}

impl FrozenHead {
    /// Returns the head, for reading.
    pub fn head(&self) -> &Arc<Head> {
        &self.0
    }

    /// Returns the windows of a width that hold samples or exemplars, in order.
    pub(super) fn windows(&self, width_ms: i64) -> Vec<SpanMs> {
        let mut starts = BTreeSet::new();
        let mut last = None;
        let start_of = |t_ms| window_of(t_ms, width_ms).start;
        for series in self.0.lock().shards.iter().flat_map(|shard| &shard.series) {
            let same = |a, b| start_of(a) == start_of(b);
            series.for_each_time(same, |t_ms| {
                let start = start_of(t_ms);
                if last != Some(start) {
                    starts.insert(start);
                    last = Some(start);
                }
            });
        }
        starts.extend(self.0.exemplars().values().flat_map(|set| set.times()).map(start_of));
        starts.into_iter().map(|start| window_of(start, width_ms)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Labels;

    fn labels(n: u8) -> Labels {
        Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).unwrap()
    }

    fn batch(rows: &[(u8, i64, f64)]) -> MetricBatch {
        let mut batch = MetricBatch::default();
        for &(n, t, v) in rows {
            batch.start_labels(&labels(n)).push(t, v);
        }
        batch
    }

    fn content(head: &Head) -> BTreeMap<(Labels, i64), u64> {
        let view = head.registry().whole_view();
        let mut rows = BTreeMap::new();
        for (i, &slot) in view.slots.iter().enumerate() {
            let mut columns = Columns::default();
            head.read(slot, SpanMs::ALL, &mut ReadScratch::default(), &mut columns);
            let labels = view.table.labels(i as u32);
            rows.extend(
                columns.t_ms.into_iter().zip(columns.values).map(|(t, v)| ((labels.clone(), t), v.to_bits())),
            );
        }
        rows
    }

    proptest! {
        #[test]
        fn a_head_holds_what_a_map_would(
            batches in proptest::collection::vec(proptest::collection::vec((0u8..20, 0i64..300, any::<f64>()), 0..200), 1..6),
        ) {
            let head = Head::new();
            let mut map = BTreeMap::new();
            for rows in &batches {
                head.append_batch(&batch(rows));
                map.extend(rows.iter().map(|(n, t, v)| ((labels(*n), *t), v.to_bits())));
            }
            prop_assert_eq!(content(&head), map.clone());
            let series: std::collections::BTreeSet<_> = map.keys().map(|k| k.0.clone()).collect();
            prop_assert_eq!(head.n_series(), series.len());
            prop_assert_eq!(head.n_samples() as usize, batches.iter().map(Vec::len).sum::<usize>());
        }
    }

    #[test]
    fn a_successor_is_empty_and_knows_the_series() {
        let head = Arc::new(Head::new());
        assert_eq!(head.append_batch(&batch(&[(1, 5, 1.0), (2, 6, 1.0)])).n_new_series, 2);
        let frozen = head.freeze();
        let next = frozen.head().successor();
        assert_eq!((next.n_series(), next.span()), (0, None));
        assert_eq!(next.append_batch(&batch(&[(1, 7, 2.0)])).n_new_series, 0);
        assert_eq!(content(&next).len(), 1);
        assert_eq!(content(frozen.head()).len(), 2);
        assert_eq!(frozen.head().span(), Some(SpanMs { start: 5, end: 6 }));
    }

    #[test]
    fn threads_append_side_by_side() {
        let head = Head::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let head = &head;
                scope.spawn(move || {
                    for t in 0..500 {
                        // Series 0 is everyone's, at times of their own.
                        head.append_batch(&batch(&[(0, t * 4 + thread, 1.0), (1 + thread as u8, t, 2.0)]));
                    }
                });
            }
        });
        assert_eq!((head.n_series(), head.n_samples()), (5, 4_000));
        assert_eq!(content(&head).len(), 4_000);
    }

    #[test]
    fn windows_are_those_with_samples() {
        let head = Arc::new(Head::new());
        head.append_batch(&batch(&[(1, -1, 0.0), (1, 99, 0.0), (2, 250, 0.0)]));
        let starts: Vec<_> = head.freeze().windows(100).iter().map(|w| (w.start, w.end)).collect();
        assert_eq!(starts, [(-100, -1), (0, 99), (200, 299)]);
    }

    #[test]
    fn series_that_ended_leave_memory() {
        let head = Head::new();
        for n in 0..4_000u32 {
            let mut one = MetricBatch::default();
            one.start_sorted([("n", n.to_string().as_str())]).unwrap().push(0, 0.0);
            head.append_batch(&one);
        }
        let kept = head.successor();
        assert_eq!(kept.append_batch(&batch(&[(1, 0, 0.0)])).n_new_series, 1);
        assert_eq!(kept.registry().n_series(), 4_001);
        assert_eq!(kept.successor().registry().n_series(), 0);
    }
}
