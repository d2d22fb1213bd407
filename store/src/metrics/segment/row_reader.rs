//! Reads rows of the file of samples, page by page.

use std::ops::Range;
use std::sync::Arc;

use super::super::samples::Columns;
use super::super::{decimal, delta};
use super::histogram_file::HistogramReader;
use super::index::Places;
use super::page::{BYTE_STREAM_SPLIT, DELTA_BINARY_PACKED, PageHeader, PagePlace, decompress, take_levels};
use super::{Segment, SeriesRows};
use crate::read::{ReadError, SpanMs};

// A page of 16,384 rows of 64-bit values is 128 KiB; more than this is damage, not data.
const PAGE_BYTES_MAX: u32 = 16 << 20;

/// Reads samples of series of one segment, best in rising order: a page is decoded once for all
/// series in it that follow each other.
#[derive(Debug)]
pub(in crate::metrics) struct RowReader {
    segment: Arc<Segment>,
    places: Arc<Places>,
    times: Column,
    mantissas: Column,
    scales: Column,
    raw: RawPage,
    histograms: HistogramReader,
    // Of a series whose runs differ in scale.
    series_mantissas: Vec<i64>,
    series_scales: Vec<i64>,
}

/// One column's page that was decoded last.
#[derive(Debug)]
struct Column {
    column: usize,
    page: Option<usize>,
    values: Vec<i64>,
}

/// The page of `raw` that was decoded last.
#[derive(Debug, Default)]
struct RawPage {
    page: Option<usize>,
    // Row, counted from the page's first, and value.
    values: Vec<(u64, f64)>,
}

const TIME: usize = 1;
const MANTISSA: usize = 2;
const SCALE: usize = 3;
const RAW: usize = 4;

impl Column {
    fn new(column: usize) -> Self {
        Self { column, page: None, values: Vec::new() }
    }
}

impl RowReader {
    /// Makes a reader; it reads nothing yet.
    pub(in crate::metrics) fn new(segment: Arc<Segment>, places: Arc<Places>) -> Self {
        Self {
            segment,
            places,
            times: Column::new(TIME),
            mantissas: Column::new(MANTISSA),
            scales: Column::new(SCALE),
            raw: RawPage::default(),
            histograms: HistogramReader::default(),
            series_mantissas: Vec::new(),
            series_scales: Vec::new(),
        }
    }

    /// Appends the samples of a series in a span, sorted by time and distinct in it.
    pub(in crate::metrics) fn read(
        &mut self,
        series: u32,
        place: &SeriesRows,
        span: SpanMs,
        columns: &mut Columns,
    ) -> Result<(), ReadError> {
        let values = &mut columns.values;
        let Some(rows) = self.rows_within(place, span, &mut columns.t_ms)? else { return Ok(()) };
        match place.scale {
            Some(scale) => self.mantissas.read(&self.segment, &self.places, rows.clone(), |mantissas| {
                decimal::floats(mantissas, scale, values);
            })?,
            None => self.read_mixed(rows.clone(), values)?,
        }
        if place.has_raw {
            let start = values.len() - (rows.end - rows.start) as usize;
            self.raw.overwrite(&self.segment, &self.places, rows.clone(), &mut values[start..])?;
            // A histogram's row is a NaN, so one of the raw values.
            if let Some(file) = &self.segment.histograms
                && values[start..].iter().any(|value| value.is_nan())
            {
                let rows = rows.start - place.first_row..rows.end - place.first_row;
                self.histograms.read(file, &self.places.histograms, series, rows, start, columns)?;
            }
        }
        Ok(())
    }

    // Finds the rows in a span and appends their times.
    fn rows_within(
        &mut self,
        place: &SeriesRows,
        span: SpanMs,
        t_ms: &mut Vec<i64>,
    ) -> Result<Option<Range<u64>>, ReadError> {
        if place.span.end < span.start || span.end < place.span.start {
            return Ok(None);
        }
        let all = place.first_row..place.first_row + place.n_rows;
        if place.step_ms > 0 {
            // The index gives the times; this column is not read at all.
            let (start, step) = (place.span.start, place.step_ms);
            let from = if span.start <= start { 0 } else { span.start.abs_diff(start).div_ceil(step as u64) };
            let to = if span.end >= place.span.end {
                place.n_rows
            } else {
                span.end.abs_diff(start) / step as u64 + 1
            };
            t_ms.extend((from..to).map(|i| start + i as i64 * step));
            return Ok((from < to).then(|| all.start + from..all.start + to));
        }
        let at = t_ms.len();
        self.times.read(&self.segment, &self.places, all.clone(), |times| t_ms.extend_from_slice(times))?;
        let read = &t_ms[at..];
        if !read.is_sorted_by(|a, b| a < b) {
            return Err(self.segment.damaged("times of a series do not rise"));
        }
        let from = read.partition_point(|t| *t < span.start);
        let to = read.partition_point(|t| *t <= span.end);
        t_ms.truncate(at + to);
        t_ms.drain(at..at + from.min(to));
        Ok((from < to).then(|| all.start + from as u64..all.start + to as u64))
    }

