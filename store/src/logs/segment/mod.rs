//! Log segments: Parquet files whose rows are ordered by pattern, stream and time, each with a
//! text index beside it.

mod codec;
mod encode;
mod file;
mod format;
mod group;
mod merge;
mod without;
mod reindex;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;

use self::encode::{FIXED, Width, schema};
use self::file::Chunks;
use self::format::{Group, Sums};
pub(crate) use self::group::GroupBlock;
pub use self::merge::merge;
pub use self::reindex::rebuild_index;
pub use self::without::without;
pub use self::write::write;
use super::eval::Candidates;
use super::index::{GroupIndex, Index};
use super::rows::{Block, MemoryBlock, Tables};
use crate::disk::{Disk, DiskRead};
use crate::model::Timestamp;
use crate::read::ReadError;
use crate::segment::SegmentMeta;

/// Width of the windows, aligned to UTC, that a sealed head is cut into.
pub const WINDOW_MS: i64 = 2 * 3_600_000;

/// One segment, open for reading. Its files stay readable while this lives, also after removal.
pub struct Segment {
    meta: SegmentMeta,
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskRead>,
    opened: Mutex<Option<Arc<Opened>>>,
    /// Kept as well for those who want a reference to it.
    tables: std::sync::OnceLock<Arc<Tables>>,
    /// `None` inside once it is known that there is no usable index.
    index: Mutex<Option<Option<Arc<Index>>>>,
    /// Whether it was seen that the index cannot be used and nobody has set about mending it.
    wants_index: AtomicBool,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// What its footer says.
struct Opened {
    file: Arc<dyn DiskRead>,
    metadata: ArrowReaderMetadata,
    tables: Arc<Tables>,
    groups: Vec<Group>,
    width: Width,
    /// None in files of older releases.
    sums: Option<Sums>,
}

impl Opened {
    fn n_columns(&self) -> usize {
        FIXED.len() + self.width.ints + self.width.texts + self.width.bytes
    }
}

/// Opens a segment. Reads nothing yet but the files' existence and length; without its index, answers are the same.
///
/// # Errors
/// [`ReadError::Io`] or [`ReadError::Corrupt`] when the file with the rows is missing or of
/// another length.
pub fn open(disk: &Arc<dyn Disk>, meta: SegmentMeta) -> Result<Arc<Segment>, ReadError> {
    let first = meta.files.first().ok_or_else(|| ReadError::Corrupt {
        path: format!("segment {}", meta.id),
        detail: "the catalog names no file of it".into(),
    })?;
    let path = first.path.display().to_string();
    let file = disk.open(&first.path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => {
            ReadError::Corrupt { path: path.clone(), detail: "the file is missing".into() }
        }
        _ => ReadError::Io { path: path.clone(), source },
    })?;
    if file.len() != first.bytes {
        let detail = format!("it has {} bytes, the catalog says {}", file.len(), first.bytes);
        return Err(ReadError::Corrupt { path, detail });
    }
    let index = meta.files.get(1);
    let has_index =
        index.is_none_or(|index| disk.open(&index.path).is_ok_and(|file| file.len() == index.bytes));
    Ok(Arc::new(Segment {
        disk: Arc::clone(disk),
        wants_index: AtomicBool::new(!has_index),
        file,
        opened: Mutex::new(None),
        tables: std::sync::OnceLock::new(),
        index: Mutex::new(None),
        meta,
    }))
}

impl Segment {
    /// Returns what the catalog knows of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Tells once whether its index was found to be unusable.
    pub(crate) fn takes_index(&self) -> bool {
        self.wants_index.swap(false, Ordering::Relaxed)
    }

    /// First and last time in nanoseconds, as far as the catalog's milliseconds tell.
    pub(crate) fn span(&self) -> (i64, i64) {
        let nanos = |ms: i64| Timestamp::from_millis(ms).as_nanos();
        (nanos(self.meta.span.start), nanos(self.meta.span.end).saturating_add(999_999))
    }

    pub(crate) fn n_groups(&self) -> Result<usize, ReadError> {
        Ok(self.opened()?.groups.len())
    }

    /// First and last time of a row group; the segment's where its footer cannot be read.
    pub(crate) fn group_span(&self, group: usize) -> (i64, i64) {
        let of = |opened: Arc<Opened>| opened.groups.get(group).map(|g| (g.first, g.last));
        self.opened().ok().and_then(of).unwrap_or_else(|| self.span())
    }

