//! Differences of one counter, booked by interval.

use std::sync::Arc;

use greylight_store::model::Histogram;
use greylight_store::read::Samples;

use super::Grid;

/// What came before a series' first sample in the read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Before {
    /// An earlier sample, however old.
    Value(f64),
    /// An earlier native histogram.
    Histogram(Arc<Histogram>),
    /// Never stored before, and its unit was already scraped: it was born since, at zero.
    Zero,
    /// Never stored before, like its unit: what it counted until then is not known.
    Unknown,
}

/// Adds a counter's increases to the intervals where the later sample of each pair lies, and marks
/// those in which it has a sample.
///
/// Reset-aware: a value below the one before counts from zero. NaN (stale markers) and infinities
/// are no samples.
pub(crate) fn book(
    samples: Samples<'_>,
    before: &Before,
    grid: &Grid,
    sums: &mut [f64],
    present: &mut [bool],
) {
    let mut last = match before {
        Before::Value(value) => Some(*value),
        Before::Zero => Some(0.0),
        Before::Unknown | Before::Histogram(_) => None,
    };
    for (&t_ms, &value) in samples.t_ms.iter().zip(samples.values) {
        if !value.is_finite() {
            continue;
        }
        if let Some(i) = grid.index(t_ms) {
            present[i] = true;
            if let Some(last) = last {
                sums[i] += if value < last { value } else { value - last };
            }
        }
        last = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRID: Grid = Grid { start_ms: 0, step_ms: 10, n: 3 };

    #[track_caller]
    fn check(t_ms: &[i64], values: &[f64], before: Before, sums: [f64; 3], present: [bool; 3]) {
        let (mut s, mut p) = ([0.0; 3], [false; 3]);
        book(Samples { t_ms, values, histograms: &[], counts: &[] }, &before, &GRID, &mut s, &mut p);
        assert_eq!((s, p), (sums, present));
    }

    #[test]
    fn an_increase_is_booked_where_its_later_sample_lies() {
        check(&[-5, 5, 25], &[10.0, 12.0, 15.0], Before::Unknown, [2.0, 0.0, 3.0], [true, false, true]);
    }

    #[test]
    fn a_reset_counts_from_zero() {
        check(&[1, 11, 21], &[10.0, 4.0, 6.0], Before::Value(8.0), [2.0, 4.0, 2.0], [true; 3]);
    }

    #[test]
    fn a_newborn_series_counts_in_full_only_where_its_unit_was_known() {
        check(&[11], &[7.0], Before::Zero, [0.0, 7.0, 0.0], [false, true, false]);
        check(&[11], &[7.0], Before::Unknown, [0.0; 3], [false, true, false]);
    }

    #[test]
    fn stale_markers_are_no_samples() {
        check(&[1, 11, 21], &[1.0, f64::NAN, 3.0], Before::Zero, [1.0, 0.0, 2.0], [true, false, true]);
    }

    proptest! {
        #[test]
        fn without_resets_the_sum_is_the_whole_increase(steps in proptest::collection::vec(0u32..100, 1..30)) {
            let mut total = 0.0;
            let values: Vec<f64> = steps.iter().map(|&s| { total += f64::from(s); total }).collect();
            let t_ms: Vec<i64> = (0..values.len() as i64).collect();
            let grid = Grid { start_ms: 0, step_ms: 7, n: 6 };
            let (mut sums, mut present) = (vec![0.0; 6], vec![false; 6]);
            book(Samples { t_ms: &t_ms, values: &values, histograms: &[], counts: &[] }, &Before::Zero, &grid, &mut sums, &mut present);
            prop_assert_eq!(sums.iter().sum::<f64>(), total);
        }
    }
}
