//! What goes on in the background: sealing, merging, retention, reading files again, watching the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::jobs::Job;
use super::plan::Eagerness;
use super::{Inner, StoreError, publish, recovery, scrub};
use crate::model::Clock;

/// How often the disk and the age of the head are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How often merges and retention are looked for when the last look found none.
const MERGE_TICK: Duration = Duration::from_secs(30);

/// After a failure the next attempt waits, longer each time up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Starts the tasks. They hold the store weakly between steps, so a store that is dropped without
/// a shutdown does not live on in them.
pub(super) fn start(inner: &Arc<Inner>, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let seals =
        tokio::spawn(seal_when_due(Arc::downgrade(inner), Arc::clone(&inner.env.clock), stop.clone()));
    let merges =
        tokio::spawn(merge_when_due(Arc::downgrade(inner), Arc::clone(&inner.env.clock), stop.clone()));
    let mut tasks = vec![seals, merges];
    if inner.config.scrub_bytes_per_second.0 > 0 {
        let clock = Arc::clone(&inner.env.clock);
        tasks.push(tokio::spawn(scrub::scrub(Arc::downgrade(inner), clock, stop.clone())));
    }
    if let Some(every) = inner.config.delta_every {
        let clock = Arc::clone(&inner.env.clock);
        tasks.push(tokio::spawn(publish::publish(Arc::downgrade(inner), clock, every, stop.clone())));
    }
    tasks
}

async fn seal_when_due(inner: std::sync::Weak<Inner>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let Some(wanted) = inner.upgrade().map(|inner| Arc::clone(&inner.shared.seal_wanted)) else { return };
    let mut backoff = Duration::ZERO;
    let mut not_before = Duration::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(TICK) => {}
            () = wanted.notified() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        inner.watch_disk();
        if let Err(error) = inner.note_suspects().await {
            inner.note_failure(Job::Check, &error);
        }
        if let Err(error) = inner.mend_indexes().await {
            inner.note_failure(Job::Check, &error);
        }
        let now = clock.elapsed();
        if now < not_before || !inner.seal_is_due(now) {
            continue;
        }
        match inner.seal().await {
            Ok(_) => backoff = Duration::ZERO,
            Err(error) => {
                inner.note_failure(Job::Seal, &error);
                inner.clear_up_after_failure().await;
                backoff = (backoff * 2).clamp(TICK, BACKOFF_MAX);
                not_before = clock.elapsed().saturating_add(backoff);
            }
        }
    }
}

async fn merge_when_due(inner: std::sync::Weak<Inner>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let Some(wanted) = inner.upgrade().map(|inner| Arc::clone(&inner.merge_wanted)) else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(MERGE_TICK) => {}
            () = wanted.notified() => {}
        }
        loop {
            let Some(inner) = inner.upgrade() else { return };
            if stop.is_cancelled() {
                return;
            }
            match inner.merge_once(Eagerness::Background).await {
                Ok(true) => {}
                Ok(false) => {
                    inner.counters.jobs.idle(Job::Merge, clock.now());
                    break;
                }
                Err(error) => {
                    inner.note_failure(Job::Merge, &error);
                    inner.clear_up_after_failure().await;
                }
            }
        }
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.retire().await {
            inner.note_failure(Job::Retire, &error);
        }
        let next = Some(clock.elapsed().saturating_add(MERGE_TICK));
        inner.counters.jobs.next(Job::Merge, next);
        inner.counters.jobs.next(Job::Retire, next);
    }
}

impl Inner {
    /// Looks how much space is left.
    pub(super) fn watch_disk(&self) {
        match self.env.disk.free_bytes() {
            Ok(free) => {
                let before = self.gate.free_bytes.swap(free, Ordering::Relaxed);
                let min = self.gate.free_bytes_min;
                if (before < min) != (free < min) {
                    tracing::warn!(free, min, refusing = free < min, "the disk passed its watermark");
                }
            }
            Err(error) => tracing::warn!(%error, "the disk does not say how much space is left"),
        }
    }

    /// Removes what a sealing, a merge or a deletion wrote that failed then: left until a restart, the leavings of each
    /// attempt on a full disk would fill it further. What cannot be removed now is removed at the next start.
    pub(super) async fn clear_up_after_failure(self: &Arc<Self>) {
        if let Err(error) = self.clear_up().await {
            self.note_failure(Job::Merge, &error);
        }
    }

    /// Notes, before whoever holds `sealing` or `merging` lets go of it, that the catalog failed at a change of the
    /// segments. Nobody knows then before a restart what it holds: files that it does not name may be all that there is
    /// of rows that the log has let go of.
    pub(super) fn doubt(&self) {
        self.is_in_doubt.store(true, Ordering::Release);
    }

