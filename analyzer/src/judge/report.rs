//! What a look says beside its decision: reasons, validity, score, time left.

use greylight_store::model::Timestamp;

use crate::policy::Vote;
use crate::stats::means::GO_HISTORY_MIN;
use crate::verdict::{Cause, CheckResult, Decision, Reason, TimeLeft, Validity, ValidityName};

use super::analysis::{Analysis, Look};
use super::check::{GO_LOOKS_MIN, Lack, MISSING_MAX, Outcome, PRESENT_MIN};
use super::describe;
use super::procedure::{CheckRun, Placebo};
use super::share::ShareResult;

/// Says which history a check lacks for a go.
pub(super) fn lack_of_history(lack: &Lack) -> Option<Cause> {
    match lack {
        Lack::History { have, need } => Some(Cause::NoHistory { have: *have as u64, need: *need as u64 }),
        Lack::Births { what } => Some(Cause::NoBirths { what: what.clone() }),
        Lack::Unsettled { intervals } => Some(Cause::NotSettled { intervals: *intervals as u64 }),
        Lack::Trials { .. } | Lack::Events { .. } | Lack::Values { .. } => None,
    }
}

impl Analysis {
    pub(super) fn answer(
        &self,
        i: usize,
        outcomes: &[Outcome],
        share: Option<ShareResult>,
        exposure: Option<&[Vec<Option<f64>>; 2]>,
    ) -> Look {
        let decision = self.decided.map_or(Decision::Inconclusive, |(decision, _)| decision);
        let checks: Vec<CheckResult> =
            self.checks.iter().zip(outcomes).map(|(run, outcome)| self.check_result(run, outcome)).collect();
        Look {
            interval: i,
            at: Timestamp::from_millis(self.grid.end_ms(i)),
            decision,
            is_final: self.decided.is_some() || i >= self.grid.last(),
            decided_at: self.decided.map(|(_, at)| at),
            looks: self.grid.n_warm(i) as u64,
            reasons: self.reasons(i, outcomes, share.as_ref()),
            validity: self.validity(i, outcomes, share.as_ref()),
            alpha_spent: outcomes.iter().map(|outcome| outcome.spent).sum(),
            score: self.score(decision),
            time_left: self.time_left(i, &checks),
            requests: exposure.map(|sides| {
                [0, 1].map(|side| {
                    let cells = sides[side].iter().enumerate().take(i + 1);
                    cells.filter(|(idx, _)| self.grid.is_warm(*idx)).filter_map(|(_, cell)| *cell).sum()
                })
            }),
            checks,
        }
    }

    fn check_result(&self, run: &CheckRun, outcome: &Outcome) -> CheckResult {
        let ms = |looks: usize| looks as u64 * self.grid.interval_ms();
        let is_open = run.state.decision == Decision::Inconclusive;
        CheckResult {
            name: run.check.name.clone(),
            phase: self.phase.name.clone(),
            kind: run.check.kind.word(),
            vote: run.check.vote,
            decision: run.state.decision,
            decided_at: run.state.decided_at,
            since: run.state.since,
            time_left: outcome
                .looks_left
                .filter(|_| is_open)
                .map(|(low, high)| TimeLeft { low_ms: ms(low), high_ms: ms(high) }),
            values: outcome.values,
            units: outcome.units.clone(),
            effect: outcome.effect,
            effects: outcome.effects.clone(),
            superiority: outcome.superiority,
            margin: run.check.margin.as_ref().map(|margin| margin.amount.number()),
            harm: run.check.harm,
            harm_since: (outcome.harm_since).map(|idx| Timestamp::from_millis(self.grid.start_ms(idx))),
            p_harm: outcome.p_harm,
            level: outcome.level,
            p_go: outcome.p_go,
            level_go: outcome.level_go,
            budget: run.budget,
            spent: outcome.spent,
            n: outcome.n,
            method: outcome.method.to_owned(),
            queries: describe::queries(&run.check),
            patterns: outcome.patterns.clone(),
            new_pods: outcome.new_pods,
            by: outcome.by.clone(),
            logs: outcome.logs.clone(),
        }
    }

    fn reasons(&self, i: usize, outcomes: &[Outcome], share: Option<&ShareResult>) -> Vec<Reason> {
        let decision = self.decided.map(|(decision, _)| decision);
        let mut reasons = Vec::new();
        for (run, outcome) in self.checks.iter().zip(outcomes) {
            let about = |cause| Reason::of_check(&run.check.name, cause);
            match (decision, run.state.decision) {
                (Some(Decision::NoGo), Decision::NoGo) if run.refuses() => {
                    reasons.extend(run.cause().map(about));
                }
                (Some(Decision::Go), Decision::Go) if run.check.vote == Vote::Full => {
                    reasons.extend(run.cause().map(about));
                }
                (None, _) if run.check.vote != Vote::None => {
                    reasons.extend(self.open_reasons(run, outcome, i).into_iter().map(about));
                }
                _ => {}
            }
            if outcome.is_faded && decision != Some(Decision::Go) {
                reasons.push(about(Cause::Faded));
            }
        }
        if let Some(ShareResult { declared: Some(declared), measured, low, high, is_mismatch: true }) =
            share.copied()
        {
            reasons.push(Reason::of_release(Cause::ShareMismatch { declared, measured, low, high }));
        }
        if decision.is_none() {
            reasons.extend(self.phase_reason(i).map(Reason::of_release));
        }
        reasons
    }

