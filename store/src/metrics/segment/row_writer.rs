//! Writes the file of samples.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaDataBuilder, ParquetMetaDataWriter,
    RowGroupMetaData, SortingColumn,
};
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use parquet::file::statistics::Statistics;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

use super::super::decimal::Decimals;
use super::super::delta;
use super::SegmentError;
use super::file::HashedFile;
use super::page::{BYTE_STREAM_SPLIT, DELTA_BINARY_PACKED, PageHeader, put_levels};
use super::series_file::SeriesRows;
use crate::disk::Disk;
use crate::read::SpanMs;
use crate::segment::SegmentFile;

// A page ends with the series that fills it, so that most series lie in one page. Smaller pages
// pack worse (4 % at half of this), larger ones cost a small selection more decoding.
const PAGE_ROWS: usize = 8192;
// Longest run of one series in a page: bounds the memory and the work of reading one sample.
const RUN_ROWS_MAX: usize = 2 * PAGE_ROWS;
// `series_id`, `scale` and `raw` take next to nothing, but each page takes its header.
const THIN_PAGE_ROWS: usize = 128 << 10;
// Packed, a row group of this many rows is about 1 MiB, which is what the writer holds in memory.
const GROUP_ROWS: usize = 1 << 20;

/// How hard to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) enum Effort {
    /// For files that a merge reads soon.
    Quick,
    /// For files that stay.
    Small,
}

impl Effort {
    pub(super) fn level(self) -> i32 {
        match self {
            Self::Quick => 1,
            Self::Small => 6,
        }
    }
}

/// One column of the row group being written.
#[derive(Debug, Default)]
struct Column {
    // Rows of the page being filled.
    pending: Vec<i64>,
    pages: Vec<u8>,
    places: Vec<PageLocation>,
    n_rows: usize,
    plain_bytes: usize,
    min: i64,
    max: i64,
}

/// The optional column of floats that are no decimals.
#[derive(Debug, Default)]
struct RawColumn {
    present: Vec<bool>,
    values: Vec<f64>,
}

/// Writes rows, series by series.
#[derive(Debug)]
pub(super) struct RowWriter {
    out: Sink,
    schema: SchemaDescPtr,
    // In the order of the schema; the last one's rows wait in `raw`.
    columns: [Column; 5],
    raw: RawColumn,
    groups: Vec<RowGroupMetaData>,
    offset_index: Vec<Vec<OffsetIndexMetaData>>,
    decimals: Decimals,
    // Whether all series in the page of times being filled have a step.
    regular_times: bool,
    n_series: u64,
    n_rows: u64,
}

const SERIES: usize = 0;
const TIME: usize = 1;
const MANTISSA: usize = 2;
const SCALE: usize = 3;
const RAW: usize = 4;

struct Sink {
    file: HashedFile,
    compressor: zstd::bulk::Compressor<'static>,
    plain: Vec<u8>,
    level: i32,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What the file of series must know of the file of samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// Offset of the first byte behind the rows.
    pub(super) offset: u64,
    /// BLAKE3 of all from there to the end: page index and footer.
    pub(super) blake3: [u8; 32],
}

impl RowWriter {
    /// Creates the file.
    pub(super) fn create(disk: &Arc<dyn Disk>, path: PathBuf, effort: Effort) -> Result<Self, SegmentError> {
        let failed = |source| SegmentError::Io { path: path.clone(), source };
        let mut compressor = zstd::bulk::Compressor::new(effort.level()).map_err(failed)?;
        compressor.include_checksum(true).map_err(failed)?;
        let mut file = HashedFile::create(disk.as_ref(), path.clone()).map_err(failed)?;
        file.write_all(b"PAR1").map_err(failed)?;
        let schema = schema().map_err(|source| SegmentError::Encode { path, source })?;
        Ok(Self {
            out: Sink { file, compressor, plain: Vec::new(), level: effort.level() },
            schema,
            columns: Default::default(),
            raw: RawColumn::default(),
            groups: Vec::new(),
            offset_index: Vec::new(),
            decimals: Decimals::default(),
            regular_times: true,
            n_series: 0,
            n_rows: 0,
        })
    }

