//! Ratio and count checks: procedure C, its two treatments of clumps, and go by limits.

use std::sync::Arc;

use crate::policy::{Amount, Check, CheckKind};
use crate::stats::bets::ShareBet;
use crate::stats::births::{WITHOUT_WORST, n_worst};
use crate::stats::boundary::{Boundary, SPENDING};
use crate::stats::counts::{Lattice, Step};
use crate::stats::dispersion::{EventLaw, Scatter, scatter, split_scatter};
use crate::stats::means::GO_HISTORY_MIN;
use crate::stats::pod_rates::RateSpread;
use crate::stats::rates::{Rate, difference_level};
use crate::verdict::{Effect, Measure, Sizes, Values};

use super::check::{Budget, Direction, Lack, Outcome, directions, relative_part, rescaled};
use super::grid::{Cells, Grid};
use super::placed::UnitCells;

mod foretell;

pub(super) use foretell::Usual;

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
    /// In clumps, other shares, counts by unit: the canary changes places with as many of the baseline's units.
    Groups,
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
    /// The canary's units and as large groups of the baseline's, for [`Treatment::Groups`].
    groups: Vec<Vec<String>>,
    /// Whether the last interval's shares were equal, as far as chance allows.
    is_even: bool,
    /// What a clump holds on average; 1 where events are independent.
    clump: f64,
    declared_share: Option<f64>,
    minimum: (f64, f64),
    /// How rates differ between pods, where units are told.
    spread: Option<RateSpread>,
    levels: Arc<Boundary>,
    seen: Seen,
    /// Whether nobody reads what a look shows beside its decision.
    pub(super) is_quiet: bool,
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
    /// What part of the planned information the present ones brought.
    information: f64,
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
        let law = Self::law(check);
        let scatter = scatter_of(pre, law);
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
            treatment: match scatter {
                Scatter::Independent => Treatment::Binomial,
                Scatter::Clumped(_) | Scatter::Wandering(_) => Treatment::Clumps,
            },
            groups: Vec::new(),
            is_even: false,
            clump: match scatter {
                Scatter::Independent => 1.0,
                Scatter::Clumped(clump) | Scatter::Wandering(clump) => clump,
            },
            declared_share,
            minimum: (check.minimum.events, check.minimum.trials),
            seen: Seen::default(),
            is_quiet: false,
        }
    }

    /// Returns whether a trial can have several events.
    pub(super) fn law(check: &Check) -> EventLaw {
        match check.kind {
            CheckKind::Count { .. } => EventLaw::Poisson,
            _ => EventLaw::Binomial,
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
                let information = self.budget.planned(idx - grid.first_warm());
                self.take([0, 1].map(|side| side_at(sides, side, idx)), information, (idx, units));
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
        self.hold_go_to_pods(outcome, spread, pods);
        outcome.method = match self.treatment {
            Treatment::Binomial => {
                "C: exact conditional binomial, and beyond the scatter of the pods' own rates"
            }
            _ => "C: clumped events, exchanged as intervals, and beyond the scatter of the pods' own rates",
        };
    }

    /// Asks in addition that harm lies below the margin if the pods' own scatter is taken into account.
    fn hold_go_to_pods(&self, outcome: &mut Outcome, spread: RateSpread, pods: &PodSums) {
        let (Some(p_go), Some(shown)) = (outcome.p_go, outcome.level_go) else { return };
        let p = match &self.go {
            GoTest::Never => return,
            GoTest::Absolute { margin, .. } => {
                let [baseline, canary] = self.rates(1.0);
                let (baseline, canary) = ((&baseline, pods.baseline.len()), (&canary, pods.canary.len()));
                let level = |side: &HarmSide| match side.direction {
                    Direction::Up => spread.difference_level(canary, baseline, *margin),
                    Direction::Down => spread.difference_level(baseline, canary, *margin),
                };
                (2.0 * self.harm.iter().map(level).fold(0.0, f64::max)).min(1.0)
            }
            GoTest::Relative { sides, .. } => {
                let of_pods = |(direction, lattice): &(Direction, Lattice)| {
                    pods.surplus(spread, opposite(*direction), lattice.theta())
                };
                let p = sides.iter().map(of_pods).fold(0.0, f64::max);
                rescaled(p, self.budget.go().nominal(self.seen.t), shown)
            }
        };
        outcome.p_go = Some(p_go.max(p));
        outcome.is_go_crossed &= p <= shown;
    }

    /// - `information`: what part of all the plan expects of this interval.
    /// - `units`: counts of single units, and where this interval is in them.
    fn take(&mut self, sides: [Option<(f64, f64)>; 2], information: f64, units: (usize, &[UnitCells])) {
        let [baseline, canary] = sides;
        self.seen.has_baseline |= baseline.is_some();
        self.seen.has_canary |= canary.is_some();
        let (Some(baseline), Some(canary)) = (baseline, canary) else { return };
        let so_far = self.share_so_far();
        if is_silent(baseline.1, canary.1, so_far) {
            return;
        }
        self.seen.is_present = true;
        self.seen.t += 1;
        self.seen.information += information;
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
            return self.test(0, 0, 0.5, &[]);
        }
        if self.treatment == Treatment::Clumps && x + y > 0 {
            self.settle_clumps(units);
        }
        let groups = self.group_events(units);
        self.is_even = is_even(canary.1, baseline.1);
        self.test(x, y, share, &groups);
    }

    /// Chooses between the treatments of clumps by the shares until the first event: exposure alone,
    /// which says nothing about who gets the events. Where some harm is tolerated sides are not alike.
    fn settle_clumps(&mut self, (idx, units): (usize, &[UnitCells])) {
        let share = self.share_so_far().unwrap_or(0.0);
        let is_alike = self.harm.iter().all(|side| side.lattice.theta() == 1.0);
        self.treatment = match is_alike {
            true if (0.48..=0.52).contains(&share) => Treatment::Swap,
            true => {
                self.groups = equal_groups(idx, units);
                if self.groups.len() >= GROUPS_MIN { Treatment::Groups } else { Treatment::Bet }
            }
            false => Treatment::Bet,
        };
    }

    /// Counts each group's events of an interval, the canary's first; nothing where too few groups are whole and as
    /// much exposed. Who is there and how much exposed says nothing about who gets the events, so groups may follow it.
    fn group_events(&mut self, (idx, units): (usize, &[UnitCells])) -> Vec<usize> {
        if self.treatment != Treatment::Groups {
            return Vec::new();
        }
        let of = |is_canary: bool, name: &String| {
            units.iter().find(|unit| unit.is_canary == is_canary && unit.unit() == name)?.at(idx)
        };
        let is_whole = |group: &Vec<String>| group.iter().all(|name| of(true, name).is_some());
        if !self.groups.first().is_some_and(is_whole) {
            self.groups = equal_groups(idx, units);
        }
        let sum = |(n, group): (usize, &Vec<String>)| {
            group.iter().try_fold((0.0, 0.0), |sum, name| {
                let (events, exposure) = of(n == 0, name)?;
                Some((sum.0 + events, sum.1 + exposure))
            })
        };
        let mut sums = self.groups.iter().enumerate().map(sum);
        let Some(Some(own)) = sums.next() else { return Vec::new() };
        let others = sums.flatten().filter(|other| is_even(own.1, other.1));
        let events: Vec<usize> =
            std::iter::once(own).chain(others).map(|(events, _)| events.round() as usize).collect();
        if events.len() >= GROUPS_MIN { events } else { Vec::new() }
    }

    /// Returns the canary's share of the exposure: as declared, else as measured so far.
    fn share_so_far(&self) -> Option<f64> {
        let (canary, baseline) = (self.seen.canary.1, self.seen.baseline.1);
        let measured = (canary > 0.0 && baseline > 0.0).then(|| canary / (canary + baseline));
        self.declared_share.or(measured)
    }

    fn test(&mut self, x: usize, y: usize, share: f64, groups: &[usize]) {
        let is_even = self.is_even;
        let parts = self.harm.len() as f64;
        let allowed = self.spent(self.budget.alpha / parts);
        for side in &mut self.harm {
            let (counted, share) = counted(side.direction, x, y, share);
            match self.treatment {
                Treatment::Binomial | Treatment::Clumps => {
                    side.lattice.push(counted, x + y, Step::Share(share), allowed);
                }
                // An interval in which the shares are not equal cannot be exchanged.
                Treatment::Swap if is_even => side.lattice.push(counted, x + y, Step::Swap, allowed),
                Treatment::Swap => side.lattice.push(0, 0, Step::Swap, allowed),
                Treatment::Groups => {
                    let all = groups.iter().sum();
                    let counted = |events: &usize| match side.direction {
                        Direction::Up => *events,
                        Direction::Down => all - events,
                    };
                    let groups: Vec<usize> = groups.iter().map(counted).collect();
                    let own = groups.first().copied().unwrap_or(0);
                    side.lattice.push(own, all, Step::Among(&groups), allowed);
                }
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
        let allowed = self.spent(self.budget.alpha_go);
        if let GoTest::Relative { sides, .. } = &mut self.go {
            for (direction, lattice) in sides {
                // Few events speak for go: the lower tail in the direction of harm.
                let (counted, share) = counted(opposite(*direction), x, y, share);
                lattice.push(counted, x + y, Step::Share(share), allowed);
            }
        }
    }

    /// Computes what of a budget may be spent by now.
    fn spent(&self, budget: f64) -> f64 {
        match self.budget.plan {
            Some(_) => SPENDING.spent_at(budget, self.seen.information),
            None => SPENDING.spent(budget, self.seen.t, self.budget.n_looks),
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
        outcome.effect = (!self.is_quiet).then(|| self.effect());
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
        outcome.level = Some(self.spent(self.budget.alpha));
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
                let is_open = !outcome.is_go_crossed && !self.is_quiet;
                outcome.looks_left = if is_open { self.looks_left(*margin, levels) } else { None };
            }
            GoTest::Relative { part, sides } => {
                let level = self.spent(self.budget.alpha_go);
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
        minimum_lack(self.minimum, [self.seen.baseline, self.seen.canary])
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
            Treatment::Groups => {
                "C: the canary changes places with as many units of the baseline (clumped events), alpha spent as (t/T)^2"
            }
            Treatment::Bet => "C: share bet (clumped events, unequal shares), valid at any time",
        }
    }
}

/// Says what either side lacks of the events and trials that a policy asks for.
fn minimum_lack((events, trials): (f64, f64), sides: [(f64, f64); 2]) -> Option<Lack> {
    let have_events = sides[0].0.min(sides[1].0);
    let have_trials = sides[0].1.min(sides[1].1);
    if have_trials < trials {
        Some(Lack::Trials { have: have_trials, need: trials })
    } else if have_events < events {
        Some(Lack::Events { have: have_events, need: events })
    } else {
        None
    }
}

/// Says what counts that are compared as shares lack for a go: the policy's minimum, and trials for an absolute margin.
pub(super) fn lack_of(check: &Check, grid: &Grid, i: usize, sides: &[CountCells; 2]) -> Option<Lack> {
    let sums = [0, 1].map(|side| {
        let cells = sides[side].iter().enumerate().take(i + 1).filter(|(idx, _)| grid.is_warm(*idx));
        cells.filter_map(|(_, cell)| *cell).fold((0.0, 0.0), |mut sum, cell| {
            add(&mut sum, cell);
            sum
        })
    });
    let margin = check.margin.as_ref().map(|margin| margin.amount);
    let need = match margin {
        Some(Amount::Absolute(margin)) => (3.0 / margin).ceil(),
        _ => 0.0,
    };
    let have = sums[1].1;
    if have < need {
        return Some(Lack::Trials { have, need });
    }
    minimum_lack((check.minimum.events, check.minimum.trials), sums)
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
        let n_canary = canary.len();
        let plain = RateSpread { s: 0.0, ..spread };
        let p = self.surplus(spread, direction, theta);
        // Worst first: the highest rates where events are harm, the lowest where their lack is.
        let badness = |pod: &(f64, f64)| direction.sign() * pod.0 / pod.1;
        canary.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
        let rest = &canary[n_worst(n_canary)..];
        let is_of_worst = n_canary > 1 && self.surplus_of(rest, plain, direction, theta) > WITHOUT_WORST;
        if is_of_worst { 1.0 } else { p }
    }

    /// Computes the p of the counted side's surplus under the pods' own scatter.
    fn surplus(&self, spread: RateSpread, direction: Direction, theta: f64) -> f64 {
        self.surplus_of(&self.canary, spread, direction, theta)
    }

    fn surplus_of(&self, canary: &[(f64, f64)], spread: RateSpread, direction: Direction, theta: f64) -> f64 {
        let mut sums = [(0.0, 0.0); 2];
        self.baseline.iter().for_each(|pod| add(&mut sums[0], *pod));
        canary.iter().for_each(|pod| add(&mut sums[1], *pod));
        let [baseline, of_canary] = sums;
        let (counted, other) = match direction {
            Direction::Up => (of_canary, baseline),
            Direction::Down => (baseline, of_canary),
        };
        let share = tolerated_share(counted.1 / (counted.1 + other.1), theta);
        spread.p(counted.0, counted.0 + other.0, share, self.canary.len(), self.baseline.len())
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
        run.take([0, 1].map(|side| side_at(pre, side, idx)), budget.planned(idx - start), (idx, &[]));
        let is_crossed = run.harm.iter().any(|side| side.lattice.is_crossed() || side.is_bet_crossed);
        if is_crossed {
            return true;
        }
    }
    false
}

