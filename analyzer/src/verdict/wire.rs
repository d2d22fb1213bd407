//! The JSON shape of verdicts, looks and checks, as the contract fixes it.

use serde::{Deserialize, Serialize};

use greylight_store::model::Timestamp;

use super::beside_wire::{ChangeJson, OverlapJson};
use super::logs_wire::LogEvidenceJson;
use super::{
    ByValue, CheckResult, Cohort, Effect, NewPods, PatternResult, PhaseResult, Reason, Sizes, TimeLeft,
    UnitValue, Validity, Values, Verdict,
};
use crate::kayenta::report::ComparisonJson;
use crate::policy::Span;

/// [`Verdict`] as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictJson {
    /// The release's id.
    pub release: Option<String>,
    /// The release's key.
    pub key: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// Rises with each change that matters.
    pub revision: u64,
    /// `go`, `no_go` or `inconclusive`.
    pub decision: String,
    /// Whether it will not change any more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// The phase's name.
    pub phase: String,
    /// The policy.
    pub policy: PolicyRefJson,
    /// When the release started.
    pub started_at: Option<String>,
    /// Who started it.
    pub by: Option<String>,
    /// The two sides.
    pub cohorts: Option<CohortsJson>,
    /// Every phase.
    pub phases: Vec<PhaseJson>,
    /// What makes the evidence trustworthy.
    pub validity: Vec<ValidityJson>,
    /// When the decision fell.
    pub decided_at: Option<String>,
    /// End of the last interval looked at.
    pub watermark: Option<String>,
    /// Until when it may be acted on.
    pub expires_at: Option<String>,
    /// The policy's alpha.
    pub alpha: f64,
    /// What of it is spent.
    pub alpha_spent: f64,
    /// 0 to 100.
    pub score: u8,
    /// How long until a go.
    pub time_left: Option<TimeLeftJson>,
    /// Why.
    pub reasons: Vec<ReasonJson>,
    /// Each check.
    pub checks: Vec<CheckJson>,
    /// What was read.
    pub evidence: Option<EvidenceJson>,
    /// Changes that fall into its time, of its service or of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeJson>,
    /// Other releases at the same time, and whose doing a difference can be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlaps: Vec<OverlapJson>,
    /// What Kayenta's judge says of the same data, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kayenta: Option<ComparisonJson>,
}

/// A policy's name and revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyRefJson {
    /// Its name.
    pub name: String,
    /// Its pinned revision.
    pub revision: Option<u64>,
}

/// The two sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CohortsJson {
    /// The candidate.
    pub canary: CohortJson,
    /// The released version.
    pub baseline: CohortJson,
    /// Pods of the released version that started together with the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<CohortJson>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CohortJson {
    /// Its version's name.
    pub name: String,
    /// Units that reported.
    pub units: u64,
    /// Requests seen.
    pub requests: Option<f64>,
    /// Units that are silent now.
    pub silent: Vec<String>,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseJson {
    /// Its name.
    pub name: String,
    /// `waiting`, `go`, `no_go` or `inconclusive`.
    pub decision: String,
    /// When it began.
    pub started_at: Option<String>,
    /// When it was decided.
    pub decided_at: Option<String>,
    /// Looks made.
    pub looks: u64,
    /// The policy's text.
    pub at_least: String,
    /// The policy's text.
    pub at_most: String,
    /// The declared share.
    pub traffic_share: Option<f64>,
}

/// One condition of trust.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidityJson {
    /// `share`, `pre_period`, `aa_runs`, `completeness` or `clocks`.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// The figures.
    pub text: String,
}

