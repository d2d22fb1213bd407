//! What readers see: heads, what is being sealed, and segments, swapped as one.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::metadata::Metadata;
use crate::logs::{self, TenantLogs};
use crate::metrics::{self, TenantMetrics};
use crate::model::TenantId;
use crate::read::ReadError;
use crate::segment::{SegmentId, SegmentMeta, Table};

/// Everything that can be read at one moment, by tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) tenants: HashMap<TenantId, Arc<TenantView>>,
}

/// What one tenant has.
#[derive(Clone, Debug)]
pub(crate) struct TenantView {
    pub(crate) metrics: TenantMetrics,
    pub(crate) logs: TenantLogs,
    /// By family; shared by all views of the tenant, since an old view may as well see new words.
    pub(crate) metadata: Arc<Mutex<Metadata>>,
}

impl TenantView {
    pub(crate) fn new() -> Self {
        let metrics = TenantMetrics {
            head: Arc::new(metrics::Head::new()),
            frozen: Vec::new(),
            segments: Vec::new(),
            missing: Vec::new(),
        };
        let logs = TenantLogs {
            head: Arc::new(logs::Head::new()),
            frozen: Vec::new(),
            segments: Vec::new(),
            missing: Vec::new(),
            templates: Arc::default(),
        };
        Self { metrics, logs, metadata: Arc::default() }
    }

    /// Tells whether a file belongs to a segment that this view reads.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        let metrics = self.metrics.segments.iter().map(|segment| segment.meta());
        let mut metas = metrics.chain(self.logs.segments.iter().map(|segment| segment.meta()));
        metas.any(|meta| meta.has_file(path))
    }
}

/// The current snapshot. Readers never wait; those who change it take turns.
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    turn: Mutex<()>,
    /// Segments that a reader found damaged and took out, and what it found. Each is here once.
    suspects: Mutex<Vec<(SegmentMeta, ReadError)>>,
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

    /// Takes the segment that a damaged file belongs to out of answers, which say so from now on;
    /// `false` when no segment that is read has such a file.
    pub(crate) fn lose(&self, path: &str, error: &ReadError) -> bool {
        let lost = self.change(|snapshot| {
            let meta = snapshot.metas().into_iter().find(|meta| meta.has_file(path))?;
            snapshot.remove(&[meta.id]);
            snapshot.miss(&meta, meta.loss(error));
            Some(meta)
        });
        let Some(meta) = lost else { return false };
        tracing::error!(segment = %meta.id, %error, "a segment is damaged and out of answers");
        let error = ReadError::Corrupt { path: path.into(), detail: error.to_string() };
        self.suspects.lock().push((meta, error));
        true
    }

    /// Returns the segments that readers took out since the last call.
    pub(super) fn take_suspects(&self) -> Vec<(SegmentMeta, ReadError)> {
        std::mem::take(&mut self.suspects.lock())
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
    Logs(Arc<logs::Segment>),
}

impl Snapshot {
    /// Returns what the catalog knows of all segments that can be read.
    pub(super) fn metas(&self) -> Vec<SegmentMeta> {
        let of_view = |view: &Arc<TenantView>| -> Vec<SegmentMeta> {
            let metrics = view.metrics.segments.iter().map(|s| s.meta().clone());
            metrics.chain(view.logs.segments.iter().map(|s| s.meta().clone())).collect()
        };
        self.tenants.values().flat_map(of_view).collect()
    }

    /// Adds a segment to its tenant's.
    pub(super) fn add(&mut self, segment: AnySegment) {
        match segment {
            AnySegment::Metrics(segment) => {
                let tenant = segment.meta().tenant.clone();
                self.tenant(&tenant).metrics.segments.push(segment);
            }
            AnySegment::Logs(segment) => {
                let tenant = segment.meta().tenant.clone();
                self.tenant(&tenant).logs.segments.push(segment);
            }
        }
    }

    /// Takes segments out and returns what they were.
    pub(super) fn remove(&mut self, ids: &[SegmentId]) -> Vec<SegmentMeta> {
        let gone: Vec<SegmentMeta> = self.metas().into_iter().filter(|meta| ids.contains(&meta.id)).collect();
        for meta in &gone {
            let view = self.tenant(&meta.tenant);
            match meta.table {
                Table::Metrics => view.metrics.segments.retain(|segment| segment.meta().id != meta.id),
                Table::Logs => view.logs.segments.retain(|segment| segment.meta().id != meta.id),
            }
        }
        gone
    }

    /// Says what is missing from answers, a sentence each.
    pub(super) fn missing(&self) -> Vec<String> {
        let of_view = |view: &Arc<TenantView>| -> Vec<String> {
            view.metrics.missing.iter().chain(&view.logs.missing).map(|(_, why)| why.clone()).collect()
        };
        self.tenants.values().flat_map(of_view).collect()
    }

    /// Remembers that the rows of a segment are missing from answers.
    pub(super) fn miss(&mut self, meta: &SegmentMeta, why: String) {
        let view = self.tenant(&meta.tenant);
        match meta.table {
            Table::Metrics => view.metrics.missing.push((meta.span, why)),
            Table::Logs => view.logs.missing.push((meta.span, why)),
        }
    }
}
