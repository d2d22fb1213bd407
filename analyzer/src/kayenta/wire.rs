//! The JSON of Kayenta's judge, both ways. NaN is the text `"NaN"`; what is absent is left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clean::Summary;
use super::error::KayentaError;
use super::judge::{JUDGE_NAME, JudgeResult, MetricResult};
use super::pairs::{MetricSet, MetricSetPair};

/// A number that may be none: `"NaN"`, `"Infinity"`, `"-Infinity"`; null is read as NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
            Nothing,
        }
        match Form::deserialize(deserializer)? {
            Form::Number(value) => Ok(Self(value)),
            Form::Nothing => Ok(Self(f64::NAN)),
            Form::Text(text) => match text.as_str() {
                "NaN" => Ok(Self(f64::NAN)),
                "Infinity" => Ok(Self(f64::INFINITY)),
                "-Infinity" => Ok(Self(f64::NEG_INFINITY)),
                other => Err(serde::de::Error::custom(format!("{other:?} is no number"))),
            },
        }
    }
}

/// A pair of series. Fields that the judge does not read (`scopes`, `attributes`) are passed over.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct MetricSetPairJson {
    /// The metric's name.
    pub name: String,
    /// The pair's id.
    #[serde(default)]
    pub id: Option<String>,
    /// What tells it from other pairs of the metric.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Both sides.
    pub values: PairValuesJson,
}

/// Values of both sides.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PairValuesJson {
    /// The baseline's.
    pub control: Vec<Number>,
    /// The canary's.
    pub experiment: Vec<Number>,
}

impl From<MetricSetPairJson> for MetricSetPair {
    fn from(pair: MetricSetPairJson) -> Self {
        let plain = |values: Vec<Number>| values.into_iter().map(|value| value.0).collect();
        Self {
            id: pair.id.unwrap_or_else(|| pair.name.clone()),
            name: pair.name,
            tags: pair.tags.unwrap_or_default(),
            control: plain(pair.values.control),
            experiment: plain(pair.values.experiment),
        }
    }
}

/// One series of one side.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricSetJson {
    /// The metric's name.
    pub name: String,
    /// What tells it from other series of the metric.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Start of the stretch.
    pub start_time_millis: i64,
    /// End of the stretch; absent: after the last value.
    #[serde(default)]
    pub end_time_millis: Option<i64>,
    /// Distance of the values.
    pub step_millis: i64,
    /// The values.
    pub values: Vec<Number>,
}

impl MetricSetJson {
    /// Turns the JSON form into the domain's.
    ///
    /// # Errors
    /// [`KayentaError::Field`] if times or step cannot be.
    pub fn into_set(self, path: &str) -> Result<MetricSet, KayentaError> {
        // The years up to 9999; sums of such cannot overflow.
        const MS_MAX: i64 = 253_402_300_799_999;
        let is_time = |ms: i64| (0..=MS_MAX).contains(&ms);
        if !(1..=MS_MAX).contains(&self.step_millis) {
            return Err(KayentaError::field(format!("{path}.stepMillis"), "must be above 0"));
        }
        if !is_time(self.start_time_millis) || !self.end_time_millis.is_none_or(is_time) {
            return Err(KayentaError::field(
                format!("{path}.startTimeMillis"),
                "start and end are epoch milliseconds up to the year 9999",
            ));
        }
        let n = i64::try_from(self.values.len()).unwrap_or(i64::MAX);
        let end = self.start_time_millis.saturating_add(n.saturating_mul(self.step_millis));
        Ok(MetricSet {
            name: self.name,
            tags: self.tags.unwrap_or_default(),
            start_ms: self.start_time_millis,
            end_ms: self.end_time_millis.unwrap_or(end),
            step_ms: self.step_millis,
            values: self.values.into_iter().map(|value| value.0).collect(),
        })
    }
}

/// A judge's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgeResultJson {
    /// Which judge.
    pub judge_name: String,
    /// Each pair.
    pub results: Vec<ResultJson>,
    /// Each group.
    pub group_scores: Vec<ScoreJson>,
    /// The summary.
    pub score: ScoreJson,
}

/// The summary or a group's score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoreJson {
    /// The group; absent in the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// 0 to 100.
    pub score: Number,
    /// `Pass`, `Marginal`, `Fail`; empty for groups.
    pub classification: String,
    /// Why.
    pub classification_reason: String,
}

/// One pair's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultJson {
    /// The metric's name.
    pub name: String,
    /// The pair's id.
    pub id: String,
    /// The pair's tags.
    pub tags: BTreeMap<String, String>,
    /// `Pass`, `High`, `Low`, `Nodata`, `NodataFailMetric` or `Error`.
    pub classification: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classification_reason: Option<String>,
    /// The groups that it counts in.
    pub groups: Vec<String>,
    /// The canary's cleaned values.
    pub experiment_metadata: StatsJson,
    /// The baseline's cleaned values.
    pub control_metadata: StatsJson,
    /// The ratio of the means.
    pub result_metadata: RatioJson,
    /// Whether it fails the whole.
    pub critical: bool,
    /// Whether it is left out of the score.
    pub muted: bool,
}

/// `{ stats: {..} }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatsJson {
    /// The summary of a side.
    pub stats: SummaryJson,
}

/// What is reported of a side's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryJson {
    /// Smallest.
    pub min: Number,
    /// Largest.
    pub max: Number,
    /// Mean.
    pub mean: Number,
    /// Standard deviation.
    pub std: Number,
    /// How many.
    pub count: usize,
}

/// `{ ratio: .. }`; empty after an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioJson {
    /// Mean of the canary over mean of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Number>,
}

impl From<&JudgeResult> for JudgeResultJson {
    fn from(result: &JudgeResult) -> Self {
        Self {
            judge_name: JUDGE_NAME.to_owned(),
            results: result.results.iter().map(ResultJson::from).collect(),
            group_scores: (result.groups.iter())
                .map(|group| ScoreJson {
                    name: Some(group.name.clone()),
                    score: Number(group.score),
                    classification: String::new(),
                    classification_reason: String::new(),
                })
                .collect(),
            score: ScoreJson {
                name: None,
                score: Number(result.score.score),
                classification: result.score.class.word().to_owned(),
                classification_reason: result.score.reason.clone().unwrap_or_default(),
            },
        }
    }
}

impl From<&MetricResult> for ResultJson {
    fn from(result: &MetricResult) -> Self {
        Self {
            name: result.name.clone(),
            id: result.id.clone(),
            tags: result.tags.clone(),
            classification: result.label.word().to_owned(),
            classification_reason: result.reason.clone(),
            groups: result.groups.clone(),
            experiment_metadata: StatsJson { stats: SummaryJson::from(&result.experiment) },
            control_metadata: StatsJson { stats: SummaryJson::from(&result.control) },
            result_metadata: RatioJson { ratio: result.ratio.map(Number) },
            critical: result.is_critical,
            muted: result.is_muted,
        }
    }
}

impl From<&Summary> for SummaryJson {
    fn from(summary: &Summary) -> Self {
        Self {
            min: Number(summary.min),
            max: Number(summary.max),
            mean: Number(summary.mean),
            std: Number(summary.std),
            count: summary.count,
        }
    }
}
