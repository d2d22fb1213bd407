//! Distribution checks on new pods: each score of a pod and interval is one value for N.
//!
//! The sheet is that of the old pods' history. It keeps the edges by which all pods so far told values apart, so it can
//! only grow coarser, and what it says of the history does not depend on where the canary's values lie.

use std::borrow::Cow;
use std::sync::Arc;

use crate::policy::Check;
use crate::stats::births::{Birth, Noise, Part, Pods};
use crate::stats::scores::{Score, Sheet};
use crate::verdict::{Sizes, UnitValue, Values};

use super::super::check::{Budget, Outcome, directions};
use super::super::data::BirthData;
use super::super::grid::{Grid, Stretch, align_pre};
use super::super::means::{Answer, mean_of};
use super::super::scores::{
    self, BucketCells, BucketRun, PodBuckets, SCORES, Terms, coarse_edges, scaling, superiority, total,
};
use super::comparison::{Comparison, event_of, is_replaced};
use super::test::{Differences, PodTest, PodValues, Question};

/// A distribution check on new pods under way.
#[derive(Clone, Debug)]
pub(in crate::judge) struct PodScores {
    pub(in crate::judge) terms: Terms,
    pub(super) sheet: Sheet,
    pub(super) comparison: Comparison,
    known: Arc<KnownPods>,
}

/// What is known before the release.
#[derive(Debug)]
struct KnownPods {
    /// Over the same intervals.
    old: PodBuckets,
    births: Vec<BornPod>,
    is_replaced: bool,
    warm_up: usize,
    /// Mean of `1/n` over the old pods' intervals.
    inverse_n: f64,
}

/// What an earlier start showed, from its first whole interval on.
#[derive(Debug)]
struct BornPod {
    event: usize,
    own: BucketCells,
    /// The settled pods of its version, together.
    peers: BucketCells,
}

impl PodScores {
    /// Prepares for new pods; `None` where the old pods' history says nothing of scatter.
    ///
    /// - `is_raw`: whether the check's values come raw, on a lattice of their own.
    pub(in crate::judge) fn new(
        check: &Check,
        budget: &Budget,
        (warm_up, step_ms): (usize, i64),
        (old, is_raw): (&PodBuckets, bool),
        births: &[BirthData],
    ) -> Option<Self> {
        let mut old = old.clone();
        align_pre(&mut old.values_mut().map(|pod| &mut pod.cells).collect::<Vec<_>>());
        let born = |birth: &BirthData| {
            let (own, peers) = (birth.data.as_ref()?, birth.peers.as_ref()?);
            let life = Stretch::Life { start_ms: own.span_ms()?.0, step_ms };
            let event = event_of(births, &birth.event);
            Some(BornPod { event, own: scores::buckets(life, own), peers: scores::buckets(life, peers) })
        };
        let inverse =
            old.values().flat_map(|pod| pod.cells.iter().flatten()).map(|counts| 1.0 / total(counts));
        let inverse: Vec<f64> = inverse.filter(|inverse| inverse.is_finite()).collect();
        let edges = if is_raw { coarse_edges(old.values()) } else { common_edges(&old) };
        let known = KnownPods {
            births: births.iter().filter_map(born).collect(),
            is_replaced: is_replaced(births, |pod| old.contains_key(pod)),
            old,
            warm_up,
            inverse_n: mean_of(inverse.iter()),
        };
        let terms = Terms::new(check, budget.clone());
        let (sheet, comparison) = known.prepare(&terms, &edges)?;
        Some(Self { terms, sheet, comparison, known: Arc::new(known) })
    }

    /// Returns births tried as a canary of one against the others, how many alarmed, and at which level.
    pub(in crate::judge) fn placebo(&self) -> (usize, usize, f64) {
        self.comparison.placebo()
    }

