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
