//! One phase of one release, look by look.

use std::collections::BTreeSet;

use greylight_store::model::Timestamp;
use indexmap::IndexMap;

use crate::policy::{CheckKind, Phase, Policy, Vote};
use crate::verdict::{CheckResult, Decision, Reason, TimeLeft, Validity};

use super::before::Before;
use super::check::{Budget, GO_LOOKS_MIN, MISSING_MAX, Outcome};
use super::data::{CheckData, Sides};
use super::error::JudgeError;
use super::grid::{Grid, Stretch};
use super::means::MeanCheck;
use super::placed::{
    Placed, RunData, is_raw, place, place_by, place_fresh, place_units, place_users, unit_values,
};
use super::procedure::{CheckRun, Known, Procedure};
use super::share::{ShareResult, test_share};
use super::users::UserCheck;

/// When a phase of a release began, and what changed in it since.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhaseRun {
    /// Start of the release: history is what lies before.
    pub release_start_ms: i64,
    /// Start of the phase, on an edge.
    pub phase_start_ms: i64,
    /// The canary's share as the deploy tool declared it; else the policy's counts.
    pub traffic_share: Option<f64>,
    /// Moves of share or scope within the phase, in order; each warms up anew.
    pub shifts: Vec<Shift>,
    /// Ids of log templates that a person accepted: they count neither as new nor as more.
    pub accepted: BTreeSet<String>,
}

/// The deploy tool moved share or scope within a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// When.
    pub at_ms: i64,
    /// The share from then on.
    pub traffic_share: Option<f64>,
}

/// The state of a phase at one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The interval's index in the phase, from 0.
    pub interval: usize,
    /// End of the interval.
    pub at: Timestamp,
    /// The phase's first go or no-go, else inconclusive.
    pub decision: Decision,
    /// Whether it is decided or the phase's time has run out.
    pub is_final: bool,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
    /// Looks made after the warm-up so far.
    pub looks: u64,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Each check, in the policy's order.
    pub checks: Vec<CheckResult>,
    /// What makes the evidence trustworthy.
    pub validity: Vec<Validity>,
    /// What the checks of this phase have spent of alpha.
    pub alpha_spent: f64,
    /// 0 to 100, for clients that know scores only.
    pub score: u8,
    /// How long until a go.
    pub time_left: Option<TimeLeft>,
    /// Requests of baseline and canary in the phase, where a check counts them.
    pub requests: Option<[f64; 2]>,
}

/// One phase under way: made once from policy and history, then asked for each interval in turn.
#[derive(Clone, Debug)]
pub struct Analysis {
    pub(super) phase: Phase,
    alpha: f64,
    share_tolerance: f64,
    run: PhaseRun,
    pub(super) grid: Grid,
    pub(super) checks: Vec<CheckRun>,
    /// By check: what the canary's units did before, where that stands in for the baseline.
    before: Vec<Option<Before>>,
    pub(super) n_history: usize,
    pub(super) decided: Option<(Decision, Timestamp)>,
    standings: Standings,
}

/// Where one check stands after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether go waits for it.
    pub(crate) is_full: bool,
    /// Whether it refuses the release.
    pub(crate) refuses: bool,
    /// Whether it lets the release go at this look.
    pub(crate) goes: bool,
}

/// What a phase's decision is made of at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standings {
    /// In the policy's order.
    pub(crate) checks: Vec<Standing>,
    /// Whether a look may refuse: the warm-up is over.
    may_refuse: bool,
    /// Whether nothing but checks holds up a go.
    may_go: bool,
}

impl Standings {
    /// Returns the decision of this look alone.
    pub(crate) fn decision(&self) -> Option<Decision> {
        if !self.may_refuse {
            return None;
        }
        if self.checks.iter().any(|check| check.refuses) {
            return Some(Decision::NoGo);
        }
        let mut full = self.checks.iter().filter(|check| check.is_full).peekable();
        let goes = self.may_go && full.peek().is_some() && full.all(|check| check.goes);
        goes.then_some(Decision::Go)
    }
}

