//! One phase of one release, look by look.

use greylight_store::model::Timestamp;
use indexmap::IndexMap;

use crate::policy::{Check, CheckKind, Phase, Policy, Vote};
use crate::stats::dispersion::EventLaw;
use crate::stats::means::GO_HISTORY_MIN;
use crate::stats::rates::Rate;
use crate::verdict::{Cause, CheckResult, Decision, Reason, TimeLeft, Validity, ValidityName};

use super::check::{Budget, CheckState, GO_LOOKS_MIN, Lack, MISSING_MAX, Outcome, PRESENT_MIN};
use super::counts::{self, CountCells, CountCheck};
use super::data::{CheckData, Data, Sides};
use super::describe;
use super::error::JudgeError;
use super::grid::{Grid, Stretch, align_pre};
use super::means::{self, MeanCheck, MeanRun};
use super::patterns::{self, PatternCells, PatternCheck, PatternHistory};
use super::scores::{self, BucketCells, ScoreCheck};
use super::share::{ShareResult, test_share};

/// When a phase of a release began, and what changed in it since.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseRun {
    /// Start of the release: history is what lies before.
    pub release_start_ms: i64,
    /// Start of the phase, on an edge.
    pub phase_start_ms: i64,
    /// The canary's share as the deploy tool declared it; else the policy's counts.
    pub traffic_share: Option<f64>,
    /// Moves of share or scope within the phase, in order; each warms up anew.
    pub shifts: Vec<Shift>,
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

/// Data of all checks since the phase began, placed on its intervals.
#[derive(Clone, Debug, Default)]
pub struct RunData {
    checks: Vec<Placed>,
}

#[derive(Clone, Debug, Default)]
enum Placed {
    #[default]
    Nothing,
    Counts([CountCells; 2]),
    Hosts(MeanRun),
    Buckets([BucketCells; 2]),
    Patterns([PatternCells; 2]),
}

/// One phase under way: made once from policy and history, then asked for each interval in turn.
#[derive(Clone, Debug)]
pub struct Analysis {
    phase: Phase,
    alpha: f64,
    share_tolerance: f64,
    run: PhaseRun,
    grid: Grid,
    checks: Vec<CheckRun>,
    n_history: usize,
    decided: Option<(Decision, Timestamp)>,
}

#[derive(Clone, Debug)]
struct CheckRun {
    check: Check,
    budget: f64,
    state: CheckState,
    placebo: Placebo,
    procedure: Procedure,
}

#[derive(Clone, Debug)]
enum Procedure {
    Counts(Box<CountCheck>),
    Means(Box<MeanCheck>),
    Scores(Box<ScoreCheck>),
    Patterns(Box<PatternCheck>),
}

/// Placebo releases in the history.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Placebo {
    runs: u64,
    alarms: u64,
    is_restless: bool,
}

