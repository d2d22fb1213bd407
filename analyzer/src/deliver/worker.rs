//! Takes what is due from the outbox and sends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use greylight_store::model::{Clock, Random};
use greylight_store::records::{Outgoing, Records};
use tokio_util::sync::CancellationToken;

use super::client::{Attempt, post};
use super::guard::AllowList;
use super::message::Message;
use super::{DeliveriesConfig, GuardError, SCHEDULE};

/// Messages taken at once; more wait for the next round.
const BATCH: usize = 64;
/// The outbox is looked at this often even if nobody says that something was put in.
const ROUND: Duration = Duration::from_millis(500);

/// Sends messages until it is stopped.
#[derive(Debug)]
pub(crate) struct Worker {
    records: Records,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    allow: AllowList,
    timeout: Duration,
    wake: Arc<tokio::sync::Notify>,
}

/// Stops a running worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl WorkerHandle {
    /// Stops taking messages, lets the attempts under way end, and returns.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the delivery worker did not end well");
        }
    }
}

impl Worker {
    /// Makes a worker; `wake` is notified by whoever puts something into the outbox.
    ///
    /// # Errors
    /// [`GuardError`] when an entry of `allow` cannot be read.
    pub(crate) fn new(
        records: Records,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        config: &DeliveriesConfig,
        wake: Arc<tokio::sync::Notify>,
    ) -> Result<Self, GuardError> {
        let allow = AllowList::parse(&config.allow)?;
        Ok(Self { records, clock, random, allow, timeout: config.timeout, wake })
    }

    /// Starts the worker on the current runtime.
    pub(crate) fn start(self) -> WorkerHandle {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                self.round().await;
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = self.wake.notified() => {}
                    () = self.clock.sleep(ROUND) => {}
                }
            }
        });
        WorkerHandle { stop, task }
    }

    /// Sends what is due now: targets side by side, the messages of one target one after another.
    async fn round(&self) {
        let due = match self.records.due(self.clock.now(), BATCH).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read; it is tried again");
                return;
            }
        };
        let mut queues: BTreeMap<String, Vec<Outgoing>> = BTreeMap::new();
        for outgoing in due {
            queues.entry(outgoing.queue.clone()).or_default().push(outgoing);
        }
        let sends = queues.into_values().map(|queue| async move {
            for outgoing in queue {
                // A target that fails once will most likely fail for the next message too.
                if !self.send(outgoing).await {
                    break;
                }
            }
        });
        futures::future::join_all(sends).await;
    }

    /// Makes one attempt and notes how it ended; false when it failed.
    async fn send(&self, outgoing: Outgoing) -> bool {
        let now = self.clock.now();
        let attempt = match Message::from_bytes(&outgoing.body) {
            Some(message) => {
                let now_s = now.as_millis().div_euclid(1000);
                post(&message, &outgoing.id, now_s, &self.allow, self.timeout).await
            }
            None => Attempt::Gone,
        };
        let id = &outgoing.id;
        let noted = match &attempt {
            Attempt::Delivered => self.records.delivered(id, "delivered").await,
            Attempt::Gone => self.records.give_up(id, "the receiver wants nothing any more (410)").await,
            Attempt::Failed { why, retry_after } => match self.next_wait(outgoing.attempts, *retry_after) {
                Some(wait) => self.records.retry_at(id, self.clock.now().saturating_add(wait), why).await,
                None => self.records.give_up(id, why).await,
            },
        };
        if let Attempt::Failed { why, .. } = &attempt {
            tracing::warn!(
                id,
                queue = outgoing.queue,
                attempts = outgoing.attempts + 1,
                why,
                "a delivery failed"
            );
        }
        if let Err(error) = noted {
            // The message stays due and goes out again under the same id.
            tracing::error!(%error, id, "the end of a delivery could not be noted");
        }
        attempt == Attempt::Delivered
    }

    /// Returns the wait before the next attempt, up to a fifth longer by chance; none after the last.
    fn next_wait(&self, attempts: u32, retry_after: Option<Duration>) -> Option<Duration> {
        let base = *SCHEDULE.get(usize::try_from(attempts).ok()?)?;
        let base = base.max(retry_after.unwrap_or_default());
        let part = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        Some(base.mul_f64(1.0 + 0.2 * part))
    }
}
