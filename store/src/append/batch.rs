//! What one request brings, as columns.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::model::{
    AttributeValue, Exemplar, ExemplarError, Histogram, HistogramError, Labels, LabelsError, LogRecord,
};
use crate::read::{STALE_NAN_BITS, is_stale};

/// Samples of many series, held as columns: four growing arrays however many series there are. Native histograms
/// lie beside them, as do exemplars.
///
/// Reused batches ([`clear`](Self::clear)) allocate nothing once they are large enough.
#[derive(Clone, Debug, Default)]
pub struct MetricBatch {
    labels: Vec<u8>,
    series: Vec<SeriesEntry>,
    keys: Vec<SeriesKey>,
    t_ms: Vec<i64>,
    values: Vec<f64>,
    metadata: Vec<MetricMetadata>,
    // Nearly no batch has any.
    beside: Option<Box<Beside>>,
}

/// What a batch has beside floats.
#[derive(Clone, Debug, Default)]
struct Beside {
    // By place among the samples, rising.
    histograms: Vec<(u32, Arc<Histogram>)>,
    exemplars: Vec<(Labels, Exemplar)>,
}

impl Beside {
    #[cold]
    fn histograms_between(&self, start: u32, end: u32) -> &[(u32, Arc<Histogram>)] {
        let place = |limit: u32| self.histograms.partition_point(|(place, _)| *place < limit);
        &self.histograms[place(start)..place(end)]
    }
}

/// Stands for a series' label bytes while this process lives: their 128-bit hash under a seed that
/// senders cannot know. Two series share one with a chance of 1 in 10^25 among ten million.
///
/// Made when a batch is filled, while the bytes are at hand, so that nothing later on the way of a
/// sample whose series is known looks at its labels again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey(u128);

impl SeriesKey {
    /// Makes the key of canonical label bytes.
    pub fn of(labels: &[u8]) -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
        Self(xxh3_128_with_seed(labels, *SEED))
    }

    /// Returns a number below `n`, a power of two up to 256, evenly spread over series, and not
    /// tied to the bits that maps use.
    pub(crate) fn shard(self, n: usize) -> usize {
        (self.0 >> 120) as usize & (n - 1)
    }
}

/// One series of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchSeries<'a> {
    /// Stands for its labels.
    pub key: SeriesKey,
    /// Its canonical label bytes.
    pub labels: &'a [u8],
    /// Times in milliseconds, at least one, in any order.
    pub t_ms: &'a [i64],
    /// Values, as many; NaN in the place of a histogram.
    pub values: &'a [f64],
    // By place among the samples of the batch.
    histograms: &'a [(u32, Arc<Histogram>)],
    first: u32,
}

impl<'a> BatchSeries<'a> {
    /// Returns the native histograms: their places in the columns, rising, and themselves.
    pub fn histograms(&self) -> impl Iterator<Item = (usize, &'a Arc<Histogram>)> + use<'a> {
        let first = self.first;
        self.histograms.iter().map(move |(place, histogram)| ((place - first) as usize, histogram))
    }

    /// Tells whether any sample is a histogram.
    #[inline]
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }
}

/// Where one series of a batch ends in its arrays; it begins where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesEntry {
    /// End of its canonical label bytes.
    pub labels_end: u32,
    /// End of its samples.
    pub samples_end: u32,
}

/// What kind of metric a family is, in Prometheus's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows, but for resets.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
    /// Buckets that go both ways.
    GaugeHistogram,
    /// Facts as labels, value 1.
    Info,
    /// One of a few states.
    StateSet,
    /// Not known.
    Unknown,
}

/// What is said about a metric family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricMetadata {
    /// The family's name.
    pub name: String,
    /// Its kind.
    pub kind: MetricKind,
    /// A sentence for people.
    pub help: String,
    /// Its unit, empty where not said.
    pub unit: String,
}

