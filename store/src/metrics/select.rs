//! One answer from head, frozen heads and segments.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::exemplars::{ExemplarMap, ExemplarSet};
use super::head::{FrozenHead, Head};
use super::histograms::weight;
use super::registry::{IndexView, Slot};
use super::rollup::Keeps;
use super::samples::{Columns, ReadScratch};
use super::segment::{RollupReader, RowReader, Segment, SegmentIndex};
use super::series_table::SeriesTable;
use crate::model::{Exemplar, Labels, Matcher};
use crate::read::{Budget, ReadError, Samples, Select, Selection, SpanMs, WholeBuckets, is_stale};

/// What a reader sees of one tenant's metrics: every row exactly once.
#[derive(Clone, Debug)]
pub struct TenantMetrics {
    /// Takes what comes in.
    pub head: Arc<Head>,
    /// Being sealed, oldest first.
    pub frozen: Vec<FrozenHead>,
    /// Sealed, in any order.
    pub segments: Vec<Arc<Segment>>,
    /// What cannot be read, one sentence a segment.
    pub missing: Vec<(SpanMs, String)>,
}

/// Something that holds samples.
#[derive(Debug)]
enum Part {
    /// With whether nothing else has samples in its time.
    Segment(Arc<Segment>, Arc<SegmentIndex>, bool),
    Head(Arc<Head>, Vec<Slot>),
}

/// A series that was found, and the last of its places in the list of all.
#[derive(Debug)]
struct Found {
    labels: Labels,
    last_place: u32,
}

/// Where a series is in one part, and the place before it.
#[derive(Clone, Copy, Debug)]
struct Place {
    part: u32,
    // Series of a segment, or position in the slots of a head.
    id: u32,
    before: u32,
}

const NONE: u32 = u32::MAX;
// Samples that are read between two looks at the budget: well under half a millisecond's work.
const CHARGE_EVERY: usize = 32 << 10;

/// Series found over a snapshot.
#[derive(Debug)]
struct Selected {
    parts: Vec<Part>,
    labels: Vec<Labels>,
    // Places of each series, oldest first.
    ends: Vec<u32>,
    places: Vec<(u32, u32)>,
    span: SpanMs,
    buckets: Option<WholeBuckets>,
    missing: Vec<String>,
}

fn overlap(a: SpanMs, b: SpanMs) -> bool {
    a.start <= b.end && b.start <= a.end
}

impl TenantMetrics {
    /// Finds series; see [`MetricSource::select`](crate::read::MetricSource::select) and
    /// [`MetricSource::select_buckets`](crate::read::MetricSource::select_buckets).
    ///
    /// # Errors
    /// [`ReadError`] when a limit is passed, the work was cancelled or an index cannot be read.
    pub fn select(
        &self,
        select: &Select<'_>,
        buckets: Option<WholeBuckets>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        let mut union = Union::default();
        let mut parts = Vec::new();
        for segment in self.segments_in(select.span) {
            let index = segment.index()?;
            let ids = series_of(&index, select.matchers, select.span);
            if !ids.is_empty() {
                union.add(parts.len() as u32, &TableSeries { table: &index.table, ids: &ids }, budget)?;
                let alone = buckets.is_some() && self.is_alone(&segment);
                parts.push(Part::Segment(segment, index, alone));
            }
            budget.check()?;
        }
        for head in self.heads() {
            let view = head.registry().view();
            let (ids, fresh) = series_of_head(head, &view, select.matchers, select.span);
            let mut slots: Vec<Slot> = ids.iter().map(|&id| view.slots[id as usize]).collect();
            let part = parts.len() as u32;
            union.add(part, &HeadSeries(TableSeries { table: &view.table, ids: &ids }), budget)?;
            union.add(part, &FreshSeries { series: &fresh, first_id: slots.len() as u32 }, budget)?;
            slots.extend(fresh.iter().map(|f| f.1));
            if !slots.is_empty() {
                parts.push(Part::Head(head.clone(), slots));
            }
        }
        let missing = self.missing_in(select.span);
        Ok(Box::new(union.finish(parts, select.span, buckets, missing)))
    }

