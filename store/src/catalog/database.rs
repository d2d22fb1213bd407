//! The catalog in a database, and what of it concerns segments. SQLite and PostgreSQL are asked the same questions in
//! the same words; where they differ is in this file and in [`schema`].

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, AnyPool, ColumnIndex, ConnectOptions as _, Connection as _, Row};

use super::sum::Sum;
use super::{Catalog, CatalogError, DatabaseUrl, Loaded, Recording, Seal, checksum, schema};
use crate::append::{MetricKind, MetricMetadata};
use crate::model::{TenantId, Timestamp};
use crate::read::SpanMs;
use crate::records::{Change, Document, Outgoing, OutgoingFilter, OutgoingState, Page, RecordsError};
use crate::segment::{SegmentFile, SegmentId, SegmentMeta, Table};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Sqlite,
    Postgres,
}

/// One connection that writes, so that writers queue here and not in the database, and a few that read.
#[derive(Debug)]
pub(crate) struct Database {
    backend: Backend,
    write: AnyPool,
    read: AnyPool,
    sync_failed: Arc<AtomicBool>,
}

/// What SQLite says when a sync fails: of a file, of a folder. Linux forgets what it could not write then, so a sync
/// that is tried again may succeed without it.
const FAILED_SYNCS: [&str; 2] = ["1034", "1290"];