    /// Adds the rows of the next series; times rise strictly.
    pub(super) fn push_series(&mut self, t_ms: &[i64], values: &[f64]) -> Result<SeriesRows, SegmentError> {
        assert!(!t_ms.is_empty() && t_ms.len() == values.len(), "a series has rows, each with a value");
        let step_ms = step_of(t_ms);
        self.begin_times(step_ms > 0).map_err(|source| self.io(source))?;
        let mut placed = SeriesRows {
            first_row: self.n_rows,
            n_rows: t_ms.len() as u64,
            span: SpanMs { start: t_ms[0], end: t_ms[t_ms.len() - 1] },
            step_ms,
            scale: None,
            has_raw: false,
        };
        let n_runs = t_ms.len().div_ceil(RUN_ROWS_MAX);
        let run_rows = t_ms.len().div_ceil(n_runs);
        for (i, (t_ms, values)) in t_ms.chunks(run_rows).zip(values.chunks(run_rows)).enumerate() {
            self.push_run(t_ms, values).map_err(|source| self.io(source))?;
            // Once mixed it stays so, since no run's scale equals `None`.
            let scale = Some(self.decimals.scale);
            placed.scale = if i == 0 || placed.scale == scale { scale } else { None };
            placed.has_raw |= !self.decimals.exceptions.is_empty();
        }
        self.n_series += 1;
        self.n_rows += t_ms.len() as u64;
        if self.columns[TIME].n_rows + self.columns[TIME].pending.len() >= GROUP_ROWS {
            self.finish_group()?;
        }
        Ok(placed)
    }

    // Times that the table of series gives are read by no selection of ours, so that pages of
    // nothing else may be as wide as they are thin.
    fn begin_times(&mut self, regular: bool) -> std::io::Result<()> {
        if !regular && self.regular_times && self.columns[TIME].pending.len() >= PAGE_ROWS {
            self.columns[TIME].finish_page(&mut self.out)?;
        }
        self.regular_times = regular && (self.regular_times || self.columns[TIME].pending.is_empty());
        Ok(())
    }

    fn push_run(&mut self, t_ms: &[i64], values: &[f64]) -> std::io::Result<()> {
        let n = t_ms.len();
        self.decimals.fill(values);
        let repeat = |column: &mut Column, n: usize, value: i64| {
            column.pending.resize(column.pending.len() + n, value)
        };
        repeat(&mut self.columns[SERIES], n, self.n_series as i64);
        repeat(&mut self.columns[SCALE], n, i64::from(self.decimals.scale));
        self.columns[TIME].pending.extend_from_slice(t_ms);
        self.columns[MANTISSA].pending.extend_from_slice(&self.decimals.mantissas);
        let first = self.raw.present.len();
        self.raw.present.resize(first + n, false);
        for &i in &self.decimals.exceptions {
            self.raw.present[first + i as usize] = true;
            self.raw.values.push(values[i as usize]);
        }
        let time_rows = if self.regular_times { THIN_PAGE_ROWS } else { PAGE_ROWS };
        for (i, rows_max) in
            [(TIME, time_rows), (MANTISSA, PAGE_ROWS), (SERIES, THIN_PAGE_ROWS), (SCALE, THIN_PAGE_ROWS)]
        {
            if self.columns[i].pending.len() >= rows_max {
                self.columns[i].finish_page(&mut self.out)?;
            }
        }
        // Where there are many, pages of `raw` are as narrow as those of the other values.
        if self.raw.present.len() >= THIN_PAGE_ROWS || self.raw.values.len() >= PAGE_ROWS {
            self.finish_raw_page()?;
        }
        Ok(())
    }

    fn finish_raw_page(&mut self) -> std::io::Result<()> {
        let n = self.raw.present.len();
        if n == 0 {
            return Ok(());
        }
        self.out.plain.clear();
        put_levels(&self.raw.present, &mut self.out.plain);
        for byte in 0..8 {
            self.out.plain.extend(self.raw.values.iter().map(|v| v.to_bits().to_le_bytes()[byte]));
        }
        self.raw.present.clear();
        self.raw.values.clear();
        self.columns[RAW].put_page(n, BYTE_STREAM_SPLIT, &mut self.out)
    }