/// A range of durations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeLeftJson {
    /// The shorter.
    pub low: String,
    /// The longer.
    pub high: String,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReasonJson {
    /// Its code.
    pub code: String,
    /// The check it is about.
    pub check: Option<String>,
    /// In words.
    pub text: String,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceJson {
    /// Start and end.
    pub range: [String; 2],
    /// Numbers read.
    pub rows: u64,
    /// Digest of the pinned data.
    pub digest: String,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckJson {
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: String,
    /// Its kind's word.
    pub kind: String,
    /// `full`, `veto` or `none`.
    pub vote: String,
    /// Its own decision.
    pub decision: String,
    /// When it fell.
    pub decided_at: Option<String>,
    /// Since when data is missing.
    pub since: Option<String>,
    /// How long until its go.
    pub time_left: Option<TimeLeftJson>,
    /// The two sides.
    pub values: Option<ValuesJson>,
    /// The same by unit.
    pub units: Vec<UnitJson>,
    /// The difference.
    pub effect: Option<EffectJson>,
    /// For a distribution: by quantile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<QuantileEffectJson>,
    /// For a distribution: the chance that a canary's value is larger than a baseline's, half of the ties added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superiority: Option<EffectJson>,
    /// The margin's number.
    pub margin: Option<f64>,
    /// `up`, `down` or `either`.
    pub harm: String,
    /// From when on harm is shown, where the release as a whole does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harm_since: Option<String>,
    /// Chance of such data without harm.
    pub p_harm: Option<f64>,
    /// Its level at this look.
    pub level: Option<f64>,
    /// Chance of such data if harm equalled the margin.
    pub p_go: Option<f64>,
    /// Its level at this look.
    pub level_go: Option<f64>,
    /// The check's part of alpha.
    pub budget: f64,
    /// What of it is spent.
    pub spent: f64,
    /// How much data there is.
    pub n: SizesJson,
    /// The procedure.
    pub method: String,
    /// What was asked of the store.
    pub queries: Vec<String>,
    /// For kind `patterns`: those that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<PatternJson>,
    /// For kind `patterns`: all that differ in figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogEvidenceJson>,
    /// For new pods, which have no history: how they were judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_pods: Option<NewPodsJson>,
    /// With one test a value: each, and `other`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<ByValueJson>,
}

/// One value's test inside a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByValueJson {
    /// The value, or `other`.
    pub value: String,
    /// `go`, `no_go` or `inconclusive`.
    pub decision: String,
    /// The two sides.
    pub values: Option<ValuesJson>,
    /// The difference.
    pub effect: Option<EffectJson>,
    /// As the check's, to be held against the check's level.
    pub p_harm: Option<f64>,
    /// As the check's.
    pub p_go: Option<f64>,
    /// How much data there is.
    pub n: SizesJson,
}

/// How a canary of new pods was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewPodsJson {
    /// `births`, `fresh`, `old` or `none`.
    pub compared_with: String,
    /// The canary's pods.
    pub canary: u64,
    /// The settled pods of the old version.
    pub old: u64,
    /// Pods of the old version that started with the canary.
    pub fresh: u64,
    /// Earlier starts that count.
    pub births: u64,
    /// Events in which these came.
    pub events: u64,
    /// Age from which such pods count.
    pub settled: Option<String>,
    /// The shift found by the end of the phase in 80 % of cases, in the unit of the effect.
    pub announced: Option<f64>,
}

/// The two sides of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValuesJson {
    /// The baseline's.
    pub baseline: Option<f64>,
    /// The canary's.
    pub canary: Option<f64>,
    /// Their unit.
    pub unit: String,
}

/// A value at one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitJson {
    /// The unit's name.
    pub unit: String,
    /// `baseline` or `canary`.
    pub cohort: String,
    /// Its value.
    pub value: f64,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectJson {
    /// Best single figure.
    pub estimate: Option<f64>,
    /// Lower end; null: unbounded.
    pub low: Option<f64>,
    /// Upper end; null: unbounded.
    pub high: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// `difference`, `relative` or `superiority`.
    pub measure: String,
}

/// A difference at one quantile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantileEffectJson {
    /// The quantile.
    pub at: f64,
    /// The difference there.
    #[serde(flatten)]
    pub effect: EffectJson,
    /// The quantile on the baseline, in the unit of the values.
    #[serde(default)]
    pub baseline: Option<f64>,
    /// The quantile on the canary.
    #[serde(default)]
    pub canary: Option<f64>,
}

