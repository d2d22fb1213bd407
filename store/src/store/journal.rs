//! The two threads that every batch goes through: one writes and syncs the log, the other applies
//! to the heads, so that a group is applied while the next one is synced.
//!
//! Both do one thing after the other, in the order of the log. So a replay applies in the same
//! order, and when the heads are frozen at a position they hold exactly the frames up to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::{Notify, mpsc, oneshot};

use super::status::Counters;
use super::{Current, Frozen, FrozenTenant, Snapshot, TenantView};
use crate::append::{AppendError, Appended, Batch, Gate, LogBatch, Pending, Work};
use crate::logs::{self, Prepared};
use crate::metrics::wal_codec::{self, WalSeriesDict};
use crate::model::{Clock, TenantId};
use crate::step::{self, Steps};
use crate::wal::{CommitError, Kind, Writer};

/// A group is closed at this size, so that its first sender does not wait for ever and memory
/// stays bounded; a disk writes so much in less time than a sync takes.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// Groups that are durable and wait for the heads; the log waits when there are more.
const GROUPS_WAITING_MAX: usize = 2;

/// What the second thread is asked to do.
#[derive(Debug)]
enum Step {
    Apply(Vec<Pending>),
    Freeze { position: u64, reply: oneshot::Sender<Frozen> },
}

/// What both threads share with the rest of the store.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) current: Arc<Current>,
    pub(super) gate: Arc<Gate>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Arc<dyn Clock>,
    /// Rung when the heads have grown to the size at which they are sealed.
    pub(super) seal_wanted: Arc<Notify>,
    pub(super) seal_at_bytes: u64,
    pub(super) steps: Steps,
}

/// Starts the threads; they end after [`Work::Stop`], or when nobody can send any more.
pub(super) fn start(
    shared: Shared,
    writer: Writer,
    work: mpsc::Receiver<Work>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let (steps, todo) = sync_channel(GROUPS_WAITING_MAX);
    let heads = Heads { shared: shared.clone() };
    let log = Log { shared, writer, dict: WalSeriesDict::default(), steps };
    let heads = std::thread::Builder::new().name("greylight-head".into()).spawn(move || heads.run(&todo))?;
    let log = std::thread::Builder::new().name("greylight-log".into()).spawn(move || log.run(work))?;
    Ok(vec![log, heads])
}

/// The first thread.
struct Log {
    shared: Shared,
    writer: Writer,
    dict: WalSeriesDict,
    steps: SyncSender<Step>,
}

impl Log {
    fn run(mut self, mut work: mpsc::Receiver<Work>) {
        let mut next = work.blocking_recv();
        while let Some(item) = next.take() {
            match item {
                Work::Append(first) => next = self.group(first, &mut work),
                Work::Freeze(reply) => {
                    // What follows goes into another file, so that this one can be removed.
                    self.writer.close_file();
                    let position = self.writer.last_sequence();
                    if self.steps.send(Step::Freeze { position, reply }).is_err() {
                        break;
                    }
                }
                Work::Stop => break,
            }
            if next.is_none() {
                next = work.blocking_recv();
            }
        }
        work.close();
        while let Some(item) = work.blocking_recv() {
            if let Work::Append(pending) = item {
                refuse(pending, AppendError::Closed);
            }
        }
    }

