//! From what lies in the folder to a store that takes and answers.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use super::journal::Shared;
use super::patterns::Saved;
use super::{AnySegment, Current, OpenError, StoreEnv, loss};
use crate::append::{Batch, LogBatch, MetricBatch, Spares};
use crate::catalog::Loaded;
use crate::disk::Disk;
use crate::logs::{self, Prepared};
use crate::metrics::wal_codec::WalSeriesTable;
use crate::metrics::{self, IndexCache};
use crate::model::TenantId;
use crate::read::ReadError;
use crate::segment::{SegmentMeta, Table};
use crate::wal::{self, Kind, RecoverError, Visit};

/// What a replay found.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) log: wal::Recovered,
    pub(super) n_frames: u64,
    pub(super) time: Duration,
}

/// Makes segments readable. Those that cannot be opened are missing from answers, which say so.
pub(super) fn attach_segments(env: &StoreEnv, current: &Current, cache: &Arc<IndexCache>, loaded: &Loaded) {
    current.change(|snapshot| {
        for meta in &loaded.segments {
            match open_segment(&env.disk, cache, meta) {
                Ok(segment) => snapshot.add(segment),
                Err(error) => current.set_aside(snapshot, meta, &error),
            }
        }
        for (meta, why) in &loaded.quarantined {
            snapshot.miss(meta, why.clone());
        }
        for (tenant, metadata) in &loaded.metadata {
            snapshot.tenant(tenant).metadata.lock().restore(metadata.clone());
        }
    });
}

/// Brings the templates of log lines back as they were.
pub(super) fn restore_patterns(current: &Current, saved: &[Saved], segments: &[SegmentMeta]) {
    current.change(|snapshot| {
        for Saved { tenant, patterns, next, headers } in saved {
            let templates = &snapshot.tenant(tenant).logs.templates;
            templates.restore(patterns.iter().map(String::as_str), *next);
            for (service, headers) in headers {
                templates.restore_headers(*service, headers.clone());
            }
        }
        let is_saved = |meta: &SegmentMeta| saved.iter().any(|s| s.tenant == meta.tenant && s.next > 0);
        for meta in segments.iter().filter(|meta| meta.table == Table::Logs && !is_saved(meta)) {
            snapshot.tenant(&meta.tenant).logs.templates.is_to_learn(meta.id);
        }
    });
}

/// Opens a segment of either table.
pub(super) fn open_segment(
    disk: &Arc<dyn Disk>,
    cache: &Arc<IndexCache>,
    meta: &SegmentMeta,
) -> Result<AnySegment, ReadError> {
    match meta.table {
        Table::Metrics => metrics::segment::open(disk, meta.clone(), cache).map(AnySegment::Metrics),
        Table::Logs => logs::segment::open(disk, meta.clone()).map(AnySegment::Logs),
    }
}

/// Batches that wait for the next thread: enough that neither side waits for the other over one that is large, and few,
/// since memory holds them all.
const BATCHES_WAITING_MAX: usize = 2;

