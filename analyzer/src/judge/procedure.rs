//! A check under way: its procedure, its own first of two, and what its history says of it.

use greylight_store::model::Timestamp;
use indexmap::IndexMap;

use crate::policy::{By, Check, CheckKind, Vote};
use crate::stats::dispersion::{EventLaw, Scatter};
use crate::stats::means::GO_HISTORY_MIN;
use crate::stats::pod_rates::RateSpread;
use crate::stats::rates::Rate;
use crate::verdict::{Cause, Decision};

use super::by::ByCheck;
use super::check::{Budget, CheckState, Outcome};
use super::composite::CompositeCheck;
use super::counts::{self, CountCells, CountCheck, Usual};
use super::data::BirthData;
use super::describe;
use super::grid::Grid;
use super::means::{self, MeanCheck, MeanRun};
use super::patterns::{PatternCells, PatternCheck, PatternHistory};
use super::placed::{Placed, UnitCells};
use super::pods::{self, PodCheck, PodScores};
use super::scores::{BucketCells, BucketRun, ScoreCheck};
use super::users::{UserCells, UserCheck};

/// One check of a phase.
#[derive(Clone, Debug)]
pub(super) struct CheckRun {
    pub(super) check: Check,
    /// Its part of alpha.
    pub(super) budget: f64,
    pub(super) state: CheckState,
    /// What its own decision fell by; later looks may show something else.
    cause: Option<Cause>,
    pub(super) placebo: Placebo,
    /// Users on both sides, and all, where there are too many of them.
    pub(super) crossing: Option<(u64, u64)>,
    pub(super) procedure: Procedure,
    /// What was counted before, where counts are compared.
    pub(super) usual: Option<Usual>,
}

/// Which procedure judges a check.
#[derive(Clone, Debug)]
pub(super) enum Procedure {
    Counts(Box<CountCheck>),
    Means(Box<MeanCheck>),
    Pods(Box<PodCheck>),
    Scores(Box<ScoreCheck>),
    PodScores(Box<PodScores>),
    Patterns(Box<PatternCheck>),
    Users(Box<UserCheck>),
    By(Box<ByCheck>),
    /// Fed with what the mean checks saw, after them.
    Composite(Box<CompositeCheck>),
}

/// Placebo releases in the history.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Placebo {
    pub(super) runs: u64,
    pub(super) alarms: u64,
    pub(super) is_restless: bool,
}

/// Above this the binomial is not trusted, and the shares of intervals are compared as means.
const BINOMIAL_EVENTS_MAX: f64 = 3_000.0;

/// What is known of a check before its phase begins.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) pre: Placed,
    pub(super) births: &'a [BirthData],
    pub(super) declared_share: Option<f64>,
    /// Whether a distribution comes as raw values.
    pub(super) is_raw: bool,
    /// Counts of single units in the history.
    pub(super) units: Vec<UnitCells>,
    /// Intervals of the warm-up.
    pub(super) warm_up: usize,
    /// Milliseconds of an interval.
    pub(super) step_ms: i64,
}

impl Known<'_> {
    /// Learns how rates differ between pods, from the units' histories and earlier starts.
    fn rate_spread(&self) -> Option<RateSpread> {
        let units = self.units.iter().map(|unit| unit.sum(usize::MAX, |_| true));
        RateSpread::new(units.chain(self.births.iter().filter_map(|birth| birth.counted)))
    }
}

impl CheckRun {
    pub(super) fn new(check: &Check, budget: Budget, known: Known<'_>) -> Self {
        let alpha = budget.alpha;
        let usual = match &known.pre {
            Placed::Counts(pre) => Usual::new(pre),
            _ => None,
        };
        let (procedure, placebo) = match &known.pre {
            Placed::Counts(pre) => count_procedure(check, budget, pre, &known),
            Placed::Hosts(pre) => pod_procedure(check, &budget, pre, &known)
                .unwrap_or_else(|| mean_procedure(check, budget, pre.clone(), "value")),
            Placed::Buckets(pre) => pod_score_procedure(check, &budget, pre, &known)
                .unwrap_or_else(|| score_procedure(check, budget, pre, known.is_raw)),
            Placed::Patterns(pre) => {
                let severity = match check.kind {
                    CheckKind::Patterns { severity, .. } => severity,
                    _ => None,
                };
                let history = PatternHistory::new(pre.clone(), severity);
                let placebo = placebo(history.n_placebo(), budget.n_looks, alpha, |start| {
                    history.placebo_alarm(&budget, start)
                });
                (Procedure::Patterns(Box::new(PatternCheck::new(check, budget, pre))), placebo)
            }
            Placed::By(pre) => Self::by_value(check, &budget, pre, &known),
            Placed::Nothing | Placed::Users(_) => {
                Self::without_history(check, budget, known.declared_share, known.is_raw)
            }
        };
        Self {
            check: check.clone(),
            budget: alpha,
            state: CheckState::new(),
            cause: None,
            placebo,
            crossing: None,
            procedure,
            usual,
        }
    }

