//! The JSON shapes of the judge: data in (`D` of the contract, also the evidence that looks pin), looks out.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::analysis::Look;
use super::data::{Counts, Data, Histogram, Pattern, PatternCounts, PatternMember, Series, Values};
use super::error::JudgeError;
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
    /// Refused: procedure N.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<serde_json::Value>,
    /// Refused: procedure N.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub births: Option<serde_json::Value>,
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
    /// Refused: one test a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<serde_json::Value>,
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

impl DataJson {
    /// Turns the JSON form into the domain's, for a kind's word.
    ///
    /// # Errors
    /// [`JudgeError::Field`] if a field is missing, of another length, negative where it counts, or unknown
    /// to this kind.
    pub fn into_data(self, kind: &str, path: &str) -> Result<Data, JudgeError> {
        if self.by.is_some() {
            return Err(JudgeError::field(format!("{path}.by"), "`by` is not supported by this version yet"));
        }
        self.refuse_strangers(kind, path)?;
        match kind {
            "ratio" | "count" => self.into_counts(kind, path).map(Data::Counts),
            "mean" => self.into_series(path).map(Data::Values),
            "distribution" if self.values.is_some() => self.into_values(path).map(Data::Raw),
            "distribution" => self.into_histogram(path).map(Data::Histogram),
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

    fn into_patterns(self, path: &str) -> Result<PatternCounts, JudgeError> {
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let records = counted(required(self.records, path, "records")?, &t_ms, path, "records")?;
        let trials = self.trials.map(|trials| counted(trials, &t_ms, path, "trials")).transpose()?;
        let patterns = (self.patterns.unwrap_or_default().into_iter())
            .map(|(id, one)| {
                let path = format!("{path}.patterns.{id}");
                let counts = counted(one.counts, &t_ms, &path, "counts")?;
                let members = (one.members.into_iter())
                    .map(|(member, one)| {
                        let path = format!("{path}.members.{member}");
                        let counts = counted(one.counts, &t_ms, &path, "counts")?;
                        Ok((member, PatternMember { text: one.text, counts }))
                    })
                    .collect::<Result<_, JudgeError>>()?;
                let (text, severity, examples) = (one.text, one.severity, one.examples);
                Ok((id, Pattern { text, severity, counts, members, examples }))
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
            data => Self::from(data),
        }
    }
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
