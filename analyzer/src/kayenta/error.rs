//! Why a Kayenta request was refused.

use greylight_store::model::{ErrorKind, Problem};

/// Why a Kayenta request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KayentaError {
    /// The body is not JSON of the right shape.
    #[error("the body cannot be read: {detail}")]
    Syntax {
        /// What the reader said.
        detail: String,
    },
    /// A field is wrong.
    #[error("{field}: {problem}")]
    Field {
        /// Its path, such as `canaryConfig.metrics[0].groups`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl KayentaError {
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// Gives the error as data, for an answer of our own API.
    pub fn problem(&self) -> Problem {
        let mut problem = Problem::new(ErrorKind::Invalid, self);
        if let Self::Field { field, .. } = self {
            problem.field = Some(field.clone());
        }
        problem
    }
}
