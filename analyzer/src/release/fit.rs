//! Whether another policy can judge what a release pinned.
//!
//! Data was pinned as the release's own policy asked for it: grouped by its interval, of its scopes,
//! read by its queries. A policy that asks for other data would be judged on what it did not ask for,
//! so it is refused by name; how the data is judged (margins, votes, weights, alpha, tolerated, lasts)
//! is free.

use std::iter;

use greylight_store::model::{ErrorKind, Problem};
use serde_json::{Value, json};

use crate::judge::Scale;
use crate::policy::{Check, CheckKind, Phase, Policy, Scope, Span};

/// What a policy that asks for other data needs instead of a replay.
const INSTEAD: &str = "to judge other data, start a release with this policy and a `start` in the past, while the store still has it";

/// Finds the phase of the release's own policy for each phase of another.
///
/// - `is_pinned`: whether a phase of its own had looks.
/// - `has_births`: whether a check of it was judged by earlier starts of pods.
///
/// # Errors
/// A problem that names the phase, check or setting that asks for other data than what is pinned.
pub(super) fn places(
    own: &Policy,
    other: &Policy,
    is_pinned: impl Fn(usize) -> bool,
    has_births: impl Fn(usize, &str) -> bool,
) -> Result<Vec<usize>, Problem> {
    settings(own, other)?;
    let mut places = Vec::with_capacity(other.phases.len());
    for (idx, phase) in other.phases.iter().enumerate() {
        let path = format!("policy.phases[{idx}]");
        let place = own.phases.iter().position(|one| one.name == phase.name).ok_or_else(|| {
            let names: Vec<&str> = own.phases.iter().map(|one| one.name.as_str()).collect();
            let text = format!(
                "nothing is pinned for a phase {:?}; the release has {}: name it as one of these",
                phase.name,
                names.join(", ")
            );
            refusal(format!("{path}.name"), text, phase.name.clone())
        })?;
        places.push(place);
        // A phase without a look is not judged by a replay either.
        if is_pinned(place) {
            if own.phases[place].is_before != phase.is_before {
                let text = format!(
                    "phase {:?} was pinned {} a baseline beside the canary; {INSTEAD}",
                    phase.name,
                    if own.phases[place].is_before { "without" } else { "with" }
                );
                return Err(refusal(format!("{path}.baseline"), text, phase.is_before));
            }
            same_scope(&own.phases[place], phase, &path)?;
            for check in &phase.checks {
                let births = has_births(place, &check.name);
                // No index: checks of the policy's level stand behind the phase's own here.
                same_data(&own.phases[place], check, births, &format!("{path}.checks"))?;
            }
        }
    }
    Ok(places)
}

fn refusal(field: String, text: String, value: impl Into<Value>) -> Problem {
    Problem::new(ErrorKind::Invalid, text).field(field).value(value)
}

/// Settings that say how data is read and grouped.
fn settings(own: &Policy, other: &Policy) -> Result<(), Problem> {
    let births = |policy: &Policy| match &policy.births {
        Some(births) => format!("{{ window: {}, at_most: {} }}", births.window, births.at_most),
        None => "none".to_owned(),
    };
    let known_births = |policy: &Policy| policy.births.as_ref().map(|b| (b.window.millis(), b.at_most));
    // By their lengths: 60s is 1m.
    let span = |field, own: &Span, other: &Span| {
        (field, own.millis() == other.millis(), own.to_string(), other.to_string())
    };
    let all = [
        span("interval", &own.interval, &other.interval),
        span("warm_up", &own.warm_up, &other.warm_up),
        span("pre_period", &own.pre_period, &other.pre_period),
        ("unit", own.unit == other.unit, own.unit.join(", "), other.unit.join(", ")),
        ("births", known_births(own) == known_births(other), births(own), births(other)),
    ];
    match all.into_iter().find(|(_, same, ..)| !same) {
        None => Ok(()),
        Some((field, _, own, other)) => {
            let text = format!(
                "the data was pinned with {field} {own}; set that, since a replay reads nothing else"
            );
            Err(refusal(format!("policy.{field}"), text, other))
        }
    }
}

fn same_scope(own: &Phase, other: &Phase, path: &str) -> Result<(), Problem> {
    if own.scope == other.scope {
        return Ok(());
    }
    let shown = |scope: &Scope| match scope {
        Scope::Everywhere => json!(null),
        Scope::Both(matchers) => json!(matchers),
        Scope::Sides { baseline, canary } => json!({ "baseline": baseline, "canary": canary }),
    };
    let text =
        format!("the data of phase {:?} was pinned with scope {}; {INSTEAD}", own.name, shown(&own.scope));
    Err(refusal(format!("{path}.scope"), text, shown(&other.scope)))
}

/// A check is judged anew only on data that was pinned for it.
fn same_data(own: &Phase, check: &Check, has_births: bool, path: &str) -> Result<(), Problem> {
    // It is judged by the mean checks beside it and has no data of its own.
    if check.kind == CheckKind::Composite {
        return Ok(());
    }
    let refuse = |why: String| {
        let text = format!("check {:?} cannot be judged again: {why}; {INSTEAD}", check.name);
        Err(refusal(path.to_owned(), text, check.name.clone()))
    };
    let Some(known) = own.checks.iter().find(|one| one.name == check.name) else {
        let pinned: Vec<String> =
            own.checks.iter().map(|one| format!("{} ({})", one.name, one.kind.word())).collect();
        let pinned = pinned.join(", ");
        return refuse(format!("phase {:?} pinned no data for it, only for {pinned}", own.name));
    };
    let (was, is) = (known.kind.word(), check.kind.word());
    if was != is {
        return refuse(format!("its data was pinned for kind {was}, not {is}"));
    }
    if known.kind != check.kind || known.by != check.by {
        return refuse("its data was pinned by another query or `by`".to_owned());
    }
    // Births of means were pinned as differences on the scale that the check's amounts had chosen.
    let scale = |check: &Check| Scale::of_pods(check, iter::once(1.0));
    let is_mean = matches!(check.kind, CheckKind::Mean { .. });
    if has_births && is_mean && scale(known) != scale(check) {
        return refuse(
            "earlier starts of pods were pinned for a margin of the other measure (absolute, relative)"
                .to_owned(),
        );
    }
    Ok(())
}