    pub(in crate::judge) fn look(&mut self, grid: &Grid, i: usize, run: &BucketRun) -> Outcome {
        let n = i + 1;
        let run = &*with_pods(run);
        self.tell_apart(run, n);
        let values = Score::ALL.map(|score| {
            let of = |pods: &PodBuckets| {
                pods.iter().map(|(name, pod)| (name.clone(), pod.means(&self.sheet, score, n))).collect()
            };
            PodValues { old: of(&run.pods[0]), canary: of(&run.pods[1]), fresh: of(&run.fresh) }
        });
        let tests = &self.comparison.tests;
        let seen: Vec<Differences> =
            tests.iter().zip(&values).map(|(test, values)| test.differences(grid, i, values)).collect();
        let kept = &seen[0].kept;
        let has_any = |pods: &PodBuckets| {
            pods.values().any(|pod| pod.cells.iter().take(n).flatten().any(|counts| total(counts) > 0.0))
        };
        let has = [0, 1].map(|side: usize| has_any(&run.pods[side]));
        let sums = [0, 1].map(|side: usize| self.sum(run.pods[side].values(), kept));
        let mut outcome = Outcome {
            t: kept.len(),
            settling: seen[0].settling,
            is_present: seen[0].is_present,
            has_baseline: has[0],
            has_canary: has[1],
            method: self.method(),
            n: Sizes { baseline: total(&sums[0]), canary: total(&sums[1]), effective: 0.0 },
            ..Outcome::default()
        };
        if has != [true, true] {
            return outcome;
        }
        let pods = self.comparison.pods(i, &values[0], &seen[0]);
        self.comparison.choose(pods);
        outcome.method = self.method();
        let announced = self.announced(pods, Noise::USUAL);
        outcome.new_pods = Some(self.comparison.described(grid, pods, announced));
        outcome.lack = self.comparison.lack(pods, |pods| self.finds(pods));
        let [baseline, canary] =
            sums.each_ref().map(|sums| self.sheet.quantile(sums, self.terms.quantile(Score::Rank)));
        outcome.values = Some(Values { baseline, canary, unit: "value" });
        let shown = match self.comparison.part() {
            Some(part) => self.test(&mut outcome, (part, pods), run, (&seen, &sums)),
            None => Score::Rank,
        };
        outcome.units = self.units(run, kept, self.terms.quantile(shown));
        outcome
    }

    /// Puts the three scores' tests together; returns the score that shows harm most.
    fn test(
        &self,
        outcome: &mut Outcome,
        (part, pods): (Part, Pods),
        run: &BucketRun,
        (seen, sums): (&[Differences], &[Vec<f64>; 2]),
    ) -> Score {
        let other = if part == Part::Fresh { &run.fresh } else { &run.pods[0] };
        let kept = &seen[0].kept;
        let noise = Noise { canary: self.noise(&run.pods[1], kept), other: self.noise(other, kept) };
        let answers: [Answer; 3] = [0, 1, 2].map(|idx: usize| {
            let score = Score::ALL[idx];
            let margin = self.margin(score);
            let question = Question {
                part,
                pods,
                noise,
                tolerated: self.terms.sizes(&self.sheet, score, self.terms.tolerated),
                margin,
                // Few values an interval make scores so skewed that clipping moves their mean.
                is_plain_too: true,
            };
            let test = &self.comparison.tests[idx];
            test.look(&question, &seen[idx]).unwrap_or_else(|| test.silent(kept.len(), margin.is_some()))
        });
        self.terms.outcome(outcome, &self.sheet, sums, &answers);
        if !self.terms.is_quiet {
            outcome.superiority = superiority(sums, &answers[0]);
        }
        let leading = (0..3).min_by(|a, b| answers[*a].p_harm.total_cmp(&answers[*b].p_harm)).unwrap_or(0);
        Score::ALL[leading]
    }