impl Analysis {
    /// Prepares a phase: learns from the history, runs the placebo releases.
    ///
    /// - `data`: by check name; only `pre` is read here.
    ///
    /// Takes some milliseconds a check for a day of one-minute intervals.
    ///
    /// # Errors
    /// [`JudgeError::Field`] if data does not fit its check's kind.
    pub fn new(
        policy: &Policy,
        phase: &Phase,
        run: PhaseRun,
        data: &IndexMap<String, CheckData>,
    ) -> Result<Self, JudgeError> {
        let grid = Grid::new(policy, phase, &run);
        let declared = run.traffic_share.or(phase.traffic_share);
        let mut checks = Vec::with_capacity(phase.checks.len());
        let mut before = Vec::with_capacity(phase.checks.len());
        let mut n_history = usize::MAX;
        for check in &phase.checks {
            let alpha = policy.budget(phase, check);
            let pre = data.get(&check.name).map(|data| data.pre.clone()).unwrap_or_default();
            let mut placed = match check.by {
                Some(_) => place_by(check, Stretch::Pre(&grid), &pre, "pre")?,
                None => place(check, Stretch::Pre(&grid), &pre, "pre")?,
            };
            placed.leave_out(&run.accepted);
            before.push(if phase.is_before { Before::learn(&mut placed) } else { None });
            if !matches!(check.kind, CheckKind::Users { .. } | CheckKind::Composite) {
                n_history = n_history.min(placed.n_present());
            }
            let known = Known {
                pre: placed,
                births: data.get(&check.name).map(|data| data.births.as_slice()).unwrap_or_default(),
                declared_share: declared,
                is_raw: is_raw(&pre),
                units: place_units(Stretch::Pre(&grid), &pre),
                warm_up: grid.first_warm(),
                step_ms: i64::try_from(grid.interval_ms()).unwrap_or(i64::MAX),
            };
            checks.push(CheckRun::new(check, Budget::new(policy, phase, alpha, &grid), known));
        }
        let means: Vec<MeanCheck> = checks.iter().filter_map(CheckRun::as_mean).cloned().collect();
        checks.iter_mut().for_each(|check| check.learn(&means.iter().collect::<Vec<_>>()));
        Ok(Self {
            phase: phase.clone(),
            alpha: policy.alpha.get(),
            share_tolerance: policy.share_tolerance,
            run,
            grid,
            checks,
            before,
            // Without a check that has a history there is none.
            n_history: if n_history == usize::MAX { 0 } else { n_history },
            decided: None,
            standings: Standings::default(),
        })
    }

    /// Keeps some of the checks, by their places in the phase; each with the budget that it has beside the others.
    pub(crate) fn only(&self, kept: &[usize]) -> Self {
        let of = |idx: &usize| Some((self.phase.checks.get(*idx)?.clone(), self.checks.get(*idx)?.clone()));
        let (own, checks) = kept.iter().filter_map(of).unzip();
        let before = kept.iter().filter_map(|idx| self.before.get(*idx).cloned()).collect();
        let phase = Phase { checks: own, ..self.phase.clone() };
        Self {
            phase,
            alpha: self.alpha,
            share_tolerance: self.share_tolerance,
            run: self.run.clone(),
            grid: self.grid.clone(),
            checks,
            before,
            n_history: self.n_history,
            decided: self.decided,
            standings: Standings::default(),
        }
    }

    /// Leaves estimates, limits and times out of later looks, or takes them in again; decisions are the same.
    pub(crate) fn set_quiet(&mut self, is_quiet: bool) {
        self.checks.iter_mut().for_each(|run| run.set_quiet(is_quiet));
    }

    /// Returns where the checks stand since the last look.
    pub(crate) fn standings(&self) -> &Standings {
        &self.standings
    }