    fn finish_group(&mut self) -> Result<(), SegmentError> {
        for column in &mut self.columns[..RAW] {
            column.finish_page(&mut self.out).map_err(|source| io(&self.out.file, source))?;
        }
        self.finish_raw_page().map_err(|source| self.io(source))?;
        let n_rows = self.columns[TIME].n_rows;
        if n_rows == 0 {
            return Ok(());
        }
        let group_offset = self.out.file.n_bytes() as i64;
        let mut chunks = Vec::with_capacity(self.columns.len());
        let mut offsets = Vec::with_capacity(self.columns.len());
        for (i, column) in self.columns.iter_mut().enumerate() {
            let offset = self.out.file.n_bytes() as i64;
            self.out.file.write_all(&column.pages).map_err(|source| io(&self.out.file, source))?;
            column.places.iter_mut().for_each(|place| place.offset += offset);
            let chunk = column.metadata(i, offset, &self.schema, self.out.level);
            chunks.push(chunk.map_err(|source| encode(&self.out.file, source))?);
            offsets.push(OffsetIndexMetaData {
                page_locations: std::mem::take(&mut column.places),
                unencoded_byte_array_data_bytes: None,
            });
            column.pages.clear();
            (column.n_rows, column.plain_bytes) = (0, 0);
        }
        let sorting = [SERIES, TIME].map(|i| SortingColumn {
            column_idx: i as i32,
            descending: false,
            nulls_first: false,
        });
        let plain_bytes = chunks.iter().map(ColumnChunkMetaData::uncompressed_size).sum();
        let group = RowGroupMetaData::builder(self.schema.clone())
            .set_num_rows(n_rows as i64)
            .set_total_byte_size(plain_bytes)
            .set_sorting_columns(Some(sorting.to_vec()))
            .set_ordinal(self.groups.len() as i16)
            .set_file_offset(group_offset)
            .set_column_metadata(chunks)
            .build();
        self.groups.push(group.map_err(|source| self.encode(source))?);
        self.offset_index.push(offsets);
        Ok(())
    }

    /// Writes page index and footer and makes the file durable.
    pub(super) fn finish(mut self) -> Result<(SegmentFile, Tail), SegmentError> {
        self.finish_group()?;
        let path = self.out.file.path().to_path_buf();
        let encode = |source| SegmentError::Encode { path: path.clone(), source };
        let about =
            [("greylight.format", "metrics-samples-1"), ("greylight.value", "raw, else mantissa / 10^scale")]
                .map(|(key, value)| KeyValue::new(key.into(), Some(value.to_string())));
        let file = FileMetaData::new(
            2,
            self.n_rows as i64,
            Some("greylight".into()),
            Some(about.to_vec()),
            self.schema.clone(),
            None,
        );
        let metadata = ParquetMetaDataBuilder::new(file)
            .set_row_groups(std::mem::take(&mut self.groups))
            .set_offset_index(Some(std::mem::take(&mut self.offset_index)))
            .build();
        let offset = self.out.file.n_bytes();
        let mut tail = Vec::new();
        let mut counted = TrackedWrite::new(Behind { skip: offset, bytes: &mut tail });
        advance(&mut counted, offset).map_err(|source| self.io(source))?;
        ParquetMetaDataWriter::new_with_tracked(counted, &metadata).finish().map_err(encode)?;
        let blake3 = *blake3::hash(&tail).as_bytes();
        self.out.file.write_all(&tail).map_err(|source| self.io(source))?;
        let file = self.out.file.finish().map_err(|source| SegmentError::Io { path, source })?;
        Ok((file, Tail { offset, blake3 }))
    }

    fn io(&self, source: std::io::Error) -> SegmentError {
        io(&self.out.file, source)
    }

    fn encode(&self, source: ParquetError) -> SegmentError {
        encode(&self.out.file, source)
    }
}

fn io(file: &HashedFile, source: std::io::Error) -> SegmentError {
    SegmentError::Io { path: file.path().to_path_buf(), source }
}

fn encode(file: &HashedFile, source: ParquetError) -> SegmentError {
    SegmentError::Encode { path: file.path().to_path_buf(), source }
}

