//! The JSON shapes of the judge: data in (`D` of the contract, also the evidence that looks pin), looks out.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::analysis::Look;
use super::data::{BirthData, Counts, Data, Histogram, UserRows, Values};
use crate::verdict::wire::{CheckJson, ReasonJson, TimeLeftJson, ValidityJson, VerdictJson};

/// Body of `POST /api/v1/judge`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestJson {
    /// The policy; query fields may be left out. Engine kayenta can do without.
    #[serde(default)]
    pub policy: serde_json::Value,
    /// `greylight`, `kayenta` or `both`.
    #[serde(default)]
    pub engine: Option<String>,
    /// What engine kayenta is to do, see `docs/kayenta.md`.
    #[serde(default)]
    pub kayenta: Option<serde_json::Value>,
    /// The phase to judge; may be left out where the policy has one.
    #[serde(default)]
    pub phase: Option<String>,
    /// Start of the release.
    #[serde(default)]
    pub start_ms: Option<i64>,
    /// Data by check name.
    #[serde(default)]
    pub data: IndexMap<String, CheckDataJson>,
}

/// Data of one check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckDataJson {
    /// The released version since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<DataJson>,
    /// The candidate since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<DataJson>,
    /// Both before the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<SidesJson>,
    /// Pods of the old version that started together with the canary, since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<DataJson>,
    /// Earlier starts of the service's pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub births: Vec<BirthJson>,
}

/// An earlier start of one pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BirthJson {
    /// Starts of one event came together.
    pub event: String,
    /// Difference from the settled pods by interval since the start, of logarithms where the check
    /// compares those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub d: Numbers,
    /// Names of these settled pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// ratio, count: events of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<f64>,
    /// ratio, count: trials or exposure of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<f64>,
    /// distribution: what it showed from its first whole interval on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<DataJson>>,
    /// distribution: what the settled pods of its own version showed together over the same intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Box<DataJson>>,
}

impl From<&BirthData> for BirthJson {
    fn from(birth: &BirthData) -> Self {
        Self {
            event: birth.event.clone(),
            d: birth.d.iter().map(|d| Some(*d).filter(|d| d.is_finite())).collect(),
            pods: birth.pods.clone(),
            events: birth.counted.map(|(events, _)| events),
            trials: birth.counted.map(|(_, trials)| trials),
            data: birth.data.as_ref().map(|data| Box::new(data.into())),
            peers: birth.peers.as_ref().map(|data| Box::new(data.into())),
        }
    }
}

/// Both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SidesJson {
    /// The released version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<DataJson>,
    /// The candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<DataJson>,
}

pub(super) type Numbers = Vec<Option<f64>>;

/// One side of one check; which fields there are depends on the check's kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataJson {
    /// Starts of intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t_ms: Option<Vec<i64>>,
    /// ratio, count: events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Numbers>,
    /// ratio: trials; patterns: exposure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<Numbers>,
    /// count: exposure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Numbers>,
    /// ratio, count, distribution: the same by unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<IndexMap<String, DataJson>>,
    /// mean: values by instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<SeriesJson>>,
    /// distribution: upper edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub le: Option<Vec<EdgeJson>>,
    /// distribution: a bucket's own counts, an interval a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Vec<Option<Vec<f64>>>>,
    /// distribution: raw values, an interval a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<Option<Vec<f64>>>>,
    /// patterns: records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<Numbers>,
    /// patterns: by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patterns: Option<IndexMap<String, PatternCountsJson>>,
    /// users: one row a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<UserJson>>,
    /// users: one row a change of a user's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates: Option<Vec<UpdateJson>>,
    /// ratio, count, distribution with `by`: data of each value, alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<IndexMap<String, DataJson>>,
}

/// One user with the value at the end of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserJson {
    /// First sight.
    pub first_ms: i64,
    /// The value so far.
    pub value: f64,
    /// The value before the release, where the user was seen before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
}

/// A user's value from an instant on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateJson {
    /// The instant.
    pub t_ms: i64,
    /// Who.
    pub user: String,
    /// The value so far.
    pub value: f64,
}

/// Values of one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesJson {
    /// The unit's name.
    pub instance: String,
    /// Starts of intervals.
    pub t_ms: Vec<i64>,
    /// A value each.
    pub v: Numbers,
}

/// One pattern's counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternCountsJson {
    /// The template.
    #[serde(default)]
    pub text: String,
    /// Its severity.
    #[serde(default)]
    pub severity: Option<String>,
    /// Records of each interval.
    pub counts: Numbers,
    /// Its patterns of stage 1 by id.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub members: IndexMap<String, MemberJson>,
    /// Log records that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<serde_json::Value>,
}

/// One pattern of stage 1 of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberJson {
    /// The pattern.
    #[serde(default)]
    pub text: String,
    /// Records of each interval.
    pub counts: Numbers,
}

/// An upper edge: a number, or `"+Inf"` and numbers as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EdgeJson {
    /// A finite edge.
    Number(f64),
    /// As text.
    Text(String),
}

/// Answer of `POST /api/v1/judge`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerJson {
    /// One for each interval.
    pub looks: Vec<LookJson>,
    /// The state at the end.
    pub verdict: VerdictJson,
}

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookJson {
    /// End of the interval.
    pub at_ms: i64,
    /// The phase's first go or no-go, else inconclusive.
    pub decision: String,
    /// Whether it will not change any more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What is spent of alpha.
    pub alpha_spent: f64,
    /// 0 to 100.
    pub score: u8,
    /// How long until a go.
    pub time_left: Option<TimeLeftJson>,
    /// Why.
    pub reasons: Vec<ReasonJson>,
    /// What makes the evidence trustworthy.
    pub validity: Vec<ValidityJson>,
    /// Each check.
    pub checks: Vec<CheckJson>,
}

