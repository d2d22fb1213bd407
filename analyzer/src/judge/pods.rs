//! Checks on new pods, which have no history of their own: procedure N.
//!
//! A pod has one value in an interval, or three scores; each is tested alike, and all share who is compared with whom.

use indexmap::IndexMap;

use crate::policy::{Amount, Check, Harm};
use crate::stats::births::{Birth, Noise, Part, Pods};
use crate::verdict::{Effect, Measure, Sizes, Values};

use super::check::{Budget, Outcome};
use super::data::BirthData;
use super::grid::{Grid, align_pre};
use super::means::{Answer, MeanRun, mean_of, n_present, plain_mean, units};
use super::scale::Scale;

mod comparison;
mod foretell;
mod scores;
mod test;

use comparison::{Comparison, event_of, is_replaced};
pub(super) use scores::{PodScores, is_new as are_new};
use test::{Hosts, PodTest, PodValues, Question};

/// A mean check on new pods under way.
#[derive(Clone, Debug)]
pub(super) struct PodCheck {
    harm: Harm,
    tolerated: Amount,
    margin: Option<Amount>,
    scale: Scale,
    baseline_mean: f64,
    comparison: Comparison,
}

impl PodCheck {
    /// Prepares for new pods; `None` where the old pods' history says nothing of scatter.
    pub(super) fn new(
        check: &Check,
        budget: &Budget,
        warm_up: usize,
        pre: &Hosts,
        births: &[BirthData],
    ) -> Option<Self> {
        let values = || pre.values().flatten().flatten().copied();
        let scale = Scale::of_pods(check, values());
        let mut old = scaled(scale, pre);
        align_pre(&mut old.values_mut().collect::<Vec<_>>());
        let replaced = is_replaced(births, |pod| pre.contains_key(pod));
        let births: Vec<Birth> = (births.iter())
            .map(|birth| Birth { event: event_of(births, &birth.event), d: birth.d.clone() })
            .collect();
        let test = PodTest::new(check.harm, (budget, 1.0), warm_up, &old, (&births, replaced))?;
        Some(Self {
            harm: check.harm,
            tolerated: check.tolerated,
            margin: check.margin.as_ref().map(|margin| margin.amount),
            scale,
            baseline_mean: mean_of(values().collect::<Vec<_>>().iter()),
            comparison: Comparison::new(vec![test], warm_up),
        })
    }

    /// Returns births tried as a canary of one against the others, how many alarmed, and at which level.
    pub(super) fn placebo(&self) -> (usize, usize, f64) {
        self.comparison.placebo()
    }

    pub(super) fn look(&mut self, grid: &Grid, i: usize, run: &MeanRun) -> Outcome {
        let [old, canary] = [0, 1].map(|side| scaled(self.scale, &run.hosts[side]));
        let values = PodValues { old, canary, fresh: scaled(self.scale, &run.fresh) };
        let seen = self.comparison.tests[0].differences(grid, i, &values);
        let t = seen.kept.len();
        let means = [0, 1].map(|side| plain_mean(grid, &run.hosts[side], i + 1));
        let has = [0, 1]
            .map(|side| run.hosts[side].values().any(|cells| cells.iter().take(i + 1).any(Option::is_some)));
        let mut outcome = Outcome {
            t,
            settling: seen.settling,
            is_present: seen.is_present,
            has_baseline: has[0],
            has_canary: has[1],
            method: self.method(),
            n: Sizes { baseline: t as f64, canary: t as f64, effective: seen.canary.pods.len() as f64 },
            ..Outcome::default()
        };
        if has != [true, true] {
            return outcome;
        }
        let pods = self.comparison.pods(i, &values, &seen);
        self.comparison.choose(pods);
        outcome.method = self.method();
        outcome.values = Some(Values { baseline: means[0], canary: means[1], unit: "value" });
        outcome.units = units(grid, run, i + 1);
        let announced = self.announced(pods, Noise::USUAL).map(|shift| self.scale.shown(shift));
        outcome.new_pods = Some(self.comparison.described(grid, pods, announced));
        outcome.lack = self.comparison.lack(pods, |pods| self.finds(pods));
        let Some(part) = self.comparison.part() else { return outcome };
        let (test, margin) = (&self.comparison.tests[0], self.margin());
        let silent = test.silent(t, margin.is_some());
        outcome.level = Some(silent.level);
        outcome.level_go = margin.map(|_| silent.level_go);
        outcome.spent = test.spent(t);
        outcome.is_recent_beyond = margin.is_none();
        let tolerated = self.scale.sizes(self.harm, self.tolerated, self.baseline_mean);
        let question = Question { part, pods, noise: Noise::USUAL, tolerated, margin, is_plain_too: false };
        if let Some(answer) = test.look(&question, &seen) {
            outcome.p_harm = Some(answer.p_harm);
            outcome.is_harm_crossed = answer.is_harm_crossed;
            outcome.p_go = answer.p_go;
            outcome.is_go_crossed = answer.p_go.is_some_and(|p| p <= answer.level_go);
            outcome.is_recent_beyond = answer.is_recent_beyond;
            outcome.is_faded = answer.is_faded;
            outcome.looks_left = answer.looks_left;
            outcome.effect = Some(self.effect(&answer));
        }
        outcome
    }

    fn margin(&self) -> Option<[f64; 2]> {
        self.margin.map(|margin| self.scale.sizes(self.harm, margin, self.baseline_mean))
    }

    fn effect(&self, answer: &Answer) -> Effect {
        let (unit, measure) = match self.scale {
            Scale::Linear => ("value", Measure::Difference),
            Scale::Log { .. } => ("ratio", Measure::Relative),
        };
        let end =
            |value: f64| Some(value).filter(|value| value.is_finite()).map(|value| self.scale.shown(value));
        Effect {
            estimate: answer.estimate.and_then(end),
            low: end(answer.low),
            high: end(answer.high),
            unit,
            measure,
        }
    }

    fn announced(&self, pods: Pods, noise: Noise) -> Option<f64> {
        self.comparison.tests[0].announced(self.comparison.part()?, pods, noise)
    }

    /// Tells whether so many pods would show harm below the margin by fresh ones.
    fn finds(&self, pods: Pods) -> bool {
        let found = self.comparison.tests[0].announced(Part::Fresh, pods, Noise::USUAL);
        found.zip(self.margin()).is_some_and(|(found, margin)| found <= margin[0])
    }

    fn method(&self) -> &'static str {
        match self.comparison.part() {
            Some(Part::Births) => {
                "N: new pods against the old ones, less what earlier starts had at the same age"
            }
            Some(Part::Fresh) => "N: new pods against fresh ones of the old version, spread from history",
            Some(Part::Old) => "N: new pods against the old ones, taken to be settled after the warm-up",
            None => "N: new pods; no births, no fresh pods, nothing that a test could rest on",
        }
    }
}

/// Puts values on a scale.
fn scaled(scale: Scale, hosts: &Hosts) -> Hosts {
    let one = |cells: &super::grid::Cells<f64>| {
        cells.iter().map(|value| value.map(|value| scale.apply(value))).collect()
    };
    hosts.iter().map(|(name, cells)| (name.clone(), one(cells))).collect()
}

/// Tells whether procedure N is called for: the baseline's pods have a history and the canary's have none.
pub(super) fn is_new(pre: &[IndexMap<String, super::grid::Cells<f64>>; 2]) -> bool {
    n_present(&pre[0]) > 0 && n_present(&pre[1]) == 0
}
