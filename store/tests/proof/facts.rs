//! What a store should hold, and what it does hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::logs::{Flow, LogSelect, LogSource, Order, Query};
use greylight_store::model::{
    Labels, LogRecord, ManualClock, MatchOp, Matcher, TenantId, TimeRange, Timestamp,
};
use greylight_store::read::{Budget, Limits, MetricSource, Reader, Select, SpanMs};

use super::{Outcome, must};

/// One sample: the name of its series, its time in milliseconds, its value.
pub(crate) type Sample = (String, i64, f64);
/// One log record: its time in milliseconds and its body.
pub(crate) type Record = (i64, String);

/// Samples by series and time, and log records, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Bits of the values.
    pub(crate) samples: BTreeMap<(String, i64), u64>,
    pub(crate) records: BTreeSet<Record>,
}

impl Facts {
    /// Of two samples at one time the later one counts.
    pub(crate) fn put_samples(&mut self, samples: &[Sample]) {
        self.samples.extend(samples.iter().map(|(name, t, v)| ((name.clone(), *t), v.to_bits())));
    }

    pub(crate) fn put_records(&mut self, records: &[Record]) {
        self.records.extend(records.iter().cloned());
    }

    pub(crate) fn len(&self) -> usize {
        self.samples.len() + self.records.len()
    }

    /// Tells the first difference from what was found: rows that are lost, invented or wrong. Rows before
    /// `dropped_before_ms` may be gone.
    pub(crate) fn difference(&self, found: &Self, dropped_before_ms: i64) -> Option<String> {
        for (key, value) in &self.samples {
            match found.samples.get(key) {
                None if key.1 < dropped_before_ms => {}
                None => return Some(format!("sample {key:?} is lost")),
                Some(other) if other != value => {
                    let (want, got) = (f64::from_bits(*value), f64::from_bits(*other));
                    return Some(format!("sample {key:?} is {got} and should be {want}"));
                }
                Some(_) => {}
            }
        }
        if let Some(key) = found.samples.keys().find(|key| !self.samples.contains_key(*key)) {
            return Some(format!("sample {key:?} should not be there"));
        }
        if let Some(lost) =
            self.records.iter().find(|r| r.0 >= dropped_before_ms && !found.records.contains(*r))
        {
            return Some(format!("record {lost:?} is lost"));
        }
        found.records.difference(&self.records).next().map(|r| format!("record {r:?} should not be there"))
    }

    /// Tells whether every row of this is in `all`, unchanged.
    pub(crate) fn is_part_of(&self, all: &Self) -> bool {
        self.samples.iter().all(|(key, value)| all.samples.get(key) == Some(value))
            && self.records.is_subset(&all.records)
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) facts: Facts,
    /// What the answers say they lack.
    pub(crate) missing: Vec<String>,
}

pub(crate) fn budget(clock: &ManualClock) -> Budget {
    Budget::new(Limits::default(), Arc::new(clock.clone()))
}

/// Reads everything that a tenant has; a row that comes twice is an error.
pub(crate) fn read_all(reader: &Reader, tenant: &TenantId, clock: &ManualClock) -> Outcome<Found> {
    let mut found = read_samples(reader, tenant, clock, None, SpanMs::ALL)?;
    let select = LogSelect { query: Query::parse("*")?, matchers: Vec::new(), range: TimeRange::ALL };
    let mut twice = None;
    let missing = reader.scan(tenant, &select, Order::OldestFirst, &budget(clock), &mut |record| {
        let row = (record.record.time.as_millis(), record.record.body);
        if !found.facts.records.insert(row.clone()) {
            twice = Some(row);
        }
        Flow::Continue
    })?;
    found.missing.extend(missing);
    match twice {
        Some(row) => Err(format!("record {row:?} comes twice").into()),
        None => Ok(found),
    }
}

/// Reads samples: of all series or of those whose name a pattern matches, within a span.
pub(crate) fn read_samples(
    reader: &Reader,
    tenant: &TenantId,
    clock: &ManualClock,
    names: Option<&str>,
    span: SpanMs,
) -> Outcome<Found> {
    let budget = budget(clock);
    let matchers = match names {
        Some(pattern) => vec![Matcher::new("__name__", MatchOp::Regex, pattern)?],
        None => Vec::new(),
    };
    let selection = reader.select(tenant, &Select { matchers: &matchers, span }, &budget)?;
    let labels = selection.series();
    let mut found = Found { missing: selection.missing(), ..Found::default() };
    let mut broken = None;
    selection.read(0..labels.len(), &budget, &mut |i, samples| {
        if !samples.t_ms.is_sorted_by(|a, b| a < b) {
            broken = Some(format!("times of {} are not strictly rising", labels[i]));
        }
        for (t_ms, value) in samples.t_ms.iter().zip(samples.values) {
            let key = (labels[i].metric_name().to_owned(), *t_ms);
            if found.facts.samples.insert(key, value.to_bits()).is_some() {
                broken = Some(format!("series {} comes twice", labels[i]));
            }
        }
    })?;
    match broken {
        Some(why) => Err(why.into()),
        None => Ok(found),
    }
}

/// Returns the records that say a word.
pub(crate) fn search(
    reader: &Reader,
    tenant: &TenantId,
    clock: &ManualClock,
    word: &str,
) -> Outcome<BTreeSet<Record>> {
    let select = LogSelect { query: Query::parse(word)?, matchers: Vec::new(), range: TimeRange::ALL };
    let mut found = Vec::new();
    reader.scan(tenant, &select, Order::NewestFirst, &budget(clock), &mut |record| {
        found.push((record.record.time.as_millis(), record.record.body));
        Flow::Continue
    })?;
    let n = found.len();
    let found: BTreeSet<Record> = found.into_iter().collect();
    must(found.len() == n, || format!("a search for {word:?} gives a record twice"))?;
    Ok(found)
}

/// Samples as a batch, each as a series entry of its own, so that repeated ones stay in order.
pub(crate) fn metric_batch(samples: &[Sample]) -> Outcome<MetricBatch> {
    let mut batch = MetricBatch::default();
    for (name, t_ms, value) in samples {
        let host = format!("host-{}", name.len());
        batch.start_sorted([("__name__", name.as_str()), ("instance", host.as_str())])?.push(*t_ms, *value);
    }
    Ok(batch)
}

/// Records as a batch.
pub(crate) fn log_batch(records: &[Record]) -> Outcome<LogBatch> {
    let labels = Labels::from_pairs([("service_name", "proof")])?;
    let record = |(t_ms, body): &Record| LogRecord {
        time: Timestamp::from_millis(*t_ms),
        observed_time: Timestamp::from_millis(*t_ms),
        severity_number: 9,
        severity_text: "INFO".into(),
        body: body.clone(),
        labels: labels.clone(),
        attributes: Vec::new(),
        // One in two has the ids that are stored without compression.
        trace_id: (t_ms % 2 == 0).then_some([*t_ms as u8; 16]),
        span_id: None,
        uid: None,
    };
    Ok(LogBatch { records: records.iter().map(record).collect() })
}
