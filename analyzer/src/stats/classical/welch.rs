//! Welch's t test: means of two samples whose variances may differ.

use super::super::special::StudentTail;
use super::{StatError, Tails, check};

/// Result of [`welch`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// Canary's mean less baseline's, in the values' unit.
    pub difference: f64,
    /// Standard error of the difference.
    pub error: f64,
    /// `difference / error`.
    pub t: f64,
    /// Degrees of freedom by Welch and Satterthwaite.
    pub df: f64,
    /// Chances of a `t` at least as far out.
    pub p: Tails,
}

impl Welch {
    /// Computes the confidence interval of the difference for a chance `alpha`, in (0, 1), to miss it.
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let reach = StudentTail::new(self.df).isf(0.5 * alpha) * self.error;
        (self.difference - reach, self.difference + reach)
    }
}

/// Tests whether the means differ.
///
/// - `baseline`, `canary`: two or more finite values each, any order, same unit, independent.
///
/// # Errors
/// [`StatError`] if a side has fewer than two values or one that is not finite, or neither varies.
///
/// Source: Welch, "The generalization of 'Student's' problem when several different population
/// variances are involved", Biometrika 34, 1947.
pub fn welch(baseline: &[f64], canary: &[f64]) -> Result<Welch, StatError> {
    check(baseline, 2)?;
    check(canary, 2)?;
    let (mean_b, part_b) = mean_and_error(baseline);
    let (mean_c, part_c) = mean_and_error(canary);
    let (difference, square) = (mean_c - mean_b, part_b + part_c);
    let error = square.sqrt();
    // A spread far below what the means can resolve is rounding.
    if error.is_nan() || error <= f64::EPSILON * mean_b.abs().max(mean_c.abs()) {
        return Err(StatError::NoSpread);
    }
    let df = square * square
        / (part_b * part_b / (baseline.len() as f64 - 1.0) + part_c * part_c / (canary.len() as f64 - 1.0));
    let t = difference / error;
    let tail = StudentTail::new(df);
    Ok(Welch { difference, error, t, df, p: Tails::doubled(tail.sf(-t), tail.sf(t)) })
}

/// Returns the mean and its squared standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (n - 1.0) / n)
}