    pub(crate) fn tables(&self) -> Result<&Arc<Tables>, ReadError> {
        if let Some(tables) = self.tables.get() {
            return Ok(tables);
        }
        let tables = Arc::clone(&self.opened()?.tables);
        Ok(self.tables.get_or_init(|| tables))
    }

    pub(crate) fn group(self: &Arc<Self>, group: usize) -> Result<GroupBlock, ReadError> {
        let opened = self.opened()?;
        if group >= opened.groups.len() {
            return Err(self.corrupt("it has fewer row groups than its layout says"));
        }
        Ok(GroupBlock::new(Arc::clone(self), opened, group))
    }

    /// The shapes that rows of a row group have.
    pub(crate) fn group_shapes(&self, group: usize) -> Result<Vec<u32>, ReadError> {
        let opened = self.opened()?;
        Ok(opened.groups.get(group).map_or_else(Vec::new, |g| g.runs.iter().map(|run| run.shape).collect()))
    }

    /// What the index knows of a row group.
    pub(crate) fn candidates(&self, group: usize) -> impl Candidates + use<> {
        GroupIndex::new(self.index(), group)
    }

    /// How many columns of each kind it has.
    fn width(&self) -> Result<Width, ReadError> {
        Ok(self.opened()?.width)
    }

    /// Rows of a block that this segment holds as well, sorted.
    pub(crate) fn rows_held(self: &Arc<Self>, block: &MemoryBlock) -> Result<Vec<u32>, ReadError> {
        let mut out = Vec::new();
        let mut by_time: Option<std::collections::HashMap<i64, Vec<u32>>> = None;
        let (first, last) = block.span();
        for group in 0..self.n_groups()? {
            let (group_first, group_last) = self.group_span(group);
            if group_first > last || first > group_last {
                continue;
            }
            let by_time = by_time.get_or_insert_with(|| {
                let mut map = std::collections::HashMap::<i64, Vec<u32>>::new();
                for (row, &t) in block.rows.times.iter().enumerate() {
                    map.entry(t).or_default().push(row as u32);
                }
                map
            });
            let held = self.group(group)?;
            let times = held.times()?;
            for (row, t) in times.iter().enumerate() {
                let Some(rows) = by_time.get(t) else { continue };
                for &candidate in rows {
                    if same_record(block, candidate as usize, &held, row)? {
                        out.push(candidate);
                    }
                }
            }
        }
        out.sort_unstable();
        out.dedup();
        Ok(out)
    }

    fn opened(&self) -> Result<Arc<Opened>, ReadError> {
        let mut opened = self.opened.lock();
        if let Some(opened) = &*opened {
            return Ok(Arc::clone(opened));
        }
        let new = Arc::new(self.read_footer()?);
        *opened = Some(Arc::clone(&new));
        Ok(new)
    }

    fn read_footer(&self) -> Result<Opened, ReadError> {
        let chunks = Chunks(Arc::clone(&self.file));
        // The embedded Arrow schema is not needed, and one fault less to think of without it.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&chunks, options).map_err(|e| self.failed(&e))?;
        let footer = metadata.metadata().file_metadata();
        let value = footer.key_value_metadata().and_then(|list| list.iter().find(|kv| kv.key == format::KEY));
        let value =
            value.and_then(|kv| kv.value.as_ref()).ok_or_else(|| self.corrupt("its footer has no layout"))?;
        let sums =
            footer.key_value_metadata().and_then(|list| list.iter().find(|kv| kv.key == format::SUMS_KEY));
        let sums = sums.map(|kv| Sums::read(kv.value.as_deref().unwrap_or_default())).transpose();
        let sums = sums.map_err(|e| self.corrupt(&e))?;
        if sums.as_ref().is_some_and(|sums| sums.layout != crc32c::crc32c(value.as_bytes())) {
            return Err(self.corrupt("the checksum of its layout differs"));
        }
        let layout = format::read(value).map_err(|e| self.corrupt(&e))?;
        let width = width_of(metadata.schema());
        if metadata.schema().fields().iter().map(|f| (f.name(), f.data_type(), f.is_nullable())).ne(schema(
            width,
        )
        .fields()
        .iter()
        .map(|f| (f.name(), f.data_type(), f.is_nullable())))
        {
            return Err(self.corrupt("its columns are not those of a log segment"));
        }
        let groups = metadata.metadata().row_groups();
        let is_whole = groups.len() == layout.groups.len()
            && groups
                .iter()
                .zip(&layout.groups)
                .all(|(a, b)| usize::try_from(a.num_rows()) == Ok(b.n_rows()));
        if !is_whole || sums.as_ref().is_some_and(|sums| sums.columns.len() != groups.len()) {
            return Err(self.corrupt("its layout and its row groups differ"));
        }
        let tables = Arc::new(layout.tables);
        Ok(Opened { file: Arc::clone(&self.file), metadata, tables, groups: layout.groups, width, sums })
    }

