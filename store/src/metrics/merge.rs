//! Many segments into one.

use std::cmp::Ordering;
use std::sync::Arc;

use super::exemplars::ExemplarSet;
use super::samples::Columns;
use super::segment::{Effort, RowReader, Segment, SegmentError, SegmentIndex, SegmentWriter, Target};
use crate::read::SpanMs;
use crate::segment::SegmentMeta;

/// Merges segments, whose rows all lie in `window`, into one of `level`: a streaming merge that
/// holds the rows of one series at a time, its histograms among them. Of equal times the input with the highest sequence
/// answers. `target.sequence` becomes the output's: pass the highest of the inputs.
///
/// # Errors
/// [`SegmentError`]; files written until then are removed.
///
/// # Panics
/// When there is no input.
pub fn merge(
    target: &Target,
    inputs: &[Arc<Segment>],
    window: SpanMs,
    level: u8,
) -> Result<SegmentMeta, SegmentError> {
    assert!(!inputs.is_empty(), "a merge has inputs");
    let mut runs = Vec::with_capacity(inputs.len());
    for segment in in_order_of_writing(inputs) {
        let index = segment.index()?;
        runs.push(Run { reader: RowReader::new(segment, index.clone()), index, next: 0 });
    }
    let mut writer = SegmentWriter::create(target, window, level, Effort::Small)?;
    let (mut columns, mut scratch) = (Columns::default(), Vec::new());
    while let Some(first) = first_of(&runs) {
        columns.clear();
        let (index, series) = (runs[first].index.clone(), runs[first].next);
        for run in &mut runs[first..] {
            if run.order_to(&index, series) == Some(Ordering::Equal) {
                run.reader.read(run.next, SpanMs::ALL, &mut columns)?;
                run.next += 1;
            }
        }
        columns.last_write_wins(&mut scratch);
        writer.push(index.table.pairs(series), columns.samples())?;
    }
    merge_exemplars(inputs, &mut writer)?;
    writer.finish()
}

fn merge_exemplars(inputs: &[Arc<Segment>], writer: &mut SegmentWriter<'_>) -> Result<(), SegmentError> {
    let mut runs = Vec::new();
    for segment in inputs {
        if let Some(mut reader) = segment.exemplars(SpanMs::ALL)? {
            let next = reader.next_series()?;
            runs.push((reader, next));
        }
    }
    while let Some(series) = runs.iter().filter_map(|(_, next)| next.as_ref().map(|n| &n.0)).min().cloned() {
        let mut all = ExemplarSet::default();
        for (reader, next) in &mut runs {
            // A series with many comes in several parts.
            while let Some((_, set)) = next.take_if(|n| n.0 == series) {
                all.extend_within(&set, SpanMs::ALL);
                *next = reader.next_series()?;
            }
        }
        writer.push_exemplars(&series, all)?;
    }
    Ok(())
}

/// One input and how far it is read.
struct Run {
    reader: RowReader,
    index: Arc<SegmentIndex>,
    next: u32,
}

impl Run {
    // Compares this input's next series with one of another input; `None` at the end.
    fn order_to(&self, index: &Arc<SegmentIndex>, series: u32) -> Option<Ordering> {
        if self.next as usize >= self.index.table.len() {
            return None;
        }
        if Arc::ptr_eq(&self.index, index) {
            return Some(self.next.cmp(&series));
        }
        Some(self.index.table.cmp_with(self.next, &index.table, series))
    }
}

fn in_order_of_writing(inputs: &[Arc<Segment>]) -> Vec<Arc<Segment>> {
    let mut inputs = inputs.to_vec();
    inputs.sort_by_key(|s| (s.meta().sequence, s.meta().id));
    inputs
}

// The first input, in order of writing, that is at the least series.
fn first_of(runs: &[Run]) -> Option<usize> {
    let mut first: Option<usize> = None;
    for (i, run) in runs.iter().enumerate() {
        let least = match first {
            Some(least) => run.order_to(&runs[least].index, runs[least].next) == Some(Ordering::Less),
            None => (run.next as usize) < run.index.table.len(),
        };
        if least {
            first = Some(i);
        }
    }
    first
}
