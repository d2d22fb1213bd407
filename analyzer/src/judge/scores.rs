//! Distribution checks: procedure D, three scores through procedure M.

use std::sync::Arc;

use crate::policy::{Amount, Check, Harm};
use crate::stats::means::{GO_HISTORY_MIN, Means};
use crate::stats::scores::{Change, Score, Sheet};
use crate::stats::special::find_root_within;
use crate::verdict::{Effect, Measure, QuantileEffect, Sizes, Values};

use super::check::{Budget, Lack, Outcome, directions};
use super::data::Data;
use super::grid::{Cells, Grid, Stretch, align_pre};
use super::means::{Answer, Question, ShiftTest};

mod foretell;

/// Bucket counts of one side by interval, over edges of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BucketCells {
    pub(super) edges: Vec<f64>,
    pub(super) cells: Cells<Vec<f64>>,
}

/// Raw values are put into buckets of this width, a fixed lattice that no data can move.
const RAW_WIDTH: f64 = 1.05;
/// Values closer to zero than this count as zero.
const RAW_LEAST: f64 = 1e-12;

/// Places one side's distribution.
pub(super) fn buckets(stretch: Stretch<'_>, data: &Data) -> BucketCells {
    match data {
        Data::Histogram(histogram) => BucketCells {
            edges: histogram.le.clone(),
            cells: stretch.place(histogram.t_ms.iter().copied().zip(histogram.counts.iter().cloned())),
        },
        Data::Raw(values) => {
            raw_buckets(&stretch.place(values.t_ms.iter().copied().zip(values.values.iter().cloned())))
        }
        _ => BucketCells::default(),
    }
}

/// Returns the step of the lattice whose bucket holds a value; its upper edge is [`raw_edge`].
fn raw_step(value: f64) -> i32 {
    let size = |value: f64| ((value / RAW_LEAST).ln() / RAW_WIDTH.ln()).clamp(0.0, 100_000.0);
    if value > RAW_LEAST {
        size(value).ceil().max(1.0) as i32
    } else if value >= -RAW_LEAST {
        0
    } else {
        -(size(-value).floor() as i32) - 1
    }
}

fn raw_edge(step: i32) -> f64 {
    match step {
        0 => RAW_LEAST,
        step if step > 0 => RAW_LEAST * RAW_WIDTH.powi(step),
        step => -RAW_LEAST * RAW_WIDTH.powi(-step - 1),
    }
}

fn raw_buckets(cells: &Cells<Vec<f64>>) -> BucketCells {
    let mut steps: Vec<i32> = cells.iter().flatten().flatten().map(|value| raw_step(*value)).collect();
    // The edges below and above each value make the bucket that holds it as narrow as the lattice.
    let below: Vec<i32> = steps.iter().map(|step| step - 1).collect();
    steps.extend(below);
    steps.sort_unstable();
    steps.dedup();
    let mut edges: Vec<f64> = steps.iter().map(|step| raw_edge(*step)).collect();
    edges.push(f64::INFINITY);
    let count = |values: &Vec<f64>| {
        let mut counts = vec![0.0; edges.len()];
        for value in values {
            let bucket = steps.binary_search(&raw_step(*value)).unwrap_or(edges.len() - 1);
            counts[bucket] += 1.0;
        }
        counts
    };
    BucketCells { cells: cells.iter().map(|values| values.as_ref().map(&count)).collect(), edges }
}

impl BucketCells {
    /// Tells whether it is known how many values lie below an edge: it has the edge, or no value lies in the bucket
    /// that the edge would part.
    fn knows(&self, edge: f64) -> bool {
        let bucket = self.edges.partition_point(|own| *own < edge);
        self.edges.get(bucket) == Some(&edge)
            || self.cells.iter().flatten().all(|counts| counts.get(bucket).is_none_or(|n| *n == 0.0))
    }
}

