//! Log pattern checks: procedure L.
//!
//! Half of the budget goes to patterns that the history never showed, pooled and exact; half to seen
//! ones, each with a bet, weighted by severity. `list` says which patterns are reported, `novelty` how
//! much that is new was to be expected.

mod list;
mod novelty;
mod foretell;

use indexmap::{IndexMap, IndexSet};

use crate::policy::{Check, CheckKind, Severity};
use crate::stats::bets::{ShareBet, ln_weighted_sum};
use crate::stats::boundary::{Boundary, Spending};
use crate::stats::counts::{Lattice, Step};
use crate::stats::dispersion::EventLaw;
use crate::stats::rates::Rate;
use crate::verdict::{Effect, Measure, Sizes, Values};

use super::check::{Budget, Outcome};
use super::counts::is_silent;
use super::data::PatternCounts;
use super::grid::{Cells, Grid, Stretch, align_pre};

/// Exposure and pattern counts of one side by interval.
#[derive(Clone, Debug, Default)]
pub(super) struct PatternCells {
    pub(super) trials: Cells<f64>,
    pub(super) patterns: IndexMap<String, OnePattern>,
}

/// One pattern on one side.
#[derive(Clone, Debug, Default)]
pub(super) struct OnePattern {
    text: String,
    severity: Option<String>,
    counts: Cells<f64>,
    /// The template's patterns of stage 1, where they were given: text and counts.
    members: IndexMap<String, (String, Cells<f64>)>,
    examples: Vec<serde_json::Value>,
}

/// Places one side's patterns.
pub(super) fn patterns(stretch: Stretch<'_>, data: &PatternCounts) -> PatternCells {
    let times = || data.t_ms.iter().copied();
    let trials = data.trials.as_ref().unwrap_or(&data.records);
    let place = |values: &[Option<f64>]| stretch.place(times().zip(values.iter().copied()));
    PatternCells {
        trials: place(trials),
        patterns: (data.patterns.iter())
            .map(|(id, one)| {
                let members = (one.members.iter())
                    .map(|(member, one)| (member.clone(), (one.text.clone(), place(&one.counts))));
                let placed = OnePattern {
                    text: one.text.clone(),
                    severity: one.severity.clone(),
                    counts: place(&one.counts),
                    members: members.collect(),
                    examples: one.examples.clone(),
                };
                (id.clone(), placed)
            })
            .collect(),
    }
}

/// A pattern check under way.
#[derive(Clone, Debug)]
pub(super) struct PatternCheck {
    budget: Budget,
    severity: Option<Severity>,
    /// Patterns with a record in the history, and their parts of the bets' budget.
    weights: IndexMap<String, f64>,
    /// How often the history shows each counted pattern.
    history: IndexMap<String, f64>,
    /// Patterns of stage 1 that the history shows.
    members: IndexSet<String>,
    test: Test,
}

/// The two tests, fed interval by interval.
#[derive(Clone, Debug)]
struct Test {
    taken: usize,
    t: usize,
    is_present: bool,
    has: [bool; 2],
    exposure: [f64; 2],
    unseen: Lattice,
    /// Pattern-minutes of unseen patterns: all, on the canary, and the canary's expected share of them.
    unseen_all: f64,
    unseen_canary: f64,
    unseen_expected: f64,
    bets: IndexMap<String, ShareBet>,
    /// Bets on fewer, for the list alone.
    bets_fewer: IndexMap<String, ShareBet>,
    totals: IndexMap<String, Totals>,
    is_bet_crossed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    baseline: f64,
    canary: f64,
    expected: f64,
    first_canary: Option<usize>,
}

impl PatternCheck {
    pub(super) fn new(check: &Check, budget: Budget, pre: &[PatternCells; 2]) -> Self {
        let severity = match check.kind {
            CheckKind::Patterns { severity, .. } => severity,
            _ => None,
        };
        let weights = weights(pre, severity);
        let (history, members) = history(pre, severity);
        Self { budget, severity, weights, history, members, test: Test::new() }
    }

    pub(super) fn look(&mut self, grid: &Grid, i: usize, sides: &[PatternCells; 2]) -> Outcome {
        let ids = ids(sides, self.severity);
        for idx in self.test.taken..=i {
            self.test.taken = idx + 1;
            self.test.is_present = false;
            if grid.is_warm(idx) {
                self.test.take(&self.budget, &self.weights, &ids, sides, idx);
            }
        }
        self.outcome(grid, i, sides)
    }