    fn without_history(
        check: &Check,
        budget: Budget,
        declared_share: Option<f64>,
        is_raw: bool,
    ) -> (Procedure, Placebo) {
        let procedure = match check.kind {
            CheckKind::Ratio { .. } | CheckKind::Count { .. } => {
                let none = [Vec::new(), Vec::new()];
                Procedure::Counts(Box::new(CountCheck::new(check, budget, &none, declared_share)))
            }
            CheckKind::Mean { .. } => {
                Procedure::Means(Box::new(MeanCheck::new(check, budget, MeanRun::default(), "value")))
            }
            CheckKind::Distribution { .. } => {
                let none = [BucketCells::default(), BucketCells::default()];
                Procedure::Scores(Box::new(ScoreCheck::new(check, budget, none, is_raw)))
            }
            CheckKind::Users { .. } => Procedure::Users(Box::new(UserCheck::new(check, budget))),
            CheckKind::Composite => Procedure::Composite(Box::new(CompositeCheck::new(budget))),
            CheckKind::Patterns { .. } => {
                let none = [PatternCells::default(), PatternCells::default()];
                Procedure::Patterns(Box::new(PatternCheck::new(check, budget, &none)))
            }
        };
        (procedure, Placebo::default())
    }

    fn by_value(
        check: &Check,
        budget: &Budget,
        pre: &IndexMap<String, Placed>,
        known: &Known<'_>,
    ) -> (Procedure, Placebo) {
        let by = check.by.clone().unwrap_or(By { name: String::new(), limit: 0 });
        let run = ByCheck::new(check, &by, budget, pre, known);
        let placebo = run.placebo();
        (Procedure::By(Box::new(run)), placebo)
    }

    /// Looks; the check's own decision is made by [`CheckRun::update`].
    pub(super) fn look(&mut self, grid: &Grid, i: usize, placed: &Placed, units: &[UnitCells]) -> Outcome {
        let mut outcome = self.procedure.look(grid, i, placed, units);
        if let (Procedure::Means(_), Placed::Counts(sides)) = (&self.procedure, placed) {
            outcome.lack = outcome.lack.or_else(|| counts::lack_of(&self.check, grid, i, sides));
        }
        outcome
    }

    /// Looks as a test of its own inside another check.
    pub(super) fn look_alone(&mut self, grid: &Grid, i: usize, placed: &Placed) -> Outcome {
        let outcome = self.look(grid, i, placed, &[]);
        self.update(&outcome, grid, i);
        outcome
    }

    /// Returns what a composite check is fed with: differences of means, not those of counts as shares.
    pub(super) fn as_mean(&self) -> Option<&MeanCheck> {
        match &self.procedure {
            Procedure::Means(run) if matches!(self.check.kind, CheckKind::Mean { .. }) => Some(run),
            _ => None,
        }
    }

    /// Teaches a composite check from the mean checks' histories, and judges these against themselves.
    pub(super) fn learn(&mut self, means: &[&MeanCheck]) {
        if let Procedure::Composite(run) = &mut self.procedure {
            run.learn(means);
            let (n, n_looks) = (run.n_placebo(), run.n_looks());
            self.placebo = placebo(n, n_looks, self.budget, |start| run.placebo_alarm(start));
        }
    }

    /// Tells whether the check has no vote, since placebo releases alarmed or users crossed sides.
    pub(super) fn is_restless(&self) -> bool {
        self.placebo.is_restless || self.crossing.is_some()
    }

