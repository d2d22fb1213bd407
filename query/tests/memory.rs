//! Sources of metrics and logs in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use greylight_store::append::MetricMetadata;
use greylight_store::logs::{Counts, Numbers, Patterns};
use greylight_store::model::{
    AttributeValue, Exemplar, Histogram, Labels, LogRecord, Matcher, TenantId, TimeRange, Timestamp,
};
use greylight_store::pattern::{PatternId, TemplateId};
use greylight_store::read::{
    Budget, CountGroup, Flow, FoundRecord, GroupBy, Intervals, LogOrder, LogPage, LogSelect, LogSource,
    MetricSource, PageRequest, ReadError, RecordId, Samples, Select, Selection, SpanMs,
};

/// A number, or a histogram beside a NaN.
pub(crate) type Item = (f64, Option<Arc<Histogram>>);

/// Series with their samples by time; every tenant sees the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) series: BTreeMap<Labels, BTreeMap<i64, Item>>,
    pub(crate) metadata: Vec<MetricMetadata>,
    pub(crate) exemplars: BTreeMap<Labels, Vec<Exemplar>>,
    pub(crate) damage: Damage,
}

/// Files that reads find damaged, one a read, as a store does: what each held is missing from then on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damage {
    unknown: Arc<AtomicUsize>,
    known: Arc<AtomicUsize>,
}

impl Damage {
    pub(crate) fn of(n_files: usize) -> Self {
        let damage = Self::default();
        damage.unknown.store(n_files, Ordering::Relaxed);
        damage
    }

    fn meet(&self) -> Result<(), ReadError> {
        let n = self.unknown.load(Ordering::Relaxed);
        if n == 0 {
            return Ok(());
        }
        self.unknown.store(n - 1, Ordering::Relaxed);
        self.known.fetch_add(1, Ordering::Relaxed);
        Err(ReadError::Corrupt { path: format!("{n}.parquet"), detail: "checksum".into() })
    }

    fn missing(&self) -> Vec<String> {
        (0..self.known.load(Ordering::Relaxed)).map(|n| format!("file {n} cannot be read")).collect()
    }
}

impl Memory {
    /// Adds samples; a later value for one time takes the place of the earlier one.
    pub(crate) fn add(&mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        self.series.entry(labels).or_default().extend(samples.into_iter().map(|(t, v)| (t, (v, None))));
    }

    /// Adds native histograms in the same way.
    pub(crate) fn add_histograms(
        &mut self,
        labels: Labels,
        samples: impl IntoIterator<Item = (i64, Arc<Histogram>)>,
    ) {
        let items = samples.into_iter().map(|(t, histogram)| (t, (f64::NAN, Some(histogram))));
        self.series.entry(labels).or_default().extend(items);
    }

    fn matching(&self, sets: &[Vec<Matcher>], span: SpanMs) -> Vec<&Labels> {
        let hit = |labels: &Labels| {
            sets.is_empty() || sets.iter().any(|set| set.iter().all(|m| m.matches_labels(labels)))
        };
        let inside = |items: &BTreeMap<i64, Item>| {
            span.start <= span.end && items.range(span.start..=span.end).next().is_some()
        };
        self.series.iter().filter(|(l, items)| hit(l) && inside(items)).map(|(l, _)| l).collect()
    }
}

#[derive(Debug, Default)]
struct Columns {
    t_ms: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<(usize, Arc<Histogram>)>,
}

#[derive(Debug)]
struct Found {
    damage: Damage,
    labels: Vec<Labels>,
    samples: Vec<Columns>,
}

impl Selection for Found {
    fn series(&self) -> &[Labels] {
        &self.labels
    }

    fn read(
        &self,
        series: Range<usize>,
        budget: &Budget,
        sink: &mut dyn FnMut(usize, Samples<'_>),
    ) -> Result<(), ReadError> {
        self.damage.meet()?;
        for i in series {
            let Columns { t_ms, values, histograms } = &self.samples[i];
            budget.charge_samples(t_ms.len())?;
            sink(i, Samples { t_ms, values, histograms, counts: &[] });
        }
        Ok(())
    }

    fn missing(&self) -> Vec<String> {
        self.damage.missing()
    }
}

impl MetricSource for Memory {
    fn select(
        &self,
        _: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        let mut found = Found { damage: self.damage.clone(), labels: Vec::new(), samples: Vec::new() };
        for (labels, items) in &self.series {
            let SpanMs { start, end } = select.span;
            if start > end || !select.matchers.iter().all(|m| m.matches_labels(labels)) {
                continue;
            }
            let mut columns = Columns::default();
            for (t, (value, histogram)) in items.range(start..=end) {
                columns.histograms.extend(histogram.iter().map(|h| (columns.t_ms.len(), h.clone())));
                columns.t_ms.push(*t);
                columns.values.push(*value);
            }
            if !columns.t_ms.is_empty() {
                found.labels.push(labels.clone());
                found.samples.push(columns);
            }
        }
        budget.charge_series(found.labels.len())?;
        Ok(Box::new(found))
    }

    fn label_names(
        &self,
        _: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        _: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        let found = self.matching(sets, span);
        let names: std::collections::BTreeSet<String> =
            found.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>()).collect();
        Ok(names.into_iter().collect())
    }

    fn label_values(
        &self,
        _: &TenantId,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        _: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        let found = self.matching(sets, span);
        let values: std::collections::BTreeSet<String> =
            found.iter().filter_map(|l| l.get(name).map(str::to_owned)).collect();
        Ok(values.into_iter().collect())
    }

