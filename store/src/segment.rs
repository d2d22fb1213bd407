//! What a segment is called, where it lies and how it is checked, for metrics and logs alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::Disk;
use crate::model::{TenantId, Timestamp};
use crate::read::{ReadError, SpanMs};

/// Names a segment. Ids rise, are never used twice, and name the segment's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub u64);

impl std::fmt::Display for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Hands out segment ids.
#[derive(Clone, Debug)]
pub struct SegmentIds(Arc<AtomicU64>);

impl SegmentIds {
    /// Starts with the id after `last`.
    pub fn after(last: u64) -> Self {
        Self(Arc::new(AtomicU64::new(last + 1)))
    }

    /// Returns an id that nothing else has.
    pub fn next(&self) -> SegmentId {
        SegmentId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The kinds of data that have segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Samples.
    Metrics,
    /// Log records.
    Logs,
}

impl Table {
    /// Returns the word that stands for it in paths and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// Finds the table that a word stands for.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Metrics, Self::Logs].into_iter().find(|t| t.as_str() == word)
    }
}

/// One file of a segment, complete and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Path in the data folder.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of the whole file.
    pub blake3: [u8; 32],
}

/// What the catalog knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Its name.
    pub id: SegmentId,
    /// Whose data it is.
    pub tenant: TenantId,
    /// What data it is.
    pub table: Table,
    /// 0 as sealed, 1 merged within a window, 2 merged to a day.
    pub level: u8,
    /// The window, aligned to UTC, that all its rows lie in.
    pub window: SpanMs,
    /// From its first row's time to its last one's.
    pub span: SpanMs,
    /// Rows.
    pub n_rows: u64,
    /// Series or streams.
    pub n_series: u64,
    /// Orders writes: of two equal keys the one in the segment with the higher number answers.
    pub sequence: u64,
    /// Its files, the one with the rows first.
    pub files: Vec<SegmentFile>,
}

impl SegmentMeta {
    /// Returns the length of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// Tells whether a file, as errors name it, is one of its files.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.path.as_os_str() == path)
    }

    /// Says what answers lack without it.
    pub(crate) fn loss(&self, error: &ReadError) -> String {
        format!(
            "{} rows of {} in segment {} cannot be read: {error}",
            self.n_rows,
            self.table.as_str(),
            self.id
        )
    }

    /// Checks every file against its length and checksum, reading each in full once.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] or [`ReadError::Io`], naming the first file at fault.
    pub fn verify(&self, disk: &dyn Disk) -> Result<(), ReadError> {
        self.files.iter().try_for_each(|file| file.verify(disk))
    }
}

impl SegmentFile {
    /// Checks the file against its length and checksum.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when they differ or the file is gone, [`ReadError::Io`] when it cannot be read.
    pub fn verify(&self, disk: &dyn Disk) -> Result<(), ReadError> {
        // Large enough to read at the disk's speed, small enough to verify any file in little memory.
        const STEP: usize = 1 << 20;
        let path = self.path.display().to_string();
        let corrupt = |detail: String| ReadError::Corrupt { path: path.clone(), detail };
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => corrupt("the file is missing".into()),
            _ => ReadError::Io { path: path.clone(), source },
        };
        let file = disk.open(&self.path).map_err(failed)?;
        if file.len() != self.bytes {
            return Err(corrupt(format!("it has {} bytes, the catalog says {}", file.len(), self.bytes)));
        }
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < self.bytes {
            let n = usize::try_from(self.bytes - at).map_or(STEP, |left| left.min(STEP));
            hasher.update(&file.read_at(at, n).map_err(failed)?);
            at += n as u64;
        }
        if *hasher.finalize().as_bytes() != self.blake3 {
            return Err(corrupt("its checksum differs from the catalog's".into()));
        }
        Ok(())
    }
}

/// Returns the folder for the files of a tenant's table and the UTC day that `t_ms` lies in:
/// `tenants/<tenant>/<table>/date=YYYY-MM-DD`, a layout that plain globs and other engines read.
pub fn folder(tenant: &TenantId, table: Table, t_ms: i64) -> PathBuf {
    let day = Timestamp::from_millis(t_ms).to_string();
    let day = day.split('T').next().unwrap_or("unknown").replace([' ', ':'], "-");
    Path::new("tenants").join(tenant.as_str()).join(table.as_str()).join(format!("date={day}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_by_tenant_table_and_day() {
        let folder = folder(&TenantId::default(), Table::Logs, 1_795_255_200_000);
        assert_eq!(folder, Path::new("tenants/default/logs/date=2026-11-21"));
    }
}
