//! Rows of any blocks into the columns of a row group.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder as _, ArrayRef, BinaryBuilder, FixedSizeBinaryBuilder, Int32Array, Int64Array, Int64Builder,
    StringArray, StringBuilder, UInt8Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::codec::{Bytes, Codec, Encoded, Form, Values, encode};
use super::format::{Group, Run};
use crate::logs::index::IndexBuilder;
use crate::logs::rows::{Block, Shape, Tables};
use crate::model::{Labels, SpanId, TraceId};
use crate::read::ReadError;

/// Rows of a row group: few enough to decode one for a page of results, enough to compress well.
pub(super) const GROUP_ROWS: usize = 64 * 1024;

/// One row of an input, in the numbers of the output's tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowRef {
    pub(super) time: i64,
    pub(super) block: u32,
    pub(super) row: u32,
    stream: u32,
    shape: u32,
    text: u32,
}

impl RowRef {
    pub(super) fn shape(&self) -> u32 {
        self.shape
    }

    pub(super) fn stream(&self) -> u32 {
        self.stream
    }
}

/// The output's tables, growing with the inputs' rows.
#[derive(Debug, Default)]
pub(super) struct TableBuilder {
    pub(super) tables: Tables,
    streams: HashMap<Labels, u32>,
    shapes: HashMap<u64, Vec<u32>>,
    texts: HashMap<Arc<str>, u32>,
    maps: Vec<(Arc<Tables>, Numbers)>,
}

/// For each number of an input's tables the output's, once it is used.
#[derive(Debug, Default)]
struct Numbers {
    streams: Vec<Option<u32>>,
    shapes: Vec<Option<u32>>,
    texts: Vec<Option<u32>>,
}

impl TableBuilder {
    /// Numbers a row of a block.
    pub(super) fn row(&mut self, block: &dyn Block, number: u32, row: u32) -> Result<RowRef, ReadError> {
        let map = self.map(block.tables());
        let at = row as usize;
        let (stream, shape, text) = (block.streams()?[at], block.shapes()?[at], block.texts()?[at]);
        Ok(RowRef {
            time: block.times()?[at],
            block: number,
            row,
            stream: self.stream(map, stream),
            shape: self.shape(map, shape),
            text: self.text(map, text),
        })
    }

    fn map(&mut self, tables: &Arc<Tables>) -> usize {
        let known = self.maps.iter().rposition(|(known, _)| Arc::ptr_eq(known, tables));
        known.unwrap_or_else(|| {
            self.maps.push((Arc::clone(tables), Numbers::default()));
            self.maps.len() - 1
        })
    }

    fn stream(&mut self, map: usize, stream: u32) -> u32 {
        let (input, numbers) = &mut self.maps[map];
        let slot = slot(&mut numbers.streams, stream);
        *slot.get_or_insert_with(|| {
            let labels = &input.streams[stream as usize];
            *self.streams.entry(labels.clone()).or_insert_with(|| {
                self.tables.streams.push(labels.clone());
                last(self.tables.streams.len())
            })
        })
    }

    fn shape(&mut self, map: usize, shape: u32) -> u32 {
        let (input, numbers) = &mut self.maps[map];
        let slot = slot(&mut numbers.shapes, shape);
        *slot.get_or_insert_with(|| {
            let shape = &input.shapes[shape as usize];
            let names = shape.attributes.iter().map(|(n, k)| (n.as_str(), *k));
            let hash = Shape::hash(shape.pattern.as_bytes(), shape.message, names, shape.tail);
            let alike = self.shapes.entry(hash).or_default();
            let same = |n: &&u32| {
                let known = &self.tables.shapes[**n as usize];
                known.pattern == shape.pattern
                    && known.message == shape.message
                    && known.attributes == shape.attributes
                    && known.tail == shape.tail
            };
            if let Some(&known) = alike.iter().find(same) {
                return known;
            }
            self.tables.shapes.push(Arc::clone(shape));
            let n = last(self.tables.shapes.len());
            alike.push(n);
            n
        })
    }

