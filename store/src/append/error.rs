//! Why an append was not acknowledged.

use crate::model::ErrorKind;

/// Why an append was not acknowledged. Nothing that was stored before is harmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A write or sync of the log failed, or a sync of the catalog; the server takes nothing more until it is restarted.
    #[error(
        "the store is read-only since a write to its log or its catalog failed; see the server's log, mend the disk and restart"
    )]
    ReadOnly,
    /// The disk is nearly full.
    #[error("the disk has {free_bytes} bytes free, less than the {needed_bytes} that ingest must leave")]
    DiskFull {
        /// Free bytes seen.
        free_bytes: u64,
        /// Bytes that must stay free.
        needed_bytes: u64,
    },
    /// The head cannot be sealed as fast as data comes in.
    #[error("the store is behind with sealing: {head_bytes} bytes wait, the limit is {limit_bytes}")]
    Overloaded {
        /// Bytes in the head.
        head_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// One batch is larger than a log frame may be.
    #[error("batch of {bytes} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The log could not begin a new file; it is as it was, and later batches may pass.
    #[error("the write-ahead log takes nothing for now: {detail}")]
    Log {
        /// What the system said.
        detail: String,
    },
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
}

impl AppendError {
    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::ReadOnly
            | Self::DiskFull { .. }
            | Self::Overloaded { .. }
            | Self::Log { .. }
            | Self::Closed => ErrorKind::Unavailable,
        }
    }
}
