//! Distribution checks: procedure D, three scores through procedure M.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::policy::Check;
use crate::stats::hosts::{Hosts, NU_GO, NU_MIN};
use crate::stats::means::{GO_HISTORY_MIN, Means};
use crate::stats::scores::{Score, Sheet};
use crate::verdict::Sizes;

use super::check::{Budget, Lack, Outcome};
use super::data::{Data, Histogram, Values};
use super::grid::{Cells, Grid, Stretch, align_pre};
use super::hosts;
use super::means::{Question, ShiftTest, mean_of};

mod foretell;
mod terms;

pub(super) use terms::{Terms, scaling, superiority};

/// Tests that share a check's budget.
pub(super) const SCORES: f64 = 3.0;

/// Bucket counts of one side by interval, over edges of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BucketCells {
    pub(super) edges: Vec<f64>,
    pub(super) cells: Cells<Vec<f64>>,
}

/// Buckets of several pods.
pub(super) type PodBuckets = IndexMap<String, BucketCells>;

/// A distribution's buckets: both sides, and their pods where these are told apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BucketRun {
    pub(super) sides: [BucketCells; 2],
    pub(super) pods: [PodBuckets; 2],
    /// Pods of the old version that started together with the canary.
    pub(super) fresh: PodBuckets,
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

