//! What a comparison of users will be able to show.

use crate::policy::Amount;
use crate::stats::special::{normal_isf, normal_sf};
use crate::stats::users::USERS_MIN;
use crate::verdict::Measure;

use super::super::check::{Direction, Lack};
use super::super::data::Data;
use super::super::foretell::{Expected, POWER, Reach, Size, first_look};
use super::{AMOUNT_TESTS, UserCheck, ValueKind};

/// What users did before the release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::judge) struct UsualUsers {
    /// How many.
    n: f64,
    /// Milliseconds from the first sight of the first to that of the last.
    span_ms: f64,
    mean: f64,
    /// Standard deviation over the mean.
    scatter: f64,
    is_binary: bool,
}

impl UsualUsers {
    /// Sums up a side's history; `None` without users, or where they are worth nothing.
    pub(in crate::judge) fn new(data: &Data) -> Option<Self> {
        let Data::Users(rows) = data else { return None };
        let seen: Vec<(i64, f64)> = rows
            .users
            .iter()
            .filter_map(|user| Some((user.updates.first()?.0, user.updates.last()?.1)))
            .collect();
        let n = seen.len() as f64;
        let mean = seen.iter().map(|(_, value)| value).sum::<f64>() / n;
        let variance = seen.iter().map(|(_, value)| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let first = seen.iter().map(|(at, _)| *at).min()?;
        let last = seen.iter().map(|(at, _)| *at).max()?;
        let is_binary = seen.iter().all(|(_, value)| *value == 0.0 || *value == 1.0);
        let usual =
            Self { n, span_ms: (last - first) as f64, mean, scatter: variance.sqrt() / mean, is_binary };
        (usual.mean > 0.0 && usual.scatter.is_finite() && usual.span_ms > 0.0).then_some(usual)
    }
}

impl UserCheck {
    /// Takes users to come as they came before; those who come again make it fewer, which is not known beforehand.
    pub(in crate::judge) fn foretell(&self, usual: &UsualUsers, expected: &Expected, step_ms: f64) -> Reach {
        let of_units = expected.canary as f64 / (expected.canary + expected.baseline).max(1) as f64;
        let share = expected.share.unwrap_or(of_units).clamp(1e-6, 1.0 - 1e-6);
        let n_looks = self.budget.n_looks;
        let is_conversion = match self.value {
            Some(value) => value == ValueKind::Conversion,
            None => usual.is_binary,
        };
        let users = |t: usize| usual.n / usual.span_ms * step_ms * t as f64;
        // Standard error of the relative difference.
        let error =
            |t: usize| usual.scatter * (1.0 / (share * users(t)) + 1.0 / ((1.0 - share) * users(t))).sqrt();
        let parts = self.harm.len() as f64 * if is_conversion { 1.0 } else { AMOUNT_TESTS };
        let z = normal_isf(self.budget.part(parts).nominal(n_looks));
        let shift = self.tolerated + (z + POWER) * error(n_looks);
        let is_down = self.harm[0].0 == Direction::Down;
        // Less than nothing cannot be: such a loss is not found.
        let shift = Some(shift).filter(|shift| shift.is_finite() && !(is_down && *shift >= 1.0));
        let margin = self.margin.map(|margin| match margin {
            Amount::Relative(part) => part,
            Amount::Absolute(number) => number / usual.mean,
        });
        let goes = |t: usize| {
            let least = share.min(1.0 - share) * users(t);
            let is_enough = is_conversion || least >= USERS_MIN as f64;
            is_enough
                && margin.is_some_and(|margin| normal_sf(margin / error(t)) <= self.go_levels.nominal(t))
        };
        let least = share.min(1.0 - share) * users(n_looks);
        let need = USERS_MIN as f64;
        Reach {
            shift: shift.map(|part| match self.margin {
                Some(Amount::Absolute(_)) => {
                    Size { value: part * usual.mean, measure: Measure::Difference, unit: "value" }
                }
                _ => Size::relative(part),
            }),
            go_looks: first_look(n_looks, goes),
            lack: (!is_conversion && least < need).then_some(Lack::Trials { have: least, need }),
            method: if is_conversion {
                "U: users who convert, drawn from those of their arrival who still may"
            } else {
                "U: amounts by user, clipped, and their logarithms"
            },
            ..Reach::default()
        }
    }
}
