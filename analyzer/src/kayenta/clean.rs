//! What is done to a side's values before they are compared, and what is reported of them.

use super::settings::{NanStrategy, Settings};

/// What is reported of a side's cleaned values; all 0 where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation with `n - 1`.
    pub std: f64,
    /// How many.
    pub count: usize,
}

/// Cleans one side's values.
pub(super) fn clean(values: &[f64], settings: &Settings) -> Vec<f64> {
    let kept: Vec<f64> = match settings.nan_strategy {
        NanStrategy::Remove => values.iter().copied().filter(|value| !value.is_nan()).collect(),
        NanStrategy::Replace => {
            values.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect()
        }
    };
    match settings.outlier_factor {
        Some(factor) => without_outliers(kept, factor),
        None => kept,
    }
}

/// Leaves out what lies beyond both the fences and the outer percentiles.
fn without_outliers(values: Vec<f64>, factor: f64) -> Vec<f64> {
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let at = |p: f64| percentile(&sorted, p);
    let (Some(q1), Some(q3), Some(p1), Some(p99)) = (at(0.25), at(0.75), at(0.01), at(0.99)) else {
        return values;
    };
    let reach = factor * (q3 - q1);
    let (low, high) = (p1.min(q1 - reach), p99.max(q3 + reach));
    values.into_iter().filter(|value| (low..=high).contains(value)).collect()
}

/// Computes a percentile by linear interpolation at `1 + (n - 1) p` (Hyndman and Fan's type 7).
pub(super) fn percentile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = last as f64 * p;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (place - place.floor()) * (sorted[above] - sorted[below]))
}

impl Summary {
    /// Summarises cleaned values.
    pub(super) fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        Self {
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean: mean(values),
            std: deviation(values),
            count: values.len(),
        }
    }
}

/// Computes the mean in two passes, the second taking back the first's rounding.
pub(super) fn mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let rough = values.iter().sum::<f64>() / n;
    rough + values.iter().map(|value| value - rough).sum::<f64>() / n
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let (squares, sum) = (values.iter())
        .fold((0.0, 0.0), |(squares, sum), value| (squares + (value - mean).powi(2), sum + (value - mean)));
    ((squares - sum * sum / n) / (n - 1.0)).sqrt()
}
