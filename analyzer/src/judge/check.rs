//! What all procedures share: the looks they are asked for, and a check's own first of two.

use std::sync::Arc;

use greylight_store::model::Timestamp;

use crate::policy::{Amount, Check, Harm, Missing, Phase, Policy, Vote};
use crate::stats::boundary::{Boundary, planned_information};
use crate::verdict::{
    ByValue, Decision, Effect, LogEvidence, NewPods, PatternResult, QuantileEffect, Sizes, UnitValue, Values,
};

use super::grid::Grid;

/// What a check may spend, in a form the procedures share.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// The check's part of alpha.
    pub(super) alpha: f64,
    pub(super) alpha_go: f64,
    pub(super) n_looks: usize,
    /// Where the canary's share is planned to rise: each look's part of the information.
    pub(super) plan: Option<Arc<[f64]>>,
}

impl Budget {
    pub(super) fn new(policy: &Policy, phase: &Phase, alpha: f64, grid: &Grid) -> Self {
        let n_looks = grid.n_looks();
        let plan = (!phase.ramp.is_empty()).then(|| planned_information(&phase.ramp, n_looks).into());
        Self { alpha, alpha_go: policy.alpha_go.get(), n_looks, plan }
    }

    /// Returns what part of the information a look is planned to bring, where there is a plan; looks are counted from 0.
    pub(super) fn planned(&self, look: usize) -> f64 {
        self.plan.as_ref().and_then(|plan| plan.get(look)).copied().unwrap_or(0.0)
    }

    /// Returns the table for a part of the budget.
    pub(super) fn part(&self, parts: f64) -> Arc<Boundary> {
        Boundary::shared(self.alpha / parts, self.n_looks)
    }

    /// Returns the table of go.
    pub(super) fn go(&self) -> Arc<Boundary> {
        Boundary::shared(self.alpha_go, self.n_looks)
    }
}

/// What a procedure saw at one look.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Intervals present on both sides so far, after warm-up.
    pub(super) t: usize,
    /// Intervals after warm-up in which new pods were still settling: they count for nothing.
    pub(super) settling: usize,
    /// Whether the look's own interval is present on both sides.
    pub(super) is_present: bool,
    /// Which sides have ever had data since the phase began.
    pub(super) has_baseline: bool,
    pub(super) has_canary: bool,
    pub(super) p_harm: Option<f64>,
    pub(super) level: Option<f64>,
    pub(super) p_go: Option<f64>,
    pub(super) level_go: Option<f64>,
    pub(super) is_harm_crossed: bool,
    pub(super) is_go_crossed: bool,
    /// Whether the last ten intervals alone lie beyond the margin.
    pub(super) is_recent_beyond: bool,
    /// Whether a difference that the first intervals showed has gone since.
    pub(super) is_faded: bool,
    /// The interval since which harm is shown, where the release as a whole does not show it.
    pub(super) harm_since: Option<usize>,
    pub(super) effect: Option<Effect>,
    pub(super) effects: Vec<QuantileEffect>,
    pub(super) superiority: Option<Effect>,
    pub(super) values: Option<Values>,
    pub(super) n: Sizes,
    pub(super) units: Vec<UnitValue>,
    pub(super) spent: f64,
    /// What keeps it from go although `p_go` would do.
    pub(super) lack: Option<Lack>,
    /// Looks still needed for go: if a little better than it looks, and if exactly so.
    pub(super) looks_left: Option<(usize, usize)>,
    pub(super) method: &'static str,
    pub(super) patterns: Vec<PatternResult>,
    pub(super) logs: Option<LogEvidence>,
    pub(super) new_pods: Option<NewPods>,
    /// The value of the check's label that stands out most, where there is one test a value.
    pub(super) leading: Option<String>,
    pub(super) by: Vec<ByValue>,
}

impl Outcome {
    /// Tells whether enough of the intervals after warm-up and settling are present on both sides for a go.
    pub(super) fn is_complete(&self, n_warm: usize) -> bool {
        self.t as f64 >= PRESENT_MIN * n_warm.saturating_sub(self.settling) as f64
    }
}

/// What keeps a check from go.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lack {
    History {
        have: usize,
        need: usize,
    },
    Trials {
        have: f64,
        need: f64,
    },
    Events {
        have: f64,
        need: f64,
    },
    /// Values of the check's label that cannot go; in words.
    Values {
        what: String,
    },
    /// New pods that nothing says enough of; in words, what would.
    Births {
        what: String,
    },
    /// New pods that do not settle: births were still far off after this many intervals.
    Unsettled {
        intervals: usize,
    },
}

