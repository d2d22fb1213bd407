//! Ratio and count checks: procedure C, its two treatments of clumps, and go by limits.

use std::sync::Arc;

use crate::policy::{Amount, Check, CheckKind};
use crate::stats::bets::ShareBet;
use crate::stats::births::{WITHOUT_WORST, n_worst};
use crate::stats::boundary::{Boundary, SPENDING};
use crate::stats::counts::{Lattice, Step};
use crate::stats::dispersion::{EventLaw, dispersion, is_trusted};
use crate::stats::pod_rates::RateSpread;
use crate::stats::rates::{Rate, difference_level};
use crate::verdict::{Effect, Measure, Sizes, Values};

use super::check::{Budget, Direction, Lack, Outcome, directions, relative_part, rescaled};
use super::grid::{Cells, Grid};
use super::placed::UnitCells;

/// Events and exposure of one side.
pub(super) type CountCells = Cells<(f64, f64)>;

/// How the events of an interval are taken to fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// Independently: the history shows no clumps.
    Binomial,
    /// In clumps; to be settled by the shares once there are events.
    Clumps,
    /// In clumps, equal shares: an interval changes sides as a whole.
    Swap,
    /// In clumps, other shares: a bet.
    Bet,
}

/// A ratio or count check under way.
#[derive(Clone, Debug)]
pub(super) struct CountCheck {
    law: EventLaw,
    budget: Budget,
    harm: Vec<HarmSide>,
    go: GoTest,
    treatment: Treatment,
    /// What a clump holds on average; 1 where events are independent.
    clump: f64,
    declared_share: Option<f64>,
    minimum: (f64, f64),
    /// How rates differ between pods, where units are told.
    spread: Option<RateSpread>,
    levels: Arc<Boundary>,
    seen: Seen,
}

#[derive(Clone, Debug)]
struct HarmSide {
    direction: Direction,
    lattice: Lattice,
    bet: ShareBet,
    is_bet_crossed: bool,
}

#[derive(Clone, Debug)]
enum GoTest {
    Never,
    /// Limits of both rates less than a margin apart.
    Absolute {
        margin: f64,
        levels: Arc<Boundary>,
    },
    /// The exact test of the margin's ratio.
    Relative {
        part: f64,
        sides: Vec<(Direction, Lattice)>,
    },
}

/// What was counted so far, after warm-up.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Intervals taken, present or not.
    taken: usize,
    t: usize,
    is_present: bool,
    has_baseline: bool,
    has_canary: bool,
    baseline: (f64, f64),
    canary: (f64, f64),
    /// The last ten present intervals, newest last: baseline and canary.
    recent: Vec<[(f64, f64); 2]>,
}

const RECENT: usize = 10;

impl CountCheck {
    pub(super) fn new(
        check: &Check,
        budget: Budget,
        pre: &[CountCells; 2],
        declared_share: Option<f64>,
    ) -> Self {
        let law = match check.kind {
            CheckKind::Count { .. } => EventLaw::Poisson,
            _ => EventLaw::Binomial,
        };
        let history: Vec<(f64, f64)> = pre[0].iter().flatten().copied().filter(|(_, n)| *n > 0.0).collect();
        let is_independent = is_trusted(&history, law);
        let tolerated = relative_part(check.tolerated);
        let harm = (directions(check.harm).iter())
            .map(|direction| HarmSide {
                direction: *direction,
                lattice: Lattice::new(counted_ratio(*direction, tolerated)),
                bet: ShareBet::default(),
                is_bet_crossed: false,
            })
            .collect();
        Self {
            law,
            harm,
            go: GoTest::new(check, &budget),
            spread: None,
            levels: budget.part(directions(check.harm).len() as f64),
            budget,
            treatment: if is_independent { Treatment::Binomial } else { Treatment::Clumps },
            clump: if is_independent { 1.0 } else { dispersion(&history, law).ratio.max(1.0) },
            declared_share,
            minimum: (check.minimum.events, check.minimum.trials),
            seen: Seen::default(),
        }
    }

