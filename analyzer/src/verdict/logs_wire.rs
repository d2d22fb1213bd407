//! The JSON shape of what log patterns show beyond their list.

use serde::{Deserialize, Serialize};

use super::{LogEvidence, NewValue, SeverityTally};

/// [`LogEvidence`] as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEvidenceJson {
    /// What novelty was to be expected; null where nothing was seen before.
    pub novelty: Option<NoveltyJson>,
    /// New patterns and those that stand out, by severity, the worst first.
    pub by_severity: Vec<TallyJson>,
    /// How many differ beyond those listed.
    pub more_not_listed: u64,
    /// Patterns of known templates that only the canary has.
    pub new_values: Vec<NewValueJson>,
}

/// How much that is new was to be expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoveltyJson {
    /// Share of records expected to have a pattern never seen (Good and Turing).
    pub share: f64,
    /// New patterns to be expected in as many records as the canary wrote.
    pub expected: f64,
    /// New patterns that the canary has.
    pub seen: u64,
}

/// Patterns that changed at one severity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TallyJson {
    /// The severity.
    pub severity: String,
    /// Never seen before.
    pub new: u64,
    /// More often.
    pub more: u64,
    /// Less often.
    pub fewer: u64,
    /// On the baseline alone.
    pub gone: u64,
}

/// A pattern that is new, of a template that is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewValueJson {
    /// The template's id.
    pub template: String,
    /// The pattern's id.
    pub pattern: String,
    /// The pattern.
    pub text: String,
    /// Records on the canary.
    pub canary: u64,
}

impl From<&LogEvidence> for LogEvidenceJson {
    fn from(evidence: &LogEvidence) -> Self {
        Self {
            novelty: evidence.novelty.map(|novelty| NoveltyJson {
                share: novelty.share,
                expected: novelty.expected,
                seen: novelty.seen,
            }),
            by_severity: evidence.tallies.iter().map(TallyJson::from).collect(),
            more_not_listed: evidence.more_not_listed,
            new_values: evidence.new_values.iter().map(NewValueJson::from).collect(),
        }
    }
}

impl From<&SeverityTally> for TallyJson {
    fn from(tally: &SeverityTally) -> Self {
        Self {
            severity: tally.severity.to_owned(),
            new: tally.new,
            more: tally.more,
            fewer: tally.fewer,
            gone: tally.gone,
        }
    }
}

impl From<&NewValue> for NewValueJson {
    fn from(value: &NewValue) -> Self {
        Self {
            template: value.template.clone(),
            pattern: value.pattern.clone(),
            text: value.text.clone(),
            canary: value.canary,
        }
    }
}