    /// Where the columns of slots lie in the file.
    #[cfg(test)]
    pub(crate) fn slot_places(&self) -> Result<Vec<(u64, u64)>, ReadError> {
        let opened = self.opened()?;
        let groups = opened.metadata.metadata().row_groups();
        let slots = groups.iter().flat_map(|group| group.columns().iter().skip(FIXED.len()));
        Ok(slots.filter_map(format::column_place).collect())
    }

    #[cfg(test)]
    pub(crate) fn n_columns(&self) -> Result<usize, ReadError> {
        Ok(self.opened()?.n_columns())
    }

    #[cfg(test)]
    pub(crate) fn has_index(&self) -> bool {
        self.index().is_some()
    }

    /// The index; `None` when it is missing, damaged or another file's.
    fn index(&self) -> Option<Arc<Index>> {
        let mut index = self.index.lock();
        if let Some(index) = &*index {
            return index.clone();
        }
        let read = self.meta.files.get(1).map(|file| {
            let bytes = self.disk.read(&file.path).map_err(|e| e.to_string())?;
            // One of other rows could have the right length and checksums of its own.
            if *blake3::hash(&bytes).as_bytes() != file.blake3 {
                return Err("its checksum differs from the catalog's".to_owned());
            }
            Index::read(&bytes, self.meta.files[0].bytes)
        });
        let found = match read {
            Some(Ok(index)) => Some(Arc::new(index)),
            Some(Err(why)) => {
                tracing::warn!(segment = %self.meta.id, why, "text index cannot be used, searching without it");
                self.wants_index.store(true, Ordering::Relaxed);
                None
            }
            None => None,
        };
        *index = Some(found.clone());
        found
    }

    fn path(&self) -> PathBuf {
        self.meta.files.first().map(|f| f.path.clone()).unwrap_or_default()
    }

    /// What the disk says where it does not give the file.
    fn unread(&self, source: std::io::Error) -> ReadError {
        match source.kind() {
            std::io::ErrorKind::UnexpectedEof => self.corrupt("it is shorter than it was"),
            _ => ReadError::Io { path: self.path().display().to_string(), source },
        }
    }

    /// What the Parquet library says of it: mostly that it is damaged.
    fn failed(&self, error: &ParquetError) -> ReadError {
        let ParquetError::External(cause) = error else { return self.corrupt(&error.to_string()) };
        match cause.downcast_ref::<std::io::Error>() {
            Some(e) => self.unread(e.raw_os_error().map_or_else(
                || std::io::Error::new(e.kind(), e.to_string()),
                std::io::Error::from_raw_os_error,
            )),
            None => self.corrupt(&error.to_string()),
        }
    }

    fn corrupt(&self, detail: &str) -> ReadError {
        ReadError::Corrupt { path: self.path().display().to_string(), detail: detail.to_owned() }
    }
}

fn width_of(schema: &arrow::datatypes::Schema) -> Width {
    let n = |prefix: char| {
        let named =
            |name: &str| name.strip_prefix(prefix).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        schema.fields().iter().skip(FIXED.len()).filter(|f| named(f.name())).count()
    };
    Width { ints: n('i'), texts: n('s'), bytes: n('x') }
}

/// Tells whether two rows of one time are the same record; what is cheap is compared first.
fn same_record(a: &dyn Block, row_a: usize, b: &dyn Block, row_b: usize) -> Result<bool, ReadError> {
    let shape_a = &a.tables().shapes[a.shapes()?[row_a] as usize];
    let shape_b = &b.tables().shapes[b.shapes()?[row_b] as usize];
    if shape_a.tail.has_uid != shape_b.tail.has_uid {
        return Ok(false);
    }
    if !shape_a.tail.has_uid {
        let stream_a = &a.tables().streams[a.streams()?[row_a] as usize];
        let stream_b = &b.tables().streams[b.streams()?[row_b] as usize];
        if !shape_a.may_be_alike(shape_b) || stream_a != stream_b {
            return Ok(false);
        }
    }
    Ok(a.record(row_a)?.0 == b.record(row_b)?.0)
}
