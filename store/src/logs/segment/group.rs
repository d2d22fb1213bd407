//! A row group, open for reading. Columns are decoded when they are first asked for.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, UInt8Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::codec::{Codec, Columns, Form, decode, may_hold};
use super::encode::{FIXED, Width};
use super::file::Piece;
use super::format::{self, Group};
use super::{Opened, Segment};
use crate::logs::rows::{Block, Tables};
use crate::model::{SpanId, TraceId};
use crate::read::ReadError;

/// One row group.
pub(crate) struct GroupBlock {
    segment: Arc<Segment>,
    opened: Arc<Opened>,
    number: usize,
    /// For each shape of the tables its run.
    run_of: Vec<u32>,
    shapes: Vec<u32>,
    columns: Vec<OnceCell<ArrayRef>>,
    observed: OnceCell<Vec<i64>>,
    streams: OnceCell<Vec<u32>>,
    texts: OnceCell<Vec<u32>>,
}

impl GroupBlock {
    pub(super) fn new(segment: Arc<Segment>, opened: Arc<Opened>, number: usize) -> Self {
        let group = &opened.groups[number];
        let mut run_of = vec![0; opened.tables.shapes.len()];
        let mut shapes = Vec::with_capacity(group.n_rows());
        for (n, run) in group.runs.iter().enumerate() {
            run_of[run.shape as usize] = n as u32;
            shapes.resize(shapes.len() + run.n_rows, run.shape);
        }
        let columns = (0..opened.n_columns()).map(|_| OnceCell::new()).collect();
        let (observed, streams, texts) = Default::default();
        Self { segment, opened, number, run_of, shapes, columns, observed, streams, texts }
    }

    fn group(&self) -> &Group {
        &self.opened.groups[self.number]
    }

    fn width(&self) -> Width {
        self.opened.width
    }

    fn column(&self, at: usize) -> Result<&ArrayRef, ReadError> {
        let cell =
            self.columns.get(at).ok_or_else(|| self.corrupt("a slot is in a column that is not there"))?;
        if let Some(column) = cell.get() {
            return Ok(column);
        }
        let column = self.read(at)?;
        Ok(cell.get_or_init(|| column))
    }

    fn read(&self, at: usize) -> Result<ArrayRef, ReadError> {
        let n_rows = self.shapes.len();
        let failed = |e: &dyn std::fmt::Display| self.corrupt(&e.to_string());
        let piece = self.piece(at)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(piece, self.opened.metadata.clone());
        let mask = ProjectionMask::leaves(builder.parquet_schema(), [at]);
        let mut reader = builder
            .with_row_groups(vec![self.number])
            .with_projection(mask)
            .with_batch_size(n_rows.max(1))
            .build()
            .map_err(|e| failed(&e))?;
        let batch = reader.next().transpose().map_err(|e| failed(&e))?;
        let column = batch.map(|b| Arc::clone(b.column(0))).filter(|c| c.len() == n_rows);
        column.ok_or_else(|| self.corrupt("a column has another number of rows than its layout says"))
    }

    /// Reads a column's bytes and holds them against their checksum.
    fn piece(&self, at: usize) -> Result<Piece, ReadError> {
        let file = &self.opened.file;
        let chunk = self.opened.metadata.metadata().row_group(self.number).column(at);
        let place = format::column_place(chunk)
            .filter(|(start, len)| start.checked_add(*len).is_some_and(|end| end <= file.len()));
        let (start, len) = place.ok_or_else(|| self.corrupt("a column lies outside of it"))?;
        let n = usize::try_from(len).map_err(|_| self.corrupt("a column is too large"))?;
        let bytes = file.read_at(start, n).map_err(|source| self.segment.unread(source))?;
        if let Some(sums) = &self.opened.sums {
            let sum = (start, len, format::column_sum(&bytes, chunk));
            if sums.columns[self.number].get(at) != Some(&sum) {
                return Err(self.corrupt("the checksum of a column differs"));
            }
        }
        Ok(Piece { start, bytes, file_len: file.len() })
    }

    fn corrupt(&self, detail: &str) -> ReadError {
        self.segment.corrupt(detail)
    }

    /// A column of the fixed ones, of the type that the schema check promised.
    fn longs(&self, at: usize) -> Result<&[i64], ReadError> {
        Ok(self.column(at)?.as_primitive::<Int64Type>().values())
    }

    /// How a slot of a row is kept.
    fn codec(&self, row: usize, slot: usize) -> Result<&Codec, ReadError> {
        let run = &self.group().runs[self.run_of[self.shapes[row] as usize] as usize];
        run.slots.get(slot).ok_or_else(|| self.corrupt("a row has a slot that is not there"))
    }