    fn outcome(&self, grid: &Grid, i: usize, sides: &[PatternCells; 2]) -> Outcome {
        let (test, half) = (&self.test, 0.5 * self.budget.alpha);
        let mut outcome = Outcome {
            t: test.t,
            is_present: test.is_present,
            has_baseline: test.has[0],
            has_canary: test.has[1],
            n: Sizes { baseline: test.exposure[0], canary: test.exposure[1], effective: test.unseen_all },
            method: "L: unseen patterns pooled and exact (alpha spent as t/T), seen ones by weighted bets",
            ..Outcome::default()
        };
        if test.t == 0 {
            return outcome;
        }
        let unseen_level = Spending::Linear.spent(half, test.t, self.budget.n_looks);
        let seen_p = (-test.ln_seen(&self.weights)).exp().min(1.0);
        let is_unseen_first = test.unseen.p() * half <= seen_p * unseen_level;
        (outcome.p_harm, outcome.level) = if is_unseen_first {
            (Some(test.unseen.p()), Some(unseen_level))
        } else {
            (Some(seen_p), Some(half))
        };
        outcome.is_harm_crossed = test.unseen.is_crossed() || test.is_bet_crossed;
        outcome.is_recent_beyond = true;
        outcome.spent = test.unseen.spent() + if self.weights.is_empty() { 0.0 } else { half };
        outcome.values = Some(Values {
            baseline: Some(test.unseen_all - test.unseen_canary),
            canary: Some(test.unseen_canary),
            unit: "min",
        });
        let levels = Boundary::shared(half, self.budget.n_looks);
        outcome.effect = Some(test.effect(levels.nominal(test.t)));
        let (patterns, logs) = self.listed(grid, i, sides, &levels);
        outcome.patterns = patterns;
        outcome.logs = Some(logs);
        outcome
    }
}

impl Test {
    fn new() -> Self {
        Self {
            taken: 0,
            t: 0,
            is_present: false,
            has: [false; 2],
            exposure: [0.0; 2],
            unseen: Lattice::new(1.0),
            unseen_all: 0.0,
            unseen_canary: 0.0,
            unseen_expected: 0.0,
            bets: IndexMap::new(),
            bets_fewer: IndexMap::new(),
            totals: IndexMap::new(),
            is_bet_crossed: false,
        }
    }

    fn take(
        &mut self,
        budget: &Budget,
        weights: &IndexMap<String, f64>,
        ids: &IndexSet<String>,
        sides: &[PatternCells; 2],
        idx: usize,
    ) {
        let trials = [0, 1].map(|side| sides[side].trials.get(idx).copied().flatten());
        self.has[0] |= trials[0].is_some();
        self.has[1] |= trials[1].is_some();
        let (Some(baseline), Some(canary)) = (trials[0], trials[1]) else { return };
        let [so_far_baseline, so_far_canary] = self.exposure;
        let so_far = (so_far_baseline > 0.0 && so_far_canary > 0.0)
            .then(|| so_far_canary / (so_far_canary + so_far_baseline));
        if is_silent(baseline, canary, so_far) {
            return;
        }
        self.is_present = true;
        self.t += 1;
        self.exposure[0] += baseline;
        self.exposure[1] += canary;
        let share = canary / (canary + baseline);
        // A quiet interval of a small side has nothing to compare.
        let ids = if share > 0.0 && share < 1.0 { ids } else { &IndexSet::new() };
        let (mut on_canary, mut all) = (0, 0);
        for id in ids {
            let (y, x) = (count_at(&sides[0], id, idx), count_at(&sides[1], id, idx));
            if x + y <= 0.0 {
                continue;
            }
            let totals = self.totals.entry(id.clone()).or_default();
            totals.baseline += y;
            totals.canary += x;
            totals.expected += (x + y) * share;
            if x > 0.0 {
                totals.first_canary.get_or_insert(idx);
            }
            self.bets.entry(id.clone()).or_default().push(x, x + y, share);
            self.bets_fewer.entry(id.clone()).or_default().push(y, x + y, 1.0 - share);
            if !weights.contains_key(id) {
                // A pattern that both sides have in one interval is no novelty of the canary's: counted
                // once, for the baseline, the chance of a canary's event is at most its share also when
                // a common fault floods both sides.
                all += 1;
                on_canary += usize::from(x > 0.0 && y <= 0.0);
            }
        }
        self.unseen_all += all as f64;
        self.unseen_canary += on_canary as f64;
        self.unseen_expected += all as f64 * share;
        let allowed = Spending::Linear.spent(0.5 * budget.alpha, self.t, budget.n_looks);
        self.unseen.push(on_canary, all, Step::Share(share), allowed);
        self.is_bet_crossed |= self.ln_seen(weights) >= (2.0 / budget.alpha).ln();
    }

    /// Returns the logarithm of the seen patterns' weighted e-value; a pattern without records holds 1.
    fn ln_seen(&self, weights: &IndexMap<String, f64>) -> f64 {
        let ln_e = |id: &String| self.bets.get(id).map_or(0.0, ShareBet::ln_e);
        ln_weighted_sum(weights.iter().map(|(id, weight)| (*weight, ln_e(id))))
    }

