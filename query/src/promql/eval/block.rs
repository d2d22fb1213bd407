//! Values of many series at many steps, as one matrix of numbers.

use std::sync::Arc;

use greylight_store::model::{Histogram, Labels, METRIC_NAME};
use greylight_store::read::STALE_NAN_BITS;

use super::super::histogram::weight;

/// Stands for "no value at this step". No operation gives these bits: the marker of staleness is
/// taken out where samples are read, and arithmetic makes other NaNs.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Stands for "the value at this step is a histogram", which is with the row. Arithmetic does not give these bits
/// either; a sample may have them, and is told apart by its row, which has no histogram there.
pub(crate) const HISTOGRAM: f64 = f64::from_bits(STALE_NAN_BITS ^ 1);

/// Tells whether a step has no value.
#[inline]
pub(crate) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One series of a block.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    /// The name goes at the end of the query: until then `by (__name__)` still sees it.
    pub(crate) drop_name: bool,
    /// Empty for most rows, and numbers alone are worked on where it is.
    pub(crate) histograms: Histograms,
}

impl Row {
    pub(crate) fn new(labels: Labels, drop_name: bool) -> Self {
        Self { labels, drop_name, histograms: Histograms::default() }
    }

    /// Returns a row of the same series, without its histograms.
    pub(crate) fn bare(&self) -> Self {
        Self::new(self.labels.clone(), self.drop_name)
    }
}

/// The values of a row that are histograms, by step, rising. One counts where the row's value at its step is
/// [`HISTOGRAM`]: so whatever takes a value away need not know of histograms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histograms(Vec<(usize, Arc<Histogram>)>);

impl Histograms {
    /// Tells whether all values of the row are numbers.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the histogram at a step whose value is `value`, unless it is a number.
    #[inline]
    pub(crate) fn at(&self, step: usize, value: f64) -> Option<&Arc<Histogram>> {
        if value.to_bits() != HISTOGRAM.to_bits() || self.0.is_empty() {
            return None;
        }
        self.0.binary_search_by_key(&step, |(k, _)| *k).ok().map(|i| &self.0[i].1)
    }

    /// Sets the histogram at a step; the row's value there has to be set to [`HISTOGRAM`].
    pub(crate) fn put(&mut self, step: usize, histogram: Arc<Histogram>) {
        if self.0.last().is_none_or(|(last, _)| *last < step) {
            return self.0.push((step, histogram));
        }
        match self.0.binary_search_by_key(&step, |(k, _)| *k) {
            Ok(i) => self.0[i].1 = histogram,
            Err(i) => self.0.insert(i, (step, histogram)),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Walks the steps at which there is one, or was.
    pub(crate) fn steps(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|(k, _)| *k)
    }

    /// Walks steps and histograms of a row with these values.
    pub(crate) fn iter<'a>(&'a self, values: &'a [f64]) -> impl Iterator<Item = (usize, &'a Arc<Histogram>)> {
        let counts = |k: usize| values.get(k).is_some_and(|v| v.to_bits() == HISTOGRAM.to_bits());
        self.0.iter().filter(move |(k, _)| counts(*k)).map(|(k, histogram)| (*k, histogram))
    }

    /// Returns the space that they take, in floats.
    pub(crate) fn weight(&self) -> usize {
        let mut before: Option<&Arc<Histogram>> = None;
        let mut sum = 0;
        for (_, histogram) in &self.0 {
            // One sample stands for several steps.
            let is_shared = before.is_some_and(|b| Arc::ptr_eq(b, histogram));
            sum += 2 + if is_shared { 0 } else { weight(histogram) };
            before = Some(histogram);
        }
        sum
    }
}

/// Rows of values, one value a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    pub(crate) n_steps: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) values: Vec<f64>,
}

impl Block {
    pub(crate) fn new(n_steps: usize) -> Self {
        Self { n_steps, rows: Vec::new(), values: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.n_steps..(i + 1) * self.n_steps]
    }

    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.n_steps..(i + 1) * self.n_steps]
    }

    /// Adds a row without values and returns its place.
    pub(crate) fn push_absent(&mut self, row: Row) -> usize {
        self.rows.push(row);
        self.values.resize(self.rows.len() * self.n_steps, ABSENT);
        self.rows.len() - 1
    }

    /// Takes the rows of another block of as many steps.
    pub(crate) fn append(&mut self, mut other: Self) {
        debug_assert_eq!(self.n_steps, other.n_steps, "blocks of one grid");
        if self.rows.is_empty() {
            *self = other;
            return;
        }
        self.rows.append(&mut other.rows);
        self.values.append(&mut other.values);
    }

    /// Walks rows with their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Row, &[f64])> {
        self.rows.iter().zip(self.values.chunks_exact(self.n_steps.max(1)))
    }

    /// Drops the rows that `keep` says no to.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Row, &[f64]) -> bool) {
        let n = self.n_steps;
        let mut kept = 0;
        for i in 0..self.rows.len() {
            if keep(&self.rows[i], &self.values[i * n..(i + 1) * n]) {
                if kept != i {
                    self.rows.swap(kept, i);
                    self.values.copy_within(i * n..(i + 1) * n, kept * n);
                }
                kept += 1;
            }
        }
        self.rows.truncate(kept);
        self.values.truncate(kept * n);
    }

    /// Drops rows without any value.
    pub(crate) fn drop_empty(&mut self) {
        self.retain(|_, values| values.iter().any(|v| !is_absent(*v)));
    }

    /// Makes a block of `n` steps out of one of a single step.
    pub(crate) fn repeated(mut self, n: usize) -> Self {
        for (row, value) in self.rows.iter_mut().zip(&self.values) {
            if let Some(histogram) = row.histograms.at(0, *value).cloned() {
                row.histograms.0 = (0..n).map(|k| (k, histogram.clone())).collect();
            }
        }
        let values = self.values.iter().flat_map(|v| std::iter::repeat_n(*v, n)).collect();
        Self { n_steps: n, rows: self.rows, values }
    }

    /// Tells whether a row has a value that is a number.
    pub(crate) fn has_number(&self, i: usize) -> bool {
        let histograms = &self.rows[i].histograms;
        let mut values = self.row(i).iter().enumerate();
        values.any(|(k, v)| !is_absent(*v) && histograms.at(k, *v).is_none())
    }

    /// Returns the space that it takes, in floats, as limits count it.
    pub(crate) fn weight(&self) -> usize {
        self.values.len() + self.rows.iter().map(|row| row.histograms.weight()).sum::<usize>()
    }

    /// Sets the value at a row and step to a histogram.
    pub(crate) fn put(&mut self, i: usize, step: usize, histogram: Arc<Histogram>) {
        self.row_mut(i)[step] = HISTOGRAM;
        self.rows[i].histograms.put(step, histogram);
    }
}

/// Labels that belong to a name and go with it.
pub(crate) fn without_name(labels: &Labels) -> Labels {
    let metadata = |name: &str| matches!(name, METRIC_NAME | "__type__" | "__unit__");
    if labels.iter().any(|(name, _)| metadata(name)) {
        return labels.to_builder().retain(|name| !metadata(name)).build();
    }
    labels.clone()
}
