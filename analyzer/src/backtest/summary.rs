//! Counts what placebo releases came to.

use std::collections::BTreeSet;

use super::history::{Feed, History};
use super::placebo::Chosen;
use super::plan::{Plan, full_name};
use super::run::{Bound, Found, Judged, Judgement, Seen};
use super::wire::{
    CheckReportJson, GoJson, MarginJson, PhaseJson, PlacebosJson, PowerJson, ReportJson, RestlessJson,
    ShareJson, UntestedJson, WithoutJson,
};
use crate::policy::{Amount, Check, CheckKind, Phase, Span, Vote};
use crate::stats::dispersion::EventLaw;
use crate::stats::rates::Rate;
use crate::verdict::{Decision, Measure};

/// Each end of an interval errs with this chance.
const INTERVAL_TAIL: f64 = 0.025;
/// Part of the releases that a suggested margin lets go.
const SUGGESTED_GO: f64 = 0.8;

/// Counts.
pub(super) fn report(plan: &Plan, history: &History, chosen: &Chosen, all: &[Judged]) -> ReportJson {
    let n = all.len();
    let count = |decision: Decision| all.iter().filter(|one| one.decision == decision).count();
    let mut times: Vec<usize> =
        all.iter().filter(|one| one.decision == Decision::Go).filter_map(|one| one.after).collect();
    let mut report = ReportJson {
        alpha: Some(plan.policy.alpha.get()),
        runs: n,
        refused: share(count(Decision::NoGo), n),
        go: GoJson { share: share(count(Decision::Go), n), median: median(plan, &mut times) },
        inconclusive: share(count(Decision::Inconclusive), n),
        phases: Vec::new(),
        power: Vec::new(),
        restless: Vec::new(),
        checks: Vec::new(),
        untested: Vec::new(),
        placebos: PlacebosJson {
            kind: if chosen.is_births { "births" } else { "splits" }.to_owned(),
            units: history.units.len(),
            canary_hosts: plan.canary_hosts,
            disjoint: chosen.disjoint,
            pre_period: plan.policy.pre_period.to_string(),
            lasts: span(plan, plan.n_release()),
        },
    };
    for (idx, phase) in plan.policy.phases.iter().enumerate() {
        let reached: Vec<&Judgement> = all.iter().filter_map(|one| one.phases.get(idx)).collect();
        let went = reached.iter().filter(|one| one.decision == Decision::Go);
        let mut times: Vec<usize> = went.filter_map(|one| one.after).collect();
        report.phases.push(PhaseJson {
            name: phase.name.clone(),
            reached: reached.len(),
            go: share(times.len(), reached.len()),
            median: median(plan, &mut times),
        });
        if reached.is_empty() {
            let why = format!(
                "no placebo release came so far: phase {:?} never went",
                plan.policy.phases[idx - 1].name
            );
            let whole = phase.checks.iter().map(|check| full_name(phase, &check.name));
            report.untested.extend(whole.map(|check| UntestedJson { check: Some(check), why: why.clone() }));
            continue;
        }
        for (place, check) in phase.checks.iter().enumerate() {
            let why = match history.checks[idx].get(place) {
                Some(Feed::Nowhere(why)) => Some(why),
                _ => None,
            };
            let case = Case { plan, phase, check, why, place, reached: &reached };
            case.report(&mut report);
        }
    }
    report.untested.extend(general(plan));
    // A policy-level check says the same in each phase.
    let mut known = BTreeSet::new();
    report.untested.retain(|one| known.insert(one.clone()));
    report
}

/// What no check is to blame for.
fn general(plan: &Plan) -> Vec<UntestedJson> {
    let declared = plan.policy.phases.iter().filter(|phase| phase.traffic_share.is_some());
    declared
        .map(|phase| UntestedJson {
            check: None,
            why: format!(
                "phase {:?} declares a traffic_share; placebo canaries get what their units got, so the share is not \
                 tested and each side's exposure is its own",
                phase.name
            ),
        })
        .collect()
}