impl MetricBatch {
    /// Starts a series from pairs that are sorted by name, unique and without empty values: the
    /// form in which nearly all senders write them. The check costs one comparison a pair.
    ///
    /// # Errors
    /// [`LabelsError`] when the pairs break that rule; the batch is then as it was before. Sort
    /// them and use [`start_labels`](Self::start_labels).
    pub fn start_sorted<'a>(
        &mut self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<SeriesWriter<'_>, LabelsError> {
        let start = self.labels.len();
        let mut last = "";
        for (name, value) in pairs {
            if name <= last || value.is_empty() {
                self.labels.truncate(start);
                return Err(match name {
                    "" => LabelsError::EmptyName(value.into()),
                    _ if name == last => LabelsError::Duplicate(name.into()),
                    _ => LabelsError::Encoding(0),
                });
            }
            crate::model::encode_pair(&mut self.labels, name, value);
            last = name;
        }
        Ok(SeriesWriter { batch: self, key: None })
    }

    /// Starts a series.
    pub fn start_labels(&mut self, labels: &Labels) -> SeriesWriter<'_> {
        self.labels.extend_from_slice(labels.as_bytes());
        SeriesWriter { batch: self, key: None }
    }

    /// Starts a series whose key is at hand.
    pub(crate) fn start_known(&mut self, labels: &Labels, key: SeriesKey) -> SeriesWriter<'_> {
        debug_assert_eq!(key, SeriesKey::of(labels.as_bytes()), "the key is that of the labels");
        self.labels.extend_from_slice(labels.as_bytes());
        SeriesWriter { batch: self, key: Some(key) }
    }

    /// Adds what is said about a metric family.
    pub fn push_metadata(&mut self, metadata: MetricMetadata) {
        self.metadata.push(metadata);
    }

    /// Walks the series: canonical label bytes, times in milliseconds, values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[i64], &[f64])> {
        (0..self.series.len()).map(|i| {
            let series = self.series(i);
            (series.labels, series.t_ms, series.values)
        })
    }

    /// Returns the series at a position.
    #[inline]
    pub fn series(&self, i: usize) -> BatchSeries<'_> {
        let from = if i == 0 { SeriesEntry { labels_end: 0, samples_end: 0 } } else { self.series[i - 1] };
        let to = self.series[i];
        let samples = from.samples_end as usize..to.samples_end as usize;
        BatchSeries {
            key: self.keys[i],
            labels: &self.labels[from.labels_end as usize..to.labels_end as usize],
            t_ms: &self.t_ms[samples.clone()],
            values: &self.values[samples],
            histograms: self.histograms_between(from.samples_end, to.samples_end),
            first: from.samples_end,
        }
    }

    #[inline]
    fn histograms_between(&self, start: u32, end: u32) -> &[(u32, Arc<Histogram>)] {
        match &self.beside {
            None => &[],
            Some(beside) => beside.histograms_between(start, end),
        }
    }

    /// Returns all native histograms: their places among the samples, rising, and themselves.
    pub(crate) fn histograms(&self) -> &[(u32, Arc<Histogram>)] {
        self.beside.as_ref().map_or(&[], |beside| &beside.histograms)
    }

    fn beside(&mut self) -> &mut Beside {
        self.beside.get_or_insert_default()
    }

    /// Says that the samples at places, rising, are histograms that were checked before.
    pub(crate) fn set_histograms(&mut self, histograms: Vec<(u32, Arc<Histogram>)>) {
        debug_assert!(histograms.is_sorted_by(|a, b| a.0 < b.0), "a sample is one histogram");
        self.beside().histograms = histograms;
    }

    /// Adds an exemplar of a series, whether the batch has samples of it or not.
    ///
    /// # Errors
    /// What [`Exemplar::check`] finds; nothing is added then.
    pub fn push_exemplar(&mut self, series: Labels, exemplar: Exemplar) -> Result<(), ExemplarError> {
        exemplar.check()?;
        self.beside().exemplars.push((series, exemplar));
        Ok(())
    }

    /// Takes exemplars that were checked before.
    pub(crate) fn set_exemplars(&mut self, exemplars: Vec<(Labels, Exemplar)>) {
        self.beside().exemplars = exemplars;
    }

    /// Returns the exemplars, each with its series.
    pub fn exemplars(&self) -> &[(Labels, Exemplar)] {
        self.beside.as_ref().map_or(&[], |beside| &beside.exemplars)
    }

    /// Returns how many of the samples are native histograms.
    pub fn n_histograms(&self) -> usize {
        self.histograms().len()
    }

    /// Returns the keys of all series, in order.
    pub fn keys(&self) -> &[SeriesKey] {
        &self.keys
    }

    /// Returns the times of all samples, in order of series.
    pub fn times(&self) -> &[i64] {
        &self.t_ms
    }

    /// Returns what was said about metric families.
    pub fn metadata(&self) -> &[MetricMetadata] {
        &self.metadata
    }

    /// Returns how many samples there are.
    pub fn n_samples(&self) -> usize {
        self.t_ms.len()
    }

    /// Returns how many series there are.
    pub fn n_series(&self) -> usize {
        self.series.len()
    }

    /// Returns about how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        let metadata: usize =
            self.metadata.iter().map(|m| 32 + m.name.len() + m.help.len() + m.unit.len()).sum();
        let histograms: usize =
            self.histograms().iter().map(|(_, h)| crate::metrics::histogram_bytes(h)).sum();
        let exemplar = |(series, exemplar): &(Labels, Exemplar)| {
            64 + series.as_bytes().len() + exemplar.labels.as_bytes().len()
        };
        let exemplars: usize = self.exemplars().iter().map(exemplar).sum();
        self.labels.len() + 24 * self.series.len() + 16 * self.t_ms.len() + metadata + histograms + exemplars
    }

    /// Returns how many bytes its columns have room for.
    pub(crate) fn room_bytes(&self) -> usize {
        self.labels.capacity()
            + size_of::<SeriesEntry>() * self.series.capacity()
            + size_of::<SeriesKey>() * self.keys.capacity()
            + size_of::<i64>() * self.t_ms.capacity()
            + size_of::<f64>() * self.values.capacity()
    }

    /// Tells whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.t_ms.is_empty() && self.metadata.is_empty() && self.exemplars().is_empty()
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.series.clear();
        self.keys.clear();
        self.t_ms.clear();
        self.values.clear();
        self.metadata.clear();
        self.beside = None;
    }
}

