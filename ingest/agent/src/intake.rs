//! Puts samples into the queue: collects what collectors and scrapers bring into remote write requests.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use greylight_wire::remote_write::{Encoder, Metadata, Sample};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::counters::Counters;
use crate::metric::{Collected, FamilyInfo, OwnedSample};
use crate::queue::Queue;

// What is known of a family is sent anew now and then, for a server that has lost or never had it.
const METADATA_EVERY: Duration = Duration::from_secs(300);
// A queue whose disk fails is asked again, with the very same batch.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// What the task works with.
#[derive(Debug)]
pub(crate) struct MetricIntake {
    pub(crate) queue: Arc<Mutex<Queue>>,
    pub(crate) input: mpsc::Receiver<Collected>,
    pub(crate) flush: Duration,
    pub(crate) samples_max: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) bell: Arc<Notify>,
    pub(crate) shutdown: CancellationToken,
}

impl MetricIntake {
    /// Runs until every collector and scraper has stopped and what they brought is queued.
    pub(crate) async fn run(mut self) {
        let mut encoder = Encoder::default();
        let mut told: HashMap<Cow<'static, str>, (FamilyInfo, Duration)> = HashMap::new();
        while let Some(first) = self.input.recv().await {
            self.encode(&mut encoder, first, &mut told);
            let due = self.clock.sleep(self.flush);
            tokio::pin!(due);
            while encoder.n_samples() < self.samples_max {
                tokio::select! {
                    more = self.input.recv() => match more {
                        Some(more) => self.encode(&mut encoder, more, &mut told),
                        None => break,
                    },
                    () = &mut due => break,
                }
            }
            self.store(&mut encoder).await;
        }
    }

    fn encode(
        &self,
        encoder: &mut Encoder,
        collected: Collected,
        told: &mut HashMap<Cow<'static, str>, (FamilyInfo, Duration)>,
    ) {
        let now = self.clock.elapsed();
        for OwnedSample { labels, t_ms, value } in &collected.samples {
            let pairs = labels.iter().map(|(name, value)| (name.as_ref(), value.as_str()));
            encoder.series(pairs, &[Sample { t_ms: *t_ms, value: *value }]);
        }
        for family in collected.families {
            let is_fresh = |at: &Duration| now.saturating_sub(*at) < METADATA_EVERY;
            if told.get(&family.name).is_some_and(|(last, at)| *last == family && is_fresh(at)) {
                continue;
            }
            let FamilyInfo { name, kind, help } = &family;
            encoder.metadata(&Metadata { family: name, metric_type: *kind, help, unit: "" });
            told.insert(family.name.clone(), (family, now));
        }
    }

    /// Puts a batch into the queue, however often that takes.
    async fn store(&self, encoder: &mut Encoder) {
        let items = u32::try_from(encoder.n_samples()).unwrap_or(u32::MAX);
        if encoder.is_empty() {
            return;
        }
        let payload: Arc<[u8]> = encoder.finish().into();
        loop {
            let (queue, payload) = (Arc::clone(&self.queue), Arc::clone(&payload));
            let stored =
                tokio::task::spawn_blocking(move || queue.lock().append(&payload, items, Vec::new())).await;
            match stored {
                Ok(Ok(_)) => break,
                Ok(Err(e)) => {
                    self.counters.queue_errors.add(1);
                    tracing::error!(error = &e as &dyn std::error::Error, "samples could not be queued");
                }
                Err(e) => tracing::error!(error = %e, "queueing samples was broken off"),
            }
            tokio::select! {
                () = self.clock.sleep(DISK_RETRY) => {}
                // A disk that fails while the agent stops would keep it for ever.
                () = self.shutdown.cancelled() => return,
            }
        }
        self.bell.notify_one();
    }
}
