//! The file of native histograms: what the rows with NaN are that are histograms.
//!
//! A file of [blocks](super::blocks) with the keys series and place of their first histogram. A block has, for each
//! histogram in order of series and place: the series' number as difference from the one before (from 0 at first),
//! its place among the rows of the series as difference from the one before, if that is of the same series, and the
//! histogram as `histogram_codec` says, begun anew in each block. A segment without histograms has no such file.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::histogram_codec::{Before, HistogramCodec};
use super::super::samples::Columns;
use super::super::varint;
use super::SegmentError;
use super::blocks::{BLOCK_BYTES, BlockFile, BlockPlace, BlockWriter, Content};
use super::row_writer::Effort;
use crate::disk::Disk;
use crate::model::Histogram;
use crate::read::ReadError;
use crate::segment::SegmentFile;

/// Series, and place among its rows.
type Position = (u32, u64);

/// Takes histograms in order; creates the file with the first.
#[derive(Debug)]
pub(super) struct HistogramWriter {
    path: PathBuf,
    effort: Effort,
    blocks: Option<BlockWriter>,
    plain: Vec<u8>,
    codec: HistogramCodec,
    first: Position,
    last: Option<Position>,
}

impl HistogramWriter {
    /// Makes a writer for the file at `path`.
    pub(super) fn new(path: PathBuf, effort: Effort) -> Self {
        let codec = HistogramCodec::default();
        Self { path, effort, blocks: None, plain: Vec::new(), codec, first: (0, 0), last: None }
    }

    /// Returns the file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the histograms of the next series that has some, by their places among its rows.
    pub(super) fn push_series(
        &mut self,
        disk: &Arc<dyn Disk>,
        series: u32,
        histograms: &[(usize, Arc<Histogram>)],
    ) -> Result<(), SegmentError> {
        for (place, histogram) in histograms {
            let at = (series, *place as u64);
            let (series_step, place_step, whose) = match self.last {
                Some(last) if last.0 == series => (0, at.1 - last.1, Before::SameSeries),
                Some(last) => (series - last.0, at.1, Before::Other),
                None => (series, at.1, Before::Other),
            };
            if self.last.is_none() {
                self.first = at;
            }
            self.last = Some(at);
            varint::put(&mut self.plain, u64::from(series_step));
            varint::put(&mut self.plain, place_step);
            self.codec.put(histogram, whose, &mut self.plain);
            if self.plain.len() >= BLOCK_BYTES {
                self.finish_block(disk)?;
            }
        }
        Ok(())
    }

    fn finish_block(&mut self, disk: &Arc<dyn Disk>) -> Result<(), SegmentError> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let blocks = match &mut self.blocks {
            Some(blocks) => blocks,
            none => {
                none.insert(BlockWriter::create(disk, self.path.clone(), Content::Histograms, self.effort)?)
            }
        };
        // Places are counted within a segment, far below what a key can say.
        blocks.push((i64::from(self.first.0), self.first.1 as i64), &self.plain)?;
        self.plain.clear();
        (self.codec, self.last) = (HistogramCodec::default(), None);
        Ok(())
    }

    /// Makes the file durable; `None` where there was no histogram.
    pub(super) fn finish(&mut self, disk: &Arc<dyn Disk>) -> Result<Option<SegmentFile>, SegmentError> {
        self.finish_block(disk)?;
        self.blocks.take().map(BlockWriter::finish).transpose()
    }
}

/// Reads histograms, best in order: a block is decoded once for all that follow each other in it.
#[derive(Debug, Default)]
pub(super) struct HistogramReader {
    block: Option<usize>,
    entries: Vec<(Position, Arc<Histogram>)>,
}

impl HistogramReader {
    /// Finds the histograms among a series' rows, counted from its first, which begin at `from` in the columns.
    pub(super) fn read(
        &mut self,
        file: &BlockFile,
        places: &[BlockPlace],
        series: u32,
        rows: Range<u64>,
        from: usize,
        columns: &mut Columns,
    ) -> Result<(), ReadError> {
        let key = |place: u64| (i64::from(series), i64::try_from(place).unwrap_or(i64::MAX));
        let first = places.partition_point(|p| p.keys <= key(rows.start)).saturating_sub(1);
        for (i, place) in places.iter().enumerate().skip(first).take_while(|(_, p)| p.keys < key(rows.end)) {
            if self.block != Some(i) {
                self.block = None;
                self.entries.clear();
                decode_block(&file.block(place)?, place, &mut self.entries)
                    .ok_or_else(|| file.damaged("a block does not decode"))?;
                self.block = Some(i);
            }
            let start = self.entries.partition_point(|(at, _)| *at < (series, rows.start));
            for ((of, place), histogram) in &self.entries[start..] {
                if (*of, *place) >= (series, rows.end) {
                    break;
                }
                let at = from + (place - rows.start) as usize;
                if !columns.values.get(at).is_some_and(|value| value.is_nan()) {
                    return Err(file.damaged("a histogram is where a float is"));
                }
                columns.histograms.push((at, Arc::clone(histogram)));
            }
        }
        Ok(())
    }
}

fn decode_block(
    plain: &[u8],
    place: &BlockPlace,
    entries: &mut Vec<(Position, Arc<Histogram>)>,
) -> Option<()> {
    let (mut rest, mut codec) = (plain, HistogramCodec::default());
    let mut last: Option<Position> = None;
    while !rest.is_empty() {
        let series_step = u32::try_from(varint::take(&mut rest)?).ok()?;
        let place_step = varint::take(&mut rest)?;
        let at = match last {
            Some((series, place)) if series_step == 0 => (series, place.checked_add(place_step)?),
            Some((series, _)) => (series.checked_add(series_step)?, place_step),
            None => (series_step, place_step),
        };
        if last.is_some_and(|last| last >= at) {
            return None;
        }
        last = Some(at);
        entries.push((at, codec.take(&mut rest)?));
    }
    let first = entries.first()?.0;
    (place.keys == (i64::from(first.0), i64::try_from(first.1).ok()?)).then_some(())
}
