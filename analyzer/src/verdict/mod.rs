//! A decision with its evidence.
//!
//! [`Verdict`] is what a release shows, what a webhook carries and what `POST /api/v1/judge` answers;
//! [`wire`] gives it the JSON shape of the contract. The types here hold numbers; prose is made by
//! [`Reason::text`] at the edge.

use greylight_store::model::Timestamp;

use crate::policy::{Harm, Vote};

mod reason;
mod beside_wire;
pub mod wire;
pub mod logs_wire;

pub use beside_wire::{ChangeJson, OverlapJson};
pub(crate) use reason::percent;
pub use reason::{Cause, Reason};

/// What may be done with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Shown to be no worse than the margins.
    Go,
    /// Harm was shown.
    NoGo,
    /// Neither was shown yet.
    Inconclusive,
}

impl Decision {
    /// Returns the word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::NoGo => "no_go",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Where a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PhaseState {
    /// It waits for the phase before it, or for the deploy tool's call.
    Waiting,
    /// It has begun; this is its decision so far.
    Begun(Decision),
}

impl PhaseState {
    /// Returns the word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Begun(decision) => decision.word(),
        }
    }
}

/// A decision on a release with everything that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The release's id; absent where a judge alone answers.
    pub release: Option<String>,
    /// The release's key.
    pub key: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// Rises when decision, final, phase, a phase's decision or the reasons' set changes.
    pub revision: u64,
    /// The decision.
    pub decision: Decision,
    /// Whether it will not change any more.
    pub is_final: bool,
    /// The phase it is about.
    pub phase: String,
    /// The policy's name.
    pub policy: String,
    /// The policy's pinned revision.
    pub policy_revision: Option<u64>,
    /// When the release started.
    pub started_at: Option<Timestamp>,
    /// Who started it.
    pub by: Option<String>,
    /// Who is compared.
    pub cohorts: Option<Cohorts>,
    /// Every phase of the policy, in order.
    pub phases: Vec<PhaseResult>,
    /// What makes the evidence trustworthy, or not.
    pub validity: Vec<Validity>,
    /// When the decision fell.
    pub decided_at: Option<Timestamp>,
    /// End of the last interval looked at.
    pub watermark: Option<Timestamp>,
    /// Until when it may be acted on.
    pub expires_at: Option<Timestamp>,
    /// The policy's alpha.
    pub alpha: f64,
    /// What of alpha the looks have spent so far.
    pub alpha_spent: f64,
    /// 0 to 100, for clients that know scores only.
    pub score: u8,
    /// How long until a go, were things to stay as they are.
    pub time_left: Option<TimeLeft>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Each check of the phase.
    pub checks: Vec<CheckResult>,
    /// What was read.
    pub evidence: Option<Evidence>,
}

/// The two sides of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohorts {
    /// The candidate version.
    pub canary: Cohort,
    /// The released version.
    pub baseline: Cohort,
    /// Pods of the released version that started together with the candidate, where the release names them.
    pub fresh: Option<Cohort>,
}

/// One side of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// Its version's name.
    pub name: String,
    /// How many units reported.
    pub units: u64,
    /// Requests seen in the phase.
    pub requests: Option<f64>,
    /// Units that reported earlier and are silent now.
    pub silent: Vec<String>,
}

/// One phase in a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseResult {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: PhaseState,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
    /// Looks made so far.
    pub looks: u64,
    /// The policy's text.
    pub at_least: String,
    /// The policy's text.
    pub at_most: String,
    /// The declared share.
    pub traffic_share: Option<f64>,
}

/// One thing that must hold for the evidence to be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Validity {
    /// Which.
    pub name: ValidityName,
    /// Whether it holds.
    pub ok: bool,
    /// The figures in words.
    pub text: String,
}

/// Names of [`Validity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidityName {
    /// The measured traffic share against the declared one.
    Share,
    /// Length of the history.
    PrePeriod,
    /// Placebo releases in the history.
    AaRuns,
    /// Intervals present on both sides.
    Completeness,
    /// Clocks of the units.
    Clocks,
}

impl ValidityName {
    /// Returns the word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::PrePeriod => "pre_period",
            Self::AaRuns => "aa_runs",
            Self::Completeness => "completeness",
            Self::Clocks => "clocks",
        }
    }
}

/// How long something is expected to take still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLeft {
    /// If the canary is a little better than it looks, in milliseconds.
    pub low_ms: u64,
    /// If it is exactly as it looks, in milliseconds.
    pub high_ms: u64,
}

