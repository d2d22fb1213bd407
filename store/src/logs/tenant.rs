//! One answer from head, frozen heads and segments.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use super::counting::{Groups, KeyReader, Keys, interval_reader};
use super::eval::{all_match, field_text};
use super::fields::{self, FieldAt};
use super::head::{FrozenHead, Head};
use super::patterns::SharedTemplates;
use super::query::{Query, number};
use super::rows::{Block, MemoryBlock, Tables};
use super::segment::Segment;
use super::selector::{Selected, Selector, Source};
use super::source::{
    Counts, Flow, FoundRecord, GroupBy, Intervals, LogPage, LogSelect, Missing, Numbers, Order, PageRequest,
    PatternCount, Patterns, RecordId,
};
use crate::model::{Labels, Matcher, TimeRange, Timestamp};
use crate::pattern::TemplateId;
use crate::read::{Budget, ReadError, SpanMs};

/// What a reader sees of one tenant's log records: every record exactly once.
#[derive(Clone, Debug)]
pub struct TenantLogs {
    /// Takes what comes in.
    pub head: Arc<Head>,
    /// Being sealed, oldest first.
    pub frozen: Vec<FrozenHead>,
    /// Sealed, in any order.
    pub segments: Vec<Arc<Segment>>,
    /// What cannot be read, one sentence a segment.
    pub missing: Vec<(SpanMs, String)>,
    /// The tenant's templates.
    pub templates: Arc<SharedTemplates>,
}

impl TenantLogs {
    /// Finds a page of records; see [`LogSource::search`](super::LogSource::search).
    ///
    /// # Errors
    /// [`ReadError`] when a limit is passed or the work was cancelled.
    pub fn search(
        &self,
        select: &LogSelect,
        page: &PageRequest,
        budget: &Budget,
    ) -> Result<LogPage, ReadError> {
        let mut records = Vec::new();
        let mut next = None;
        let missing = self.sweep(select, page.order, page.after, budget, &mut |record| {
            if records.len() == page.limit {
                next = records.last().map(|r: &FoundRecord| r.id);
                return Flow::Stop;
            }
            records.push(record);
            Flow::Continue
        })?;
        Ok(LogPage { records, next, missing })
    }

    /// Hands every record to `sink`; see [`LogSource::scan`](super::LogSource::scan).
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn scan(
        &self,
        select: &LogSelect,
        order: Order,
        budget: &Budget,
        sink: &mut dyn FnMut(FoundRecord) -> Flow,
    ) -> Result<Missing, ReadError> {
        self.sweep(select, order, None, budget, sink)
    }

    /// Hands every record behind `after` to `sink`, as [`scan`](Self::scan) does. Walks the sources in order of time,
    /// and hands on what no later source can come before.
    pub(crate) fn sweep(
        &self,
        select: &LogSelect,
        order: Order,
        after: Option<RecordId>,
        budget: &Budget,
        sink: &mut dyn FnMut(FoundRecord) -> Flow,
    ) -> Result<Missing, ReadError> {
        self.learn();
        let Some(select) = behind(select, order, after) else { return Ok(Missing::new()) };
        let mut sources = self.sources(select.range)?;
        // Times count backwards for the newest first, so that one direction is enough below.
        let key = |t: i64| if order == Order::NewestFirst { !t } else { t };
        let start = |source: &Source| {
            let (first, last) = source.span();
            key(if order == Order::NewestFirst { last } else { first })
        };
        sources.sort_by_key(start);
        let mut selector = Selector::new(&select, budget, &self.templates, self.missing_in(select.range));
        let mut waiting: Vec<(i64, Rc<dyn Block>, u32)> = Vec::new();
        for at in 0..sources.len() {
            if let Some(found) = selector.rows(&sources[at])? {
                let times = found.block.times()?;
                waiting
                    .extend(found.rows.iter().map(|&r| (key(times[r as usize]), Rc::clone(&found.block), r)));
                waiting.sort_by_key(|w| w.0);
            }
            let limit = sources.get(at + 1).map(start);
            let n = limit.map_or(waiting.len(), |limit| waiting.partition_point(|w| w.0 < limit));
            let mut emit = Emit { logs: self, order, after, budget, sink: &mut *sink };
            if emit.records(waiting.drain(..n))? == Flow::Stop {
                break;
            }
        }
        Ok(selector.missing)
    }