/// What a connection that writes is told first.
///
/// SQLite: a commit is on the disk when it returns; `NORMAL` would lose the last ones with the power. PostgreSQL: two
/// changes at once happen as if one after the other, or one of them fails; and one server has the catalog at a time,
/// as two would remove each other's files.
const WRITER: [(Backend, &str); 2] = [
    (Backend::Sqlite, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000"),
    (
        Backend::Postgres,
        "SET default_transaction_isolation = 'serializable'; SET synchronous_commit = on; \
         SET lock_timeout = '3s'; SELECT pg_advisory_lock(4680); SET lock_timeout = 0",
    ),
];

impl Database {
    /// Opens an SQLite file, making it where it is missing.
    pub(crate) async fn sqlite(path: &Path) -> Result<Self, CatalogError> {
        let options = |reading: bool| {
            let file = SqliteConnectOptions::new().filename(path).foreign_keys(true);
            let file = if reading { file.read_only(true) } else { file.create_if_missing(true) };
            AnyConnectOptions::from_url(&file.to_url_lossy())
        };
        let failed = || CatalogError::doing("opening the catalog");
        Self::open(Backend::Sqlite, options(false).map_err(failed())?, options(true).map_err(failed())?).await
    }

    /// Opens a PostgreSQL database, which must be there.
    pub(crate) async fn postgres(url: &DatabaseUrl) -> Result<Self, CatalogError> {
        let options: AnyConnectOptions =
            url.reveal().parse().map_err(CatalogError::doing("reading the catalog's URL"))?;
        sqlx::any::install_default_drivers();
        // Asked here first: a pool goes on trying for half a minute, and then says that it did.
        let failed = || CatalogError::doing("opening the catalog");
        let mut first = AnyConnection::connect_with(&options).await.map_err(failed())?;
        prepare_writer(Backend::Postgres, &mut first).await.map_err(failed())?;
        first.close().await.map_err(failed())?;
        Self::open(Backend::Postgres, options.clone(), options).await
    }

    async fn open(
        backend: Backend,
        write: AnyConnectOptions,
        read: AnyConnectOptions,
    ) -> Result<Self, CatalogError> {
        sqlx::any::install_default_drivers();
        let failed = || CatalogError::doing("opening the catalog");
        let write = AnyPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| Box::pin(prepare_writer(backend, connection)))
            .connect_with(write)
            .await
            .map_err(failed())?;
        schema::migrate(&mut *write.acquire().await.map_err(failed())?, backend).await?;
        let read = AnyPoolOptions::new().max_connections(4).max_lifetime(None).connect_lazy_with(read);
        Ok(Self { backend, write, read, sync_failed: Arc::default() })
    }

    /// Does what changes the catalog, unless a sync failed before; notes it when one does now.
    async fn changing<T, E>(&self, change: impl Future<Output = Result<T, E>> + Send) -> Result<T, E>
    where
        E: From<CatalogError> + Error + 'static,
    {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(CatalogError::ReadOnly.into());
        }
        let done = change.await;
        if let Err(error) = &done
            && is_failed_sync(error)
        {
            self.sync_failed.store(true, Ordering::Release);
            tracing::error!("a sync of the catalog failed; the store is read-only until a restart");
        }
        done
    }

    /// Begins to read all tables as they are at one moment.
    async fn reading(&self) -> Result<sqlx::Transaction<'static, sqlx::Any>, sqlx::Error> {
        let mut tx = self.read.begin().await?;
        if self.backend == Backend::Postgres {
            sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx)
    }

    async fn record_seal(&self, seal: &Seal, recording: &Recording<'_>) -> Result<(), CatalogError> {
        let failed = || CatalogError::doing("recording sealed segments");
        let mut tx = self.write.begin().await.map_err(failed())?;
        let moved = sqlx::query("UPDATE positions SET value = $1 WHERE name = 'wal' AND value = $2")
            .bind(signed(seal.position_after))
            .bind(signed(seal.position_before))
            .execute(&mut *tx)
            .await
            .map_err(failed())?;
        if moved.rows_affected() != 1 {
            return Err(CatalogError::Raced(format!(
                "the log position is no longer {}",
                seal.position_before
            )));
        }
        let mut sum = Sum::read(&mut tx).await?;
        sum.move_position(seal.position_before, seal.position_after);
        for meta in &seal.segments {
            insert_segment(&mut tx, meta).await.map_err(failed())?;
            sum.add(meta);
        }
        sum.write(&mut tx).await?;
        for (tenant, metadata) in &seal.metadata {
            sqlx::query(
                "INSERT INTO metric_metadata (tenant, name, kind, help, unit) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (tenant, name) DO UPDATE SET kind = excluded.kind, help = excluded.help, unit = excluded.unit",
            )
            .bind(tenant.as_str())
            .bind(&metadata.name)
            .bind(kind_word(metadata.kind))
            .bind(&metadata.help)
            .bind(&metadata.unit)
            .execute(&mut *tx)
            .await
            .map_err(failed())?;
        }
        recording();
        tx.commit().await.map_err(failed())
    }

    async fn record_replacement(
        &self,
        removed: &[SegmentId],
        added: &[SegmentMeta],
        recording: &Recording<'_>,
    ) -> Result<(), CatalogError> {
        let failed = || CatalogError::doing("recording merged segments");
        let mut tx = self.write.begin().await.map_err(failed())?;
        let mut sum = Sum::read(&mut tx).await?;
        for id in removed {
            if let Some(meta) = read_segment(&mut tx, *id).await? {
                sum.take(&meta);
            }
            let gone = sqlx::query("DELETE FROM segments WHERE id = $1")
                .bind(signed(id.0))
                .execute(&mut *tx)
                .await
                .map_err(failed())?;
            if gone.rows_affected() != 1 {
                return Err(CatalogError::Raced(format!("segment {id} is gone")));
            }
        }
        for meta in added {
            insert_segment(&mut tx, meta).await.map_err(failed())?;
            sum.add(meta);
        }
        sum.write(&mut tx).await?;
        recording();
        tx.commit().await.map_err(failed())
    }

    /// Takes over all that another one holds; this one must be empty.
    pub(super) async fn take_over(&self, from: &Self) -> Result<(), CatalogError> {
        let failed = || CatalogError::doing("copying the catalog");
        let mut source = from.reading().await.map_err(failed())?;
        let mut target = self.write.begin().await.map_err(failed())?;
        for table in schema::TABLES {
            schema::copy_table(&mut source, &mut target, table).await?;
        }
        target.commit().await.map_err(failed())?;
        source.commit().await.map_err(failed())
    }
}

#[cfg(test)]
impl Database {
    pub(super) async fn write(&self, text: &'static str) {
        sqlx::query(text).execute(&self.write).await.unwrap();
    }
}

fn is_failed_sync(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            let code = error.as_database_error().and_then(|error| error.code());
            return code.is_some_and(|code| FAILED_SYNCS.contains(&code.as_ref()));
        }
        cause = error.source();
    }
    false
}