    /// Returns the times of the first and the last sample.
    pub fn bounds(&self) -> Option<SpanMs> {
        let segments = self.segments.iter().map(|segment| segment.meta().span);
        let spans = segments.chain(self.heads().filter_map(|head| head.span()));
        spans.reduce(|a, b| SpanMs { start: a.start.min(b.start), end: a.end.max(b.end) })
    }

    /// Returns how many chunks there are: one for each series of each head and segment.
    pub fn n_chunks(&self) -> u64 {
        let sealed: u64 = self.segments.iter().map(|segment| segment.meta().n_series).sum();
        sealed + self.heads().map(|head| head.n_series() as u64).sum::<u64>()
    }

    /// Marks what a span is made of; see [`MetricSource::settled`](crate::read::MetricSource::settled).
    pub fn settled(&self, span: SpanMs) -> Option<Vec<u64>> {
        if self.heads().filter_map(|head| head.span()).any(|head| overlap(head, span)) {
            return None;
        }
        // Ids are never used twice, and what has one never changes.
        let within = self.segments.iter().filter(|segment| overlap(segment.meta().span, span));
        let mut ids: Vec<u64> = within.map(|segment| segment.meta().id.0).collect();
        ids.sort_unstable();
        Some(ids)
    }

    /// Names labels; see [`MetricSource::label_names`](crate::read::MetricSource::label_names).
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        let mut names = BTreeSet::new();
        let mut add = |name: &str| {
            if !names.contains(name) {
                names.insert(name.to_string());
            }
        };
        self.for_each_table(sets, span, budget, |table, ids, fresh| {
            table.names_of(ids, &mut add);
            fresh.iter().flat_map(|(labels, _)| labels.iter()).for_each(|(name, _)| add(name));
        })?;
        Ok(names.into_iter().collect())
    }

    /// Lists a label's values; see [`MetricSource::label_values`](crate::read::MetricSource::label_values).
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        let mut values = BTreeSet::new();
        let mut add = |value: &str| {
            if !values.contains(value) {
                values.insert(value.to_string());
            }
        };
        self.for_each_table(sets, span, budget, |table, ids, fresh| {
            table.values_of(name, ids, &mut add);
            fresh.iter().filter_map(|(labels, _)| labels.get(name)).for_each(&mut add);
        })?;
        Ok(values.into_iter().collect())
    }

    /// Finds exemplars; see [`MetricSource::exemplars`](crate::read::MetricSource::exemplars).
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        let matches = |series: &Labels| {
            sets.is_empty() || sets.iter().any(|set| set.iter().all(|m| m.matches_labels(series)))
        };
        let mut found = ExemplarMap::new();
        let mut add = |series: &Labels, set: &ExemplarSet| {
            if !matches(series) || !set.times().any(|t| span.start <= t && t <= span.end) {
                return Ok(());
            }
            if !found.contains_key(series) {
                budget.charge_series(1)?;
            }
            let n_new = found.entry(series.clone()).or_default().extend_within(set, span);
            budget.charge_samples(n_new)
        };
        for segment in self.segments_in(span) {
            let Some(mut reader) = segment.exemplars(span)? else { continue };
            while let Some((series, set)) = reader.next_series()? {
                add(&series, &set)?;
            }
            budget.check()?;
        }
        for head in self.heads() {
            head.exemplars().iter().try_for_each(|(series, set)| add(series, set))?;
            budget.check()?;
        }
        Ok(found.into_iter().map(|(series, set)| (series, set.into_list())).collect())
    }

    // Calls `f` with each table and those of its series that match any set; `None` is all of them.
    fn for_each_table(
        &self,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
        mut f: impl FnMut(&SeriesTable, Option<&[u32]>, &[(Labels, Slot)]),
    ) -> Result<(), ReadError> {
        let everything = [Vec::new()];
        let sets = if sets.is_empty() { &everything } else { sets };
        let all = sets.iter().any(Vec::is_empty);
        for segment in self.segments_in(span) {
            let index = segment.index()?;
            let inside = span.start <= segment.meta().span.start && segment.meta().span.end <= span.end;
            if all && inside {
                f(&index.table, None, &[]);
            } else {
                for set in sets {
                    f(&index.table, Some(&series_of(&index, set, span)), &[]);
                }
            }
            budget.check()?;
        }
        for head in self.heads() {
            let view = head.registry().view();
            for set in sets {
                let (ids, fresh) = series_of_head(head, &view, set, span);
                f(&view.table, Some(&ids), &fresh);
            }
            budget.check()?;
        }
        Ok(())
    }

    fn heads(&self) -> impl Iterator<Item = &Arc<Head>> {
        self.frozen.iter().map(FrozenHead::head).chain([&self.head])
    }

    // In order of writing; or in order of time, which spares readers the sorting, where it is all the same.
    fn segments_in(&self, span: SpanMs) -> Vec<Arc<Segment>> {
        let within = |s: &&Arc<Segment>| overlap(s.meta().span, span);
        let mut segments: Vec<_> = self.segments.iter().filter(within).cloned().collect();
        segments.sort_by_key(|s| s.meta().span.start);
        if !segments.is_sorted_by(|a, b| a.meta().span.end < b.meta().span.start) {
            segments.sort_by_key(|s| (s.meta().sequence, s.meta().id));
        }
        segments
    }

    // Tells whether nothing else has samples in the time of a segment's.
    fn is_alone(&self, segment: &Arc<Segment>) -> bool {
        let span = segment.meta().span;
        let others = self.segments.iter().filter(|other| !Arc::ptr_eq(other, segment));
        !others.map(|other| other.meta().span).any(|other| overlap(other, span))
            && !self.heads().filter_map(|head| head.span()).any(|head| overlap(head, span))
    }

    fn missing_in(&self, span: SpanMs) -> Vec<String> {
        self.missing.iter().filter(|m| overlap(m.0, span)).map(|m| m.1.clone()).collect()
    }
}

