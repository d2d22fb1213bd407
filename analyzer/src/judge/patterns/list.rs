//! Which patterns are reported, in which order, and how many there are of each severity.

use std::sync::Arc;

use greylight_store::model::Timestamp;

use super::novelty::Sightings;
use super::{OnePattern, PatternCells, PatternCheck, Totals, count_at, is_counted};
use crate::judge::grid::Grid;
use crate::policy::Severity;
use crate::stats::bets::{ShareBet, e_bh};
use crate::stats::boundary::Boundary;
use crate::stats::dispersion::EventLaw;
use crate::stats::rates::Rate;
use crate::verdict::{LogEvidence, NewValue, PatternChange, PatternResult, SeverityTally};

/// Patterns reported at most: more are not read.
const SHOWN_MAX: usize = 10;
/// Records shown of one pattern at most.
const EXAMPLES_MAX: usize = 3;

/// A pattern that may be reported.
struct Candidate<'a> {
    id: &'a str,
    totals: &'a Totals,
    change: PatternChange,
    severity: Severity,
    stands_out: bool,
    ln_e: f64,
    limits: (f64, Option<f64>),
}

impl PatternCheck {
    /// Lists patterns that differ, the most telling first, and counts them all.
    pub(super) fn listed(
        &self,
        grid: &Grid,
        i: usize,
        sides: &[PatternCells; 2],
        levels: &Arc<Boundary>,
    ) -> (Vec<PatternResult>, LogEvidence) {
        let mut candidates = self.candidates(sides, levels.nominal(self.test.t));
        let evidence = self.evidence(i, sides, &candidates);
        candidates.sort_by(|a, b| {
            (b.stands_out.cmp(&a.stands_out))
                .then(b.severity.cmp(&a.severity))
                .then((b.change == PatternChange::New).cmp(&(a.change == PatternChange::New)))
                .then(b.ln_e.total_cmp(&a.ln_e))
                .then(b.totals.canary.total_cmp(&a.totals.canary))
                .then_with(|| a.id.cmp(b.id))
        });
        candidates.truncate(SHOWN_MAX);
        (candidates.iter().map(|one| result(grid, i, sides, one)).collect(), evidence)
    }

    /// Finds the patterns that are new on the canary or differ: those that e-BH backs as a list, and
    /// those whose own interval excludes equal rates.
    fn candidates<'a>(&'a self, sides: &[PatternCells; 2], level: f64) -> Vec<Candidate<'a>> {
        let entries: Vec<(&String, &Totals)> =
            (self.test.totals.iter()).filter(|(_, one)| one.baseline + one.canary > 0.0).collect();
        let ln_e = |bets: &indexmap::IndexMap<String, ShareBet>, id: &String| {
            bets.get(id).map_or(0.0, ShareBet::ln_e)
        };
        let (more, fewer): (Vec<f64>, Vec<f64>) = (entries.iter())
            .map(|(id, _)| (ln_e(&self.test.bets, id), ln_e(&self.test.bets_fewer, id)))
            .unzip();
        // The mean of two e-values is one, whichever way the pattern went.
        let either: Vec<f64> = more.iter().zip(&fewer).map(|(a, b)| ln_mean(*a, *b)).collect();
        let stands_out = e_bh(&either, self.budget.alpha);
        let mut candidates = Vec::new();
        for (idx, (id, totals)) in entries.into_iter().enumerate() {
            let change = self.change(id, totals);
            let limits = ratio_limits(totals, level);
            let differs = limits.0 > 1.0 || limits.1.is_some_and(|high| high < 1.0);
            if change == PatternChange::New || stands_out[idx] || differs {
                let is_fewer = matches!(change, PatternChange::Fewer | PatternChange::Gone);
                candidates.push(Candidate {
                    id,
                    totals,
                    change,
                    severity: severity(sides, id),
                    stands_out: stands_out[idx],
                    ln_e: if is_fewer { fewer[idx] } else { more[idx] },
                    limits,
                });
            }
        }
        candidates
    }

    fn change(&self, id: &str, totals: &Totals) -> PatternChange {
        let is_unseen = !self.weights.contains_key(id);
        match (is_unseen, totals.canary > 0.0) {
            (true, true) if totals.baseline == 0.0 => PatternChange::New,
            (_, false) => PatternChange::Gone,
            _ if totals.canary >= totals.expected => PatternChange::More,
            _ => PatternChange::Fewer,
        }
    }

    fn evidence(&self, i: usize, sides: &[PatternCells; 2], candidates: &[Candidate<'_>]) -> LogEvidence {
        let totals = |id: &String| self.test.totals.get(id).copied().unwrap_or_default();
        let old = |id: &String| self.history.get(id).copied().unwrap_or(0.0) + totals(id).baseline;
        let known =
            self.history.keys().chain(self.test.totals.keys().filter(|id| !self.history.contains_key(*id)));
        let sightings = Sightings::of(known.map(old));
        let canary: f64 = self.test.totals.values().map(|one| one.canary).sum();
        let n_new = candidates.iter().filter(|one| one.change == PatternChange::New).count();
        let mut tallies: Vec<SeverityTally> = Vec::new();
        for one in candidates.iter().filter(|one| one.stands_out || one.change == PatternChange::New) {
            let word = one.severity.word();
            let at = tallies.iter().position(|tally| tally.severity == word).unwrap_or_else(|| {
                tallies.push(SeverityTally::new(word));
                tallies.len() - 1
            });
            tallies[at].count(one.change);
        }
        tallies.sort_by_key(|tally| std::cmp::Reverse(Severity::from_word(tally.severity)));
        LogEvidence {
            novelty: sightings.novelty(canary, n_new as u64),
            tallies,
            more_not_listed: candidates.len().saturating_sub(SHOWN_MAX) as u64,
            new_values: self.new_values(i, sides),
        }
    }

    /// Finds patterns of known templates that only the canary has: a new name is no news, a new word
    /// where names do not stand may be.
    fn new_values(&self, i: usize, sides: &[PatternCells; 2]) -> Vec<NewValue> {
        let mut found = Vec::new();
        let [baseline, canary] = sides;
        for (id, one) in canary.patterns.iter().filter(|(_, one)| is_counted(one, self.severity)) {
            let is_known =
                self.weights.contains_key(id) || self.test.totals.get(id).is_some_and(|t| t.baseline > 0.0);
            if !is_known {
                continue;
            }
            let other = baseline.patterns.get(id);
            for (member, (text, counts)) in &one.members {
                let sum = |counts: &[Option<f64>]| counts.iter().take(i + 1).flatten().sum::<f64>();
                let old =
                    other.and_then(|one| one.members.get(member)).map_or(0.0, |(_, counts)| sum(counts));
                let n = sum(counts);
                if n > 0.0 && old <= 0.0 && !self.members.contains(member) {
                    found.push(NewValue {
                        template: id.clone(),
                        pattern: member.clone(),
                        text: text.clone(),
                        canary: n as u64,
                    });
                }
            }
        }
        found.sort_by(|a, b| b.canary.cmp(&a.canary).then_with(|| a.pattern.cmp(&b.pattern)));
        found.truncate(SHOWN_MAX);
        found
    }
}