    /// Counts records; see [`LogSource::count`](super::LogSource::count).
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn count(
        &self,
        select: &LogSelect,
        intervals: Intervals,
        by: &[GroupBy],
        budget: &Budget,
    ) -> Result<Counts, ReadError> {
        if by.contains(&GroupBy::Template) {
            self.learn();
        }
        let mut groups = Groups::default();
        let missing = self.each(select, budget, &mut |found| {
            let readers: Vec<KeyReader> =
                by.iter().map(|by| self.key_reader(by, found.block.tables())).collect();
            let keys = Keys::new(&*found.block, &readers)?;
            let interval_of = interval_reader(&*found.block, intervals)?;
            groups.start_block();
            for &row in &found.rows {
                let Some(interval) = interval_of(row) else { continue };
                groups.count(&keys, row, interval, intervals.n)?;
            }
            Ok(())
        })?;
        Ok(Counts { groups: groups.finish(), missing })
    }

    /// Collects numbers; see [`LogSource::numbers`](super::LogSource::numbers).
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn numbers(
        &self,
        select: &LogSelect,
        intervals: Intervals,
        field: &str,
        budget: &Budget,
    ) -> Result<Numbers, ReadError> {
        let mut values = vec![Vec::new(); intervals.n];
        let mut text = String::new();
        let missing = self.each(select, budget, &mut |found| {
            let block = &*found.block;
            let at: Vec<FieldAt> = block.tables().shapes.iter().map(|s| fields::find(s, field)).collect();
            let interval_of = interval_reader(block, intervals)?;
            for &row in &found.rows {
                let Some(interval) = interval_of(row) else { continue };
                let row = row as usize;
                text.clear();
                if field_text(block, row, &at[block.shapes()?[row] as usize], field, &mut text)? {
                    values[interval].extend(number(&text));
                }
            }
            Ok(())
        })?;
        Ok(Numbers { values, missing })
    }

    /// Lists templates; see [`LogSource::patterns`](super::LogSource::patterns).
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn patterns(&self, select: &LogSelect, limit: usize, budget: &Budget) -> Result<Patterns, ReadError> {
        self.learn();
        let mut found_by: HashMap<TemplateId, PatternCount> = HashMap::new();
        let missing = self.each(select, budget, &mut |found| {
            let block = &*found.block;
            let shapes = block.shapes()?;
            let severities = block.severities()?;
            let templates: Vec<TemplateId> =
                block.tables().shapes.iter().map(|s| self.templates.of(s)).collect();
            for &row in &found.rows {
                let row = row as usize;
                let template = templates[shapes[row] as usize];
                let entry = match found_by.entry(template) {
                    std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
                    std::collections::hash_map::Entry::Vacant(e) => {
                        let example = Some(self.found(block, row)?);
                        let text = String::new();
                        e.insert(PatternCount { template, text, severity_number: 0, count: 0, example })
                    }
                };
                entry.count += 1;
                entry.severity_number = entry.severity_number.max(severities[row]);
            }
            Ok(())
        })?;
        let mut patterns: Vec<PatternCount> = found_by.into_values().collect();
        patterns.sort_by_key(|p| (std::cmp::Reverse(p.count), p.template));
        patterns.truncate(limit);
        for pattern in &mut patterns {
            let body = || pattern.example.as_ref().map(|e| e.record.body.clone());
            pattern.text = self.template_text(pattern.template).or_else(body).unwrap_or_default();
        }
        Ok(Patterns { patterns, missing })
    }