/// Brings sides onto common edges. Lattice edges of raw values are joined, since an absent one only
/// means that no value lies near; edges of histograms are those by which all of them tell values apart.
fn to_common(sides: &mut [&mut BucketCells], is_raw: bool) {
    let filled = || sides.iter().filter(|side| !side.edges.is_empty());
    let mut edges: Vec<f64> = filled().flat_map(|side| side.edges.iter().copied()).collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    if !is_raw {
        edges.retain(|edge| filled().all(|side| side.knows(*edge)));
    }
    for side in sides.iter_mut().filter(|side| !side.edges.is_empty()) {
        let places: Vec<usize> =
            side.edges.iter().map(|edge| edges.partition_point(|common| common < edge)).collect();
        for counts in side.cells.iter_mut().flatten() {
            let mut moved = vec![0.0; edges.len()];
            for (count, place) in counts.iter().zip(&places) {
                if let Some(slot) = moved.get_mut(*place) {
                    *slot += count;
                }
            }
            *counts = moved;
        }
        side.edges.clone_from(&edges);
    }
}

/// Adds up the buckets of several values, over edges that they have in common.
pub(super) fn pool<'a>(values: impl Iterator<Item = &'a [BucketCells; 2]>, is_raw: bool) -> [BucketCells; 2] {
    let mut all: Vec<[BucketCells; 2]> = values.cloned().collect();
    to_common(&mut all.iter_mut().flatten().collect::<Vec<_>>(), is_raw);
    let side = |side: usize| {
        let mut sum = BucketCells::default();
        for one in all.iter().map(|sides| &sides[side]).filter(|one| !one.edges.is_empty()) {
            sum.edges.clone_from(&one.edges);
            sum.cells.resize(sum.cells.len().max(one.cells.len()), None);
            for (into, counts) in sum.cells.iter_mut().zip(&one.cells) {
                match (into, counts) {
                    (Some(into), Some(counts)) => {
                        into.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                    }
                    (into @ None, Some(counts)) => *into = Some(counts.clone()),
                    (_, None) => {}
                }
            }
        }
        sum
    };
    [side(0), side(1)]
}

/// A distribution check under way.
#[derive(Clone, Debug)]
pub(super) struct ScoreCheck {
    harm: Harm,
    tolerated: Amount,
    margin: Option<Amount>,
    at: Vec<f64>,
    budget: Budget,
    pre: [BucketCells; 2],
    is_raw: bool,
    prepared: Option<Arc<Prepared>>,
    /// Whether nobody reads what a look shows beside its decision.
    pub(super) is_quiet: bool,
}

/// What the history gives, for one set of edges.
#[derive(Clone, Debug)]
struct Prepared {
    edges: Vec<f64>,
    /// The history's counts, by these edges.
    pooled: Vec<f64>,
    sheet: Option<Sheet>,
    tests: [ShiftTest; 3],
    pre_values: [Vec<f64>; 3],
    pre_noise: Option<f64>,
}

impl ScoreCheck {
    pub(super) fn new(check: &Check, budget: Budget, mut pre: [BucketCells; 2], is_raw: bool) -> Self {
        let [baseline, canary] = &mut pre;
        to_common(&mut [&mut *baseline, &mut *canary], is_raw);
        align_pre(&mut [&mut baseline.cells, &mut canary.cells]);
        Self {
            harm: check.harm,
            tolerated: check.tolerated,
            margin: check.margin.as_ref().map(|margin| margin.amount),
            at: check.margin.as_ref().map(|margin| margin.at.clone()).unwrap_or_default(),
            budget,
            pre,
            is_raw,
            prepared: None,
            is_quiet: false,
        }
    }

    /// Prepares for edges that the run's data share with the history.
    fn prepare(&self, run: &mut [BucketCells; 2]) -> Prepared {
        let mut pre = self.pre.clone();
        {
            let ([pre_baseline, pre_canary], [baseline, canary]) = (&mut pre, run);
            to_common(&mut [pre_baseline, pre_canary, baseline, canary], self.is_raw);
        }
        let edges =
            pre.iter().find(|side| !side.edges.is_empty()).map(|side| side.edges.clone()).unwrap_or_default();
        let pooled = pooled(&pre, edges.len(), |_| true);
        let sheet = Sheet::new(&edges, &pooled);
        let has_both = pre.iter().all(|side| side.cells.iter().flatten().any(|counts| total(counts) > 0.0));
        let pre_values = Score::ALL.map(|score| match (&sheet, has_both) {
            (Some(sheet), true) => differences(sheet, score, &pre, pre[0].cells.len(), |_| true),
            _ => Vec::new(),
        });
        let tests = [0, 1, 2].map(|idx| {
            ShiftTest::new(self.harm, &self.budget, 3.0, |sign| {
                Means::new(&pre_values[idx].iter().map(|value| sign * value).collect::<Vec<_>>())
            })
        });
        let n = pre[0].cells.len();
        Prepared {
            pre_noise: has_both.then(|| inverse_n(&pre, n, |_| true)),
            edges,
            pooled,
            sheet,
            tests,
            pre_values,
        }
    }

