//! How the store fares, as plain numbers.

use std::time::Duration;

use crate::model::{TenantId, Timestamp};
use crate::segment::Table;

/// How the store fares. Counters run from the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// A write or sync of the log failed: nothing is taken until a restart.
    pub read_only: bool,
    /// Why ingest is refused for now; `None` when it is not.
    pub refusing: Option<String>,
    /// Bytes free on the disk.
    pub free_bytes: u64,
    /// Samples taken, repeated ones included.
    pub n_samples: u64,
    /// Log records taken, repeated ones included.
    pub n_log_records: u64,
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
    /// What failed last.
    pub last_failure: Option<(Timestamp, String)>,
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
