//! From heads to segments.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::jobs::Job;
use super::plan::{self, Eagerness};
use super::{Frozen, FrozenTenant, Inner, StoreError};
use crate::append::MetricMetadata;
use crate::catalog::{CatalogError, Seal};
use crate::logs;
use crate::metrics::{self, Target};
use crate::model::TenantId;
use crate::segment::SegmentMeta;
use crate::step::{Step, Work};

impl Inner {
    /// Seals what the heads hold; `false` when they hold nothing new.
    ///
    /// Heads that a failed attempt left frozen are sealed first: their position comes first.
    pub(super) async fn seal(self: &Arc<Self>) -> Result<bool, StoreError> {
        let mut waiting = self.sealing.lock().await;
        // What is written now could not be recorded, and would lie on the disk until a restart.
        if self.gate.catalog_failed.load(Ordering::Acquire) {
            return Err(CatalogError::ReadOnly.into());
        }
        // Log records are held against segments, so it must be known which of these there are.
        self.note_suspects().await?;
        self.make_room_for_segments().await;
        let mut did = false;
        if let Some(frozen) = waiting.take() {
            let (result, frozen) = self.seal_frozen(frozen).await;
            *waiting = result.is_err().then_some(frozen);
            result?;
            did = true;
        }
        let frozen = self.appender.freeze().await.map_err(StoreError::Freeze)?;
        if frozen.position == self.counters.sealed_sequence.load(Ordering::Acquire) {
            return Ok(did);
        }
        self.env.steps.pass(Step::HeadsFrozen);
        let (result, frozen) = self.seal_frozen(frozen).await;
        *waiting = result.is_err().then_some(frozen);
        result.map(|()| true)
    }