pub(super) fn series_of(index: &SegmentIndex, matchers: &[Matcher], span: SpanMs) -> Vec<u32> {
    let mut ids = index.table.select(matchers);
    ids.retain(|&id| overlap(index.rows[id as usize].span, span));
    ids
}

fn series_of_head(
    head: &Head,
    view: &IndexView,
    matchers: &[Matcher],
    span: SpanMs,
) -> (Vec<u32>, Vec<(Labels, Slot)>) {
    if !head.span().is_some_and(|s| overlap(s, span)) {
        return (Vec::new(), Vec::new());
    }
    let mut ids = view.table.select(matchers);
    let mut fresh: Vec<(Labels, Slot)> =
        view.fresh.iter().filter(|f| matchers.iter().all(|m| m.matches_labels(&f.0))).cloned().collect();
    let locked = head.lock();
    ids.retain(|&id| locked.may_have(view.slots[id as usize], span));
    fresh.retain(|f| locked.may_have(f.1, span));
    drop(locked);
    fresh.sort_by(|a, b| a.0.cmp(&b.0));
    (ids, fresh)
}

/// Series of one part, in the order of their label sets.
trait SeriesList {
    fn len(&self) -> usize;
    fn cmp(&self, i: usize, labels: &Labels) -> Ordering;
    fn labels(&self, i: usize) -> Labels;
    fn id(&self, i: usize) -> u32;
}

struct TableSeries<'a> {
    table: &'a SeriesTable,
    ids: &'a [u32],
}

impl SeriesList for TableSeries<'_> {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn cmp(&self, i: usize, labels: &Labels) -> Ordering {
        self.table.cmp(self.ids[i], labels)
    }

    fn labels(&self, i: usize) -> Labels {
        self.table.labels(self.ids[i])
    }

    fn id(&self, i: usize) -> u32 {
        self.ids[i]
    }
}

/// Series of a head: named by their position among the slots that were found.
struct HeadSeries<'a>(TableSeries<'a>);

impl SeriesList for HeadSeries<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn cmp(&self, i: usize, labels: &Labels) -> Ordering {
        self.0.cmp(i, labels)
    }

    fn labels(&self, i: usize) -> Labels {
        self.0.labels(i)
    }

    fn id(&self, i: usize) -> u32 {
        i as u32
    }
}

