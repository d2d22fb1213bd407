//! Reads metric series of one side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use greylight_query::promql;
use greylight_query::promql::syntax::{SyntaxError, SyntaxLimits, parse_selector};
use greylight_query::sql::PointQueries;
use greylight_store::model::{Clock, ErrorKind, Labels, METRIC_NAME, Matcher, TenantId, Timestamp};
use greylight_store::read::{
    Budget, Limits, LogSource, MetricSource, ReadError, Samples, Select, Selection, SpanMs,
};
use indexmap::IndexMap;

use super::Grid;
use super::counter::{Before, book};
use super::native::{Native, edges};
use crate::judge::{Counts, Data, Histogram, Series};
use crate::policy::{Check, CheckKind, Distribution, Source, ValueQuery};
use crate::release::cohort::{Filling, Units, unit_of};

/// How far before the first interval samples are read at once; most predecessors lie there.
const LOOKBACK_MS_MIN: i64 = 10 * 60 * 1000;
/// How far back an older predecessor is looked for.
const OLDER_MS: i64 = 30 * 24 * 3600 * 1000;
/// How long before a series' first sample its unit may have been scraped last.
const SCRAPED_MS: i64 = 3600 * 1000;
/// Scrapes that `$interval` spans at least.
const SCRAPES_MIN: i64 = 4;
/// Buckets of one histogram, over both sides.
pub(super) const BUCKETS_MAX: usize = 1000;
/// Values of a check's `by` that one side may show: each is kept apart, since which are tested is chosen from them.
const VALUES_MAX: usize = 2000;
/// What the value of series and records without a check's label is called.
const NO_VALUE: &str = "(none)";

/// Reads data of checks.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    pub(crate) metrics: Arc<dyn MetricSource>,
    pub(crate) logs: Arc<dyn LogSource>,
    pub(crate) engine: promql::Engine,
    pub(crate) sql: PointQueries,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) elsewhere: super::Elsewhere,
}

/// What to read: one check, one side, some intervals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) check: &'a Check,
    pub(crate) filling: &'a Filling,
    pub(crate) units: &'a Units,
    /// Labels that name the unit, the first that is present counts.
    pub(crate) unit_names: &'a [String],
    pub(crate) grid: Grid,
}

/// Why data could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error("reading data failed: {0}")]
    Read(#[from] ReadError),
    #[error("query {query:?}: {detail}")]
    Query { query: String, detail: String },
    #[error("{0}")]
    Unsupported(String),
}

impl CollectError {
    /// Tells a store that cannot be read just now, as when a deadline passed, from a query that never works.
    fn of_query(query: &str, error: promql::EvalError) -> Self {
        match error {
            promql::EvalError::Read(error) if is_passing(&error) => Self::Read(error),
            error => Self::Query { query: query.to_string(), detail: error.to_string() },
        }
    }

    /// Tells whether trying again may help.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Read(e) if is_passing(e))
    }
}

pub(super) fn is_passing(error: &ReadError) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal)
}

/// Counts of several series, summed.
pub(super) struct Booked {
    pub(super) sums: Vec<f64>,
    pub(super) present: Vec<bool>,
}

impl Booked {
    pub(super) fn new(n: usize) -> Self {
        Self { sums: vec![0.0; n], present: vec![false; n] }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.present.iter_mut().zip(&other.present).for_each(|(a, b)| *a |= b);
    }
}

/// Counts by value of a check's `by` and by unit; without `by` all are of the value "".
pub(super) type Cells = BTreeMap<String, BTreeMap<String, Booked>>;

impl Collector {
    /// Makes a budget for one question.
    pub(crate) fn budget(&self) -> Budget {
        Budget::new(self.limits, self.clock.clone())
    }

    /// Reads one check's data of one side; nothing where the side has no such series or records.
    pub(crate) fn collect(&self, q: &Question<'_>) -> Result<Option<Data>, CollectError> {
        self.at(q)?.collect_here(q)
    }

    fn collect_here(&self, q: &Question<'_>) -> Result<Option<Data>, CollectError> {
        match &q.check.kind {
            CheckKind::Ratio { events, trials } => self.ratio(q, events, trials),
            CheckKind::Count { events } => self.count(q, events),
            CheckKind::Mean { value } => self.mean(q, value),
            CheckKind::Distribution { data: Distribution::Histogram(names) } => self.histogram(q, names),
            CheckKind::Distribution { data: Distribution::Values(query) } => self.values(q, query),
            CheckKind::Distribution { data: Distribution::Given } => Ok(None),
            CheckKind::Users { users } => self.users(q, users),
            // It is judged by the mean checks beside it.
            CheckKind::Composite => Ok(None),
            CheckKind::Patterns { logs, severity, trials } => {
                self.patterns(q, logs, *severity, trials.as_ref())
            }
        }
    }