async fn prepare_writer(backend: Backend, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    for (of, text) in WRITER {
        if of == backend {
            let done = sqlx::raw_sql(text).execute(&mut *connection).await;
            done.map(drop).map_err(in_use)?;
        }
    }
    Ok(())
}

/// Says what it means that the lock was not to be had. It is waited for a little, since the connection of a server
/// that has just ended may hold it for a moment.
fn in_use(error: sqlx::Error) -> sqlx::Error {
    match error.as_database_error().and_then(|e| e.code()).as_deref() {
        Some("55P03") => sqlx::Error::Configuration(
            "another server uses this catalog; each needs a database of its own".into(),
        ),
        _ => error,
    }
}

#[async_trait::async_trait]
impl Catalog for Database {
    async fn load(&self) -> Result<Loaded, CatalogError> {
        let failed = || CatalogError::doing("reading the list of segments");
        // One transaction, so that the rows and their checksum are of one moment.
        let mut tx = self.reading().await.map_err(failed())?;
        let loaded = read_all(&mut tx).await?;
        let metas = loaded.segments.iter().chain(loaded.quarantined.iter().map(|(meta, _)| meta));
        Sum::read(&mut tx).await?.compare(Sum::of(metas, loaded.wal_position))?;
        for table in checksum::ALL {
            table.compare(&mut tx).await?;
        }
        Ok(loaded)
    }

    async fn seal(&self, seal: &Seal, recording: &Recording<'_>) -> Result<(), CatalogError> {
        self.changing(self.record_seal(seal, recording)).await
    }

    async fn replace(
        &self,
        removed: &[SegmentId],
        added: &[SegmentMeta],
        recording: &Recording<'_>,
    ) -> Result<(), CatalogError> {
        self.changing(self.record_replacement(removed, added, recording)).await
    }

    async fn quarantine(&self, id: SegmentId, why: &str) -> Result<(), CatalogError> {
        let update =
            sqlx::query("UPDATE segments SET damage = $1 WHERE id = $2").bind(why).bind(signed(id.0));
        let failed = CatalogError::doing("recording a damaged segment");
        self.changing(async { update.execute(&self.write).await.map(drop).map_err(failed) }).await
    }

    async fn document(
        &self,
        tenant: &TenantId,
        kind: &str,
        id: &str,
    ) -> Result<Option<Document>, RecordsError> {
        super::documents::get(&self.read, tenant, kind, id).await
    }

    async fn documents(
        &self,
        tenant: &TenantId,
        kind: &str,
        page: &Page,
    ) -> Result<Vec<Document>, RecordsError> {
        super::documents::list(&self.read, tenant, kind, page).await
    }

    async fn change(
        &self,
        tenant: &TenantId,
        changes: &[Change],
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        self.changing(super::documents::change(&self.write, tenant, changes, now)).await
    }

    async fn tenants(&self) -> Result<Vec<TenantId>, RecordsError> {
        super::documents::tenants(&self.read).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Outgoing>, RecordsError> {
        super::outbox::due(&self.read, now, limit).await
    }

    async fn report(
        &self,
        id: &str,
        state: OutgoingState,
        not_before: Option<Timestamp>,
        note: &str,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        self.changing(super::outbox::report(&self.write, id, state, not_before, note, now)).await
    }

    async fn again(&self, id: &str, at: Timestamp) -> Result<(), RecordsError> {
        self.changing(super::outbox::again(&self.write, id, at)).await
    }

    async fn outgoing(
        &self,
        tenant: &TenantId,
        filter: &OutgoingFilter,
    ) -> Result<Vec<Outgoing>, RecordsError> {
        super::outbox::list(&self.read, tenant, filter).await
    }

    fn sync_failed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.sync_failed)
    }

    async fn check(&self) -> Result<(), CatalogError> {
        let failed = || CatalogError::doing("checking the catalog");
        let mut tx = self.reading().await.map_err(failed())?;
        for table in checksum::ALL {
            table.verify_all(&mut tx).await?;
        }
        drop(tx);
        if self.backend == Backend::Postgres {
            // PostgreSQL looks after its own pages; that each row can be read is what one can ask of it.
            return self.load().await.map(drop);
        }
        let rows = sqlx::query("PRAGMA quick_check").fetch_all(&self.read).await.map_err(failed())?;
        let said: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if said == ["ok"] { Ok(()) } else { Err(CatalogError::Damaged(said.join("; "))) }
    }

    async fn copy_to(&self, path: &Path) -> Result<(), CatalogError> {
        let failed = || CatalogError::doing("copying the catalog");
        if self.backend == Backend::Postgres {
            let copy = Self::sqlite(path).await?;
            let copied = copy.take_over(self).await;
            // The last to close a file writes its log into it.
            copy.close().await;
            return copied;
        }
        let text = path.to_str().ok_or_else(|| {
            failed()(sqlx::Error::Configuration(format!("{} is not UTF-8", path.display()).into()))
        })?;
        // On a connection that reads, so that those who write need not wait.
        sqlx::query("VACUUM INTO $1").bind(text).execute(&self.read).await.map(drop).map_err(failed())
    }

    async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// Reads what a store needs to start.
