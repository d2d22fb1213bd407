//! What readers see: heads, what is being sealed, and segments, swapped as one.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::metadata::Metadata;
use crate::metrics::{self, Head, TenantMetrics};
use crate::model::TenantId;
use crate::segment::{SegmentId, SegmentMeta};

/// Everything that can be read at one moment, by tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) tenants: HashMap<TenantId, Arc<TenantView>>,
}

/// What one tenant has.
#[derive(Clone, Debug)]
pub(crate) struct TenantView {
    pub(crate) metrics: TenantMetrics,
    /// By family; shared by all views of the tenant, since an old view may as well see new words.
    pub(crate) metadata: Arc<Mutex<Metadata>>,
}

impl TenantView {
    pub(crate) fn new() -> Self {
        let metrics = TenantMetrics {
            head: Arc::new(Head::new()),
            frozen: Vec::new(),
            segments: Vec::new(),
            missing: Vec::new(),
        };
        Self { metrics, metadata: Arc::default() }
    }
}

/// The current snapshot. Readers never wait; those who change it take turns.
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    turn: Mutex<()>,
}

impl Current {
    /// Puts a changed copy in the place of the snapshot, in one step for readers.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let _turn = self.turn.lock();
        let mut next = Snapshot::clone(&self.snapshot.load());
        let result = change(&mut next);
        self.snapshot.store(Arc::new(next));
        result
    }
}

impl Snapshot {
    /// Returns a tenant's view to be changed; a new one where there is none.
    pub(crate) fn tenant(&mut self, tenant: &TenantId) -> &mut TenantView {
        let view = self.tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(TenantView::new()));
        Arc::make_mut(view)
    }
}

/// An open segment of either table.
#[derive(Debug)]
pub(crate) enum AnySegment {
    Metrics(Arc<metrics::Segment>),
}

impl Snapshot {
    /// Returns what the catalog knows of all segments that can be read.
    pub(super) fn metas(&self) -> Vec<SegmentMeta> {
        self.tenants.values().flat_map(|view| view.metrics.segments.iter().map(|s| s.meta().clone())).collect()
    }

    /// Adds a segment to its tenant's.
    pub(super) fn add(&mut self, segment: AnySegment) {
        match segment {
            AnySegment::Metrics(segment) => {
                let tenant = segment.meta().tenant.clone();
                self.tenant(&tenant).metrics.segments.push(segment);
            }
        }
    }

    /// Takes segments out and returns what they were.
    pub(super) fn remove(&mut self, ids: &[SegmentId]) -> Vec<SegmentMeta> {
        let gone: Vec<SegmentMeta> = self.metas().into_iter().filter(|meta| ids.contains(&meta.id)).collect();
        for meta in &gone {
            let view = self.tenant(&meta.tenant);
            view.metrics.segments.retain(|segment| segment.meta().id != meta.id);
        }
        gone
    }

    /// Says what is missing from answers, a sentence each.
    pub(super) fn missing(&self) -> Vec<String> {
        self.tenants.values().flat_map(|view| view.metrics.missing.iter().map(|(_, why)| why.clone())).collect()
    }

    /// Remembers that the rows of a segment are missing from answers.
    pub(super) fn miss(&mut self, meta: &SegmentMeta, why: String) {
        self.tenant(&meta.tenant).metrics.missing.push((meta.span, why));
    }
}
