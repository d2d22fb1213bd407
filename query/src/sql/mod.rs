//! SQL over what is stored: read-only, within limits, one session a query.
//!
//! Flow: [`gate`](self) refuses everything but a single `SELECT` over known tables with known
//! functions, and counts its parts before anything recurses over them; a fresh session with its
//! own memory plans and runs it; rows are written as JSON, CSV or Arrow.
//!
//! DataFusion is named in this module alone.

mod gate;
mod session;
mod pushdown;
mod steps;
mod gaps;
mod guard;
mod metrics;
mod histograms;
mod logs;
mod view;
mod format;
mod points;

use greylight_store::model::{ErrorKind, Problem, TenantId};
use greylight_store::read::{Budget, ReadError};

use crate::queries::{Asked, Queries, past_damage};

pub(crate) use format::{Format, Output};
pub use gate::GateError;
pub use points::{Point, PointQueries};
pub(crate) use session::{Request, describe, run, tables};
pub use view::{Cell, Column, ColumnType, View};

/// Why a statement gave no rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// It is not among the statements that may be asked.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// It could not be planned: an unknown column, types that do not fit.
    #[error("{0}")]
    Plan(String),
    /// It failed while running.
    #[error("{0}")]
    Execution(String),
    /// It needs more memory than it may have.
    #[error("query needs more than {limit} bytes of memory; narrow its time range or its groups")]
    Memory {
        /// The limit.
        limit: usize,
    },
    /// It compares too many rows with one another.
    #[error(
        "query compares more than {limit} pairs of rows in a join without an equality; \
         join on columns that are equal, or narrow either side"
    )]
    Pairs {
        /// The limit.
        limit: u64,
    },
    /// The store could not be read, or a limit of reading was passed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A view could not be read.
    #[error(transparent)]
    View(#[from] Problem),
    /// The session could not be made: a fault of ours.
    #[error("{0}")]
    Internal(String),
}

impl SqlError {
    /// Returns the error as data.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Gate(e) => e.problem(),
            Self::Plan(text) => Problem::new(ErrorKind::Invalid, text).field("query"),
            Self::Execution(text) => Problem::new(ErrorKind::Invalid, text),
            Self::Pairs { limit } => Problem::new(ErrorKind::Limit, self).limit(*limit),
            Self::Memory { limit } => Problem::new(ErrorKind::Limit, self).limit(*limit),
            Self::Read(ReadError::Deadline { limit_ms }) => {
                Problem::new(ErrorKind::Limit, self).limit(*limit_ms)
            }
            Self::Read(ReadError::Limit { limit, .. }) => Problem::new(ErrorKind::Limit, self).limit(*limit),
            Self::Read(e) => Problem::new(e.kind(), e),
            Self::View(problem) => problem.clone(),
            Self::Internal(_) => Problem::new(ErrorKind::Internal, self),
        }
    }
}

/// Runs work of SQL in its tenant's turn, once more past files that turn out damaged.
///
/// # Errors
/// What refused or ended it, as data; faults of ours are logged.
pub(crate) async fn ask<T: Send + 'static>(
    queries: &Queries,
    asked: Asked,
    mut work: impl FnMut(&Queries, &TenantId, &Budget) -> Result<T, SqlError> + Send + 'static,
) -> Result<T, Problem> {
    let done =
        queries.run(asked, move |queries, tenant, budget| past_damage(|| work(queries, tenant, budget)));
    done.await?.map_err(|error| {
        if matches!(error, SqlError::Internal(_)) {
            tracing::error!(%error, "SQL failed");
        }
        error.problem()
    })
}

impl crate::queries::MeetsDamage for SqlError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Read(error) if error.is_damage())
    }
}
