//! Why a policy was refused.

use greylight_store::model::ErrorKind;

/// Why a policy was refused: where, which value, and what would have been allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The text is neither YAML nor JSON.
    #[error("the policy cannot be read: {detail}")]
    Syntax {
        /// What the reader of the format said.
        detail: String,
    },
    /// A field is wrong.
    #[error("{field}: {problem}{}", shown(.value))]
    Field {
        /// Path of the field, such as `phases[0].checks[2].margin`.
        field: String,
        /// What is wrong with it.
        problem: FieldProblem,
        /// The value as it was read.
        value: Option<serde_json::Value>,
    },
}

fn shown(value: &Option<serde_json::Value>) -> String {
    const SHOWN_MAX: usize = 120;
    match value {
        None => String::new(),
        Some(value) => {
            let text = value.to_string();
            let cut: String = text.chars().take(SHOWN_MAX).collect();
            if cut.len() < text.len() { format!(", not {cut}...") } else { format!(", not {cut}") }
        }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// No such key is known here.
    #[error("unknown key; known here: {known}")]
    UnknownKey {
        /// The keys that are known.
        known: String,
    },
    /// A key that must be there is not.
    #[error("is required")]
    Required,
    /// YAML read a mapping, number or the like where a string is wanted.
    #[error("wants a string: quote it")]
    QuoteIt,
    /// The value has another type or form.
    #[error("wants {wanted}")]
    Wants {
        /// What is allowed.
        wanted: String,
    },
    /// The value is not allowed together with another.
    #[error("{why}")]
    Conflict {
        /// Which rule it breaks.
        why: String,
    },
    /// A query cannot be read.
    #[error("query {query:?} cannot be asked: {detail}")]
    Query {
        /// The query.
        query: String,
        /// What its reader says.
        detail: String,
    },
    /// A feature of the contract that this version does not have.
    #[error("{feature} is not supported by this version yet")]
    NotYet {
        /// The feature's name.
        feature: String,
    },
}

impl PolicyError {
    /// Says what the caller can do: a policy is always the caller's to mend.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    /// Returns the path of the field that is wrong.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Syntax { .. } => None,
            Self::Field { field, .. } => Some(field),
        }
    }

    /// Returns the value that was refused.
    pub fn value(&self) -> Option<&serde_json::Value> {
        match self {
            Self::Syntax { .. } => None,
            Self::Field { value, .. } => value.as_ref(),
        }
    }

    /// Returns what would have been allowed, in words.
    pub fn limit(&self) -> Option<String> {
        match self {
            Self::Field { problem: FieldProblem::Wants { wanted }, .. } => Some(wanted.clone()),
            Self::Field { problem: FieldProblem::UnknownKey { known }, .. } => Some(known.clone()),
            _ => None,
        }
    }
}
