//! What one side of a release handles and the other does not, from what its looks pinned.
//!
//! Each check with `by` gives a row a value, each `patterns` check a row for each template that only one side wrote.
//! Nothing but pinned data is read, so the table outlives what was stored.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::format::{LookFormat, PinFormat};
use super::look::{self, LookError};
use super::model::Release;
use super::pinned;
use crate::judge::{Counts, Data, PatternCounts, Sides};
use crate::policy::{Check, Phase};
use crate::verdict::wire::CheckJson;

/// Rows of one list; the rest is counted.
const ROWS_MAX: usize = 500;

/// Makes the table.
///
/// - `pinned`: of each phase of the policy, in order, the history that it pinned; nothing where it had no look.
pub(crate) fn of(
    release: &Release,
    pinned: Vec<Option<PinFormat>>,
    looks: Vec<LookFormat>,
) -> Result<Value, LookError> {
    let (mut checks, mut patterns) = (Vec::new(), Vec::new());
    let mut looks_by_phase: BTreeMap<String, Vec<LookFormat>> = BTreeMap::new();
    for look in looks {
        looks_by_phase.entry(look.phase.clone()).or_default().push(look);
    }
    for (phase, pre) in release.policy.policy.phases.iter().zip(pinned) {
        let (Some(pre), Some(looks)) = (pre, looks_by_phase.remove(&phase.name)) else { continue };
        let judged: Vec<CheckJson> = looks.last().map(|look| look.checks.clone()).unwrap_or_default();
        let before = look::decode_all(phase, pre.data)?;
        let since = since(phase, looks)?;
        let nothing = Sides::default();
        for check in &phase.checks {
            let before = before.get(&check.name).unwrap_or(&nothing);
            let since = since.get(&check.name).unwrap_or(&nothing);
            let result = judged.iter().find(|one| one.name == check.name);
            if check.by.is_some() {
                checks.extend(by_value(phase, check, before, since, result));
            }
            patterns.extend(templates(phase, check, before, since));
        }
    }
    // What is new comes first, then what only the baseline wrote; the more records, the earlier.
    patterns.sort_by(|a: &(bool, f64, Value), b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let more = patterns.len().saturating_sub(ROWS_MAX);
    patterns.truncate(ROWS_MAX);
    let patterns: Vec<Value> = patterns.into_iter().map(|(.., row)| row).collect();
    Ok(json!({ "release": release.id, "baseline": release.request.baseline.name,
        "canary": release.request.canary.name, "checks": checks, "patterns": patterns,
        "patterns_not_listed": more }))
}

/// Puts together what a phase's looks pinned, by check.
fn since(phase: &Phase, looks: Vec<LookFormat>) -> Result<BTreeMap<String, Sides>, LookError> {
    let mut all: BTreeMap<String, Sides> = BTreeMap::new();
    for look in looks {
        for (check, rows) in look::decode_all(phase, look.data)? {
            let sides = all.entry(check).or_default();
            for (into, rows) in [(&mut sides.baseline, rows.baseline), (&mut sides.canary, rows.canary)] {
                if let Some(rows) = rows {
                    pinned::append(into, rows);
                }
            }
        }
    }
    Ok(all)
}

/// Events and trials.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    events: f64,
    trials: f64,
}

impl Tally {
    fn json(self) -> Value {
        let share = (self.trials > 0.0).then(|| self.events / self.trials);
        json!({ "events": self.events, "trials": self.trials, "share": share })
    }
}

/// Adds up each value of a check; distributions have no events, only how many values there were.
fn tallies(data: Option<&Data>) -> BTreeMap<&str, Tally> {
    let sum = |column: &[Option<f64>]| column.iter().flatten().sum::<f64>();
    let of = |data: &Data| match data {
        Data::Counts(Counts { events, exposure, .. }) => Tally { events: sum(events), trials: sum(exposure) },
        Data::Histogram(histogram) => {
            Tally { events: 0.0, trials: histogram.counts.iter().flatten().flatten().sum() }
        }
        Data::Raw(values) => {
            Tally { events: 0.0, trials: values.values.iter().flatten().map(Vec::len).sum::<usize>() as f64 }
        }
        _ => Tally::default(),
    };
    match data {
        Some(Data::By(values)) => values.iter().map(|(value, data)| (value.as_str(), of(data))).collect(),
        _ => BTreeMap::new(),
    }
}

