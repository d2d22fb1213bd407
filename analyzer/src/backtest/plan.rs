//! What a backtest is to do.

use crate::policy::{Phase, Policy};

/// What a backtest is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The policy that judges.
    pub policy: Policy,
    /// Units that play the canary; at least one.
    pub canary_hosts: usize,
    /// Placebo releases to judge; at least one.
    pub runs: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// Effects to put into the canary's data, one after the other.
    pub effects: Vec<Injection>,
    /// Which units play the canary.
    pub placebos: PlaceboKind,
}

/// A size of harm that is put into real data, and how it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// As it was asked for, such as `10%`.
    pub text: String,
    /// Part of what was there, `0.1` for 10 %; positive.
    pub part: f64,
}

/// Which units play the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceboKind {
    /// Starts of the service's pods where there are enough of them, else any units.
    Auto,
    /// Any units, each with its own history: what a release does that restarts processes in place.
    Splits,
    /// Pods that started, without history: what a release does that replaces pods.
    Births,
}

impl PlaceboKind {
    pub(super) const ALL: [Self; 3] = [Self::Auto, Self::Splits, Self::Births];

    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Splits => "splits",
            Self::Births => "births",
        }
    }
}

/// Why a backtest ended without a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Nobody wants it any more.
    #[error("the backtest was ended")]
    Cancelled,
    /// The stored history does not allow what was asked.
    #[error("{text}")]
    Unfit {
        /// The field of the request that would help.
        field: &'static str,
        /// What is wrong and what would do.
        text: String,
    },
}

impl Plan {
    pub(super) fn interval_ms(&self) -> i64 {
        i64::try_from(self.policy.interval.millis()).unwrap_or(i64::MAX).max(1)
    }

    /// Returns how many intervals of history a release uses.
    pub(super) fn n_pre(&self) -> usize {
        let n = self.policy.pre_period.millis() / self.policy.interval.millis().max(1);
        usize::try_from(n).unwrap_or(usize::MAX)
    }

    /// Returns the intervals of a phase: its warm-up and its looks.
    pub(super) fn n_phase(&self, phase: &Phase) -> usize {
        let warm = self.policy.warm_up.millis().div_ceil(self.policy.interval.millis().max(1));
        usize::try_from(warm).unwrap_or(usize::MAX).saturating_add(phase.n_looks(&self.policy.interval))
    }

    /// Returns how many intervals a release lasts at most: all phases, each after the edge that follows the delay of
    /// the look that ended the one before.
    pub(super) fn n_release(&self) -> usize {
        let phases = self.policy.phases.iter().map(|phase| self.n_phase(phase));
        phases
            .fold(0_usize, usize::saturating_add)
            .saturating_add(self.n_gap() * (self.policy.phases.len() - 1))
    }

    /// Returns the intervals between a phase's last look and the next phase.
    pub(super) fn n_gap(&self) -> usize {
        let n = self.policy.delay.millis().div_ceil(self.policy.interval.millis().max(1));
        usize::try_from(n).unwrap_or(usize::MAX)
    }
}

/// What a check is called: its phase and its name.
pub(super) fn full_name(phase: &Phase, check: &str) -> String {
    format!("{}/{check}", phase.name)
}
