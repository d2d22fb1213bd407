//! How the store fares, as plain numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Inner;
use super::jobs::{Job, JobStatus, Jobs};
use crate::model::{TenantId, Timestamp};
use crate::segment::Table;

/// How the store fares. Counters run from the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// A write or sync of the log failed, or a sync of the catalog: nothing is taken until a restart.
    pub read_only: bool,
    /// Why ingest is refused for now; `None` when it is not.
    pub refusing: Option<String>,
    /// Bytes free on the disk.
    pub free_bytes: u64,
    /// Samples taken, repeated ones included.
    pub n_samples: u64,
    /// Log records taken, repeated ones included.
    pub n_log_records: u64,
    /// Log records that were stored under a coarse pattern, since their service has too many.
    pub n_coarse_records: u64,
    /// Bytes that heads and frozen heads hold in memory.
    pub head_bytes: u64,
    /// Series with samples in the head.
    pub n_head_series: u64,
    /// The write-ahead log.
    pub wal: WalStatus,
    /// By tenant and table, sorted.
    pub tables: Vec<TableStatus>,
    /// Sealings that were done.
    pub n_seals: u64,
    /// Merges that were done.
    pub n_merges: u64,
    /// Sealings, merges and removals that failed and are tried again.
    pub n_failures: u64,
    /// Bytes of segments that were read again and held against their checksums in the background.
    pub scrubbed_bytes: u64,
    /// Segments that were found damaged and taken out of answers.
    pub n_damaged: u64,
    /// How the work in the background fares.
    pub jobs: Vec<JobStatus>,
    /// What is missing from answers because files are damaged, a sentence each.
    pub missing: Vec<String>,
}

/// How the write-ahead log fares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalStatus {
    /// Frames written.
    pub n_frames: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Syncs done; each served all frames that waited.
    pub n_syncs: u64,
    /// Time spent in them.
    pub sync_time: Duration,
    /// Sequence of the last frame.
    pub sequence: u64,
    /// Everything up to this sequence is in segments.
    pub sealed_sequence: u64,
    /// Frames brought back when the store was opened.
    pub n_replayed: u64,
    /// Time that took.
    pub replay_time: Duration,
    /// Bytes cut off torn ends then.
    pub torn_bytes: u64,
    /// What was damaged then, a sentence each.
    pub damage: Vec<String>,
}

/// How one tenant's table fares.
#[derive(Clone, Debug, PartialEq)]
pub struct TableStatus {
    /// The tenant.
    pub tenant: TenantId,
    /// The table.
    pub table: Table,
    /// Segments that answers are read from.
    pub n_segments: u64,
    /// Rows in them.
    pub n_rows: u64,
    /// Bytes of all their files.
    pub bytes: u64,
    /// Time of the first row.
    pub first: Option<Timestamp>,
    /// Time of the last row.
    pub last: Option<Timestamp>,
}

impl Status {
    pub(super) fn of(inner: &Inner) -> Self {
        let (counters, gate) = (&inner.counters, &inner.gate);
        let snapshot = inner.current.snapshot.load();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut tables = BTreeMap::new();
        for meta in snapshot.metas() {
            let key = (meta.tenant.clone(), meta.table);
            let table =
                tables.entry(key).or_insert_with(|| TableStatus::new(meta.tenant.clone(), meta.table));
            table.n_segments += 1;
            table.n_rows += meta.n_rows;
            table.bytes += meta.bytes();
            let (first, last) =
                (Timestamp::from_millis(meta.span.start), Timestamp::from_millis(meta.span.end));
            table.first = Some(table.first.map_or(first, |t| t.min(first)));
            table.last = Some(table.last.map_or(last, |t| t.max(last)));
        }
        let missing = snapshot.missing();
        Self {
            read_only: gate.is_read_only(),
            refusing: gate.check().err().map(|why| why.to_string()),
            free_bytes: get(&gate.free_bytes),
            n_samples: get(&counters.n_samples),
            n_log_records: get(&counters.n_log_records),
            n_coarse_records: snapshot.tenants.values().map(|view| view.logs.templates.n_coarse()).sum(),
            head_bytes: get(&gate.head_bytes),
            n_head_series: snapshot.tenants.values().map(|view| view.metrics.head.n_series() as u64).sum(),
            wal: WalStatus {
                n_frames: get(&counters.n_frames),
                bytes_written: get(&counters.wal_bytes),
                n_syncs: get(&counters.n_syncs),
                sync_time: Duration::from_nanos(get(&counters.sync_nanos)),
                sequence: get(&counters.sequence),
                sealed_sequence: get(&counters.sealed_sequence),
                n_replayed: inner.replayed.n_frames,
                replay_time: inner.replayed.time,
                torn_bytes: inner.replayed.log.torn_bytes,
                damage: inner.replayed.log.damage(),
            },
            tables: tables.into_values().collect(),
            n_seals: get(&counters.n_seals),
            n_merges: get(&counters.n_merges),
            scrubbed_bytes: get(&counters.scrubbed_bytes),
            n_damaged: get(&counters.n_damaged),
            n_failures: get(&counters.n_failures),
            jobs: inner.job_list(),
            missing,
        }
    }
}

impl Inner {
    /// How the work in the background fares. Sealing comes next when the oldest data of the heads is of age.
    fn job_list(&self) -> Vec<JobStatus> {
        let since_ms = self.counters.head_since_ms.load(Ordering::Relaxed);
        let due = Duration::from_millis(since_ms).saturating_add(self.config.head_age_max);
        self.counters.jobs.next(Job::Seal, (since_ms != u64::MAX).then_some(due));
        self.counters.jobs.list(self.env.clock.as_ref())
    }
}

impl TableStatus {
    fn new(tenant: TenantId, table: Table) -> Self {
        Self { tenant, table, n_segments: 0, n_rows: 0, bytes: 0, first: None, last: None }
    }
}

/// What the parts count as they work.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) n_samples: AtomicU64,
    pub(super) n_log_records: AtomicU64,
    pub(super) n_frames: AtomicU64,
    pub(super) wal_bytes: AtomicU64,
    pub(super) n_syncs: AtomicU64,
    pub(super) sync_nanos: AtomicU64,
    pub(super) sequence: AtomicU64,
    pub(super) sealed_sequence: AtomicU64,
    /// When the oldest data in the heads came, by the clock that never goes back; the largest
    /// number where they are empty.
    pub(super) head_since_ms: AtomicU64,
    pub(super) n_seals: AtomicU64,
    pub(super) n_merges: AtomicU64,
    pub(super) n_failures: AtomicU64,
    pub(super) scrubbed_bytes: AtomicU64,
    pub(super) n_damaged: AtomicU64,
    pub(super) jobs: Jobs,
}

impl Counters {
    pub(super) fn new(sequence: u64, sealed_sequence: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            n_samples: zero(),
            n_log_records: zero(),
            n_frames: zero(),
            wal_bytes: zero(),
            n_syncs: zero(),
            sync_nanos: zero(),
            sequence: AtomicU64::new(sequence),
            sealed_sequence: AtomicU64::new(sealed_sequence),
            head_since_ms: AtomicU64::new(u64::MAX),
            n_seals: zero(),
            n_merges: zero(),
            n_failures: zero(),
            scrubbed_bytes: zero(),
            n_damaged: zero(),
            jobs: Jobs::default(),
        }
    }
}
