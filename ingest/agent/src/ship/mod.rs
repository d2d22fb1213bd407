//! Empties a queue into a server.
//!
//! One batch at a time and one task a queue, so that metrics never wait for logs. A batch is acknowledged when the
//! server has stored it or will never store it; until then it stays in the queue as it is, so that sent twice it is
//! stored once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Client, Content};
use crate::clock::{Clock, Random, full_jitter};
use crate::counters::{Count, Counters};
use crate::queue::{Batch, Order, Queue};

const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
// How often an empty queue is looked at when nobody has rung the bell.
const IDLE: Duration = Duration::from_secs(1);

/// What a shipper needs.
#[derive(Debug)]
pub(crate) struct Shipper {
    pub(crate) queue: Arc<Mutex<Queue>>,
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) content: Content,
    /// Newest first once sending has failed, so that fresh data does not wait behind a backlog.
    pub(crate) order: Order,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) counters: Arc<Counters>,
    /// Rung when something was queued.
    pub(crate) bell: Arc<tokio::sync::Notify>,
    pub(crate) shutdown: CancellationToken,
}

impl Shipper {
    /// Sends until it is told to stop; then what is queued at that moment, for at most `drain`.
    pub(crate) async fn run(self, drain: Duration) {
        let mut attempt = 0;
        while !self.shutdown.is_cancelled() {
            let Some(batch) = self.take().await else {
                tokio::select! {
                    () = self.bell.notified() => {}
                    () = self.clock.sleep(IDLE) => {}
                    () = self.shutdown.cancelled() => {}
                }
                continue;
            };
            let seq = batch.seq;
            let answer = tokio::select! {
                answer = self.send(batch) => answer,
                // Sent again at the next start, and stored once.
                () = self.shutdown.cancelled() => {
                    self.queue.lock().release(seq);
                    break;
                }
            };
            match answer {
                None => attempt = 0,
                Some(after) => {
                    let wait = full_jitter(self.random.as_ref(), RETRY_BASE, RETRY_MAX, attempt);
                    attempt += 1;
                    tokio::select! {
                        () = self.clock.sleep(after.unwrap_or_default().max(wait)) => {}
                        () = self.shutdown.cancelled() => {}
                    }
                }
            }
        }
        self.drain(drain).await;
        self.queue.lock().close();
    }

    /// Sends what is left without waiting for a server that is not there.
    async fn drain(&self, limit: Duration) {
        let deadline = self.clock.sleep(limit);
        tokio::pin!(deadline);
        while let Some(batch) = self.take().await {
            let seq = batch.seq;
            let done = tokio::select! {
                answer = self.send(batch) => answer.is_none(),
                () = &mut deadline => {
                    self.queue.lock().release(seq);
                    false
                }
            };
            if !done {
                return;
            }
        }
    }

    /// Sends one batch. `None`: it is done with; else it must wait, perhaps for as long as the server says.
    async fn send(&self, batch: Batch) -> Option<Option<Duration>> {
        let Batch { seq, items, payload } = batch;
        let (sent, refused) = self.counts();
        match self.client.send(&self.url, self.content, payload).await {
            Answer::Accepted => {
                sent.add(u64::from(items));
                self.queue.lock().ack(seq);
                None
            }
            Answer::Refused { why } => {
                refused.add(u64::from(items));
                tracing::warn!(url = self.url, items, why, "the server refused a batch for good");
                self.queue.lock().ack(seq);
                None
            }
            Answer::Later { why, after } => {
                self.counters.send_retries.add(1);
                tracing::warn!(url = self.url, why, "a batch could not be sent, and waits");
                self.queue.lock().release(seq);
                Some(after)
            }
        }
    }

    fn counts(&self) -> (&Count, &Count) {
        match self.content {
            Content::RemoteWrite => (&self.counters.metrics_sent, &self.counters.metrics_refused),
            Content::OtlpLogs(_) => (&self.counters.logs_sent, &self.counters.logs_refused),
        }
    }

    /// Reads a batch off the disk, outside of the async threads.
    async fn take(&self) -> Option<Batch> {
        let (queue, order) = (Arc::clone(&self.queue), self.order);
        tokio::task::spawn_blocking(move || queue.lock().take(order)).await.ok().flatten()
    }
}
