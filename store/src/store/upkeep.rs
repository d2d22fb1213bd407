//! What goes on in the background: sealing, merging, retention, reading files again, watching the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::jobs::Job;
use super::plan::Eagerness;
use super::{Inner, StoreError, publish, scrub};
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
                Err(error) => inner.note_failure(Job::Merge, &error),
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