    /// Lets harm be told from the scatter of the pods' own rates.
    pub(super) fn with_spread(self, spread: Option<RateSpread>) -> Self {
        Self { spread, ..self }
    }

    /// Takes the intervals up to `i` that it has not seen, and looks.
    pub(super) fn look(
        &mut self,
        grid: &Grid,
        i: usize,
        sides: &[CountCells; 2],
        units: &[UnitCells],
    ) -> Outcome {
        for idx in self.seen.taken..=i {
            self.seen.taken = idx + 1;
            self.seen.is_present = false;
            if grid.is_warm(idx) {
                self.take(side_at(sides, 0, idx), side_at(sides, 1, idx));
            }
        }
        let mut outcome = self.outcome();
        if let (Some(spread), false) = (self.spread, units.is_empty()) {
            self.hold_to_pods(&mut outcome, spread, &PodSums::new(grid, i, units));
        }
        outcome
    }

    /// Asks in addition that the pods' own scatter does not explain the counts, and that the canary without
    /// its worst third is worse as well. A maximum of p-values is valid where one of them is.
    fn hold_to_pods(&self, outcome: &mut Outcome, spread: RateSpread, pods: &PodSums) {
        let (Some(p_harm), Some(shown)) = (outcome.p_harm, outcome.level) else { return };
        let level = self.levels.nominal(self.seen.t);
        let of_pods = |side: &HarmSide| pods.p(spread, side.direction, side.lattice.theta());
        let p = self.harm.iter().map(of_pods).fold(1.0, f64::min);
        outcome.is_harm_crossed &= p <= level;
        outcome.p_harm = Some(p_harm.max(rescaled(p, level, shown)));
        outcome.method = "C: exact conditional binomial, and beyond the scatter of the pods' own rates";
    }

    fn take(&mut self, baseline: Option<(f64, f64)>, canary: Option<(f64, f64)>) {
        self.seen.has_baseline |= baseline.is_some();
        self.seen.has_canary |= canary.is_some();
        let (Some(baseline), Some(canary)) = (baseline, canary) else { return };
        let so_far = self.share_so_far();
        if is_silent(baseline.1, canary.1, so_far) {
            return;
        }
        self.seen.is_present = true;
        self.seen.t += 1;
        add(&mut self.seen.baseline, baseline);
        add(&mut self.seen.canary, canary);
        self.seen.recent.push([baseline, canary]);
        if self.seen.recent.len() > RECENT {
            self.seen.recent.remove(0);
        }
        let (x, y) = (canary.0.round() as usize, baseline.0.round() as usize);
        let share = canary.1 / (canary.1 + baseline.1);
        if !(share > 0.0 && share < 1.0) {
            // A quiet interval of a small side: nothing to compare, and nothing wrong with it.
            return self.test(0, 0, 0.5);
        }
        if self.treatment == Treatment::Clumps && x + y > 0 {
            self.settle_clumps();
        }
        self.test(x, y, share);
    }

    /// Chooses between the treatments of clumps by the shares until the first event: exposure alone,
    /// which says nothing about who gets the events.
    fn settle_clumps(&mut self) {
        let share = self.share_so_far().unwrap_or(0.0);
        self.treatment = if (0.48..=0.52).contains(&share) { Treatment::Swap } else { Treatment::Bet };
    }

    /// Returns the canary's share of the exposure: as declared, else as measured so far.
    fn share_so_far(&self) -> Option<f64> {
        let (canary, baseline) = (self.seen.canary.1, self.seen.baseline.1);
        let measured = (canary > 0.0 && baseline > 0.0).then(|| canary / (canary + baseline));
        self.declared_share.or(measured)
    }