    /// Tells of each check whether it lost its vote.
    pub(crate) fn restless(&self) -> impl Iterator<Item = bool> + '_ {
        self.checks.iter().map(CheckRun::is_restless)
    }

    /// Places the run's data on the phase's intervals.
    ///
    /// # Errors
    /// [`JudgeError::Field`] if data does not fit its check's kind.
    pub fn place(&self, data: &IndexMap<String, CheckData>) -> Result<RunData, JudgeError> {
        let nothing = Sides::default();
        let mut run = RunData::default();
        for (one, before) in self.checks.iter().zip(&self.before) {
            let data = data.get(&one.check.name);
            let sides = data.map_or(&nothing, |data| &data.run);
            let stretch = Stretch::Run(&self.grid);
            let mut placed = match (&one.check.kind, data) {
                (CheckKind::Users { .. }, Some(data)) => place_users(&one.check, &self.grid, data)?,
                _ if one.check.by.is_some() => place_by(&one.check, stretch, sides, "data")?,
                _ => place(&one.check, stretch, sides, "data")?,
            };
            place_fresh(&mut placed, stretch, data.and_then(|data| data.fresh.as_ref()));
            if let Some(before) = before {
                before.stand_in(&mut placed);
            }
            placed.leave_out(&self.run.accepted);
            run.checks.push(placed);
            run.units.push(place_units(Stretch::Run(&self.grid), sides));
        }
        Ok(run)
    }

    /// Returns the index of the phase's last interval: later ones have nothing left to spend.
    pub fn last_interval(&self) -> usize {
        self.grid.last()
    }

    /// Returns the end of an interval, in epoch milliseconds.
    pub fn interval_end_ms(&self, interval: usize) -> i64 {
        self.grid.end_ms(interval)
    }

    /// Returns the interval of the phase that holds an instant, if it is one of the phase.
    pub fn interval_at(&self, t_ms: i64) -> Option<usize> {
        self.grid.run_idx(t_ms)
    }

    /// Notes that the deploy tool moved share or scope; intervals in its warm-up count as missing.
    pub fn shift(&mut self, policy: &Policy, shift: Shift) {
        self.run.shifts.push(shift);
        self.grid = Grid::new(policy, &self.phase, &self.run);
    }

    /// Looks at the end of an interval. Intervals must be asked for in order, each once; data of later
    /// intervals is not looked at.
    pub fn look(&mut self, interval: usize, data: &RunData) -> Look {
        let (grid, nothing) = (&self.grid, Placed::Nothing);
        let mut outcomes = Vec::with_capacity(self.checks.len());
        for (idx, run) in self.checks.iter_mut().enumerate() {
            let placed = data.checks.get(idx).unwrap_or(&nothing);
            let units = data.units.get(idx).map(Vec::as_slice).unwrap_or_default();
            let mut outcome = run.look(grid, interval, placed, units);
            if let Some(n) = self.before.get(idx).and_then(Option::as_ref).and_then(Before::n_values) {
                outcome.n.baseline = n;
            }
            if !units.is_empty() {
                outcome.units = unit_values(units, grid, interval);
            }
            run.crossing = match placed {
                Placed::Users(cells) => UserCheck::crossing(cells, interval),
                _ => None,
            };
            outcomes.push(outcome);
        }
        let means: Vec<&MeanCheck> = self.checks.iter().filter_map(CheckRun::as_mean).collect();
        for (run, outcome) in self.checks.iter().zip(&mut outcomes) {
            if let Procedure::Composite(composite) = &run.procedure {
                *outcome = composite.look(&means);
            }
        }
        for (run, outcome) in self.checks.iter_mut().zip(&outcomes) {
            run.update(outcome, grid, interval);
        }
        // Where nothing runs beside the canary no share can be told.
        let exposure =
            if self.phase.is_before { None } else { data.checks.iter().find_map(Placed::exposure) };
        let share = exposure.as_ref().and_then(|exposure| self.share(exposure, interval));
        self.decide(interval, &outcomes, share.as_ref());
        self.answer(interval, &outcomes, share, exposure.as_ref())
    }

    fn share(&self, exposure: &[Vec<Option<f64>>; 2], i: usize) -> Option<ShareResult> {
        let moved = self.run.shifts.iter().rev().find(|shift| shift.at_ms < self.grid.end_ms(i));
        let declared = moved.and_then(|shift| shift.traffic_share);
        let declared = declared.or(self.run.traffic_share).or(self.phase.traffic_share);
        test_share(declared, self.share_tolerance, self.alpha, exposure, &self.grid, i)
    }

    /// Makes the phase's own first of two; once made it stays.
    fn decide(&mut self, i: usize, outcomes: &[Outcome], share: Option<&ShareResult>) {
        self.standings = self.stand(i, outcomes, share);
        if self.decided.is_none() {
            let at = Timestamp::from_millis(self.grid.end_ms(i));
            self.decided = self.standings.decision().map(|decision| (decision, at));
        }
    }

    fn stand(&self, i: usize, outcomes: &[Outcome], share: Option<&ShareResult>) -> Standings {
        let n_warm = self.grid.n_warm(i);
        let stand = |(run, outcome): (&CheckRun, &Outcome)| Standing {
            is_full: run.check.vote == Vote::Full,
            refuses: run.refuses(),
            goes: run.state.decision == Decision::Go
                && !run.is_restless()
                && run.state.missing < MISSING_MAX
                && outcome.is_complete(n_warm),
        };
        Standings {
            checks: self.checks.iter().zip(outcomes).map(stand).collect(),
            may_refuse: n_warm > 0,
            may_go: n_warm >= GO_LOOKS_MIN
                && self.grid.until_ms(i, self.phase.at_least.millis()) == 0
                && !share.is_some_and(|share| share.is_mismatch),
        }
    }
}