/// Above this the binomial is not trusted, and the shares of intervals are compared as means.
const BINOMIAL_EVENTS_MAX: f64 = 3_000.0;

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
        let mut n_history = usize::MAX;
        for check in &phase.checks {
            let alpha = policy.budget(phase, check);
            let pre = data.get(&check.name).map(|data| data.pre.clone()).unwrap_or_default();
            let placed = place(check, Stretch::Pre(&grid), &pre, "pre")?;
            n_history = n_history.min(placed.n_present());
            checks.push(CheckRun::new(
                check,
                alpha,
                Budget::new(policy, alpha, &grid),
                placed,
                declared,
                is_raw(&pre),
            ));
        }
        Ok(Self {
            phase: phase.clone(),
            alpha: policy.alpha.get(),
            share_tolerance: policy.share_tolerance,
            run,
            grid,
            checks,
            n_history,
            decided: None,
        })
    }

    /// Places the run's data on the phase's intervals.
    ///
    /// # Errors
    /// [`JudgeError::Field`] if data does not fit its check's kind.
    pub fn place(&self, data: &IndexMap<String, CheckData>) -> Result<RunData, JudgeError> {
        let nothing = Sides::default();
        let one = |run: &CheckRun| {
            let sides = data.get(&run.check.name).map_or(&nothing, |data| &data.run);
            place(&run.check, Stretch::Run(&self.grid), sides, "data")
        };
        Ok(RunData { checks: self.checks.iter().map(one).collect::<Result<_, _>>()? })
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
            let outcome = run.procedure.look(grid, interval, placed);
            run.state.update(&run.check, &outcome, grid, interval);
            outcomes.push(outcome);
        }
        let exposure = data.checks.iter().find_map(Placed::exposure);
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
        if self.decided.is_some() || self.grid.n_warm(i) == 0 {
            return;
        }
        let at = Timestamp::from_millis(self.grid.end_ms(i));
        if self.checks.iter().any(CheckRun::refuses) {
            self.decided = Some((Decision::NoGo, at));
        } else if self.may_go(i, outcomes, share) {
            self.decided = Some((Decision::Go, at));
        }
    }

    fn may_go(&self, i: usize, outcomes: &[Outcome], share: Option<&ShareResult>) -> bool {
        let n_warm = self.grid.n_warm(i);
        let mut full =
            self.checks.iter().zip(outcomes).filter(|(run, _)| run.check.vote == Vote::Full).peekable();
        full.peek().is_some()
            && full.all(|(run, outcome)| {
                run.state.decision == Decision::Go
                    && !run.placebo.is_restless
                    && run.state.missing < MISSING_MAX
                    && outcome.t as f64 >= PRESENT_MIN * n_warm as f64
            })
            && n_warm >= GO_LOOKS_MIN
            && self.grid.until_ms(i, self.phase.at_least.millis()) == 0
            && !share.is_some_and(|share| share.is_mismatch)
    }

    fn answer(
        &self,
        i: usize,
        outcomes: &[Outcome],
        share: Option<ShareResult>,
        exposure: Option<&[Vec<Option<f64>>; 2]>,
    ) -> Look {
        let decision = self.decided.map_or(Decision::Inconclusive, |(decision, _)| decision);
        let checks: Vec<CheckResult> =
            self.checks.iter().zip(outcomes).map(|(run, outcome)| self.check_result(run, outcome)).collect();
        Look {
            interval: i,
            at: Timestamp::from_millis(self.grid.end_ms(i)),
            decision,
            is_final: self.decided.is_some() || i >= self.grid.last(),
            decided_at: self.decided.map(|(_, at)| at),
            looks: self.grid.n_warm(i) as u64,
            reasons: self.reasons(i, outcomes, share.as_ref()),
            validity: self.validity(i, outcomes, share.as_ref()),
            alpha_spent: outcomes.iter().map(|outcome| outcome.spent).sum(),
            score: self.score(decision),
            time_left: self.time_left(i, &checks),
            requests: exposure.map(|sides| {
                [0, 1].map(|side| {
                    let cells = sides[side].iter().enumerate().take(i + 1);
                    cells.filter(|(idx, _)| self.grid.is_warm(*idx)).filter_map(|(_, cell)| *cell).sum()
                })
            }),
            checks,
        }
    }

    fn check_result(&self, run: &CheckRun, outcome: &Outcome) -> CheckResult {
        let ms = |looks: usize| looks as u64 * self.grid.interval_ms();
        let is_open = run.state.decision == Decision::Inconclusive;
        CheckResult {
            name: run.check.name.clone(),
            phase: self.phase.name.clone(),
            kind: run.check.kind.word(),
            vote: run.check.vote,
            decision: run.state.decision,
            decided_at: run.state.decided_at,
            since: run.state.since,
            time_left: outcome
                .looks_left
                .filter(|_| is_open)
                .map(|(low, high)| TimeLeft { low_ms: ms(low), high_ms: ms(high) }),
            values: outcome.values,
            units: outcome.units.clone(),
            effect: outcome.effect,
            effects: outcome.effects.clone(),
            margin: run.check.margin.as_ref().map(|margin| margin.amount.number()),
            harm: run.check.harm,
            p_harm: outcome.p_harm,
            level: outcome.level,
            p_go: outcome.p_go,
            level_go: outcome.level_go,
            budget: run.budget,
            spent: outcome.spent,
            n: outcome.n,
            method: outcome.method.to_owned(),
            queries: describe::queries(&run.check),
            patterns: outcome.patterns.clone(),
        }
    }

    fn reasons(&self, i: usize, outcomes: &[Outcome], share: Option<&ShareResult>) -> Vec<Reason> {
        let decision = self.decided.map(|(decision, _)| decision);
        let mut reasons = Vec::new();
        for (run, outcome) in self.checks.iter().zip(outcomes) {
            let about = |cause| Reason::of_check(&run.check.name, cause);
            match (decision, run.state.decision) {
                (Some(Decision::NoGo), Decision::NoGo) if run.refuses() => {
                    reasons.push(about(run.refusal(outcome)));
                }
                (Some(Decision::Go), Decision::Go) if run.check.vote == Vote::Full => {
                    reasons.push(about(describe::below_margin(&run.check, outcome)));
                }
                (None, _) if run.check.vote != Vote::None => {
                    reasons.extend(self.open_reasons(run, outcome, i).into_iter().map(about));
                }
                _ => {}
            }
            if outcome.is_faded && decision != Some(Decision::Go) {
                reasons.push(about(Cause::Faded));
            }
        }
        if let Some(ShareResult { declared: Some(declared), measured, low, high, is_mismatch: true }) =
            share.copied()
        {
            reasons.push(Reason::of_release(Cause::ShareMismatch { declared, measured, low, high }));
        }
        if decision.is_none() {
            reasons.extend(self.phase_reason(i).map(Reason::of_release));
        }
        reasons
    }

    fn open_reasons(&self, run: &CheckRun, outcome: &Outcome, i: usize) -> Vec<Cause> {
        let mut causes = Vec::new();
        if run.placebo.is_restless {
            causes.push(Cause::Restless { runs: run.placebo.runs, alarms: run.placebo.alarms });
        }
        if self.grid.n_warm(i) == 0 {
            return causes;
        }
        if outcome.t == 0 || run.state.missing >= MISSING_MAX {
            causes.push(describe::no_data(&run.state, outcome));
            return causes;
        }
        if run.check.vote != Vote::Full || run.state.decision == Decision::Go {
            return causes;
        }
        match outcome.lack {
            Some(Lack::History { have, need }) => {
                causes.push(Cause::NoHistory { have: have as u64, need: need as u64 });
            }
            _ => causes.push(Cause::NotEnoughData { what: describe::not_enough(&run.check, outcome) }),
        }
        causes
    }

    fn phase_reason(&self, i: usize) -> Option<Cause> {
        if i >= self.grid.last() {
            return Some(Cause::TimeRanOut);
        }
        let warm_left = self.grid.until_ms(i, 0);
        if warm_left > 0 {
            return Some(Cause::WarmUp { left_ms: warm_left });
        }
        let mut full = self.checks.iter().filter(|run| run.check.vote == Vote::Full).peekable();
        if full.peek().is_none() {
            return Some(Cause::NothingCanGo);
        }
        let left_ms = self.grid.until_ms(i, self.phase.at_least.millis());
        let is_early = left_ms > 0 && full.all(|run| run.state.decision == Decision::Go);
        is_early.then_some(Cause::TooEarly { left_ms })
    }

    fn validity(&self, i: usize, outcomes: &[Outcome], share: Option<&ShareResult>) -> Vec<Validity> {
        let mut validity = Vec::new();
        if let Some(share) = share {
            validity.push(Validity {
                name: ValidityName::Share,
                ok: !share.is_mismatch,
                text: describe::share(share),
            });
        }
        validity.push(Validity {
            name: ValidityName::PrePeriod,
            ok: self.n_history >= GO_HISTORY_MIN,
            text: format!("{} intervals of history of both sides", self.n_history),
        });
        let sum = |part: fn(&Placebo) -> u64| self.checks.iter().map(|run| part(&run.placebo)).sum::<u64>();
        let restless: Vec<&str> = self
            .checks
            .iter()
            .filter(|run| run.placebo.is_restless)
            .map(|run| run.check.name.as_str())
            .collect();
        validity.push(Validity {
            name: ValidityName::AaRuns,
            ok: restless.is_empty(),
            text: if restless.is_empty() {
                format!("{} of {} placebo releases alarmed", sum(|one| one.alarms), sum(|one| one.runs))
            } else {
                format!("too restless: {}", restless.join(", "))
            },
        });
        let n_warm = self.grid.n_warm(i);
        let least = outcomes.iter().map(|outcome| outcome.t).min().unwrap_or(0);
        validity.push(Validity {
            name: ValidityName::Completeness,
            ok: least as f64 >= PRESENT_MIN * n_warm as f64,
            text: format!("{least} of {n_warm} intervals present on both sides in every check"),
        });
        validity
    }

    /// Scores for clients that know only a number: in the order of the verdicts under every client's rule,
    /// with 75 as the marginal and 95 as the pass score.
    fn score(&self, decision: Decision) -> u8 {
        const MARGINAL: f64 = 75.0;
        const PASS: f64 = 95.0;
        let voting = || self.checks.iter().filter(|run| run.check.vote != Vote::None);
        let total: f64 = voting().map(|run| run.check.weight).sum();
        let fine: f64 =
            voting().filter(|run| run.state.decision != Decision::NoGo).map(|run| run.check.weight).sum();
        let good = if total > 0.0 { 100.0 * fine / total } else { 100.0 };
        let is_critical = voting().any(|run| run.check.vote == Vote::Full && run.refuses());
        let score = match decision {
            Decision::NoGo if is_critical => 0.0,
            Decision::NoGo => good.floor().min(MARGINAL - 1.0),
            Decision::Inconclusive => good.floor().clamp(MARGINAL + 1.0, PASS - 1.0),
            Decision::Go => good.floor().max(PASS),
        };
        score as u8
    }

    fn time_left(&self, i: usize, checks: &[CheckResult]) -> Option<TimeLeft> {
        if self.decided.is_some() {
            return None;
        }
        let mut least = self.grid.until_ms(i, self.phase.at_least.millis());
        let looks = GO_LOOKS_MIN.saturating_sub(self.grid.n_warm(i)) as u64;
        least = least.max(looks * self.grid.interval_ms());
        let mut left = TimeLeft { low_ms: least, high_ms: least };
        for check in checks.iter().filter(|check| check.vote == Vote::Full && check.decision != Decision::Go)
        {
            let own = check.time_left?;
            left.low_ms = left.low_ms.max(own.low_ms);
            left.high_ms = left.high_ms.max(own.high_ms);
        }
        checks.iter().any(|check| check.vote == Vote::Full).then_some(left)
    }
}

