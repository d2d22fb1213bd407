//! Deleting samples by selector.
//!
//! Segments that hold such samples are written anew without them, and one catalog transaction puts
//! the new ones in the place of the old. So a deletion is over when it is answered, takes nothing
//! from reads afterwards, and is there in full or not at all after a crash. Tombstones that reads
//! apply until the next merge would answer sooner, but every read would pay, and what is deleted
//! would lie on the disk for an unknown time.

use std::sync::Arc;

use super::{Inner, Store, StoreError};
use crate::metrics::{self, Deletion, Left};
use crate::model::TenantId;
use crate::read::SpanMs;
use crate::segment::{SegmentId, SegmentMeta, Table};
use crate::step::{Step, Work};

/// What a deletion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Samples that are gone. One that is stored twice counts twice.
    pub n_samples: u64,
    /// Segments that were written anew or dropped.
    pub n_segments: u64,
}

/// Segments to drop, and those that come instead.
#[derive(Debug, Default)]
struct Rewritten {
    removed: Vec<SegmentId>,
    added: Vec<SegmentMeta>,
    n_samples: u64,
}

impl Store {
    /// Deletes samples of a tenant that were acknowledged before; what comes later is taken as ever.
    /// Answers when they are gone from answers and, as soon as no reader holds them, from the disk.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is deleted then.
    pub async fn delete_series(&self, tenant: &TenantId, deletion: Deletion) -> Result<Deleted, StoreError> {
        let inner = &self.inner;
        // Then only segments hold what there was before, and none of them what comes after.
        inner.seal().await?;
        let merging = inner.merging.lock().await;
        let ids: Vec<SegmentId> = inner.segments_of(tenant, &deletion).iter().map(|s| s.meta().id).collect();
        let asked = (tenant.clone(), deletion.span);
        let (work, tenant) = (Arc::clone(inner), tenant.clone());
        let written = tokio::task::spawn_blocking(move || work.write_without(&tenant, &deletion)).await;
        let rewritten = match written.map_err(|_| StoreError::Died("deleting"))? {
            Ok(rewritten) => rewritten,
            Err(error) => {
                // A damaged segment would be in the way of every deletion.
                inner.quarantine_damaged(&ids, &merging).await?;
                return Err(error);
            }
        };
        if inner.may_have_more(&asked.0, &asked.1) {
            let files = rewritten.added.iter().flat_map(|meta| &meta.files);
            files.for_each(|file| drop(inner.env.disk.remove(&file.path)));
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
        Ok(Deleted { n_samples: rewritten.n_samples, n_segments })
    }
}

impl Inner {
    /// Tells whether a segment that may come back could bring samples of a span with it.
    fn may_have_more(&self, tenant: &TenantId, span: &SpanMs) -> bool {
        self.current.aside().iter().map(|aside| &aside.meta).any(|meta| {
            meta.tenant == *tenant
                && meta.table == Table::Metrics
                && meta.span.start <= span.end
                && span.start <= meta.span.end
        })
    }

    fn segments_of(&self, tenant: &TenantId, deletion: &Deletion) -> Vec<Arc<metrics::Segment>> {
        let snapshot = self.current.snapshot.load();
        let mut segments =
            snapshot.tenants.get(tenant).map_or(Vec::new(), |view| view.metrics.segments.clone());
        segments.retain(|segment| {
            let span = segment.meta().span;
            span.start <= deletion.span.end && deletion.span.start <= span.end
        });
        segments
    }

    fn write_without(&self, tenant: &TenantId, deletion: &Deletion) -> Result<Rewritten, StoreError> {
        let mut rewritten = Rewritten::default();
        for segment in self.segments_of(tenant, deletion) {
            let target = self.target(tenant, segment.meta().sequence);
            let left = metrics::without(&target, &segment, deletion).inspect_err(|_| {
                // The first error is the one to tell; what stays behind has no entry in the catalog.
                let files = rewritten.added.iter().flat_map(|meta| &meta.files);
                files.for_each(|file| drop(self.env.disk.remove(&file.path)));
            })?;
            let n_samples = match left {
                Left::All => continue,
                Left::Some(meta, n_samples) => {
                    rewritten.added.push(*meta);
                    n_samples
                }
                Left::Nothing(n_samples) => n_samples,
            };
            rewritten.removed.push(segment.meta().id);
            rewritten.n_samples += n_samples;
        }
        Ok(rewritten)
    }
}

#[cfg(test)]
mod tests;