    /// Prepares again only where the edges changed: preparing filters the whole history.
    fn ensure(&mut self, run: &mut [BucketCells; 2]) -> Arc<Prepared> {
        if let Some(prepared) = &self.prepared {
            let cells = vec![Some(prepared.pooled.clone())];
            let mut known = BucketCells { edges: prepared.edges.clone(), cells };
            let [baseline, canary] = run;
            // Without history the sides still need edges in common with each other.
            to_common(&mut [&mut known, &mut *baseline, &mut *canary], self.is_raw);
            if known.edges == prepared.edges {
                return Arc::clone(prepared);
            }
        }
        let prepared = Arc::new(self.prepare(run));
        self.prepared = Some(Arc::clone(&prepared));
        prepared
    }

    pub(super) fn look(&mut self, grid: &Grid, i: usize, run: &[BucketCells; 2]) -> Outcome {
        let n = i + 1;
        let mut run = run.clone();
        for side in &mut run {
            side.cells.truncate(n);
        }
        let prepared = self.ensure(&mut run);
        let is_warm = |idx: usize| grid.is_warm(idx);
        let edges =
            run.iter().map(|side| &side.edges).find(|edges| !edges.is_empty()).cloned().unwrap_or_default();
        // Without history the release so far is its own reference.
        let has_pre = prepared.sheet.is_some();
        let sheet =
            prepared.sheet.clone().or_else(|| Sheet::new(&edges, &pooled(&run, edges.len(), is_warm)));
        let sums = [0, 1].map(|side| sum_of(&run[side], edges.len(), is_warm));
        let present: Vec<bool> =
            (0..n).map(|idx| is_warm(idx) && (0..2).all(|side| has_values(&run[side], idx))).collect();
        let mut outcome = Outcome {
            t: present.iter().filter(|present| **present).count(),
            is_present: present[i],
            has_baseline: total(&sums[0]) > 0.0,
            has_canary: total(&sums[1]) > 0.0,
            n: Sizes { baseline: total(&sums[0]), canary: total(&sums[1]), effective: 0.0 },
            method: if prepared.pre_noise.is_some() {
                "D: rank, exponential and tail scores, each a shift of the mean by M against its history"
            } else {
                "D: rank, exponential and tail scores, each a shift of the mean by M, without history of both sides"
            },
            ..Outcome::default()
        };
        let Some(sheet) = sheet.filter(|_| outcome.t > 0) else { return outcome };
        let noise = |from: usize| {
            let noise = inverse_n(&run, n, |idx| idx >= from && is_warm(idx)) / prepared.pre_noise?;
            Some(noise).filter(|noise| *noise > 0.0 && noise.is_finite())
        };
        let answers = [0, 1, 2].map(|idx| {
            let score = Score::ALL[idx];
            prepared.tests[idx].look(&Question {
                values: &differences(&sheet, score, &run, n, is_warm),
                noise: &|from| noise(from).unwrap_or(1.0),
                is_unsettled: false,
                tolerated: self.sizes(&sheet, score, self.tolerated),
                margin: self
                    .margin
                    .filter(|_| self.is_picked(score))
                    .map(|margin| self.sizes(&sheet, score, margin)),
                is_shown: !self.is_quiet,
            })
        });
        let have = if has_pre { prepared.tests[0].n_history() } else { 0 };
        outcome.lack = (have < GO_HISTORY_MIN).then_some(Lack::History { have, need: GO_HISTORY_MIN });
        self.outcome(&mut outcome, &sheet, &sums, &answers);
        if self.is_quiet {
            return outcome;
        }
        let since = answers[0].since.unwrap_or(0);
        let compared = [0, 1].map(|side| sum_of(&run[side], edges.len(), |idx| idx >= since && is_warm(idx)));
        outcome.superiority = superiority(&compared, &answers[0]);
        outcome
    }

