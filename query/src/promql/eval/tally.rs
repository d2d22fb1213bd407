//! What an evaluation looked at: the statistics that Prometheus gives with `stats=all`.

use std::sync::atomic::{AtomicUsize, Ordering};

use greylight_store::model::Histogram;
use parking_lot::Mutex;

use super::super::histogram;
use super::block::{Histograms, is_absent};
use super::mixed::Mixed;
use super::window::{Cursor, Numbers, WindowSpec};

/// Counts the samples behind each step, where that is asked for.
///
/// Selectors and windows add to the steps of the innermost scope. What has steps of its own, a subquery or a part that
/// is evaluated once for all steps, opens a scope and says afterwards what its samples count for.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    is_on: bool,
    by_step: Mutex<Vec<u64>>,
    /// The most values that were held at once.
    peak: AtomicUsize,
}

/// The counts of the scope around one that was opened.
#[derive(Debug)]
pub(super) struct Outer(Vec<u64>);

impl Tally {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Opens a scope without samples.
    pub(super) fn open(&self) -> Outer {
        Outer(std::mem::take(&mut *self.by_step.lock()))
    }

    /// Closes a scope and returns its counts; steps without samples may lack at the end.
    pub(super) fn close(&self, outer: Outer) -> Vec<u64> {
        std::mem::replace(&mut *self.by_step.lock(), outer.0)
    }

    /// Returns the counts of the outermost scope, which begins anew.
    pub(crate) fn take(&self) -> Vec<u64> {
        self.open().0
    }

    /// Adds samples to the first steps of the scope.
    pub(super) fn add(&self, counts: &[u64]) {
        if !self.is_on {
            return;
        }
        let mut by_step = self.by_step.lock();
        if by_step.len() < counts.len() {
            by_step.resize(counts.len(), 0);
        }
        by_step.iter_mut().zip(counts).for_each(|(all, more)| *all += more);
    }

    /// Says that so many values are held.
    pub(crate) fn hold(&self, n_values: usize) {
        self.peak.fetch_max(n_values, Ordering::Relaxed);
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

/// Returns for how many samples a histogram counts: its size in Prometheus's memory, where a sample has 16 bytes.
pub(crate) fn size(of: &Histogram) -> u64 {
    const SAMPLE_BYTES: usize = 16;
    // The struct with the pointer to it, and the time.
    const FIXED_BYTES: usize = 168 + 8;
    ((FIXED_BYTES + 8 * histogram::n_elements(of)) / SAMPLE_BYTES) as u64
}

/// Counts a selector's values of one series.
pub(super) fn add_row(counts: &mut [u64], histograms: &Histograms, values: &[f64]) {
    for (k, v) in values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
        counts[k] += histograms.at(k, *v).map_or(1, |histogram| size(histogram));
    }
}

/// Counts the samples in the windows of one series of numbers.
pub(super) fn add_windows(counts: &mut [u64], spec: &WindowSpec, numbers: Numbers<'_>) {
    let mut cursor = Cursor::default();
    for (k, count) in counts.iter_mut().enumerate() {
        let window = cursor.at(spec, numbers.t_ms, k);
        *count += numbers.n(window.start, window.end) as u64;
    }
}

/// Counts the samples in the windows of one series with histograms.
pub(super) fn add_mixed_windows(counts: &mut [u64], spec: &WindowSpec, samples: &Mixed) {
    add_windows(counts, spec, samples.numbers());
    let (t_ms, histograms) = samples.histograms();
    let mut before = vec![0];
    before.extend(histograms.iter().scan(0, |sum, histogram| {
        *sum += size(histogram);
        Some(*sum)
    }));
    let mut cursor = Cursor::default();
    for (k, count) in counts.iter_mut().enumerate() {
        let window = cursor.at(spec, t_ms, k);
        *count += before[window.end] - before[window.start];
    }
}
