//! What the first question after a start needs is read before anybody asks.
//!
//! A segment's series and pages are decoded once and then kept, which takes about a second for a million
//! series: the newest segments', which are asked for first, are read beside the replay of the log. A start
//! waits for them only briefly; what is left then is read behind the open doors.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::snapshot::Snapshot;
use crate::metrics::{IndexCache, Segment};

/// A start takes at most this much longer for the sake of the first question.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The reading that goes on.
pub(super) struct Warming {
    done: Receiver<()>,
    /// A start that fails ends it.
    guard: DropGuard,
}

impl Warming {
    /// Starts to read, newest segments first, until the cache is as good as full or the store ends.
    pub(super) fn start(snapshot: &Snapshot, cache: &Arc<IndexCache>, stop: &CancellationToken) -> Self {
        let views = snapshot.tenants.values();
        let mut segments: Vec<Arc<Segment>> =
            views.flat_map(|view| view.metrics.segments.iter().cloned()).collect();
        segments.sort_unstable_by_key(|segment| segment.meta().span.end);
        let (ended, done) = sync_channel::<()>(0);
        let (cache, stop) = (Arc::clone(cache), stop.child_token());
        let guard = stop.clone().drop_guard();
        // Nobody waits for its end: a disk that does not answer must not hold up a shutdown.
        let started = std::thread::Builder::new().name("store-warm".into()).spawn(move || {
            // Seen as a closed channel.
            let _ended = ended;
            while let Some(segment) = segments.pop() {
                if stop.is_cancelled() || cache.is_nearly_full() {
                    return;
                }
                if let Err(error) = segment.warm() {
                    // Whoever asks for it meets the same error, and is told.
                    tracing::debug!(segment = %segment.meta().id, %error, "a segment cannot be read ahead");
                }
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to read segments ahead; the first questions take longer");
        }
        Self { done, guard }
    }

    /// Waits for its end, or not much longer.
    pub(super) fn wait(self) {
        if self.done.recv_timeout(WAIT_MAX) == Err(RecvTimeoutError::Timeout) {
            tracing::info!("segments are still read ahead; the first questions may take longer");
        }
        self.guard.disarm();
    }
}

/// Makes the tables of series that came back from the log, which the first question needs too.
pub(super) fn tabulate_heads(snapshot: &Snapshot) {
    snapshot.tenants.values().for_each(|view| view.metrics.head.tabulate());
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Model, NOW_MS, Rig, put, sample};
    use crate::model::TenantId;
    use crate::read::{Budget, Limits, MetricSource as _, Select, SpanMs};
    use std::sync::Arc;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_question_after_a_start_finds_what_it_needs_in_memory() {
        let rig = Rig::new();
        let store = rig.open().await;
        let mut model = Model::new();
        put(&store, &mut model, &[sample("old", NOW_MS - 9 * 3_600_000, 1.0), sample("new", NOW_MS, 2.0)])
            .await;
        store.flush().await.unwrap();
        put(&store, &mut model, &[sample("in the log", NOW_MS + 1, 3.0)]).await;
        store.shutdown().await.unwrap();
        let store = rig.open().await;
        let mut files = rig.memory.files();
        files.retain(|file| file.to_string_lossy().contains(".series."));
        assert!(files.len() > 1, "{files:?}");
        files.iter().for_each(|file| rig.faulty.make_unreadable(file));
        let budget = Budget::new(Limits::default(), Arc::new(rig.clock.clone()));
        let select = Select { matchers: &[], span: SpanMs::ALL };
        let found = store.reader().select(&TenantId::default(), &select, &budget).unwrap();
        assert_eq!(found.series().len(), 3);
        store.shutdown().await.unwrap();
    }
}
