//! The file of series: labels, and where the rows of each series are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Int32Array, Int32Builder,
    Int64Array, Int64Builder, MapBuilder, MapFieldNames, RecordBatch, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::SegmentError;
use super::file::HashedFile;
use super::row_writer::Tail;
use crate::disk::Disk;
use crate::model::{Labels, encode_pair, hex};
use crate::read::SpanMs;
use crate::segment::SegmentFile;

use super::super::series_table::{SeriesTable, SeriesTableBuilder};

// Series that are held until they are encoded: some 2 MiB of labels.
const BATCH: usize = 8192;
// A later release that writes another one names it here and goes on reading this one.
const FORMAT: &str = "metrics-series-1";
const TAIL_OFFSET: &str = "greylight.samples_tail_offset";
const TAIL_BLAKE3: &str = "greylight.samples_tail_blake3";

/// Where the rows of one series are, and what they are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct SeriesRows {
    /// Number of its first row in the file of samples.
    pub(in crate::metrics) first_row: u64,
    /// Its rows.
    pub(in crate::metrics) n_rows: u64,
    /// Times of its first and its last row.
    pub(in crate::metrics) span: SpanMs,
    /// Distance between all times, 0 where they differ.
    pub(in crate::metrics) step_ms: i64,
    /// Scale of all rows; `None` where they differ.
    pub(in crate::metrics) scale: Option<u8>,
    /// Whether a row has its value in `raw`.
    pub(in crate::metrics) has_raw: bool,
}

/// Takes series in order; writes them when the segment is finished or a batch is full.
#[derive(Debug)]
pub(super) struct SeriesWriter {
    path: PathBuf,
    schema: SchemaRef,
    writer: Option<ArrowWriter<HashedFile>>,
    n_series: i32,
    columns: Columns,
}

#[derive(Debug)]
struct Columns {
    series_id: Int32Builder,
    labels: MapBuilder<StringBuilder, StringBuilder>,
    // first_row, n_rows, start_ms, end_ms, step_ms
    numbers: [Int64Builder; 5],
    scale: Int32Builder,
    has_raw: BooleanBuilder,
}

const NUMBERS: [&str; 5] = ["first_row", "n_rows", "start_ms", "end_ms", "step_ms"];

impl Columns {
    fn new() -> Self {
        let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
        Self {
            series_id: Int32Builder::new(),
            labels: MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()),
            numbers: Default::default(),
            scale: Int32Builder::new(),
            has_raw: BooleanBuilder::new(),
        }
    }
}

fn schema() -> SchemaRef {
    let entries = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into(),
    );
    let labels = DataType::Map(Arc::new(Field::new("key_value", entries, false)), false);
    let mut fields =
        vec![Field::new("series_id", DataType::Int32, false), Field::new("labels", labels, false)];
    fields.extend(NUMBERS.map(|name| Field::new(name, DataType::Int64, false)));
    fields.push(Field::new("scale", DataType::Int32, false));
    fields.push(Field::new("has_raw", DataType::Boolean, false));
    Arc::new(Schema::new(fields))
}

