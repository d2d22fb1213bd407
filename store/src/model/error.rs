//! The closed list of error kinds, and an error as data.

use std::fmt;

/// What a caller can do about an error; the only part that other crates match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong; sending it again will not help.
    Invalid,
    /// No valid credentials came along.
    Unauthorized,
    /// The credentials do not allow this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is stored.
    Conflict,
    /// The body is over a size cap.
    TooLarge,
    /// A query goes over a limit of work.
    Limit,
    /// Too many requests for now; later ones may pass.
    RateLimited,
    /// Not possible for now; sending it again later may help.
    Unavailable,
    /// A fault of ours; the details are in the log.
    Internal,
}

impl ErrorKind {
    /// Returns the word that stands for this kind in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Limit | Self::RateLimited => "limit",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Returns the HTTP status for this kind; nothing else maps kinds to statuses.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Limit => 422,
            Self::RateLimited => 429,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// Returns the number of gRPC's status code. Clients retry 14 (unavailable) and nothing else.
    pub fn grpc_code(self) -> i32 {
        match self {
            Self::Invalid => 3,
            Self::Unauthorized => 16,
            Self::Forbidden => 7,
            Self::NotFound => 5,
            Self::Conflict => 9,
            Self::TooLarge | Self::Limit => 8,
            Self::RateLimited | Self::Unavailable => 14,
            Self::Internal => 13,
        }
    }
}

/// An error as an answer carries it: `{"error": {"kind", "message", "field", "value", "limit"}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// One sentence for people, lower case, without a full stop.
    pub message: String,
    /// Path of the offending field, such as `checks[2].margin`.
    pub field: Option<String>,
    /// The offending value, as it came.
    pub value: Option<serde_json::Value>,
    /// The limit that was passed.
    pub limit: Option<serde_json::Value>,
}

impl Problem {
    /// Makes a problem that names no field, value or limit.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), field: None, value: None, limit: None }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Shows the value at fault.
    #[must_use]
    pub fn value(mut self, value: impl Into<serde_json::Value>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Shows the limit that was passed.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<serde_json::Value>) -> Self {
        self.limit = Some(limit.into());
        self
    }

    /// Returns the JSON envelope of our own API.
    pub fn to_json(&self) -> serde_json::Value {
        let mut error = serde_json::Map::new();
        error.insert("kind".into(), self.kind.as_str().into());
        error.insert("message".into(), self.message.clone().into());
        if let Some(field) = &self.field {
            error.insert("field".into(), field.clone().into());
        }
        if let Some(value) = &self.value {
            error.insert("value".into(), value.clone());
        }
        if let Some(limit) = &self.limit {
            error.insert("limit".into(), limit.clone());
        }
        serde_json::json!({ "error": error })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_leaves_out_what_is_not_known() {
        let problem = Problem::new(ErrorKind::Limit, "query reads too many series").limit(100);
        assert_eq!(
            problem.to_json().to_string(),
            r#"{"error":{"kind":"limit","limit":100,"message":"query reads too many series"}}"#
        );
        assert_eq!(problem.kind.status(), 422);
    }
}
