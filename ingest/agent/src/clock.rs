//! Time and chance as they are handed to code: never read from the surroundings.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};

/// An instant: nanoseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes an instant from nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Makes an instant from milliseconds since the epoch; saturates past the years 1677 and 2262.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Returns nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Returns seconds since the epoch.
    pub fn as_seconds(self) -> f64 {
        self.as_millis() as f64 / 1000.0
    }

    /// Returns the instant `span` later, saturating.
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// What [`Clock::sleep`] gives back.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the wall-clock time; it may jump either way.
    fn now(&self) -> Timestamp;

    /// Returns the time since some fixed instant; it never goes back. For spans and deadlines.
    fn elapsed(&self) -> Duration;

    /// Waits until [`elapsed`](Self::elapsed) has grown by `span`.
    fn sleep(&self, span: Duration) -> Sleep;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Timestamp(nanos(after)),
            Err(before) => Timestamp(nanos(before.duration()).saturating_neg()),
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps on the machine's clock")]
    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A clock that a test moves by hand.
#[derive(Clone, Debug)]
pub struct ManualClock {
    state: Arc<Mutex<(Timestamp, Duration)>>,
    moved: Arc<tokio::sync::Notify>,
}

impl ManualClock {
    /// Makes a clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { state: Arc::new(Mutex::new((now, Duration::ZERO))), moved: Arc::default() }
    }

    /// Moves the clock forward and wakes whoever sleeps.
    pub fn advance(&self, span: Duration) {
        {
            let mut state = self.state.lock();
            *state = (state.0.saturating_add(span), state.1.saturating_add(span));
        }
        self.moved.notify_waiters();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().0
    }

    fn elapsed(&self) -> Duration {
        self.state.lock().1
    }

    fn sleep(&self, span: Duration) -> Sleep {
        let clock = self.clone();
        let until = self.elapsed().saturating_add(span);
        Box::pin(async move {
            loop {
                let moved = clock.moved.notified();
                tokio::pin!(moved);
                // Registered before the time is read, so that a move in between is not missed.
                moved.as_mut().enable();
                if clock.elapsed() >= until {
                    return;
                }
                moved.await;
            }
        })
    }
}

/// A source of chance; needed for jitter alone, never for anything that must be secret.
pub trait Random: Send + Sync + fmt::Debug {
    /// Returns a number drawn evenly from `[0, 1)`.
    fn unit(&self) -> f64;
}

/// A generator with a seed: equal seeds, equal draws.
#[derive(Debug)]
pub struct SeededRandom(Mutex<rand::rngs::SmallRng>);

impl SeededRandom {
    /// Makes a generator from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(rand::rngs::SmallRng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn unit(&self) -> f64 {
        self.0.lock().random::<f64>()
    }
}

/// Draws a wait with full jitter: evenly between zero and `min(cap, base * 2^attempt)`.
///
/// Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
pub fn full_jitter(random: &dyn Random, base: Duration, cap: Duration, attempt: u32) -> Duration {
    let ceiling = base.saturating_mul(2_u32.saturating_pow(attempt.min(20))).min(cap);
    ceiling.mul_f64(random.unit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_below_its_growing_ceiling() {
        let random = SeededRandom::new(7);
        for attempt in 0..40 {
            let wait = full_jitter(&random, Duration::from_millis(500), Duration::from_secs(30), attempt);
            let ceiling = Duration::from_millis(500).saturating_mul(1 << attempt.min(20));
            assert!(wait <= ceiling.min(Duration::from_secs(30)));
        }
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_has_moved_far_enough() {
        let clock = ManualClock::at(Timestamp::from_millis(5));
        let sleep = tokio::spawn(clock.sleep(Duration::from_secs(2)));
        clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        assert!(!sleep.is_finished());
        clock.advance(Duration::from_secs(1));
        sleep.await.unwrap();
        assert_eq!(clock.now(), Timestamp::from_millis(2005));
    }
}
