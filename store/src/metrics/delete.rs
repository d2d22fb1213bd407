//! One segment without some of its samples.

use std::sync::Arc;

use super::segment::{Effort, RowReader, Segment, SegmentError, SegmentWriter, Target};
use super::select::series_of;
use crate::model::Matcher;
use crate::read::SpanMs;
use crate::segment::SegmentMeta;

/// Samples to delete: those in a span of series that any of the sets of matchers selects.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// Sets of matchers; a series is selected that all of one set match.
    pub sets: Vec<Vec<Matcher>>,
    /// Times, both ends inclusive.
    pub span: SpanMs,
}

/// What a deletion makes of a segment.
#[derive(Debug)]
pub enum Left {
    /// It has none of the samples.
    All,
    /// This takes its place; so many samples are not in it any more.
    Some(Box<SegmentMeta>, u64),
    /// Nothing: all its samples, so many, are deleted.
    Nothing(u64),
}

/// Writes a segment anew without samples, holding the rows of one series at a time. What is left
/// keeps the window, the level and the place in the order of writes.
///
/// # Errors
/// [`SegmentError`]; files written until then are removed.
pub fn without(target: &Target, segment: &Arc<Segment>, deletion: &Deletion) -> Result<Left, SegmentError> {
    let index = segment.index()?;
    let span = deletion.span;
    let mut selected = vec![false; index.table.len()];
    for set in &deletion.sets {
        series_of(&index, set, span).into_iter().for_each(|id| selected[id as usize] = true);
    }
    if !selected.contains(&true) {
        return Ok(Left::All);
    }
    let meta = segment.meta();
    let mut writer = SegmentWriter::create(target, meta.window, meta.level, Effort::Small)?;
    let mut reader = RowReader::new(segment.clone(), index.clone());
    let (mut t_ms, mut values) = (Vec::new(), Vec::new());
    let (mut n_deleted, mut n_left) = (0, 0);
    for (id, is_selected) in (0..).zip(selected) {
        t_ms.clear();
        values.clear();
        reader.read(id, SpanMs::ALL, &mut t_ms, &mut values)?;
        if is_selected {
            let from = t_ms.partition_point(|t| *t < span.start);
            let to = t_ms.partition_point(|t| *t <= span.end);
            t_ms.drain(from..to);
            values.drain(from..to);
            n_deleted += (to - from) as u64;
        }
        if !t_ms.is_empty() {
            n_left += t_ms.len();
            writer.push(index.table.pairs(id), &t_ms, &values)?;
        }
    }
    // A writer that is not finished takes its files away.
    match (n_deleted, n_left) {
        (0, _) => Ok(Left::All),
        (_, 0) => Ok(Left::Nothing(n_deleted)),
        _ => Ok(Left::Some(Box::new(writer.finish()?), n_deleted)),
    }
}