/// Keeps what comes behind the first `skip` bytes. The footer's writer counts the offsets that it
/// writes down from the first byte it was given, so it is given as many as lie before it.
#[derive(Debug)]
struct Behind<'a> {
    skip: u64,
    bytes: &'a mut Vec<u8>,
}

impl Write for Behind<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        self.bytes.extend_from_slice(&bytes[skipped as usize..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn advance(counted: &mut TrackedWrite<Behind<'_>>, mut n: u64) -> std::io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while n > 0 {
        let step = n.min(ZEROS.len() as u64);
        counted.write_all(&ZEROS[..step as usize])?;
        n -= step;
    }
    Ok(())
}

// The distance between all times, where it is one; 0 where it is not.
fn step_of(t_ms: &[i64]) -> i64 {
    let [first, second, ..] = t_ms else { return 0 };
    let step = second.wrapping_sub(*first);
    let regular = t_ms.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    // Below 0 the difference of two far times has wrapped.
    if regular && step > 0 { step } else { 0 }
}

impl Column {
    fn finish_page(&mut self, out: &mut Sink) -> std::io::Result<()> {
        let n = self.pending.len();
        if n == 0 {
            return Ok(());
        }
        if self.n_rows == 0 {
            (self.min, self.max) = (self.pending[0], self.pending[0]);
        }
        for &value in &self.pending {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        out.plain.clear();
        delta::encode(&self.pending, &mut out.plain);
        self.pending.clear();
        self.put_page(n, DELTA_BINARY_PACKED, out)
    }

    fn put_page(&mut self, n: usize, encoding: i32, out: &mut Sink) -> std::io::Result<()> {
        let packed = out.compressor.compress(&out.plain)?;
        let header = PageHeader {
            plain_bytes: out.plain.len() as u32,
            packed_bytes: packed.len() as u32,
            n_values: n as u32,
            encoding,
        };
        let at = self.pages.len();
        header.write(&mut self.pages);
        let header_bytes = self.pages.len() - at;
        self.pages.extend_from_slice(&packed);
        self.places.push(PageLocation {
            offset: at as i64,
            compressed_page_size: (self.pages.len() - at) as i32,
            first_row_index: self.n_rows as i64,
        });
        self.n_rows += n;
        self.plain_bytes += header_bytes + out.plain.len();
        Ok(())
    }

    fn metadata(
        &self,
        i: usize,
        offset: i64,
        schema: &SchemaDescPtr,
        level: i32,
    ) -> Result<ColumnChunkMetaData, ParquetError> {
        let value_encoding =
            if i == RAW { Encoding::BYTE_STREAM_SPLIT } else { Encoding::DELTA_BINARY_PACKED };
        let chunk = ColumnChunkMetaData::builder(schema.column(i))
            .set_encodings(vec![Encoding::RLE, value_encoding])
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
            .set_num_values(self.n_rows as i64)
            .set_total_compressed_size(self.pages.len() as i64)
            .set_total_uncompressed_size(self.plain_bytes as i64)
            .set_data_page_offset(offset);
        // Engines prune by these two; ranges of mantissas mean nothing without their scales.
        let statistics = match i {
            SERIES => {
                Some(Statistics::int32(Some(self.min as i32), Some(self.max as i32), None, Some(0), false))
            }
            TIME => Some(Statistics::int64(Some(self.min), Some(self.max), None, Some(0), false)),
            _ => None,
        };
        match statistics {
            Some(statistics) => chunk.set_statistics(statistics).build(),
            None => chunk.build(),
        }
    }
}

fn schema() -> Result<SchemaDescPtr, ParquetError> {
    let column = |name: &str, physical, logical| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let time = LogicalType::timestamp(true, TimeUnit::MILLIS);
    let raw = Type::primitive_type_builder("raw", Physical::DOUBLE)
        .with_repetition(Repetition::OPTIONAL)
        .build()?;
    let fields = vec![
        column("series_id", Physical::INT32, None)?,
        column("time_ms", Physical::INT64, Some(time))?,
        column("mantissa", Physical::INT64, None)?,
        column("scale", Physical::INT32, None)?,
        Arc::new(raw),
    ];
    let root = Type::group_type_builder("samples").with_fields(fields).build()?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(root))))
}
