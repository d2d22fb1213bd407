//! Words for what the numbers say.

use greylight_store::model::Timestamp;

use crate::policy::{Check, CheckKind, Distribution, LogQuery, Source, Users, ValueQuery};
use crate::verdict::{Cause, Effect, Measure, Values, percent};

use super::check::{CheckState, Lack, Outcome};
use super::share::ShareResult;

/// Lists what a check asks of the store, or of another one, which each then begins with.
pub(crate) fn queries(check: &Check) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |source: &Source| match source {
        Source::Selectors(selectors) => all.extend(selectors.iter().cloned()),
        Source::Logs(query) => all.push(log_query(query)),
        Source::Given => {}
    };
    match &check.kind {
        CheckKind::Ratio { events, trials } => {
            add(events);
            add(trials);
        }
        CheckKind::Count { events } => add(events),
        CheckKind::Patterns { logs, trials, .. } => {
            add(logs);
            trials.iter().for_each(add);
        }
        CheckKind::Mean { value } => match value {
            ValueQuery::PromQl(query) | ValueQuery::Sql(query) | ValueQuery::LogQl(query) => {
                all.push(query.clone())
            }
            ValueQuery::Given => {}
        },
        CheckKind::Users { users } => {
            if let Users::Logs { query, .. } = users {
                all.push(log_query(query));
            }
        }
        CheckKind::Composite => {}
        CheckKind::Distribution { data } => match data {
            Distribution::Histogram(selectors) => all.extend(selectors.iter().cloned()),
            Distribution::Values(query) => all.push(log_query(query)),
            Distribution::Given => {}
        },
    }
    if let Some(source) = &check.source {
        all.iter_mut().for_each(|query| *query = format!("source {source}: {query}"));
    }
    all
}

fn log_query(query: &LogQuery) -> String {
    match &query.field {
        Some(field) => format!("logs {} {} field {field}", query.matchers, query.query),
        None => format!("logs {} {}", query.matchers, query.query),
    }
}

/// - `since`: from when on, where the release as a whole does not show it.
pub(super) fn harm_shown(check: &Check, outcome: &Outcome, since: Option<Timestamp>) -> Cause {
    Cause::HarmShown {
        since,
        p: outcome.p_harm.unwrap_or(1.0),
        level: outcome.level.unwrap_or(0.0),
        effect: effect(check, outcome),
    }
}

pub(super) fn below_margin(check: &Check, outcome: &Outcome) -> Cause {
    Cause::BelowMargin {
        p: outcome.p_go.unwrap_or(1.0),
        level: outcome.level_go.unwrap_or(0.0),
        effect: effect(check, outcome),
    }
}

/// Says both sides and their difference.
fn effect(check: &Check, outcome: &Outcome) -> String {
    if matches!(check.kind, CheckKind::Patterns { .. }) {
        return pattern_effect(outcome);
    }
    let sides = match outcome.values {
        Some(Values { baseline: Some(baseline), canary: Some(canary), unit }) => {
            format!("canary {}, baseline {}", number(canary, unit), number(baseline, unit))
        }
        _ => "canary and baseline".to_owned(),
    };
    let value = match (&check.by, &outcome.leading) {
        (Some(by), Some(value)) => format!("{} {value}: ", by.name),
        _ => String::new(),
    };
    match &outcome.effect {
        Some(effect) => format!("{value}{sides}, {}", interval(effect)),
        None => format!("{value}{sides}"),
    }
}

fn pattern_effect(outcome: &Outcome) -> String {
    match outcome.patterns.first() {
        Some(first) => {
            let more = outcome.patterns.len() - 1;
            let rest = if more > 0 { format!(", and {more} more patterns") } else { String::new() };
            format!(
                "{} pattern {:?}: {} records on the canary, {} on the baseline{rest}",
                first.change.word(),
                first.text,
                first.canary,
                first.baseline
            )
        }
        None => "patterns differ".to_owned(),
    }
}

fn interval(effect: &Effect) -> String {
    let shown = |value: Option<f64>, open: &str| match (value, effect.measure) {
        (None, _) => open.to_owned(),
        (Some(value), Measure::Relative) => signed(percent(value), value),
        (Some(value), Measure::Superiority) => percent(value),
        (Some(value), Measure::Difference) => signed(number(value, effect.unit), value),
    };
    format!(
        "difference {} ({} to {})",
        shown(effect.estimate, "unknown"),
        shown(effect.low, "unbounded"),
        shown(effect.high, "unbounded")
    )
}

fn signed(text: String, value: f64) -> String {
    if value > 0.0 { format!("+{text}") } else { text }
}

fn number(value: f64, unit: &str) -> String {
    if unit == "ratio" {
        return percent(value);
    }
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (0.001..1e6).contains(&size) => format!("{value:.4}"),
        _ => format!("{value:.3e}"),
    }
}

/// Says what a check that is neither go nor no-go still needs.
pub(super) fn not_enough(check: &Check, outcome: &Outcome) -> String {
    let so_far = effect(check, outcome);
    let looks = |left: Option<(usize, usize)>| match left {
        Some((_, high)) => format!("about {high} more intervals would do as things are"),
        None => "the phase is too short to show it as things are".to_owned(),
    };
    match &outcome.lack {
        Some(Lack::Trials { have, need }) => format!("{have:.0} trials of {need:.0} that go needs; {so_far}"),
        Some(Lack::Events { have, need }) if *have == 0.0 => {
            format!(
                "no event to compare, of about {need:.0} that a relative margin needs: use an absolute one"
            )
        }
        Some(Lack::Events { have, need }) => {
            format!("{have:.0} events of about {need:.0} that go needs; {so_far}")
        }
        Some(Lack::Values { what }) => what.clone(),
        _ => format!("harm below the margin is not shown yet: {so_far}; {}", looks(outcome.looks_left)),
    }
}

pub(super) fn no_data(state: &CheckState, outcome: &Outcome) -> Cause {
    match state.last_present {
        Some(last) => Cause::StaleData { last, intervals: state.missing },
        None => Cause::NoData {
            side: match (outcome.has_baseline, outcome.has_canary) {
                (false, false) => "both sides",
                (false, true) => "the baseline",
                (true, false) => "the canary",
                (true, true) => "both sides at once",
            },
            intervals: state.missing,
        },
    }
}

pub(super) fn share(share: &ShareResult) -> String {
    let range = format!("{} to {}", percent(share.low), percent(share.high));
    match share.declared {
        Some(declared) => {
            format!("share {} ({range}) of {} declared", percent(share.measured), percent(declared))
        }
        None => format!("share {} ({range}), none declared", percent(share.measured)),
    }
}