/// What was read to make a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// First instant of the data.
    pub start: Timestamp,
    /// End of the data.
    pub end: Timestamp,
    /// Numbers read.
    pub rows: u64,
    /// Digest of the pinned data, `blake3:...`.
    pub digest: String,
}

/// One check at one look.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// The check's name.
    pub name: String,
    /// Its phase's name.
    pub phase: String,
    /// The kind's word.
    pub kind: &'static str,
    /// What its result may do.
    pub vote: Vote,
    /// Its own first of two.
    pub decision: Decision,
    /// When it fell.
    pub decided_at: Option<Timestamp>,
    /// Since when it is missing data.
    pub since: Option<Timestamp>,
    /// How long until its go.
    pub time_left: Option<TimeLeft>,
    /// The two sides in the check's own unit.
    pub values: Option<Values>,
    /// The same by unit, where data by unit was given.
    pub units: Vec<UnitValue>,
    /// The difference; its interval holds at all looks together.
    pub effect: Option<Effect>,
    /// For a distribution: one effect for each quantile it is held to.
    pub effects: Vec<QuantileEffect>,
    /// For a distribution: the chance that a value of the canary is larger than one of the baseline.
    pub superiority: Option<Effect>,
    /// The margin's number.
    pub margin: Option<f64>,
    /// Which direction is harm.
    pub harm: Harm,
    /// From when on harm is shown, where the release as a whole does not show it; `effect` is then of what is since.
    pub harm_since: Option<Timestamp>,
    /// Chance of such data or worse if there is no harm beyond what is tolerated.
    pub p_harm: Option<f64>,
    /// `p_harm` at most this refuses at this look.
    pub level: Option<f64>,
    /// Chance of such data or better if harm equals the margin.
    pub p_go: Option<f64>,
    /// `p_go` at most this shows harm below the margin at this look.
    pub level_go: Option<f64>,
    /// The check's part of alpha.
    pub budget: f64,
    /// What of it is spent.
    pub spent: f64,
    /// How much data there is.
    pub n: Sizes,
    /// The procedure, in words.
    pub method: String,
    /// What was asked of the store.
    pub queries: Vec<String>,
    /// Patterns that differ, for kind `patterns`; at most ten.
    pub patterns: Vec<PatternResult>,
    /// All that differ in figures, for kind `patterns`.
    pub logs: Option<LogEvidence>,
    /// How new pods, which have no history, were judged.
    pub new_pods: Option<NewPods>,
    /// Where there is one test a value of a label: each of them, and the pool of the others last.
    pub by: Vec<ByValue>,
}

/// One value's test inside a check.
#[derive(Clone, Debug, PartialEq)]
pub struct ByValue {
    /// The value, or `other`.
    pub value: String,
    /// Its own first of two.
    pub decision: Decision,
    /// The two sides.
    pub values: Option<Values>,
    /// The difference; its interval holds at all looks, and at those of all values together.
    pub effect: Option<Effect>,
    /// As the check's, to be held against the check's level.
    pub p_harm: Option<f64>,
    /// As the check's.
    pub p_go: Option<f64>,
    /// How much data there is.
    pub n: Sizes,
}

/// How a canary of new pods was judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewPods {
    /// With whom they are compared: `births`, `fresh`, `old`, or `none`.
    pub compared_with: &'static str,
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
    /// Age at which such pods are settled, in milliseconds since the start: the warm-up that is used.
    pub settled_ms: Option<u64>,
    /// The shift that is found by the end of the phase in 80 % of cases, in the unit of the effect.
    pub announced: Option<f64>,
}

/// The two sides of a check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values {
    /// The baseline's value.
    pub baseline: Option<f64>,
    /// The canary's value.
    pub canary: Option<f64>,
    /// Their unit.
    pub unit: &'static str,
}

/// A side's value at one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitValue {
    /// The unit's name.
    pub unit: String,
    /// Whether it belongs to the canary.
    pub is_canary: bool,
    /// Its value.
    pub value: f64,
}

/// How a difference is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Canary less baseline, in the check's unit.
    Difference,
    /// Canary over baseline, less one.
    Relative,
    /// Chance that a value of the canary is larger than one of the baseline, half of the ties added; 0.5 where they are
    /// alike.
    Superiority,
}

impl Measure {
    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Difference => "difference",
            Self::Relative => "relative",
            Self::Superiority => "superiority",
        }
    }
}