    fn exemplars(
        &self,
        _: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        _: &Budget,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        let hit = |labels: &Labels| sets.iter().any(|set| set.iter().all(|m| m.matches_labels(labels)));
        let inside = |list: &[Exemplar]| {
            list.iter().filter(|e| span.start <= e.t_ms && e.t_ms <= span.end).cloned().collect::<Vec<_>>()
        };
        let found = self.exemplars.iter().filter(|(labels, _)| hit(labels));
        Ok(found
            .map(|(labels, list)| (labels.clone(), inside(list)))
            .filter(|(_, l)| !l.is_empty())
            .collect())
    }

    fn metadata(&self, _: &TenantId, name: Option<&str>) -> Result<Vec<MetricMetadata>, ReadError> {
        Ok(self.metadata.iter().filter(|m| name.is_none_or(|n| n == m.name)).cloned().collect())
    }
}

/// Three log records; a search looks at labels and times alone.
#[derive(Debug)]
pub(crate) struct MemoryLogs {
    records: Vec<FoundRecord>,
}

impl Default for MemoryLogs {
    fn default() -> Self {
        let record = |i: u64, service: &str, severity_number, body: &str| {
            let time = Timestamp::from_millis(1000 * (crate::server::NOW_S - 15 + 5 * i as i64));
            let record = LogRecord {
                time,
                observed_time: time,
                severity_number,
                severity_text: String::new(),
                body: body.into(),
                labels: Labels::from_pairs([("service_name", service)]).unwrap(),
                attributes: vec![(
                    "code".into(),
                    AttributeValue::Int(if severity_number > 16 { 503 } else { 200 }),
                )],
                trace_id: Some([1; 16]),
                span_id: None,
                uid: None,
            };
            FoundRecord {
                id: RecordId { time, hash: i },
                pattern: PatternId(i),
                template: TemplateId(i),
                record,
            }
        };
        let records = vec![
            record(0, "cart", 9, "started"),
            record(1, "web", 9, "started"),
            record(2, "cart", 17, "connection refused"),
        ];
        Self { records }
    }
}

impl MemoryLogs {
    fn matching(&self, select: &LogSelect) -> Vec<FoundRecord> {
        let hit = |r: &&FoundRecord| {
            select.range.contains(r.record.time)
                && select.matchers.iter().all(|m| m.matches_labels(&r.record.labels))
        };
        self.records.iter().filter(hit).cloned().collect()
    }
}

impl LogSource for MemoryLogs {
    fn search(
        &self,
        _: &TenantId,
        select: &LogSelect,
        page: &PageRequest,
        _: &Budget,
    ) -> Result<LogPage, ReadError> {
        let mut found = self.matching(select);
        if page.order == LogOrder::NewestFirst {
            found.reverse();
        }
        let from = page.after.and_then(|id| found.iter().position(|r| r.id == id)).map_or(0, |i| i + 1);
        let to = found.len().min(from + page.limit);
        let next = (to < found.len()).then(|| found[to - 1].id);
        Ok(LogPage { records: found[from..to].to_vec(), next, missing: Vec::new() })
    }

    fn scan(
        &self,
        _: &TenantId,
        select: &LogSelect,
        _: LogOrder,
        _: &Budget,
        sink: &mut dyn FnMut(FoundRecord) -> Flow,
    ) -> Result<Vec<String>, ReadError> {
        for record in self.matching(select) {
            if sink(record) == Flow::Stop {
                break;
            }
        }
        Ok(Vec::new())
    }

    fn count(
        &self,
        _: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        by: &[GroupBy],
        _: &Budget,
    ) -> Result<Counts, ReadError> {
        let mut counts = vec![0; intervals.n];
        for record in self.matching(select) {
            if let Some(i) = intervals.index(record.record.time) {
                counts[i] += 1;
            }
        }
        let groups = vec![CountGroup { key: vec![String::new(); by.len()], counts }];
        Ok(Counts { groups, missing: Vec::new() })
    }

    fn numbers(
        &self,
        _: &TenantId,
        _: &LogSelect,
        intervals: Intervals,
        _: &str,
        _: &Budget,
    ) -> Result<Numbers, ReadError> {
        Ok(Numbers { values: vec![Vec::new(); intervals.n], missing: Vec::new() })
    }

    fn patterns(&self, _: &TenantId, _: &LogSelect, _: usize, _: &Budget) -> Result<Patterns, ReadError> {
        Ok(Patterns::default())
    }

    fn context(
        &self,
        _: &TenantId,
        id: RecordId,
        before: usize,
        after: usize,
        _: &Budget,
    ) -> Result<LogPage, ReadError> {
        let Some(at) = self.records.iter().position(|r| r.id == id) else { return Ok(LogPage::default()) };
        let range = at.saturating_sub(before)..self.records.len().min(at + after + 1);
        Ok(LogPage { records: self.records[range].to_vec(), next: None, missing: Vec::new() })
    }

    fn streams(
        &self,
        _: &TenantId,
        _: &[Vec<Matcher>],
        _: TimeRange,
        _: &Budget,
    ) -> Result<Vec<Labels>, ReadError> {
        Ok(Vec::new())
    }

    fn template_text(&self, _: &TenantId, _: TemplateId) -> Option<String> {
        None
    }
}