    async fn clear_up(self: &Arc<Self>) -> Result<(), StoreError> {
        // Nobody writes segments meanwhile.
        let _sealing = self.sealing.lock().await;
        let _merging = self.merging.lock().await;
        if self.is_in_doubt.load(Ordering::Acquire) || self.gate.catalog_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let loaded = self.catalog.load().await?;
        let disk = Arc::clone(&self.env.disk);
        let removed = tokio::task::spawn_blocking(move || recovery::remove_orphans(disk.as_ref(), &loaded));
        let doing = "removing files that no segment has";
        removed
            .await
            .map_err(|_| StoreError::Died(doing))?
            .map_err(|source| StoreError::Disk { doing, source })?;
        Ok(())
    }

    fn seal_is_due(&self, now: Duration) -> bool {
        let since = Duration::from_millis(self.counters.head_since_ms.load(Ordering::Relaxed));
        let old = now.saturating_sub(since) >= self.config.head_age_max;
        let large = self.gate.head_bytes.load(Ordering::Relaxed) >= self.config.head_bytes_max.0;
        old || large
    }

    pub(super) fn note_failure(&self, job: Job, error: &StoreError) {
        let mut text = format!("{}: {error}", job.doing());
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        tracing::error!(error = text, "work in the background failed and is tried again");
        self.counters.n_failures.fetch_add(1, Ordering::Relaxed);
        self.counters.jobs.failed(job, self.env.clock.now(), text);
    }
}

#[cfg(test)]
mod tests {
    use crate::append::LogBatch;
    use crate::disk::{Fault, Operation};
    use crate::model::TenantId;
    use crate::store::tests::{Model, NOW_MS, Rig, everything, log_record, put, records, sample};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_work_that_failed_has_left_is_removed() {
        let mut rig = Rig::new();
        let store = rig.open().await;
        let mut model = Model::new();
        let mut n_failed = 0;
        for round in 0..3 {
            let t = NOW_MS - round;
            put(&store, &mut model, &[sample("a", t, 1.0), sample("b", t, 2.0)]).await;
            let batch = LogBatch { records: vec![log_record(t, "one"), log_record(t + 1, "two")] };
            store.appender().logs(&TenantId::default(), batch).await.unwrap();
            let before: Vec<_> =
                rig.memory.files().into_iter().filter(|f| f.starts_with("tenants")).collect();
            for after in 0..99 {
                let error = std::io::ErrorKind::StorageFull;
                let operation = Operation::Write;
                rig.faulty.inject(Fault { operation, after, error, short: 0, for_ever: false });
                let done = store.flush().await;
                rig.faulty.heal();
                if done.is_ok() {
                    break;
                }
                n_failed += 1;
                let left: Vec<_> =
                    rig.memory.files().into_iter().filter(|f| f.starts_with("tenants")).collect();
                let new: Vec<_> = left.iter().filter(|file| !before.contains(file)).collect();
                // What was sealed before a merge failed stays.
                let n_known = store.status().tables.iter().map(|table| table.n_segments).sum::<u64>();
                assert!(new.len() as u64 <= 3 * n_known, "{new:?} of {n_known} segments");
                assert!(n_known > 0 || new.is_empty(), "{new:?}");
                assert_eq!(everything(&store.reader(), &rig.clock).0, model);
            }
        }
        assert!(n_failed > 6, "{n_failed}");
        assert_eq!(records(&store.reader(), &rig.clock).len(), 6);
        assert!(store.verify().await.unwrap().is_clean());
        let n_files = rig.memory.files().iter().filter(|f| f.starts_with("tenants")).count();
        rig.crash(store, 0).await;
        let store = rig.open().await;
        let again = rig.memory.files().iter().filter(|f| f.starts_with("tenants")).count();
        assert_eq!(again, n_files, "the start found nothing to remove");
        assert_eq!(everything(&store.reader(), &rig.clock).0, model);
        store.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_catalog_may_have_recorded_stays() {
        let mut rig = Rig::new();
        let store = rig.open().await;
        let mut model = Model::new();
        put(&store, &mut model, &[sample("a", NOW_MS, 1.0)]).await;
        store.inner.catalog.close().await;
        assert!(store.flush().await.is_err());
        assert!(
            rig.memory.files().iter().any(|file| file.starts_with("tenants")),
            "{:?}",
            rig.memory.files()
        );
        rig.crash(store, 0).await;
        let store = rig.open().await;
        assert_eq!(everything(&store.reader(), &rig.clock).0, model);
        store.shutdown().await.unwrap();
    }
}
