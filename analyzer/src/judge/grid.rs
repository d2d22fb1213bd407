//! Where intervals lie: everything the procedures see is indexed by interval.

use crate::policy::{Phase, Policy};

use super::analysis::PhaseRun;
use super::data::{Counts, Series};

/// The intervals of one phase and of the history before its release.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    origin_ms: i64,
    interval_ms: i64,
    /// Index, from the release's start, of the phase's first interval.
    phase_start: i64,
    warm_up_ms: i64,
    /// Milliseconds from the phase's start to each change of share or scope; the first is 0.
    shifts_ms: Vec<i64>,
    n_looks: usize,
    n_pre_max: usize,
}

/// Intervals of history used at most: two days of one-second intervals, well above what adds power.
const PRE_MAX: usize = 200_000;

/// Intervals of an earlier start used at most: six hours of minutes.
const LIFE_MAX: usize = 360;

/// One value an interval, `None` where it is missing.
pub(super) type Cells<T> = Vec<Option<T>>;

impl Grid {
    pub(super) fn new(policy: &Policy, phase: &Phase, run: &PhaseRun) -> Self {
        let millis = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let interval_ms = millis(policy.interval.millis());
        let phase_start = (run.phase_start_ms - run.release_start_ms).div_euclid(interval_ms);
        let phase_start_ms = run.release_start_ms + phase_start * interval_ms;
        let mut shifts_ms = vec![0];
        shifts_ms.extend(run.shifts.iter().map(|shift| shift.at_ms - phase_start_ms).filter(|at| *at > 0));
        Self {
            origin_ms: run.release_start_ms,
            interval_ms,
            phase_start,
            warm_up_ms: millis(policy.warm_up.millis()),
            shifts_ms,
            n_looks: phase.n_looks(&policy.interval),
            n_pre_max: usize::try_from(policy.pre_period.millis() / policy.interval.millis())
                .map_or(PRE_MAX, |n| n.min(PRE_MAX)),
        }
    }

    /// Returns the number of looks over which budgets are spent.
    pub(super) fn n_looks(&self) -> usize {
        self.n_looks
    }

    /// Returns the index of the phase's last interval.
    pub(super) fn last(&self) -> usize {
        self.first_warm() + self.n_looks - 1
    }

    /// Returns the index of the first interval after the first warm-up.
    pub(super) fn first_warm(&self) -> usize {
        usize::try_from((self.warm_up_ms + self.interval_ms - 1).div_euclid(self.interval_ms)).unwrap_or(0)
    }

    /// Tells whether an interval of the phase lies wholly outside every warm-up.
    pub(super) fn is_warm(&self, i: usize) -> bool {
        let start = i as i64 * self.interval_ms;
        let end = start + self.interval_ms;
        self.shifts_ms.iter().all(|shift| start >= shift + self.warm_up_ms || end <= *shift)
    }

    /// Returns the index of the first interval after the latest change that had begun by interval `i`.
    pub(super) fn since_shift(&self, i: usize) -> usize {
        let end = (i as i64 + 1) * self.interval_ms;
        let latest = self.shifts_ms.iter().copied().filter(|shift| *shift < end).max().unwrap_or(0);
        usize::try_from((latest + self.interval_ms - 1).div_euclid(self.interval_ms)).unwrap_or(0)
    }

    /// Counts the intervals up to and with `i` that lie outside every warm-up.
    pub(super) fn n_warm(&self, i: usize) -> usize {
        (0..=i).filter(|i| self.is_warm(*i)).count()
    }

    /// Counts the intervals from the release's start to interval `i` of the phase: the age of pods that
    /// started with it.
    pub(super) fn age(&self, i: usize) -> usize {
        usize::try_from(self.phase_start + i as i64).unwrap_or(0)
    }

    /// Returns the end of an interval of the phase.
    pub(super) fn end_ms(&self, i: usize) -> i64 {
        self.origin_ms + (self.phase_start + i as i64 + 1) * self.interval_ms
    }