    fn test(&mut self, x: usize, y: usize, share: f64) {
        let t = self.seen.t;
        let parts = self.harm.len() as f64;
        let allowed = SPENDING.spent(self.budget.alpha / parts, t, self.budget.n_looks);
        for side in &mut self.harm {
            let (counted, share) = counted(side.direction, x, y, share);
            match self.treatment {
                Treatment::Binomial | Treatment::Clumps => {
                    side.lattice.push(counted, x + y, Step::Share(share), allowed);
                }
                Treatment::Swap => side.lattice.push(counted, x + y, Step::Swap, allowed),
                Treatment::Bet => {
                    side.bet.push(
                        counted as f64,
                        (x + y) as f64,
                        tolerated_share(share, side.lattice.theta()),
                    );
                    side.is_bet_crossed |= side.bet.ln_e() >= (parts / self.budget.alpha).ln();
                }
            }
        }
        if let GoTest::Relative { sides, .. } = &mut self.go {
            let allowed = SPENDING.spent(self.budget.alpha_go, t, self.budget.n_looks);
            for (direction, lattice) in sides {
                // Few events speak for go: the lower tail in the direction of harm.
                let (counted, share) = counted(opposite(*direction), x, y, share);
                lattice.push(counted, x + y, Step::Share(share), allowed);
            }
        }
    }

    fn outcome(&self) -> Outcome {
        let seen = &self.seen;
        let mut outcome = Outcome {
            t: seen.t,
            is_present: seen.is_present,
            has_baseline: seen.has_baseline,
            has_canary: seen.has_canary,
            method: self.method(),
            n: Sizes {
                baseline: seen.baseline.1,
                canary: seen.canary.1,
                effective: seen.canary.1 / self.clump,
            },
            ..Outcome::default()
        };
        if seen.t == 0 || !(seen.baseline.1 > 0.0 && seen.canary.1 > 0.0) {
            return outcome;
        }
        outcome.values = Some(Values {
            baseline: Some(seen.baseline.0 / seen.baseline.1),
            canary: Some(seen.canary.0 / seen.canary.1),
            unit: if self.law == EventLaw::Binomial { "ratio" } else { "per exposure" },
        });
        self.harm_outcome(&mut outcome);
        self.go_outcome(&mut outcome);
        outcome.effect = Some(self.effect());
        outcome.lack = outcome.lack.take().or_else(|| self.minimum_lack());
        outcome.is_recent_beyond = self.is_recent_beyond();
        outcome
    }

    fn harm_outcome(&self, outcome: &mut Outcome) {
        let parts = self.harm.len() as f64;
        if self.treatment == Treatment::Bet {
            let best = self.harm.iter().map(|side| side.bet.ln_e()).fold(f64::NEG_INFINITY, f64::max);
            outcome.p_harm = Some(((-best).exp() * parts).min(1.0));
            outcome.level = Some(self.budget.alpha);
            outcome.spent = self.budget.alpha;
            outcome.is_harm_crossed = self.harm.iter().any(|side| side.is_bet_crossed);
            return;
        }
        let best = self.harm.iter().map(|side| side.lattice.p()).fold(1.0, f64::min);
        outcome.p_harm = Some((best * parts).min(1.0));
        outcome.level = Some(SPENDING.spent(self.budget.alpha, self.seen.t, self.budget.n_looks));
        outcome.spent = self.harm.iter().map(|side| side.lattice.spent()).sum();
        outcome.is_harm_crossed = self.harm.iter().any(|side| side.lattice.is_crossed());
    }

    fn go_outcome(&self, outcome: &mut Outcome) {
        let t = self.seen.t;
        match &self.go {
            GoTest::Never => {}
            GoTest::Absolute { margin, levels } => {
                let level = 2.0 * levels.nominal(t);
                let p = 2.0 * self.worst_level(*margin, 1.0);
                outcome.p_go = Some(p.min(1.0));
                outcome.level_go = Some(level);
                outcome.is_go_crossed = p <= level;
                let need = (3.0 / margin).ceil();
                if self.seen.canary.1 < need {
                    outcome.lack = Some(Lack::Trials { have: self.seen.canary.1, need });
                }
                outcome.looks_left =
                    if outcome.is_go_crossed { None } else { self.looks_left(*margin, levels) };
            }
            GoTest::Relative { part, sides } => {
                let level = SPENDING.spent(self.budget.alpha_go, t, self.budget.n_looks);
                outcome.p_go = Some(sides.iter().map(|(_, lattice)| lattice.p()).fold(0.0, f64::max));
                outcome.level_go = Some(level);
                outcome.is_go_crossed = sides.iter().all(|(_, lattice)| lattice.is_crossed());
                let need = events_needed(*part);
                let have = self.seen.canary.0 + self.seen.baseline.0;
                if have < need {
                    outcome.lack = Some(Lack::Events { have, need });
                }
            }
        }
    }