    /// Returns the units that matching series showed within a span.
    pub(crate) fn metric_units(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        unit_names: &[String],
        span: SpanMs,
        known: &mut BTreeSet<String>,
    ) -> Result<(), CollectError> {
        let budget = self.budget();
        let selection = self.metrics.select(tenant, &Select { matchers, span }, &budget)?;
        for i in 0..selection.series().len() {
            let Some(unit) = unit_of(&selection.series()[i], unit_names) else { continue };
            if known.contains(unit) {
                continue;
            }
            // Selected means "may have a sample"; only one that is there counts.
            let mut seen = false;
            selection.read(i..i + 1, &budget, &mut |_, samples| {
                seen |= present(samples).next().is_some();
            })?;
            if seen {
                known.insert(unit.to_string());
            }
        }
        Ok(())
    }

    /// Reads events over trials. Trials that no value can be told of, as where events come from one metric with a
    /// label and trials from another without it, are those of each value.
    fn ratio(
        &self,
        q: &Question<'_>,
        events: &Source,
        trials: &Source,
    ) -> Result<Option<Data>, CollectError> {
        let Some(trials) = self.cells(q, trials)? else { return Ok(None) };
        let events = self.cells(q, events)?.unwrap_or_default();
        let t_ms = q.grid.starts();
        let row = |events: Option<&Booked>, trials: &Booked| Counts {
            t_ms: t_ms.clone(),
            events: masked(events.map(|b| &b.sums[..]), &trials.present),
            exposure: masked(Some(&trials.sums), &trials.present),
            units: IndexMap::new(),
        };
        let nothing = BTreeMap::new();
        let of_value = |value: &str, trials: &BTreeMap<String, Booked>| {
            let events = events.get(value).unwrap_or(&nothing);
            let mut counts = row(Some(&total(events, q.grid.n)), &total(trials, q.grid.n));
            counts.units = trials.iter().map(|(unit, b)| (unit.clone(), row(events.get(unit), b))).collect();
            Data::Counts(counts)
        };
        if q.check.by.is_none() {
            return Ok(trials.values().next().map(|trials| of_value("", trials)));
        }
        let shared = trials.get("").filter(|_| trials.len() == 1);
        let values: BTreeSet<&String> = trials.keys().chain(events.keys()).collect();
        let by_value = values.into_iter().filter_map(|value| {
            let trials = shared.or_else(|| trials.get(value))?;
            (shared.is_none() || !value.is_empty()).then(|| (shown(value), of_value(value, trials)))
        });
        Ok(Some(Data::By(by_value.collect())))
    }

    fn count(&self, q: &Question<'_>, events: &Source) -> Result<Option<Data>, CollectError> {
        let Some(up) = self.up(q)?.map_or_else(|| self.up_by_records(q, events), |up| Ok(Some(up)))? else {
            return Ok(None);
        };
        let events = self.cells(q, events)?.unwrap_or_default();
        let seconds = q.grid.step_ms as f64 / 1e3;
        let n_up = |i: usize| up.values().filter(|b| b.present[i]).count() as f64;
        let present: Vec<bool> = (0..q.grid.n).map(|i| n_up(i) > 0.0).collect();
        let exposure: Vec<Option<f64>> =
            (0..q.grid.n).map(|i| present[i].then(|| n_up(i) * seconds)).collect();
        let of_value = |units: &BTreeMap<String, Booked>| {
            let events = masked(Some(&total(units, q.grid.n).sums), &present);
            let (t_ms, exposure) = (q.grid.starts(), exposure.clone());
            Data::Counts(Counts { t_ms, events, exposure, units: IndexMap::new() })
        };
        if q.check.by.is_none() {
            return Ok(Some(of_value(events.values().next().unwrap_or(&BTreeMap::new()))));
        }
        Ok(Some(Data::By(events.iter().map(|(value, units)| (shown(value), of_value(units))).collect())))
    }

