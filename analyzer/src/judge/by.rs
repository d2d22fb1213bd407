//! One test a value of a label inside a check's alpha: routes, response codes, callers.
//!
//! Which values are tested singly is fixed by the history, so that the canary cannot choose; all others, and those
//! that show first in the release, are pooled as `other`. Each of them gets an equal part of the check's
//! budget. Go needs every value that has the margin's trials, and the pool of those that do not.

use indexmap::IndexMap;

use crate::policy::{By, Check, CheckKind};
use crate::stats::means::GO_HISTORY_MIN;
use crate::verdict::{ByValue, Decision};

use super::check::{Budget, Lack, Outcome};
use super::grid::Grid;
use super::placed::{Placed, pooled};
use super::procedure::{CheckRun, Known, Placebo};

/// What values without a test of their own are called.
const OTHER: &str = "other";

/// A check with one test a value under way.
#[derive(Clone, Debug)]
pub(super) struct ByCheck {
    /// The check, as each value's test sees it.
    check: Check,
    budget: Budget,
    known: Terms,
    values: IndexMap<String, CheckRun>,
    other: CheckRun,
    /// The pool that go is held to: `other` and the values that lack trials now.
    rest: Option<Rest>,
    pre: IndexMap<String, Placed>,
}

/// What all tests share of what is known beforehand.
#[derive(Clone, Copy, Debug)]
struct Terms {
    declared_share: Option<f64>,
    is_raw: bool,
    warm_up: usize,
    step_ms: i64,
}

#[derive(Clone, Debug)]
struct Rest {
    members: Vec<String>,
    run: CheckRun,
}

impl Terms {
    fn known(self, pre: Placed) -> Known<'static> {
        Known {
            pre,
            births: &[],
            declared_share: self.declared_share,
            is_raw: self.is_raw,
            units: Vec::new(),
            warm_up: self.warm_up,
            step_ms: self.step_ms,
        }
    }
}

impl ByCheck {
    pub(super) fn new(
        check: &Check,
        by: &By,
        budget: &Budget,
        pre: &IndexMap<String, Placed>,
        known: &Known<'_>,
    ) -> Self {
        let check = Check { by: None, ..check.clone() };
        let terms = Terms {
            declared_share: known.declared_share,
            is_raw: known.is_raw,
            warm_up: known.warm_up,
            step_ms: known.step_ms,
        };
        let chosen = chosen(&check, by, pre);
        let part = Budget { alpha: budget.alpha / (chosen.len() + 1) as f64, ..budget.clone() };
        let run = |pre: Placed| CheckRun::new(&check, part.clone(), terms.known(pre));
        let values: IndexMap<String, CheckRun> =
            chosen.into_iter().map(|value| (value.clone(), run(pre[&value].clone()))).collect();
        let others: Vec<&Placed> = left_out(pre, |value| values.contains_key(value));
        let other = run(pooled(&others, terms.is_raw));
        Self { other, values, rest: None, check, budget: part, known: terms, pre: pre.clone() }
    }

    /// Lists the tests by value, the largest value first, that of all others last.
    pub(super) fn tests(&self) -> impl Iterator<Item = (&str, &CheckRun)> {
        let own = self.values.iter().map(|(value, run)| (value.as_str(), run));
        own.chain([(OTHER, &self.other)])
    }

    /// The same, to be changed.
    pub(super) fn tests_mut(&mut self) -> impl Iterator<Item = &mut CheckRun> {
        self.values.values_mut().chain([&mut self.other])
    }

    /// Sums up the placebo releases of all values; the check is restless only if all of them are.
    pub(super) fn placebo(&self) -> Placebo {
        let all = || self.values.values().chain([&self.other]).map(|run| run.placebo);
        Placebo {
            runs: all().map(|one| one.runs).sum(),
            alarms: all().map(|one| one.alarms).sum(),
            is_restless: all().all(|one| one.is_restless),
        }
    }

