//! The door through which metrics and log records are read.

use std::sync::Arc;

use super::{Budget, MetricSource, ReadError, Samples, Select, Selection, SpanMs, WholeBuckets};
use crate::append::MetricMetadata;
use crate::logs::{
    Counts, Flow, FoundRecord, GroupBy, Intervals, LogPage, LogSelect, LogSource, Missing, Numbers, Order,
    PageRequest, Patterns, RecordId, TenantLogs,
};
use crate::model::{Exemplar, Labels, Matcher, TenantId, TimeRange};
use crate::pattern::TemplateId;
use crate::store::{Current, TenantView};

/// Reads what the store holds at the moment of the call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    current: Arc<Current>,
}

impl Reader {
    pub(crate) fn new(current: Arc<Current>) -> Self {
        Self { current }
    }

    /// Returns the tenants that have data, sorted.
    pub fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<_> = self.current.snapshot.load().tenants.keys().cloned().collect();
        tenants.sort();
        tenants
    }

    /// Takes the segment of a view that an error is about out of answers, so that the next view lacks it; `false`
    /// when the error is about none.
    fn is_lost(&self, view: &TenantView, error: &ReadError) -> bool {
        let Some(path) = error.bad_file() else { return false };
        // Another reader may have taken it out a moment ago.
        self.current.lose(path, error) || view.has_file(path)
    }

    /// Asks a tenant's logs; once more for each segment that turns out to be damaged, without it. The answer says
    /// what is missing.
    fn logs<T: Default>(
        &self,
        tenant: &TenantId,
        mut ask: impl FnMut(&TenantLogs) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        loop {
            let Some(view) = self.view(tenant) else { return Ok(T::default()) };
            match ask(&view.logs) {
                Err(error) if self.is_lost(&view, &error) => {}
                result => return result,
            }
        }
    }

    fn select_some(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        buckets: Option<WholeBuckets>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        loop {
            let Some(view) = self.view(tenant) else { return Ok(Box::new(Nothing)) };
            match view.metrics.select(select, buckets, budget) {
                Ok(inner) => return Ok(Box::new(Watched { inner, current: Arc::clone(&self.current) })),
                // Once more without it; the answer says what is missing.
                Err(error) if self.is_lost(&view, &error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn view(&self, tenant: &TenantId) -> Option<Arc<TenantView>> {
        let snapshot = self.current.snapshot.load();
        // A tenant that is not known may be one whose rows are all lost.
        let nothing = || (!snapshot.lost.is_empty()).then(|| Arc::new(TenantView::new(&snapshot.lost)));
        snapshot.tenants.get(tenant).cloned().or_else(nothing)
    }
}

impl MetricSource for Reader {
    fn select(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        self.select_some(tenant, select, None, budget)
    }

    fn select_buckets(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        buckets: WholeBuckets,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        self.select_some(tenant, select, Some(buckets), budget)
    }

    fn settled(&self, tenant: &TenantId, span: SpanMs) -> Option<Vec<u64>> {
        self.view(tenant).map_or(Some(Vec::new()), |view| view.metrics.settled(span))
    }

    fn bounds(&self, tenant: &TenantId) -> Option<SpanMs> {
        self.view(tenant)?.metrics.bounds()
    }

    fn n_chunks(&self, tenant: &TenantId) -> Option<u64> {
        Some(self.view(tenant).map_or(0, |view| view.metrics.n_chunks()))
    }

    fn label_names(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        loop {
            let Some(view) = self.view(tenant) else { return Ok(Vec::new()) };
            match view.metrics.label_names(sets, span, budget) {
                Err(error) if self.is_lost(&view, &error) => {}
                result => return result,
            }
        }
    }

    fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        loop {
            let Some(view) = self.view(tenant) else { return Ok(Vec::new()) };
            match view.metrics.label_values(name, sets, span, budget) {
                Err(error) if self.is_lost(&view, &error) => {}
                result => return result,
            }
        }
    }

    fn exemplars(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        loop {
            let Some(view) = self.view(tenant) else { return Ok(Vec::new()) };
            match view.metrics.exemplars(sets, span, budget) {
                Err(error) if self.is_lost(&view, &error) => {}
                result => return result,
            }
        }
    }

    fn metadata(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<MetricMetadata>, ReadError> {
        Ok(self.view(tenant).map_or(Vec::new(), |view| view.metadata.lock().list(name)))
    }
}

impl LogSource for Reader {
    fn search(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        page: &PageRequest,
        budget: &Budget,
    ) -> Result<LogPage, ReadError> {
        self.logs(tenant, |logs| logs.search(select, page, budget))
    }

    fn scan(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        order: Order,
        budget: &Budget,
        sink: &mut dyn FnMut(FoundRecord) -> Flow,
    ) -> Result<Missing, ReadError> {
        let mut after = None;
        self.logs(tenant, |logs| {
            // Asked again it goes on behind what the sink has had.
            logs.sweep(select, order, after, budget, &mut |record| {
                after = Some(record.id);
                sink(record)
            })
        })
    }

    fn count(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        by: &[GroupBy],
        budget: &Budget,
    ) -> Result<Counts, ReadError> {
        self.logs(tenant, |logs| logs.count(select, intervals, by, budget))
    }

    fn numbers(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        field: &str,
        budget: &Budget,
    ) -> Result<Numbers, ReadError> {
        if self.view(tenant).is_none() {
            return Ok(Numbers { values: vec![Vec::new(); intervals.n], missing: Missing::default() });
        }
        self.logs(tenant, |logs| logs.numbers(select, intervals, field, budget))
    }

    fn patterns(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        limit: usize,
        budget: &Budget,
    ) -> Result<Patterns, ReadError> {
        self.logs(tenant, |logs| logs.patterns(select, limit, budget))
    }

    fn context(
        &self,
        tenant: &TenantId,
        id: RecordId,
        before: usize,
        after: usize,
        budget: &Budget,
    ) -> Result<LogPage, ReadError> {
        self.logs(tenant, |logs| logs.context(id, before, after, budget))
    }

    fn streams(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Vec<Labels>, ReadError> {
        self.logs(tenant, |logs| logs.streams(sets, range, budget))
    }

    fn template_text(&self, tenant: &TenantId, id: TemplateId) -> Option<String> {
        self.view(tenant)?.logs.template_text(id)
    }
}

/// A selection whose damaged segments are taken out of later answers.
#[derive(Debug)]
struct Watched {
    inner: Box<dyn Selection>,
    current: Arc<Current>,
}

impl Selection for Watched {
    fn series(&self) -> &[Labels] {
        self.inner.series()
    }

    fn read(
        &self,
        series: std::ops::Range<usize>,
        budget: &Budget,
        sink: &mut dyn FnMut(usize, Samples<'_>),
    ) -> Result<(), ReadError> {
        let result = self.inner.read(series, budget, sink);
        if let Err(error) = &result
            && let Some(path) = error.bad_file()
        {
            self.current.lose(path, error);
        }
        result
    }

    fn missing(&self) -> Vec<String> {
        self.inner.missing()
    }
}

/// The selection of a tenant that has nothing.
#[derive(Debug)]
struct Nothing;

impl Selection for Nothing {
    fn series(&self) -> &[Labels] {
        &[]
    }

    fn read(
        &self,
        _series: std::ops::Range<usize>,
        _budget: &Budget,
        _sink: &mut dyn FnMut(usize, Samples<'_>),
    ) -> Result<(), ReadError> {
        Ok(())
    }

    fn missing(&self) -> Vec<String> {
        Vec::new()
    }
}
