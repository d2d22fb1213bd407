//! Why the store did not open or did not finish a piece of work.

use std::path::PathBuf;

use crate::append::AppendError;
use crate::catalog::CatalogError;
use crate::config::ConfigError;
use crate::delta::DeltaError;
use crate::metrics::SegmentError;
use crate::model::ErrorKind;
use crate::read::ReadError;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder cannot be used; the cause says whether another process uses it.
    #[error("opening data folder {path} failed")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The catalog cannot be used.
    #[error("opening the catalog failed")]
    Catalog(#[from] CatalogError),
    /// The log cannot be read.
    #[error("reading the write-ahead log failed")]
    Log(#[source] std::io::Error),
    /// A newer release wrote the log.
    #[error("{path} has version {found}, this release knows up to {known}; use the release that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
}

impl OpenError {
    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) => ErrorKind::Invalid,
            Self::Folder { source, .. } if source.kind() == std::io::ErrorKind::ResourceBusy => {
                ErrorKind::Conflict
            }
            Self::Catalog(e) => e.kind(),
            Self::Folder { .. } | Self::Log(_) | Self::Newer { .. } => ErrorKind::Internal,
        }
    }
}

/// Why a piece of work in the store was not finished. What was acknowledged is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The heads could not be frozen.
    #[error("freezing the heads failed")]
    Freeze(#[source] AppendError),
    /// Segments of metrics could not be written or merged.
    #[error("writing a segment of metrics failed")]
    Metrics(#[from] SegmentError),
    /// Segments of log records could not be written or merged.
    #[error("writing a segment of log records failed")]
    Logs(#[source] SegmentError),
    /// The catalog refused.
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
    /// What was just written cannot be read.
    #[error("opening a new segment failed")]
    Reopen(#[from] ReadError),
    /// Tables for other engines could not be published.
    #[error("publishing Delta tables failed")]
    Delta(#[from] DeltaError),
    /// The disk is nearly full.
    #[error("{0} waits until the disk has room again")]
    NoRoom(&'static str),
    /// A file could not be removed or listed.
    #[error("{doing} failed")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A segment that is needed cannot be read, and it is not known yet whether it is damaged.
    #[error("{0} waits for a segment that cannot be read for now; the server's log names it")]
    Unread(&'static str),
    /// A piece of work died.
    #[error("{0} ended without a result; the server's log says why")]
    Died(&'static str),
}

impl StoreError {
    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Freeze(e) => e.kind(),
            Self::Metrics(e) | Self::Logs(e) => e.kind(),
            Self::Catalog(e) => e.kind(),
            Self::Reopen(e) => e.kind(),
            Self::Unread(_) | Self::NoRoom(_) => ErrorKind::Unavailable,
            Self::Delta(_) | Self::Disk { .. } | Self::Died(_) => ErrorKind::Internal,
        }
    }
}
