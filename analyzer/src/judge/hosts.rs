//! Procedure H in checks: hosts as the unit, where nothing has a history.

use crate::policy::Harm;
use crate::stats::hosts::Hosts;

use super::check::{Budget, directions, rescaled};
use super::means::Answer;

/// What one of `n_tests` tests that share a check's budget is asked at a look; sizes are positive in the direction of
/// harm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) harm: Harm,
    pub(super) n_tests: f64,
    /// Intervals present on both sides so far.
    pub(super) t: usize,
    /// Whether the look may decide; between such looks nothing is spent.
    pub(super) may_decide: bool,
    pub(super) tolerated: [f64; 2],
    pub(super) margin: Option<[f64; 2]>,
}

/// Says what hosts' means say.
pub(super) fn answer(hosts: &Hosts, budget: &Budget, question: &Question) -> Answer {
    let Question { harm, n_tests, t, may_decide, tolerated, margin } = *question;
    let sides = directions(harm);
    let at = |level: f64| if may_decide { level } else { 0.0 };
    let level = budget.part(n_tests * sides.len() as f64).nominal(t);
    let shown = budget.part(1.0).nominal(t);
    let p = sides.iter().zip(tolerated).map(|(one, tolerated)| hosts.p_harm(one.sign(), tolerated));
    let p = p.fold(1.0, f64::min);
    let p_go = margin.map(|margin| {
        let p = sides.iter().zip(margin).map(|(one, margin)| hosts.p_go(one.sign(), margin));
        p.fold(0.0, f64::max)
    });
    let reach = hosts.reach(level);
    Answer {
        p_harm: rescaled(p, level, shown),
        level: at(shown),
        is_harm_crossed: p <= at(level) && may_decide,
        p_go,
        level_go: at(budget.go().nominal(t)),
        is_recent_beyond: true,
        is_faded: false,
        estimate: Some(hosts.difference),
        low: hosts.difference - reach,
        high: hosts.difference + reach,
        information: hosts.nu + 2.0,
        looks_left: None,
        since: None,
    }
}