impl CheckRun {
    fn new(
        check: &Check,
        alpha: f64,
        budget: Budget,
        pre: Placed,
        declared_share: Option<f64>,
        is_raw: bool,
    ) -> Self {
        let (procedure, placebo) = match pre {
            Placed::Counts(pre) => count_procedure(check, budget, &pre, declared_share),
            Placed::Hosts(pre) => mean_procedure(check, budget, pre, "value"),
            Placed::Buckets(pre) => {
                let n_looks = budget.n_looks;
                let mut run = ScoreCheck::new(check, budget, pre, is_raw);
                let n = run.n_placebo();
                let placebo = placebo(n, n_looks, alpha, |start| run.placebo_alarm(start));
                (Procedure::Scores(Box::new(run)), placebo)
            }
            Placed::Patterns(pre) => {
                let severity = match check.kind {
                    CheckKind::Patterns { severity, .. } => severity,
                    _ => None,
                };
                let history = PatternHistory::new(pre.clone(), severity);
                let placebo = placebo(history.n_placebo(), budget.n_looks, alpha, |start| {
                    history.placebo_alarm(&budget, start)
                });
                (Procedure::Patterns(Box::new(PatternCheck::new(check, budget, &pre))), placebo)
            }
            Placed::Nothing => Self::without_history(check, budget, declared_share, is_raw),
        };
        Self { check: check.clone(), budget: alpha, state: CheckState::new(), placebo, procedure }
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
            CheckKind::Patterns { .. } => {
                let none = [PatternCells::default(), PatternCells::default()];
                Procedure::Patterns(Box::new(PatternCheck::new(check, budget, &none)))
            }
        };
        (procedure, Placebo::default())
    }

    /// Tells whether this check refuses the release.
    fn refuses(&self) -> bool {
        let may_vote =
            self.check.vote != Vote::None && (!self.placebo.is_restless || self.state.is_missing_refused);
        may_vote && self.state.decision == Decision::NoGo
    }

    fn refusal(&self, outcome: &Outcome) -> Cause {
        if self.state.is_missing_refused {
            return Cause::Missing { intervals: self.state.missing };
        }
        describe::harm_shown(&self.check, outcome)
    }
}

