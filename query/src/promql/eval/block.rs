//! Values of many series at many steps, as one matrix of numbers.

use greylight_store::model::{Labels, METRIC_NAME};
use greylight_store::read::STALE_NAN_BITS;

/// Stands for "no value at this step". No operation gives these bits: the marker of staleness is
/// taken out where samples are read, and arithmetic makes other NaNs.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

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
    pub(crate) fn repeated(self, n: usize) -> Self {
        let values = self.values.iter().flat_map(|v| std::iter::repeat_n(*v, n)).collect();
        Self { n_steps: n, rows: self.rows, values }
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
