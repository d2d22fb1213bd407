//! Segments of metrics: two Parquet files each, immutable, and two more where there is what they hold.
//!
//! `<id>.samples.parquet` has one row a sample, sorted by series and time, and no labels;
//! `<id>.series.parquet` has one row a series: its labels, and which rows of the other file are its.
//! Series are numbered in the order of their label sets, so neighbours in meaning are neighbours on
//! disk. Any Parquet reader reads both and joins them on `series_id`; ours goes by row ranges and
//! the page index, and decodes only the pages that a selection touches.
//!
//! Columns of the samples:
//!
//! | column | type | encoding |
//! |---|---|---|
//! | `series_id` | INT32 | DELTA_BINARY_PACKED |
//! | `time_ms` | INT64, timestamp in ms, UTC | DELTA_BINARY_PACKED |
//! | `mantissa` | INT64 | DELTA_BINARY_PACKED |
//! | `scale` | INT32 | DELTA_BINARY_PACKED |
//! | `raw` | optional DOUBLE | BYTE_STREAM_SPLIT |
//!
//! The value is `raw` where there is one, else `mantissa / 10^scale` as a division of two doubles,
//! which gives back the bits that came in. All pages are zstd with a checksum in the frame.
//!
//! Columns of the series: `series_id`, `labels` (map), `first_row`, `n_rows`, `start_ms`, `end_ms`,
//! `step_ms` (above 0 where all times are that far apart), `scale` (-1 where rows differ), `has_raw`.
//!
//! `<id>.histograms` has the native histograms, whose rows are NaN among the samples, and
//! `<id>.exemplars` the exemplars; most segments have neither. Segments of whole days have `<id>.rollup-1m` and
//! `<id>.rollup-1h` beside them, where series have enough samples a minute or an hour.

mod file;
mod page;
mod blocks;
mod histogram_file;
mod exemplar_file;
mod rollup_file;
mod row_reader;
mod row_writer;
mod series_file;
mod series_scan;
mod index;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::exemplars::ExemplarSet;
use super::head::FrozenHead;
use super::rollup::WIDTHS_MS;
use super::samples::{Columns, ReadScratch};
use crate::disk::{Disk, DiskRead};
use crate::model::{ErrorKind, Labels, TenantId};
use crate::read::{ReadError, Samples, SpanMs, WholeBuckets};
use crate::segment::{SegmentFile, SegmentIds, SegmentMeta, Table, folder};

use blocks::{BlockFile, Content};
use exemplar_file::{ExemplarReader, ExemplarWriter};
use histogram_file::HistogramWriter;
pub use index::IndexCache;
pub(super) use index::SegmentIndex;
pub(super) use rollup_file::RollupReader;
use rollup_file::RollupWriter;
pub(super) use row_reader::RowReader;
pub(super) use row_writer::Effort;
use row_writer::RowWriter;
pub(super) use series_file::SeriesRows;
use series_file::SeriesWriter;
pub(super) use series_scan::SeriesScan;

/// Width of the windows, aligned to UTC, that a sealed head is cut into.
pub const WINDOW_MS: i64 = 2 * 3_600_000;

/// Segments of at least this width have rollups: merging is done with them, mostly.
const ROLLED_MS: u64 = 24 * 3_600_000;

/// What the rollups of each width are in.
const ROLLUPS: [Content; WIDTHS_MS.len()] = [Content::Minutes, Content::Hours];

/// Tells whether a file of a segment is a rollup, which the rows can do without.
pub(crate) fn is_rollup(file: &SegmentFile) -> bool {
    let extension = file.path.extension();
    ROLLUPS.iter().any(|content| extension.is_some_and(|e| e == content.extension()))
}

/// Returns the window of a width in milliseconds that a time lies in.
pub fn window_of(t_ms: i64, width_ms: i64) -> SpanMs {
    // The first and the last window reach past what a time can say and are cut there.
    let start = i128::from(t_ms.div_euclid(width_ms)) * i128::from(width_ms);
    let end = start + i128::from(width_ms) - 1;
    SpanMs { start: i64::try_from(start).unwrap_or(i64::MIN), end: i64::try_from(end).unwrap_or(i64::MAX) }
}

/// Where new segments go and what they are called.
#[derive(Clone, Debug)]
pub struct Target {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Whose data it is.
    pub tenant: TenantId,
    /// Names them.
    pub ids: SegmentIds,
    /// Orders writes, see [`SegmentMeta::sequence`].
    pub sequence: u64,
}