struct Case<'a> {
    plan: &'a Plan,
    phase: &'a Phase,
    check: &'a Check,
    /// Why nothing was read.
    why: Option<&'a String>,
    place: usize,
    reached: &'a [&'a Judgement],
}

impl Case<'_> {
    fn seen(&self) -> impl Iterator<Item = &Seen> + '_ {
        self.reached.iter().filter_map(|one| one.checks.get(self.place))
    }

    fn report(&self, report: &mut ReportJson) {
        let name = full_name(self.phase, &self.check.name);
        let mut untested =
            |why: String| report.untested.push(UntestedJson { check: Some(name.clone()), why });
        if let Some(why) = self.why {
            untested(why.clone());
        } else if !self.seen().any(|seen| seen.has_data) {
            untested("no data of both sides in any placebo release".to_owned());
        } else if self.check.vote == Vote::None {
            untested("effects: the check has no vote, so it can refuse nothing".to_owned());
        }
        for (idx, effect) in self.plan.effects.iter().enumerate() {
            let tried: Vec<Found> = self
                .seen()
                .filter_map(|seen| seen.found.get(idx))
                .copied()
                .filter(|one| *one != Found::Untested)
                .collect();
            if tried.is_empty() {
                if self.why.is_none()
                    && self.check.vote != Vote::None
                    && self.seen().any(|seen| seen.has_data)
                {
                    let text = "cannot be put into this data: nothing, or less, would be left";
                    untested(format!("effect {}: {text}", effect.text));
                }
                continue;
            }
            let mut times: Vec<usize> = tried
                .iter()
                .filter_map(|one| if let Found::At(after) = one { Some(*after) } else { None })
                .collect();
            let found = share(times.len(), tried.len());
            report.power.push(PowerJson {
                check: name.clone(),
                effect: effect.text.clone(),
                found: found.share,
                low: found.low,
                high: found.high,
                runs: tried.len(),
                median: median(self.plan, &mut times),
            });
        }
        let n_restless = self.seen().filter(|seen| seen.is_restless).count();
        if n_restless > 0 {
            let share = n_restless as f64 / self.reached.len() as f64;
            report.restless.push(RestlessJson { check: name.clone(), share });
        }
        report.checks.push(self.check_report(name));
    }

    fn check_report(&self, name: String) -> CheckReportJson {
        let n = self.reached.len();
        let part = |count: usize| (n > 0).then(|| count as f64 / n as f64);
        let (is_full, can_go) = (self.check.vote == Vote::Full, self.check.margin.is_some());
        let mut goes: Vec<usize> = self.seen().filter_map(|seen| seen.goes).collect();
        let mut without: Vec<usize> = self.seen().filter_map(|seen| seen.goes_without).collect();
        let others = self.phase.checks.iter().filter(|one| one.vote == Vote::Full).count();
        let (value, noise) = (
            middle(self.seen().filter_map(|seen| seen.baseline)),
            middle(self.seen().filter_map(|seen| seen.noise)),
        );
        let amount = self.check.margin.as_ref().map(|margin| match margin.amount {
            Amount::Absolute(size) => Bound { size, measure: Measure::Difference },
            Amount::Relative(size) => Bound { size, measure: Measure::Relative },
        });
        CheckReportJson {
            name,
            kind: self.check.kind.word().to_owned(),
            vote: self.check.vote.word().to_owned(),
            alarms: self.seen().filter(|seen| seen.refused).count(),
            go: part(goes.len()).filter(|_| can_go),
            go_median: median(self.plan, &mut goes),
            slowest: part(self.slowest()).filter(|_| is_full),
            without: part(without.len())
                .filter(|_| is_full && others > 1)
                .map(|go| WithoutJson { go, median: median(self.plan, &mut without) }),
            value,
            noise,
            unit: self.unit().to_owned(),
            margin: amount.map(|one| measures(one, value, noise)),
            suggested_margin: self.suggested().map(|one| measures(one, value, noise)),
        }
    }

    /// Counts the releases in which no other check took longer to go.
    fn slowest(&self) -> usize {
        let is_slowest = |one: &&&Judgement| {
            let at = |seen: &Seen| seen.goes.unwrap_or(usize::MAX);
            let full =
                self.phase.checks.iter().zip(&one.checks).filter(|(check, _)| check.vote == Vote::Full);
            let last = full.map(|(_, seen)| at(seen)).max();
            one.checks.get(self.place).map(at) == last
        };
        self.reached.iter().filter(is_slowest).count()
    }

    fn unit(&self) -> &'static str {
        match self.check.kind {
            CheckKind::Ratio { .. } => "ratio",
            CheckKind::Count { .. } => "per second",
            _ => self.seen().map(|seen| seen.unit).find(|unit| !unit.is_empty()).unwrap_or(""),
        }
    }

    /// The margin below which the bounds of 80 % of the releases lie.
    fn suggested(&self) -> Option<Bound> {
        if matches!(
            self.check.kind,
            CheckKind::Patterns { .. } | CheckKind::Composite | CheckKind::Users { .. }
        ) {
            return None;
        }
        let mut sizes: Vec<f64> = self.seen().filter_map(|seen| seen.bound).map(|bound| bound.size).collect();
        let measure = self.seen().find_map(|seen| seen.bound)?.measure;
        sizes.sort_by(f64::total_cmp);
        let place = (SUGGESTED_GO * self.reached.len() as f64).ceil() as usize;
        let size = *sizes.get(place.checked_sub(1)?)?;
        (size > 0.0).then_some(Bound { size: rounded_up(size), measure })
    }
}