    /// Finds in which intervals each unit was up; by any of its series where nothing says `up`.
    pub(super) fn up(&self, q: &Question<'_>) -> Result<Option<BTreeMap<String, Booked>>, CollectError> {
        for selector in presence(q) {
            let mut units = BTreeMap::new();
            self.each_series(q, &selector, q.grid.span(), |labels, samples| {
                let Some(unit) = unit_of(labels, q.unit_names) else { return };
                let booked: &mut Booked =
                    units.entry(unit.to_string()).or_insert_with(|| Booked::new(q.grid.n));
                let is_up = labels.metric_name() == "up";
                for at in present(samples) {
                    if let (Some(i), true) =
                        (q.grid.index(samples.t_ms[at]), !is_up || samples.values[at] == 1.0)
                    {
                        booked.present[i] = true;
                    }
                }
            })?;
            if !units.is_empty() {
                return Ok(Some(units));
            }
        }
        Ok(None)
    }

    /// Reads counts by the check's `by` and by unit from selectors or logs; nothing where no series matches.
    pub(super) fn cells(&self, q: &Question<'_>, source: &Source) -> Result<Option<Cells>, CollectError> {
        let by = q.check.by.as_ref().map(|by| by.name.as_str());
        let mut cells = Cells::new();
        match source {
            Source::Selectors(selectors) => {
                for selector in selectors {
                    self.book_selector(q, &q.filling.fill(selector), |labels, booked| {
                        let value = by.and_then(|name| labels.get(name)).unwrap_or("");
                        let unit = unit_of(labels, q.unit_names).unwrap_or("");
                        merge(cells.entry(value.to_owned()).or_default(), unit, booked);
                    })?;
                }
            }
            Source::Logs(query) => cells = self.log_counts(q, query, by)?,
            Source::Given => {}
        }
        check_values(by, cells.len())?;
        Ok((!cells.is_empty()).then_some(cells))
    }

    /// Books each counter that a filled selector names.
    fn book_selector(
        &self,
        q: &Question<'_>,
        selector: &str,
        mut sink: impl FnMut(&Labels, Booked),
    ) -> Result<(), CollectError> {
        self.each_counter(q, selector, |labels, samples, before| {
            let mut booked = Booked::new(q.grid.n);
            book(samples, before, &q.grid, &mut booked.sums, &mut booked.present);
            if booked.present.contains(&true) {
                sink(labels, booked);
            }
        })
    }

