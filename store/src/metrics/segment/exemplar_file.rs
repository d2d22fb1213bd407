//! The file of exemplars: those of the segment's window, by series, whether the series has samples there or not.
//!
//! A file of [blocks](super::blocks) with the keys first and last time of their exemplars. A block has series with
//! exemplars as `exemplars` says, in the order of label sets; a series with many comes in several parts. A segment
//! without exemplars has no such file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::exemplars::{self, ExemplarSet};
use super::SegmentError;
use super::blocks::{BLOCK_BYTES, BlockFile, BlockPlace, BlockWriter, Content};
use super::row_writer::Effort;
use crate::disk::Disk;
use crate::model::Labels;
use crate::read::{ReadError, SpanMs};
use crate::segment::SegmentFile;

/// Exemplars of a series that are written together: at most a few hundred KiB.
const PIECE: usize = 1024;

/// Takes exemplars by series in order; creates the file with the first.
#[derive(Debug)]
pub(super) struct ExemplarWriter {
    path: PathBuf,
    effort: Effort,
    blocks: Option<BlockWriter>,
    plain: Vec<u8>,
    span: Option<SpanMs>,
}

impl ExemplarWriter {
    /// Makes a writer for the file at `path`.
    pub(super) fn new(path: PathBuf, effort: Effort) -> Self {
        Self { path, effort, blocks: None, plain: Vec::new(), span: None }
    }

    /// Returns the file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the exemplars of the next series; returns the span of their times.
    pub(super) fn push(
        &mut self,
        disk: &Arc<dyn Disk>,
        series: &Labels,
        set: ExemplarSet,
    ) -> Result<Option<SpanMs>, SegmentError> {
        let mut all = None;
        for piece in set.pieces(PIECE) {
            for t_ms in piece.times() {
                let span = SpanMs { start: t_ms, end: t_ms };
                (self.span, all) = (Some(union(self.span, span)), Some(union(all, span)));
            }
            exemplars::encode(series, &piece, &mut self.plain);
            if self.plain.len() >= BLOCK_BYTES {
                self.finish_block(disk)?;
            }
        }
        Ok(all)
    }

    fn finish_block(&mut self, disk: &Arc<dyn Disk>) -> Result<(), SegmentError> {
        let Some(span) = self.span.take() else { return Ok(()) };
        let blocks = match &mut self.blocks {
            Some(blocks) => blocks,
            none => {
                none.insert(BlockWriter::create(disk, self.path.clone(), Content::Exemplars, self.effort)?)
            }
        };
        blocks.push((span.start, span.end), &self.plain)?;
        self.plain.clear();
        Ok(())
    }

    /// Makes the file durable; `None` where there was no exemplar.
    pub(super) fn finish(&mut self, disk: &Arc<dyn Disk>) -> Result<Option<SegmentFile>, SegmentError> {
        self.finish_block(disk)?;
        self.blocks.take().map(BlockWriter::finish).transpose()
    }
}

fn union(a: Option<SpanMs>, b: SpanMs) -> SpanMs {
    a.map_or(b, |a| SpanMs { start: a.start.min(b.start), end: a.end.max(b.end) })
}

/// Reads series with their exemplars, in order; a series may come several times in a row.
#[derive(Debug)]
pub(in crate::metrics) struct ExemplarReader {
    file: BlockFile,
    places: std::vec::IntoIter<BlockPlace>,
    plain: Vec<u8>,
    at: usize,
}

impl ExemplarReader {
    /// Opens a file for the blocks that have exemplars in a span; `None` where none has.
    pub(super) fn open(file: &BlockFile, span: SpanMs) -> Result<Option<Self>, ReadError> {
        let mut places = file.places()?;
        places.retain(|place| place.keys.0 <= span.end && span.start <= place.keys.1);
        let is_some = !places.is_empty();
        let reader = Self { file: file.clone(), places: places.into_iter(), plain: Vec::new(), at: 0 };
        Ok(is_some.then_some(reader))
    }

    /// Returns the next series with exemplars, also those outside of the span.
    pub(in crate::metrics) fn next_series(&mut self) -> Result<Option<(Labels, ExemplarSet)>, ReadError> {
        while self.at == self.plain.len() {
            let Some(place) = self.places.next() else { return Ok(None) };
            (self.plain, self.at) = (self.file.block(&place)?, 0);
        }
        let mut rest = &self.plain[self.at..];
        let series =
            exemplars::decode(&mut rest).ok_or_else(|| self.file.damaged("a block does not decode"))?;
        self.at = self.plain.len() - rest.len();
        Ok(Some(series))
    }
}
