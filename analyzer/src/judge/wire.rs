//! The JSON shapes of the judge: data in (`D` of the contract, also the evidence that looks pin), looks out.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::analysis::Look;
use super::data::{Counts, Data, Histogram, Pattern, PatternCounts, Series, UserRow, UserRows, Values};
use super::error::JudgeError;
use crate::verdict::wire::{CheckJson, ReasonJson, TimeLeftJson, ValidityJson, VerdictJson};

/// Body of `POST /api/v1/judge`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestJson {
    /// The policy; query fields may be left out.
    pub policy: serde_json::Value,
    /// `greylight`; `kayenta` and `both` are refused by name.
    #[serde(default)]
    pub engine: Option<String>,
    /// The phase to judge; may be left out where the policy has one.
    #[serde(default)]
    pub phase: Option<String>,
    /// Start of the release.
    #[serde(default)]
    pub start_ms: Option<i64>,
    /// Data by check name.
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

type Numbers = Vec<Option<f64>>;

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

impl DataJson {
    /// Turns the JSON form into the domain's, for a kind's word.
    ///
    /// # Errors
    /// [`JudgeError::Field`] if a field is missing, of another length, negative where it counts, or unknown
    /// to this kind.
    pub fn into_data(self, kind: &str, path: &str) -> Result<Data, JudgeError> {
        if self.by.is_some() {
            return self.into_by(kind, path).map(Data::By);
        }
        self.refuse_strangers(kind, path)?;
        match kind {
            "ratio" | "count" => self.into_counts(kind, path).map(Data::Counts),
            "mean" => self.into_series(path).map(Data::Values),
            "distribution" if self.values.is_some() => self.into_values(path).map(Data::Raw),
            "distribution" => self.into_histogram(path).map(Data::Histogram),
            "users" => self.into_users(path).map(Data::Users),
            "composite" => {
                Err(JudgeError::field(path, "a composite check takes its data from the mean checks"))
            }
            _ => self.into_patterns(path).map(Data::Patterns),
        }
    }

    /// Refuses fields that belong to another kind, which would otherwise be ignored in silence.
    fn refuse_strangers(&self, kind: &str, path: &str) -> Result<(), JudgeError> {
        let known: &[&str] = match kind {
            "ratio" => &["t_ms", "events", "trials", "units"],
            "count" => &["t_ms", "events", "exposure", "units"],
            "mean" => &["series"],
            "distribution" => &["t_ms", "le", "counts", "values", "units"],
            "users" => &["users", "updates"],
            "composite" => &[],
            _ => &["t_ms", "records", "trials", "patterns"],
        };
        let given = [
            ("t_ms", self.t_ms.is_some()),
            ("events", self.events.is_some()),
            ("trials", self.trials.is_some()),
            ("exposure", self.exposure.is_some()),
            ("units", self.units.is_some()),
            ("series", self.series.is_some()),
            ("le", self.le.is_some()),
            ("counts", self.counts.is_some()),
            ("values", self.values.is_some()),
            ("records", self.records.is_some()),
            ("patterns", self.patterns.is_some()),
            ("users", self.users.is_some()),
            ("updates", self.updates.is_some()),
            ("by", self.by.is_some()),
        ];
        match given.iter().find(|(name, is_given)| *is_given && !known.contains(name)) {
            Some((name, _)) => Err(JudgeError::field(
                format!("{path}.{name}"),
                format!("does not belong to kind {kind}, which has {}", known.join(", ")),
            )),
            None => Ok(()),
        }
    }

    fn into_counts(self, kind: &str, path: &str) -> Result<Counts, JudgeError> {
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let events = counted(required(self.events, path, "events")?, &t_ms, path, "events")?;
        let (exposure, name) =
            if kind == "ratio" { (self.trials, "trials") } else { (self.exposure, "exposure") };
        let exposure = counted(required(exposure, path, name)?, &t_ms, path, name)?;
        let units = (self.units.unwrap_or_default().into_iter())
            .map(|(unit, data)| Ok((unit.clone(), data.into_counts(kind, &format!("{path}.units.{unit}"))?)))
            .collect::<Result<_, JudgeError>>()?;
        Ok(Counts { t_ms, events, exposure, units })
    }

