//! A checksum over what the catalog says of segments and of the log.
//!
//! The database has none of its own: a bit that flips in one of its pages can move a segment in time, give it to
//! another tenant or let it vanish, and no file's checksum would notice. The sum of all rows' hashes is kept beside
//! them in `positions`, in the same transactions, and compared when the catalog is read.

use sqlx::{Row, SqliteConnection};
use xxhash_rust::xxh3::xxh3_64;

use super::CatalogError;
use super::sqlite::{signed, unsigned};
use crate::segment::SegmentMeta;

/// A sum of hashes; adding and taking away commute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum(u64);

/// What a database holds without a sign.
const MASK: u64 = i64::MAX as u64;

impl Sum {
    fn change(&mut self, hash: u64, is_more: bool) {
        self.0 = if is_more { self.0.wrapping_add(hash) } else { self.0.wrapping_sub(hash) } & MASK;
    }

    /// Adds a segment with its files.
    pub(super) fn add(&mut self, meta: &SegmentMeta) {
        self.change(hash_of(meta), true);
    }

    /// Takes a segment away.
    pub(super) fn take(&mut self, meta: &SegmentMeta) {
        self.change(hash_of(meta), false);
    }

    /// Moves the log position.
    pub(super) fn move_position(&mut self, from: u64, to: u64) {
        self.change(hash_of_position(from), false);
        self.change(hash_of_position(to), true);
    }

    /// The sum of a catalog that says this.
    pub(super) fn of<'a>(segments: impl Iterator<Item = &'a SegmentMeta>, position: u64) -> Self {
        let mut sum = Self::default();
        segments.for_each(|meta| sum.add(meta));
        sum.change(hash_of_position(position), true);
        sum
    }

    pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Self, CatalogError> {
        let row =
            sqlx::query("SELECT value FROM positions WHERE name = 'sum'").fetch_optional(connection).await;
        let row = row.map_err(CatalogError::doing("reading the catalog's checksum"))?;
        let row = row.ok_or_else(|| CatalogError::Damaged("it has no checksum".into()))?;
        let value: i64 = row.try_get(0).map_err(|e| CatalogError::Damaged(e.to_string()))?;
        Ok(Self(unsigned(value)?))
    }

    pub(super) async fn write(self, connection: &mut SqliteConnection) -> Result<(), CatalogError> {
        sqlx::query("UPDATE positions SET value = $1 WHERE name = 'sum'")
            .bind(signed(self.0))
            .execute(connection)
            .await
            .map(drop)
            .map_err(CatalogError::doing("writing the catalog's checksum"))
    }

    /// Fails when the catalog says something else than what was written.
    pub(super) fn compare(self, found: Self) -> Result<(), CatalogError> {
        if self == found {
            return Ok(());
        }
        Err(CatalogError::Damaged(format!(
            "what it says of segments has the checksum {:016x}, and should have {:016x}; restore it from a backup",
            found.0, self.0
        )))
    }
}

fn hash_of_position(position: u64) -> u64 {
    xxh3_64(format!("wal {position}").as_bytes())
}

fn hash_of(meta: &SegmentMeta) -> u64 {
    let SegmentMeta { id, tenant, table, level, window, span, n_rows, n_series, sequence, files } = meta;
    let table = table.as_str();
    let (window, span) = ((window.start, window.end), (span.start, span.end));
    let mut bytes =
        format!("{id} {tenant} {table} {level} {window:?} {span:?} {n_rows} {n_series} {sequence}")
            .into_bytes();
    for file in files {
        bytes.extend_from_slice(format!(" {} {} ", file.path.display(), file.bytes).as_bytes());
        bytes.extend_from_slice(&file.blake3);
    }
    xxh3_64(&bytes)
}
