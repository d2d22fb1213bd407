//! Writes segments.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::encode::{Columns, GROUP_ROWS, RowRef, TableBuilder, Width, encode_group, schema};
use super::file::Sink;
use super::format::{self, Group, Layout, Sums};
use super::{Segment, WINDOW_MS};
use crate::disk::Disk;
use crate::logs::head::FrozenHead;
use crate::logs::index::IndexBuilder;
use crate::logs::rows::{Block, Tables};
use crate::metrics::segment::window_of;
use crate::metrics::{SegmentError, Target};
use crate::model::Timestamp;
use crate::read::{ReadError, SpanMs};
use crate::segment::{SegmentFile, SegmentMeta, Table, folder};

/// Writes a frozen head as segments of level 0, one for each window that it has records in, and
/// leaves out what a segment in `live` holds already. The files are durable when this returns, and
/// nobody's yet: the caller's catalog makes them known. May return none.
///
/// # Errors
/// [`SegmentError`]; files written until then are left for the next clean-up.
pub fn write(
    target: &Target,
    frozen: &FrozenHead,
    live: &[Arc<Segment>],
) -> Result<Vec<SegmentMeta>, SegmentError> {
    let blocks = frozen.head().blocks();
    let mut windows: BTreeMap<i64, Vec<(u32, u32)>> = BTreeMap::new();
    for (number, block) in blocks.iter().enumerate() {
        let (first, last) = block.span();
        let mut held = Vec::new();
        for segment in live.iter().filter(|s| s.span().0 <= last && first <= s.span().1) {
            match segment.rows_held(block) {
                Ok(rows) => held.extend(rows),
                // A damaged segment holds nothing that could be compared; what it held is sent again.
                Err(ReadError::Corrupt { .. }) => {}
                // One that may be readable later would then hold records that are here as well.
                Err(error) => return Err(error.into()),
            }
        }
        held.sort_unstable();
        for (row, &t) in block.times()?.iter().enumerate() {
            if held.binary_search(&(row as u32)).is_err() {
                let window = window_of(Timestamp::from_nanos(t).as_millis(), WINDOW_MS);
                windows.entry(window.start).or_default().push((number as u32, row as u32));
            }
        }
    }
    let blocks: Vec<&dyn Block> = blocks.iter().map(|b| b as &dyn Block).collect();
    let mut metas = Vec::new();
    for (start, rows) in windows {
        let window = SpanMs { start, end: start.saturating_add(WINDOW_MS - 1) };
        let mut tables = TableBuilder::default();
        let mut numbered: Vec<RowRef> = Vec::with_capacity(rows.len());
        for (block, row) in rows {
            numbered.push(tables.row(blocks[block as usize], block, row)?);
        }
        numbered.sort_by_key(|r| r.time);
        let mut index = IndexBuilder::default();
        let mut groups = Vec::new();
        for rows in numbered.chunks_mut(GROUP_ROWS) {
            groups.push(encode_group(rows, &blocks, &tables.tables, Width::ANY, &mut index)?);
        }
        let width = groups.iter().fold(Width::default(), |w, g| w.max(g.0.width()));
        let mut groups = groups.into_iter();
        let input = Input { window, level: 0, width };
        metas.push(write_file(target, input, index, |_| Ok(groups.next()), || tables.tables)?);
    }
    Ok(metas)
}

/// What is known of a segment before its rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub(super) window: SpanMs,
    pub(super) level: u8,
    pub(super) width: Width,
}