    pub(super) fn look(&mut self, grid: &Grid, i: usize, placed: &IndexMap<String, Placed>) -> Outcome {
        let nothing = Placed::Nothing;
        let mut outcomes: Vec<(String, Outcome)> = Vec::with_capacity(self.values.len() + 1);
        for (value, run) in &mut self.values {
            let outcome = run.look_alone(grid, i, placed.get(value).unwrap_or(&nothing));
            outcomes.push((value.clone(), outcome));
        }
        let others = left_out(placed, |value| self.values.contains_key(value));
        let of_others = self.other.look_alone(grid, i, &pooled(&others, self.known.is_raw));
        outcomes.push((OTHER.to_owned(), of_others));
        let lacking: Vec<String> = (outcomes.iter().zip(self.values.keys()))
            .filter(|((_, outcome), _)| outcome.lack.is_some() || !outcome.is_complete(grid.n_warm(i)))
            .map(|((value, _), _)| value.clone())
            .collect();
        let rest = self.rest(grid, i, placed, &lacking);
        self.together(grid, i, &outcomes, &lacking, rest)
    }

    /// Looks at the pool that go is held to; `None` where there is nothing in it.
    fn rest(
        &mut self,
        grid: &Grid,
        i: usize,
        placed: &IndexMap<String, Placed>,
        lacking: &[String],
    ) -> Option<(Outcome, Decision)> {
        let in_rest = |value: &str| lacking.iter().any(|one| one == value);
        let is_own = |value: &str| self.values.contains_key(value) && !in_rest(value);
        let members = left_out(placed, is_own);
        if members.is_empty() {
            return None;
        }
        let now = pooled(&members, self.known.is_raw);
        if self.rest.as_ref().is_none_or(|rest| rest.members != lacking) {
            let pre = pooled(&left_out(&self.pre, is_own), self.known.is_raw);
            let mut run = CheckRun::new(&self.check, self.budget.clone(), self.known.known(pre));
            // A pool of other members is another one: it has to be seen from the start.
            (0..i).for_each(|idx| {
                run.look_alone(grid, idx, &now);
            });
            self.rest = Some(Rest { members: lacking.to_vec(), run });
        }
        let rest = self.rest.as_mut()?;
        let outcome = rest.run.look_alone(grid, i, &now);
        Some((outcome, rest.run.state.decision))
    }

    fn together(
        &self,
        grid: &Grid,
        i: usize,
        outcomes: &[(String, Outcome)],
        lacking: &[String],
        rest: Option<(Outcome, Decision)>,
    ) -> Outcome {
        let n_tests = outcomes.len() as f64;
        let runs: Vec<&CheckRun> = self.values.values().chain([&self.other]).collect();
        let leading = (0..outcomes.len())
            .min_by(|a, b| surprise(&outcomes[*a].1).total_cmp(&surprise(&outcomes[*b].1)))
            .unwrap_or(0);
        let mut whole = outcomes[leading].1.clone();
        whole.t = outcomes.iter().map(|(_, one)| one.t).max().unwrap_or(0);
        whole.is_present = outcomes.iter().any(|(_, one)| one.is_present);
        whole.has_baseline = outcomes.iter().any(|(_, one)| one.has_baseline);
        whole.has_canary = outcomes.iter().any(|(_, one)| one.has_canary);
        whole.spent = outcomes.iter().map(|(_, one)| one.spent).sum();
        // The part's p at the part's level, written at the level of the whole.
        whole.p_harm = whole.p_harm.map(|p| (p * n_tests).min(1.0));
        whole.level = whole.level.map(|level| level * n_tests);
        whole.is_harm_crossed = runs.iter().any(|run| run.refuses());
        whole.is_recent_beyond = whole.is_harm_crossed;
        whole.leading = Some(outcomes[leading].0.clone());
        let own = |value: &str| !lacking.iter().any(|one| one == value) && value != OTHER;
        let mut needed: Vec<(&Outcome, Decision)> = (outcomes.iter().zip(&runs))
            .filter(|((value, _), _)| own(value))
            .map(|((_, outcome), run)| (outcome, run.state.decision))
            .collect();
        needed.extend(rest.as_ref().map(|(outcome, decision)| (outcome, *decision)));
        let hardest = needed.iter().filter(|(_, decision)| *decision != Decision::Go);
        let hardest = hardest.max_by(|a, b| a.0.p_go.unwrap_or(1.0).total_cmp(&b.0.p_go.unwrap_or(1.0)));
        let shown = hardest.or(needed.first());
        whole.p_go = shown.and_then(|(outcome, _)| outcome.p_go);
        whole.level_go = shown.and_then(|(outcome, _)| outcome.level_go);
        whole.is_go_crossed =
            !needed.is_empty() && needed.iter().all(|(_, decision)| *decision == Decision::Go);
        let left = needed
            .iter()
            .filter(|(_, decision)| *decision != Decision::Go)
            .map(|(outcome, _)| outcome.looks_left);
        whole.looks_left =
            left.reduce(|a, b| a.zip(b).map(|(a, b)| (a.0.max(b.0), a.1.max(b.1)))).unwrap_or(None);
        whole.lack = self.restless().or_else(|| rest.as_ref().and_then(|(outcome, _)| outcome.lack.clone()));
        whole.by = (outcomes.iter().zip(&runs))
            .map(|((value, outcome), run)| by_value(value, outcome, run, n_tests))
            .collect();
        debug_assert!(whole.t <= grid.n_warm(i));
        whole
    }