/// Two directions, or one, in which harm may lie.
pub(super) fn directions(harm: Harm) -> &'static [Direction] {
    match harm {
        Harm::Up => &[Direction::Up],
        Harm::Down => &[Direction::Down],
        Harm::Either => &[Direction::Up, Direction::Down],
    }
}

/// A direction of harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

impl Direction {
    pub(super) fn sign(self) -> f64 {
        match self {
            Self::Up => 1.0,
            Self::Down => -1.0,
        }
    }

    /// Returns the ratio of rates that a relative amount means in this direction.
    pub(super) fn ratio(self, part: f64) -> f64 {
        1.0 + self.sign() * part
    }
}

/// Writes a p as if it had been tested at another level: crossing stays crossing.
pub(super) fn rescaled(p: f64, level: f64, shown: f64) -> f64 {
    if level > 0.0 { (p * (shown / level)).min(1.0) } else { 1.0 }
}

/// Returns a relative amount's part; ratios and counts have no other tolerated harm.
pub(super) fn relative_part(amount: Amount) -> f64 {
    match amount {
        Amount::Relative(part) => part,
        Amount::Absolute(_) => 0.0,
    }
}

/// A check's own first of two, carried from look to look.
#[derive(Clone, Debug)]
pub(super) struct CheckState {
    pub(super) decision: Decision,
    pub(super) decided_at: Option<Timestamp>,
    /// Missing intervals in a row, after warm-up.
    pub(super) missing: u64,
    /// End of the last interval that was present.
    pub(super) last_present: Option<Timestamp>,
    pub(super) since: Option<Timestamp>,
    pub(super) is_missing_refused: bool,
}

/// After this many missing intervals in a row a check is missing.
pub(super) const MISSING_MAX: u64 = 10;
/// Intervals after warm-up before which nothing goes.
pub(super) const GO_LOOKS_MIN: usize = 10;
/// Part of the intervals that must be present on both sides for a go.
pub(super) const PRESENT_MIN: f64 = 0.9;

impl CheckState {
    pub(super) fn new() -> Self {
        Self {
            decision: Decision::Inconclusive,
            decided_at: None,
            missing: 0,
            last_present: None,
            since: None,
            is_missing_refused: false,
        }
    }

    /// Takes a look's outcome at the end of interval `i`, and moves to its own decision.
    ///
    /// Once harm is shown to be below the margin, no-go needs in addition that the last ten intervals
    /// alone lie beyond the margin: that is a part of no-go, so no alpha is spent twice.
    pub(super) fn update(&mut self, check: &Check, outcome: &Outcome, grid: &Grid, i: usize) {
        let at = Timestamp::from_millis(grid.end_ms(i));
        if grid.is_warm(i) {
            self.count_missing(outcome, grid, i);
        }
        if self.decision == Decision::NoGo {
            return;
        }
        let is_missing_refused =
            check.missing == Missing::NoGo && self.missing >= MISSING_MAX && check.vote != Vote::None;
        let is_harm = match self.decision {
            Decision::Go => outcome.is_harm_crossed && outcome.is_recent_beyond,
            _ => outcome.is_harm_crossed,
        };
        if is_harm || is_missing_refused {
            self.decision = Decision::NoGo;
            self.decided_at = Some(at);
            self.is_missing_refused = !is_harm;
            return;
        }
        if self.decision == Decision::Inconclusive && self.may_go(outcome, grid, i) {
            self.decision = Decision::Go;
            self.decided_at = Some(at);
        }
    }

    fn count_missing(&mut self, outcome: &Outcome, grid: &Grid, i: usize) {
        if outcome.is_present {
            self.missing = 0;
            self.since = None;
            self.last_present = Some(Timestamp::from_millis(grid.end_ms(i)));
        } else {
            self.missing += 1;
            self.since.get_or_insert(Timestamp::from_millis(grid.start_ms(i)));
        }
    }

    fn may_go(&self, outcome: &Outcome, grid: &Grid, i: usize) -> bool {
        outcome.is_go_crossed
            && outcome.lack.is_none()
            && outcome.t >= GO_LOOKS_MIN
            && outcome.is_complete(grid.n_warm(i))
    }
}