    fn rates(&self, more: f64) -> [Rate; 2] {
        [self.seen.baseline, self.seen.canary].map(|(events, exposure)| Rate {
            events: events * more / self.clump,
            exposure: exposure * more / self.clump,
            law: self.law,
        })
    }

    fn worst_level(&self, margin: f64, more: f64) -> f64 {
        let [baseline, canary] = self.rates(more);
        (self.harm.iter())
            .map(|side| match side.direction {
                Direction::Up => difference_level(&canary, &baseline, margin),
                Direction::Down => difference_level(&baseline, &canary, margin),
            })
            .fold(0.0, f64::max)
    }

    /// Estimates how many more looks go needs, were the rates to stay as they are.
    fn looks_left(&self, margin: f64, levels: &Boundary) -> Option<(usize, usize)> {
        let t = self.seen.t;
        let is_enough = |later: usize| {
            let more = later as f64 / t as f64;
            self.seen.canary.1 * more * margin >= 3.0
                && self.worst_level(margin, more) <= levels.nominal(later)
        };
        let n = levels.n_looks();
        if t >= n || !is_enough(n) {
            return None;
        }
        let (mut short, mut enough) = (t, n);
        while enough - short > 1 {
            let middle = usize::midpoint(short, enough);
            if is_enough(middle) { enough = middle } else { short = middle }
        }
        let high = enough - t;
        Some((high.div_ceil(2), high))
    }

    /// The difference with limits that hold at all looks: those of both rates, and where the exact test
    /// of the ratio says more, that.
    fn effect(&self) -> Effect {
        let level = self.budget.part(self.harm.len() as f64).nominal(self.seen.t);
        let [baseline, canary] = self.rates(1.0);
        let ratio = ratio_limits(&baseline, &canary, level);
        if let GoTest::Relative { .. } = self.go {
            let estimate = canary.estimate() / baseline.estimate() - 1.0;
            return Effect {
                estimate: Some(estimate).filter(|estimate| estimate.is_finite()),
                low: Some(ratio.0 - 1.0),
                high: Some(ratio.1 - 1.0).filter(|high| high.is_finite()),
                unit: "ratio",
                measure: Measure::Relative,
            };
        }
        let half = 0.5 * level;
        // From the ratio: canary - baseline = (ratio - 1) baseline, with the baseline at its worse limit.
        let (floor, ceiling) = (baseline.lower(half), baseline.upper(half));
        let by_ratio = (ratio.0 - 1.0) * if ratio.0 > 1.0 { floor } else { ceiling };
        let low = (canary.lower(half) - ceiling).max(by_ratio);
        let high = canary.upper(half) - floor;
        Effect {
            estimate: Some(canary.estimate() - baseline.estimate()),
            low: Some(low),
            high: Some(high),
            unit: if self.law == EventLaw::Binomial { "ratio" } else { "per exposure" },
            measure: Measure::Difference,
        }
    }

    fn minimum_lack(&self) -> Option<Lack> {
        let (events, trials) = self.minimum;
        let least = |part: fn(&(f64, f64)) -> f64| part(&self.seen.baseline).min(part(&self.seen.canary));
        let (have_events, have_trials) = (least(|side| side.0), least(|side| side.1));
        if have_trials < trials {
            Some(Lack::Trials { have: have_trials, need: trials })
        } else if have_events < events {
            Some(Lack::Events { have: have_events, need: events })
        } else {
            None
        }
    }