fn properties() -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(6)?))
        .set_created_by("greylight".into())
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        // Values of labels repeat from metric to metric, so that numbers for them always pay.
        .set_dictionary_page_size_limit(64 << 20);
    for name in ["series_id", "first_row"] {
        let path = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

impl SeriesWriter {
    /// Makes a writer for the file at `path`, which it creates with the first batch.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, schema: schema(), writer: None, n_series: 0, columns: Columns::new() }
    }

    /// Returns the file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the next series.
    pub(super) fn push<'a>(
        &mut self,
        disk: &Arc<dyn Disk>,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        rows: SeriesRows,
    ) -> Result<(), SegmentError> {
        let columns = &mut self.columns;
        columns.series_id.append_value(self.n_series);
        for (name, value) in labels {
            columns.labels.keys().append_value(name);
            columns.labels.values().append_value(value);
        }
        columns.labels.append(true).expect("keys and values are added together");
        let numbers =
            [rows.first_row as i64, rows.n_rows as i64, rows.span.start, rows.span.end, rows.step_ms];
        columns.numbers.iter_mut().zip(numbers).for_each(|(column, n)| column.append_value(n));
        columns.scale.append_value(rows.scale.map_or(-1, i32::from));
        columns.has_raw.append_value(rows.has_raw);
        self.n_series += 1;
        if columns.scale.len() >= BATCH { self.write_batch(disk) } else { Ok(()) }
    }

    fn write_batch(&mut self, disk: &Arc<dyn Disk>) -> Result<(), SegmentError> {
        let columns = &mut self.columns;
        let mut arrays: Vec<ArrayRef> =
            vec![Arc::new(columns.series_id.finish()), Arc::new(columns.labels.finish())];
        arrays.extend(columns.numbers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        arrays.push(Arc::new(columns.scale.finish()));
        arrays.push(Arc::new(columns.has_raw.finish()));
        let path = self.path.clone();
        let encode = |source| SegmentError::Encode { path: path.clone(), source };
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(|e| encode(e.into()))?;
        self.writer(disk)?.write(&batch).map_err(encode)
    }

    fn writer(&mut self, disk: &Arc<dyn Disk>) -> Result<&mut ArrowWriter<HashedFile>, SegmentError> {
        if self.writer.is_none() {
            let path = self.path.clone();
            let file = HashedFile::create(disk.as_ref(), path.clone())
                .map_err(|source| SegmentError::Io { path: path.clone(), source })?;
            let encode = |source| SegmentError::Encode { path: path.clone(), source };
            // The schema in Arrow's own form would be the larger part of a small file.
            let options = ArrowWriterOptions::new()
                .with_properties(properties().map_err(encode)?)
                .with_skip_arrow_metadata(true);
            let writer = ArrowWriter::try_new_with_options(file, self.schema.clone(), options);
            self.writer = Some(writer.map_err(encode)?);
        }
        Ok(self.writer.as_mut().expect("made above"))
    }

    /// Writes what is left, with what proves the footer of the samples, and makes the file durable.
    pub(super) fn finish(&mut self, disk: &Arc<dyn Disk>, tail: Tail) -> Result<SegmentFile, SegmentError> {
        self.write_batch(disk)?;
        let mut writer = self.writer.take().expect("writing a batch makes the writer");
        let about = [
            ("greylight.format", FORMAT.to_string()),
            (TAIL_OFFSET, tail.offset.to_string()),
            (TAIL_BLAKE3, hex(&tail.blake3)),
        ];
        for (key, value) in about {
            writer.append_key_value_metadata(KeyValue::new(key.into(), Some(value)));
        }
        let path = self.path.clone();
        let file =
            writer.into_inner().map_err(|source| SegmentError::Encode { path: path.clone(), source })?;
        file.finish().map_err(|source| SegmentError::Io { path, source })
    }
}

/// What a file of series holds.
#[derive(Debug)]
pub(super) struct SeriesFile {
    /// Its label sets.
    pub(super) table: SeriesTable,
    /// Rows of each series.
    pub(super) rows: Vec<SeriesRows>,
    /// What proves the footer of the samples.
    pub(super) tail: Tail,
}

/// Reads a file of series.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn read(bytes: Bytes) -> Result<SeriesFile, String> {
    let (tail, batches) = open(bytes)?;
    let (mut labels, mut rows) = (SeriesTableBuilder::default(), Vec::new());
    for batch in batches {
        let batch = batch.map_err(|e| e.to_string())?;
        walk_labels(&batch, |pair| match pair {
            Some(pair) => labels.push_pair(pair),
            None => labels.finish_series(),
        })?;
        read_rows(&batch, &mut rows)?;
    }
    let (table, order) = labels.finish();
    if !order.is_sorted() {
        return Err("its series are not in order".into());
    }
    check_rows(&rows, &mut 0)?;
    Ok(SeriesFile { table, rows, tail })
}

/// Series of a file, a batch at a time.
pub(super) struct Batches {
    /// What proves the footer of the samples.
    pub(super) tail: Tail,
    reader: ParquetRecordBatchReader,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl Batches {
    /// Opens a file of series.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn open(bytes: Bytes) -> Result<Self, String> {
        open(bytes).map(|(tail, reader)| Self { tail, reader })
    }

    /// Reads the next batch; `None` at the end. `next_row` is the first row of its first series, and then the one
    /// after its last.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn next(&mut self, next_row: &mut u64) -> Result<Option<Vec<(Labels, SeriesRows)>>, String> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|e| e.to_string())?;
        let (mut labels, mut rows) = (Vec::with_capacity(batch.num_rows()), Vec::new());
        let mut bytes = Vec::new();
        let mut damage = None;
        walk_labels(&batch, |pair| match pair {
            Some(pair) => bytes.extend_from_slice(pair),
            None => {
                match Labels::from_bytes(&bytes) {
                    Ok(one) => labels.push(one),
                    Err(error) => damage = Some(error.to_string()),
                }
                bytes.clear();
            }
        })?;
        read_rows(&batch, &mut rows)?;
        check_rows(&rows, next_row)?;
        damage.map_or_else(|| Ok(Some(labels.into_iter().zip(rows).collect())), Err)
    }
}