/// Why a segment could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The disk refused.
    #[error("writing {path} failed")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An input of a merge could not be read.
    #[error("reading an input failed")]
    Input(#[from] ReadError),
    /// The rows could not be encoded.
    #[error("encoding {path} failed")]
    Encode {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: parquet::errors::ParquetError,
    },
}

impl SegmentError {
    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Input(e) => e.kind(),
            Self::Io { .. } | Self::Encode { .. } => ErrorKind::Internal,
        }
    }
}

/// One segment, open for reading. Its files stay readable while this lives, also after removal.
#[derive(Debug)]
pub struct Segment {
    meta: SegmentMeta,
    samples: Arc<dyn DiskRead>,
    series: Arc<dyn DiskRead>,
    histograms: Option<BlockFile>,
    exemplars: Option<BlockFile>,
    /// One for each width.
    rollups: [Option<BlockFile>; WIDTHS_MS.len()],
    /// A rollup was found missing or damaged: none is read any more.
    lost_rollup: AtomicBool,
    cache: Arc<IndexCache>,
    /// Held while its index is read, which a second reader waits for.
    loading: Mutex<()>,
}

impl Segment {
    /// Returns what the catalog knows of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Returns its series and where their rows are, from the cache or from its files.
    pub(super) fn index(&self) -> Result<Arc<SegmentIndex>, ReadError> {
        if let Some(index) = self.cache.get(self.meta.id) {
            return Ok(index);
        }
        let _loading = self.loading.lock();
        if let Some(index) = self.cache.get(self.meta.id) {
            return Ok(index);
        }
        let index = Arc::new(SegmentIndex::load(self)?);
        self.cache.insert(self.meta.id, &index);
        Ok(index)
    }

    /// Reads what the first question about it needs.
    ///
    /// # Errors
    /// [`ReadError`] when its files cannot be read.
    pub(crate) fn warm(&self) -> Result<(), ReadError> {
        self.index().map(|_| ())
    }

    /// Opens the rollup that says most about buckets; `None` where none does.
    pub(super) fn rollup(&self, buckets: WholeBuckets) -> Option<RollupReader> {
        let fits = |(file, width): (&Option<BlockFile>, i64)| {
            file.as_ref().filter(|_| buckets.every_ms % width == 0).cloned()
        };
        let file = self.rollups.iter().zip(WIDTHS_MS).rev().find_map(fits);
        let file = file.filter(|_| !self.lost_rollup.load(Ordering::Relaxed))?;
        RollupReader::open(&file).inspect_err(|error| self.lose_rollup(error)).ok()
    }

    /// Reads no rollup any more: the rows have all that there is.
    pub(super) fn lose_rollup(&self, error: &ReadError) {
        if !self.lost_rollup.swap(true, Ordering::Relaxed) {
            tracing::warn!(segment = %self.meta.id, %error, "a rollup cannot be read; the rows answer");
        }
    }

    /// Tells whether a rollup was found missing or damaged.
    pub(crate) fn has_lost_rollup(&self) -> bool {
        self.lost_rollup.load(Ordering::Relaxed)
    }

    /// Opens its exemplars; `None` where there is none near a span.
    pub(super) fn exemplars(&self, span: SpanMs) -> Result<Option<ExemplarReader>, ReadError> {
        self.exemplars.as_ref().map_or(Ok(None), |file| ExemplarReader::open(file, span))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.cache.remove(self.meta.id);
    }
}