    /// Finds a record's neighbours; see [`LogSource::context`](super::LogSource::context).
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn context(
        &self,
        id: RecordId,
        before: usize,
        after: usize,
        budget: &Budget,
    ) -> Result<LogPage, ReadError> {
        let end = Timestamp::from_nanos(id.time.as_nanos().saturating_add(1));
        let Ok(instant) = TimeRange::new(id.time, end) else { return Ok(LogPage::default()) };
        let mut select = LogSelect { query: Query::all(), matchers: Vec::new(), range: instant };
        let mut here = None;
        let missing = self.scan(&select, Order::OldestFirst, budget, &mut |record| {
            if record.id != id {
                return Flow::Continue;
            }
            here = Some(record);
            Flow::Stop
        })?;
        let Some(here) = here else { return Ok(LogPage { missing, ..LogPage::default() }) };
        let labels = here.record.labels.clone();
        select.range = TimeRange::ALL;
        select.matchers = labels.iter().map(|(n, v)| Matcher::equal(n, v)).collect();
        let neighbours = |order: Order, n: usize| -> Result<Vec<FoundRecord>, ReadError> {
            let mut found = Vec::new();
            if n > 0 {
                self.sweep(&select, order, Some(id), budget, &mut |record| {
                    // Matchers say nothing of further labels.
                    if record.record.labels == labels {
                        found.push(record);
                    }
                    if found.len() == n { Flow::Stop } else { Flow::Continue }
                })?;
            }
            Ok(found)
        };
        let mut records = neighbours(Order::NewestFirst, before)?;
        records.reverse();
        records.push(here);
        records.extend(neighbours(Order::OldestFirst, after)?);
        Ok(LogPage { records, next: None, missing })
    }