/// Events that each side must have had for how they fall on the sides to tell.
const SIDE_EVENTS_MIN: f64 = 10.0;

/// Says how events scatter in the history: how they fall on the sides where both have one, else the baseline's.
pub(super) fn scatter_of(pre: &[CountCells; 2], law: EventLaw) -> Scatter {
    let has_exposure = |cell: &(f64, f64)| cell.1 > 0.0;
    let both: Vec<[(f64, f64); 2]> = (pre[0].iter().zip(&pre[1]))
        .filter_map(|(baseline, canary)| Some([canary.filter(has_exposure)?, baseline.filter(has_exposure)?]))
        .collect();
    // Of a side with next to no event nothing can be said: all of the other's may have come in one clump.
    let events = |side: usize| both.iter().map(|sides| sides[side].0).sum::<f64>();
    if both.len() >= GO_HISTORY_MIN && events(0).min(events(1)) >= SIDE_EVENTS_MIN {
        return split_scatter(&both);
    }
    let baseline: Vec<(f64, f64)> = pre[0].iter().flatten().copied().filter(has_exposure).collect();
    scatter(&baseline, law)
}

/// Groups that must be there for the canary to change places among them: of two, each is the other's mirror image, as
/// with equal shares.
const GROUPS_MIN: usize = 3;

