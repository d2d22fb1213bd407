//! What readers see: heads, what is being sealed, and segments, swapped as one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::metadata::Metadata;
use crate::logs::{self, TenantLogs};
use crate::metrics::{self, TenantMetrics};
use crate::model::TenantId;
use crate::read::{ReadError, SpanMs};
use crate::segment::{SegmentId, SegmentMeta, Table};

/// Everything that can be read at one moment, by tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) tenants: HashMap<TenantId, Arc<TenantView>>,
    /// Times of which rows of any tenant may be missing, and why.
    pub(crate) lost: Arc<[(SpanMs, String)]>,
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
    /// Makes the view of a tenant that has nothing, but for what may be missing.
    pub(crate) fn new(lost: &[(SpanMs, String)]) -> Self {
        let metrics = TenantMetrics {
            head: Arc::new(metrics::Head::new()),
            frozen: Vec::new(),
            segments: Vec::new(),
            missing: lost.to_vec(),
        };
        let templates = Arc::<logs::SharedTemplates>::default();
        let logs = TenantLogs {
            head: Arc::new(logs::Head::new(Arc::clone(&templates))),
            frozen: Vec::new(),
            segments: Vec::new(),
            missing: lost.to_vec(),
            templates,
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
    /// Segments that are out of answers and on which the catalog has no word yet. Each is here once.
    aside: Mutex<Vec<Aside>>,
}

/// A segment that is out of answers because a reader could not read it.
///
/// Until it is known whether it is damaged it may come back, so nothing that depends on the order of writes may
/// pass it by meanwhile: its day is not merged, and what it may hold is not deleted.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    pub(super) meta: SegmentMeta,
    /// What answers say.
    pub(super) why: String,
    /// The disk gave an error, rather than bytes that make no sense.
    pub(super) is_unread: bool,
    /// Its checksums are right; only a restart tries it again.
    pub(super) is_puzzle: bool,
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
            self.set_aside(snapshot, &meta, error);
            Some(meta)
        });
        let Some(meta) = lost else { return false };
        tracing::error!(segment = %meta.id, %error, "a segment cannot be read and is out of answers");
        true
    }

    /// Notes in a snapshot that is being made that a segment is not in it since it cannot be read.
    pub(super) fn set_aside(&self, snapshot: &mut Snapshot, meta: &SegmentMeta, error: &ReadError) {
        let why = meta.loss(error);
        let is_unread = matches!(error, ReadError::Io { .. });
        // Here before any snapshot is without it.
        self.aside.lock().push(Aside { meta: meta.clone(), why: why.clone(), is_unread, is_puzzle: false });
        snapshot.miss(meta, why);
    }

    /// Returns the segments that are out of answers and may come back.
    pub(super) fn aside(&self) -> Vec<Aside> {
        self.aside.lock().clone()
    }

    /// Notes that the catalog has its word on a segment now: it does not come back.
    pub(super) fn give_up(&self, id: SegmentId) {
        self.aside.lock().retain(|aside| aside.meta.id != id);
    }

    /// Notes that a segment has the right checksums and cannot be read all the same.
    pub(super) fn puzzle(&self, id: SegmentId) {
        self.aside.lock().iter_mut().filter(|a| a.meta.id == id).for_each(|a| a.is_puzzle = true);
    }

    /// Puts a segment that can be read after all back into answers.
    pub(super) fn put_back(&self, aside: &Aside, segment: AnySegment) {
        self.change(|snapshot| {
            snapshot.add(segment);
            let view = snapshot.tenant(&aside.meta.tenant);
            view.metrics.missing.retain(|(_, why)| *why != aside.why);
            view.logs.missing.retain(|(_, why)| *why != aside.why);
        });
        self.give_up(aside.meta.id);
    }
}

impl Snapshot {
    /// Returns a tenant's view to be changed; a new one where there is none.
    pub(crate) fn tenant(&mut self, tenant: &TenantId) -> &mut TenantView {
        let lost = &self.lost;
        let view = self.tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(TenantView::new(lost)));
        Arc::make_mut(view)
    }

    /// Remembers that rows of any tenant may be missing.
    pub(super) fn lose_rows(&mut self, lost: Vec<(SpanMs, String)>) {
        for view in self.tenants.values_mut() {
            let view = Arc::make_mut(view);
            view.metrics.missing.extend(lost.iter().cloned());
            view.logs.missing.extend(lost.iter().cloned());
        }
        self.lost = lost.into();
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
        let lost = self.lost.iter().map(|(_, why)| why.clone());
        let mut all: Vec<String> = lost.chain(self.tenants.values().flat_map(of_view)).collect();
        // What any tenant may lack is said once.
        let mut said = HashSet::new();
        all.retain(|why| said.insert(why.clone()));
        all
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