fn by_value(
    phase: &Phase,
    check: &Check,
    before: &Sides,
    since: &Sides,
    result: Option<&CheckJson>,
) -> Option<Value> {
    let by = check.by.as_ref()?;
    let sides = [tallies(since.baseline.as_ref()), tallies(since.canary.as_ref())];
    // What ran on either side's hosts before was the old version.
    let known = [tallies(before.baseline.as_ref()), tallies(before.canary.as_ref())];
    let names: std::collections::BTreeSet<&str> =
        sides.iter().chain(&known).flat_map(BTreeMap::keys).copied().collect();
    let of = |all: &BTreeMap<&str, Tally>, name: &str| all.get(name).copied().unwrap_or_default();
    let mut rows: Vec<(bool, f64, Value)> = names
        .into_iter()
        .map(|name| {
            let [baseline, canary] = [of(&sides[0], name), of(&sides[1], name)];
            let [a, b] = [of(&known[0], name), of(&known[1], name)];
            let before = Tally { events: a.events + b.events, trials: a.trials + b.trials };
            let only_on = match (baseline.trials > 0.0, canary.trials > 0.0) {
                (true, false) => Some("baseline"),
                (false, true) => Some("canary"),
                _ => None,
            };
            let own = result.and_then(|result| result.by.iter().find(|one| one.value == name));
            let row = json!({ "value": name, "baseline": baseline.json(), "canary": canary.json(),
                "before": before.json(), "only_on": only_on, "is_tested": own.is_some(),
                "decision": own.map(|one| &one.decision), "effect": own.and_then(|one| one.effect.as_ref()),
                "p_harm": own.and_then(|one| one.p_harm) });
            (only_on.is_none(), baseline.trials + canary.trials, row)
        })
        .collect();
    // What only one side handles comes first.
    rows.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let more = rows.len().saturating_sub(ROWS_MAX);
    rows.truncate(ROWS_MAX);
    let other = result.and_then(|result| result.by.iter().find(|one| one.value == "other"));
    Some(json!({
        "phase": phase.name, "check": check.name, "by": by.name, "harm": check.harm.word(),
        "vote": check.vote.word(), "margin": check.margin.as_ref().map(|margin| margin.amount.number()),
        "decision": result.map(|result| &result.decision), "level": result.and_then(|result| result.level),
        "other": other.map(|one| &one.decision),
        "values": rows.into_iter().map(|(.., row)| row).collect::<Vec<_>>(), "values_not_listed": more,
    }))
}

/// Lists the templates that only one side wrote since the phase began: whether it is gone, its records, its row.
fn templates(phase: &Phase, check: &Check, before: &Sides, since: &Sides) -> Vec<(bool, f64, Value)> {
    fn patterns(data: &Option<Data>) -> Option<&PatternCounts> {
        if let Some(Data::Patterns(patterns)) = data { Some(patterns) } else { None }
    }
    let (Some(baseline), Some(canary)) = (patterns(&since.baseline), patterns(&since.canary)) else {
        return Vec::new();
    };
    let records = |side: &PatternCounts| side.records.iter().flatten().sum::<f64>();
    let count = |side: Option<&PatternCounts>, id: &str| {
        let counts = side.and_then(|side| side.patterns.get(id)).map(|one| one.counts.iter().flatten().sum());
        counts.unwrap_or(0.0)
    };
    let [n_baseline, n_canary] = [records(baseline), records(canary)];
    let known = [patterns(&before.baseline), patterns(&before.canary)];
    let ids = baseline
        .patterns
        .keys()
        .chain(canary.patterns.keys().filter(|id| !baseline.patterns.contains_key(*id)));
    let row = |id: &String| {
        let [old, new] = [count(Some(baseline), id), count(Some(canary), id)];
        let was: f64 = known.into_iter().map(|side| count(side, id)).sum();
        let (change, n, other) = match (old > 0.0, new > 0.0, was > 0.0) {
            (false, true, false) => ("new", new, n_baseline / n_canary),
            (true, false, _) => ("gone", old, n_canary / n_baseline),
            _ => return None,
        };
        let shown = canary.patterns.get(id).or_else(|| baseline.patterns.get(id))?;
        let expected = Some(n * other).filter(|n| n.is_finite());
        let row = json!({ "phase": phase.name, "check": check.name, "id": id, "text": shown.text,
            "severity": shown.severity, "change": change, "baseline": old, "canary": new, "before": was,
            "expected": expected });
        Some((change == "gone", n, row))
    };
    ids.filter_map(row).collect()
}
