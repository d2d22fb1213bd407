//! Many segments into one.

use std::sync::Arc;

use super::exemplars::ExemplarSet;
use super::samples::Columns;
use super::segment::{Effort, Segment, SegmentError, SegmentWriter, SeriesScan, Target};
use crate::model::Labels;
use crate::read::SpanMs;
use crate::segment::SegmentMeta;

/// Merges segments, whose rows all lie in `window`, into one of `level`: a streaming merge that
/// holds the rows of one series at a time, its histograms among them, and a few thousand series of each input. Of equal times the input with the highest sequence
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
        runs.push(SeriesScan::new(&segment)?);
    }
    let mut writer = SegmentWriter::create(target, window, level, Effort::Small)?;
    let (mut columns, mut scratch) = (Columns::default(), Vec::new());
    while let Some(series) = least(&runs) {
        columns.clear();
        for run in runs.iter_mut().filter(|run| run.series() == Some(&series)) {
            run.read(&mut columns)?;
        }
        columns.last_write_wins(&mut scratch);
        writer.push(series.iter(), columns.samples())?;
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

// Returns the series that comes next. Mostly all inputs stand at it, and bytes tell that faster than the order does.
fn least(runs: &[SeriesScan]) -> Option<Labels> {
    let mut least: Option<&Labels> = None;
    for series in runs.iter().filter_map(SeriesScan::series) {
        if least.is_none_or(|least| series != least && series < least) {
            least = Some(series);
        }
    }
    least.cloned()
}

fn in_order_of_writing(inputs: &[Arc<Segment>]) -> Vec<Arc<Segment>> {
    let mut inputs = inputs.to_vec();
    inputs.sort_by_key(|s| (s.meta().sequence, s.meta().id));
    inputs
}
