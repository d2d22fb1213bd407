//! The one source of truth on what is stored: segments, log position, metadata, documents, outbox.
//!
//! A transaction holds new segments, the position up to which they cover the write-ahead log and
//! the segments they replace, so sealing and compaction happen exactly once.

mod database;
mod documents;
mod outbox;
mod schema;
mod sum;
mod checksum;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::append::MetricMetadata;
use crate::model::{ErrorKind, TenantId, Timestamp};
use crate::records::{Change, Document, Outgoing, OutgoingFilter, OutgoingState, Page, RecordsError};
use crate::segment::{SegmentId, SegmentMeta};

use database::Database;

/// Where the catalog is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogAt {
    /// An SQLite file, made where it is missing.
    Sqlite(PathBuf),
    /// A PostgreSQL database that nobody else keeps anything in.
    Postgres(DatabaseUrl),
}

/// Where a PostgreSQL database is: `postgres://USER:PASSWORD@HOST:PORT/NAME`. Shown without its password.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes an address.
    ///
    /// # Errors
    /// [`DatabaseUrlError`] if it does not begin with `postgres://` or `postgresql://`.
    pub fn new(url: &str) -> Result<Self, DatabaseUrlError> {
        let known = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        if known { Ok(Self(url.to_owned())) } else { Err(DatabaseUrlError) }
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

/// An address that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the catalog's address must begin with postgres:// or postgresql://")]
pub struct DatabaseUrlError;

impl TryFrom<String> for DatabaseUrl {
    type Error = DatabaseUrlError;

    fn try_from(url: String) -> Result<Self, DatabaseUrlError> {
        Self::new(&url)
    }
}

impl std::str::FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, DatabaseUrlError> {
        Self::new(url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        // What stands before the last @ of the address is user and password.
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // Parameters may hold a password as well.
        write!(f, "{scheme}://{host}{}", path.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Opens the catalog, making or upgrading its tables.
pub(crate) async fn open(at: &CatalogAt) -> Result<std::sync::Arc<dyn Catalog>, CatalogError> {
    Ok(std::sync::Arc::new(database(at).await?))
}

async fn database(at: &CatalogAt) -> Result<Database, CatalogError> {
    match at {
        CatalogAt::Sqlite(path) => Database::sqlite(path).await,
        CatalogAt::Postgres(url) => Database::postgres(url).await,
    }
}

/// Copies a whole catalog into another database, which must be empty.
pub(crate) async fn copy(from: &CatalogAt, to: &CatalogAt) -> Result<(), CatalogError> {
    let (from, to) = (database(from).await?, database(to).await?);
    let copied = to.take_over(&from).await;
    from.close().await;
    to.close().await;
    copied
}

/// Told that a transaction is whole and not committed.
pub(crate) type Recording<'a> = dyn Fn() + Send + Sync + 'a;

/// What is stored, as one set of tables in whichever database.
#[async_trait::async_trait]
pub(crate) trait Catalog: Send + Sync + fmt::Debug {
    /// Reads what a store needs to start.
    async fn load(&self) -> Result<Loaded, CatalogError>;

    /// Adds sealed segments and moves the log position, if it still is where the sealer thinks.
    /// `recording` is called when only the commit is left.
    async fn seal(&self, seal: &Seal, recording: &Recording<'_>) -> Result<(), CatalogError>;

    /// Puts segments in the place of others, all of which must still be there; or drops them.
    /// `recording` is called when only the commit is left.
    async fn replace(
        &self,
        removed: &[SegmentId],
        added: &[SegmentMeta],
        recording: &Recording<'_>,
    ) -> Result<(), CatalogError>;

    /// Takes a damaged segment out of answers and remembers why.
    async fn quarantine(&self, id: SegmentId, why: &str) -> Result<(), CatalogError>;

    async fn document(
        &self,
        tenant: &TenantId,
        kind: &str,
        id: &str,
    ) -> Result<Option<Document>, RecordsError>;
    async fn documents(
        &self,
        tenant: &TenantId,
        kind: &str,
        page: &Page,
    ) -> Result<Vec<Document>, RecordsError>;
    async fn change(&self, tenant: &TenantId, changes: &[Change], now: Timestamp)
    -> Result<(), RecordsError>;
    async fn tenants(&self) -> Result<Vec<TenantId>, RecordsError>;

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Outgoing>, RecordsError>;
    async fn report(
        &self,
        id: &str,
        state: OutgoingState,
        not_before: Option<Timestamp>,
        note: &str,
        now: Timestamp,
    ) -> Result<(), RecordsError>;
    async fn again(&self, id: &str, at: Timestamp) -> Result<(), RecordsError>;
    async fn outgoing(
        &self,
        tenant: &TenantId,
        filter: &OutgoingFilter,
    ) -> Result<Vec<Outgoing>, RecordsError>;

    /// Tells, from the moment on at which one failed, that a sync of the catalog failed: what its file holds is not
    /// known any more, and it takes no change until a restart.
    fn sync_failed(&self) -> std::sync::Arc<std::sync::atomic::AtomicBool>;

    /// Asks the database to check itself, and checks every row that carries a checksum.
    async fn check(&self) -> Result<(), CatalogError>;

    /// Writes a copy of the whole as it is at one moment, while others read and write. The file must
    /// not exist; it is not durable yet.
    async fn copy_to(&self, path: &Path) -> Result<(), CatalogError>;

    /// Closes all connections.
    async fn close(&self);
}

/// What the catalog held when the store started.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) segments: Vec<SegmentMeta>,
    pub(crate) quarantined: Vec<(SegmentMeta, String)>,
    /// Every frame of the log up to this sequence is in segments.
    pub(crate) wal_position: u64,
    /// The highest id that any segment had.
    pub(crate) last_id: u64,
    pub(crate) metadata: Vec<(TenantId, MetricMetadata)>,
}

/// What one sealing adds.
#[derive(Debug)]
pub(crate) struct Seal {
    pub(crate) position_before: u64,
    pub(crate) position_after: u64,
    pub(crate) segments: Vec<SegmentMeta>,
    pub(crate) metadata: Vec<(TenantId, MetricMetadata)>,
}

/// Why the catalog failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The database failed.
    #[error("{doing} failed")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A newer release wrote it.
    #[error(
        "the catalog has version {found}, this release knows up to {known}; use the release that wrote it"
    )]
    Newer {
        /// Version found.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// Its content makes no sense.
    #[error("the catalog is damaged: {0}")]
    Damaged(String),
    /// An earlier sync failed; nothing was done.
    #[error(
        "the catalog is read-only since a sync of it failed; see the server's log, mend the disk and restart"
    )]
    ReadOnly,
    /// Someone else changed what was to be changed; nothing was done.
    #[error("the catalog was changed by someone else: {0}")]
    Raced(String),
}

impl CatalogError {
    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Database { source: sqlx::Error::PoolTimedOut, .. } | Self::ReadOnly => {
                ErrorKind::Unavailable
            }
            Self::Raced(_) => ErrorKind::Conflict,
            Self::Database { .. } | Self::Newer { .. } | Self::Damaged(_) => ErrorKind::Internal,
        }
    }

    fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

#[cfg(test)]
mod postgres;
#[cfg(test)]
mod tests;
