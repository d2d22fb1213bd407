//! Why a judgement was refused.

use greylight_store::model::{ErrorKind, Problem};

use crate::kayenta::KayentaError;
use crate::policy::PolicyError;

/// Why a judgement was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The body is not JSON of the right shape.
    #[error("the body cannot be read: {detail}")]
    Syntax {
        /// What the reader said, with line and column.
        detail: String,
    },
    /// The policy is wrong.
    #[error("policy: {0}")]
    Policy(#[from] PolicyError),
    /// A field of the body is wrong.
    #[error("{field}: {problem}")]
    Field {
        /// Its path, such as `data.error share.baseline.events`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What Kayenta's engine was given is wrong.
    #[error(transparent)]
    Kayenta(#[from] KayentaError),
}

impl JudgeError {
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    /// Gives the error as data, for an answer.
    pub fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.kind(), self);
        match self {
            Self::Syntax { .. } => {}
            Self::Policy(error) => {
                problem.field = error.field().map(|field| format!("policy.{field}"));
                problem.value = error.value().cloned();
                problem.limit = error.limit().map(serde_json::Value::from);
            }
            Self::Field { field, .. } => problem.field = Some(field.clone()),
            Self::Kayenta(error) => return error.problem(),
        }
        problem
    }
}