/// Brings what the log holds beyond the segments back into the heads, frame by frame: this thread reads, checks and
/// decodes, another splits the bodies of records, and one for each table fills its heads, in the order of the log.
pub(super) fn replay(env: &StoreEnv, shared: &Shared, covered: u64) -> Result<Replayed, OpenError> {
    let started = env.clock.elapsed();
    let (metrics, metrics_todo) = sync_channel::<(TenantId, MetricBatch)>(BATCHES_WAITING_MAX);
    let (logs, to_prepare) = sync_channel::<(TenantId, LogBatch)>(BATCHES_WAITING_MAX);
    let (prepared, logs_todo) = sync_channel::<(TenantId, LogBatch, Prepared)>(BATCHES_WAITING_MAX);
    let spares = &shared.gate.spares;
    let mut decoder =
        Decoder { metrics, logs, spares, table: WalSeriesTable::default(), covered, n_frames: 0 };
    let (log, n_frames) = std::thread::scope(|scope| {
        scope.spawn(move || {
            for (tenant, batch) in metrics_todo {
                let batch = Batch::Metrics(batch);
                shared.apply(&tenant, &batch);
                if let Batch::Metrics(batch) = batch {
                    spares.keep(batch);
                }
            }
        });
        scope.spawn(move || {
            for (tenant, batch) in to_prepare {
                let ready = shared.view(&tenant).logs.head.prepare(&batch.records);
                let _ = prepared.send((tenant, batch, ready));
            }
        });
        scope.spawn(move || {
            for (tenant, batch, prepared) in logs_todo {
                shared.apply_prepared(&tenant, &batch, prepared);
            }
        });
        let log = wal::recover(env.disk.as_ref(), covered, &mut |visit| decoder.visit(visit));
        let n_frames = decoder.n_frames;
        // Then the threads come to the end of what they were sent.
        drop(decoder);
        (log, n_frames)
    });
    let log = log.map_err(|error| match error {
        RecoverError::Io(source) => OpenError::Log(source),
        RecoverError::Newer { path, found, known } => OpenError::Newer { path, found, known },
    })?;
    for damage in log.damage() {
        tracing::error!(damage, "the write-ahead log is damaged");
    }
    let lost = loss::remember(env, &log).map_err(OpenError::Log)?;
    shared.current.change(|snapshot| snapshot.lose_rows(lost));
    shared.weigh();
    Ok(Replayed { log, n_frames, time: env.clock.elapsed().saturating_sub(started) })
}

/// Makes batches of frames.
struct Decoder<'s> {
    metrics: SyncSender<(TenantId, MetricBatch)>,
    logs: SyncSender<(TenantId, LogBatch)>,
    spares: &'s Spares,
    table: WalSeriesTable,
    covered: u64,
    n_frames: u64,
}

impl Decoder<'_> {
    fn visit(&mut self, visit: Visit<'_>) -> Result<(), String> {
        let Visit::Frame(frame) = visit else {
            self.table = WalSeriesTable::default();
            return Ok(());
        };
        let is_wanted = frame.sequence > self.covered;
        self.n_frames += u64::from(is_wanted);
        let tenant = TenantId::new(frame.tenant).map_err(|e| e.to_string())?;
        // Nobody takes what is sent only where a thread died, and with it the whole replay.
        match frame.kind {
            Kind::Metrics => {
                let mut batch = self.spares.take();
                // A frame that segments cover still names series for those after it.
                metrics::wal_codec::decode(frame.payload, &mut self.table, &mut batch)
                    .map_err(|e| e.to_string())?;
                if is_wanted {
                    let _ = self.metrics.send((tenant, batch));
                }
            }
            Kind::Logs if is_wanted => {
                let batch = logs::wal_codec::decode(frame.payload).map_err(|e| e.to_string())?;
                let _ = self.logs.send((tenant, batch));
            }
            Kind::Logs => {}
        }
        Ok(())
    }
}

/// Removes files that no segment has: what was being written when the process ended.
pub(super) fn remove_orphans(disk: &dyn Disk, loaded: &Loaded) -> std::io::Result<u64> {
    let metas = loaded.segments.iter().chain(loaded.quarantined.iter().map(|(meta, _)| meta));
    let known: std::collections::HashSet<&Path> =
        metas.flat_map(|meta| meta.files.iter().map(|file| file.path.as_path())).collect();
    let mut n_removed = 0;
    // tenants/<tenant>/<table>/date=<day>/<file>
    let mut folders = vec![Path::new("tenants").to_path_buf()];
    for _ in 0..3 {
        let mut deeper = Vec::new();
        for folder in folders {
            deeper.extend(disk.list(&folder)?.into_iter().map(|name| folder.join(name)));
        }
        folders = deeper;
    }
    for folder in folders {
        let before = n_removed;
        for name in disk.list(&folder)? {
            let path = folder.join(name);
            if !known.contains(path.as_path()) {
                tracing::info!(path = %path.display(), "removing a file that no segment has");
                disk.remove(&path)?;
                n_removed += 1;
            }
        }
        if n_removed > before {
            disk.sync_dir(&folder)?;
        }
    }
    Ok(n_removed)
}