pub(super) async fn read_all(connection: &mut AnyConnection) -> Result<Loaded, CatalogError> {
    let failed = || CatalogError::doing("reading the list of segments");
    let mut loaded = Loaded::default();
    let rows =
        sqlx::query("SELECT segment, path, bytes, blake3 FROM segment_files ORDER BY segment, position")
            .fetch_all(&mut *connection)
            .await
            .map_err(failed())?;
    let mut files = std::collections::HashMap::<i64, Vec<SegmentFile>>::new();
    for row in rows {
        files.entry(value(&row, 0)?).or_default().push(file_of(&row)?);
    }
    let rows = sqlx::query("SELECT * FROM segments ORDER BY sequence, id").fetch_all(&mut *connection).await;
    for row in rows.map_err(failed())? {
        let meta = segment_of(&row, files.remove(&value(&row, "id")?).unwrap_or_default())?;
        match value::<Option<String>>(&row, "damage")? {
            None => loaded.segments.push(meta),
            Some(why) => loaded.quarantined.push((meta, why)),
        }
    }
    let rows = sqlx::query("SELECT name, value FROM positions").fetch_all(&mut *connection).await;
    for row in rows.map_err(failed())? {
        match value::<&str>(&row, 0)? {
            "wal" => loaded.wal_position = unsigned(value(&row, 1)?)?,
            "segment" => loaded.last_id = unsigned(value(&row, 1)?)?,
            _ => {}
        }
    }
    let rows = sqlx::query("SELECT tenant, name, kind, help, unit FROM metric_metadata")
        .fetch_all(&mut *connection)
        .await;
    for row in rows.map_err(failed())? {
        let kind = kind_of(value(&row, 2)?)?;
        let metadata =
            MetricMetadata { name: value(&row, 1)?, kind, help: value(&row, 3)?, unit: value(&row, 4)? };
        loaded.metadata.push((tenant_of(value(&row, 0)?)?, metadata));
    }
    Ok(loaded)
}

/// Reads one segment; `None` where there is no such.
async fn read_segment(
    connection: &mut AnyConnection,
    id: SegmentId,
) -> Result<Option<SegmentMeta>, CatalogError> {
    let failed = || CatalogError::doing("reading a segment that is replaced");
    let mut files = Vec::new();
    let rows = sqlx::query(
        "SELECT segment, path, bytes, blake3 FROM segment_files WHERE segment = $1 ORDER BY position",
    )
    .bind(signed(id.0))
    .fetch_all(&mut *connection)
    .await
    .map_err(failed())?;
    for row in rows {
        files.push(file_of(&row)?);
    }
    let row = sqlx::query("SELECT * FROM segments WHERE id = $1")
        .bind(signed(id.0))
        .fetch_optional(connection)
        .await;
    row.map_err(failed())?.map(|row| segment_of(&row, files)).transpose()
}