/// Adds samples to the series just started; the series counts once this is dropped with a sample.
#[derive(Debug)]
pub struct SeriesWriter<'a> {
    batch: &'a mut MetricBatch,
    key: Option<SeriesKey>,
}

impl SeriesWriter<'_> {
    /// Adds one sample. Any order, any age, any bits of a float are taken.
    pub fn push(&mut self, t_ms: i64, value: f64) {
        self.batch.t_ms.push(t_ms);
        self.batch.values.push(value);
    }

    /// Adds one sample that is a native histogram. One whose sum is the stale marker says that the series is gone,
    /// and is kept as that marker.
    ///
    /// # Errors
    /// What [`Histogram::check`] finds; nothing is added then.
    pub fn push_histogram(&mut self, t_ms: i64, histogram: Histogram) -> Result<(), HistogramError> {
        if is_stale(histogram.sum) {
            self.push(t_ms, f64::from_bits(STALE_NAN_BITS));
            return Ok(());
        }
        histogram.check()?;
        let place = u32::try_from(self.batch.t_ms.len()).expect("a request is smaller than 4 GiB");
        self.batch.beside().histograms.push((place, Arc::new(histogram)));
        self.push(t_ms, f64::NAN);
        Ok(())
    }
}

impl Drop for SeriesWriter<'_> {
    fn drop(&mut self) {
        let batch = &mut *self.batch;
        let before = batch.series.last().copied().unwrap_or(SeriesEntry { labels_end: 0, samples_end: 0 });
        if batch.t_ms.len() == before.samples_end as usize {
            batch.labels.truncate(before.labels_end as usize);
            return;
        }
        let key = self.key.unwrap_or_else(|| SeriesKey::of(&batch.labels[before.labels_end as usize..]));
        batch.keys.push(key);
        // Requests are capped at 64 MiB decoded, far below 4 GiB.
        let end = |n: usize| u32::try_from(n).expect("a request is smaller than 4 GiB");
        batch
            .series
            .push(SeriesEntry { labels_end: end(batch.labels.len()), samples_end: end(batch.t_ms.len()) });
    }
}

