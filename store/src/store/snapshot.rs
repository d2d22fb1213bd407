//! What readers see: heads, what is being sealed, and segments, swapped as one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::append::MetricMetadata;
use crate::metrics::{Head, TenantMetrics};
use crate::model::TenantId;

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
    pub(crate) metadata: Arc<Mutex<BTreeMap<String, MetricMetadata>>>,
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
