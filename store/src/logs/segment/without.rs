//! One segment without some of its records.

use std::collections::HashMap;
use std::sync::Arc;

use super::Segment;
use super::merge::merge_without;
use crate::logs::eval::Compiled;
use crate::logs::patterns::SharedTemplates;
use crate::logs::selector::rows_of_group;
use crate::logs::source::LogSelect;
use crate::metrics::{Left, SegmentError, Target};
use crate::read::Budget;

/// Writes a segment anew without the records that a search selects, holding few row groups at a time. What is left
/// keeps the window, the level and the place in the order of writes.
///
/// # Errors
/// [`SegmentError`]; files written until then are left for the next clean-up.
pub fn without(
    target: &Target,
    segment: &Arc<Segment>,
    select: &LogSelect,
    templates: &SharedTemplates,
    budget: &Budget,
) -> Result<Left, SegmentError> {
    let compiled = Compiled::new(select, segment.tables()?, templates);
    let mut dropped = HashMap::new();
    let mut n_deleted = 0;
    for group in 0..segment.n_groups()? {
        let Some((_, rows)) = rows_of_group(&compiled, segment, group, budget)? else { continue };
        n_deleted += rows.len() as u64;
        if !rows.is_empty() {
            dropped.insert((0, group), rows);
        }
    }
    let meta = segment.meta();
    if n_deleted == 0 {
        return Ok(Left::All);
    }
    if n_deleted == meta.n_rows {
        return Ok(Left::Nothing(n_deleted));
    }
    let left = merge_without(target, &[Arc::clone(segment)], meta.window, meta.level, dropped)?;
    Ok(Left::Some(Box::new(left), n_deleted))
}