    /// Leaves out of later looks what only shows how a decision came about, or takes it in again. That is most of a
    /// look's work.
    pub(super) fn set_quiet(&mut self, is_quiet: bool) {
        match &mut self.procedure {
            Procedure::Counts(run) => run.is_quiet = is_quiet,
            Procedure::Means(run) => run.is_quiet = is_quiet,
            Procedure::Scores(run) => run.terms.is_quiet = is_quiet,
            Procedure::PodScores(run) => run.terms.is_quiet = is_quiet,
            Procedure::By(run) => run.tests_mut().for_each(|run| run.set_quiet(is_quiet)),
            Procedure::Pods(_) | Procedure::Patterns(_) | Procedure::Users(_) | Procedure::Composite(_) => {}
        }
    }

    /// Tells whether this check refuses the release.
    pub(super) fn refuses(&self) -> bool {
        let may_vote =
            self.check.vote != Vote::None && (!self.is_restless() || self.state.is_missing_refused);
        may_vote && self.state.decision == Decision::NoGo
    }

    /// Moves to the check's own decision, and keeps what it fell by.
    pub(super) fn update(&mut self, outcome: &Outcome, grid: &Grid, i: usize) {
        let before = self.state.decision;
        self.state.update(&self.check, outcome, grid, i);
        if self.state.decision == before {
            return;
        }
        self.cause = match self.state.decision {
            Decision::NoGo if self.state.is_missing_refused => {
                Some(Cause::Missing { intervals: self.state.missing })
            }
            Decision::NoGo => {
                let since = outcome.harm_since.map(|idx| Timestamp::from_millis(grid.start_ms(idx)));
                Some(describe::harm_shown(&self.check, outcome, since))
            }
            Decision::Go => Some(describe::below_margin(&self.check, outcome)),
            Decision::Inconclusive => None,
        };
    }

    /// Returns what its own decision fell by.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause.clone()
    }
}

fn count_procedure(
    check: &Check,
    budget: Budget,
    pre: &[CountCells; 2],
    known: &Known<'_>,
) -> (Procedure, Placebo) {
    let n_both = pre[0]
        .iter()
        .zip(&pre[1])
        .filter(|(baseline, canary)| baseline.is_some() && canary.is_some())
        .count();
    let law = CountCheck::law(check);
    // Rates that wander on one side have a memory, which no exchange of intervals takes into account.
    let is_wandering = || matches!(counts::scatter_of(pre, law), Scatter::Wandering(_));
    let is_large = || counts::expected_events(pre, budget.n_looks) > BINOMIAL_EVENTS_MAX;
    if n_both >= GO_HISTORY_MIN && (is_large() || is_wandering()) {
        return mean_procedure(check, budget, means::shares(pre), "ratio");
    }
    let n = if n_both > 0 { pre[0].len().max(pre[1].len()) } else { 0 };
    let placebo =
        placebo(n, budget.n_looks, budget.alpha, |start| counts::placebo_alarm(check, &budget, pre, start));
    let run = CountCheck::new(check, budget, pre, known.declared_share).with_spread(known.rate_spread());
    (Procedure::Counts(Box::new(run)), placebo)
}

fn mean_procedure(check: &Check, budget: Budget, pre: MeanRun, unit: &'static str) -> (Procedure, Placebo) {
    let (n_looks, alpha) = (budget.n_looks, budget.alpha);
    let run = MeanCheck::new(check, budget, pre, unit);
    let placebo = placebo(run.n_placebo(), n_looks, alpha, |start| run.placebo_alarm(start));
    (Procedure::Means(Box::new(run)), placebo)
}

/// Judges new pods by procedure N, where the old ones have a history and the canary's have none.
///
/// Each birth is judged as a canary of one against the others; the check is restless if so many of them
/// alarm as happens by chance in at most 0.5 % of sound checks.
fn pod_procedure(
    check: &Check,
    budget: &Budget,
    pre: &MeanRun,
    known: &Known<'_>,
) -> Option<(Procedure, Placebo)> {
    if !pods::is_new(&pre.hosts) {
        return None;
    }
    let run = PodCheck::new(check, budget, known.warm_up, &pre.hosts[0], known.births)?;
    let placebo = of_births(run.placebo());
    Some((Procedure::Pods(Box::new(run)), placebo))
}

/// Does the same for distributions whose pods are told apart.
fn pod_score_procedure(
    check: &Check,
    budget: &Budget,
    pre: &BucketRun,
    known: &Known<'_>,
) -> Option<(Procedure, Placebo)> {
    if !pods::are_new(pre) {
        return None;
    }
    let at = (known.warm_up, known.step_ms);
    let run = PodScores::new(check, budget, at, (&pre.pods[0], known.is_raw), known.births)?;
    let placebo = of_births(run.placebo());
    Some((Procedure::PodScores(Box::new(run)), placebo))
}

