//! The door through which data comes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::spares::Spares;
use super::{AppendError, Appended, LogBatch, MetricBatch};
use crate::model::{Clock, TenantId};

/// Largest batch, in decoded bytes. Receivers refuse requests above 64 MiB decoded; columns with
/// their lengths take somewhat more than that in the worst case.
const BATCH_BYTES_MAX: usize = 128 << 20;

/// Decoded bytes that may wait for the log at once; further senders wait.
const WAITING_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;

/// Batches that may wait for the log at once; further senders wait.
const WAITING_MAX: usize = 1024;

/// Longest that a sender waits for heads to be sealed before it is refused: a little less than the
/// shortest time-out that common senders have (10 s), so that they see the answer.
const SEAL_WAIT_MAX: Duration = Duration::from_secs(8);

/// A permit stands for so many bytes, since a semaphore counts in 32 bits.
const PERMIT_BYTES: usize = 1024;

/// Takes batches. Cheap to clone; all clones feed one log.
#[derive(Clone, Debug)]
pub struct Appender {
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<Work>,
    room: Arc<Semaphore>,
}

/// What stands between senders and the log.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// A write or sync of the log failed; nothing is taken until a restart.
    pub(crate) log_failed: AtomicBool,
    /// A sync of the catalog failed, which is no better.
    pub(crate) catalog_failed: Arc<AtomicBool>,
    pub(crate) closed: AtomicBool,
    /// Bytes free on the disk as last seen, and how many must stay free.
    pub(crate) free_bytes: AtomicU64,
    pub(crate) free_bytes_min: u64,
    /// Bytes held by heads and frozen heads as last seen, and how many there may be.
    pub(crate) head_bytes: AtomicU64,
    pub(crate) head_bytes_max: u64,
    /// Rung when frozen heads were sealed, or the store closes.
    pub(crate) eased: Notify,
    /// Stored batches come back here, to be filled again.
    pub(crate) spares: Spares,
}

impl Gate {
    /// Tells whether nothing is taken until a restart.
    pub(crate) fn is_read_only(&self) -> bool {
        self.log_failed.load(Ordering::Acquire) || self.catalog_failed.load(Ordering::Acquire)
    }

    pub(crate) fn check(&self) -> Result<(), AppendError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        if self.is_read_only() {
            return Err(AppendError::ReadOnly);
        }
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        if free_bytes < self.free_bytes_min {
            return Err(AppendError::DiskFull { free_bytes, needed_bytes: self.free_bytes_min });
        }
        let head_bytes = self.head_bytes.load(Ordering::Relaxed);
        if head_bytes > self.head_bytes_max {
            return Err(AppendError::Overloaded { head_bytes, limit_bytes: self.head_bytes_max });
        }
        Ok(())
    }
}

/// What the log's thread is asked to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// Make a batch durable and hand it on to the head.
    Append(Pending),
    /// Close the log's file and freeze all heads after what came before.
    Freeze(oneshot::Sender<crate::store::Frozen>),
    /// Finish what came before, refuse what comes after.
    Stop,
}

/// A batch on its way, with whoever waits for it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) tenant: TenantId,
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Result<Appended, AppendError>>,
    /// Gives its room back when the batch is dropped.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// Data of either kind.
#[derive(Debug)]
pub(crate) enum Batch {
    Metrics(MetricBatch),
    Logs(LogBatch),
}

impl Appender {
    pub(crate) fn new(gate: Arc<Gate>, clock: Arc<dyn Clock>) -> (Self, mpsc::Receiver<Work>) {
        let (queue, work) = mpsc::channel(WAITING_MAX);
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX / PERMIT_BYTES));
        (Self { gate, clock, queue, room }, work)
    }

    /// Returns an empty batch, one that was stored before where there is one: its columns have their memory already.
    pub fn empty_batch(&self) -> MetricBatch {
        self.gate.spares.take()
    }

    /// Stores samples; `Ok` means that they are durable and that the next query sees them.
    ///
    /// Waits while too much is on its way to the log. A caller that stops waiting does not take
    /// its batch back.
    ///
    /// # Errors
    /// [`AppendError`]; whether the batch was stored is then not known, sending it again is harmless.
    pub async fn metrics(&self, tenant: &TenantId, batch: MetricBatch) -> Result<Appended, AppendError> {
        if batch.is_empty() {
            return Ok(Appended::default());
        }
        let bytes = batch.bytes();
        self.append(tenant, Batch::Metrics(batch), bytes).await
    }

    /// Stores log records; as [`metrics`](Self::metrics).
    ///
    /// # Errors
    /// As [`metrics`](Self::metrics).
    pub async fn logs(&self, tenant: &TenantId, batch: LogBatch) -> Result<Appended, AppendError> {
        if batch.records.is_empty() {
            return Ok(Appended::default());
        }
        let bytes = batch.bytes();
        self.append(tenant, Batch::Logs(batch), bytes).await
    }

    /// Waits until a batch would be taken, so that a receiver can hold or refuse it before it decodes.
    ///
    /// While the heads are at their limit this waits for them to be sealed, up to eight seconds: senders
    /// slow down to what the store can do, and only where it stands still are they told to come again.
    ///
    /// # Errors
    /// As [`metrics`](Self::metrics).
    pub async fn ready(&self) -> Result<(), AppendError> {
        let since = self.clock.elapsed();
        loop {
            let eased = self.gate.eased.notified();
            let refusal = match self.gate.check() {
                Err(refusal @ AppendError::Overloaded { .. }) => refusal,
                done => return done,
            };
            let waited = self.clock.elapsed().saturating_sub(since);
            let Some(left) = SEAL_WAIT_MAX.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(refusal);
            };
            tokio::select! {
                () = eased => {}
                () = self.clock.sleep(left) => {}
            }
        }
    }

    async fn append(&self, tenant: &TenantId, batch: Batch, bytes: usize) -> Result<Appended, AppendError> {
        self.ready().await?;
        if bytes > BATCH_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes, limit: BATCH_BYTES_MAX });
        }
        let permits = u32::try_from(bytes / PERMIT_BYTES + 1).map_err(|_| AppendError::Closed)?;
        let room =
            Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending { tenant: tenant.clone(), batch, reply, _room: room };
        self.queue.send(Work::Append(pending)).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    pub(crate) async fn freeze(&self) -> Result<crate::store::Frozen, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Work::Freeze(reply)).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)
    }

    pub(crate) async fn stop(&self) {
        // The log's thread is gone already when nobody takes this.
        let _ = self.queue.send(Work::Stop).await;
    }
}
