//! Many segments into one.

use std::collections::HashMap;
use std::sync::Arc;

use super::encode::{Columns, GROUP_ROWS, RowRef, TableBuilder, Width, encode_group};
use super::format::Group;
use super::write::{Input, write_file};
use super::{GroupBlock, Segment};
use crate::logs::index::IndexBuilder;
use crate::logs::rows::{Block, Tables};
use crate::metrics::{SegmentError, Target};
use crate::read::{ReadError, SpanMs};
use crate::segment::SegmentMeta;

/// Merges segments, whose rows all lie in `window`, into one of `level`. Row groups of the output
/// are made one after the other in order of time; only the inputs' row groups that one of them
/// reaches into are in memory. A record that two inputs hold is kept once.
///
/// # Errors
/// [`SegmentError`]; files written until then are left for the next clean-up.
pub fn merge(
    target: &Target,
    inputs: &[Arc<Segment>],
    window: SpanMs,
    level: u8,
) -> Result<SegmentMeta, SegmentError> {
    merge_without(target, inputs, window, level, HashMap::new())
}

/// Merges segments as [`merge`] does, without some of their rows.
///
/// - `dropped`: by number of the input and row group, sorted rows that are left out; not all there are.
pub(super) fn merge_without(
    target: &Target,
    inputs: &[Arc<Segment>],
    window: SpanMs,
    level: u8,
    dropped: HashMap<(usize, usize), Vec<u32>>,
) -> Result<SegmentMeta, SegmentError> {
    let mut rows = RowMerge::new(inputs, dropped)?;
    let input = Input { window, level, width: rows.width()? };
    let tables = std::cell::Cell::new(None);
    write_file(
        target,
        input,
        IndexBuilder::default(),
        |index| {
            let group = rows.next_group(input.width, index)?;
            if group.is_none() {
                tables.set(Some(rows.take_tables()));
            }
            Ok(group)
        },
        || tables.take().unwrap_or_default(),
    )
}

/// Numbers that a merged row group may need beyond those of its inputs, since values that were one
/// constant a row group may differ now.
const SLACK: usize = 4;

/// Reads the row groups of the inputs in order of time, each once, and keeps only those with rows
/// that were not handed on.
struct RowMerge {
    inputs: Vec<Arc<Segment>>,
    /// Segment, row group and first time; the earliest last.
    ahead: Vec<(usize, usize, i64)>,
    blocks: Vec<GroupBlock>,
    pending: Vec<RowRef>,
    tables: TableBuilder,
    dropped: HashMap<(usize, usize), Vec<u32>>,
}

impl RowMerge {
    fn new(inputs: &[Arc<Segment>], dropped: HashMap<(usize, usize), Vec<u32>>) -> Result<Self, ReadError> {
        let mut ahead = Vec::new();
        for (number, segment) in inputs.iter().enumerate() {
            for group in 0..segment.n_groups()? {
                ahead.push((number, group, segment.group_span(group).0));
            }
        }
        ahead.sort_by_key(|a| std::cmp::Reverse(a.2));
        let (blocks, pending, tables) = Default::default();
        Ok(Self { inputs: inputs.to_vec(), ahead, blocks, pending, tables, dropped })
    }

    /// How many columns the output has: enough for every slot as a text.
    fn width(&self) -> Result<Width, ReadError> {
        let mut width = Width::default();
        for segment in &self.inputs {
            width = width.max(segment.width()?);
            let slots = segment.tables()?.shapes.iter().map(|s| s.n_slots()).max().unwrap_or(0);
            width.texts = width.texts.max(slots);
        }
        width.ints += SLACK;
        width.bytes += SLACK;
        Ok(width)
    }

    /// Makes the next row group of the output; `None` after the last.
    fn next_group(
        &mut self,
        width: Width,
        index: &mut IndexBuilder,
    ) -> Result<Option<(Columns, Group)>, SegmentError> {
        loop {
            let horizon = self.ahead.last().map(|a| a.2);
            let n_ready =
                horizon.map_or(self.pending.len(), |h| self.pending.partition_point(|r| r.time < h));
            if n_ready >= GROUP_ROWS || horizon.is_none() {
                let n = n_ready.min(GROUP_ROWS);
                if n == 0 {
                    return Ok(None);
                }
                let mut rows: Vec<RowRef> = self.pending.drain(..n).collect();
                let blocks: Vec<&dyn Block> = self.blocks.iter().map(|b| b as &dyn Block).collect();
                let group = encode_group(&mut rows, &blocks, &self.tables.tables, width, index)?;
                self.forget();
                return Ok(Some(group));
            }
            self.load()?;
        }
    }

    fn take_tables(&mut self) -> Tables {
        std::mem::take(&mut self.tables.tables)
    }

    /// Reads the next row group of the inputs.
    fn load(&mut self) -> Result<(), ReadError> {
        let Some((segment, group, _)) = self.ahead.pop() else { return Ok(()) };
        let block = self.inputs[segment].group(group)?;
        let number = self.blocks.len() as u32;
        let dropped = self.dropped.remove(&(segment, group)).unwrap_or_default();
        for row in 0..block.n_rows() {
            let row = row as u32;
            if dropped.binary_search(&row).is_err() {
                self.pending.push(self.tables.row(&block, number, row)?);
            }
        }
        self.blocks.push(block);
        // Stable, and nearly sorted already: runs of one shape are in order of time.
        self.pending.sort_by_key(|r| (r.time, r.block));
        self.drop_repeated()
    }

    /// Drops rows that hold a record which a row before them holds. Inputs hold none twice.
    fn drop_repeated(&mut self) -> Result<(), ReadError> {
        let mut repeated = Vec::new();
        let mut start = 0;
        for tied in self.pending.chunk_by(|a, b| a.time == b.time) {
            if tied.len() > 1 && tied[0].block != tied[tied.len() - 1].block {
                let mut ids: HashMap<u64, u32> = HashMap::new();
                for (n, row) in tied.iter().enumerate() {
                    let alone = tied.iter().all(|r| r.block == row.block || !self.may_be_same(r, row));
                    if alone {
                        continue;
                    }
                    let hash = self.blocks[row.block as usize].record(row.row as usize)?.0.hash;
                    if ids.insert(hash, row.block).is_some_and(|block| block != row.block) {
                        repeated.push(start + n);
                    }
                }
            }
            start += tied.len();
        }
        for at in repeated.into_iter().rev() {
            self.pending.remove(at);
        }
        Ok(())
    }

    /// Tells by numbers alone whether two rows of one time could be the same record.
    fn may_be_same(&self, a: &RowRef, b: &RowRef) -> bool {
        let shape = |r: &RowRef| &self.tables.tables.shapes[r.shape() as usize];
        let (shape_a, shape_b) = (shape(a), shape(b));
        a.stream() == b.stream() && shape_a.may_be_alike(shape_b)
            || shape_a.tail.has_uid && shape_b.tail.has_uid
    }

    /// Drops blocks without pending rows.
    fn forget(&mut self) {
        let mut numbers = vec![None; self.blocks.len()];
        self.pending.iter().for_each(|r| numbers[r.block as usize] = Some(0));
        for (n_kept, number) in numbers.iter_mut().flatten().enumerate() {
            *number = n_kept as u32;
        }
        let mut at = 0;
        self.blocks.retain(|_| {
            at += 1;
            numbers[at - 1].is_some()
        });
        for row in &mut self.pending {
            row.block = numbers[row.block as usize].unwrap_or_default();
        }
    }
}