    fn open_reasons(&self, run: &CheckRun, outcome: &Outcome, i: usize) -> Vec<Cause> {
        let mut causes = Vec::new();
        if run.placebo.is_restless {
            causes.push(Cause::Restless { runs: run.placebo.runs, alarms: run.placebo.alarms });
        }
        if let Some((crossed, users)) = run.crossing {
            causes.push(Cause::Crossing { crossed, users });
        }
        if self.grid.n_warm(i) == 0 {
            return causes;
        }
        if self.phase.is_before && outcome.has_canary && !outcome.has_baseline {
            causes.push(Cause::NoHistory { have: 0, need: GO_HISTORY_MIN as u64 });
            return causes;
        }
        if (outcome.t == 0 && outcome.settling == 0) || run.state.missing >= MISSING_MAX {
            causes.push(describe::no_data(&run.state, outcome));
            return causes;
        }
        if run.check.vote != Vote::Full || run.state.decision == Decision::Go {
            return causes;
        }
        let not_enough = || Cause::NotEnoughData { what: describe::not_enough(&run.check, outcome) };
        causes.push(outcome.lack.as_ref().and_then(lack_of_history).unwrap_or_else(not_enough));
        causes
    }

    fn phase_reason(&self, i: usize) -> Option<Cause> {
        if i >= self.grid.last() {
            return Some(Cause::TimeRanOut);
        }
        let warm_left = self.grid.until_ms(i, 0);
        if warm_left > 0 {
            return Some(Cause::WarmUp { left_ms: warm_left });
        }
        let mut full = self.checks.iter().filter(|run| run.check.vote == Vote::Full).peekable();
        if full.peek().is_none() {
            return Some(Cause::NothingCanGo);
        }
        let left_ms = self.grid.until_ms(i, self.phase.at_least.millis());
        let is_early = left_ms > 0 && full.all(|run| run.state.decision == Decision::Go);
        is_early.then_some(Cause::TooEarly { left_ms })
    }

    fn validity(&self, i: usize, outcomes: &[Outcome], share: Option<&ShareResult>) -> Vec<Validity> {
        let mut validity = Vec::new();
        if let Some(share) = share {
            validity.push(Validity {
                name: ValidityName::Share,
                ok: !share.is_mismatch,
                text: describe::share(share),
            });
        }
        validity.push(Validity {
            name: ValidityName::PrePeriod,
            ok: self.n_history >= GO_HISTORY_MIN,
            text: match self.phase.is_before {
                true => format!("{} intervals before, which stand in for the baseline", self.n_history),
                false => format!("{} intervals of history of both sides", self.n_history),
            },
        });
        let sum = |part: fn(&Placebo) -> u64| self.checks.iter().map(|run| part(&run.placebo)).sum::<u64>();
        let restless: Vec<&str> = self
            .checks
            .iter()
            .filter(|run| run.placebo.is_restless)
            .map(|run| run.check.name.as_str())
            .collect();
        validity.push(Validity {
            name: ValidityName::AaRuns,
            ok: restless.is_empty(),
            text: if restless.is_empty() {
                format!("{} of {} placebo releases alarmed", sum(|one| one.alarms), sum(|one| one.runs))
            } else {
                format!("too restless: {}", restless.join(", "))
            },
        });
        let n_warm = self.grid.n_warm(i);
        let least = outcomes.iter().map(|outcome| outcome.t + outcome.settling).min().unwrap_or(0);
        validity.push(Validity {
            name: ValidityName::Completeness,
            ok: least as f64 >= PRESENT_MIN * n_warm as f64,
            text: format!("{least} of {n_warm} intervals present on both sides in every check"),
        });
        validity
    }

    /// Scores for clients that know only a number: in the order of the verdicts under every client's rule,
    /// with 75 as the marginal and 95 as the pass score.
    fn score(&self, decision: Decision) -> u8 {
        const MARGINAL: f64 = 75.0;
        const PASS: f64 = 95.0;
        let voting = || self.checks.iter().filter(|run| run.check.vote != Vote::None);
        let total: f64 = voting().map(|run| run.check.weight).sum();
        let fine: f64 =
            voting().filter(|run| run.state.decision != Decision::NoGo).map(|run| run.check.weight).sum();
        let good = if total > 0.0 { 100.0 * fine / total } else { 100.0 };
        let is_critical = voting().any(|run| run.check.vote == Vote::Full && run.refuses());
        let score = match decision {
            Decision::NoGo if is_critical => 0.0,
            Decision::NoGo => good.floor().min(MARGINAL - 1.0),
            Decision::Inconclusive => good.floor().clamp(MARGINAL + 1.0, PASS - 1.0),
            Decision::Go => good.floor().max(PASS),
        };
        score as u8
    }

    fn time_left(&self, i: usize, checks: &[CheckResult]) -> Option<TimeLeft> {
        if self.decided.is_some() {
            return None;
        }
        let mut least = self.grid.until_ms(i, self.phase.at_least.millis());
        let looks = GO_LOOKS_MIN.saturating_sub(self.grid.n_warm(i)) as u64;
        least = least.max(looks * self.grid.interval_ms());
        let mut left = TimeLeft { low_ms: least, high_ms: least };
        for check in checks.iter().filter(|check| check.vote == Vote::Full && check.decision != Decision::Go)
        {
            let own = check.time_left?;
            left.low_ms = left.low_ms.max(own.low_ms);
            left.high_ms = left.high_ms.max(own.high_ms);
        }
        checks.iter().any(|check| check.vote == Vote::Full).then_some(left)
    }
}