    fn text(&mut self, map: usize, text: u32) -> u32 {
        let (input, numbers) = &mut self.maps[map];
        let slot = slot(&mut numbers.texts, text);
        *slot.get_or_insert_with(|| {
            let text = &input.texts[text as usize];
            *self.texts.entry(Arc::clone(text)).or_insert_with(|| {
                self.tables.texts.push(Arc::clone(text));
                last(self.tables.texts.len())
            })
        })
    }
}

fn slot(list: &mut Vec<Option<u32>>, n: u32) -> &mut Option<u32> {
    let n = n as usize;
    if list.len() <= n {
        list.resize(n + 1, None);
    }
    &mut list[n]
}

fn last(len: usize) -> u32 {
    u32::try_from(len - 1).expect("a segment has fewer than 2^32 rows")
}

/// How many columns of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Width {
    pub(super) ints: usize,
    pub(super) texts: usize,
    pub(super) bytes: usize,
}

impl Width {
    /// As many as are asked for.
    pub(super) const ANY: Self = Self { ints: usize::MAX, texts: usize::MAX, bytes: usize::MAX };

    pub(super) fn max(self, other: Self) -> Self {
        Self {
            ints: self.ints.max(other.ints),
            texts: self.texts.max(other.texts),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

/// The columns of a row group.
#[derive(Debug, Default)]
pub(super) struct Columns {
    fixed: Vec<ArrayRef>,
    ints: Vec<ArrayRef>,
    texts: Vec<ArrayRef>,
    bytes: Vec<ArrayRef>,
    n_rows: usize,
}

/// Slots of a row group, growing run by run; each column is padded with nulls where a run has none.
#[derive(Default)]
struct Slots {
    ints: Vec<Int64Builder>,
    texts: Vec<StringBuilder>,
    bytes: Vec<BinaryBuilder>,
}

/// Columns that the present run has used.
#[derive(Default)]
struct Used {
    ints: usize,
    texts: usize,
    bytes: usize,
}

/// Orders rows and makes the columns of one row group of them. No more columns than `limit` are
/// used: values that would need more are kept as texts, of which there must be enough.
pub(super) fn encode_group(
    rows: &mut [RowRef],
    blocks: &[&dyn Block],
    tables: &Tables,
    limit: Width,
    index: &mut IndexBuilder,
) -> Result<(Columns, Group), ReadError> {
    rows.sort_unstable_by_key(|r| (r.shape, r.stream, r.time, r.block, r.row));
    index.start_group().map_err(|source| ReadError::Io { path: "a text index".into(), source })?;
    let mut slots = Slots::default();
    let mut group = Group { first: i64::MAX, last: i64::MIN, runs: Vec::new() };
    let mut values = Values::default();
    let mut start = 0;
    for run in rows.chunk_by(|a, b| a.shape == b.shape) {
        let shape = &tables.shapes[run[0].shape as usize];
        let times: Vec<i64> = run.iter().map(|r| r.time).collect();
        let mut used = Used::default();
        let mut codecs = Vec::with_capacity(shape.n_slots());
        for slot in 0..shape.n_slots() {
            values.clear();
            for row in run {
                blocks[row.block as usize].value(row.row as usize, slot, values.text())?;
                values.end();
            }
            let is_quoted = slot < shape.n_variables;
            let encoded = encode(&values, &times);
            match &encoded {
                // Searches look at rare attributes row by row.
                _ if Some(slot) == shape.rest_slot() => {}
                Encoded::Constant(text) => index.add_constant(start..start + run.len(), text, is_quoted),
                _ => {
                    values.iter().enumerate().for_each(|(n, text)| index.add(start + n, text, is_quoted));
                }
            }
            codecs.push(slots.put(encoded, &values, start, &mut used, limit));
        }
        group.first = times.iter().copied().fold(group.first, i64::min);
        group.last = times.iter().copied().fold(group.last, i64::max);
        group.runs.push(Run { shape: run[0].shape, n_rows: run.len(), slots: codecs });
        start += run.len();
    }
    let mut columns = slots.finish(rows.len());
    columns.fixed = fixed(rows, blocks, tables, index)?;
    Ok((columns, group))
}

impl Slots {
    /// Puts what a slot has in a run into columns and says where it is.
    fn put(
        &mut self,
        encoded: Encoded,
        values: &Values,
        start: usize,
        used: &mut Used,
        limit: Width,
    ) -> Codec {
        let has_room = match &encoded {
            Encoded::Constant(_) | Encoded::Text => true,
            Encoded::Int(_) | Encoded::IntTime(..) | Encoded::Time(..) => used.ints < limit.ints,
            Encoded::Hex(_) | Encoded::Uuid(_) => used.bytes < limit.bytes,
            Encoded::Parts { numbers, .. } => numbers.len() <= limit.ints.saturating_sub(used.ints),
        };
        if !has_room {
            return Codec::Text(self.text(values, start, used));
        }
        let some = |list: Vec<i64>| list.into_iter().map(Some);
        match encoded {
            Encoded::Constant(text) => Codec::Constant(text),
            Encoded::Text => Codec::Text(self.text(values, start, used)),
            Encoded::Int(list) => Codec::Int(self.int(some(list), start, used)),
            Encoded::IntTime(list, unit) => Codec::IntTime(self.int(some(list), start, used), unit),
            Encoded::Time(list, form) => Codec::Time(self.int(some(list), start, used), form),
            Encoded::Hex(list) => Codec::Hex(self.bytes(&list, start, used)),
            Encoded::Uuid(list) => Codec::Uuid(self.bytes(&list, start, used)),
            Encoded::Parts { forms, one_form, numbers } => {
                let form = match forms.iter().next() {
                    Some(form) if one_form => Form::Constant(form.to_owned()),
                    _ => Form::Column(self.text(&forms, start, used)),
                };
                let numbers =
                    numbers.into_iter().map(|list| self.int(list.into_iter(), start, used)).collect();
                Codec::Parts(form, numbers)
            }
        }
    }

    fn text(&mut self, values: &Values, start: usize, used: &mut Used) -> usize {
        used.texts += 1;
        let column = column(&mut self.texts, used.texts - 1);
        column.append_nulls(start - column.len());
        values.iter().for_each(|text| column.append_value(text));
        used.texts - 1
    }

    fn int(&mut self, list: impl Iterator<Item = Option<i64>>, start: usize, used: &mut Used) -> usize {
        used.ints += 1;
        let column = column(&mut self.ints, used.ints - 1);
        column.append_nulls(start - column.len());
        column.extend(list);
        used.ints - 1
    }

    fn bytes(&mut self, list: &Bytes, start: usize, used: &mut Used) -> usize {
        used.bytes += 1;
        let column = column(&mut self.bytes, used.bytes - 1);
        column.append_nulls(start - column.len());
        list.iter().for_each(|bytes| column.append_value(bytes));
        used.bytes - 1
    }

    fn finish(self, n_rows: usize) -> Columns {
        let ints = self.ints.into_iter().map(|mut c| {
            c.append_nulls(n_rows - c.len());
            Arc::new(c.finish()) as ArrayRef
        });
        let texts = self.texts.into_iter().map(|mut c| {
            c.append_nulls(n_rows - c.len());
            Arc::new(c.finish()) as ArrayRef
        });
        let bytes = self.bytes.into_iter().map(|mut c| {
            c.append_nulls(n_rows - c.len());
            Arc::new(c.finish()) as ArrayRef
        });
        Columns {
            fixed: Vec::new(),
            ints: ints.collect(),
            texts: texts.collect(),
            bytes: bytes.collect(),
            n_rows,
        }
    }
}

/// Returns a column, which is new when it is the next.
fn column<T: Default>(columns: &mut Vec<T>, at: usize) -> &mut T {
    if columns.len() <= at {
        columns.resize_with(at + 1, T::default);
    }
    &mut columns[at]
}

/// The columns that every row has.
fn fixed(
    rows: &[RowRef],
    blocks: &[&dyn Block],
    tables: &Tables,
    index: &mut IndexBuilder,
) -> Result<Vec<ArrayRef>, ReadError> {
    let n = rows.len();
    let (mut observed, mut severities) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut traces = FixedSizeBinaryBuilder::with_capacity(n, 16);
    let mut spans = FixedSizeBinaryBuilder::with_capacity(n, 8);
    // Both builders take exactly the width that the arrays of the model have.
    let wide = |e: ArrowError| ReadError::Invalid(e.to_string());
    for row in rows {
        let (block, at) = (blocks[row.block as usize], row.row as usize);
        observed.push(block.observed()?[at].wrapping_sub(row.time));
        severities.push(block.severities()?[at]);
        let trace: Option<TraceId> = block.trace_id(at)?;
        let span: Option<SpanId> = block.span_id(at)?;
        match trace {
            Some(id) => traces.append_value(id).map_err(wide)?,
            None => traces.append_null(),
        }
        match span {
            Some(id) => spans.append_value(id).map_err(wide)?,
            None => spans.append_null(),
        }
        index.add_ids(trace, span);
    }
    let texts = rows.iter().map(|r| tables.texts[r.text as usize].as_ref());
    // Below 2^31: a segment's tables come from at most a few million rows.
    let streams = rows.iter().map(|r| r.stream as i32);
    let patterns = rows.iter().map(|r| tables.shapes[r.shape as usize].id.0);
    Ok(vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.time))),
        Arc::new(Int64Array::from(observed)),
        Arc::new(UInt8Array::from(severities)),
        Arc::new(StringArray::from_iter_values(texts)),
        Arc::new(Int32Array::from_iter_values(streams)),
        Arc::new(UInt64Array::from_iter_values(patterns)),
        Arc::new(traces.finish()),
        Arc::new(spans.finish()),
    ])
}