struct FreshSeries<'a> {
    series: &'a [(Labels, Slot)],
    first_id: u32,
}

impl SeriesList for FreshSeries<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn cmp(&self, i: usize, labels: &Labels) -> Ordering {
        self.series[i].0.cmp(labels)
    }

    fn labels(&self, i: usize) -> Labels {
        self.series[i].0.clone()
    }

    fn id(&self, i: usize) -> u32 {
        self.first_id + i as u32
    }
}

/// The union of series of several parts, built part by part.
#[derive(Debug, Default)]
struct Union {
    found: Vec<Found>,
    places: Vec<Place>,
}

impl Union {
    /// Merges a part's series into those found before.
    fn add(&mut self, part: u32, list: &impl SeriesList, budget: &Budget) -> Result<(), ReadError> {
        if list.len() == 0 {
            return Ok(());
        }
        let n_before = self.found.len();
        let mut old = std::mem::replace(&mut self.found, Vec::with_capacity(n_before.max(list.len())));
        if n_before == 0 {
            // Before their labels are made: this may be all that there are.
            budget.charge_series(list.len())?;
        }
        let mut old = old.drain(..).peekable();
        for i in 0..list.len() {
            let mut before = NONE;
            let mut labels = None;
            while let Some(next) = old.peek() {
                match list.cmp(i, &next.labels) {
                    Ordering::Greater => self.found.extend(old.next()),
                    Ordering::Less => break,
                    Ordering::Equal => {
                        before = next.last_place;
                        labels = old.next().map(|found| found.labels);
                        break;
                    }
                }
            }
            let last_place = self.places.len() as u32;
            self.places.push(Place { part, id: list.id(i), before });
            let labels = labels.unwrap_or_else(|| list.labels(i));
            self.found.push(Found { labels, last_place });
        }
        self.found.extend(old);
        if n_before > 0 {
            budget.charge_series(self.found.len() - n_before)?;
        }
        Ok(())
    }

    fn finish(
        self,
        parts: Vec<Part>,
        span: SpanMs,
        buckets: Option<WholeBuckets>,
        missing: Vec<String>,
    ) -> Selected {
        let mut ends = Vec::with_capacity(self.found.len());
        let mut places = Vec::with_capacity(self.places.len());
        let mut labels = Vec::with_capacity(self.found.len());
        for found in self.found {
            let start = places.len();
            let mut at = found.last_place;
            while let Some(place) = self.places.get(at as usize) {
                places.push((place.part, place.id));
                at = place.before;
            }
            places[start..].reverse();
            ends.push(places.len() as u32);
            labels.push(found.labels);
        }
        Selected { parts, labels, ends, places, span, buckets, missing }
    }
}

/// What one call of `read` keeps from one series to the next.
#[derive(Default)]
struct Reading {
    readers: Vec<Option<RowReader>>,
    /// `Some(None)` where there is no rollup.
    rollups: Vec<Option<Option<RollupReader>>>,
    /// Samples read from rollups, and how many they stand for.
    n_rolled: (u64, u64),
    scratch: ReadScratch,
    sorted: Vec<(i64, f64)>,
    columns: Columns,
}

impl Selected {
    fn read_series(&self, i: usize, reading: &mut Reading, budget: &Budget) -> Result<(), ReadError> {
        self.read_parts(i, self.buckets, reading, budget)?;
        if !reading.columns.counts.is_empty() && !reading.columns.histograms.is_empty() {
            // What numbers among histograms answer depends on each of them.
            self.read_parts(i, None, reading, budget)?;
        }
        Ok(())
    }

