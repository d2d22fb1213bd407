//! Which segments to merge: pure, so that it can be tested on what no clock would bring.

use std::collections::BTreeMap;

use crate::metrics::segment::{WINDOW_MS, window_of};
use crate::model::TenantId;
use crate::read::SpanMs;
use crate::segment::{SegmentId, SegmentMeta, Table};

pub(super) const DAY_MS: i64 = 24 * 3_600_000;

/// Segments of one level in one window that are merged as soon as there are so many. With one
/// sealing every half hour a window has four, so this is for heads that fill up faster; each row
/// is rewritten once per factor of this.
const FAN_IN: usize = 8;

/// So many segments of one level in one window mean that merging is far behind.
const CROWD: usize = 8 * FAN_IN;

/// After a window's end late data is likely for so long; merging before would be done twice.
const HOURS_GRACE_MS: i64 = 15 * 60_000;
const DAY_GRACE_MS: i64 = 3 * 3_600_000;

/// How eagerly to merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eagerness {
    /// What pays for itself.
    Background,
    /// Until every window has one segment.
    Full,
}

/// One merge to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Merge {
    pub(super) tenant: TenantId,
    pub(super) table: Table,
    pub(super) inputs: Vec<SegmentId>,
    pub(super) window: SpanMs,
    pub(super) level: u8,
}

/// Finds the next merge, if one is due.
///
/// Its inputs are always neighbours in order of sequence among the segments of their window, so
/// that the output can take the place of all of them in the order of writes.
pub(super) fn next_merge<'a>(
    segments: impl IntoIterator<Item = &'a SegmentMeta>,
    now_ms: i64,
    eagerness: Eagerness,
) -> Option<Merge> {
    let mut days: BTreeMap<(&TenantId, Table, i64), Vec<&SegmentMeta>> = BTreeMap::new();
    for meta in segments {
        let day = window_of(meta.window.start, DAY_MS).start;
        days.entry((&meta.tenant, meta.table, day)).or_default().push(meta);
    }
    days.values_mut().find_map(|day| {
        day.sort_by_key(|meta| (meta.sequence, meta.id));
        merge_in_day(day, now_ms, eagerness)
    })
}

/// Tells whether some window has so many unmerged segments that reads suffer.
pub(super) fn is_crowded(segments: &[SegmentMeta]) -> bool {
    let mut counts: BTreeMap<(&TenantId, Table, i64, u8), usize> = BTreeMap::new();
    for meta in segments {
        *counts.entry((&meta.tenant, meta.table, meta.window.start, meta.level)).or_default() += 1;
    }
    counts.into_values().any(|n| n >= CROWD)
}

fn merge_in_day(day: &[&SegmentMeta], now_ms: i64, eagerness: Eagerness) -> Option<Merge> {
    let window = window_of(day.first()?.window.start, DAY_MS);
    let grace = if eagerness == Eagerness::Full { 0 } else { DAY_GRACE_MS };
    // A window that ends at the end of time is never over.
    let is_over = window.end.saturating_add(grace) < now_ms;
    if is_over && pays(day, eagerness) {
        return Some(merge_of(day, window));
    }
    if is_over {
        return None;
    }
    let mut windows: BTreeMap<i64, Vec<&SegmentMeta>> = BTreeMap::new();
    for meta in day {
        // A segment of a whole day is merged with others once the day is over (again).
        if meta.window.end - meta.window.start < WINDOW_MS {
            windows.entry(meta.window.start).or_default().push(meta);
        }
    }
    windows.values().find_map(|inside| merge_in_window(inside, now_ms, eagerness))
}

fn merge_in_window(inside: &[&SegmentMeta], now_ms: i64, eagerness: Eagerness) -> Option<Merge> {
    let window = inside.first()?.window;
    let is_over = window.end.saturating_add(HOURS_GRACE_MS) < now_ms;
    if (is_over || eagerness == Eagerness::Full) && pays(inside, eagerness) {
        return Some(merge_of(inside, window));
    }
    let highest = inside.iter().map(|meta| meta.level).max()?;
    (0..=highest).find_map(|level| {
        // Lower levels are newer, so those of one level are neighbours.
        let same: Vec<&SegmentMeta> = inside.iter().filter(|meta| meta.level == level).copied().collect();
        (same.len() >= FAN_IN).then(|| merge_of(&same, window))
    })
}

/// Tells whether merging all of these is worth rewriting the largest.
fn pays(segments: &[&SegmentMeta], eagerness: Eagerness) -> bool {
    if segments.len() < 2 {
        return false;
    }
    let all: u64 = segments.iter().map(|meta| meta.n_rows).sum();
    let largest = segments.iter().map(|meta| meta.n_rows).max().unwrap_or(0);
    eagerness == Eagerness::Full || segments.len() >= FAN_IN || (all - largest) * 10 >= largest
}