    /// Pattern-minutes of unseen patterns beyond what the canary's share makes one expect.
    fn effect(&self, level: f64) -> Effect {
        let estimate = self.unseen_canary - self.unseen_expected;
        let (low, high) = if self.unseen_all > 0.0 && level > 0.0 {
            let split =
                Rate { events: self.unseen_canary, exposure: self.unseen_all, law: EventLaw::Binomial };
            let excess = |part: f64| part * self.unseen_all - self.unseen_expected;
            (Some(excess(split.lower(level))), Some(excess(split.upper(level))))
        } else {
            (None, None)
        };
        Effect { estimate: Some(estimate), low, high, unit: "min", measure: Measure::Difference }
    }
}

/// Sums up what the history shows of each counted pattern, and names the patterns of stage 1 in it.
fn history(pre: &[PatternCells; 2], severity: Option<Severity>) -> (IndexMap<String, f64>, IndexSet<String>) {
    let (mut sums, mut members) = (IndexMap::new(), IndexSet::new());
    for (id, one) in pre.iter().flat_map(|side| &side.patterns).filter(|(_, one)| is_counted(one, severity)) {
        *sums.entry(id.clone()).or_insert(0.0) += one.counts.iter().flatten().sum::<f64>();
        let seen = |counts: &Cells<f64>| counts.iter().flatten().any(|count| *count > 0.0);
        let own = one.members.iter().filter(|(_, (_, counts))| seen(counts));
        members.extend(own.map(|(member, _)| member.clone()));
    }
    sums.retain(|_, sum| *sum > 0.0);
    (sums, members)
}

/// Weights of the seen patterns: error 0.5, warning 0.3, info 0.2, equal within a class, and a class that
/// is not there leaves its part to the others.
fn weights(pre: &[PatternCells; 2], severity: Option<Severity>) -> IndexMap<String, f64> {
    let class = |one: &OnePattern| match one.severity.as_deref().and_then(Severity::from_word) {
        Some(Severity::Error | Severity::Fatal) => 0,
        Some(Severity::Warn) => 1,
        _ => 2,
    };
    let mut classes: IndexMap<String, usize> = IndexMap::new();
    for side in pre {
        for (id, one) in &side.patterns {
            if is_counted(one, severity) && one.counts.iter().flatten().any(|count| *count > 0.0) {
                classes.entry(id.clone()).or_insert_with(|| class(one));
            }
        }
    }
    let mut sizes = [0.0; 3];
    classes.values().for_each(|class| sizes[*class] += 1.0);
    const PARTS: [f64; 3] = [0.5, 0.3, 0.2];
    let there: f64 = PARTS.iter().zip(sizes).filter(|(_, size)| *size > 0.0).map(|(part, _)| part).sum();
    classes.into_iter().map(|(id, class)| (id, PARTS[class] / there / sizes[class])).collect()
}

fn is_counted(one: &OnePattern, severity: Option<Severity>) -> bool {
    let own = one.severity.as_deref().and_then(Severity::from_word);
    match (own, severity) {
        (Some(own), Some(least)) => own >= least,
        // A pattern of unknown severity came through the query, so it counts.
        _ => true,
    }
}

fn ids(sides: &[PatternCells; 2], severity: Option<Severity>) -> IndexSet<String> {
    (sides.iter().flat_map(|side| &side.patterns))
        .filter(|(_, one)| is_counted(one, severity))
        .map(|(id, _)| id.clone())
        .collect()
}

fn count_at(side: &PatternCells, id: &str, idx: usize) -> f64 {
    side.patterns.get(id).and_then(|one| one.counts.get(idx).copied().flatten()).unwrap_or(0.0)
}

/// The history of a pattern check, kept for placebo releases.
#[derive(Clone, Debug)]
pub(super) struct PatternHistory {
    pre: [PatternCells; 2],
    severity: Option<Severity>,
    n: usize,
}

impl PatternHistory {
    pub(super) fn new(mut pre: [PatternCells; 2], severity: Option<Severity>) -> Self {
        let [baseline, canary] = &mut pre;
        let mut cells: Vec<&mut Cells<f64>> = Vec::new();
        for side in [baseline, canary] {
            cells.push(&mut side.trials);
            cells.extend(side.patterns.values_mut().map(|one| &mut one.counts));
        }
        align_pre(&mut cells);
        let n = pre[0].trials.len().max(pre[1].trials.len());
        Self { pre, severity, n }
    }

    pub(super) fn n_placebo(&self) -> usize {
        if self.pre.iter().all(|side| side.trials.iter().any(Option::is_some)) { self.n } else { 0 }
    }

    /// Tells whether a placebo release at `start` of the history alarms.
    pub(super) fn placebo_alarm(&self, budget: &Budget, start: usize) -> bool {
        let mut before = self.pre.clone();
        for one in before.iter_mut().flat_map(|side| side.patterns.values_mut()) {
            one.counts.truncate(start);
        }
        let weights = weights(&before, self.severity);
        let ids = ids(&self.pre, self.severity);
        let mut test = Test::new();
        (start..(start + budget.n_looks).min(self.n)).any(|idx| {
            test.take(budget, &weights, &ids, &self.pre, idx);
            test.unseen.is_crossed() || test.is_bet_crossed
        })
    }
}