    /// Writes a batch together with all that wait already; returns what ended the group.
    fn group(&mut self, first: Pending, work: &mut mpsc::Receiver<Work>) -> Option<Work> {
        if self.shared.gate.is_read_only() {
            refuse(first, AppendError::ReadOnly);
            return None;
        }
        match self.writer.begin() {
            Ok(true) => self.dict = WalSeriesDict::default(),
            Ok(false) => {}
            Err(error) => {
                self.fail(vec![first], error);
                return None;
            }
        }
        let mut group = Vec::new();
        let mut next = Some(Work::Append(first));
        let ended_by = loop {
            match next.take() {
                Some(Work::Append(pending)) => {
                    self.frame(&pending);
                    group.push(pending);
                }
                other => break other,
            }
            if self.writer.group_bytes() < GROUP_BYTES_MAX {
                next = work.try_recv().ok();
            }
        };
        match self.writer.commit() {
            Ok(committed) => {
                self.shared.steps.pass(step::Step::LogSynced);
                let counters = &self.shared.counters;
                counters.n_frames.fetch_add(group.len() as u64, Ordering::Relaxed);
                counters.wal_bytes.fetch_add(committed.bytes, Ordering::Relaxed);
                counters.n_syncs.fetch_add(1, Ordering::Relaxed);
                let nanos = u64::try_from(committed.sync_time.as_nanos()).unwrap_or(u64::MAX);
                counters.sync_nanos.fetch_add(nanos, Ordering::Relaxed);
                counters.sequence.store(self.writer.last_sequence(), Ordering::Relaxed);
                // The second thread only goes after this one, so nobody is left waiting.
                let _ = self.steps.send(Step::Apply(group));
            }
            Err(error) => self.fail(group, error),
        }
        ended_by
    }

    fn frame(&mut self, pending: &Pending) {
        let tenant = pending.tenant.as_str();
        let dict = &mut self.dict;
        match &pending.batch {
            Batch::Metrics(batch) => {
                self.writer.frame(Kind::Metrics, tenant, |out| wal_codec::encode(batch, dict, out));
            }
            Batch::Logs(batch) => {
                self.writer.frame(Kind::Logs, tenant, |out| logs::wal_codec::encode(batch, out));
            }
        }
    }

    fn fail(&self, group: Vec<Pending>, error: CommitError) {
        let gate = &self.shared.gate;
        let broken = matches!(error, CommitError::Broken(_));
        let (CommitError::Refused(source) | CommitError::Broken(source)) = error;
        if broken {
            gate.log_failed.store(true, Ordering::Release);
            tracing::error!(error = %source, "the write-ahead log failed; the store is read-only until a restart");
        } else {
            tracing::warn!(error = %source, "the write-ahead log takes nothing for now");
        }
        let full =
            matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        for pending in group {
            let why = match (broken, full) {
                (true, _) => AppendError::ReadOnly,
                (false, true) => AppendError::DiskFull {
                    free_bytes: gate.free_bytes.load(Ordering::Relaxed),
                    needed_bytes: gate.free_bytes_min,
                },
                (false, false) => AppendError::Log { detail: source.to_string() },
            };
            refuse(pending, why);
        }
    }
}

/// The second thread.
struct Heads {
    shared: Shared,
}

impl Heads {
    fn run(self, steps: &Receiver<Step>) {
        while let Ok(step) = steps.recv() {
            match step {
                Step::Apply(group) => {
                    for pending in group {
                        let appended = self.shared.apply(&pending.tenant, &pending.batch);
                        self.shared.steps.pass(step::Step::HeadApplied);
                        // A sender that went away does not wait for its answer.
                        let _ = pending.reply.send(Ok(appended));
                        if let Batch::Metrics(batch) = pending.batch {
                            self.shared.gate.spares.keep(batch);
                        }
                    }
                    self.shared.weigh();
                }
                Step::Freeze { position, reply } => {
                    // The one who asked puts the frozen heads away even if it stopped waiting for them.
                    let _ = reply.send(self.shared.freeze(position));
                    self.shared.weigh();
                }
            }
        }
    }
}

impl Shared {
    /// Puts a batch into the head of its tenant: from here on queries see it.
    pub(super) fn apply(&self, tenant: &TenantId, batch: &Batch) -> Appended {
        let view = self.view(tenant);
        match batch {
            Batch::Metrics(batch) => {
                if !batch.metadata().is_empty() {
                    view.metadata.lock().learn(batch.metadata());
                }
                let applied = view.metrics.head.append_batch(batch);
                self.counters.n_samples.fetch_add(batch.n_samples() as u64, Ordering::Relaxed);
                Appended { n_items: batch.n_samples(), n_new_series: applied.n_new_series }
            }
            Batch::Logs(batch) => self.applied(batch, view.logs.head.append_batch(batch)),
        }
    }