    fn into_series(self, path: &str) -> Result<Vec<Series>, JudgeError> {
        let series = required(self.series, path, "series")?;
        (series.into_iter().enumerate())
            .map(|(idx, one)| {
                let path = format!("{path}.series[{idx}]");
                let t_ms = instants(one.t_ms, &path)?;
                let v = sized(one.v, &t_ms, &path, "v")?;
                Ok(Series { instance: one.instance, t_ms, v })
            })
            .collect()
    }

    fn into_values(self, path: &str) -> Result<Values, JudgeError> {
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let values = sized(required(self.values, path, "values")?, &t_ms, path, "values")?;
        Ok(Values { t_ms, values })
    }

    fn into_histogram(self, path: &str) -> Result<Histogram, JudgeError> {
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let le = edges(required(self.le, path, "le")?, path)?;
        let counts = sized(required(self.counts, path, "counts")?, &t_ms, path, "counts")?;
        for (idx, row) in counts.iter().enumerate() {
            let Some(row) = row else { continue };
            let field = format!("{path}.counts[{idx}]");
            if row.len() != le.len() {
                return Err(JudgeError::field(
                    field,
                    format!("has {} buckets, and le has {}", row.len(), le.len()),
                ));
            }
            if row.iter().any(|count| *count < 0.0) {
                return Err(JudgeError::field(field, "holds a negative count"));
            }
        }
        let units = (self.units.unwrap_or_default().into_iter())
            .map(|(unit, data)| Ok((unit.clone(), data.into_histogram(&format!("{path}.units.{unit}"))?)))
            .collect::<Result<_, JudgeError>>()?;
        Ok(Histogram { t_ms, le, counts, units })
    }

    fn into_by(mut self, kind: &str, path: &str) -> Result<IndexMap<String, Data>, JudgeError> {
        let field = format!("{path}.by");
        if !["ratio", "count", "distribution"].contains(&kind) {
            return Err(JudgeError::field(field, format!("does not belong to kind {kind}")));
        }
        let values = self.by.take().unwrap_or_default();
        if self != Self::default() {
            return Err(JudgeError::field(field, "stands alone: the data of each value is inside"));
        }
        (values.into_iter())
            .map(|(value, data)| {
                let path = format!("{field}.{value}");
                if data.by.is_some() {
                    return Err(JudgeError::field(path, "has `by` inside of `by`"));
                }
                Ok((value, data.into_data(kind, &path)?))
            })
            .collect()
    }

    fn into_users(self, path: &str) -> Result<UserRows, JudgeError> {
        let finite = |field: String, values: Vec<f64>| match values.iter().find(|value| !value.is_finite()) {
            Some(wrong) => Err(JudgeError::field(field, format!("finite values, not {wrong}"))),
            None => Ok(()),
        };
        match (self.users, self.updates) {
            (Some(users), None) => {
                let field = format!("{path}.users");
                instants(users.iter().map(|user| user.first_ms).collect(), &field)?;
                finite(
                    field,
                    users.iter().flat_map(|user| [user.value, user.before.unwrap_or(0.0)]).collect(),
                )?;
                let row = |user: UserJson| UserRow {
                    id: None,
                    updates: vec![(user.first_ms, user.value)],
                    before: user.before,
                };
                Ok(UserRows { users: users.into_iter().map(row).collect() })
            }
            (None, Some(mut updates)) => {
                let field = format!("{path}.updates");
                instants(updates.iter().map(|update| update.t_ms).collect(), &field)?;
                finite(field, updates.iter().map(|update| update.value).collect())?;
                updates.sort_by_key(|update| update.t_ms);
                let mut users: IndexMap<String, UserRow> = IndexMap::new();
                for update in updates {
                    let row = users
                        .entry(update.user.clone())
                        .or_insert_with(|| UserRow { id: Some(update.user), ..UserRow::default() });
                    row.updates.push((update.t_ms, update.value));
                }
                Ok(UserRows { users: users.into_values().collect() })
            }
            _ => Err(JudgeError::field(path, "needs either `users` or `updates`")),
        }
    }