    /// Drops the sheet's edges by which a pod does not tell values apart, and learns from the history again.
    fn tell_apart(&mut self, run: &BucketRun, n: usize) {
        let pods = || run.pods.iter().chain([&run.fresh]).flat_map(PodBuckets::values);
        let is_known = |edge: &f64| pods().all(|pod| pod.edges.is_empty() || pod.knows_before(*edge, n));
        let edges: Vec<f64> = self.sheet.edges().iter().copied().filter(is_known).collect();
        if edges.len() == self.sheet.edges().len() {
            return;
        }
        if let Some((sheet, mut comparison)) = self.known.prepare(&self.terms, &edges) {
            comparison.keep(&self.comparison);
            (self.sheet, self.comparison) = (sheet, comparison);
        }
    }

    /// Says how much noisier pods' intervals are than the old pods' were, by how many values they have.
    fn noise(&self, pods: &PodBuckets, kept: &[usize]) -> f64 {
        let counts =
            pods.values().flat_map(|pod| kept.iter().filter_map(|idx| pod.cells.get(*idx)?.as_ref()));
        let inverse: Vec<f64> =
            counts.map(|counts| 1.0 / total(counts)).filter(|one| one.is_finite()).collect();
        let noise = mean_of(inverse.iter()) / self.known.inverse_n;
        // No value at all is no number.
        if noise.is_finite() { noise.max(1.0) } else { 1.0 }
    }

    /// Adds up pods' counts over some intervals, by the buckets of the sheet.
    fn sum<'a>(&self, pods: impl Iterator<Item = &'a BucketCells>, kept: &[usize]) -> Vec<f64> {
        let mut sums = vec![0.0; self.sheet.edges().len()];
        for pod in pods {
            let places: Vec<usize> = pod.edges.iter().map(|edge| self.sheet.place(*edge)).collect();
            for counts in kept.iter().filter_map(|idx| pod.cells.get(*idx)?.as_ref()) {
                places.iter().zip(counts).for_each(|(place, count)| sums[*place] += count);
            }
        }
        sums
    }

    fn units(&self, run: &BucketRun, kept: &[usize], at: f64) -> Vec<UnitValue> {
        let of = |side: usize| {
            run.pods[side].iter().filter_map(move |(name, pod)| {
                let value = self.sheet.quantile(&self.sum(std::iter::once(pod), kept), at)?;
                Some(UnitValue { unit: name.clone(), is_canary: side == 1, value })
            })
        };
        of(0).chain(of(1)).collect()
    }

    fn margin(&self, score: Score) -> Option<[f64; 2]> {
        let margin = self.terms.margin.filter(|_| self.terms.is_picked(score))?;
        Some(self.terms.sizes(&self.sheet, score, margin))
    }

    /// Says which scaling of all values is found by whichever score finds the smallest, less one.
    pub(super) fn announced(&self, pods: Pods, noise: Noise) -> Option<f64> {
        let part = self.comparison.part()?;
        let sign = directions(self.terms.harm)[0].sign();
        let of_score = |(score, test): (Score, &PodTest)| {
            scaling(&self.sheet, score, sign * test.announced(part, pods, noise)?)
        };
        let all = Score::ALL.into_iter().zip(&self.comparison.tests).filter_map(of_score);
        all.min_by(|a, b| a.abs().total_cmp(&b.abs()))
    }

    /// Tells whether so many pods would show harm below the margin by fresh ones.
    pub(super) fn finds(&self, pods: Pods) -> bool {
        Score::ALL.into_iter().zip(&self.comparison.tests).any(|(score, test)| {
            let found = test.announced(Part::Fresh, pods, Noise::USUAL);
            found.zip(self.margin(score)).is_some_and(|(found, margin)| found <= margin[0])
        })
    }

    /// Tells whether a canary that is like the old pods goes at a look.
    pub(super) fn would_go(&self, t: usize, (part, pods, noise): (Part, Pods, Noise)) -> bool {
        let goes = |(score, test): (Score, &PodTest)| {
            let margin = self.margin(score)?;
            let question =
                Question { part, pods, noise, tolerated: [0.0; 2], margin: Some(margin), is_plain_too: true };
            Some(test.would_go(t, &question))
        };
        let mut picked = Score::ALL.into_iter().zip(&self.comparison.tests).filter_map(goes).peekable();
        picked.peek().is_some() && picked.all(|goes| goes)
    }

    pub(super) fn method(&self) -> &'static str {
        match self.comparison.part() {
            Some(Part::Births) => {
                "N: rank, exponential and tail scores of new pods against the old ones, less what earlier starts had \
                 at the same age"
            }
            Some(Part::Fresh) => {
                "N: rank, exponential and tail scores of new pods against fresh ones of the old version, spread from \
                 history"
            }
            Some(Part::Old) => {
                "N: rank, exponential and tail scores of new pods against the old ones, taken to be settled after the \
                 warm-up"
            }
            None => "N: new pods; no births, no fresh pods, nothing that a test could rest on",
        }
    }
}

