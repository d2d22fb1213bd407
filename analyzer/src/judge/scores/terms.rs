//! What a distribution check is held to, and how scores are shown as what they mean for values.

use crate::policy::{Amount, Check, Harm};
use crate::stats::scores::{Change, Score, Sheet};
use crate::stats::special::find_root_within;
use crate::verdict::{Effect, Measure, QuantileEffect, Values};

use super::super::check::{Budget, Outcome, directions};
use super::super::means::Answer;
use super::total;

/// Amounts of a distribution check, and what it may spend.
#[derive(Clone, Debug)]
pub(in crate::judge) struct Terms {
    pub(in crate::judge) harm: Harm,
    pub(in crate::judge) tolerated: Amount,
    pub(in crate::judge) margin: Option<Amount>,
    at: Vec<f64>,
    pub(in crate::judge) budget: Budget,
    /// Whether nobody reads what a look shows beside its decision.
    pub(in crate::judge) is_quiet: bool,
}

impl Terms {
    pub(in crate::judge) fn new(check: &Check, budget: Budget) -> Self {
        Self {
            harm: check.harm,
            tolerated: check.tolerated,
            margin: check.margin.as_ref().map(|margin| margin.amount),
            at: check.margin.as_ref().map(|margin| margin.at.clone()).unwrap_or_default(),
            budget,
            is_quiet: false,
        }
    }

    /// Puts what the three scores say together.
    ///
    /// - `sums`: counts of baseline and canary by the buckets of `sheet`.
    pub(in crate::judge) fn outcome(
        &self,
        outcome: &mut Outcome,
        sheet: &Sheet,
        sums: &[Vec<f64>; 2],
        answers: &[Answer; 3],
    ) {
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

    /// Returns the quantile by which a score is shown.
    pub(in crate::judge) fn quantile(&self, score: Score) -> f64 {
        self.at.iter().copied().find(|at| Score::for_quantile(*at) == score).unwrap_or(score.quantile())
    }

    /// Tells whether go is held to a score.
    pub(in crate::judge) fn is_picked(&self, score: Score) -> bool {
        self.at.is_empty() || self.at.iter().any(|at| Score::for_quantile(*at) == score)
    }

    /// Turns an amount of harm into shifts of a score, positive in the direction of harm.
    pub(in crate::judge) fn sizes(&self, sheet: &Sheet, score: Score, amount: Amount) -> [f64; 2] {
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
}

/// Finds the scaling of all values, less one, that moves a score so far.
pub(in crate::judge) fn scaling(sheet: &Sheet, score: Score, shift: f64) -> Option<f64> {
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
pub(in crate::judge) fn superiority(sums: &[Vec<f64>; 2], rank: &Answer) -> Option<Effect> {
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
