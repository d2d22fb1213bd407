//! The declared traffic share against what was measured since it was last declared.

use crate::stats::share::ShareCount;

use super::grid::Grid;

/// What the share test says at a look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ShareResult {
    pub(super) declared: Option<f64>,
    pub(super) measured: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether the whole confidence sequence lies outside the tolerance.
    pub(super) is_mismatch: bool,
}

/// Tests the share of a look's exposure; `None` where nothing was counted.
pub(super) fn test_share(
    declared: Option<f64>,
    tolerance: f64,
    alpha: f64,
    exposure: &[Vec<Option<f64>>; 2],
    grid: &Grid,
    i: usize,
) -> Option<ShareResult> {
    let mut count = ShareCount::default();
    for idx in grid.since_shift(i)..=i {
        let at = |side: usize| exposure[side].get(idx).copied().flatten();
        if let (true, Some(baseline), Some(canary)) = (grid.is_warm(idx), at(0), at(1)) {
            count.baseline += baseline;
            count.canary += canary;
        }
    }
    let measured = count.measured()?;
    let (low, high) = count.interval(alpha);
    let is_mismatch =
        declared.is_some_and(|share| high < share * (1.0 - tolerance) || low > share * (1.0 + tolerance));
    Some(ShareResult { declared, measured, low, high, is_mismatch })
}