/// How much data a check has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizesJson {
    /// The baseline's.
    pub baseline: f64,
    /// The canary's.
    pub canary: f64,
    /// Independent pieces.
    pub effective: f64,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatternJson {
    /// The template's id.
    pub id: String,
    /// The template.
    pub text: String,
    /// Its severity.
    pub severity: Option<String>,
    /// `new`, `more`, `fewer` or `gone`.
    pub change: String,
    /// Whether it belongs to a list with few false entries.
    #[serde(default)]
    pub stands_out: bool,
    /// Records on the baseline.
    pub baseline: u64,
    /// Records on the canary.
    pub canary: u64,
    /// Records that were to be expected.
    pub expected: f64,
    /// Lower end of the rate ratio.
    pub low: Option<f64>,
    /// Upper end of the rate ratio.
    pub high: Option<f64>,
    /// A bet's winnings against "no more than its share"; null where beyond all numbers.
    pub e_value: Option<f64>,
    /// First interval in which the canary had it.
    pub first_seen: Option<String>,
    /// Units that had it.
    pub units: Option<u64>,
    /// Baseline and canary, interval by interval.
    pub counts_by_interval: Vec<[u64; 2]>,
    /// Log records that show it, as the log search gives them.
    pub examples: Vec<serde_json::Value>,
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

impl From<&Verdict> for VerdictJson {
    fn from(verdict: &Verdict) -> Self {
        Self {
            release: verdict.release.clone(),
            key: verdict.key.clone(),
            service: verdict.service.clone(),
            revision: verdict.revision,
            decision: verdict.decision.word().to_owned(),
            is_final: verdict.is_final,
            phase: verdict.phase.clone(),
            policy: PolicyRefJson { name: verdict.policy.clone(), revision: verdict.policy_revision },
            started_at: time(verdict.started_at),
            by: verdict.by.clone(),
            cohorts: verdict.cohorts.as_ref().map(|cohorts| CohortsJson {
                canary: CohortJson::from(&cohorts.canary),
                baseline: CohortJson::from(&cohorts.baseline),
                fresh: cohorts.fresh.as_ref().map(CohortJson::from),
            }),
            phases: verdict.phases.iter().map(PhaseJson::from).collect(),
            validity: verdict.validity.iter().map(ValidityJson::from).collect(),
            decided_at: time(verdict.decided_at),
            watermark: time(verdict.watermark),
            expires_at: time(verdict.expires_at),
            alpha: verdict.alpha,
            alpha_spent: verdict.alpha_spent,
            score: verdict.score,
            time_left: verdict.time_left.map(TimeLeftJson::from),
            reasons: verdict.reasons.iter().map(ReasonJson::from).collect(),
            checks: verdict.checks.iter().map(CheckJson::from).collect(),
            evidence: verdict.evidence.as_ref().map(|evidence| EvidenceJson {
                range: [evidence.start.to_string(), evidence.end.to_string()],
                rows: evidence.rows,
                digest: evidence.digest.clone(),
            }),
            changes: Vec::new(),
            overlaps: Vec::new(),
            kayenta: None,
        }
    }
}

impl From<&Cohort> for CohortJson {
    fn from(cohort: &Cohort) -> Self {
        Self {
            name: cohort.name.clone(),
            units: cohort.units,
            requests: cohort.requests,
            silent: cohort.silent.clone(),
        }
    }
}

impl From<&PhaseResult> for PhaseJson {
    fn from(phase: &PhaseResult) -> Self {
        Self {
            name: phase.name.clone(),
            decision: phase.state.word().to_owned(),
            started_at: time(phase.started_at),
            decided_at: time(phase.decided_at),
            looks: phase.looks,
            at_least: phase.at_least.clone(),
            at_most: phase.at_most.clone(),
            traffic_share: phase.traffic_share,
        }
    }
}

impl From<&Validity> for ValidityJson {
    fn from(validity: &Validity) -> Self {
        Self { name: validity.name.word().to_owned(), ok: validity.ok, text: validity.text.clone() }
    }
}

impl From<TimeLeft> for TimeLeftJson {
    fn from(left: TimeLeft) -> Self {
        Self {
            low: Span::from_millis(left.low_ms).to_string(),
            high: Span::from_millis(left.high_ms).to_string(),
        }
    }
}

impl From<&Reason> for ReasonJson {
    fn from(reason: &Reason) -> Self {
        Self { code: reason.cause.code().to_owned(), check: reason.check.clone(), text: reason.text() }
    }
}

impl From<&Effect> for EffectJson {
    fn from(effect: &Effect) -> Self {
        Self {
            estimate: effect.estimate,
            low: effect.low,
            high: effect.high,
            unit: effect.unit.to_owned(),
            measure: effect.measure.word().to_owned(),
        }
    }
}

impl From<&CheckResult> for CheckJson {
    fn from(check: &CheckResult) -> Self {
        Self {
            name: check.name.clone(),
            phase: check.phase.clone(),
            kind: check.kind.to_owned(),
            vote: check.vote.word().to_owned(),
            decision: check.decision.word().to_owned(),
            decided_at: time(check.decided_at),
            since: time(check.since),
            time_left: check.time_left.map(TimeLeftJson::from),
            values: check.values.map(ValuesJson::from),
            units: check.units.iter().map(UnitJson::from).collect(),
            effect: check.effect.as_ref().map(EffectJson::from),
            effects: (check.effects.iter())
                .map(|one| QuantileEffectJson {
                    at: one.at,
                    effect: EffectJson::from(&one.effect),
                    baseline: one.baseline,
                    canary: one.canary,
                })
                .collect(),
            superiority: check.superiority.as_ref().map(EffectJson::from),
            margin: check.margin,
            harm: check.harm.word().to_owned(),
            harm_since: time(check.harm_since),
            p_harm: check.p_harm,
            level: check.level,
            p_go: check.p_go,
            level_go: check.level_go,
            budget: check.budget,
            spent: check.spent,
            n: SizesJson::from(check.n),
            method: check.method.clone(),
            queries: check.queries.clone(),
            patterns: check.patterns.iter().map(PatternJson::from).collect(),
            logs: check.logs.as_ref().map(LogEvidenceJson::from),
            new_pods: check.new_pods.as_ref().map(NewPodsJson::from),
            by: check.by.iter().map(ByValueJson::from).collect(),
        }
    }
}

impl From<Values> for ValuesJson {
    fn from(values: Values) -> Self {
        Self { baseline: values.baseline, canary: values.canary, unit: values.unit.to_owned() }
    }
}

impl From<Sizes> for SizesJson {
    fn from(n: Sizes) -> Self {
        Self { baseline: n.baseline, canary: n.canary, effective: n.effective }
    }
}

impl From<&ByValue> for ByValueJson {
    fn from(one: &ByValue) -> Self {
        Self {
            value: one.value.clone(),
            decision: one.decision.word().to_owned(),
            values: one.values.map(ValuesJson::from),
            effect: one.effect.as_ref().map(EffectJson::from),
            p_harm: one.p_harm,
            p_go: one.p_go,
            n: SizesJson::from(one.n),
        }
    }
}

impl From<&NewPods> for NewPodsJson {
    fn from(pods: &NewPods) -> Self {
        Self {
            compared_with: pods.compared_with.to_owned(),
            canary: pods.canary,
            old: pods.old,
            fresh: pods.fresh,
            births: pods.births,
            events: pods.events,
            settled: pods.settled_ms.map(|ms| Span::from_millis(ms).to_string()),
            announced: pods.announced,
        }
    }
}

impl From<&UnitValue> for UnitJson {
    fn from(value: &UnitValue) -> Self {
        let cohort = if value.is_canary { "canary" } else { "baseline" };
        Self { unit: value.unit.clone(), cohort: cohort.to_owned(), value: value.value }
    }
}

impl From<&PatternResult> for PatternJson {
    fn from(pattern: &PatternResult) -> Self {
        Self {
            id: pattern.id.clone(),
            text: pattern.text.clone(),
            severity: pattern.severity.clone(),
            change: pattern.change.word().to_owned(),
            stands_out: pattern.stands_out,
            baseline: pattern.baseline,
            canary: pattern.canary,
            expected: pattern.expected,
            low: pattern.low,
            high: pattern.high,
            e_value: Some(pattern.e_value).filter(|e| e.is_finite()),
            first_seen: time(pattern.first_seen),
            units: pattern.units,
            counts_by_interval: pattern.counts_by_interval.clone(),
            examples: pattern.examples.clone(),
        }
    }
}
