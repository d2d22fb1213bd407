//! Whether values are compared as they are or by their logarithms, and how large amounts are there.

use crate::policy::{Amount, Check, Harm};

use super::check::directions;

/// Whether values are compared as they are or by their logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    Linear,
    /// A value that is not positive counts as the floor.
    Log {
        floor: f64,
    },
}

impl Scale {
    /// Chooses for a mean check whose old pods had these values before the release.
    pub(crate) fn of_pods(check: &Check, values: impl Iterator<Item = f64>) -> Self {
        Self::choose(check.margin.as_ref().map(|margin| margin.amount), check.tolerated, values)
    }

    /// Chooses logarithms where the amounts are relative and every value is positive.
    pub(super) fn choose(
        margin: Option<Amount>,
        tolerated: Amount,
        values: impl Iterator<Item = f64>,
    ) -> Self {
        let is_relative = match (margin, tolerated) {
            (Some(Amount::Relative(_)), Amount::Relative(_)) => true,
            (None, Amount::Relative(part)) => part > 0.0,
            _ => false,
        };
        let least = values.fold(f64::INFINITY, f64::min);
        if is_relative && least > 0.0 && least.is_finite() {
            Self::Log { floor: least }
        } else {
            Self::Linear
        }
    }

    pub(crate) fn apply(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log { floor } => value.max(floor).ln(),
        }
    }

    /// Turns an amount of harm into the scale of the differences, for each direction tested.
    pub(super) fn sizes(self, harm: Harm, amount: Amount, baseline_mean: f64) -> [f64; 2] {
        let mut sizes = [0.0; 2];
        for (size, direction) in sizes.iter_mut().zip(directions(harm)) {
            *size = match (amount, self) {
                (Amount::Absolute(number), _) => number,
                (Amount::Relative(part), Self::Log { .. }) => direction.sign() * direction.ratio(part).ln(),
                (Amount::Relative(part), Self::Linear) => part * baseline_mean.abs(),
            };
        }
        sizes
    }

    /// Returns how a difference is shown: as it is, or as a ratio less one.
    pub(super) fn shown(self, difference: f64) -> f64 {
        match self {
            Self::Linear => difference,
            Self::Log { .. } => difference.exp_m1(),
        }
    }
}