    /// Returns the start of an interval of the phase.
    pub(super) fn start_ms(&self, i: usize) -> i64 {
        self.end_ms(i) - self.interval_ms
    }

    pub(super) fn interval_ms(&self) -> u64 {
        self.interval_ms.unsigned_abs()
    }

    /// Returns how long from the end of interval `i` until `span_ms` after the first warm-up.
    pub(super) fn until_ms(&self, i: usize, span_ms: u64) -> u64 {
        let end = self.warm_up_ms + i64::try_from(span_ms).unwrap_or(i64::MAX);
        u64::try_from(end - (i as i64 + 1) * self.interval_ms).unwrap_or(0)
    }

    /// Returns the interval of the phase that holds an instant.
    pub(super) fn run_idx(&self, t_ms: i64) -> Option<usize> {
        let idx = t_ms.saturating_sub(self.origin_ms).div_euclid(self.interval_ms) - self.phase_start;
        usize::try_from(idx).ok().filter(|idx| *idx <= self.last())
    }

    /// Returns how many intervals before the release an instant lies, from 0.
    pub(super) fn pre_idx(&self, t_ms: i64) -> Option<usize> {
        let idx = -1 - t_ms.saturating_sub(self.origin_ms).div_euclid(self.interval_ms);
        usize::try_from(idx).ok().filter(|idx| *idx < self.n_pre_max)
    }
}

/// Which stretch of a [`Grid`] data belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stretch<'a> {
    /// Before the release; index 0 is the earliest interval that any of the data has.
    Pre(&'a Grid),
    /// Since the phase began.
    Run(&'a Grid),
    /// Since an earlier start of a pod.
    Life {
        /// Start of its first interval.
        start_ms: i64,
        /// Width of intervals.
        step_ms: i64,
    },
}

impl Stretch<'_> {
    /// Places one value a start of an interval; what lies outside the stretch is left out.
    pub(super) fn place<T: Clone>(&self, values: impl Iterator<Item = (i64, Option<T>)> + Clone) -> Cells<T> {
        let idx = |t_ms: i64| match self {
            Self::Pre(grid) => grid.pre_idx(t_ms),
            Self::Run(grid) => grid.run_idx(t_ms),
            Self::Life { start_ms, step_ms } => {
                let idx = t_ms.saturating_sub(*start_ms).div_euclid((*step_ms).max(1));
                usize::try_from(idx).ok().filter(|idx| *idx < LIFE_MAX)
            }
        };
        let n = values.clone().filter_map(|(t_ms, _)| idx(t_ms)).max().map_or(0, |most| most + 1);
        let mut cells = vec![None; n];
        for (t_ms, value) in values {
            if let (Some(idx), Some(value)) = (idx(t_ms), value) {
                cells[idx] = Some(value);
            }
        }
        if matches!(self, Self::Pre(_)) {
            cells.reverse();
        }
        cells
    }

    pub(super) fn counts(&self, counts: &Counts) -> Cells<(f64, f64)> {
        let pairs = counts
            .events
            .iter()
            .zip(&counts.exposure)
            .map(|(events, exposure)| Some(((*events)?, (*exposure)?)));
        self.place(counts.t_ms.iter().copied().zip(pairs))
    }

    pub(super) fn series(&self, series: &Series) -> Cells<f64> {
        self.place(series.t_ms.iter().copied().zip(series.v.iter().copied()))
    }
}

/// Brings histories of different lengths to one: all end at the release.
pub(super) fn align_pre<T: Clone>(sides: &mut [&mut Cells<T>]) {
    let n = sides.iter().map(|cells| cells.len()).max().unwrap_or(0);
    for cells in sides {
        let lack = n - cells.len();
        if lack > 0 {
            let mut longer = vec![None; lack];
            longer.append(cells);
            **cells = longer;
        }
    }
}
