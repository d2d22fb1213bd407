//! The tables, and how older ones become these.
//!
//! One text for SQLite and PostgreSQL: `{BYTES}` and `{KEY}` stand for the types of raw bytes and
//! of text that is compared byte by byte, the only two things in which they differ.

use sqlx::any::AnyTypeInfoKind;
use sqlx::{AnyConnection, AssertSqlSafe, Column as _, Row};

use super::database::Backend;
use super::sum::Sum;
use super::{CatalogError, checksum};

/// Each entry takes the schema one version further; entries are never changed, only added.
const MIGRATIONS: [&str; 8] = [
    "
CREATE TABLE segments (
    id BIGINT PRIMARY KEY,
    tenant {KEY} NOT NULL,
    kind {KEY} NOT NULL,
    level BIGINT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    window_end_ms BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    n_rows BIGINT NOT NULL,
    n_series BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    damage TEXT
);
CREATE INDEX segments_by_time ON segments (tenant, kind, window_start_ms);
CREATE TABLE segment_files (
    segment BIGINT NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    path {KEY} NOT NULL,
    bytes BIGINT NOT NULL,
    blake3 {BYTES} NOT NULL,
    PRIMARY KEY (segment, position)
);
CREATE TABLE positions (
    name {KEY} PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO positions (name, value) VALUES ('wal', 0), ('segment', 0), ('outbox', 0);
CREATE TABLE metric_metadata (
    tenant {KEY} NOT NULL,
    name {KEY} NOT NULL,
    kind {KEY} NOT NULL,
    help TEXT NOT NULL,
    unit TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE TABLE documents (
    tenant {KEY} NOT NULL,
    kind {KEY} NOT NULL,
    id {KEY} NOT NULL,
    version BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    body {BYTES} NOT NULL,
    PRIMARY KEY (tenant, kind, id)
);
CREATE TABLE outbox (
    id {KEY} PRIMARY KEY,
    position BIGINT NOT NULL,
    tenant {KEY} NOT NULL,
    queue {KEY} NOT NULL,
    ordering_key {KEY} NOT NULL,
    body {BYTES} NOT NULL,
    created_at BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    state {KEY} NOT NULL,
    note TEXT NOT NULL,
    tried_at BIGINT
);
CREATE INDEX outbox_waiting ON outbox (state, not_before);
CREATE INDEX outbox_order ON outbox (tenant, queue, ordering_key, state, position);
CREATE INDEX outbox_by_key ON outbox (tenant, ordering_key, position);
",
    "
CREATE TABLE outbox_tries (
    item {KEY} NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    is_taken BIGINT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (item, number)
);
INSERT INTO outbox_tries (item, number, at, is_taken, note)
    SELECT id, attempts, tried_at, CASE state WHEN 'delivered' THEN 1 ELSE 0 END, note FROM outbox
    WHERE tried_at IS NOT NULL;
ALTER TABLE outbox DROP COLUMN note;
ALTER TABLE outbox DROP COLUMN tried_at;
",
    // Segments of metrics may have files of histograms and exemplars, and the log is of version 2: no table changes,
    // but an older release must not take the folder for one that it can read in full.
    "SELECT 3;",
    "
INSERT INTO positions (name, value) VALUES ('sum', 0);
",
    "
ALTER TABLE documents ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
ALTER TABLE outbox_tries ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
INSERT INTO positions (name, value) VALUES ('documents', 0), ('outbox_rows', 0), ('outbox_tries', 0);
",
    // Segments of metrics may have rollups.
    "SELECT 6;",
    // Log records may have a header before their message, and segments of them layout 3.
    "SELECT 7;",
    // Text indexes have marks.
    "SELECT 8;",
];

/// The version that has a checksum over segments and the log's position.
const WITH_SUM: i64 = 4;

/// The version whose documents and messages carry checksums.
const WITH_CHECKSUMS: i64 = 5;

/// The version that this release writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The tables that a copy has, those that others refer to first, and by what their rows are told apart.
pub(super) const TABLES: [(&str, &str); 7] = [
    ("positions", "name"),
    ("segments", "id"),
    ("segment_files", "segment, position"),
    ("metric_metadata", "tenant, name"),
    ("documents", "tenant, kind, id"),
    ("outbox", "id"),
    ("outbox_tries", "item, number"),
];

/// Rows read at once while a table is copied.
const COPIED_AT_ONCE: i64 = 1000;

/// Makes the tables what this release needs, in one transaction.
pub(super) async fn migrate(connection: &mut AnyConnection, backend: Backend) -> Result<(), CatalogError> {
    let failed = || CatalogError::doing("preparing the catalog's tables");
    let (begin, bytes, key) = match backend {
        Backend::Sqlite => ("BEGIN IMMEDIATE", "BLOB", "TEXT"),
        Backend::Postgres => ("BEGIN", "BYTEA", "TEXT COLLATE \"C\""),
    };
    sqlx::raw_sql(begin).execute(&mut *connection).await.map_err(failed())?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM schema_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed())?;
    let found: i64 = row.get(0);
    if found > VERSION {
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.map_err(failed())?;
        return Err(CatalogError::Newer { found, known: VERSION });
    }
    let from =
        usize::try_from(found).map_err(|_| CatalogError::Damaged(format!("it has version {found}")))?;
    for (step, text) in MIGRATIONS.iter().enumerate().skip(from) {
        let text = text.replace("{BYTES}", bytes).replace("{KEY}", key);
        // The text is a constant of this file; only its two type names were filled in.
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *connection).await.map_err(failed())?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(step as i64 + 1)
            .execute(&mut *connection)
            .await
            .map_err(failed())?;
    }
    if found < WITH_SUM {
        let loaded = super::database::read_all(connection).await?;
        let metas = loaded.segments.iter().chain(loaded.quarantined.iter().map(|(meta, _)| meta));
        Sum::of(metas, loaded.wal_position).write(connection).await?;
    }
    if found < WITH_CHECKSUMS {
        for table in checksum::ALL {
            table.settle_all(connection).await?;
        }
    }
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map_err(failed())?;
    Ok(())
}