/// Names of the columns that every row has, in their order.
pub(super) const FIXED: [&str; 8] =
    ["time", "observed", "severity", "severity_text", "stream", "pattern", "trace_id", "span_id"];

/// The schema of a file with so many columns.
pub(super) fn schema(width: Width) -> Arc<Schema> {
    let types = [
        DataType::Int64,
        DataType::Int64,
        DataType::UInt8,
        DataType::Utf8,
        DataType::Int32,
        DataType::UInt64,
        DataType::FixedSizeBinary(16),
        DataType::FixedSizeBinary(8),
    ];
    let fixed = FIXED.iter().zip(types).map(|(name, kind)| Field::new(*name, kind, name.ends_with("_id")));
    let slots = |prefix: &'static str, n: usize, kind: DataType| {
        (0..n).map(move |i| Field::new(format!("{prefix}{i}"), kind.clone(), true))
    };
    let fields = fixed
        .chain(slots("i", width.ints, DataType::Int64))
        .chain(slots("s", width.texts, DataType::Utf8))
        .chain(slots("x", width.bytes, DataType::Binary));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Columns {
    pub(super) fn width(&self) -> Width {
        Width { ints: self.ints.len(), texts: self.texts.len(), bytes: self.bytes.len() }
    }

    /// Makes the batch for a schema of at least this width.
    pub(super) fn batch(self, schema: &Arc<Schema>, width: Width) -> Result<RecordBatch, ArrowError> {
        let n = self.n_rows;
        let padded = |mut columns: Vec<ArrayRef>, width: usize, kind: DataType| {
            columns.resize_with(width, || arrow::array::new_null_array(&kind, n));
            columns
        };
        let mut columns = self.fixed;
        columns.extend(padded(self.ints, width.ints, DataType::Int64));
        columns.extend(padded(self.texts, width.texts, DataType::Utf8));
        columns.extend(padded(self.bytes, width.bytes, DataType::Binary));
        RecordBatch::try_new(Arc::clone(schema), columns)
    }
}
