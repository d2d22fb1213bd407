//! One segment without some of its samples.

use std::sync::Arc;

use super::samples::Columns;
use super::segment::{Effort, RowReader, Segment, SegmentError, SegmentWriter, Target};
use super::select::series_of;
use crate::model::{Labels, Matcher};
use crate::read::SpanMs;
use crate::segment::SegmentMeta;

/// Samples to delete: those in a span of series that any of the sets of matchers selects. Exemplars go with them.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// Sets of matchers; a series is selected that all of one set match.
    pub sets: Vec<Vec<Matcher>>,
    /// Times, both ends inclusive.
    pub span: SpanMs,
}

impl Deletion {
    fn selects(&self, series: &Labels) -> bool {
        self.sets.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(series)))
    }
}

/// What a deletion makes of a segment.
#[derive(Debug)]
pub enum Left {
    /// It has none of the samples and exemplars.
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
    if !selected.contains(&true) && !has_exemplars(segment, deletion)? {
        return Ok(Left::All);
    }
    let meta = segment.meta();
    let mut writer = SegmentWriter::create(target, meta.window, meta.level, Effort::Small)?;
    let mut reader = RowReader::new(segment.clone(), index.places.clone());
    let mut columns = Columns::default();
    let (mut n_deleted, mut n_left) = (0, 0);
    for (id, is_selected) in (0..).zip(selected) {
        columns.clear();
        reader.read(id, &index.rows[id as usize], SpanMs::ALL, &mut columns)?;
        if is_selected {
            n_deleted += columns.remove(span) as u64;
        }
        if !columns.t_ms.is_empty() {
            n_left += columns.t_ms.len();
            writer.push(index.table.pairs(id), columns.samples())?;
        }
    }
    let exemplars = without_exemplars(segment, deletion, &mut writer)?;
    // A writer that is not finished takes its files away.
    match (n_deleted > 0 || exemplars.any_deleted, n_left > 0 || exemplars.any_left) {
        (false, _) => Ok(Left::All),
        (true, false) => Ok(Left::Nothing(n_deleted)),
        (true, true) => Ok(Left::Some(Box::new(writer.finish()?), n_deleted)),
    }
}

fn has_exemplars(segment: &Segment, deletion: &Deletion) -> Result<bool, SegmentError> {
    let Some(mut reader) = segment.exemplars(deletion.span)? else { return Ok(false) };
    while let Some((series, mut set)) = reader.next_series()? {
        if deletion.selects(&series) && set.remove(deletion.span) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[derive(Default)]
struct LeftExemplars {
    any_deleted: bool,
    any_left: bool,
}

fn without_exemplars(
    segment: &Segment,
    deletion: &Deletion,
    writer: &mut SegmentWriter<'_>,
) -> Result<LeftExemplars, SegmentError> {
    let mut left = LeftExemplars::default();
    let Some(mut reader) = segment.exemplars(SpanMs::ALL)? else { return Ok(left) };
    while let Some((series, mut set)) = reader.next_series()? {
        left.any_deleted |= deletion.selects(&series) && set.remove(deletion.span);
        if !set.is_empty() {
            left.any_left = true;
            writer.push_exemplars(&series, set)?;
        }
    }
    Ok(left)
}
