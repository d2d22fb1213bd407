//! Why a read failed.

use crate::model::ErrorKind;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The query selects too much.
    #[error(
        "query reads more than {limit} {what}; narrow its selector or its time range, or raise {setting}"
    )]
    Limit {
        /// What was counted: `series`, `samples`, `records`, `bytes`.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// The setting that holds it.
        setting: &'static str,
    },
    /// The deadline passed.
    #[error("query took longer than {limit_ms} ms")]
    Deadline {
        /// The time that it had.
        limit_ms: u64,
    },
    /// The client went away, or someone ended the query.
    #[error("query was cancelled")]
    Cancelled,
    /// The question makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Another store, which holds the data, did not answer the question.
    #[error("source {source_name:?}: {detail}")]
    Elsewhere {
        /// Its name in the settings.
        source_name: String,
        /// What went wrong, without any secret.
        detail: String,
        /// Asked again it may answer.
        may_pass: bool,
    },
    /// A file could not be read.
    #[error("reading {path} failed")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} is damaged: {detail}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong.
        detail: String,
    },
}

impl ReadError {
    /// Returns the file that is damaged, or that the disk does not give; `None` where the error says nothing of a
    /// file, or only that the process is short of something.
    pub(crate) fn bad_file(&self) -> Option<&str> {
        match self {
            Self::Corrupt { path, .. } => Some(path),
            // Errors without a number come from disks of tests.
            Self::Io { path, source } => {
                let is_disk = source.raw_os_error().is_none_or(|n| n == rustix::io::Errno::IO.raw_os_error());
                is_disk.then_some(path)
            }
            _ => None,
        }
    }

    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Deadline { .. } | Self::Cancelled | Self::Elsewhere { may_pass: true, .. } => {
                ErrorKind::Unavailable
            }
            Self::Invalid(_) | Self::Elsewhere { .. } => ErrorKind::Invalid,
            Self::Io { .. } | Self::Corrupt { .. } => ErrorKind::Internal,
        }
    }
}