/// How large a difference is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Best single figure.
    pub estimate: Option<f64>,
    /// Lower end of the confidence sequence; absent: unbounded.
    pub low: Option<f64>,
    /// Upper end of the confidence sequence; absent: unbounded.
    pub high: Option<f64>,
    /// Its unit.
    pub unit: &'static str,
    /// How it is measured.
    pub measure: Measure,
}

/// The effect at one quantile of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileEffect {
    /// The quantile, in (0, 1).
    pub at: f64,
    /// Its effect: the scaling of all values that explains the score's difference.
    pub effect: Effect,
    /// The quantile on the baseline, in the unit of the values.
    pub baseline: Option<f64>,
    /// The quantile on the canary.
    pub canary: Option<f64>,
}

/// How much data a check has.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Sizes {
    /// Trials, exposure, values or intervals of the baseline.
    pub baseline: f64,
    /// The same of the canary.
    pub canary: f64,
    /// Independent pieces that carry the comparison.
    pub effective: f64,
}

/// How a pattern changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternChange {
    /// Never seen before the release, and on the canary.
    New,
    /// More often on the canary.
    More,
    /// Less often on the canary.
    Fewer,
    /// On the baseline alone.
    Gone,
}

impl PatternChange {
    /// Returns the word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::More => "more",
            Self::Fewer => "fewer",
            Self::Gone => "gone",
        }
    }
}

/// One log pattern whose count differs between the sides.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternResult {
    /// The template's id.
    pub id: String,
    /// The template.
    pub text: String,
    /// Its severity's word.
    pub severity: Option<String>,
    /// How it changed.
    pub change: PatternChange,
    /// Whether it belongs to a list of which at most the check's part of alpha is false on average.
    pub stands_out: bool,
    /// Records on the baseline.
    pub baseline: u64,
    /// Records on the canary.
    pub canary: u64,
    /// Records that the canary's share of the exposure makes one expect.
    pub expected: f64,
    /// Lower end of the rate ratio; holds at all looks.
    pub low: Option<f64>,
    /// Upper end of the rate ratio; absent: unbounded.
    pub high: Option<f64>,
    /// Evidence against "no more than its share", for fewer and gone "no less": a bet's winnings.
    pub e_value: f64,
    /// First interval of the release in which the canary had it.
    pub first_seen: Option<Timestamp>,
    /// How many units had it, where known.
    pub units: Option<u64>,
    /// Records of the baseline and of the canary, interval by interval.
    pub counts_by_interval: Vec<[u64; 2]>,
    /// Log records that show it, where they were given.
    pub examples: Vec<serde_json::Value>,
}

/// What log patterns show beyond the list.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct LogEvidence {
    /// What novelty was to be expected; `None` where nothing was seen before.
    pub novelty: Option<Novelty>,
    /// New patterns and those that stand out, by severity, the worst first.
    pub tallies: Vec<SeverityTally>,
    /// How many differ beyond those listed.
    pub more_not_listed: u64,
    /// Patterns of known templates that only the canary has; at most ten.
    pub new_values: Vec<NewValue>,
}

/// How much that is new records bring even if nothing changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Novelty {
    /// Share of records expected to have a pattern never seen.
    pub share: f64,
    /// New patterns to be expected in as many records as the canary wrote.
    pub expected: f64,
    /// New patterns that the canary has.
    pub seen: u64,
}

/// Patterns that changed at one severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeverityTally {
    /// The severity's word.
    pub severity: &'static str,
    /// Never seen before.
    pub new: u64,
    /// More often.
    pub more: u64,
    /// Less often.
    pub fewer: u64,
    /// On the baseline alone.
    pub gone: u64,
}

impl SeverityTally {
    /// Starts at none.
    pub fn new(severity: &'static str) -> Self {
        Self { severity, new: 0, more: 0, fewer: 0, gone: 0 }
    }

    /// Adds one pattern.
    pub fn count(&mut self, change: PatternChange) {
        match change {
            PatternChange::New => self.new += 1,
            PatternChange::More => self.more += 1,
            PatternChange::Fewer => self.fewer += 1,
            PatternChange::Gone => self.gone += 1,
        }
    }
}

/// A pattern that is new, of a template that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewValue {
    /// The template's id.
    pub template: String,
    /// The pattern's id.
    pub pattern: String,
    /// The pattern.
    pub text: String,
    /// Records on the canary.
    pub canary: u64,
}