/// Says a size in every measure that is known.
fn measures(size: Bound, value: Option<f64>, noise: Option<f64>) -> MarginJson {
    let value = value.map(f64::abs).filter(|value| *value > 0.0);
    let (relative, absolute) = match size.measure {
        Measure::Difference => (value.map(|value| size.size / value), Some(size.size)),
        _ => (Some(size.size), value.map(|value| size.size * value)),
    };
    let in_noise = absolute.zip(noise.filter(|noise| *noise > 0.0)).map(|(size, noise)| size / noise);
    MarginJson { relative, absolute, in_noise }
}

/// Rounds up to two digits: a suggestion is no measurement.
fn rounded_up(size: f64) -> f64 {
    let unit = 10_f64.powf(size.log10().floor() - 1.0);
    (size / unit).ceil() * unit
}

fn share(count: usize, n: usize) -> ShareJson {
    if n == 0 {
        return ShareJson { share: None, low: 0.0, high: 1.0, count };
    }
    let rate = Rate { events: count as f64, exposure: n as f64, law: EventLaw::Binomial };
    ShareJson {
        share: Some(rate.estimate()),
        low: rate.lower(INTERVAL_TAIL),
        high: rate.upper(INTERVAL_TAIL),
        count,
    }
}

fn median(plan: &Plan, times: &mut [usize]) -> Option<String> {
    times.sort_unstable();
    times.get(times.len() / 2).map(|time| span(plan, *time))
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn span(plan: &Plan, intervals: usize) -> String {
    Span::from_millis(plan.policy.interval.millis().saturating_mul(intervals as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_their_exact_interval() {
        let none = share(0, 200);
        assert_eq!((none.share, none.low), (Some(0.0), 0.0));
        // Clopper and Pearson: 1 - 0.025^(1/200).
        assert!((none.high - (1.0 - 0.025_f64.powf(1.0 / 200.0))).abs() < 1e-9, "{none:?}");
        assert_eq!(share(0, 0).share, None);
    }

    #[test]
    fn suggestions_are_rounded_up_to_two_digits() {
        for (size, want) in [(0.0123, 0.013), (0.5, 0.5), (17.2, 18.0), (0.001_01, 0.0011)] {
            assert!((rounded_up(size) - want).abs() < 1e-12, "{size}: {}", rounded_up(size));
        }
    }
}