    fn read_mixed(&mut self, rows: Range<u64>, values: &mut Vec<f64>) -> Result<(), ReadError> {
        let (mantissas, scales) = (&mut self.series_mantissas, &mut self.series_scales);
        mantissas.clear();
        scales.clear();
        let (segment, places) = (&self.segment, &self.places);
        self.mantissas.read(segment, places, rows.clone(), |run| mantissas.extend_from_slice(run))?;
        self.scales.read(segment, places, rows, |run| scales.extend_from_slice(run))?;
        let mut from = 0;
        for run in scales.chunk_by(|a, b| a == b) {
            let scale = u8::try_from(run[0]).ok().filter(|s| *s <= decimal::SCALE_MAX);
            let scale = scale.ok_or_else(|| self.segment.damaged("a scale is out of range"))?;
            decimal::floats(&mantissas[from..from + run.len()], scale, values);
            from += run.len();
        }
        Ok(())
    }
}

// Walks the pages that hold rows of a range: their number and the rows, both ends inside the page.
fn pages_of(pages: &[PagePlace], rows: Range<u64>) -> impl Iterator<Item = (usize, Range<u64>)> {
    let first = pages.partition_point(|p| p.first_row <= rows.start).saturating_sub(1);
    (first..pages.len()).take_while(move |&i| pages[i].first_row < rows.end).map(move |i| {
        let end = pages.get(i + 1).map_or(rows.end, |next| next.first_row.min(rows.end));
        (i, pages[i].first_row.max(rows.start)..end)
    })
}

impl Column {
    // Hands the values of a range of rows to `f`, a run from each page.
    fn read(
        &mut self,
        segment: &Segment,
        places: &Places,
        rows: Range<u64>,
        mut f: impl FnMut(&[i64]),
    ) -> Result<(), ReadError> {
        let pages = &places.pages[self.column];
        let end = rows.end;
        let mut next = rows.start;
        for (i, part) in pages_of(pages, rows) {
            let first_row = pages[i].first_row;
            let needed = (part.end - first_row) as usize;
            if self.page != Some(i) || self.values.len() < needed {
                // Neighbours will want the rest of a page, so that it is decoded as a whole.
                self.page = None;
                self.values.clear();
                let values = &mut self.values;
                segment.with_page(&pages[i], DELTA_BINARY_PACKED, |plain, _| {
                    delta::decode(plain, usize::MAX, values).ok().map(drop)
                })?;
                self.page = Some(i);
            }
            let from = (part.start - first_row) as usize;
            let values = self.values.get(from..needed);
            f(values.ok_or_else(|| segment.damaged("a page has too few rows"))?);
            next = part.end;
        }
        if next == end { Ok(()) } else { Err(segment.damaged("pages are missing")) }
    }
}

impl RawPage {
    // Puts the values that are there over those that the other columns gave.
    fn overwrite(
        &mut self,
        segment: &Segment,
        places: &Places,
        rows: Range<u64>,
        out: &mut [f64],
    ) -> Result<(), ReadError> {
        let pages = &places.pages[RAW];
        let start = rows.start;
        for (i, part) in pages_of(pages, rows) {
            let first_row = pages[i].first_row;
            if self.page != Some(i) {
                self.page = None;
                self.values.clear();
                let values = &mut self.values;
                segment.with_page(&pages[i], BYTE_STREAM_SPLIT, |plain, n| take_raw(plain, n, values))?;
                self.page = Some(i);
            }
            let from = self.values.partition_point(|v| first_row + v.0 < part.start);
            for &(row, value) in &self.values[from..] {
                let row = first_row + row;
                if row >= part.end {
                    break;
                }
                out[(row - start) as usize] = value;
            }
        }
        Ok(())
    }
}

fn take_raw(mut plain: &[u8], n_values: u32, out: &mut Vec<(u64, f64)>) -> Option<()> {
    let mut row = 0u64;
    for (present, len) in take_levels(&mut plain)? {
        // Checked before the loop, so that a run that lies cannot keep us in it.
        if row.checked_add(len)? > u64::from(n_values) {
            return None;
        }
        if present {
            out.extend((row..row + len).map(|row| (row, 0.0)));
        }
        row += len;
    }
    let n = out.len();
    if plain.len() != n * 8 {
        return None;
    }
    for (i, slot) in out.iter_mut().enumerate() {
        // The values' first bytes lie together, then their second ones, and so on.
        let bytes = std::array::from_fn(|k| plain[k * n + i]);
        slot.1 = f64::from_bits(u64::from_le_bytes(bytes));
    }
    Some(())
}

impl Segment {
    fn damaged(&self, detail: &str) -> ReadError {
        ReadError::Corrupt { path: self.meta.files[0].path.display().to_string(), detail: detail.into() }
    }

    // Reads and decompresses one page, and has `decode` make something of it and its row count.
    fn with_page(
        &self,
        place: &PagePlace,
        encoding: i32,
        decode: impl FnOnce(&[u8], u32) -> Option<()>,
    ) -> Result<(), ReadError> {
        let bytes = self.samples.read_at(place.offset, place.bytes as usize).map_err(|source| {
            ReadError::Io { path: self.meta.files[0].path.display().to_string(), source }
        })?;
        let mut body = &bytes[..];
        let header = PageHeader::take(&mut body)
            .filter(|h| h.encoding == encoding && h.plain_bytes <= PAGE_BYTES_MAX)
            .filter(|h| h.packed_bytes as usize == body.len())
            .ok_or_else(|| self.damaged("a page has no header of ours"))?;
        // The frame's checksum is checked here: what decompresses is what was written.
        let plain = decompress(body, header.plain_bytes as usize)
            .map_err(|e| self.damaged(&format!("a page does not decompress: {e}")))?;
        decode(&plain, header.n_values).ok_or_else(|| self.damaged("a page does not decode"))
    }
}
