//! Errors in the envelope of Prometheus's API, and in our own.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use greylight_store::model::{Caller, ErrorKind, Problem, Scope};
use greylight_store::read::ReadError;

use super::json;
use super::params::BadParam;
use crate::promql::EvalError;

/// An error in Prometheus's envelope.
#[derive(Debug)]
pub(super) struct PromError {
    status: u16,
    kind: &'static str,
    text: String,
}

impl PromError {
    fn new(status: u16, kind: &'static str, text: impl std::fmt::Display) -> Self {
        Self { status, kind, text: text.to_string() }
    }

    pub(super) fn bad_data(text: impl std::fmt::Display) -> Self {
        Self::new(400, "bad_data", text)
    }

    pub(super) fn too_large(text: impl std::fmt::Display) -> Self {
        Self::new(413, "bad_data", text)
    }
}

impl From<BadParam> for PromError {
    fn from(error: BadParam) -> Self {
        Self::bad_data(error)
    }
}

impl From<EvalError> for PromError {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Read(error) => error.into(),
            EvalError::Invalid(_) | EvalError::Resolution { .. } => Self::bad_data(error),
            EvalError::Internal(_) => {
                tracing::error!(%error, "evaluation failed");
                Self::new(500, "internal", error)
            }
            error => Self::new(422, "execution", error),
        }
    }
}

impl From<ReadError> for PromError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Deadline { .. } => {
                Self::new(503, "timeout", format!("query timed out in expression evaluation: {error}"))
            }
            ReadError::Cancelled => Self::new(499, "canceled", "query was canceled"),
            ReadError::Limit { .. } => Self::new(422, "execution", error),
            ReadError::Invalid(_) => Self::bad_data(error),
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "reading failed");
                Self::new(500, "internal", error)
            }
        }
    }
}

impl From<Problem> for PromError {
    fn from(problem: Problem) -> Self {
        let (status, kind) = match problem.kind {
            ErrorKind::Invalid => (400, "bad_data"),
            ErrorKind::NotFound => (404, "not_found"),
            ErrorKind::Limit => (422, "execution"),
            ErrorKind::Unavailable => (503, "unavailable"),
            ErrorKind::Unauthorized | ErrorKind::Forbidden => (problem.kind.status(), "forbidden"),
            _ => (500, "internal"),
        };
        Self::new(status, kind, problem)
    }
}

impl IntoResponse for PromError {
    fn into_response(self) -> Response {
        let mut body = b"{\"status\":\"error\",\"errorType\":\"".to_vec();
        body.extend_from_slice(self.kind.as_bytes());
        body.extend_from_slice(b"\",\"error\":");
        json::text(&mut body, &self.text);
        body.push(b'}');
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// An error in our own envelope.
#[derive(Debug)]
pub(super) struct OwnError(pub(super) Problem);

impl From<Problem> for OwnError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<BadParam> for OwnError {
    fn from(error: BadParam) -> Self {
        Self(Problem::new(ErrorKind::Invalid, &error.detail).field(error.name))
    }
}

impl From<ReadError> for OwnError {
    fn from(error: ReadError) -> Self {
        let limit = match &error {
            ReadError::Limit { limit, .. } => Some(*limit),
            ReadError::Deadline { limit_ms } => Some(*limit_ms),
            _ => None,
        };
        if error.kind() == ErrorKind::Internal {
            tracing::error!(error = &error as &dyn std::error::Error, "reading failed");
        }
        // The limit on time is a limit of the query like the others.
        let kind = if limit.is_some() { ErrorKind::Limit } else { error.kind() };
        let problem = Problem::new(kind, error);
        Self(match limit {
            Some(limit) => problem.limit(limit),
            None => problem,
        })
    }
}

impl IntoResponse for OwnError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(self.0.to_json())).into_response()
    }
}

/// Refuses callers that may not read.
pub(crate) fn check_scope(caller: &Caller) -> Result<(), Problem> {
    if caller.scopes.allow(Scope::Read) {
        return Ok(());
    }
    Err(Problem::new(ErrorKind::Forbidden, "the token does not allow the scope \"read\""))
}
