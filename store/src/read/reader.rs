//! The door through which metrics are read.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Budget, MetricSource, ReadError, Samples, Select, Selection, SpanMs};
use crate::append::MetricMetadata;
use crate::model::{Labels, Matcher, TenantId};
use crate::store::{Snapshot, TenantView};

/// Reads what the store holds at the moment of the call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    snapshot: Arc<ArcSwap<Snapshot>>,
}

impl Reader {
    pub(crate) fn new(snapshot: Arc<ArcSwap<Snapshot>>) -> Self {
        Self { snapshot }
    }

    /// Returns the tenants that have data, sorted.
    pub fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<_> = self.snapshot.load().tenants.keys().cloned().collect();
        tenants.sort();
        tenants
    }

    fn view(&self, tenant: &TenantId) -> Option<Arc<TenantView>> {
        self.snapshot.load().tenants.get(tenant).cloned()
    }
}

impl MetricSource for Reader {
    fn select(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        match self.view(tenant) {
            Some(view) => view.metrics.select(select, budget),
            None => Ok(Box::new(Nothing)),
        }
    }

    fn label_names(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        self.view(tenant).map_or(Ok(Vec::new()), |view| view.metrics.label_names(sets, span, budget))
    }

    fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        self.view(tenant).map_or(Ok(Vec::new()), |view| view.metrics.label_values(name, sets, span, budget))
    }

    fn metadata(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<MetricMetadata>, ReadError> {
        Ok(self.view(tenant).map_or(Vec::new(), |view| view.metadata.lock().list(name)))
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