impl From<&Look> for LookJson {
    fn from(look: &Look) -> Self {
        Self {
            at_ms: look.at.as_millis(),
            decision: look.decision.word().to_owned(),
            is_final: look.is_final,
            alpha_spent: look.alpha_spent,
            score: look.score,
            time_left: look.time_left.map(TimeLeftJson::from),
            reasons: look.reasons.iter().map(ReasonJson::from).collect(),
            validity: look.validity.iter().map(ValidityJson::from).collect(),
            checks: look.checks.iter().map(CheckJson::from).collect(),
        }
    }
}

impl From<&Data> for DataJson {
    fn from(data: &Data) -> Self {
        match data {
            // Ratio and count differ only in the name of the exposure; evidence keeps both sides of a
            // check under the name that its kind wants.
            Data::Counts(counts) => from_counts(counts, true),
            Data::Values(series) => Self {
                series: Some(
                    (series.iter())
                        .map(|one| SeriesJson {
                            instance: one.instance.clone(),
                            t_ms: one.t_ms.clone(),
                            v: one.v.clone(),
                        })
                        .collect(),
                ),
                ..Self::default()
            },
            Data::Histogram(histogram) => from_histogram(histogram),
            Data::Raw(values) => from_values(values),
            Data::Users(rows) => from_users(rows),
            Data::By(values) => from_by(values, |data| Self::from(data)),
            Data::Patterns(counts) => Self {
                t_ms: Some(counts.t_ms.clone()),
                records: Some(counts.records.clone()),
                trials: counts.trials.clone(),
                patterns: Some(
                    (counts.patterns.iter())
                        .map(|(id, one)| {
                            let (text, severity) = (one.text.clone(), one.severity.clone());
                            let members = (one.members.iter()).map(|(member, one)| {
                                let (text, counts) = (one.text.clone(), one.counts.clone());
                                (member.clone(), MemberJson { text, counts })
                            });
                            let json = PatternCountsJson {
                                text,
                                severity,
                                counts: one.counts.clone(),
                                members: members.collect(),
                                examples: one.examples.clone(),
                            };
                            (id.clone(), json)
                        })
                        .collect(),
                ),
                ..Self::default()
            },
        }
    }
}

impl DataJson {
    /// Writes data under the names that a kind's word wants.
    pub fn from_data(data: &Data, kind: &str) -> Self {
        match data {
            Data::Counts(counts) => from_counts(counts, kind == "ratio"),
            Data::By(values) => from_by(values, |data| Self::from_data(data, kind)),
            data => Self::from(data),
        }
    }
}

fn from_by(values: &IndexMap<String, Data>, one: impl Fn(&Data) -> DataJson) -> DataJson {
    let by = values.iter().map(|(value, data)| (value.clone(), one(data))).collect();
    DataJson { by: Some(by), ..DataJson::default() }
}

fn from_users(rows: &UserRows) -> DataJson {
    let is_named = rows.users.iter().all(|user| user.id.is_some());
    if is_named {
        let updates = rows.users.iter().flat_map(|user| {
            let id = user.id.clone().unwrap_or_default();
            user.updates.iter().map(move |(t_ms, value)| UpdateJson {
                t_ms: *t_ms,
                user: id.clone(),
                value: *value,
            })
        });
        return DataJson { updates: Some(updates.collect()), ..DataJson::default() };
    }
    let users = rows.users.iter().filter_map(|user| {
        let (first_ms, value) = (user.updates.first()?.0, user.updates.last()?.1);
        Some(UserJson { first_ms, value, before: user.before })
    });
    DataJson { users: Some(users.collect()), ..DataJson::default() }
}

fn from_counts(counts: &Counts, is_ratio: bool) -> DataJson {
    let exposure = Some(counts.exposure.clone());
    let (trials, exposure) = if is_ratio { (exposure, None) } else { (None, exposure) };
    let units: IndexMap<_, _> =
        counts.units.iter().map(|(unit, counts)| (unit.clone(), from_counts(counts, is_ratio))).collect();
    DataJson {
        t_ms: Some(counts.t_ms.clone()),
        events: Some(counts.events.clone()),
        trials,
        exposure,
        units: (!units.is_empty()).then_some(units),
        ..DataJson::default()
    }
}

/// Values that are those of the units are written once.
fn from_values(values: &Values) -> DataJson {
    let units: IndexMap<_, _> =
        values.units.iter().map(|(unit, one)| (unit.clone(), from_values(one))).collect();
    let is_told = || Values::of_units(values.t_ms.clone(), values.units.clone()).values == values.values;
    let is_told = !units.is_empty() && is_told();
    DataJson {
        t_ms: Some(values.t_ms.clone()),
        values: (!is_told).then(|| values.values.clone()),
        units: (!units.is_empty()).then_some(units),
        ..DataJson::default()
    }
}

fn from_histogram(histogram: &Histogram) -> DataJson {
    let edge = |edge: &f64| {
        if edge.is_finite() { EdgeJson::Number(*edge) } else { EdgeJson::Text("+Inf".to_owned()) }
    };
    let units: IndexMap<_, _> =
        histogram.units.iter().map(|(unit, one)| (unit.clone(), from_histogram(one))).collect();
    DataJson {
        t_ms: Some(histogram.t_ms.clone()),
        le: Some(histogram.le.iter().map(edge).collect()),
        counts: Some(histogram.counts.clone()),
        units: (!units.is_empty()).then_some(units),
        ..DataJson::default()
    }
}