    fn is_recent_beyond(&self) -> bool {
        let mut sums = [(0.0, 0.0); 2];
        for interval in &self.seen.recent {
            add(&mut sums[0], interval[0]);
            add(&mut sums[1], interval[1]);
        }
        let [baseline, canary] = sums.map(|(events, exposure)| events / exposure);
        (self.harm.iter()).any(|side| match &self.go {
            GoTest::Never => true,
            GoTest::Absolute { margin, .. } => side.direction.sign() * (canary - baseline) > *margin,
            GoTest::Relative { part, .. } => {
                side.direction.sign() * (canary - baseline * side.direction.ratio(*part)) > 0.0
            }
        })
    }

    fn method(&self) -> &'static str {
        match self.treatment {
            Treatment::Binomial => "C: exact conditional binomial, alpha spent as (t/T)^2",
            Treatment::Clumps => "C: history too short or too clumped to trust single events; no event yet",
            Treatment::Swap => {
                "C: intervals change sides as a whole (clumped events, equal shares), alpha spent as (t/T)^2"
            }
            Treatment::Bet => "C: share bet (clumped events, unequal shares), valid at any time",
        }
    }
}

/// Events and exposure of each pod so far.
struct PodSums {
    canary: Vec<(f64, f64)>,
    baseline: Vec<(f64, f64)>,
}

impl PodSums {
    fn new(grid: &Grid, i: usize, units: &[UnitCells]) -> Self {
        let side = |is_canary: bool| {
            let pods = units.iter().filter(|unit| unit.is_canary == is_canary);
            let sums = pods.map(|unit| unit.sum(i + 1, |idx| grid.is_warm(idx)));
            sums.filter(|(_, exposure)| *exposure > 0.0).collect()
        };
        Self { canary: side(true), baseline: side(false) }
    }

    /// Computes the p of the counted side's surplus under the pods' own scatter; 1 where the canary without its
    /// worst third shows none at 5 %.
    fn p(&self, spread: RateSpread, direction: Direction, theta: f64) -> f64 {
        let mut canary = self.canary.clone();
        let (n_canary, n_baseline) = (canary.len(), self.baseline.len());
        let plain = RateSpread { s: 0.0, ..spread };
        let of = |canary: &[(f64, f64)], spread: RateSpread| {
            let mut sums = [(0.0, 0.0); 2];
            self.baseline.iter().for_each(|pod| add(&mut sums[0], *pod));
            canary.iter().for_each(|pod| add(&mut sums[1], *pod));
            let [baseline, canary] = sums;
            let (counted, other) = match direction {
                Direction::Up => (canary, baseline),
                Direction::Down => (baseline, canary),
            };
            let share = tolerated_share(counted.1 / (counted.1 + other.1), theta);
            spread.p(counted.0, counted.0 + other.0, share, n_canary, n_baseline)
        };
        let p = of(&canary, spread);
        // Worst first: the highest rates where events are harm, the lowest where their lack is.
        let badness = |pod: &(f64, f64)| direction.sign() * pod.0 / pod.1;
        canary.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
        let rest = &canary[n_worst(n_canary)..];
        if n_canary > 1 && of(rest, plain) > WITHOUT_WORST { 1.0 } else { p }
    }
}

impl GoTest {
    fn new(check: &Check, budget: &Budget) -> Self {
        match check.margin.as_ref().map(|margin| margin.amount) {
            None => Self::Never,
            Some(Amount::Absolute(margin)) => {
                Self::Absolute { margin, levels: Boundary::shared(0.5 * budget.alpha_go, budget.n_looks) }
            }
            Some(Amount::Relative(part)) => Self::Relative {
                part,
                sides: (directions(check.harm).iter())
                    .map(|direction| (*direction, Lattice::new(1.0 / counted_ratio(*direction, part))))
                    .collect(),
            },
        }
    }
}

/// Returns the ratio, counted side over the other, that an amount of harm in a direction means.
pub(super) fn counted_ratio(direction: Direction, part: f64) -> f64 {
    match direction {
        Direction::Up => direction.ratio(part),
        // Fewer events are harm: the baseline's are counted.
        Direction::Down => 1.0 / direction.ratio(part.min(0.999_999)),
    }
}