    /// Reads each series that a filled selector names, with samples before the grid and what came before these.
    fn each_counter(
        &self,
        q: &Question<'_>,
        selector: &str,
        mut sink: impl FnMut(&Labels, Samples<'_>, &Before),
    ) -> Result<(), CollectError> {
        let lookback = LOOKBACK_MS_MIN.max(q.grid.step_ms.saturating_mul(10));
        let span = SpanMs { start: q.grid.start_ms.saturating_sub(lookback), end: q.grid.end_ms() - 1 };
        let budget = self.budget();
        let selection = self.select(q, selector, span, &budget)?;
        let orphans = self.orphans(q, &*selection, &budget, selector, span)?;
        self.each_kept(q, &*selection, &budget, |i, samples| {
            sink(&selection.series()[i], samples, orphans.get(&i).unwrap_or(&Before::Unknown));
        })
    }

    /// Says what came before the series whose first sample in the read lies within the grid.
    fn orphans(
        &self,
        q: &Question<'_>,
        selection: &dyn Selection,
        budget: &Budget,
        selector: &str,
        span: SpanMs,
    ) -> Result<BTreeMap<usize, Before>, CollectError> {
        let mut first = BTreeMap::new();
        let mut seen_by_unit: BTreeMap<String, i64> = BTreeMap::new();
        self.each_kept(q, selection, budget, |i, samples| {
            let Some(&t) = samples.t_ms.first() else { return };
            if let Some(unit) = unit_of(&selection.series()[i], q.unit_names) {
                let earliest = seen_by_unit.entry(unit.to_string()).or_insert(t);
                *earliest = t.min(*earliest);
            }
            if t >= q.grid.start_ms {
                first.insert(i, t);
            }
        })?;
        if first.is_empty() {
            return Ok(BTreeMap::new());
        }
        let older = SpanMs { start: span.start.saturating_sub(OLDER_MS), end: span.start - 1 };
        let older = self.older(q, selector, older)?;
        let mut scraped = BTreeMap::new();
        let mut out = BTreeMap::new();
        for (i, t) in first {
            let labels = &selection.series()[i];
            let before = match (older.get(labels), unit_of(labels, q.unit_names)) {
                (Some(before), _) => before.clone(),
                (None, Some(unit)) if seen_by_unit.get(unit).is_some_and(|&s| s < t) => Before::Zero,
                (None, Some(unit)) => {
                    let key = (unit.to_string(), t);
                    let known = match scraped.get(&key) {
                        Some(&known) => known,
                        None => self.was_scraped(q, labels, unit, t)?,
                    };
                    scraped.insert(key, known);
                    if known { Before::Zero } else { Before::Unknown }
                }
                (None, None) => Before::Unknown,
            };
            out.insert(i, before);
        }
        Ok(out)
    }

    /// Returns the last values, or native histograms, that series had in an older span.
    fn older(
        &self,
        q: &Question<'_>,
        selector: &str,
        span: SpanMs,
    ) -> Result<BTreeMap<Labels, Before>, CollectError> {
        let mut last = BTreeMap::new();
        let budget = self.budget();
        let select = Select { matchers: &parsed(selector)?, span };
        let selection = self.metrics.select_last(q.tenant, &select, &budget)?;
        self.each_kept(q, &*selection, &budget, |i, samples| {
            let labels = &selection.series()[i];
            let before = present(samples).next_back().map(|at| match samples.histograms.last() {
                Some((own, sample)) if *own == at => Before::Histogram(Arc::clone(sample)),
                _ => Before::Value(samples.values[at]),
            });
            if let Some(before) = before {
                last.insert(labels.clone(), before);
            }
        })?;
        Ok(last)
    }

    /// Tells whether a unit was scraped before a time, under whatever version it ran then.
    fn was_scraped(
        &self,
        q: &Question<'_>,
        labels: &Labels,
        unit: &str,
        t_ms: i64,
    ) -> Result<bool, CollectError> {
        let Some(name) = q.unit_names.iter().find(|name| labels.get(name) == Some(unit)) else {
            return Ok(false);
        };
        let mut matchers = vec![Matcher::equal(METRIC_NAME, "up"), Matcher::equal(name, unit)];
        matchers.extend(labels.get("job").map(|job| Matcher::equal("job", job)));
        let span = SpanMs { start: t_ms.saturating_sub(SCRAPED_MS), end: t_ms - 1 };
        let budget = self.budget();
        let selection = self.metrics.select(q.tenant, &Select { matchers: &matchers, span }, &budget)?;
        let mut seen = false;
        selection.read(0..selection.series().len(), &budget, &mut |_, s| {
            seen |= s.values.iter().any(|v| v.is_finite())
        })?;
        Ok(seen)
    }

    /// Reads histograms: native ones, or the buckets of classic ones where more units have these.
    fn histogram(&self, q: &Question<'_>, names: &[String]) -> Result<Option<Data>, CollectError> {
        let n_units = |data: &Data| match data {
            Data::Histogram(histogram) => histogram.units.len(),
            Data::By(values) => {
                let units = values
                    .values()
                    .map(|data| if let Data::Histogram(one) = data { one.units.len() } else { 0 });
                units.sum()
            }
            _ => 0,
        };
        // Native ones do not come whole from a source: they are refused by name where there are no others.
        if self.elsewhere.has_foreign_series()
            && let Some(classic) = self.classic_histogram(q, names)?
        {
            return Ok(Some(classic));
        }
        let native = self.native_histogram(q, names)?;
        let classic = self.classic_histogram(q, names)?;
        Ok(match (native, classic) {
            (Some(native), Some(classic)) if n_units(&classic) > n_units(&native) => Some(classic),
            (native, classic) => native.or(classic),
        })
    }

    fn native_histogram(&self, q: &Question<'_>, names: &[String]) -> Result<Option<Data>, CollectError> {
        let by = q.check.by.as_ref().map(|by| by.name.as_str());
        let mut values: BTreeMap<String, BTreeMap<String, Native>> = BTreeMap::new();
        for name in names {
            let mut failed = None;
            self.each_counter(q, &q.filling.fill(name), |labels, samples, before| {
                if samples.histograms.is_empty() {
                    return;
                }
                let value = by.and_then(|name| labels.get(name)).unwrap_or("").to_owned();
                let unit = unit_of(labels, q.unit_names).unwrap_or("").to_string();
                let units = values.entry(value).or_default();
                let native = units.entry(unit).or_insert_with(|| Native::new(q.grid.n));
                failed = native.book(samples, before, &q.grid).err().or(failed.take());
            })?;
            if let Some(failed) = failed {
                return Err(failed);
            }
        }
        values.values_mut().for_each(|units| units.retain(|_, native| native.has_samples()));
        values.retain(|_, units| !units.is_empty());
        check_values(by, values.len())?;
        let le = edges(values.values().flat_map(BTreeMap::values))?;
        Ok(by_value(q, &le, values, |native| native.counts(q.grid, &le)))
    }

    fn classic_histogram(&self, q: &Question<'_>, names: &[String]) -> Result<Option<Data>, CollectError> {
        let by = q.check.by.as_ref().map(|by| by.name.as_str());
        // value -> unit -> upper edge -> cumulative counts
        let mut values: BTreeMap<String, BTreeMap<String, BTreeMap<OrdF64, Booked>>> = BTreeMap::new();
        for name in names {
            let selector = bucket_selector(&q.filling.fill(name));
            self.book_selector(q, &selector, |labels, booked| {
                let Some(le) =
                    labels.get("le").and_then(|le| le.parse::<f64>().ok()).filter(|le| !le.is_nan())
                else {
                    return;
                };
                let value = by.and_then(|name| labels.get(name)).unwrap_or("").to_owned();
                let unit = unit_of(labels, q.unit_names).unwrap_or("").to_string();
                let buckets = values.entry(value).or_default().entry(unit).or_default();
                buckets.entry(OrdF64(le)).or_insert_with(|| Booked::new(q.grid.n)).add(&booked);
            })?;
        }
        check_values(by, values.len())?;
        let all = values.values().flat_map(BTreeMap::values);
        let edges: BTreeSet<OrdF64> = all.flat_map(|buckets| buckets.keys().copied()).collect();
        if edges.is_empty() {
            return Ok(None);
        }
        if edges.len() > BUCKETS_MAX {
            return Err(CollectError::Unsupported(format!(
                "the histogram has {} buckets, more than {BUCKETS_MAX}",
                edges.len()
            )));
        }
        let le: Vec<f64> = edges
            .iter()
            .map(|e| e.0)
            .chain((!edges.contains(&OrdF64(f64::INFINITY))).then_some(f64::INFINITY))
            .collect();
        Ok(by_value(q, &le, values, |buckets| own_counts(q.grid, &le, &buckets)))
    }

    fn mean(&self, q: &Question<'_>, value: &ValueQuery) -> Result<Option<Data>, CollectError> {
        let query = match value {
            ValueQuery::PromQl(query) => query,
            ValueQuery::Sql(statement) => return self.sql_values(q, statement),
            // A policy with one is refused.
            ValueQuery::LogQl(_) => {
                return Err(CollectError::Unsupported("a value in LogQL is not judged yet".into()));
            }
            ValueQuery::Given => return Ok(None),
        };
        let mut filling = q.filling.clone();
        let interval_ms = q.grid.step_ms.max(SCRAPES_MIN * self.scrape_ms(q)?);
        filling.interval = format!("{interval_ms}ms");
        let query = filling.fill(query);
        // The last millisecond of an interval: a sample on its end belongs to the next one.
        let at = Timestamp::from_millis;
        let range = (at(q.grid.start_ms + q.grid.step_ms - 1), at(q.grid.end_ms() - 1));
        let wrong = |detail: String| CollectError::Query { query: query.clone(), detail };
        let parsed = promql::Query::parse(&query).map_err(|e| wrong(e.to_string()))?;
        // A value older than an interval, or than four scrapes, belongs to an earlier interval.
        let engine = self.engine.with_lookback(Duration::from_millis(interval_ms.unsigned_abs()));
        let step = Duration::from_millis(q.grid.step_ms.unsigned_abs());
        let answer = engine
            .range(q.tenant, &parsed, range, step, &self.budget())
            .map_err(|e| CollectError::of_query(&query, e))?;
        let promql::Value::Matrix(matrix) = answer.value else {
            return Err(wrong("gives no series over time".into()));
        };
        let mut series = Vec::new();
        for i in 0..matrix.len() {
            let unit = unit_of(matrix.labels(i), q.unit_names);
            if !q.units.keep(unit) {
                continue;
            }
            let mut v = vec![None; q.grid.n];
            for (t, value) in matrix.samples(i) {
                if let (Some(at), true) = (q.grid.index(t), value.is_finite()) {
                    v[at] = Some(value);
                }
            }
            series.push(Series { instance: unit.unwrap_or("").to_string(), t_ms: q.grid.starts(), v });
        }
        Ok((!series.is_empty()).then_some(Data::Values(series)))
    }

    /// Estimates how often the cohort is scraped: the median gap of its `up` series.
    fn scrape_ms(&self, q: &Question<'_>) -> Result<i64, CollectError> {
        let selector = format!("up{{{}}}", q.filling.matchers);
        let end = q.grid.end_ms() - 1;
        let span = SpanMs { start: end.saturating_sub(LOOKBACK_MS_MIN), end };
        let mut gaps = Vec::new();
        self.each_series(q, &selector, span, |_, samples| {
            gaps.extend(samples.t_ms.windows(2).map(|w| w[1] - w[0]));
        })?;
        gaps.sort_unstable();
        Ok(gaps.get(gaps.len() / 2).copied().unwrap_or(0))
    }

    fn select(
        &self,
        q: &Question<'_>,
        selector: &str,
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, CollectError> {
        let matchers = parsed(selector)?;
        Ok(self.metrics.select(q.tenant, &Select { matchers: &matchers, span }, budget)?)
    }

    pub(super) fn each_series(
        &self,
        q: &Question<'_>,
        selector: &str,
        span: SpanMs,
        mut sink: impl FnMut(&Labels, Samples<'_>),
    ) -> Result<(), CollectError> {
        let budget = self.budget();
        let selection = self.select(q, selector, span, &budget)?;
        self.each_kept(q, &*selection, &budget, |i, samples| sink(&selection.series()[i], samples))
    }

    /// Reads the selected series of the units that are kept.
    pub(super) fn each_kept(
        &self,
        q: &Question<'_>,
        selection: &dyn Selection,
        budget: &Budget,
        mut sink: impl FnMut(usize, Samples<'_>),
    ) -> Result<(), CollectError> {
        let series = selection.series();
        let kept = |i: usize| q.units.keep(unit_of(&series[i], q.unit_names));
        let mut i = 0;
        while i < series.len() {
            let end = (i..series.len()).find(|&j| !kept(j)).unwrap_or(series.len());
            if i < end {
                selection.read(i..end, budget, &mut sink)?;
            }
            i = end + 1;
        }
        Ok(())
    }
}

/// A finite or infinite float that can be a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OrdF64(pub(super) f64);

impl Eq for OrdF64 {}

impl PartialOrd for OrdF64 {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrdF64 {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// What a value is called in data; series and records without the label have one too.
pub(super) fn shown(value: &str) -> String {
    if value.is_empty() { NO_VALUE.to_owned() } else { value.to_owned() }
}

/// Refuses a label that tells too much apart.
pub(super) fn check_values(by: Option<&str>, n: usize) -> Result<(), CollectError> {
    match by {
        Some(name) if n > VALUES_MAX => Err(CollectError::Unsupported(format!(
            "`by: {name}` has {n} values, more than {VALUES_MAX}; name a label or field with fewer"
        ))),
        _ => Ok(()),
    }
}

fn merge(units: &mut BTreeMap<String, Booked>, unit: &str, booked: Booked) {
    match units.get_mut(unit) {
        Some(sum) => sum.add(&booked),
        None => {
            units.insert(unit.to_string(), booked);
        }
    }
}

fn total(units: &BTreeMap<String, Booked>, n: usize) -> Booked {
    let mut sum = Booked::new(n);
    units.values().for_each(|b| sum.add(b));
    sum
}

fn masked(sums: Option<&[f64]>, present: &[bool]) -> Vec<Option<f64>> {
    present.iter().enumerate().map(|(i, &p)| p.then(|| sums.map_or(0.0, |s| s[i]))).collect()
}

/// Places of the samples that say something: numbers and native histograms. Stale markers are none.
pub(crate) fn present(samples: Samples<'_>) -> impl DoubleEndedIterator<Item = usize> {
    let is_histogram = move |at: usize| samples.histograms.binary_search_by_key(&at, |one| one.0).is_ok();
    (0..samples.values.len()).filter(move |&at| samples.values[at].is_finite() || is_histogram(at))
}

/// Selectors of what says that a unit was there, the better one first.
pub(super) fn presence(q: &Question<'_>) -> [String; 2] {
    ["up", ""].map(|name| format!("{name}{{{}}}", q.filling.matchers))
}

/// Parses a filled selector.
pub(crate) fn parsed(selector: &str) -> Result<Vec<Matcher>, CollectError> {
    let wrong = |e: SyntaxError| CollectError::Query { query: selector.to_string(), detail: e.to_string() };
    parse_selector(selector, &SyntaxLimits::default()).map_err(wrong)
}

/// Turns the base name of a histogram into the selector of its buckets.
pub(super) fn bucket_selector(name: &str) -> String {
    match name.split_once('{') {
        Some((base, rest)) => format!("{}_bucket{{{rest}", base.trim()),
        None => format!("{}_bucket", name.trim()),
    }
}

/// Takes the cumulative counts of one unit apart into each bucket's own.
fn own_counts(grid: Grid, le: &[f64], buckets: &BTreeMap<OrdF64, Booked>) -> Histogram {
    let rows = (0..grid.n).map(|i| {
        if !buckets.values().any(|b| b.present[i]) {
            return None;
        }
        let mut below = 0.0;
        let mut row = Vec::with_capacity(le.len());
        for edge in le {
            let cumulative = buckets.get(&OrdF64(*edge)).map_or(below, |b| b.sums[i]);
            // Samples of one scrape may be torn apart by a restart; a negative count is none.
            row.push(f64::max(cumulative - below, 0.0));
            below = below.max(cumulative);
        }
        Some(row)
    });
    Histogram { t_ms: grid.starts(), le: le.to_vec(), counts: rows.collect(), units: IndexMap::new() }
}

/// Makes the data of a check from what each unit has, by the values of its `by`; nothing where there are none.
fn by_value<T>(
    q: &Question<'_>,
    le: &[f64],
    values: BTreeMap<String, BTreeMap<String, T>>,
    counts: impl Fn(T) -> Histogram,
) -> Option<Data> {
    let of_value = |units: BTreeMap<String, T>| {
        let by_unit = units.into_iter().map(|(unit, own)| (unit, counts(own))).collect();
        Data::Histogram(sum_histograms(q.grid, le.to_vec(), by_unit))
    };
    let mut of_values = values.into_iter().map(|(value, units)| (value, of_value(units)));
    match &q.check.by {
        None => of_values.next().map(|(_, data)| data),
        Some(_) if of_values.len() == 0 => None,
        Some(_) => Some(Data::By(of_values.map(|(value, data)| (shown(&value), data)).collect())),
    }
}

fn sum_histograms(grid: Grid, le: Vec<f64>, units: IndexMap<String, Histogram>) -> Histogram {
    let mut counts: Vec<Option<Vec<f64>>> = vec![None; grid.n];
    for unit in units.values() {
        for (sum, row) in counts.iter_mut().zip(&unit.counts) {
            let Some(row) = row else { continue };
            let sum = sum.get_or_insert_with(|| vec![0.0; le.len()]);
            sum.iter_mut().zip(row).for_each(|(a, b)| *a += b);
        }
    }
    Histogram { t_ms: grid.starts(), le, counts, units }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histograms_name_becomes_the_selector_of_its_buckets() {
        assert_eq!(bucket_selector("x{a=\"1\"}"), "x_bucket{a=\"1\"}");
        assert_eq!(bucket_selector("x"), "x_bucket");
    }

    #[test]
    fn a_look_is_made_again_after_a_deadline_and_never_after_a_wrong_query() {
        let of = |error| CollectError::of_query("up", error);
        let late = of(ReadError::Deadline { limit_ms: 30_000 }.into());
        assert!(late.may_pass(), "{late}");
        for error in [promql::EvalError::Invalid("bad".into()), ReadError::Invalid("bad".into()).into()] {
            let wrong = of(error);
            assert!(!wrong.may_pass());
            assert_eq!(wrong.to_string(), "query \"up\": bad");
        }
    }

    #[test]
    fn cumulative_counts_are_taken_apart() {
        let grid = Grid { start_ms: 0, step_ms: 1, n: 2 };
        let booked = |a: f64, b: f64| Booked { sums: vec![a, b], present: vec![true, false] };
        let buckets = [(OrdF64(0.1), booked(2.0, 0.0)), (OrdF64(f64::INFINITY), booked(5.0, 0.0))].into();
        let histogram = own_counts(grid, &[0.1, 0.5, f64::INFINITY], &buckets);
        assert_eq!(histogram.counts, [Some(vec![2.0, 0.0, 3.0]), None]);
    }
}
