//! What log patterns will be able to show.

use crate::verdict::Measure;

use super::super::foretell::{Expected, Reach, Size};
use super::PatternCheck;

impl PatternCheck {
    /// The shift is the number of pattern-minutes on the canary alone that refuse a pattern which nobody had before: exact,
    /// and without a history.
    pub(in crate::judge) fn foretell(&self, expected: &Expected) -> Reach {
        let of_units = expected.canary as f64 / (expected.canary + expected.baseline).max(1) as f64;
        let share = expected.share.unwrap_or(of_units);
        let needed = ((0.5 * self.budget.alpha).ln() / share.ln()).ceil();
        let size = Size { value: needed, measure: Measure::Difference, unit: "min" };
        Reach {
            shift: Some(size).filter(|size| size.value.is_finite() && size.value > 0.0),
            method: "L: unseen patterns pooled and exact, seen ones by weighted bets",
            ..Reach::default()
        }
    }
}