fn ln_mean(a: f64, b: f64) -> f64 {
    let most = a.max(b);
    most + (0.5 * ((a - most).exp() + (b - most).exp())).ln()
}

/// The worst severity that either side gave the pattern.
fn severity(sides: &[PatternCells; 2], id: &str) -> Severity {
    let own = |side: &PatternCells| {
        side.patterns.get(id).and_then(|one| one.severity.as_deref()).and_then(Severity::from_word)
    };
    sides.iter().filter_map(own).max().unwrap_or(Severity::Info)
}

fn result(grid: &Grid, i: usize, sides: &[PatternCells; 2], one: &Candidate<'_>) -> PatternResult {
    let side = |side: usize| -> Option<&OnePattern> { sides[side].patterns.get(one.id) };
    let shown = side(1).or_else(|| side(0));
    let count = |side: usize, idx: usize| count_at(&sides[side], one.id, idx) as u64;
    let examples =
        [side(1), side(0)].into_iter().flatten().map(|one| &one.examples).find(|list| !list.is_empty());
    PatternResult {
        id: one.id.to_owned(),
        text: shown.map(|one| one.text.clone()).unwrap_or_default(),
        severity: shown.and_then(|one| one.severity.clone()),
        change: one.change,
        stands_out: one.stands_out,
        baseline: one.totals.baseline as u64,
        canary: one.totals.canary as u64,
        expected: one.totals.expected,
        low: Some(one.limits.0),
        high: one.limits.1,
        e_value: one.ln_e.exp(),
        first_seen: one.totals.first_canary.map(|idx| Timestamp::from_millis(grid.start_ms(idx))),
        units: None,
        counts_by_interval: (0..=i).map(|idx| [count(0, idx), count(1, idx)]).collect(),
        examples: examples.map(|list| list.iter().take(EXAMPLES_MAX).cloned().collect()).unwrap_or_default(),
    }
}

/// Computes limits of the ratio of the rates, conditional on the total.
fn ratio_limits(totals: &Totals, level: f64) -> (f64, Option<f64>) {
    let all = totals.baseline + totals.canary;
    let odds = (all - totals.expected) / totals.expected;
    if level <= 0.0 || !(odds > 0.0 && odds.is_finite()) {
        return (0.0, None);
    }
    let split = Rate { events: totals.canary, exposure: all, law: EventLaw::Binomial };
    let ratio = |part: f64| part / (1.0 - part) * odds;
    let high = Some(ratio(split.upper(level))).filter(|high| totals.baseline > 0.0 && high.is_finite());
    (ratio(split.lower(level).min(1.0 - 1e-12)), high)
}