/// Opens a segment. Reads nothing yet but the files' existence and length.
///
/// # Errors
/// [`ReadError::Io`] or [`ReadError::Corrupt`] when a file is missing or of another length.
pub fn open(
    disk: &Arc<dyn Disk>,
    meta: SegmentMeta,
    cache: &Arc<IndexCache>,
) -> Result<Arc<Segment>, ReadError> {
    let corrupt = |detail: String| ReadError::Corrupt { path: meta.id.to_string(), detail };
    let [samples, series, beside @ ..] = meta.files.as_slice() else {
        return Err(corrupt(format!(
            "segment has {} files, a segment of metrics has 2 or more",
            meta.files.len()
        )));
    };
    let (samples, series) = (open_file(disk, samples)?, open_file(disk, series)?);
    let (mut histograms, mut exemplars, [mut minutes, mut hours]) = (None, None, [None, None]);
    let mut lost_rollup = false;
    for file in beside {
        let extension = file.path.extension();
        let contents = [
            (Content::Histograms, &mut histograms),
            (Content::Exemplars, &mut exemplars),
            (Content::Minutes, &mut minutes),
            (Content::Hours, &mut hours),
        ];
        let known =
            contents.into_iter().find(|(content, _)| extension.is_some_and(|e| e == content.extension()));
        let (content, slot) =
            known.ok_or_else(|| corrupt(format!("it has an unknown file {}", file.path.display())))?;
        match open_file(disk, file) {
            Ok(open) => *slot = Some(BlockFile::new(content, file.path.clone(), open)),
            // The rows have all that was in it.
            Err(_) if ROLLUPS.contains(&content) => lost_rollup = true,
            Err(error) => return Err(error),
        }
    }
    let (rollups, lost_rollup) = ([minutes, hours], AtomicBool::new(lost_rollup));
    let cache = cache.clone();
    let loading = Mutex::default();
    Ok(Arc::new(Segment {
        meta,
        samples,
        series,
        histograms,
        exemplars,
        rollups,
        lost_rollup,
        cache,
        loading,
    }))
}

fn open_file(disk: &Arc<dyn Disk>, file: &SegmentFile) -> Result<Arc<dyn DiskRead>, ReadError> {
    let path = file.path.display().to_string();
    let corrupt = |detail: String| ReadError::Corrupt { path: path.clone(), detail };
    let open = disk.open(&file.path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => corrupt("the file is missing".into()),
        _ => ReadError::Io { path: path.clone(), source },
    })?;
    if open.len() != file.bytes {
        return Err(corrupt(format!("it has {} bytes, the catalog says {}", open.len(), file.bytes)));
    }
    Ok(open)
}

/// Writes a frozen head as segments of level 0, one for each window that it has samples in.
/// The files are durable when this returns, and nobody's yet: the caller's catalog makes them known.
///
/// # Errors
/// [`SegmentError`]; files written until then are removed.
pub fn write(target: &Target, frozen: &FrozenHead) -> Result<Vec<SegmentMeta>, SegmentError> {
    let mut written: Vec<SegmentMeta> = Vec::new();
    for window in frozen.windows(WINDOW_MS) {
        match write_window(target, frozen, window) {
            Ok(meta) => written.push(meta),
            Err(e) => {
                let paths = written.iter().flat_map(|m| &m.files).map(|f| &f.path);
                // The first error is the one to tell; what stays behind has no entry in the catalog.
                paths.for_each(|path| drop(target.disk.remove(path)));
                return Err(e);
            }
        }
    }
    Ok(written)
}

fn write_window(target: &Target, frozen: &FrozenHead, window: SpanMs) -> Result<SegmentMeta, SegmentError> {
    let head = frozen.head();
    let view = head.registry().whole_view();
    let mut writer = SegmentWriter::create(target, window, 0, Effort::Quick)?;
    let (mut scratch, mut columns) = (ReadScratch::default(), Columns::default());
    for (i, &slot) in view.slots.iter().enumerate() {
        columns.clear();
        head.read(slot, window, &mut scratch, &mut columns);
        if !columns.t_ms.is_empty() {
            writer.push(view.table.pairs(i as u32), columns.samples())?;
        }
    }
    for (series, all) in head.exemplars().iter() {
        let mut set = ExemplarSet::default();
        if set.extend_within(all, window) > 0 {
            writer.push_exemplars(series, set)?;
        }
    }
    writer.finish()
}

/// Writes one segment, series by series in the order of their label sets; then their exemplars.
#[derive(Debug)]
pub(super) struct SegmentWriter<'a> {
    target: &'a Target,
    meta: SegmentMeta,
    rows: Option<RowWriter>,
    samples_path: PathBuf,
    series: SeriesWriter,
    histograms: HistogramWriter,
    exemplars: ExemplarWriter,
    /// None where the window is too small.
    rollups: Vec<RollupWriter>,
    done: bool,
}

