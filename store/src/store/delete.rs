//! Deleting samples and log records by selector.
//!
//! Segments that hold such rows are written anew without them, and one catalog transaction puts
//! the new ones in the place of the old. So a deletion is over when it is answered, takes nothing
//! from reads afterwards, and is there in full or not at all after a crash. Tombstones that reads
//! apply until the next merge would answer sooner, but every read would pay, and what is deleted
//! would lie on the disk for an unknown time.

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, Store, StoreError};
use crate::logs::{self, LogSelect};
use crate::metrics::{self, Deletion, Left};
use crate::model::TenantId;
use crate::read::{Budget, Limits, SpanMs};
use crate::segment::{SegmentId, SegmentMeta, Table};
use crate::step::{Step, Work};

/// What a deletion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Samples or records that are gone. A sample that is stored twice counts twice.
    pub n_rows: u64,
    /// Segments that were written anew or dropped.
    pub n_segments: u64,
}

/// Segments to drop, and those that come instead.
#[derive(Debug, Default)]
struct Rewritten {
    removed: Vec<SegmentId>,
    added: Vec<SegmentMeta>,
    n_rows: u64,
}

/// Which rows a deletion may reach.
#[derive(Clone, Debug)]
struct Reach {
    tenant: TenantId,
    table: Table,
    span: SpanMs,
}

impl Reach {
    fn has(&self, meta: &SegmentMeta) -> bool {
        meta.tenant == self.tenant
            && meta.table == self.table
            && meta.span.start <= self.span.end
            && self.span.start <= meta.span.end
    }
}

impl Store {
    /// Deletes samples of a tenant that were acknowledged before; what comes later is taken as ever.
    /// Answers when they are gone from answers and, as soon as no reader holds them, from the disk.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is deleted then.
    pub async fn delete_series(&self, tenant: &TenantId, deletion: Deletion) -> Result<Deleted, StoreError> {
        let reach = Reach { tenant: tenant.clone(), table: Table::Metrics, span: deletion.span };
        self.delete(reach, move |inner, reach| inner.samples_without(reach, &deletion)).await
    }

    /// Deletes the log records of a tenant that a search selects and that were acknowledged before; what comes later
    /// is taken as ever, also what is sent again. Answers when they are gone, as
    /// [`delete_series`](Self::delete_series) does. Patterns that only they had stay in the catalog.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is deleted then.
    pub async fn delete_records(&self, tenant: &TenantId, select: LogSelect) -> Result<Deleted, StoreError> {
        let span = SpanMs { start: select.range.start().as_millis(), end: select.range.end().as_millis() };
        let reach = Reach { tenant: tenant.clone(), table: Table::Logs, span };
        let deleted = self.delete(reach, move |inner, reach| inner.records_without(reach, &select)).await?;
        if let Some(view) = self.inner.current.snapshot.load().tenants.get(tenant) {
            view.logs.head.forget_former();
        }
        Ok(deleted)
    }

    async fn delete(
        &self,
        reach: Reach,
        rewrite: impl FnOnce(&Inner, &Reach) -> Result<Rewritten, StoreError> + Send + 'static,
    ) -> Result<Deleted, StoreError> {
        let result = self.rewrite(reach, rewrite).await;
        if result.is_err() {
            self.inner.clear_up_after_failure().await;
        }
        result
    }

    async fn rewrite(
        &self,
        reach: Reach,
        rewrite: impl FnOnce(&Inner, &Reach) -> Result<Rewritten, StoreError> + Send + 'static,
    ) -> Result<Deleted, StoreError> {
        let inner = &self.inner;
        // Then only segments hold what there was before, and none of them what comes after.
        inner.seal().await?;
        let merging = inner.merging.lock().await;
        let mut metas = inner.current.snapshot.load().metas();
        metas.retain(|meta| reach.has(meta));
        let ids: Vec<SegmentId> = metas.iter().map(|meta| meta.id).collect();
        let (work, asked) = (Arc::clone(inner), reach.clone());
        let written = tokio::task::spawn_blocking(move || rewrite(&work, &asked)).await;
        let rewritten = match written.map_err(|_| StoreError::Died("deleting"))? {
            Ok(rewritten) => rewritten,
            Err(error) => {
                // A damaged segment would be in the way of every deletion.
                inner.quarantine_damaged(&ids, &merging).await?;
                return Err(error);
            }
        };
        // A segment that may come back could bring such rows with it.
        if inner.current.aside().iter().any(|aside| reach.has(&aside.meta)) {
            return Err(StoreError::Unread("deleting"));
        }
        let n_segments = rewritten.removed.len() as u64;
        if n_segments > 0 {
            let added: Result<Vec<_>, StoreError> = rewritten
                .added
                .into_iter()
                .map(|meta| Ok((meta.clone(), inner.open_segment(&meta)?)))
                .collect();
            inner.env.steps.pass(Step::Written(Work::Delete));
            inner.swap(Work::Delete, &rewritten.removed, added?).await?;
        }
        Ok(Deleted { n_rows: rewritten.n_rows, n_segments })
    }
}

impl Rewritten {
    fn add(&mut self, id: SegmentId, left: Left) {
        match left {
            Left::All => return,
            Left::Some(meta, n_rows) => {
                self.added.push(*meta);
                self.n_rows += n_rows;
            }
            Left::Nothing(n_rows) => self.n_rows += n_rows,
        }
        self.removed.push(id);
    }
}

impl Inner {
    fn samples_without(&self, reach: &Reach, deletion: &Deletion) -> Result<Rewritten, StoreError> {
        let snapshot = self.current.snapshot.load_full();
        let view = snapshot.tenants.get(&reach.tenant);
        let segments = view.map_or(&[][..], |view| &view.metrics.segments);
        let mut rewritten = Rewritten::default();
        for segment in segments.iter().filter(|segment| reach.has(segment.meta())) {
            let target = self.target(&reach.tenant, segment.meta().sequence);
            let left = metrics::without(&target, segment, deletion).map_err(StoreError::Metrics)?;
            rewritten.add(segment.meta().id, left);
        }
        Ok(rewritten)
    }

    fn records_without(&self, reach: &Reach, select: &LogSelect) -> Result<Rewritten, StoreError> {
        let snapshot = self.current.snapshot.load_full();
        let Some(view) = snapshot.tenants.get(&reach.tenant) else { return Ok(Rewritten::default()) };
        view.logs.learn();
        // Whoever deletes waits for it.
        let limits = Limits { series: u64::MAX, samples: u64::MAX, time: Duration::MAX };
        let budget = Budget::new(limits, Arc::clone(&self.env.clock));
        let mut rewritten = Rewritten::default();
        for segment in view.logs.segments.iter().filter(|segment| reach.has(segment.meta())) {
            let target = self.target(&reach.tenant, segment.meta().sequence);
            let left = logs::segment::without(&target, segment, select, &view.logs.templates, &budget);
            rewritten.add(segment.meta().id, left.map_err(StoreError::Logs)?);
        }
        Ok(rewritten)
    }
}

#[cfg(test)]
mod tests;
