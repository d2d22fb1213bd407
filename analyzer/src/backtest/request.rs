//! What a backtest is asked for, checked once.

use std::collections::BTreeMap;

use greylight_store::model::{ErrorKind, Problem, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::plan::{Injection, PlaceboKind};
use crate::release::request::{PolicyRequest, inside, map, policy, strict, text, time};

/// Most placebo releases of one backtest.
pub(crate) const RUNS_MAX: u64 = 2_000;
const RUNS: u64 = 200;
/// Most units that play the canary.
const CANARY_HOSTS_MAX: u64 = 100;
/// Most effects of one backtest: each judges all releases again.
const EFFECTS_MAX: usize = 10;
/// Largest effect: a hundred times what was there.
const EFFECT_PERCENT_MAX: f64 = 10_000.0;
/// Effects where none are named.
const EFFECTS: [&str; 3] = ["5%", "10%", "20%"];
/// Longest name of a label in bytes.
const LABEL_BYTES_MAX: usize = 256;
/// Longest log query in bytes.
const QUERY_BYTES_MAX: usize = 4096;

/// A backtest as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewBacktest {
    pub(crate) policy: PolicyRequest,
    /// Label matchers of the cohort, without braces.
    pub(crate) matchers: String,
    /// Fills `$NAME` in queries.
    pub(crate) vars: BTreeMap<String, String>,
    /// A log query joined by AND to each log query.
    pub(crate) filter: Option<String>,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// The label that names a unit; the policy's where absent.
    pub(crate) split_by: Option<String>,
    pub(crate) canary_hosts: usize,
    pub(crate) runs: usize,
    pub(crate) seed: u64,
    pub(crate) effects: Vec<Injection>,
    pub(crate) placebos: PlaceboKind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BacktestJson {
    policy: Value,
    #[serde(rename = "match")]
    matchers: Value,
    range: Value,
    split_by: Option<String>,
    canary_hosts: Option<Value>,
    runs: Option<Value>,
    seed: Option<Value>,
    effects: Option<Value>,
    placebos: Option<Value>,
    #[serde(default)]
    vars: BTreeMap<String, String>,
    #[serde(rename = "where")]
    filter: Option<String>,
}

impl NewBacktest {
    /// Parses the body of `POST /api/v1/backtests`.
    pub(crate) fn parse(body: &Value) -> Result<Self, Problem> {
        if !body.is_object() {
            let text = "the body is an object: { \"policy\", \"match\", \"range\", ... }";
            return Err(Problem::new(ErrorKind::Invalid, text));
        }
        let json: BacktestJson = strict(body)?;
        let Value::String(matchers) = &json.matchers else {
            return Err(invalid(
                "match",
                "matchers are a string such as {service_name=\"cart\"}",
                json.matchers,
            ));
        };
        if let Some(label) = &json.split_by {
            text("split_by", label, LABEL_BYTES_MAX)?;
        }
        if let Some(filter) = &json.filter {
            text("where", filter, QUERY_BYTES_MAX)?;
        }
        map("vars", &json.vars)?;
        let (start, end) = range(&json.range)?;
        Ok(Self {
            policy: policy(Some(json.policy))?,
            matchers: inside("match", matchers)?,
            vars: json.vars,
            filter: json.filter,
            start,
            end,
            split_by: json.split_by,
            canary_hosts: number("canary_hosts", json.canary_hosts, 1, 1..=CANARY_HOSTS_MAX)? as usize,
            runs: number("runs", json.runs, RUNS, 1..=RUNS_MAX)? as usize,
            seed: number("seed", json.seed, 1, 0..=u64::MAX)?,
            effects: effects(json.effects)?,
            placebos: placebos(json.placebos)?,
        })
    }
}

fn invalid(field: impl Into<String>, text: &str, value: Value) -> Problem {
    Problem::new(ErrorKind::Invalid, text).field(field).value(value)
}

fn range(json: &Value) -> Result<(Timestamp, Timestamp), Problem> {
    let wrong = || {
        let text = "a range is two RFC 3339 times: [\"2026-11-14T00:00:00Z\", \"2026-11-21T00:00:00Z\"]";
        invalid("range", text, json.clone())
    };
    let Some([Value::String(start), Value::String(end)]) = json.as_array().map(Vec::as_slice) else {
        return Err(wrong());
    };
    let (from, to) = (time("range[0]", start)?, time("range[1]", end)?);
    if from >= to {
        return Err(invalid("range[1]", "the end of the range is not after its start", end.as_str().into()));
    }
    Ok((from, to))
}

fn number(
    field: &str,
    json: Option<Value>,
    usual: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, Problem> {
    let Some(value) = json.filter(|value| !value.is_null()) else { return Ok(usual) };
    match value.as_u64().filter(|number| range.contains(number)) {
        Some(number) => Ok(number),
        None => {
            let text = format!("a whole number from {} to {}", range.start(), range.end());
            Err(invalid(field, &text, value).limit(*range.end()))
        }
    }
}

fn effects(json: Option<Value>) -> Result<Vec<Injection>, Problem> {
    let all = match json.filter(|json| !json.is_null()) {
        None => EFFECTS.map(Value::from).to_vec(),
        Some(Value::Array(all)) => all,
        Some(other) => {
            return Err(invalid("effects", "effects are a list such as [\"5%\", \"20%\"]", other));
        }
    };
    if all.len() > EFFECTS_MAX {
        let text = format!("at most {EFFECTS_MAX} effects: each judges every release again");
        return Err(invalid("effects", &text, all.len().into()).limit(EFFECTS_MAX));
    }
    let one = |(idx, value): (usize, Value)| {
        let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.trim().parse::<f64>().ok());
        match percent.filter(|percent| *percent > 0.0 && *percent <= EFFECT_PERCENT_MAX) {
            Some(percent) => {
                let text = value.as_str().unwrap_or_default().to_owned();
                Ok(Injection { text, part: percent / 100.0 })
            }
            None => {
                let text = format!(
                    "an effect is a percentage such as \"10%\", above 0 and up to {EFFECT_PERCENT_MAX}%"
                );
                Err(invalid(format!("effects[{idx}]"), &text, value))
            }
        }
    };
    all.into_iter().enumerate().map(one).collect()
}

fn placebos(json: Option<Value>) -> Result<PlaceboKind, Problem> {
    let Some(value) = json.filter(|value| !value.is_null()) else { return Ok(PlaceboKind::Auto) };
    let known = PlaceboKind::ALL.into_iter().find(|kind| value == kind.word());
    known.ok_or_else(|| {
        let words = PlaceboKind::ALL.map(PlaceboKind::word).join(", ");
        invalid("placebos", &format!("placebos are one of {words}"), value)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn minimal() -> Value {
        json!({ "policy": "cart-http", "match": "{service_name=\"cart\"}",
            "range": ["2026-11-14T00:00:00Z", "2026-11-21T00:00:00Z"] })
    }

    #[test]
    fn what_is_left_out_has_a_usual_value() {
        let asked = NewBacktest::parse(&minimal()).unwrap();
        assert_eq!((asked.runs, asked.canary_hosts, asked.seed), (200, 1, 1));
        assert_eq!(asked.placebos, PlaceboKind::Auto);
        let parts: Vec<f64> = asked.effects.iter().map(|effect| effect.part).collect();
        assert_eq!(parts, [0.05, 0.1, 0.2]);
        let mut none = minimal();
        none["effects"] = json!([]);
        assert!(NewBacktest::parse(&none).unwrap().effects.is_empty());
    }

    #[test]
    fn wrong_fields_are_named() {
        for (field, value, named) in [
            ("rnus", json!(3), "rnus"),
            ("match", json!("cart"), "match"),
            ("match", json!({}), "match"),
            ("match", json!("{}"), "match"),
            ("policy", json!(3), "policy"),
            ("range", json!("7d"), "range"),
            ("range", json!(["yesterday", "2026-11-21T00:00:00Z"]), "range[0]"),
            ("range", json!(["2026-11-21T00:00:00Z", "2026-11-14T00:00:00Z"]), "range[1]"),
            ("runs", json!(0), "runs"),
            ("runs", json!(2001), "runs"),
            ("runs", json!("many"), "runs"),
            ("canary_hosts", json!(1.5), "canary_hosts"),
            ("seed", json!(-1), "seed"),
            ("effects", json!("5%"), "effects"),
            ("effects", json!(["5%", 10]), "effects[1]"),
            ("effects", json!(["-5%"]), "effects[0]"),
            ("effects", json!(["NaN%"]), "effects[0]"),
            ("effects", json!(vec!["1%"; 11]), "effects"),
            ("split_by", json!(""), "split_by"),
            ("placebos", json!("births and splits"), "placebos"),
            ("where", json!(""), "where"),
            ("vars", json!({ "hash": "" }), "vars.hash"),
        ] {
            let mut body = minimal();
            body[field] = value;
            let problem = NewBacktest::parse(&body).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(named), "{body}");
        }
        for needed in ["policy", "match", "range"] {
            let mut body = minimal();
            body.as_object_mut().unwrap().remove(needed);
            assert_eq!(NewBacktest::parse(&body).unwrap_err().field.as_deref(), Some(needed));
        }
    }
}