    fn outcome(&self, outcome: &mut Outcome, sheet: &Sheet, sums: &[Vec<f64>; 2], answers: &[Answer; 3]) {
        let leading = (0..3).min_by(|a, b| answers[*a].p_harm.total_cmp(&answers[*b].p_harm)).unwrap_or(0);
        outcome.p_harm = Some(answers[leading].p_harm);
        outcome.level = Some(answers[leading].level);
        outcome.is_harm_crossed = answers.iter().any(|answer| answer.is_harm_crossed);
        outcome.harm_since = answers[leading].since;
        let picked = || answers.iter().filter(|answer| answer.p_go.is_some());
        outcome.p_go = picked().filter_map(|answer| answer.p_go).reduce(f64::max);
        outcome.level_go = outcome.p_go.map(|_| answers[0].level_go);
        outcome.is_go_crossed = outcome.p_go.is_some_and(|p| p <= answers[0].level_go);
        outcome.is_recent_beyond = picked().any(|answer| answer.is_recent_beyond) || self.margin.is_none();
        outcome.is_faded = picked().any(|answer| answer.is_faded);
        outcome.looks_left = if outcome.p_go.is_some() {
            picked()
                .map(|answer| answer.looks_left)
                .reduce(|a, b| a.zip(b).map(|(a, b)| (a.0.max(b.0), a.1.max(b.1))))
                .flatten()
        } else {
            None
        };
        outcome.spent = self.budget.part(1.0).spent(outcome.t);
        if self.is_quiet {
            return;
        }
        outcome.n.effective = answers[leading].information;
        let shown = self.quantile(Score::ALL[leading]);
        outcome.values = Some(Values {
            baseline: sheet.quantile(&sums[0], shown),
            canary: sheet.quantile(&sums[1], shown),
            unit: "value",
        });
        outcome.effect = Some(self.effect(sheet, Score::ALL[leading], &answers[leading]));
        let quantiles =
            if self.at.is_empty() { Score::ALL.map(Score::quantile).to_vec() } else { self.at.clone() };
        outcome.effects = (quantiles.into_iter())
            .map(|at| {
                let score = Score::for_quantile(at);
                let idx = Score::ALL.iter().position(|one| *one == score).unwrap_or(0);
                QuantileEffect {
                    at,
                    effect: self.effect(sheet, score, &answers[idx]),
                    baseline: sheet.quantile(&sums[0], at),
                    canary: sheet.quantile(&sums[1], at),
                }
            })
            .collect();
    }

    /// Says which scaling of all values would move the score as far as was seen.
    fn effect(&self, sheet: &Sheet, score: Score, answer: &Answer) -> Effect {
        let scaling = |shift: f64| scaling(sheet, score, shift);
        Effect {
            estimate: answer.estimate.and_then(scaling),
            low: scaling(answer.low),
            high: scaling(answer.high),
            unit: "ratio",
            measure: Measure::Relative,
        }
    }

    fn quantile(&self, score: Score) -> f64 {
        self.at.iter().copied().find(|at| Score::for_quantile(*at) == score).unwrap_or(score.quantile())
    }

    fn is_picked(&self, score: Score) -> bool {
        self.at.is_empty() || self.at.iter().any(|at| Score::for_quantile(*at) == score)
    }

    /// Turns an amount of harm into shifts of a score, positive in the direction of harm.
    fn sizes(&self, sheet: &Sheet, score: Score, amount: Amount) -> [f64; 2] {
        let mut sizes = [0.0; 2];
        for (size, direction) in sizes.iter_mut().zip(directions(self.harm)) {
            let change = match amount {
                Amount::Relative(part) => Change::Times(direction.ratio(part)),
                Amount::Absolute(number) => Change::Plus(direction.sign() * number),
            };
            *size = (direction.sign() * sheet.shift(score, change)).max(0.0);
        }
        sizes
    }

    /// Tells whether a placebo release at `start` of the history alarms.
    pub(super) fn placebo_alarm(&mut self, start: usize) -> bool {
        let prepared = self.ensure(&mut [BucketCells::default(), BucketCells::default()]);
        let Some(sheet) = &prepared.sheet else { return false };
        (0..3).any(|idx| {
            let tolerated = self.sizes(sheet, Score::ALL[idx], self.tolerated);
            prepared.tests[idx].placebo_alarm(&prepared.pre_values[idx], start, tolerated)
        })
    }