    /// Lists streams; see [`LogSource::streams`](super::LogSource::streams).
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn streams(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Vec<Labels>, ReadError> {
        let mut out = BTreeSet::new();
        let mut add = |tables: &Tables| -> Result<(), ReadError> {
            budget.check()?;
            let chosen = |labels: &&Labels| sets.is_empty() || sets.iter().any(|set| all_match(set, labels));
            out.extend(tables.streams.iter().filter(chosen).cloned());
            Ok(())
        };
        for head in self.heads() {
            let blocks = head.blocks();
            if blocks.iter().any(|b| overlaps(b.span(), range))
                && let Some(last) = blocks.last()
            {
                add(&last.tables)?;
            }
        }
        for segment in &self.segments {
            if !overlaps(segment.span(), range) {
                continue;
            }
            add(segment.tables()?)?;
        }
        budget.charge_series(out.len())?;
        Ok(out.into_iter().collect())
    }

    /// Returns a template's text.
    pub fn template_text(&self, id: TemplateId) -> Option<String> {
        self.learn();
        self.templates.text(id)
    }

    /// Calls `visit` with the selected rows of each source, the newest source first.
    fn each(
        &self,
        select: &LogSelect,
        budget: &Budget,
        visit: &mut dyn FnMut(Selected) -> Result<(), ReadError>,
    ) -> Result<Missing, ReadError> {
        if select.query.names_field(fields::PATTERN) {
            self.learn();
        }
        let mut sources = self.sources(select.range)?;
        sources.sort_by_key(|s| std::cmp::Reverse(s.span().1));
        let mut selector = Selector::new(select, budget, &self.templates, self.missing_in(select.range));
        for source in &sources {
            if let Some(found) = selector.rows(source)? {
                visit(found)?;
            }
        }
        Ok(selector.missing)
    }

    fn heads(&self) -> impl Iterator<Item = &Arc<Head>> {
        self.frozen.iter().map(FrozenHead::head).chain([&self.head])
    }

    fn sources(&self, range: TimeRange) -> Result<Vec<Source>, ReadError> {
        let mut out = Vec::new();
        for segment in &self.segments {
            if overlaps(segment.span(), range) {
                let n = segment.n_groups().unwrap_or(1);
                out.extend((0..n).map(|group| Source::Group { segment: Arc::clone(segment), group }));
            }
        }
        for head in self.heads() {
            for (chunk, block) in head.blocks().into_iter().enumerate() {
                if overlaps(block.span(), range) {
                    let hidden = self.hidden(head, chunk, &block)?;
                    out.push(Source::Memory { block, hidden });
                }
            }
        }
        out.retain(|source| overlaps(source.span(), range));
        Ok(out)
    }

    /// Rows of a head's chunk that a segment holds already, sorted. Known once, as neither changes.
    fn hidden(&self, head: &Head, chunk: usize, block: &MemoryBlock) -> Result<Vec<u32>, ReadError> {
        let mut out = Vec::new();
        for segment in &self.segments {
            let (first, last) = segment.span();
            let (block_first, block_last) = block.span();
            if first <= block_last && block_first <= last {
                out.extend(head.held_rows(segment.meta().id, chunk, || segment.rows_held(block))?);
            }
        }
        out.sort_unstable();
        out.dedup();
        Ok(out)
    }

    fn missing_in(&self, range: TimeRange) -> Missing {
        let lies_in = |span: &SpanMs| {
            span.start < range.end().as_millis().saturating_add(1) && range.start().as_millis() <= span.end
        };
        self.missing.iter().filter(|(span, _)| lies_in(span)).map(|(_, why)| why.clone()).collect()
    }

    /// Shows the model the patterns of segments that it has not seen, in the order in which they were
    /// sealed: those of a folder for which no patterns were saved.
    pub(crate) fn learn(&self) {
        let wanted = self.templates.to_learn(self.segments.iter().map(|s| s.meta().id));
        let mut new: Vec<&Arc<Segment>> =
            self.segments.iter().filter(|s| wanted.contains(&s.meta().id)).collect();
        new.sort_by_key(|s| (s.meta().sequence, s.meta().id));
        for segment in new {
            // One that cannot be read now is learned when it can.
            if let Ok(tables) = segment.tables() {
                self.templates.learn(segment.meta().id, tables);
            }
        }
    }

    fn found(&self, block: &dyn Block, row: usize) -> Result<FoundRecord, ReadError> {
        let (id, record) = block.record(row)?;
        let shape = &block.tables().shapes[block.shapes()?[row] as usize];
        Ok(FoundRecord { id, pattern: shape.id, template: self.templates.of(shape), record })
    }

    fn key_reader(&self, by: &GroupBy, tables: &Tables) -> KeyReader {
        match by {
            GroupBy::Field(name) => {
                KeyReader::Field(name.clone(), tables.shapes.iter().map(|s| fields::find(s, name)).collect())
            }
            GroupBy::Severity => KeyReader::Severity,
            GroupBy::Pattern => KeyReader::Shape(tables.shapes.iter().map(|s| s.id.to_string()).collect()),
            GroupBy::Template => {
                KeyReader::Shape(tables.shapes.iter().map(|s| self.templates.of(s).to_string()).collect())
            }
        }
    }
}

fn overlaps(span: (i64, i64), range: TimeRange) -> bool {
    span.0 < range.end().as_nanos() && range.start().as_nanos() <= span.1
}

/// Narrows a select to what lies at or behind a record; `None` when that is nothing.
fn behind(select: &LogSelect, order: Order, after: Option<RecordId>) -> Option<LogSelect> {
    let mut select = select.clone();
    if let Some(after) = after {
        let (start, end) = (select.range.start(), select.range.end());
        let range = match order {
            Order::NewestFirst => {
                TimeRange::new(start, end.min(Timestamp::from_nanos(after.time.as_nanos().saturating_add(1))))
            }
            Order::OldestFirst => TimeRange::new(start.max(after.time), end),
        };
        select.range = range.ok()?;
    }
    Some(select)
}

/// Hands records on, those of one instant in the order of their ids.
struct Emit<'a> {
    logs: &'a TenantLogs,
    order: Order,
    after: Option<RecordId>,
    budget: &'a Budget,
    sink: &'a mut dyn FnMut(FoundRecord) -> Flow,
}

impl Emit<'_> {
    fn records(&mut self, rows: impl Iterator<Item = (i64, Rc<dyn Block>, u32)>) -> Result<Flow, ReadError> {
        let mut rows = rows.peekable();
        let mut tied: Vec<FoundRecord> = Vec::new();
        while let Some((key, block, row)) = rows.next() {
            self.budget.charge_samples(1)?;
            let record = self.logs.found(&*block, row as usize)?;
            if self.is_behind(record.id) {
                tied.push(record);
            }
            if rows.peek().is_some_and(|next| next.0 == key) {
                continue;
            }
            tied.sort_by_key(|r| r.id.hash);
            if self.order == Order::NewestFirst {
                tied.reverse();
            }
            for record in tied.drain(..) {
                if (self.sink)(record) == Flow::Stop {
                    return Ok(Flow::Stop);
                }
            }
        }
        Ok(Flow::Continue)
    }

    fn is_behind(&self, id: RecordId) -> bool {
        match (self.after, self.order) {
            (None, _) => true,
            (Some(after), Order::NewestFirst) => id < after,
            (Some(after), Order::OldestFirst) => id > after,
        }
    }
}