pub(super) fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Up => Direction::Down,
        Direction::Down => Direction::Up,
    }
}

/// Returns the count and the share of the side whose surplus would be harm.
fn counted(direction: Direction, x: usize, y: usize, share: f64) -> (usize, f64) {
    match direction {
        Direction::Up => (x, share),
        Direction::Down => (y, 1.0 - share),
    }
}

/// Returns the share of the events that a ratio of rates makes one expect.
fn tolerated_share(share: f64, theta: f64) -> f64 {
    share * theta / (share * theta + 1.0 - share)
}

/// Returns about how many events in both arms show a relative margin (equal shares, 5 %, 80 % power).
fn events_needed(part: f64) -> f64 {
    // (z(5 %) + z(20 %))^2 = 6.18, and four times that over the squared logarithm of the ratio.
    (4.0 * 6.183 / (1.0 + part).ln().powi(2)).ceil()
}

/// Computes limits of the ratio of two rates, conditional on the total.
pub(super) fn ratio_limits(baseline: &Rate, canary: &Rate, level: f64) -> (f64, f64) {
    let total = baseline.events + canary.events;
    if total <= 0.0 || level <= 0.0 {
        return (0.0, f64::INFINITY);
    }
    let split = Rate { events: canary.events, exposure: total, law: EventLaw::Binomial };
    let ratio = |part: f64| part / (1.0 - part) * baseline.exposure / canary.exposure;
    (ratio(split.lower(level)), if baseline.events > 0.0 { ratio(split.upper(level)) } else { f64::INFINITY })
}

fn add(sum: &mut (f64, f64), pair: (f64, f64)) {
    sum.0 += pair.0;
    sum.1 += pair.1;
}

fn side_at(sides: &[CountCells; 2], side: usize, idx: usize) -> Option<(f64, f64)> {
    sides[side].get(idx).copied().flatten()
}

/// Tells whether a side without exposure is silent rather than small: at least ten would have been
/// expected of it, going by the other side and the share so far.
pub(super) fn is_silent(baseline: f64, canary: f64, share: Option<f64>) -> bool {
    const EXPECTED_MIN: f64 = 10.0;
    if baseline > 0.0 && canary > 0.0 {
        return false;
    }
    let Some(share) = share.filter(|share| 0.0 < *share && *share < 1.0) else { return true };
    let expected =
        if canary > 0.0 { canary * (1.0 - share) / share } else { baseline * share / (1.0 - share) };
    expected >= EXPECTED_MIN || (baseline <= 0.0 && canary <= 0.0)
}

/// Runs the harm side alone over a stretch of history, as if a release had begun there.
pub(super) fn placebo_alarm(check: &Check, budget: &Budget, pre: &[CountCells; 2], start: usize) -> bool {
    let before = [pre[0][..start].to_vec(), pre[1][..start].to_vec()];
    let quiet = Check { margin: None, ..check.clone() };
    let mut run = CountCheck::new(&quiet, budget.clone(), &before, None);
    for idx in start..(start + budget.n_looks).min(pre[0].len()) {
        run.take(side_at(pre, 0, idx), side_at(pre, 1, idx));
        let is_crossed = run.harm.iter().any(|side| side.lattice.is_crossed() || side.is_bet_crossed);
        if is_crossed {
            return true;
        }
    }
    false
}

/// Says how many events both sides together would have over the looks, at the history's rate.
pub(super) fn expected_events(pre: &[CountCells; 2], n_looks: usize) -> f64 {
    let both = pre[0]
        .iter()
        .zip(&pre[1])
        .filter_map(|(baseline, canary)| Some(baseline.as_ref()?.0 + canary.as_ref()?.0));
    let (sum, n) = both.fold((0.0, 0_usize), |(sum, n), events| (sum + events, n + 1));
    if n == 0 { 0.0 } else { sum / n as f64 * n_looks as f64 }
}