/// Places the distributions of one side's pods, where they are told apart.
pub(super) fn pods(stretch: Stretch<'_>, data: &Data) -> PodBuckets {
    match data {
        Data::Histogram(histogram) => {
            let of = |one: &Histogram| buckets(stretch, &Data::Histogram(one.clone()));
            histogram.units.iter().map(|(pod, one)| (pod.clone(), of(one))).collect()
        }
        Data::Raw(values) => {
            let of = |one: &Values| {
                raw_buckets(&stretch.place(one.t_ms.iter().copied().zip(one.values.iter().cloned())))
            };
            values.units.iter().map(|(pod, one)| (pod.clone(), of(one))).collect()
        }
        _ => PodBuckets::new(),
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

/// Lattice steps that make one of [`coarse_edges`]: a factor of 1.22, a little more than native histograms have.
const COARSE: i32 = 4;

/// Finds edges of a coarser lattice around raw values that were put into buckets: the same values have the same edges,
/// and what is kept of many pods stays small.
pub(super) fn coarse_edges<'a>(all: impl Iterator<Item = &'a BucketCells>) -> Vec<f64> {
    let mut steps: Vec<i32> = Vec::new();
    for one in all {
        for (bucket, edge) in one.edges.iter().enumerate().filter(|(_, edge)| edge.is_finite()) {
            if one.cells.iter().flatten().any(|counts| counts[bucket] > 0.0) {
                // The middle of a bucket is far from where rounding could move it into another.
                let step =
                    -(-raw_step(edge / RAW_WIDTH.powf(0.5 * edge.signum()))).div_euclid(COARSE) * COARSE;
                steps.extend([step - COARSE, step]);
            }
        }
    }
    steps.sort_unstable();
    steps.dedup();
    steps.into_iter().map(raw_edge).chain([f64::INFINITY]).collect()
}

/// Puts raw values into buckets of the coarser lattice.
pub(crate) fn coarse_histogram(values: &Values) -> Histogram {
    let fine = raw_buckets(&values.values);
    let le = coarse_edges(std::iter::once(&fine));
    let places: Vec<usize> =
        fine.edges.iter().map(|edge| le.partition_point(|own| own < edge).min(le.len() - 1)).collect();
    let row = |counts: &Vec<f64>| {
        let mut row = vec![0.0; le.len()];
        places.iter().zip(counts).for_each(|(place, n)| row[*place] += n);
        row
    };
    let counts = fine.cells.iter().map(|counts| counts.as_ref().map(row)).collect();
    Histogram { t_ms: values.t_ms.clone(), le, counts, units: IndexMap::new() }
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
        self.knows_before(edge, usize::MAX)
    }

    /// Does the same for the first `n` intervals.
    pub(super) fn knows_before(&self, edge: f64, n: usize) -> bool {
        let bucket = self.edges.partition_point(|own| *own < edge);
        let is_empty = |counts: &Vec<f64>| counts.get(bucket).is_none_or(|n| *n == 0.0);
        self.edges.get(bucket) == Some(&edge) || self.cells.iter().take(n).flatten().all(is_empty)
    }

    /// Computes the mean score of each of the first `n` intervals.
    pub(super) fn means(&self, sheet: &Sheet, score: Score, n: usize) -> Cells<f64> {
        let scores = sheet.scores_at(score, &self.edges);
        let mean = |counts: &Vec<f64>| {
            let sum: f64 = counts.iter().zip(&scores).map(|(count, score)| count * score).sum();
            let total = total(counts);
            (total > 0.0).then(|| sum / total)
        };
        self.cells.iter().take(n).map(|counts| counts.as_ref().and_then(mean)).collect()
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
    pub(super) terms: Terms,
    pre: [BucketCells; 2],
    is_raw: bool,
    prepared: Option<Arc<Prepared>>,
    /// Whether pods are the unit: where nothing has a history and there are enough of them, as of the first look that
    /// had both sides.
    is_by_hosts: Option<bool>,
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
        Self { terms: Terms::new(check, budget), pre, is_raw, prepared: None, is_by_hosts: None }
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
            ShiftTest::new(self.terms.harm, &self.terms.budget, SCORES, |sign| {
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

    pub(super) fn look(&mut self, grid: &Grid, i: usize, all: &BucketRun) -> Outcome {
        let n = i + 1;
        let mut run = all.sides.clone();
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
        let is_without = prepared.pre_noise.is_none();
        if *self.is_by_hosts.get_or_insert_with(|| is_without && has_enough_pods(&all.pods, n)) {
            self.host_outcome(&mut outcome, grid, (&sheet, &sums), &all.pods, n);
            return outcome;
        }
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
                tolerated: self.terms.sizes(&sheet, score, self.terms.tolerated),
                margin: self
                    .terms
                    .margin
                    .filter(|_| self.terms.is_picked(score))
                    .map(|margin| self.terms.sizes(&sheet, score, margin)),
                is_shown: !self.terms.is_quiet,
            })
        });
        let have = if has_pre { prepared.tests[0].n_history() } else { 0 };
        outcome.lack = (have < GO_HISTORY_MIN).then_some(Lack::History { have, need: GO_HISTORY_MIN });
        self.terms.outcome(&mut outcome, &sheet, &sums, &answers);
        if self.terms.is_quiet {
            return outcome;
        }
        let since = answers[0].since.unwrap_or(0);
        let compared = [0, 1].map(|side| sum_of(&run[side], edges.len(), |idx| idx >= since && is_warm(idx)));
        outcome.superiority = superiority(&compared, &answers[0]);
        outcome
    }

    /// Compares pods' mean scores: procedure H.
    fn host_outcome(
        &self,
        outcome: &mut Outcome,
        grid: &Grid,
        (sheet, sums): (&Sheet, &[Vec<f64>; 2]),
        pods: &[PodBuckets; 2],
        n: usize,
    ) {
        outcome.method = "H: pods as the unit, t tests of their mean rank, exponential and tail scores";
        outcome.lack = Some(Lack::History { have: 0, need: GO_HISTORY_MIN });
        let means = |score: Score, side: usize| -> Vec<f64> {
            let mean = |pod: &BucketCells| {
                let all = pod.means(sheet, score, n);
                let warm = all.iter().enumerate().filter(|(idx, _)| grid.is_warm(*idx));
                let values: Vec<f64> = warm.filter_map(|(_, value)| *value).collect();
                (2 * values.len() >= outcome.t && !values.is_empty()).then(|| mean_of(values.iter()))
            };
            pods[side].values().filter_map(mean).collect()
        };
        let hosts = Score::ALL.map(|score| Hosts::new(&means(score, 0), &means(score, 1)));
        let [Some(rank), Some(exponential), Some(tail)] = hosts else { return };
        let may_decide = outcome.is_present && rank.may_decide(outcome.t, self.terms.budget.n_looks);
        let of_score = |(score, hosts): (Score, &Hosts)| {
            let sizes = |amount| self.terms.sizes(sheet, score, amount);
            let question = hosts::Question {
                harm: self.terms.harm,
                n_tests: SCORES,
                t: outcome.t,
                may_decide,
                tolerated: sizes(self.terms.tolerated),
                margin: self.terms.margin.filter(|_| self.terms.is_picked(score)).map(sizes),
            };
            hosts::answer(hosts, &self.terms.budget, &question)
        };
        let [first, second, third] = Score::ALL;
        let answers = [(first, &rank), (second, &exponential), (third, &tail)].map(of_score);
        outcome.lack = outcome.lack.take().filter(|_| rank.nu < NU_GO);
        self.terms.outcome(outcome, sheet, sums, &answers);
        outcome.is_go_crossed &= may_decide;
        if !self.terms.is_quiet {
            outcome.superiority = superiority(sums, &answers[0]);
        }
    }

    /// Tells whether a placebo release at `start` of the history alarms.
    pub(super) fn placebo_alarm(&mut self, start: usize) -> bool {
        let prepared = self.ensure(&mut [BucketCells::default(), BucketCells::default()]);
        let Some(sheet) = &prepared.sheet else { return false };
        (0..3).any(|idx| {
            let tolerated = self.terms.sizes(sheet, Score::ALL[idx], self.terms.tolerated);
            prepared.tests[idx].placebo_alarm(&prepared.pre_values[idx], start, tolerated)
        })
    }

    /// Returns the number of intervals of the history in which placebo releases can lie.
    pub(super) fn n_placebo(&mut self) -> usize {
        self.ensure(&mut [BucketCells::default(), BucketCells::default()]).pre_values[0].len()
    }
}

/// Tells whether both sides have pods, and enough of them to be the unit.
fn has_enough_pods(pods: &[PodBuckets; 2], n: usize) -> bool {
    let shown = [0, 1].map(|side: usize| {
        pods[side].values().filter(|pod| pod.cells.iter().take(n).any(Option::is_some)).count()
    });
    shown.iter().all(|n| *n > 0) && (shown[0] + shown[1]) as f64 >= NU_MIN + 2.0
}

pub(super) fn total(counts: &[f64]) -> f64 {
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
