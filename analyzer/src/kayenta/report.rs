//! The field `kayenta` of a verdict: what Kayenta's judge says of the same data, and what classical tests do.

use serde::{Deserialize, Serialize};

use super::beside::Comparison;
use super::judge::{COUNT_WARNED, JUDGE_NAME, MetricResult};
use super::pairs::MetricSetPair;
use super::runs::Window;
use super::wire::{JudgeResultJson, Number, ResultJson};
use crate::stats::classical;
use crate::verdict::wire::ReasonJson;

/// What Kayenta's judge says beside our own verdict: field `kayenta` of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonJson {
    /// Which judge.
    pub judge: String,
    /// `go`, `no_go` or `inconclusive`.
    pub decision: String,
    /// 0 to 100.
    pub score: Number,
    /// `Pass`, `Marginal` or `Fail`.
    pub classification: String,
    /// Why the score is 0, where a rule made it so.
    pub reason: String,
    /// Whether the configuration was `given` or `derived` from the policy.
    pub config: String,
    /// What was read and means nothing, and results that rest on few values.
    pub warnings: Vec<String>,
    /// The judgements made, in order.
    pub judgements: Vec<JudgementJson>,
    /// The last judgement's result as Kayenta writes it.
    pub result: JudgeResultJson,
    /// The intervals behind its labels.
    pub intervals: Vec<IntervalJson>,
    /// Classical tests of the same pairs, at this one look.
    pub tests: Vec<TestsJson>,
}

/// One judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgementJson {
    /// Start of what it looked at; absent where pairs came without times.
    pub start_ms: Option<i64>,
    /// End of what it looked at.
    pub end_ms: Option<i64>,
    /// `go`, `no_go` or `inconclusive`: the label of one judgement, the state of a run of several.
    pub decision: String,
    /// 0 to 100.
    pub score: Number,
    /// `Pass`, `Marginal` or `Fail`.
    pub classification: String,
}

/// The interval of one pair's shift, in the values' unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalJson {
    /// The pair's id.
    pub id: String,
    /// Lower end of the 98 % interval.
    pub low: f64,
    /// Upper end of the 98 % interval.
    pub high: f64,
    /// The Hodges–Lehmann estimate.
    pub estimate: f64,
}

/// Classical tests of one pair; a test that cannot be computed is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestsJson {
    /// The pair's id.
    pub id: String,
    /// Ranks.
    pub mann_whitney: Option<RankJson>,
    /// Means.
    pub welch: Option<WelchJson>,
    /// Distributions, by the largest gap.
    pub kolmogorov_smirnov: Option<SmirnovJson>,
    /// Distributions, heavier on the tails.
    pub anderson_darling: Option<AndersonJson>,
}

/// Result of the Mann–Whitney test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankJson {
    /// The statistic.
    pub u: f64,
    /// Chance that a canary value exceeds a baseline one.
    pub superiority: f64,
    /// Two-sided.
    pub p: f64,
    /// `exact` or `limit`.
    pub law: String,
}

/// Result of Welch's test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WelchJson {
    /// Canary's mean less baseline's.
    pub difference: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
    /// Two-sided.
    pub p: f64,
}

/// Result of the Kolmogorov–Smirnov test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmirnovJson {
    /// The largest gap.
    pub d: f64,
    /// Two-sided.
    pub p: f64,
    /// `exact` or `limit`.
    pub law: String,
}

/// Result of the Anderson–Darling test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AndersonJson {
    /// The standardised statistic.
    pub statistic: f64,
    /// Of so large a statistic.
    pub p: f64,
    /// `limit`, or `dealt` where samples are small or ties heavy.
    pub law: String,
}

impl From<&Comparison> for ComparisonJson {
    fn from(comparison: &Comparison) -> Self {
        let result = &comparison.result;
        let interval = |one: &MetricResult| {
            let shift = one.shift?;
            let (low, high, estimate) = (shift.lower, shift.upper, shift.estimate);
            Some(IntervalJson { id: one.id.clone(), low, high, estimate })
        };
        let few = format!("a result rests on fewer than {COUNT_WARNED} baseline values");
        Self {
            judge: JUDGE_NAME.to_owned(),
            decision: comparison.decision.word().to_owned(),
            score: Number(result.score.score),
            classification: result.score.class.word().to_owned(),
            reason: result.score.reason.clone().unwrap_or_default(),
            config: "derived".to_owned(),
            warnings: result.has_few_values().then_some(few).into_iter().collect(),
            judgements: Vec::new(),
            result: JudgeResultJson::from(result),
            intervals: result.results.iter().filter_map(interval).collect(),
            tests: comparison.pairs.iter().map(TestsJson::from).collect(),
        }
    }
}

impl ComparisonJson {
    /// Returns reasons for a verdict that rests on Kayenta's judge alone: the score, then what pulled it down.
    pub(crate) fn reasons(&self) -> Vec<ReasonJson> {
        let code = "kayenta".to_owned();
        let why = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        let mut reasons = vec![ReasonJson {
            code: code.clone(),
            check: None,
            text: format!("Kayenta's score is {}, {}{why}", self.score.0, self.classification),
        }];
        let pulling = |one: &&ResultJson| one.classification != "Pass" && !one.muted;
        reasons.extend(self.result.results.iter().filter(pulling).map(|one| ReasonJson {
            code: code.clone(),
            check: Some(one.name.clone()),
            text: match &one.classification_reason {
                Some(reason) => format!("{}: {reason}", one.classification),
                None => one.classification.clone(),
            },
        }));
        reasons
    }
}

impl JudgementJson {
    pub(super) fn new(window: Option<Window>, comparison: &Comparison) -> Self {
        Self {
            start_ms: window.map(|window| window.start_ms),
            end_ms: window.map(|window| window.end_ms),
            decision: comparison.decision.word().to_owned(),
            score: Number(comparison.result.score.score),
            classification: comparison.result.score.class.word().to_owned(),
        }
    }
}

impl From<&MetricSetPair> for TestsJson {
    fn from(pair: &MetricSetPair) -> Self {
        let there = |side: &[f64]| -> Vec<f64> { side.iter().copied().filter(|v| v.is_finite()).collect() };
        let (control, experiment) = (there(&pair.control), there(&pair.experiment));
        Self {
            id: pair.id.clone(),
            mann_whitney: classical::mann_whitney(&control, &experiment).ok().map(|one| RankJson {
                u: one.u,
                superiority: one.superiority,
                p: one.p.two_sided,
                law: one.law.word().to_owned(),
            }),
            welch: classical::welch(&control, &experiment).ok().map(|one| {
                let (low, high) = one.interval(0.05);
                WelchJson { difference: one.difference, low, high, p: one.p.two_sided }
            }),
            kolmogorov_smirnov: classical::kolmogorov_smirnov(&control, &experiment)
                .ok()
                .map(|one| SmirnovJson { d: one.d, p: one.p, law: one.law.word().to_owned() }),
            anderson_darling: classical::anderson_darling(&[&control, &experiment]).ok().map(|one| {
                AndersonJson { statistic: one.statistic, p: one.p, law: one.law.word().to_owned() }
            }),
        }
    }
}
