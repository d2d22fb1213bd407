//! What is kept in memory of a segment: its series, and where the pages are.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use super::super::hashing::IdentityState;
use super::super::series_table::SeriesTable;
use super::Segment;
use super::blocks::{BlockFile, BlockPlace};
use super::page::PagePlace;
use super::row_writer::Tail;
use super::series_file::{self, SeriesRows};
use crate::read::ReadError;
use crate::segment::{SegmentFile, SegmentId};

/// A segment's series and pages, decoded.
#[derive(Debug)]
pub(in crate::metrics) struct SegmentIndex {
    /// Its label sets.
    pub(in crate::metrics) table: SeriesTable,
    /// Where the rows of each series are.
    pub(in crate::metrics) rows: Vec<SeriesRows>,
    /// Where the pages are.
    pub(in crate::metrics) places: Arc<Places>,
}

/// Where the parts of a segment are that hold its samples.
#[derive(Debug)]
pub(in crate::metrics) struct Places {
    /// Pages of each column, in the order of the schema.
    pub(super) pages: [Vec<PagePlace>; 5],
    /// Blocks of histograms; none where the segment has no histogram.
    pub(super) histograms: Vec<BlockPlace>,
}

impl Places {
    /// Reads the footer of the samples, which must be the one that the file of series names.
    pub(super) fn load(segment: &Segment, tail: &Tail, n_rows: u64) -> Result<Self, ReadError> {
        let samples_file = &segment.meta.files[0];
        if tail.offset > segment.samples.len() {
            return Err(corrupt(samples_file, "it ends before its footer".into()));
        }
        let bytes = read(segment.samples.as_ref(), samples_file, tail.offset)?;
        if *blake3::hash(&bytes).as_bytes() != tail.blake3 {
            return Err(corrupt(samples_file, "the checksum of its footer differs".into()));
        }
        let tail = TailOf { offset: tail.offset, bytes };
        let pages = page_places(&tail, n_rows).map_err(|detail| corrupt(samples_file, detail))?;
        let histograms = segment.histograms.as_ref().map_or(Ok(Vec::new()), BlockFile::places)?;
        Ok(Self { pages, histograms })
    }

    fn bytes(&self) -> usize {
        let pages: usize = self.pages.iter().map(|p| p.capacity() * size_of::<PagePlace>()).sum();
        pages + self.histograms.capacity() * size_of::<BlockPlace>()
    }
}

impl SegmentIndex {
    /// Reads the file of series and the footer of the samples, and checks both against checksums.
    pub(super) fn load(segment: &Segment) -> Result<Self, ReadError> {
        let [_, series_file, ..] = segment.meta.files.as_slice() else {
            unreachable!("opening a segment checks that it has these files");
        };
        let bytes = read(segment.series.as_ref(), series_file, 0)?;
        if *blake3::hash(&bytes).as_bytes() != series_file.blake3 {
            return Err(corrupt(series_file, "its checksum differs from the catalog's".into()));
        }
        let series = series_file::read(bytes).map_err(|detail| corrupt(series_file, detail))?;
        let n_rows = series.rows.last().map_or(0, |last| last.first_row + last.n_rows);
        let places = Arc::new(Places::load(segment, &series.tail, n_rows)?);
        Ok(Self { table: series.table, rows: series.rows, places })
    }

    /// Returns about how much memory it holds.
    fn bytes(&self) -> usize {
        self.table.bytes() + self.rows.capacity() * size_of::<SeriesRows>() + self.places.bytes()
    }
}

pub(super) fn read(
    file: &dyn crate::disk::DiskRead,
    meta: &SegmentFile,
    from: u64,
) -> Result<Bytes, ReadError> {
    let len = usize::try_from(file.len() - from).map_err(|e| corrupt(meta, e.to_string()))?;
    file.read_at(from, len).map_err(|source| ReadError::Io { path: meta.path.display().to_string(), source })
}

pub(super) fn corrupt(file: &SegmentFile, detail: String) -> ReadError {
    ReadError::Corrupt { path: file.path.display().to_string(), detail }
}

