//! What one query may cost, counted while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::ReadError;
use crate::model::Clock;

/// The most that one query may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series selected, over all selectors.
    pub series: u64,
    /// Samples or log records read.
    pub samples: u64,
    /// Time until the answer.
    pub time: Duration,
}

impl Default for Limits {
    /// 100,000 series, 50 million samples, 30 seconds.
    fn default() -> Self {
        Self { series: 100_000, samples: 50_000_000, time: Duration::from_secs(30) }
    }
}

/// What one query has used of its limits; shared by its threads, and the switch that ends it.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    ends_at: Duration,
    limits: Limits,
    n_series: AtomicU64,
    n_samples: AtomicU64,
    n_rolled: [AtomicU64; 2],
    cancelled: AtomicBool,
}

impl Budget {
    /// Starts to count; the time runs from now.
    pub fn new(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let ends_at = clock.elapsed().saturating_add(limits.time);
        let shared = Shared {
            clock,
            ends_at,
            limits,
            n_series: AtomicU64::new(0),
            n_samples: AtomicU64::new(0),
            n_rolled: Default::default(),
            cancelled: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Ends the query: every later check fails.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }

    /// Fails when the query was cancelled or its time is up. Call it every few thousand rows.
    ///
    /// # Errors
    /// [`ReadError::Cancelled`] or [`ReadError::Deadline`].
    pub fn check(&self) -> Result<(), ReadError> {
        if self.shared.cancelled.load(Ordering::Relaxed) {
            return Err(ReadError::Cancelled);
        }
        if self.shared.clock.elapsed() > self.shared.ends_at {
            let limit_ms = u64::try_from(self.shared.limits.time.as_millis()).unwrap_or(u64::MAX);
            return Err(ReadError::Deadline { limit_ms });
        }
        Ok(())
    }

    /// Counts selected series.
    ///
    /// # Errors
    /// [`ReadError::Limit`] when that is too many, else as [`check`](Self::check).
    pub fn charge_series(&self, n: usize) -> Result<(), ReadError> {
        let used = self.shared.n_series.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        let limit = self.shared.limits.series;
        if used > limit {
            return Err(ReadError::Limit { what: "series", limit, setting: "[query] series_max" });
        }
        self.check()
    }

    /// Counts samples or records that were read.
    ///
    /// # Errors
    /// [`ReadError::Limit`] when that is too many, else as [`check`](Self::check).
    pub fn charge_samples(&self, n: usize) -> Result<(), ReadError> {
        let used = self.shared.n_samples.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        let limit = self.shared.limits.samples;
        if used > limit {
            return Err(ReadError::Limit { what: "samples", limit, setting: "[query] samples_max" });
        }
        self.check()
    }

    /// Notes samples that were read from rollups, and how many they stand for.
    pub fn note_rolled(&self, n_read: u64, n_stood_for: u64) {
        self.shared.n_rolled[0].fetch_add(n_read, Ordering::Relaxed);
        self.shared.n_rolled[1].fetch_add(n_stood_for, Ordering::Relaxed);
    }

    /// Returns how many samples were read from rollups so far, and how many they stood for.
    pub fn rolled(&self) -> (u64, u64) {
        let [read, stood_for] = &self.shared.n_rolled;
        (read.load(Ordering::Relaxed), stood_for.load(Ordering::Relaxed))
    }

    /// Returns how many series and samples were read so far.
    pub fn used(&self) -> (u64, u64) {
        (self.shared.n_series.load(Ordering::Relaxed), self.shared.n_samples.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ManualClock, Timestamp};

    #[test]
    fn each_limit_ends_the_query_and_names_itself() {
        let clock = ManualClock::at(Timestamp::default());
        let limits = Limits { series: 2, samples: 10, time: Duration::from_secs(1) };
        let budget = Budget::new(limits, Arc::new(clock.clone()));
        budget.charge_series(2).unwrap();
        assert!(budget.charge_series(1).unwrap_err().to_string().contains("series_max"));
        budget.charge_samples(10).unwrap();
        assert!(budget.clone().charge_samples(1).unwrap_err().to_string().contains("10 samples"));
        clock.advance(Duration::from_secs(2));
        assert!(matches!(budget.check(), Err(ReadError::Deadline { limit_ms: 1000 })));
        budget.cancel();
        assert!(matches!(budget.check(), Err(ReadError::Cancelled)));
    }
}