    fn into_patterns(self, path: &str) -> Result<PatternCounts, JudgeError> {
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let records = counted(required(self.records, path, "records")?, &t_ms, path, "records")?;
        let trials = self.trials.map(|trials| counted(trials, &t_ms, path, "trials")).transpose()?;
        let patterns = (self.patterns.unwrap_or_default().into_iter())
            .map(|(id, one)| {
                let counts = counted(one.counts, &t_ms, &format!("{path}.patterns.{id}"), "counts")?;
                Ok((id, Pattern { text: one.text, severity: one.severity, counts }))
            })
            .collect::<Result<_, JudgeError>>()?;
        Ok(PatternCounts { t_ms, records, trials, patterns })
    }
}

/// Takes starts of intervals between the years 0 and 9999, in which arithmetic cannot overflow.
fn instants(t_ms: Vec<i64>, path: &str) -> Result<Vec<i64>, JudgeError> {
    const MS_MIN: i64 = -62_167_219_200_000;
    const MS_MAX: i64 = 253_402_300_799_999;
    match t_ms.iter().find(|t_ms| !(MS_MIN..=MS_MAX).contains(*t_ms)) {
        Some(wrong) => Err(JudgeError::field(
            format!("{path}.t_ms"),
            format!("epoch milliseconds up to the year 9999, not {wrong}"),
        )),
        None => Ok(t_ms),
    }
}

fn required<T>(value: Option<T>, path: &str, name: &str) -> Result<T, JudgeError> {
    value.ok_or_else(|| JudgeError::field(format!("{path}.{name}"), "is required"))
}

fn sized<T>(values: Vec<T>, t_ms: &[i64], path: &str, name: &str) -> Result<Vec<T>, JudgeError> {
    if values.len() == t_ms.len() {
        return Ok(values);
    }
    Err(JudgeError::field(
        format!("{path}.{name}"),
        format!("has {} entries, and t_ms has {}", values.len(), t_ms.len()),
    ))
}

fn counted(values: Numbers, t_ms: &[i64], path: &str, name: &str) -> Result<Numbers, JudgeError> {
    // Sums of counts beyond this lose whole numbers, and no real count comes near.
    const COUNT_MAX: f64 = 1e12;
    let values = sized(values, t_ms, path, name)?;
    match values.iter().flatten().find(|value| !(0.0..=COUNT_MAX).contains(*value)) {
        Some(value) => {
            Err(JudgeError::field(format!("{path}.{name}"), format!("counts from 0 to 1e12, not {value}")))
        }
        None => Ok(values),
    }
}

fn edges(le: Vec<EdgeJson>, path: &str) -> Result<Vec<f64>, JudgeError> {
    let wrong = |problem: String| JudgeError::field(format!("{path}.le"), problem);
    let mut edges = Vec::with_capacity(le.len());
    for edge in le {
        edges.push(match edge {
            EdgeJson::Number(number) => number,
            EdgeJson::Text(text) => {
                text.parse().map_err(|_| wrong(format!("{text:?} is no number and not \"+Inf\"")))?
            }
        });
    }
    if edges.iter().any(|edge| edge.is_nan()) || edges.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(wrong("edges must rise".to_owned()));
    }
    match edges.last() {
        Some(edge) if *edge == f64::INFINITY => Ok(edges),
        _ => Err(wrong("the last edge must be \"+Inf\"".to_owned())),
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
            Data::Raw(values) => Self {
                t_ms: Some(values.t_ms.clone()),
                values: Some(values.values.clone()),
                ..Self::default()
            },
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
                            (id.clone(), PatternCountsJson { text, severity, counts: one.counts.clone() })
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
