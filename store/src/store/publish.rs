//! Publishing the segments of metrics as Delta tables.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::jobs::Job;
use super::{Inner, Store, StoreError};
use crate::delta::{Published, Publisher};
use crate::model::Clock;

/// Publishes again and again, this far apart.
pub(super) async fn publish(
    inner: Weak<Inner>,
    clock: Arc<dyn Clock>,
    every: Duration,
    stop: CancellationToken,
) {
    loop {
        let Some(strong) = inner.upgrade() else { return };
        if let Err(error) = strong.publish().await {
            strong.note_failure(Job::Publish, &error);
        }
        strong.counters.jobs.next(Job::Publish, Some(clock.elapsed().saturating_add(every)));
        drop(strong);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(every) => {}
        }
    }
}

impl Store {
    /// Makes the Delta tables below `delta` what the segments of metrics are now. What is in the heads alone is not in
    /// them; [`flush`](Self::flush) first for that.
    ///
    /// # Errors
    /// [`StoreError::Delta`]; what was published before stays as it was.
    pub async fn publish_delta(&self) -> Result<Published, StoreError> {
        self.inner.publish().await
    }
}

impl Inner {
    async fn publish(self: &Arc<Self>) -> Result<Published, StoreError> {
        // Files must not go while they are linked.
        let _merging = self.merging.lock().await;
        if self.gate.free_bytes.load(Ordering::Relaxed) < self.gate.free_bytes_min {
            // Links keep files on the disk that retention and merging take away.
            return Err(StoreError::NoRoom("publishing"));
        }
        let inner = Arc::clone(self);
        let published = tokio::task::spawn_blocking(move || {
            let env = &inner.env;
            let (disk, random) = (env.disk.as_ref(), env.random.as_ref());
            let publisher = Publisher { disk, random, now: env.clock.now(), keep: inner.config.delta_keep };
            publisher.publish(&inner.current.snapshot.load().metas())
        });
        let published = published.await.map_err(|_| StoreError::Died("publishing"))??;
        let now = self.env.clock.now();
        if published.n_added + published.n_removed > 0 {
            self.counters.jobs.done(Job::Publish, now);
        } else {
            self.counters.jobs.idle(Job::Publish, now);
        }
        Ok(published)
    }
}
