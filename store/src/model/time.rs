//! Instants and ranges.

use std::fmt;
use std::time::Duration;

/// An instant: nanoseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that can be named.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant that can be named.
    pub const MAX: Self = Self(i64::MAX);

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

    /// Returns the instant `span` later, saturating.
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// Returns the instant `span` earlier, saturating.
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }

    /// Returns how much later this is than `earlier`; zero when it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        let span = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(span.max(0)).unwrap_or(u64::MAX))
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with as many digits of a second as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}

/// A half-open span of time, `start <= t < end`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    start: Timestamp,
    end: Timestamp,
}

/// Why two instants are no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time range starts at {start}, which is not before its end {end}")]
pub struct TimeRangeError {
    /// The refused start.
    pub start: Timestamp,
    /// The refused end.
    pub end: Timestamp,
}

impl TimeRange {
    /// Every instant but the last one that can be named.
    pub const ALL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// Makes the range of instants from `start` up to but without `end`.
    ///
    /// # Errors
    /// [`TimeRangeError`] when `start` is not before `end`.
    pub fn new(start: Timestamp, end: Timestamp) -> Result<Self, TimeRangeError> {
        if start < end { Ok(Self { start, end }) } else { Err(TimeRangeError { start, end }) }
    }

    /// Returns the first instant inside.
    pub fn start(self) -> Timestamp {
        self.start
    }

    /// Returns the first instant after the range.
    pub fn end(self) -> Timestamp {
        self.end
    }

    /// Tells whether `t` lies inside.
    pub fn contains(self, t: Timestamp) -> bool {
        self.start <= t && t < self.end
    }

    /// Tells whether the two ranges share an instant.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_never_empty() {
        let t = Timestamp::from_millis(5);
        assert!(TimeRange::new(t, t).is_err());
        assert!(TimeRange::new(t, Timestamp::from_millis(6)).unwrap().contains(t));
    }

    #[test]
    fn milliseconds_round_down_before_the_epoch() {
        assert_eq!(Timestamp::from_nanos(-1).as_millis(), -1);
        assert_eq!(Timestamp::from_millis(1_795_255_200_000).to_string(), "2026-11-21T10:00:00Z");
    }
}