    fn read_parts(
        &self,
        i: usize,
        buckets: Option<WholeBuckets>,
        reading: &mut Reading,
        budget: &Budget,
    ) -> Result<(), ReadError> {
        reading.columns.clear();
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        let places = &self.places[start as usize..self.ends[i] as usize];
        for &(part, id) in places {
            let before = reading.columns.t_ms.len();
            if let (Part::Segment(segment, index, alone), Some(buckets)) =
                (&self.parts[part as usize], buckets)
                && (*alone || self.is_alone(places, part, index.rows[id as usize].span))
                && self.read_rollup((part as usize, segment), id, buckets, reading)
            {
                continue;
            }
            let columns = &mut reading.columns;
            let n_before = columns.histograms.len();
            match &self.parts[part as usize] {
                Part::Segment(segment, index, _) => reading.readers[part as usize]
                    .get_or_insert_with(|| RowReader::new(segment.clone(), index.places.clone()))
                    .read(id, &index.rows[id as usize], self.span, columns)?,
                Part::Head(head, slots) => {
                    head.read(slots[id as usize], self.span, &mut reading.scratch, columns);
                }
            }
            if !columns.counts.is_empty() {
                let stale = columns.values[before..].iter().map(|v| u32::from(!is_stale(*v)));
                columns.counts.extend(stale);
            }
            let histograms = &columns.histograms[n_before..];
            if !histograms.is_empty() {
                // A part is a day at most; a series of years would fill the memory before its samples are counted.
                budget.charge_samples(histograms.iter().map(|(_, h)| weight(h)).sum())?;
            }
        }
        if places.len() > 1 {
            reading.columns.last_write_wins(&mut reading.sorted);
        }
        Ok(())
    }

    /// Tells whether a series has no samples in a span but in one part: a rollup knows only that part's.
    fn is_alone(&self, places: &[(u32, u32)], part: u32, span: SpanMs) -> bool {
        let has = |&(other, id): &(u32, u32)| match &self.parts[other as usize] {
            Part::Segment(_, index, _) => overlap(index.rows[id as usize].span, span),
            Part::Head(head, slots) => {
                head.span().is_some_and(|all| overlap(all, span))
                    && head.lock().may_have(slots[id as usize], span)
            }
        };
        !places.iter().filter(|place| place.0 != part).any(has)
    }

    /// Reads a series of a segment from its rollup; `false` where that does not say what is asked.
    fn read_rollup(
        &self,
        (part, segment): (usize, &Segment),
        id: u32,
        buckets: WholeBuckets,
        reading: &mut Reading,
    ) -> bool {
        let Some(rollup) = reading.rollups[part].get_or_insert_with(|| segment.rollup(buckets)) else {
            return false;
        };
        let kept = match rollup.series(id) {
            Ok(Some((keeps, kept))) if keeps == Keeps::Falls || !buckets.falls => kept,
            Ok(_) => return false,
            Err(error) => {
                segment.lose_rollup(&error);
                reading.rollups[part] = Some(None);
                return false;
            }
        };
        let columns = &mut reading.columns;
        if columns.counts.is_empty() {
            columns.counts.extend(columns.values.iter().map(|v| u32::from(!is_stale(*v))));
        }
        let within = kept.t_ms.partition_point(|t| *t < self.span.start)
            ..kept.t_ms.partition_point(|t| *t <= self.span.end);
        reading.n_rolled.0 += within.len() as u64;
        reading.n_rolled.1 += kept.counts[within.clone()].iter().map(|n| u64::from(*n)).sum::<u64>();
        kept.append_to(within, columns);
        true
    }
}

impl Selection for Selected {
    fn series(&self) -> &[Labels] {
        &self.labels
    }

    fn read(
        &self,
        series: Range<usize>,
        budget: &Budget,
        sink: &mut dyn FnMut(usize, Samples<'_>),
    ) -> Result<(), ReadError> {
        let mut reading = Reading::default();
        reading.readers.resize_with(self.parts.len(), || None);
        reading.rollups.resize_with(self.parts.len(), || None);
        let mut n_read = 0;
        for i in series {
            self.read_series(i, &mut reading, budget)?;
            n_read += reading.columns.t_ms.len();
            if n_read >= CHARGE_EVERY {
                budget.charge_samples(std::mem::take(&mut n_read))?;
            }
            sink(i, reading.columns.samples());
        }
        budget.note_rolled(reading.n_rolled.0, reading.n_rolled.1);
        budget.charge_samples(n_read)
    }

    fn missing(&self) -> Vec<String> {
        self.missing.clone()
    }
}