/// Copies the rows of a table into the same table of another database of the same version.
pub(super) async fn copy_table(
    from: &mut AnyConnection,
    to: &mut AnyConnection,
    (table, key): (&str, &str),
) -> Result<(), CatalogError> {
    let failed = || CatalogError::doing("copying the catalog");
    // Names are constants of this file, and columns those that the migrations made.
    let safe = |text: String| sqlx::query(AssertSqlSafe(text));
    if table == "positions" {
        sqlx::query("DELETE FROM positions").execute(&mut *to).await.map_err(failed())?;
    }
    let there = safe(format!("SELECT COUNT(*) FROM {table}")).fetch_one(&mut *to).await.map_err(failed())?;
    if there.get::<i64, _>(0) > 0 {
        return Err(CatalogError::Raced("the catalog to copy to is not empty".to_owned()));
    }
    let mut offset = 0;
    loop {
        let page = format!("SELECT * FROM {table} ORDER BY {key} LIMIT {COPIED_AT_ONCE} OFFSET {offset}");
        let rows = safe(page).fetch_all(&mut *from).await.map_err(failed())?;
        for row in &rows {
            let names: Vec<&str> = row.columns().iter().map(|column| column.name()).collect();
            let places: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
            let (names, places) = (names.join(", "), places.join(", "));
            let mut query = safe(format!("INSERT INTO {table} ({names}) VALUES ({places})"));
            for (at, column) in row.columns().iter().enumerate() {
                query = match column.type_info().kind() {
                    AnyTypeInfoKind::Blob => query.bind(row.get::<Option<Vec<u8>>, _>(at)),
                    AnyTypeInfoKind::Text => query.bind(row.get::<Option<String>, _>(at)),
                    _ => query.bind(row.get::<Option<i64>, _>(at)),
                };
            }
            query.execute(&mut *to).await.map_err(failed())?;
        }
        if (rows.len() as i64) < COPIED_AT_ONCE {
            return Ok(());
        }
        offset += COPIED_AT_ONCE;
    }
}
