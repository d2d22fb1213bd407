//! Batches that were stored and wait to be filled again.

use parking_lot::Mutex;

use super::MetricBatch;

/// Batches kept: as many as two cores fill and store at once, with some to spare.
const KEPT_MAX: usize = 8;
/// A larger batch is given back to the allocator.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A few empty batches that keep their memory: columns in fresh pages of the system cost more than filling them.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    batches: Mutex<Vec<MetricBatch>>,
}

impl Spares {
    /// Returns an empty batch.
    pub(crate) fn take(&self) -> MetricBatch {
        self.batches.lock().pop().unwrap_or_default()
    }

    /// Keeps a batch that nobody needs any more, if there is room.
    pub(crate) fn keep(&self, mut batch: MetricBatch) {
        if batch.room_bytes() > KEPT_BYTES_MAX {
            return;
        }
        batch.clear();
        let mut batches = self.batches.lock();
        if batches.len() < KEPT_MAX {
            batches.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n_samples: i64) -> MetricBatch {
        let mut batch = MetricBatch::default();
        let mut series = batch.start_sorted([("__name__", "up")]).unwrap();
        (0..n_samples).for_each(|t_ms| series.push(t_ms, 1.0));
        drop(series);
        batch
    }

    #[test]
    fn a_batch_comes_back_empty_with_its_memory() {
        let spares = Spares::default();
        spares.keep(batch(1000));
        let again = spares.take();
        assert!(again.is_empty() && again.n_series() == 0 && again.room_bytes() >= 16_000);
        assert_eq!(spares.take().room_bytes(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let spares = Spares::default();
        spares.keep(batch(KEPT_BYTES_MAX as i64 / 16 + 1));
        assert_eq!(spares.take().room_bytes(), 0);
        (0..2 * KEPT_MAX).for_each(|_| spares.keep(batch(1)));
        assert_eq!(spares.batches.lock().len(), KEPT_MAX);
    }
}