async fn insert_segment(connection: &mut AnyConnection, meta: &SegmentMeta) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO segments (id, tenant, kind, level, window_start_ms, window_end_ms, start_ms, end_ms, n_rows, \
         n_series, sequence) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(signed(meta.id.0))
    .bind(meta.tenant.as_str())
    .bind(meta.table.as_str())
    .bind(i64::from(meta.level))
    .bind(meta.window.start)
    .bind(meta.window.end)
    .bind(meta.span.start)
    .bind(meta.span.end)
    .bind(signed(meta.n_rows))
    .bind(signed(meta.n_series))
    .bind(signed(meta.sequence))
    .execute(&mut *connection)
    .await?;
    for (position, file) in meta.files.iter().enumerate() {
        sqlx::query(
            "INSERT INTO segment_files (segment, position, path, bytes, blake3) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(signed(meta.id.0))
        .bind(position as i64)
        .bind(file.path.to_string_lossy().into_owned())
        .bind(signed(file.bytes))
        .bind(file.blake3.to_vec())
        .execute(&mut *connection)
        .await?;
    }
    // Ids are never used twice, also when the segment that had the highest is long gone.
    sqlx::query("UPDATE positions SET value = $1 WHERE name = 'segment' AND value < $1")
        .bind(signed(meta.id.0))
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// Returns a column's value; one that a damaged page has made another type is damage.
pub(super) fn value<'r, T>(row: &'r AnyRow, column: impl ColumnIndex<AnyRow>) -> Result<T, CatalogError>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    row.try_get(column).map_err(|e| CatalogError::Damaged(e.to_string()))
}

fn file_of(row: &AnyRow) -> Result<SegmentFile, CatalogError> {
    let path = PathBuf::from(value::<String>(row, 1)?);
    let sum: Vec<u8> = value(row, 3)?;
    let blake3 = <[u8; 32]>::try_from(sum.as_slice()).map_err(|_| {
        CatalogError::Damaged(format!("the checksum of {} has {} bytes", path.display(), sum.len()))
    })?;
    Ok(SegmentFile { path, bytes: unsigned(value(row, 2)?)?, blake3 })
}

fn segment_of(row: &AnyRow, files: Vec<SegmentFile>) -> Result<SegmentMeta, CatalogError> {
    let word: &str = value(row, "kind")?;
    let level: i64 = value(row, "level")?;
    Ok(SegmentMeta {
        id: SegmentId(unsigned(value(row, "id")?)?),
        tenant: tenant_of(value(row, "tenant")?)?,
        table: Table::parse(word)
            .ok_or_else(|| CatalogError::Damaged(format!("no table is called {word:?}")))?,
        level: u8::try_from(level).map_err(|_| CatalogError::Damaged(format!("no level is {level}")))?,
        window: SpanMs { start: value(row, "window_start_ms")?, end: value(row, "window_end_ms")? },
        span: SpanMs { start: value(row, "start_ms")?, end: value(row, "end_ms")? },
        n_rows: unsigned(value(row, "n_rows")?)?,
        n_series: unsigned(value(row, "n_series")?)?,
        sequence: unsigned(value(row, "sequence")?)?,
        files,
    })
}

pub(super) fn tenant_of(text: &str) -> Result<TenantId, CatalogError> {
    TenantId::new(text).map_err(|e| CatalogError::Damaged(e.to_string()))
}

const KINDS: [(MetricKind, &str); 8] = [
    (MetricKind::Counter, "counter"),
    (MetricKind::Gauge, "gauge"),
    (MetricKind::Histogram, "histogram"),
    (MetricKind::Summary, "summary"),
    (MetricKind::GaugeHistogram, "gaugehistogram"),
    (MetricKind::Info, "info"),
    (MetricKind::StateSet, "stateset"),
    (MetricKind::Unknown, "unknown"),
];

fn kind_word(kind: MetricKind) -> &'static str {
    KINDS.iter().find(|(k, _)| *k == kind).map_or("unknown", |(_, word)| word)
}

fn kind_of(word: &str) -> Result<MetricKind, CatalogError> {
    let found = KINDS.iter().find(|(_, w)| *w == word);
    found
        .map(|(kind, _)| *kind)
        .ok_or_else(|| CatalogError::Damaged(format!("no kind of metric is {word:?}")))
}

/// Counts and ids never reach 2^63; one that did would be refused when read.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(n: i64) -> Result<u64, CatalogError> {
    u64::try_from(n).map_err(|_| CatalogError::Damaged(format!("{n} where no negative number can be")))
}