fn count_procedure(
    check: &Check,
    budget: Budget,
    pre: &[CountCells; 2],
    declared_share: Option<f64>,
) -> (Procedure, Placebo) {
    let n_both = pre[0]
        .iter()
        .zip(&pre[1])
        .filter(|(baseline, canary)| baseline.is_some() && canary.is_some())
        .count();
    if n_both >= GO_HISTORY_MIN && counts::expected_events(pre, budget.n_looks) > BINOMIAL_EVENTS_MAX {
        return mean_procedure(check, budget, means::shares(pre), "ratio");
    }
    let n = if n_both > 0 { pre[0].len().max(pre[1].len()) } else { 0 };
    let placebo =
        placebo(n, budget.n_looks, budget.alpha, |start| counts::placebo_alarm(check, &budget, pre, start));
    (Procedure::Counts(Box::new(CountCheck::new(check, budget, pre, declared_share))), placebo)
}

fn mean_procedure(check: &Check, budget: Budget, pre: MeanRun, unit: &'static str) -> (Procedure, Placebo) {
    let (n_looks, alpha) = (budget.n_looks, budget.alpha);
    let run = MeanCheck::new(check, budget, pre, unit);
    let placebo = placebo(run.n_placebo(), n_looks, alpha, |start| run.placebo_alarm(start));
    (Procedure::Means(Box::new(run)), placebo)
}

