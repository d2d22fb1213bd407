//! The composite check: harm spread thinly over all mean checks.
//!
//! Each mean check's difference over its own scatter in the history, signed so that harm is up, averaged over the
//! checks: a series whose own variance carries how the checks depend on each other. It goes
//! through procedure M like any other.

use crate::policy::Harm;
use crate::stats::means::Means;
use crate::verdict::{Effect, Measure, Sizes, Values};

use super::check::{Budget, Lack, Outcome};
use super::means::{MeanCheck, Question, ShiftTest, mean_of};

/// A composite check under way.
#[derive(Clone, Debug)]
pub(super) struct CompositeCheck {
    budget: Budget,
    /// Scatter of each mean check's history, by its place among the checks.
    parts: Vec<Part>,
    test: Option<ShiftTest>,
    pre_values: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    sign: f64,
    centre: f64,
    scatter: f64,
}

/// Checks with a history that must be there for a mean over checks to say more than each of them.
const PARTS_MIN: usize = 2;

impl CompositeCheck {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, parts: Vec::new(), test: None, pre_values: Vec::new() }
    }

    /// Learns from the mean checks' histories. A check whose harm lies in either direction has no sign that says
    /// where harm is, and one without history of both sides no scatter: neither takes part. Nor does one with bursts of
    /// single hosts, whose means alone show nothing.
    pub(super) fn learn(&mut self, checks: &[&MeanCheck]) {
        let histories = checks.iter().map(|check| {
            let values = check.pre_values();
            (check.harm(), if check.has_bursts() { &[] } else { values })
        });
        let mut series: Vec<Vec<f64>> = Vec::new();
        for (harm, values) in histories {
            let part = Part::new(harm, values);
            self.parts.push(part);
            if part.sign != 0.0 {
                series.push(values.iter().map(|value| part.scaled(*value)).collect());
            }
        }
        if series.len() < PARTS_MIN {
            return;
        }
        let n = series.iter().map(Vec::len).max().unwrap_or(0);
        // Histories end at the release; a shorter one is missing at the start.
        let at =
            |one: &Vec<f64>, idx: usize| (idx + one.len()).checked_sub(n).map_or(f64::NAN, |idx| one[idx]);
        self.pre_values = (0..n).map(|idx| finite_mean(series.iter().map(|one| at(one, idx)))).collect();
        let values = &self.pre_values;
        let test = ShiftTest::new(Harm::Up, &self.budget, 1.0, |_| Means::new(values));
        self.test = Some(test.without_known_noise());
    }

    /// Looks at what the mean checks saw at this look, in the order of [`CompositeCheck::learn`].
    pub(super) fn look(&self, checks: &[&MeanCheck]) -> Outcome {
        let method =
            "composite: mean of the mean checks' differences, each over its scatter in the history, by M";
        let mut outcome = Outcome { method, ..Outcome::default() };
        let n = checks.iter().map(|check| check.values().len()).max().unwrap_or(0);
        let values: Vec<f64> = (0..n)
            .map(|idx| {
                let one = |(part, check): (&Part, &&MeanCheck)| {
                    let value = check.values().get(idx).copied().unwrap_or(f64::NAN);
                    if part.sign == 0.0 { f64::NAN } else { part.scaled(value) }
                };
                finite_mean(self.parts.iter().zip(checks).map(one))
            })
            .collect();
        outcome.t = values.iter().filter(|value| value.is_finite()).count();
        outcome.is_present = values.last().is_some_and(|value| value.is_finite());
        (outcome.has_baseline, outcome.has_canary) = (outcome.t > 0, outcome.t > 0);
        let Some(test) = self.test.as_ref().filter(|_| outcome.t > 0) else {
            outcome.lack = Some(Lack::History { have: 0, need: crate::stats::means::GO_HISTORY_MIN });
            return outcome;
        };
        let answer = test.look(&Question {
            values: &values,
            noise: &|_| 1.0,
            is_unsettled: false,
            tolerated: [0.0; 2],
            margin: None,
            is_shown: true,
        });
        outcome.p_harm = Some(answer.p_harm);
        outcome.level = Some(answer.level);
        outcome.is_harm_crossed = answer.is_harm_crossed;
        outcome.harm_since = answer.since;
        outcome.is_recent_beyond = true;
        outcome.spent = self.budget.part(1.0).spent(outcome.t);
        outcome.n =
            Sizes { baseline: outcome.t as f64, canary: outcome.t as f64, effective: answer.information };
        outcome.values = Some(Values { baseline: None, canary: None, unit: "sd" });
        outcome.effect = Some(Effect {
            estimate: answer.estimate,
            low: Some(answer.low).filter(|low| low.is_finite()),
            high: Some(answer.high).filter(|high| high.is_finite()),
            unit: "sd",
            measure: Measure::Difference,
        });
        outcome
    }

    /// Tells whether a placebo release at `start` of the history alarms.
    pub(super) fn placebo_alarm(&self, start: usize) -> bool {
        self.test.as_ref().is_some_and(|test| test.placebo_alarm(&self.pre_values, start, [0.0; 2]))
    }

    pub(super) fn n_looks(&self) -> usize {
        self.budget.n_looks
    }

    /// Returns the number of intervals of the history in which placebo releases can lie.
    pub(super) fn n_placebo(&self) -> usize {
        if self.test.is_some() { self.pre_values.len() } else { 0 }
    }
}

impl Part {
    fn new(harm: Harm, values: &[f64]) -> Self {
        let centre = finite_mean(values.iter().copied());
        let squares = values.iter().map(|value| (value - centre).powi(2));
        let scatter = finite_mean(squares).sqrt();
        let sign = match harm {
            Harm::Up => 1.0,
            Harm::Down => -1.0,
            Harm::Either => 0.0,
        };
        let is_known = scatter > 0.0 && scatter.is_finite();
        Self { sign: if is_known { sign } else { 0.0 }, centre, scatter }
    }

    fn scaled(&self, value: f64) -> f64 {
        self.sign * (value - self.centre) / self.scatter
    }
}

fn finite_mean(values: impl Iterator<Item = f64>) -> f64 {
    mean_of(values.filter(|value| value.is_finite()).collect::<Vec<_>>().iter())
}