    /// Reads the columns of a slot, so that [`decode`] finds them.
    fn load(&self, codec: &Codec) -> Result<(), ReadError> {
        let (ints, texts, bytes) = self.bases();
        match codec {
            Codec::Constant(_) => {}
            Codec::Text(c) => drop(self.column(texts + c)?),
            Codec::Int(c) => drop(self.column(ints + c)?),
            Codec::IntTime(c, _) | Codec::Time(c, _) => {
                self.column(ints + c)?;
                self.column(0)?;
            }
            Codec::Hex(c) | Codec::Uuid(c) => drop(self.column(bytes + c)?),
            Codec::Parts(form, numbers) => {
                if let Form::Column(c) = form {
                    self.column(texts + c)?;
                }
                for c in numbers {
                    self.column(ints + c)?;
                }
            }
        }
        Ok(())
    }

    /// Where the columns of each kind begin.
    fn bases(&self) -> (usize, usize, usize) {
        let ints = FIXED.len();
        let texts = ints + self.width().ints;
        (ints, texts, texts + self.width().texts)
    }
}

impl Columns for GroupBlock {
    fn time(&self, row: usize) -> Option<i64> {
        Some(self.columns.first()?.get()?.as_primitive::<Int64Type>().value(row))
    }

    fn int(&self, column: usize, row: usize) -> Option<i64> {
        let column = self.columns.get(self.bases().0 + column)?.get()?.as_primitive_opt::<Int64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn text(&self, column: usize, row: usize) -> Option<&str> {
        let column = self.columns.get(self.bases().1 + column)?.get()?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn bytes(&self, column: usize, row: usize) -> Option<&[u8]> {
        let column = self.columns.get(self.bases().2 + column)?.get()?.as_binary_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    }
}

impl Block for GroupBlock {
    fn tables(&self) -> &Arc<Tables> {
        &self.opened.tables
    }

    fn n_rows(&self) -> usize {
        self.shapes.len()
    }

    fn span(&self) -> (i64, i64) {
        (self.group().first, self.group().last)
    }

    fn times(&self) -> Result<&[i64], ReadError> {
        self.longs(0)
    }

    fn observed(&self) -> Result<&[i64], ReadError> {
        if let Some(observed) = self.observed.get() {
            return Ok(observed);
        }
        let times = self.times()?;
        let observed = self.longs(1)?.iter().zip(times).map(|(o, t)| o.wrapping_add(*t)).collect();
        Ok(self.observed.get_or_init(|| observed))
    }

    fn streams(&self) -> Result<&[u32], ReadError> {
        if let Some(streams) = self.streams.get() {
            return Ok(streams);
        }
        let n = self.tables().streams.len();
        let column = self.column(4)?.as_primitive::<Int32Type>();
        let streams: Vec<u32> = column.values().iter().map(|&s| s as u32).collect();
        if streams.iter().any(|&s| s as usize >= n) {
            return Err(self.corrupt("a row names a stream that is not there"));
        }
        Ok(self.streams.get_or_init(|| streams))
    }

    fn shapes(&self) -> Result<&[u32], ReadError> {
        Ok(&self.shapes)
    }

    fn severities(&self) -> Result<&[u8], ReadError> {
        Ok(self.column(2)?.as_primitive::<UInt8Type>().values())
    }

    fn texts(&self) -> Result<&[u32], ReadError> {
        if let Some(texts) = self.texts.get() {
            return Ok(texts);
        }
        let column = self.column(3)?.as_string::<i32>();
        let known = &self.tables().texts;
        let mut texts = Vec::with_capacity(column.len());
        // Neighbours mostly have the same.
        let mut last: Option<u32> = None;
        for text in column.iter() {
            let text = text.unwrap_or_default();
            let is_last = last.filter(|&n| *known[n as usize] == *text);
            let found = is_last.or_else(|| known.iter().position(|k| **k == *text).map(|n| n as u32));
            last = found;
            texts.push(found.ok_or_else(|| self.corrupt("a row has a severity that is not listed"))?);
        }
        Ok(self.texts.get_or_init(|| texts))
    }

    fn trace_id(&self, row: usize) -> Result<Option<TraceId>, ReadError> {
        let column = self.column(6)?.as_fixed_size_binary();
        Ok(column.is_valid(row).then(|| column.value(row).try_into().ok()).flatten())
    }

    fn span_id(&self, row: usize) -> Result<Option<SpanId>, ReadError> {
        let column = self.column(7)?.as_fixed_size_binary();
        Ok(column.is_valid(row).then(|| column.value(row).try_into().ok()).flatten())
    }

    fn may_hold(&self, row: usize, slot: usize, letters: &str) -> Result<bool, ReadError> {
        Ok(may_hold(self.codec(row, slot)?, letters))
    }

    fn hex(&self, row: usize, slot: usize) -> Result<Option<&[u8]>, ReadError> {
        let codec = self.codec(row, slot)?;
        let Codec::Hex(column) = codec else { return Ok(None) };
        self.load(codec)?;
        let bytes =
            self.bytes(*column, row).ok_or_else(|| self.corrupt("a slot has no value in its column"))?;
        Ok(Some(bytes))
    }

    fn value(&self, row: usize, slot: usize, out: &mut String) -> Result<(), ReadError> {
        let codec = self.codec(row, slot)?;
        self.load(codec)?;
        decode(codec, self, row, out).ok_or_else(|| self.corrupt("a slot has no value in its column"))
    }
}
