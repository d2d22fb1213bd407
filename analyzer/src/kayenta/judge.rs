//! The judge: pairs in, labels, group scores and the summary out.

use std::collections::BTreeMap;

use super::classify::{Label, classify};
use super::clean::{Summary, clean};
use super::config::CanaryConfig;
use super::error::KayentaError;
use super::pairs::MetricSetPair;
use super::rank_test::Shift;
use super::score::{Counted, GroupScore, Score, Thresholds, score};

/// The name by which canary configurations ask for this judge.
pub const JUDGE_NAME: &str = "NetflixACAJudge-v1.0";

/// Results below this many baseline values are warned about.
pub(super) const COUNT_WARNED: usize = 50;

/// What a judgement came to.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeResult {
    /// The summary.
    pub score: Score,
    /// Each group that has results.
    pub groups: Vec<GroupScore>,
    /// Each pair, in the request's order.
    pub results: Vec<MetricResult>,
}

/// What one pair came to.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricResult {
    /// The metric's name.
    pub name: String,
    /// The pair's id.
    pub id: String,
    /// The pair's tags.
    pub tags: BTreeMap<String, String>,
    /// The groups that it counts in.
    pub groups: Vec<String>,
    /// Its label.
    pub label: Label,
    /// Why.
    pub reason: Option<String>,
    /// Whether it fails the whole.
    pub is_critical: bool,
    /// Whether it is left out of the score.
    pub is_muted: bool,
    /// Mean of the canary over mean of the baseline; absent after an error.
    pub ratio: Option<f64>,
    /// The interval behind the label, where one was computed.
    pub shift: Option<Shift>,
    /// The canary's cleaned values.
    pub experiment: Summary,
    /// The baseline's cleaned values.
    pub control: Summary,
}

impl JudgeResult {
    /// Tells whether some result rests on few baseline values, which Kayenta warns about.
    pub fn has_few_values(&self) -> bool {
        self.results.iter().any(|result| result.control.count < COUNT_WARNED)
    }
}

/// Kayenta's judge with one configuration.
#[derive(Clone, Copy, Debug)]
pub struct NetflixJudge<'a> {
    /// The configuration.
    pub config: &'a CanaryConfig,
    /// Scores from which a judgement passes.
    pub thresholds: Thresholds,
}

impl NetflixJudge<'_> {
    /// Judges pairs of series.
    ///
    /// # Errors
    /// [`KayentaError::Field`] if a pair's metric is not in the configuration.
    pub fn judge(&self, pairs: &[MetricSetPair]) -> Result<JudgeResult, KayentaError> {
        let results: Vec<MetricResult> = (pairs.iter().enumerate())
            .map(|(idx, pair)| self.result(pair, &format!("metricSetPairList[{idx}].name")))
            .collect::<Result<_, _>>()?;
        let counted: Vec<Counted<'_>> = (results.iter())
            .map(|result| Counted {
                name: &result.name,
                groups: &result.groups,
                label: result.label,
                is_critical: result.is_critical,
                is_muted: result.is_muted,
            })
            .collect();
        let (score, groups) = score(&counted, &self.config.group_weights, &self.thresholds);
        Ok(JudgeResult { score, groups, results })
    }

    fn result(&self, pair: &MetricSetPair, path: &str) -> Result<MetricResult, KayentaError> {
        let metric = self.config.metric(&pair.name).ok_or_else(|| {
            KayentaError::field(path, format!("the configuration has no metric {:?}", pair.name))
        })?;
        let settings = &metric.settings;
        let (experiment, control) = (clean(&pair.experiment, settings), clean(&pair.control, settings));
        let classified = classify(&pair.name, &experiment, &control, settings, seed(pair));
        Ok(MetricResult {
            name: pair.name.clone(),
            id: pair.id.clone(),
            tags: pair.tags.clone(),
            groups: metric.groups.clone(),
            label: classified.label,
            reason: classified.reason,
            is_critical: classified.is_critical,
            is_muted: settings.muted,
            ratio: classified.ratio,
            shift: classified.shift,
            experiment: Summary::of(&experiment),
            control: Summary::of(&control),
        })
    }
}

/// Makes the seed of a pair's noise from its data: same data, same bits.
fn seed(pair: &MetricSetPair) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(pair.name.as_bytes());
    for value in pair.control.iter().chain(&pair.experiment) {
        hasher.update(&value.to_le_bytes());
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}