impl<'a> SegmentWriter<'a> {
    /// Begins a segment whose rows will all lie in `window`.
    pub(super) fn create(
        target: &'a Target,
        window: SpanMs,
        level: u8,
        effort: Effort,
    ) -> Result<Self, SegmentError> {
        let id = target.ids.next();
        let folder = folder(&target.tenant, Table::Metrics, window.start);
        target
            .disk
            .create_dir_all(&folder)
            .map_err(|source| SegmentError::Io { path: folder.clone(), source })?;
        let meta = SegmentMeta {
            id,
            tenant: target.tenant.clone(),
            table: Table::Metrics,
            level,
            window,
            span: SpanMs { start: i64::MAX, end: i64::MIN },
            n_rows: 0,
            n_series: 0,
            sequence: target.sequence,
            files: Vec::new(),
        };
        let path = folder.join(format!("{id}.samples.parquet"));
        let rows = RowWriter::create(&target.disk, path.clone(), effort)?;
        let series = SeriesWriter::new(folder.join(format!("{id}.series.parquet")));
        let beside = |content: Content| folder.join(format!("{id}.{}", content.extension()));
        let histograms = HistogramWriter::new(beside(Content::Histograms), effort);
        let exemplars = ExemplarWriter::new(beside(Content::Exemplars), effort);
        let rows = Some(rows);
        let rolled = window.end.abs_diff(window.start) >= ROLLED_MS - 1;
        let widths = ROLLUPS.into_iter().zip(WIDTHS_MS).filter(|_| rolled);
        let rollups =
            widths.map(|(content, width)| RollupWriter::new(beside(content), content, width, effort));
        let rollups = rollups.collect();
        Ok(Self {
            target,
            meta,
            rows,
            samples_path: path,
            series,
            histograms,
            exemplars,
            rollups,
            done: false,
        })
    }

    /// Adds the next series: its labels, and at least one sample of strictly rising times.
    pub(super) fn push<'p>(
        &mut self,
        labels: impl Iterator<Item = (&'p str, &'p str)>,
        samples: Samples<'_>,
    ) -> Result<(), SegmentError> {
        let rows = self.rows.as_mut().expect("rows are written until the segment is finished");
        let placed = rows.push_series(samples.t_ms, samples.values)?;
        // Series are numbered in 32 bits, as in the file of samples.
        let number = self.meta.n_series as u32;
        if !samples.histograms.is_empty() {
            self.histograms.push_series(&self.target.disk, number, samples.histograms)?;
        }
        for rollup in &mut self.rollups {
            rollup.push_series(&self.target.disk, number, samples)?;
        }
        self.cover(placed.span);
        self.meta.n_series += 1;
        self.meta.n_rows += placed.n_rows;
        self.series.push(&self.target.disk, labels, placed)
    }

    /// Adds the exemplars of the next series that has some; it need not have samples.
    pub(super) fn push_exemplars(&mut self, series: &Labels, set: ExemplarSet) -> Result<(), SegmentError> {
        if let Some(span) = self.exemplars.push(&self.target.disk, series, set)? {
            self.cover(span);
        }
        Ok(())
    }

    fn cover(&mut self, span: SpanMs) {
        self.meta.span.start = self.meta.span.start.min(span.start);
        self.meta.span.end = self.meta.span.end.max(span.end);
    }

    /// Makes the files and their folder durable.
    pub(super) fn finish(mut self) -> Result<SegmentMeta, SegmentError> {
        let rows = self.rows.take().expect("a segment is finished once");
        let (samples, tail) = rows.finish()?;
        self.meta.files.push(samples);
        let series = self.series.finish(&self.target.disk, tail)?;
        let folder = series.path.parent().map(PathBuf::from).unwrap_or_default();
        self.meta.files.push(series);
        self.meta.files.extend(self.histograms.finish(&self.target.disk)?);
        self.meta.files.extend(self.exemplars.finish(&self.target.disk)?);
        for rollup in &mut self.rollups {
            self.meta.files.extend(rollup.finish(&self.target.disk)?);
        }
        self.target.disk.sync_dir(&folder).map_err(|source| SegmentError::Io { path: folder, source })?;
        self.done = true;
        Ok(self.meta.clone())
    }
}

impl Drop for SegmentWriter<'_> {
    fn drop(&mut self) {
        if !self.done {
            // Best effort: files without an entry in the catalog are removed at the next start.
            let beside = [self.histograms.path(), self.exemplars.path()];
            let rollups = self.rollups.iter().map(RollupWriter::path);
            let rows = [self.samples_path.as_path(), self.series.path()];
            for path in rows.into_iter().chain(beside).chain(rollups) {
                drop(self.target.disk.remove(path));
            }
        }
    }
}
