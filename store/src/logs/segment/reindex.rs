//! The index of a segment, made anew from its rows.

use std::sync::Arc;

use super::Segment;
use super::write::write_whole;
use crate::logs::index::IndexBuilder;
use crate::logs::rows::Block as _;
use crate::metrics::SegmentError;
use crate::segment::SegmentMeta;

/// Writes the index of a segment anew, over what there is of it, and returns what the catalog is to know of the
/// segment then. Holds one row group at a time. A segment that never had an index gets none.
///
/// # Errors
/// [`SegmentError`] when the rows cannot be read or the index not be written; what there was is left then.
pub fn rebuild_index(segment: &Arc<Segment>) -> Result<SegmentMeta, SegmentError> {
    let mut meta = segment.meta().clone();
    let [rows, old] = meta.files.as_mut_slice() else { return Ok(meta) };
    let path = old.path.clone();
    let failed = |source| SegmentError::Io { path: path.clone(), source };
    let mut index = IndexBuilder::default();
    let mut text = String::new();
    for group in 0..segment.n_groups()? {
        index.start_group().map_err(failed)?;
        let block = segment.group(group)?;
        let shapes = &block.tables().shapes;
        for (row, &shape) in block.shapes()?.iter().enumerate() {
            let shape = &shapes[shape as usize];
            for slot in 0..shape.n_slots() {
                // As when the segment was written: attributes of rare names are not in the index.
                if Some(slot) == shape.rest_slot() {
                    continue;
                }
                text.clear();
                block.value(row, slot, &mut text)?;
                index.add(row, &text, slot < shape.n_variables);
            }
            index.add_ids(block.trace_id(row)?, block.span_id(row)?);
        }
    }
    let bytes = index.finish(rows.bytes).map_err(failed)?;
    *old = write_whole(&segment.disk, &path, &bytes).map_err(failed)?;
    Ok(meta)
}
