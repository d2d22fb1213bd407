//! Empties a queue into a server.
//!
//! One batch at a time and one task a queue, so that metrics never wait for logs. A batch is acknowledged when the
//! server has stored it or will never store it; until then it stays in the queue as it is, so that sent twice it is
//! stored once.
//!
//! A batch that the server finds too large is cut in two until each part fits. The parts are held in memory, and the
//! batch stays in the queue until the last of them is done with, so a crash sends it again as a whole; what was
//! stored of it already is then stored once all the same.

mod cut;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Client, Content};
use crate::clock::{Clock, Random, full_jitter};
use crate::counters::{Count, Counters};
use crate::queue::{Batch, Order, Queue};
use cut::{Part, cut};

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

/// A batch being sent.
#[derive(Debug)]
struct Work {
    seq: u64,
    /// What is still to be sent, the next one last; a single part until the batch was cut.
    parts: Vec<Part>,
    was_cut: bool,
    /// Added to the counters once the batch is done with, since until then it may be sent again from its start.
    n_sent: u64,
    n_refused: u64,
    n_oversized: u64,
}

impl Work {
    fn new(batch: Batch) -> Self {
        let part = Part { items: u64::from(batch.items), payload: batch.payload };
        Self { seq: batch.seq, parts: vec![part], was_cut: false, n_sent: 0, n_refused: 0, n_oversized: 0 }
    }
}

/// What became of a batch.
enum Sent {
    /// It is done with.
    Done,
    /// It must wait, perhaps for as long as the server says. What is left of a batch that was cut is kept.
    Later { after: Option<Duration>, left: Option<Work> },
}

impl Shipper {
    /// Sends until it is told to stop; then what is queued at that moment, for at most `drain`.
    pub(crate) async fn run(self, drain: Duration) {
        let mut attempt = 0;
        let mut left: Option<Work> = None;
        while !self.shutdown.is_cancelled() {
            let next = match left.take() {
                Some(work) => Some(work),
                None => self.take().await.map(Work::new),
            };
            let Some(work) = next else {
                tokio::select! {
                    () = self.bell.notified() => {}
                    () = self.clock.sleep(IDLE) => {}
                    () = self.shutdown.cancelled() => {}
                }
                continue;
            };
            let seq = work.seq;
            let sent = tokio::select! {
                sent = self.send(work) => sent,
                // Sent again at the next start, and stored once.
                () = self.shutdown.cancelled() => {
                    self.queue.lock().release(seq);
                    break;
                }
            };
            match sent {
                Sent::Done => attempt = 0,
                Sent::Later { after, left: rest } => {
                    left = rest;
                    let wait = full_jitter(self.random.as_ref(), RETRY_BASE, RETRY_MAX, attempt);
                    attempt += 1;
                    tokio::select! {
                        () = self.clock.sleep(after.unwrap_or_default().max(wait)) => {}
                        () = self.shutdown.cancelled() => {}
                    }
                }
            }
        }
        if let Some(work) = left {
            self.queue.lock().release(work.seq);
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
                sent = self.send(Work::new(batch)) => matches!(sent, Sent::Done),
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

    /// Sends what is left of a batch.
    async fn send(&self, mut work: Work) -> Sent {
        while let Some(part) = work.parts.pop() {
            let Part { items, payload } = &part;
            match self.client.send(&self.url, self.content, payload.clone()).await {
                Answer::Accepted => work.n_sent += items,
                Answer::Refused { extent, why } => {
                    let n_refused = extent.of(*items);
                    work.n_refused += n_refused;
                    work.n_sent += items - n_refused;
                    tracing::warn!(url = self.url, items, n_refused, why, "the server refused data for good");
                }
                Answer::TooLarge { why } => self.cut(&mut work, part, &why).await,
                Answer::Later { why, after } => {
                    self.counters.send_retries.add(1);
                    tracing::warn!(url = self.url, why, "a batch could not be sent, and waits");
                    work.parts.push(part);
                    if work.was_cut {
                        return Sent::Later { after, left: Some(work) };
                    }
                    self.queue.lock().release(work.seq);
                    return Sent::Later { after, left: None };
                }
            }
        }
        let [sent, refused, oversized] = self.counts();
        sent.add(work.n_sent);
        refused.add(work.n_refused);
        oversized.add(work.n_oversized);
        self.queue.lock().ack(work.seq);
        Sent::Done
    }

    /// Puts the halves of a part that the server finds too large in its place; one that cannot be cut is dropped.
    async fn cut(&self, work: &mut Work, part: Part, why: &str) {
        let Part { items, payload } = part;
        let (content, n_bytes) = (self.content, payload.len());
        let halves = tokio::task::spawn_blocking(move || cut(content, &payload)).await;
        let reason = match halves {
            Ok(Ok(Some([first, second]))) => {
                if !work.was_cut {
                    tracing::warn!(
                        url = self.url,
                        items,
                        n_bytes,
                        why,
                        "the server takes smaller batches: cut in two"
                    );
                }
                work.was_cut = true;
                work.parts.extend([second, first]);
                return;
            }
            Ok(Ok(None)) => "it cannot be cut any further".to_owned(),
            Ok(Err(e)) => crate::client::chain(&e),
            Err(e) => e.to_string(),
        };
        tracing::error!(
            url = self.url,
            items,
            n_bytes,
            why,
            reason,
            "data too large for the server was dropped"
        );
        work.n_oversized += items;
    }

    /// Returns where to count what was sent, refused, and too large.
    fn counts(&self) -> [&Count; 3] {
        let counters = &self.counters;
        match self.content {
            Content::RemoteWrite => {
                [&counters.metrics_sent, &counters.metrics_refused, &counters.metrics_oversized]
            }
            Content::OtlpLogs(_) => [&counters.logs_sent, &counters.logs_refused, &counters.logs_oversized],
        }
    }

    /// Reads a batch off the disk, outside of the async threads.
    async fn take(&self) -> Option<Batch> {
        let (queue, order) = (Arc::clone(&self.queue), self.order);
        tokio::task::spawn_blocking(move || queue.lock().take(order)).await.ok().flatten()
    }
}