/// Runs placebo releases every half phase where at least 60 intervals precede and a whole phase follows.
///
/// A check is restless if it alarms at two or more placebo starts that share no interval, and that often by
/// chance in at most 0.5 % of sound checks at its level. With "any alarm" 3 % of sound checks at a level
/// of 0.1 % would lose their vote, a quarter of releases with ten checks; two disjoint alarms are
/// enough there, while a single check at 1 % with a day of history needs four of its 45 runs.
fn placebo(n_history: usize, n_looks: usize, alpha: f64, mut alarm: impl FnMut(usize) -> bool) -> Placebo {
    const BEFORE_MIN: usize = 60;
    const SOUND_LOST_MAX: f64 = 0.005;
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
    fn look(&mut self, grid: &Grid, i: usize, placed: &Placed) -> Outcome {
        match (self, placed) {
            (Self::Counts(run), Placed::Counts(sides)) => run.look(grid, i, sides),
            (Self::Counts(run), _) => run.look(grid, i, &[Vec::new(), Vec::new()]),
            (Self::Means(run), Placed::Hosts(sides)) => run.look(grid, i, sides),
            (Self::Means(run), Placed::Counts(sides)) => run.look(grid, i, &means::shares(sides)),
            (Self::Means(run), _) => run.look(grid, i, &MeanRun::default()),
            (Self::Scores(run), Placed::Buckets(sides)) => run.look(grid, i, sides),
            (Self::Scores(run), _) => run.look(grid, i, &[BucketCells::default(), BucketCells::default()]),
            (Self::Patterns(run), Placed::Patterns(sides)) => run.look(grid, i, sides),
            (Self::Patterns(run), _) => {
                run.look(grid, i, &[PatternCells::default(), PatternCells::default()])
            }
        }
    }
}