fn merge_of(inputs: &[&SegmentMeta], window: SpanMs) -> Merge {
    let first = inputs[0];
    let level = inputs.iter().map(|meta| meta.level).max().unwrap_or(0).saturating_add(1);
    Merge {
        tenant: first.tenant.clone(),
        table: first.table,
        inputs: inputs.iter().map(|meta| meta.id).collect(),
        window,
        level,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn segment(id: u64, window: SpanMs, level: u8, n_rows: u64) -> SegmentMeta {
        SegmentMeta {
            id: SegmentId(id),
            tenant: TenantId::default(),
            table: Table::Metrics,
            level,
            window,
            span: window,
            n_rows,
            n_series: 1,
            sequence: id,
            files: Vec::new(),
        }
    }

    fn hours(start: i64) -> SpanMs {
        window_of(start * HOUR, WINDOW_MS)
    }

    #[track_caller]
    fn check(segments: &[SegmentMeta], now_h: f64, eagerness: Eagerness, want: &[u64]) {
        let merge = next_merge(segments, (now_h * HOUR as f64) as i64, eagerness);
        let got: Vec<u64> = merge.iter().flat_map(|m| m.inputs.iter().map(|id| id.0)).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn windows_are_merged_when_they_are_over_and_days_after_them() {
        let mut all =
            vec![segment(1, hours(0), 0, 5), segment(2, hours(0), 0, 5), segment(3, hours(2), 0, 5)];
        check(&all, 1.9, Eagerness::Background, &[]);
        check(&all, 1.9, Eagerness::Full, &[1, 2]);
        check(&all, 2.5, Eagerness::Background, &[1, 2]);
        check(&all, 26.0, Eagerness::Background, &[1, 2]);
        check(&all, 27.5, Eagerness::Background, &[1, 2, 3]);
        check(&all, 24.5, Eagerness::Full, &[1, 2, 3]);
        all.truncate(1);
        check(&all, 90.0, Eagerness::Full, &[]);
    }

    #[test]
    fn a_little_late_data_does_not_rewrite_a_day_each_time() {
        let day = window_of(0, DAY_MS);
        let mut all = vec![segment(1, day, 2, 1000)];
        for id in 2..=7 {
            all.push(segment(id, hours(4), 0, 1));
            check(&all, 99.0, Eagerness::Background, &[]);
        }
        check(&all, 99.0, Eagerness::Full, &[1, 2, 3, 4, 5, 6, 7]);
        all.push(segment(8, hours(4), 0, 1));
        check(&all, 99.0, Eagerness::Background, &[1, 2, 3, 4, 5, 6, 7, 8]);
        check(
            &[segment(1, day, 2, 1000), segment(2, hours(2), 0, 100)],
            99.0,
            Eagerness::Background,
            &[1, 2],
        );
    }

    #[test]
    fn many_of_one_level_are_merged_before_the_window_is_over() {
        let mut all: Vec<_> = (1..=7).map(|id| segment(id, hours(0), 0, 5)).collect();
        all.insert(0, segment(0, hours(0), 1, 40));
        check(&all, 1.0, Eagerness::Background, &[]);
        all.push(segment(8, hours(0), 0, 5));
        check(&all, 1.0, Eagerness::Background, &[1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_crowded_window_is_noticed_and_can_be_merged() {
        let all: Vec<_> = (1..=64).map(|id| segment(id, hours(0), 0, 5)).collect();
        assert!(is_crowded(&all) && !is_crowded(&all[1..]));
        assert_eq!(next_merge(&all, HOUR, Eagerness::Background).unwrap().inputs.len(), 64);
    }

    proptest! {
        #[test]
        fn merging_ends_with_one_segment_a_window_and_keeps_neighbours(
            starts in proptest::collection::vec((0i64..48, 0u64..2000), 1..40),
            now_h in 0i64..80,
            full in any::<bool>(),
        ) {
            let eagerness = if full { Eagerness::Full } else { Eagerness::Background };
            let mut all: Vec<SegmentMeta> =
                starts.iter().zip(1..).map(|(&(start, rows), id)| segment(id, hours(start), 0, rows)).collect();
            let rows: u64 = all.iter().map(|m| m.n_rows).sum();
            let mut next_id = 1000;
            let mut steps = 0;
            while let Some(merge) = next_merge(&all, now_h * HOUR, eagerness) {
                steps += 1;
                prop_assert!(steps < 200, "merging does not end");
                let (inputs, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|m| merge.inputs.contains(&m.id));
                prop_assert!(inputs.len() >= 2);
                let (low, high) =
                    (inputs.iter().map(|m| m.sequence).min().unwrap(), inputs.iter().map(|m| m.sequence).max().unwrap());
                for other in &rest {
                    let overlaps = other.window.start <= merge.window.end && merge.window.start <= other.window.end;
                    prop_assert!(!overlaps || other.sequence < low || other.sequence > high);
                }
                let mut output = segment(next_id, merge.window, merge.level, inputs.iter().map(|m| m.n_rows).sum());
                output.sequence = high;
                next_id += 1;
                all = rest;
                all.push(output);
            }
            prop_assert_eq!(all.iter().map(|m| m.n_rows).sum::<u64>(), rows);
            if full {
                let mut windows: Vec<_> = all.iter().map(|m| m.window.start).collect();
                let n = windows.len();
                windows.sort_unstable();
                windows.dedup();
                prop_assert_eq!(windows.len(), n);
            }
        }
    }
}