fn page_places(tail: &TailOf, n_rows: u64) -> Result<[Vec<PagePlace>; 5], String> {
    if n_rows == 0 {
        // A segment of exemplars alone.
        return Ok(Default::default());
    }
    let metadata = ParquetMetaDataReader::new()
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(tail)
        .map_err(|e| e.to_string())?;
    let mut pages: [Vec<PagePlace>; 5] = Default::default();
    if metadata.file_metadata().num_rows() as u64 != n_rows {
        return Err(format!("it has {} rows, its series have {n_rows}", metadata.file_metadata().num_rows()));
    }
    add_places(&metadata, &mut pages).ok_or("it has no page index")?;
    Ok(pages)
}

fn add_places(metadata: &ParquetMetaData, pages: &mut [Vec<PagePlace>; 5]) -> Option<()> {
    let mut first_row = 0;
    for (group, offsets) in metadata.row_groups().iter().zip(metadata.offset_index()?) {
        for (pages, offsets) in pages.iter_mut().zip(offsets) {
            for place in &offsets.page_locations {
                pages.push(PagePlace {
                    first_row: first_row + u64::try_from(place.first_row_index).ok()?,
                    offset: u64::try_from(place.offset).ok()?,
                    bytes: u32::try_from(place.compressed_page_size).ok()?,
                });
            }
        }
        first_row += u64::try_from(group.num_rows()).ok()?;
    }
    Some(())
}

/// The end of a file, under the offsets of the whole.
#[derive(Debug)]
struct TailOf {
    offset: u64,
    bytes: Bytes,
}

impl Length for TailOf {
    fn len(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl ChunkReader for TailOf {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let len = self.len().saturating_sub(start);
        Ok(self.get_bytes(start, len as usize)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let from = start.checked_sub(self.offset).map(|from| from as usize);
        let range =
            from.and_then(|from| Some(from..from.checked_add(length)?)).filter(|r| r.end <= self.bytes.len());
        let range = range
            .ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start} are not in the footer")))?;
        Ok(self.bytes.slice(range))
    }
}

/// Decoded series and pages of segments, the most recently used ones up to a size.
#[derive(Debug)]
pub struct IndexCache {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<u64, Entry, IdentityState>,
    bytes: usize,
    n_uses: u64,
}

#[derive(Debug)]
struct Entry {
    index: Arc<SegmentIndex>,
    bytes: usize,
    last_use: u64,
}

impl IndexCache {
    /// Makes a cache that holds about `bytes_max`; the one used last stays, however large it is.
    pub fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max }
    }

    /// Returns about how much memory it holds.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Tells whether one more of the usual size may push others out.
    pub fn is_nearly_full(&self) -> bool {
        self.bytes() > self.bytes_max / 4 * 3
    }

    pub(super) fn get(&self, id: SegmentId) -> Option<Arc<SegmentIndex>> {
        self.state.lock().get(id)
    }

    pub(super) fn insert(&self, id: SegmentId, index: &Arc<SegmentIndex>) {
        self.state.lock().insert(id, Arc::clone(index), self.bytes_max);
    }

    pub(super) fn remove(&self, id: SegmentId) {
        self.state.lock().remove(id.0);
    }
}

impl State {
    fn get(&mut self, id: SegmentId) -> Option<Arc<SegmentIndex>> {
        self.n_uses += 1;
        let entry = self.entries.get_mut(&id.0)?;
        entry.last_use = self.n_uses;
        Some(entry.index.clone())
    }

    fn insert(&mut self, id: SegmentId, index: Arc<SegmentIndex>, bytes_max: usize) {
        self.remove(id.0);
        let bytes = index.bytes();
        self.n_uses += 1;
        self.entries.insert(id.0, Entry { index, bytes, last_use: self.n_uses });
        self.bytes += bytes;
        while self.bytes > bytes_max && self.entries.len() > 1 {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, e)| e.last_use).map(|(id, _)| *id) else {
                return;
            };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes;
        }
    }
}