/// Judges births by how many alarmed as a canary, of how many, and at which level.
fn of_births((runs, alarms, level): (usize, usize, f64)) -> Placebo {
    let by_chance =
        Rate { events: alarms as f64, exposure: runs as f64, law: EventLaw::Binomial }.at_least(level);
    Placebo {
        runs: runs as u64,
        alarms: alarms as u64,
        is_restless: alarms > 0 && by_chance <= SOUND_LOST_MAX,
    }
}

fn score_procedure(check: &Check, budget: Budget, pre: &BucketRun, is_raw: bool) -> (Procedure, Placebo) {
    let (n_looks, alpha) = (budget.n_looks, budget.alpha);
    let mut run = ScoreCheck::new(check, budget, pre.sides.clone(), is_raw);
    let n = run.n_placebo();
    let placebo = placebo(n, n_looks, alpha, |start| run.placebo_alarm(start));
    (Procedure::Scores(Box::new(run)), placebo)
}

/// Part of the sound checks that may lose their vote.
const SOUND_LOST_MAX: f64 = 0.005;

/// Runs placebo releases every half phase where at least 60 intervals precede and a whole phase follows.
///
/// A check is restless if it alarms at two or more placebo starts that share no interval, and that often by
/// chance in at most 0.5 % of sound checks at its level. With "any alarm" 3 % of sound checks at a level
/// of 0.1 % would lose their vote, a quarter of releases with ten checks; two disjoint alarms are
/// enough there, while a single check at 1 % with a day of history needs four of its 45 runs.
fn placebo(n_history: usize, n_looks: usize, alpha: f64, mut alarm: impl FnMut(usize) -> bool) -> Placebo {
    const BEFORE_MIN: usize = 60;
    let step = (n_looks / 2).max(1);
    let mut placebo = Placebo::default();
    let (mut disjoint, mut free_from) = (0_u64, 0);
    let mut start = BEFORE_MIN.div_ceil(step) * step;
    while start + n_looks <= n_history {
        placebo.runs += 1;
        if alarm(start) {
            placebo.alarms += 1;
            if start >= free_from {
                disjoint += 1;
                free_from = start + n_looks;
            }
        }
        start += step;
    }
    let by_chance = Rate { events: disjoint as f64, exposure: placebo.runs as f64, law: EventLaw::Binomial }
        .at_least(alpha);
    placebo.is_restless = disjoint >= 2 && by_chance <= SOUND_LOST_MAX;
    placebo
}

impl Procedure {
    fn look(&mut self, grid: &Grid, i: usize, placed: &Placed, units: &[UnitCells]) -> Outcome {
        match (self, placed) {
            (Self::Counts(run), Placed::Counts(sides)) => run.look(grid, i, sides, units),
            (Self::Counts(run), _) => run.look(grid, i, &[Vec::new(), Vec::new()], units),
            (Self::Means(run), Placed::Hosts(sides)) => run.look(grid, i, sides),
            (Self::Means(run), Placed::Counts(sides)) => run.look(grid, i, &means::shares(sides)),
            (Self::Means(run), _) => run.look(grid, i, &MeanRun::default()),
            (Self::Pods(run), Placed::Hosts(sides)) => run.look(grid, i, sides),
            (Self::Pods(run), _) => run.look(grid, i, &MeanRun::default()),
            (Self::Scores(run), Placed::Buckets(sides)) => run.look(grid, i, sides),
            (Self::Scores(run), _) => run.look(grid, i, &BucketRun::default()),
            (Self::PodScores(run), Placed::Buckets(sides)) => run.look(grid, i, sides),
            (Self::PodScores(run), _) => run.look(grid, i, &BucketRun::default()),
            (Self::By(run), Placed::By(values)) => run.look(grid, i, values),
            (Self::By(run), _) => run.look(grid, i, &IndexMap::new()),
            (Self::Users(run), Placed::Users(cells)) => run.look(grid, i, cells),
            (Self::Users(run), _) => run.look(grid, i, &UserCells::default()),
            (Self::Composite(_), _) => Outcome::default(),
            (Self::Patterns(run), Placed::Patterns(sides)) => run.look(grid, i, sides),
            (Self::Patterns(run), _) => {
                run.look(grid, i, &[PatternCells::default(), PatternCells::default()])
            }
        }
    }
}