/// The log records of one request.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// The records, in the order in which they came.
    pub records: Vec<LogRecord>,
}

impl LogBatch {
    /// Returns about how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        // Labels are shared between the records of a stream, and counted as if they were not.
        let value = |value: &AttributeValue| match value {
            AttributeValue::String(s) | AttributeValue::Json(s) => s.len(),
            AttributeValue::Bytes(b) => b.len(),
            AttributeValue::Int(_)
            | AttributeValue::Double(_)
            | AttributeValue::Bool(_)
            | AttributeValue::Null => 8,
        };
        let record = |r: &LogRecord| {
            let attributes: usize = r.attributes.iter().map(|(name, v)| 32 + name.len() + value(v)).sum();
            let texts = r.body.len() + r.severity_text.len() + r.uid.as_ref().map_or(0, String::len);
            64 + texts + attributes + r.labels.as_bytes().len()
        };
        self.records.iter().map(record).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_back_in_order_and_empty_ones_do_not_count() {
        let mut batch = MetricBatch::default();
        batch.start_sorted([("__name__", "a")]).unwrap().push(1, 2.0);
        drop(batch.start_sorted([("__name__", "none")]).unwrap());
        let mut writer = batch.start_labels(&Labels::from_pairs([("x", "y")]).unwrap());
        writer.push(3, 4.0);
        writer.push(2, 5.0);
        drop(writer);
        let seen: Vec<_> = batch
            .iter()
            .map(|(l, t, v)| (Labels::from_bytes(l).unwrap().to_string(), t.to_vec(), v.to_vec()))
            .collect();
        assert_eq!(
            seen,
            [("a{}".into(), vec![1], vec![2.0]), ("{x=\"y\"}".to_string(), vec![3, 2], vec![4.0, 5.0])]
        );
    }

    #[test]
    fn histograms_have_their_places_and_stale_ones_are_markers() {
        let mut batch = MetricBatch::default();
        batch.start_sorted([("__name__", "a")]).unwrap().push(1, 2.0);
        let mut writer = batch.start_sorted([("__name__", "b")]).unwrap();
        writer.push(1, 2.0);
        writer.push_histogram(2, Histogram { count: 5.0, ..Histogram::default() }).unwrap();
        let stale = f64::from_bits(STALE_NAN_BITS);
        writer.push_histogram(3, Histogram { sum: stale, count: stale, ..Histogram::default() }).unwrap();
        assert!(writer.push_histogram(4, Histogram { count: -1.0, ..Histogram::default() }).is_err());
        drop(writer);
        assert!(!batch.series(0).has_histograms());
        let b = batch.series(1);
        assert_eq!(b.histograms().map(|(at, h)| (at, h.count)).collect::<Vec<_>>(), [(1, 5.0)]);
        assert!(b.t_ms == [1, 2, 3] && b.values[1].is_nan() && is_stale(b.values[2]));
        assert_eq!((batch.n_samples(), batch.n_histograms()), (4, 1));
    }

    #[test]
    fn a_batch_of_exemplars_alone_is_something_to_store() {
        let mut batch = MetricBatch::default();
        let labels = |value: &str| Labels::from_pairs([("a", value)]).unwrap();
        let exemplar = |labels: Labels| Exemplar { labels, t_ms: 1, value: 2.0 };
        assert!(batch.push_exemplar(labels("x"), exemplar(labels(&"v".repeat(200)))).is_err());
        assert!(batch.is_empty());
        batch.push_exemplar(labels("x"), exemplar(labels("id"))).unwrap();
        assert!(!batch.is_empty() && batch.bytes() > 0);
        batch.clear();
        assert!(batch.is_empty());
    }

    #[test]
    fn unsorted_pairs_leave_the_batch_as_it_was() {
        let mut batch = MetricBatch::default();
        assert!(batch.start_sorted([("b", "1"), ("a", "1")]).is_err());
        assert!(batch.start_sorted([("b", "1"), ("b", "1")]).is_err());
        batch.start_sorted([("b", "1")]).unwrap().push(1, 1.0);
        assert_eq!(batch.iter().next().unwrap().0, Labels::from_pairs([("b", "1")]).unwrap().as_bytes());
    }
}