    /// Names values that placebo releases found too restless to vote: then the whole cannot go.
    fn restless(&self) -> Option<Lack> {
        let restless: Vec<&str> = self
            .values
            .iter()
            .filter(|(_, run)| run.is_restless())
            .map(|(value, _)| value.as_str())
            .collect();
        (!restless.is_empty()).then(|| Lack::Values {
            what: format!(
                "too restless in their history to vote, and go needs them: {}",
                restless.join(", ")
            ),
        })
    }
}

fn surprise(outcome: &Outcome) -> f64 {
    match (outcome.p_harm, outcome.level) {
        (Some(p), Some(level)) if level > 0.0 => p / level,
        _ => f64::INFINITY,
    }
}

fn by_value(value: &str, outcome: &Outcome, run: &CheckRun, n_tests: f64) -> ByValue {
    ByValue {
        value: value.to_owned(),
        decision: run.state.decision,
        values: outcome.values,
        effect: outcome.effect,
        p_harm: outcome.p_harm.map(|p| (p * n_tests).min(1.0)),
        p_go: outcome.p_go,
        n: outcome.n,
    }
}

/// Chooses the values with a test of their own: those with the most trials in the history, ties by name;
/// distributions need a history as well.
fn chosen(check: &Check, by: &By, pre: &IndexMap<String, Placed>) -> Vec<String> {
    let has_history = |placed: &Placed| {
        !matches!(check.kind, CheckKind::Distribution { .. }) || placed.n_present() >= GO_HISTORY_MIN
    };
    let trials = |placed: &Placed| -> f64 {
        let exposure = placed.exposure_of_any();
        exposure.iter().flatten().flatten().sum()
    };
    let mut values: Vec<(f64, &String)> = pre
        .iter()
        .filter(|(_, placed)| has_history(placed))
        .map(|(value, placed)| (trials(placed), value))
        .collect();
    values.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    values
        .into_iter()
        .filter(|(trials, _)| *trials > 0.0)
        .take(by.limit)
        .map(|(_, value)| value.clone())
        .collect()
}

/// Returns the data of the values that are not tested singly, in the order of their names.
fn left_out(placed: &IndexMap<String, Placed>, is_own: impl Fn(&str) -> bool) -> Vec<&Placed> {
    let mut others: Vec<(&String, &Placed)> = placed.iter().filter(|(value, _)| !is_own(value)).collect();
    others.sort_by(|a, b| a.0.cmp(b.0));
    others.into_iter().map(|(_, placed)| placed).collect()
}