impl KnownPods {
    /// Learns what the history says by some edges.
    fn prepare(&self, terms: &Terms, edges: &[f64]) -> Option<(Sheet, Comparison)> {
        let mut pooled = vec![0.0; edges.len()];
        for pod in self.old.values() {
            let place = |edge: &f64| edges.partition_point(|own| own < edge).min(edges.len() - 1);
            let places: Vec<usize> = pod.edges.iter().map(place).collect();
            for counts in pod.cells.iter().flatten() {
                places.iter().zip(counts).for_each(|(place, count)| pooled[*place] += count);
            }
        }
        let sheet = Sheet::new(edges, &pooled)?;
        // Starts that were counted in other buckets say nothing here; there may be others.
        let knows = |cells: &BucketCells| edges.iter().all(|edge| cells.knows_before(*edge, usize::MAX));
        let births: Vec<&BornPod> =
            self.births.iter().filter(|birth| knows(&birth.own) && knows(&birth.peers)).collect();
        let test = |score: Score| {
            let all = |pod: &BucketCells| pod.means(&sheet, score, usize::MAX);
            let old = self.old.iter().map(|(name, pod)| (name.clone(), all(pod))).collect();
            let difference = |birth: &&BornPod| {
                let pairs = all(&birth.own).into_iter().zip(all(&birth.peers));
                let d = pairs.map(|(own, peers)| own.zip(peers).map_or(f64::NAN, |(own, peers)| own - peers));
                Birth { event: birth.event, d: d.collect() }
            };
            let births: Vec<Birth> = births.iter().map(difference).collect();
            PodTest::new(terms.harm, (&terms.budget, SCORES), self.warm_up, &old, (&births, self.is_replaced))
        };
        let tests = Score::ALL.map(test).into_iter().collect::<Option<Vec<_>>>()?;
        Some((sheet.clone(), Comparison::new(tests, self.warm_up)))
    }
}

/// Takes a side whose pods are not told apart for one pod.
fn with_pods(run: &BucketRun) -> Cow<'_, BucketRun> {
    let is_whole = |side: usize| run.pods[side].is_empty() && !run.sides[side].cells.is_empty();
    if !is_whole(0) && !is_whole(1) {
        return Cow::Borrowed(run);
    }
    let mut told = run.clone();
    for side in [0, 1].into_iter().filter(|side| is_whole(*side)) {
        told.pods[side].insert(String::new(), run.sides[side].clone());
    }
    Cow::Owned(told)
}

/// Finds the edges by which all pods tell values apart.
fn common_edges(pods: &PodBuckets) -> Vec<f64> {
    let mut edges: Vec<f64> = pods.values().flat_map(|pod| pod.edges.iter().copied()).collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    let filled = || pods.values().filter(|pod| !pod.edges.is_empty());
    edges.retain(|edge| filled().all(|pod| pod.knows_before(*edge, usize::MAX)));
    edges
}

/// Tells whether procedure N is called for: the baseline's pods have a history and the canary's have none.
pub(in crate::judge) fn is_new(pre: &BucketRun) -> bool {
    let has_any = |side: &BucketCells| side.cells.iter().flatten().any(|counts| total(counts) > 0.0);
    pre.pods[0].values().any(has_any) && !has_any(&pre.sides[1])
}