impl Placed {
    /// Counts the intervals present on both sides.
    fn n_present(&self) -> usize {
        fn both<A, B>(a: impl Iterator<Item = Option<A>>, b: impl Iterator<Item = Option<B>>) -> usize {
            a.zip(b).filter(|(a, b)| a.is_some() && b.is_some()).count()
        }
        match self {
            Self::Nothing => 0,
            Self::Counts([baseline, canary]) => both(baseline.iter().copied(), canary.iter().copied()),
            Self::Hosts(run) => {
                let n =
                    |side: usize| run.hosts[side].values().map(|cells| cells.iter().flatten().count()).max();
                n(0).unwrap_or(0).min(n(1).unwrap_or(0))
            }
            Self::Buckets([baseline, canary]) => {
                let n = |side: &BucketCells| side.cells.iter().flatten().count();
                n(baseline).min(n(canary))
            }
            Self::Patterns([baseline, canary]) => {
                both(baseline.trials.iter().rev().copied(), canary.trials.iter().rev().copied())
            }
        }
    }

    /// Returns requests by interval and side, where the check counts them.
    fn exposure(&self) -> Option<[Vec<Option<f64>>; 2]> {
        let any = |sides: [Vec<Option<f64>>; 2]| {
            sides.iter().all(|side| side.iter().any(Option::is_some)).then_some(sides)
        };
        match self {
            Self::Counts(sides) => {
                any([0, 1].map(|side| sides[side].iter().map(|cell| cell.map(|(_, n)| n)).collect()))
            }
            Self::Buckets(sides) => any([0, 1].map(|side| {
                sides[side].cells.iter().map(|cell| cell.as_ref().map(|counts| counts.iter().sum())).collect()
            })),
            Self::Patterns(sides) => any([0, 1].map(|side| sides[side].trials.clone())),
            Self::Nothing | Self::Hosts(_) => None,
        }
    }
}

fn is_raw(sides: &Sides) -> bool {
    let is_raw = |side: &Option<Data>| matches!(side, Some(Data::Raw(_)));
    is_raw(&sides.baseline) || is_raw(&sides.canary)
}

/// Places both sides of a check on a stretch, if they are of its kind.
fn place(check: &Check, stretch: Stretch<'_>, sides: &Sides, what: &str) -> Result<Placed, JudgeError> {
    if sides.baseline.is_none() && sides.canary.is_none() {
        return Ok(Placed::Nothing);
    }
    let wrong = || {
        JudgeError::field(
            format!("{what}.{}", check.name),
            format!("does not hold data of kind {}", check.kind.word()),
        )
    };
    let both = [&sides.baseline, &sides.canary];
    let mut placed = match check.kind {
        CheckKind::Ratio { .. } | CheckKind::Count { .. } => Placed::Counts(
            each(both, |data| match data {
                Data::Counts(counts) => Some(stretch.counts(counts)),
                _ => None,
            })
            .ok_or_else(wrong)?,
        ),
        CheckKind::Mean { .. } => Placed::Hosts(MeanRun {
            hosts: each(both, |data| match data {
                Data::Values(series) => Some(means::hosts(stretch, series)),
                _ => None,
            })
            .ok_or_else(wrong)?,
            inverse_n: None,
        }),
        CheckKind::Distribution { .. } => Placed::Buckets(
            each(both, |data| match data {
                Data::Histogram(_) | Data::Raw(_) => Some(scores::buckets(stretch, data)),
                _ => None,
            })
            .ok_or_else(wrong)?,
        ),
        CheckKind::Patterns { .. } => Placed::Patterns(
            each(both, |data| match data {
                Data::Patterns(counts) => Some(patterns::patterns(stretch, counts)),
                _ => None,
            })
            .ok_or_else(wrong)?,
        ),
    };
    if let (Placed::Counts([baseline, canary]), Stretch::Pre(_)) = (&mut placed, stretch) {
        align_pre(&mut [baseline, canary]);
    }
    Ok(placed)
}

/// Places each side; a side that is absent has nothing. `None` if one is of another kind.
fn each<T: Default>(sides: [&Option<Data>; 2], place: impl Fn(&Data) -> Option<T>) -> Option<[T; 2]> {
    let [baseline, canary] = sides;
    let one = |side: &Option<Data>| side.as_ref().map_or_else(|| Some(T::default()), &place);
    Some([one(baseline)?, one(canary)?])
}
