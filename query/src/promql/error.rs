//! Why an evaluation failed.

use greylight_store::model::ErrorKind;
use greylight_store::read::ReadError;

use crate::queries::MeetsDamage;

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The question cannot be asked so.
    #[error("{0}")]
    Invalid(String),
    /// The question is right, but the data has no answer to it.
    #[error("{0}")]
    Execution(String),
    /// More steps than a range query may have.
    #[error("exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)", thousands(*limit))]
    Resolution {
        /// The limit.
        limit: usize,
    },
    /// A limit of the evaluation itself.
    #[error("query needs more than {limit} {what}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The store could not be read, or a limit of reading was passed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The plan is not what the evaluator takes it to be: a fault of ours.
    #[error("plan is inconsistent at {0}")]
    Internal(&'static str),
}

impl EvalError {
    pub(super) fn internal(at: &'static str) -> Self {
        Self::Internal(at)
    }

    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Resolution { .. } => ErrorKind::Invalid,
            Self::Execution(_) | Self::Limit { .. } => ErrorKind::Limit,
            Self::Read(e) => e.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

impl MeetsDamage for EvalError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Read(error) if error.is_damage())
    }
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_points_read_as_in_prometheus() {
        let text = EvalError::Resolution { limit: 11_000 }.to_string();
        assert!(text.starts_with("exceeded maximum resolution of 11,000 points per timeseries."), "{text}");
    }
}
