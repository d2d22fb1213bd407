//! Whether a replay is the same as the record, bit for bit, and if not, what differs first.

use serde_json::Value;

use super::format::LookFormat;
use crate::verdict::wire::VerdictJson;

/// The first thing in which a replay is not what was recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// The look's number in the release; none where all looks are the same and the verdict is not.
    pub(crate) look: Option<u64>,
    pub(crate) phase: String,
    /// Path of the field, such as `checks[0].p_harm`; empty where the whole look is missing.
    pub(crate) field: String,
    pub(crate) recorded: Value,
    pub(crate) replayed: Value,
}

/// Compares a look with what was recorded of it.
pub(super) fn of_looks(recorded: &LookFormat, replayed: &LookFormat) -> Option<Difference> {
    let part = |look: &LookFormat| serde_json::json!({ "at_ns": look.at_ns, "decision": look.decision, "checks": look.checks });
    let (field, was, is) = first(&part(recorded), &part(replayed), String::new())?;
    Some(Difference {
        look: Some(recorded.number),
        phase: recorded.phase.clone(),
        field,
        recorded: was,
        replayed: is,
    })
}

/// A look that was recorded and not made again.
pub(super) fn of_unmade(recorded: &LookFormat) -> Difference {
    Difference {
        look: Some(recorded.number),
        phase: recorded.phase.clone(),
        field: String::new(),
        recorded: recorded.decision.clone().into(),
        replayed: Value::Null,
    }
}

/// Compares verdicts in all that comes from evidence.
///
/// Left out is what a clock or a caller decides: revision, expiry, when a phase was called and with
/// which share. Where a person, or the release's end, put a reason above those of the last look, the
/// decision is theirs and the evidence below it is compared.
pub(super) fn of_verdicts(
    recorded: &VerdictJson,
    replayed: &VerdictJson,
    is_overridden: bool,
) -> Option<Difference> {
    let n_above = recorded.reasons.len().saturating_sub(replayed.reasons.len());
    let is_above = n_above > 0 && (is_overridden || (recorded.is_final && !replayed.is_final));
    let part = |verdict: &VerdictJson, n_above: usize| {
        let mut verdict = verdict.clone();
        verdict.reasons.drain(..n_above);
        let mut json = serde_json::to_value(&verdict).unwrap_or(Value::Null);
        // What happened beside it was read when its looks were made and is no evidence of its own.
        let mut without = vec!["revision", "expires_at", "changes", "overlaps"];
        if is_above {
            without.extend(["decision", "final", "decided_at"]);
        }
        if let Some(map) = json.as_object_mut() {
            map.retain(|field, _| !without.contains(&field.as_str()));
        }
        for phase in json["phases"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            phase.retain(|field, _| field != "started_at" && field != "traffic_share");
        }
        json
    };
    let recorded_part = part(recorded, if is_above { n_above } else { 0 });
    let (field, was, is) = first(&recorded_part, &part(replayed, 0), String::new())?;
    Some(Difference { look: None, phase: recorded.phase.clone(), field, recorded: was, replayed: is })
}

/// Finds the first place, in the order of the fields, where two documents differ.
fn first(a: &Value, b: &Value, path: String) -> Option<(String, Value, Value)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let names = x.keys().chain(y.keys().filter(|name| !x.contains_key(*name)));
            names
                .map(|name| {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    (path, x.get(name).unwrap_or(&Value::Null), y.get(name).unwrap_or(&Value::Null))
                })
                .find_map(|(path, x, y)| first(x, y, path))
        }
        (Value::Array(x), Value::Array(y)) => (0..x.len().max(y.len())).find_map(|idx| {
            let at = |list: &[Value]| list.get(idx).cloned().unwrap_or(Value::Null);
            first(&at(x), &at(y), format!("{path}[{idx}]"))
        }),
        (a, b) => (written(a) != written(b)).then(|| (path, a.clone(), b.clone())),
    }
}

/// Numbers are the same where they are written alike: -0 is not 0, and no two floats share a shortest form.
fn written(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(a: Value, b: Value, want: Option<&str>) {
        assert_eq!(first(&a, &b, String::new()).map(|(path, ..)| path).as_deref(), want, "{a} {b}");
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        check(json!({ "a": [1, { "b": 0.1 }] }), json!({ "a": [1, { "b": 0.1 }] }), None);
        check(
            json!({ "a": [1, { "b": 0.1 }] }),
            json!({ "a": [1, { "b": 0.100_000_000_000_000_02 }] }),
            Some("a[1].b"),
        );
        check(json!({ "a": [1] }), json!({ "a": [1, 2] }), Some("a[1]"));
        check(json!({ "a": 1 }), json!({ "a": 1, "c": 2 }), Some("c"));
        check(json!(0.0), json!(-0.0), Some(""));
    }
}