    /// As [`apply`](Self::apply), for log records that are prepared.
    pub(super) fn apply_prepared(&self, tenant: &TenantId, batch: &LogBatch, prepared: Prepared) -> Appended {
        self.applied(batch, self.view(tenant).logs.head.append_prepared(&batch.records, prepared))
    }

    fn applied(&self, batch: &LogBatch, applied: logs::Applied) -> Appended {
        self.counters.n_log_records.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
        Appended { n_items: batch.records.len(), n_new_series: applied.n_new_series }
    }

    /// What a tenant has; a new view where there is none.
    pub(super) fn view(&self, tenant: &TenantId) -> Arc<TenantView> {
        match self.current.snapshot.load().tenants.get(tenant) {
            Some(view) => Arc::clone(view),
            None => self.current.change(|snapshot| Arc::new(snapshot.tenant(tenant).clone())),
        }
    }

    /// Puts empty heads in the place of all heads; those go on being read until they are sealed.
    fn freeze(&self, position: u64) -> Frozen {
        self.counters.head_since_ms.store(u64::MAX, Ordering::Relaxed);
        self.current.change(|snapshot| {
            let names: Vec<TenantId> = snapshot.tenants.keys().cloned().collect();
            let tenants = names.into_iter().filter_map(|tenant| freeze_tenant(snapshot, tenant)).collect();
            Frozen { position, tenants }
        })
    }

    /// Adds up what heads and frozen heads hold, and asks for a sealing when it is much.
    pub(super) fn weigh(&self) {
        let snapshot = self.current.snapshot.load();
        let (mut live, mut frozen) = (0, 0);
        for view in snapshot.tenants.values() {
            live += (view.metrics.head.bytes() + view.logs.head.bytes()) as u64;
            frozen += view.metrics.frozen.iter().map(|f| f.head().bytes() as u64).sum::<u64>();
            frozen += view.logs.frozen.iter().map(|f| f.bytes() as u64).sum::<u64>();
        }
        self.gate.head_bytes.store(live + frozen, Ordering::Relaxed);
        if live + frozen <= self.gate.head_bytes_max {
            self.gate.eased.notify_waiters();
        }
        if live > 0 {
            let now_ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.counters.head_since_ms.fetch_min(now_ms, Ordering::Relaxed);
        }
        if live >= self.seal_at_bytes {
            self.seal_wanted.notify_one();
        }
    }
}

/// Freezes one tenant's heads; `None` where they hold nothing.
fn freeze_tenant(snapshot: &mut Snapshot, tenant: TenantId) -> Option<FrozenTenant> {
    let view = snapshot.tenants.get(&tenant)?;
    let metadata = view.metadata.lock().take_changed();
    let (has_metrics, has_logs) = (!view.metrics.head.is_empty(), view.logs.head.n_records() > 0);
    if !has_metrics && !has_logs && metadata.is_empty() {
        return None;
    }
    let view = snapshot.tenant(&tenant);
    let mut part = FrozenTenant { tenant, metrics: None, logs: None, metadata };
    if has_metrics {
        let frozen = view.metrics.head.freeze();
        view.metrics.head = Arc::new(view.metrics.head.successor());
        view.metrics.frozen.push(frozen.clone());
        part.metrics = Some(frozen);
    }
    if has_logs {
        let frozen = view.logs.head.freeze();
        view.logs.head = Arc::new(view.logs.head.successor());
        view.logs.frozen.push(frozen.clone());
        part.logs = Some(frozen);
    }
    Some(part)
}

fn refuse(pending: Pending, why: AppendError) {
    // A sender that went away needs no answer.
    let _ = pending.reply.send(Err(why));
}
