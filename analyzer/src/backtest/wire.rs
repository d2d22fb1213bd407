//! The JSON of a backtest's report.

use serde::{Deserialize, Serialize};

/// What the placebo releases came to. Shares lie in 0 to 1, durations are Prometheus's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportJson {
    /// Placebo releases judged.
    pub runs: usize,
    /// What part of good releases the policy accepts to refuse; absent in answers of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Releases that were refused although nothing was released.
    pub refused: ShareJson,
    /// Releases that went.
    pub go: GoJson,
    /// Releases whose time ran out.
    pub inconclusive: ShareJson,
    /// Each phase.
    pub phases: Vec<PhaseJson>,
    /// Which of the effects that were put in are found.
    pub power: Vec<PowerJson>,
    /// Checks that lost their vote, since A/A runs on the history before the release alarmed.
    pub restless: Vec<RestlessJson>,
    /// Each check.
    pub checks: Vec<CheckReportJson>,
    /// What could not be tested, and why.
    pub untested: Vec<UntestedJson>,
    /// What played the canary.
    pub placebos: PlacebosJson,
}

/// A share of releases with its exact interval at 95 %, as if they were independent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareJson {
    /// The share; absent where no release could tell.
    pub share: Option<f64>,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How many releases it is of those.
    pub count: usize,
}

/// A share with the time that it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoJson {
    /// The share.
    #[serde(flatten)]
    pub share: ShareJson,
    /// Median time to it, from the release's start.
    pub median: Option<String>,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseJson {
    /// Its name.
    pub name: String,
    /// Releases that came so far.
    pub reached: usize,
    /// Those of them that went on.
    pub go: ShareJson,
    /// Median time to that, from the phase's start.
    pub median: Option<String>,
}

/// How well an effect is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerJson {
    /// Phase and check.
    pub check: String,
    /// As it was asked for.
    pub effect: String,
    /// Share of the releases that the check refused before they would have gone.
    pub found: Option<f64>,
    /// Lower end of its exact interval at 95 %.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Releases it was put into.
    pub runs: usize,
    /// Median time to the refusal, from the phase's start.
    pub median: Option<String>,
}

/// A check that lost its vote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestlessJson {
    /// Phase and check.
    pub check: String,
    /// In what share of the releases.
    pub share: f64,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReportJson {
    /// Phase and check.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What its result may do.
    pub vote: String,
    /// Releases that it refused.
    pub alarms: usize,
    /// Share of the releases of its phase that it let go in time.
    pub go: Option<f64>,
    /// Median time until it did, from the phase's start.
    pub go_median: Option<String>,
    /// Share of the releases of its phase for whose go it was the last to wait for, or in which it never went.
    pub slowest: Option<f64>,
    /// What the phase would be without its vote.
    pub without: Option<WithoutJson>,
    /// Median value of the baseline.
    pub value: Option<f64>,
    /// Standard deviation of the sides' difference in one interval.
    pub noise: Option<f64>,
    /// The unit of both.
    pub unit: String,
    /// The policy's margin.
    pub margin: Option<MarginJson>,
    /// The margin by which it would go by the end of the phase in 80 % of the releases.
    pub suggested_margin: Option<MarginJson>,
}

/// A phase without one of its votes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WithoutJson {
    /// Share of the releases that would go.
    pub go: f64,
    /// Median time to it, from the phase's start.
    pub median: Option<String>,
}

/// A margin in all its measures; those that are not known are absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarginJson {
    /// As a part of the baseline's value.
    pub relative: Option<f64>,
    /// In the check's unit.
    pub absolute: Option<f64>,
    /// In standard deviations of the sides' difference in one interval.
    pub in_noise: Option<f64>,
}

/// What could not be tested.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UntestedJson {
    /// Phase and check; absent where it is about the whole.
    pub check: Option<String>,
    /// Why.
    pub why: String,
}

/// What played the canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacebosJson {
    /// `splits` or `births`.
    pub kind: String,
    /// Units of the cohort.
    pub units: usize,
    /// Units that played the canary at once.
    pub canary_hosts: usize,
    /// Releases that fit into the history side by side, or events of births: how much of it is independent.
    pub disjoint: usize,
    /// History that each release had.
    pub pre_period: String,
    /// Longest that a release lasts.
    pub lasts: String,
}
