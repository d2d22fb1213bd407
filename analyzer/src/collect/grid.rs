//! The intervals that data is grouped by.

use greylight_store::read::SpanMs;

/// Equal intervals side by side: number `i` is `[start + i × step, start + (i + 1) × step)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Start of the first, in epoch milliseconds.
    pub(crate) start_ms: i64,
    /// Width, positive.
    pub(crate) step_ms: i64,
    /// How many there are.
    pub(crate) n: usize,
}

impl Grid {
    /// Returns the number of the interval that holds a time.
    pub(crate) fn index(&self, t_ms: i64) -> Option<usize> {
        let i = usize::try_from(t_ms.checked_sub(self.start_ms)?.div_euclid(self.step_ms)).ok()?;
        (i < self.n).then_some(i)
    }

    /// Returns the first millisecond after the last interval.
    pub(crate) fn end_ms(&self) -> i64 {
        self.start_ms + self.step_ms * self.n as i64
    }

    /// Returns the starts of the intervals.
    pub(crate) fn starts(&self) -> Vec<i64> {
        (0..self.n as i64).map(|i| self.start_ms + i * self.step_ms).collect()
    }

    /// Returns the span of all intervals.
    pub(crate) fn span(&self) -> SpanMs {
        SpanMs { start: self.start_ms, end: self.end_ms() - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_later_interval() {
        let grid = Grid { start_ms: 100, step_ms: 10, n: 3 };
        let check = |t, want| assert_eq!(grid.index(t), want, "{t}");
        check(99, None);
        check(100, Some(0));
        check(109, Some(0));
        check(110, Some(1));
        check(129, Some(2));
        check(130, None);
        assert_eq!(grid.starts(), [100, 110, 120]);
        assert_eq!(grid.span(), SpanMs { start: 100, end: 129 });
    }
}