/// Tells whether two exposures of an interval are equal as far as chance allows: within 0.48 and 0.52 of both, and three
/// standard errors of as many trials.
fn is_even(a: f64, b: f64) -> bool {
    (a / (a + b) - 0.5).abs() <= 0.02 + 1.5 / (a + b).sqrt()
}

/// Divides the units of an interval by their exposure so far: the canary's, and groups of as many of the baseline's in
/// the order of their names whose exposure differs from the canary's by 4 % at most, as between 0.48 and 0.52.
fn equal_groups(idx: usize, units: &[UnitCells]) -> Vec<Vec<String>> {
    const APART_MAX: f64 = 0.04;
    let side = |is_canary: bool| {
        let is_there = |unit: &&UnitCells| {
            unit.is_canary == is_canary && unit.at(idx).is_some() && unit.sum(idx + 1, |_| true).1 > 0.0
        };
        let mut names: Vec<&UnitCells> = units.iter().filter(is_there).collect();
        names.sort_by_key(|unit| unit.unit());
        names
    };
    let (canary, baseline) = (side(true), side(false));
    let exposure = |group: &[&UnitCells]| group.iter().map(|unit| unit.sum(idx + 1, |_| true).1).sum::<f64>();
    let own = exposure(&canary);
    let is_equal = |group: &&[&UnitCells]| {
        let share = own / (own + exposure(group));
        (share - 0.5).abs() <= 0.5 * APART_MAX
    };
    let groups = baseline.chunks_exact(canary.len().max(1)).filter(is_equal);
    let names = |group: &[&UnitCells]| group.iter().map(|unit| unit.unit().to_owned()).collect();
    if canary.is_empty() {
        return Vec::new();
    }
    std::iter::once(canary.as_slice()).chain(groups).map(names).collect()
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