fn open(bytes: Bytes) -> Result<(Tail, ParquetRecordBatchReader), String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| e.to_string())?;
    let about = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let find = |key: &str| {
        let found = about.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.clone());
        found.ok_or_else(|| format!("it has no {key}"))
    };
    let format = find("greylight.format")?;
    if format != FORMAT {
        return Err(format!(
            "its format is {format}, this release reads {FORMAT}; use the release that wrote it"
        ));
    }
    let tail = Tail {
        offset: find(TAIL_OFFSET)?.parse().map_err(|_| format!("{TAIL_OFFSET} is no number"))?,
        blake3: *blake3::Hash::from_hex(find(TAIL_BLAKE3)?).map_err(|e| e.to_string())?.as_bytes(),
    };
    let reader = builder.with_batch_size(BATCH).build().map_err(|e| e.to_string())?;
    Ok((tail, reader))
}

/// Hands each pair of each series, as canonical bytes, to `f`, and `None` where a series ends.
fn walk_labels(batch: &RecordBatch, mut f: impl FnMut(Option<&[u8]>)) -> Result<(), String> {
    let mut pair = Vec::new();
    let maps = column(batch, "labels")?.as_map_opt().ok_or("labels are no map")?;
    let keys = maps.keys().as_string_opt::<i32>().ok_or("names of labels are no text")?;
    let values = maps.values().as_string_opt::<i32>().ok_or("values of labels are no text")?;
    for (series, ends) in maps.offsets().windows(2).enumerate() {
        let mut last = "";
        for i in ends[0] as usize..ends[1] as usize {
            let (name, value) = (keys.value(i), values.value(i));
            if name <= last || value.is_empty() {
                return Err(format!("labels of series {series} of a batch are not sorted and unique"));
            }
            last = name;
            pair.clear();
            encode_pair(&mut pair, name, value);
            f(Some(&pair));
        }
        f(None);
    }
    Ok(())
}

fn read_rows(batch: &RecordBatch, rows: &mut Vec<SeriesRows>) -> Result<(), String> {
    let mut numbers: Vec<&Int64Array> = Vec::with_capacity(NUMBERS.len());
    for name in NUMBERS {
        let array = column(batch, name)?.as_primitive_opt::<Int64Type>();
        numbers.push(array.ok_or_else(|| format!("{name} is no INT64"))?);
    }
    let scales: &Int32Array =
        column(batch, "scale")?.as_primitive_opt::<Int32Type>().ok_or("scale is no INT32")?;
    let raws: &BooleanArray = column(batch, "has_raw")?.as_boolean_opt().ok_or("has_raw is no BOOLEAN")?;
    for i in 0..batch.num_rows() {
        let [first_row, n_rows, start, end, step_ms] = [0, 1, 2, 3, 4].map(|n| numbers[n].value(i));
        rows.push(SeriesRows {
            first_row: first_row as u64,
            n_rows: n_rows as u64,
            span: SpanMs { start, end },
            step_ms,
            scale: u8::try_from(scales.value(i)).ok().filter(|s| *s <= super::super::decimal::SCALE_MAX),
            has_raw: raws.value(i),
        });
    }
    Ok(())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("it has no column {name}"))?;
    if column.null_count() > 0 {
        return Err(format!("column {name} has missing values"));
    }
    Ok(column)
}

// Readers rely on this: rows of series follow each other, each has some, in a sane span of time.
fn check_rows(rows: &[SeriesRows], next: &mut u64) -> Result<(), String> {
    for (i, row) in rows.iter().enumerate() {
        let regular = row.step_ms == 0
            || i64::try_from(row.n_rows)
                .ok()
                .and_then(|n| row.step_ms.checked_mul(n - 1)?.checked_add(row.span.start))
                == Some(row.span.end);
        if row.first_row != *next || row.n_rows == 0 || row.span.start > row.span.end || !regular {
            return Err(format!("rows of series {i} are not where they should be"));
        }
        *next = row.first_row.checked_add(row.n_rows).ok_or("too many rows")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemDisk;

    #[test]
    fn a_newer_format_is_refused_with_a_clear_message() {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
        let mut writer = SeriesWriter::new("f".into());
        let rows = SeriesRows {
            first_row: 0,
            n_rows: 1,
            span: SpanMs { start: 5, end: 5 },
            step_ms: 0,
            scale: Some(0),
            has_raw: false,
        };
        writer.push(&disk, [("__name__", "up")].into_iter(), rows).unwrap();
        writer.finish(&disk, Tail { offset: 4, blake3: [1; 32] }).unwrap();
        let bytes = disk.read(Path::new("f")).unwrap();
        assert_eq!(read(bytes.clone()).unwrap().rows, [rows]);
        let mut newer = bytes.to_vec();
        let at = memchr::memmem::find(&newer, FORMAT.as_bytes()).unwrap();
        newer[at + FORMAT.len() - 1] = b'2';
        assert_eq!(
            read(newer.into()).unwrap_err(),
            "its format is metrics-series-2, this release reads metrics-series-1; use the release that wrote it"
        );
    }
}