    /// Merges first where a window has far too many segments. The heads grow meanwhile, and at
    /// their limit senders are refused: this is how ingest feels that merging is behind.
    async fn make_room_for_segments(self: &Arc<Self>) {
        while plan::is_crowded(&self.current.snapshot.load().metas()) {
            match self.merge_once(Eagerness::Background).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.note_failure(Job::Merge, &error),
            }
        }
    }

    async fn seal_frozen(self: &Arc<Self>, frozen: Frozen) -> (Result<(), StoreError>, Frozen) {
        if let Err(error) = self.save_patterns(&frozen).await {
            return (Err(error), frozen);
        }
        let frozen = Arc::new(frozen);
        let (inner, work) = (Arc::clone(self), Arc::clone(&frozen));
        let written = tokio::task::spawn_blocking(move || inner.write_segments(&work)).await;
        let result = match written {
            Err(_) => Err(StoreError::Died("sealing")),
            Ok(Err(error)) => Err(error),
            Ok(Ok(segments)) => self.make_known(&frozen, segments).await,
        };
        let frozen = Arc::try_unwrap(frozen)
            .unwrap_or_else(|shared| Frozen { position: shared.position, tenants: shared.tenants.clone() });
        (result, frozen)
    }

    fn write_segments(&self, frozen: &Frozen) -> Result<Vec<SegmentMeta>, StoreError> {
        let mut segments = Vec::new();
        for part in &frozen.tenants {
            let target = self.target(&part.tenant, frozen.position);
            if let Some(metrics) = &part.metrics {
                segments.extend(metrics::segment::write(&target, metrics)?);
                self.env.steps.pass(Step::Written(Work::Seal));
            }
            if let Some(logs) = &part.logs {
                // Records that a sender repeated after they were sealed are left out here.
                let view = self.current.snapshot.load().tenants.get(&part.tenant).cloned();
                let live = view.map_or(Vec::new(), |view| view.logs.segments.clone());
                let written = logs::segment::write(&target, logs, &live);
                if let Err(metrics::SegmentError::Input(error)) = &written
                    && let Some(path) = error.bad_file()
                {
                    // The next attempt is made without it, or with it when it can be read again.
                    self.current.lose(path, error);
                }
                segments.extend(written.map_err(StoreError::Logs)?);
                self.env.steps.pass(Step::Written(Work::Seal));
            }
        }
        Ok(segments)
    }

    pub(super) fn target(&self, tenant: &TenantId, sequence: u64) -> Target {
        Target { disk: Arc::clone(&self.env.disk), tenant: tenant.clone(), ids: self.ids.clone(), sequence }
    }

    /// Records the segments, then swaps them for the frozen heads, then lets go of the log.
    async fn make_known(
        self: &Arc<Self>,
        frozen: &Frozen,
        segments: Vec<SegmentMeta>,
    ) -> Result<(), StoreError> {
        let opened = segments.iter().map(|meta| self.open_segment(meta)).collect::<Result<Vec<_>, _>>()?;
        let metadata: Vec<(TenantId, MetricMetadata)> = frozen
            .tenants
            .iter()
            .flat_map(|part| part.metadata.iter().map(|m| (part.tenant.clone(), m.clone())))
            .collect();
        let before = self.counters.sealed_sequence.load(Ordering::Acquire);
        let seal = Seal { position_before: before, position_after: frozen.position, segments, metadata };
        let steps = &self.env.steps;
        let sealed = self.catalog.seal(&seal, &|| steps.pass(Step::Recording(Work::Seal))).await;
        sealed.inspect_err(|_| self.doubt())?;
        steps.pass(Step::Recorded(Work::Seal));
        self.current.change(|snapshot| {
            for FrozenTenant { tenant, metrics, logs, .. } in &frozen.tenants {
                let view = snapshot.tenant(tenant);
                if let Some(done) = metrics {
                    view.metrics.frozen.retain(|f| !Arc::ptr_eq(f.head(), done.head()));
                }
                if let Some(done) = logs {
                    view.logs.frozen.retain(|f| !Arc::ptr_eq(f.head(), done.head()));
                }
            }
            for segment in opened {
                snapshot.add(segment);
            }
        });
        steps.pass(Step::Shown(Work::Seal));
        self.counters.sealed_sequence.store(frozen.position, Ordering::Release);
        self.counters.n_seals.fetch_add(1, Ordering::Relaxed);
        self.counters.jobs.done(Job::Seal, self.env.clock.now());
        self.shared.weigh();
        self.merge_wanted.notify_one();
        tracing::info!(position = frozen.position, n_segments = seal.segments.len(), "sealed the heads");
        // The catalog covers these files: one that stays for now is removed with the next sealing or at the next
        // start, and what was sealed is sealed.
        let removed = self.closed_files.remove_covered(self.env.disk.as_ref(), frozen.position);
        steps.pass(Step::Removed(Work::Seal));
        if let Err(source) = removed {
            let doing = "removing sealed files of the write-ahead log";
            self.note_failure(Job::Seal, &StoreError::Disk { doing, source });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use crate::disk::{Fault, Operation};
    use crate::store::tests::{Model, NOW_MS, Rig, everything, put, sample};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_sealed_is_not_sealed_again_because_a_file_could_not_be_removed() {
        let rig = Rig::new();
        let store = rig.open().await;
        let mut model = Model::new();
        for after in 0..8 {
            put(&store, &mut model, &[sample("a", NOW_MS + after as i64, 1.0)]).await;
            let error = io::ErrorKind::Other;
            rig.faulty.inject(Fault {
                operation: Operation::Folder,
                after,
                error,
                short: 0,
                for_ever: false,
            });
            let _ = store.inner.seal().await;
            rig.faulty.heal();
            store.inner.seal().await.unwrap();
            assert_eq!(everything(&store.reader(), &rig.clock).0, model);
            let rows: u64 = store.status().tables.iter().map(|table| table.n_rows).sum();
            assert_eq!(rows, model.len() as u64, "sealed twice after failure {after}");
        }
        store.shutdown().await.unwrap();
    }
}