/// Writes one segment: `next` gives row groups until there are no more and feeds the index,
/// `finish` the tables, once there are no more.
pub(super) fn write_file(
    target: &Target,
    input: Input,
    mut index: IndexBuilder,
    mut next: impl FnMut(&mut IndexBuilder) -> Result<Option<(Columns, Group)>, SegmentError>,
    finish: impl FnOnce() -> Tables,
) -> Result<SegmentMeta, SegmentError> {
    let id = target.ids.next();
    let folder = folder(&target.tenant, Table::Logs, input.window.start);
    let path = folder.join(format!("{id}.parquet"));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| SegmentError::Io { path, source }
    };
    let encoding = |path: &Path| {
        let path = path.to_owned();
        move |source| SegmentError::Encode { path, source }
    };
    target.disk.create_dir_all(&folder).map_err(io(&folder))?;
    let sink = Sink::create(&target.disk, path.clone()).map_err(io(&path))?;
    let schema = schema(input.width);
    let mut writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties(input.width)))
        .map_err(encoding(&path))?;
    let mut layout = Layout { tables: Default::default(), groups: Vec::new() };
    let mut sums = Sums::default();
    while let Some((columns, group)) = next(&mut index)? {
        let batch =
            columns.batch(&schema, input.width).map_err(|e| encoding(&path)(ParquetError::from(e)))?;
        writer.write(&batch).map_err(encoding(&path))?;
        writer.flush().map_err(encoding(&path))?;
        writer.sync().map_err(io(&path))?;
        if let Some(group) = writer.flushed_row_groups().last().cloned() {
            let found = writer.inner_mut().sums_of(&group);
            let lost = || io(&path)(std::io::Error::other("a row group is not where the footer says"));
            sums.columns.push(found.ok_or_else(lost)?);
        }
        layout.groups.push(group);
    }
    layout.tables = finish();
    let value = format::write(&layout).map_err(io(&path))?;
    sums.layout = crc32c::crc32c(value.as_bytes());
    let sums = sums.write().map_err(io(&path))?;
    writer.append_key_value_metadata(KeyValue::new(format::KEY.to_owned(), value));
    writer.append_key_value_metadata(KeyValue::new(format::SUMS_KEY.to_owned(), sums));
    let sink = writer.into_inner().map_err(encoding(&path))?;
    let rows = sink.finish().map_err(io(&path))?;
    let index_path = path.with_extension("index");
    let bytes =
        index.finish(rows.bytes).map_err(|e| SegmentError::Io { path: index_path.clone(), source: e })?;
    let text = write_whole(&target.disk, &index_path, &bytes).map_err(io(&index_path))?;
    let nanos = |of: fn(i64, i64) -> i64, start: i64, pick: fn(&Group) -> i64| {
        Timestamp::from_nanos(layout.groups.iter().map(pick).fold(start, of)).as_millis()
    };
    let span =
        SpanMs { start: nanos(i64::min, i64::MAX, |g| g.first), end: nanos(i64::max, i64::MIN, |g| g.last) };
    Ok(SegmentMeta {
        id,
        tenant: target.tenant.clone(),
        table: Table::Logs,
        level: input.level,
        window: input.window,
        span,
        n_rows: layout.groups.iter().map(|g| g.n_rows() as u64).sum(),
        n_series: layout.tables.streams.len() as u64,
        sequence: target.sequence,
        files: vec![rows, text],
    })
}

/// Writes a file in one go.
pub(super) fn write_whole(disk: &Arc<dyn Disk>, path: &Path, bytes: &[u8]) -> std::io::Result<SegmentFile> {
    let mut sink = Sink::create(disk, path.to_owned())?;
    sink.write_all(bytes)?;
    sink.finish()
}

fn properties(width: Width) -> WriterProperties {
    // Level 3 is the knee: higher ones took twice the time for two per cent.
    let level = ZstdLevel::try_new(3).unwrap_or_default();
    let column = |name: &str| ColumnPath::from(name);
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None)
        .set_column_statistics_enabled(column("time"), EnabledStatistics::Chunk)
        .set_column_encoding(column("time"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(column("observed"), Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(column("severity"), true)
        .set_column_dictionary_enabled(column("severity_text"), true)
        .set_column_dictionary_enabled(column("stream"), true)
        .set_column_dictionary_enabled(column("pattern"), true);
    for name in ["trace_id", "span_id"] {
        builder = builder
            .set_column_compression(column(name), Compression::UNCOMPRESSED)
            .set_column_bloom_filter_enabled(column(name), true)
            .set_column_bloom_filter_fpp(column(name), 0.01);
    }
    for i in 0..width.ints {
        builder = builder.set_column_encoding(column(&format!("i{i}")), Encoding::DELTA_BINARY_PACKED);
    }
    for i in 0..width.texts {
        builder = builder.set_column_dictionary_enabled(column(&format!("s{i}")), true);
    }
    for i in 0..width.bytes {
        // Identifiers are random: there is nothing to compress.
        builder = builder
            .set_column_encoding(column(&format!("x{i}")), Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_compression(column(&format!("x{i}")), Compression::UNCOMPRESSED);
    }
    builder.build()
}