    /// Returns the number of intervals of the history in which placebo releases can lie.
    pub(super) fn n_placebo(&mut self) -> usize {
        self.ensure(&mut [BucketCells::default(), BucketCells::default()]).pre_values[0].len()
    }
}

/// Finds the scaling of all values, less one, that moves a score so far.
fn scaling(sheet: &Sheet, score: Score, shift: f64) -> Option<f64> {
    const FACTOR_MAX: f64 = 1e4;
    let (least, most) =
        (sheet.shift(score, Change::Times(1.0 / FACTOR_MAX)), sheet.shift(score, Change::Times(FACTOR_MAX)));
    if !(least < shift && shift < most) {
        return None;
    }
    let log = find_root_within(-FACTOR_MAX.ln(), FACTOR_MAX.ln(), 1e-7, |log: f64| {
        sheet.shift(score, Change::Times(log.exp())) - shift
    });
    Some(log.exp_m1())
}

/// Computes the chance that a canary's value is larger than a baseline's; values of one bucket count as ties. Its limits
/// lie as far off as those of the shift of the mean rank, which is on the same scale.
fn superiority(sums: &[Vec<f64>; 2], rank: &Answer) -> Option<Effect> {
    let [baseline, canary] = sums;
    let (mut below, mut larger) = (0.0, 0.0);
    for (baseline, canary) in baseline.iter().zip(canary) {
        larger += canary * (below + 0.5 * baseline);
        below += baseline;
    }
    let seen = larger / (total(baseline) * total(canary));
    let shift = rank.estimate?;
    let chance = |value: f64| (seen + value - shift).clamp(0.0, 1.0);
    seen.is_finite().then_some(Effect {
        estimate: Some(seen),
        low: Some(chance(rank.low)),
        high: Some(chance(rank.high)),
        unit: "probability",
        measure: Measure::Superiority,
    })
}

fn total(counts: &[f64]) -> f64 {
    counts.iter().sum()
}

fn has_values(side: &BucketCells, idx: usize) -> bool {
    side.cells.get(idx).is_some_and(|cell| cell.as_ref().is_some_and(|counts| total(counts) > 0.0))
}

fn sum_of(side: &BucketCells, n: usize, keep: impl Fn(usize) -> bool) -> Vec<f64> {
    let mut sums = vec![0.0; n];
    for counts in
        side.cells.iter().enumerate().filter(|(idx, _)| keep(*idx)).filter_map(|(_, cell)| cell.as_ref())
    {
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    sums
}

fn pooled(sides: &[BucketCells; 2], n: usize, keep: impl Fn(usize) -> bool + Copy) -> Vec<f64> {
    let [mut sums, other] = [0, 1].map(|side| sum_of(&sides[side], n, keep));
    sums.iter_mut().zip(other).for_each(|(sum, count)| *sum += count);
    sums
}

/// Mean of `1/n_c + 1/n_b` over the intervals present on both sides.
fn inverse_n(sides: &[BucketCells; 2], n: usize, keep: impl Fn(usize) -> bool) -> f64 {
    let one = |side: &BucketCells, idx: usize| {
        side.cells
            .get(idx)
            .and_then(Option::as_ref)
            .map(|counts| 1.0 / total(counts))
            .filter(|one| one.is_finite())
    };
    let both =
        (0..n).filter(|idx| keep(*idx)).filter_map(|idx| Some(one(&sides[0], idx)? + one(&sides[1], idx)?));
    let (sum, count) = both.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
    sum / count
}

/// Canary less baseline of one mean score, NaN where a side is missing.
fn differences(
    sheet: &Sheet,
    score: Score,
    sides: &[BucketCells; 2],
    n: usize,
    keep: impl Fn(usize) -> bool,
) -> Vec<f64> {
    let mean = |side: &BucketCells, idx: usize| {
        let counts = side.cells.get(idx)?.as_ref()?;
        sheet.mean(score, counts)
    };
    (0..n)
        .map(|idx| match (mean(&sides[0], idx), mean(&sides[1], idx)) {
            (Some(baseline), Some(canary)) if keep(idx) => canary - baseline,
            _ => f64::NAN,
        })
        .collect()
}
