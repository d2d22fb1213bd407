//! Holds the parts together: opening, sealing, merging, retention, closing.

mod snapshot;
mod journal;
mod recovery;
mod loss;
mod seal;
mod plan;
mod merge;
mod delete;
mod retention;
mod upkeep;
mod warm;
mod scrub;
mod metadata;
mod patterns;
mod jobs;
mod verify;
mod backup;
mod publish;
mod status;
mod error;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::append::{Appender, Gate, MetricMetadata, Work};
use crate::catalog::{Catalog, CatalogAt, DatabaseUrl, Loaded};
use crate::config::StoreConfig;
use crate::disk::{Disk, OsDisk};
use crate::logs;
use crate::metrics::{self, IndexCache};
use crate::model::{Clock, OsRandom, Random, SystemClock, TenantId};
use crate::read::{ReadError, Reader};
use crate::records::Records;
use crate::segment::{SegmentIds, SegmentMeta};
use crate::step::{Step, Steps};
use crate::wal::{ClosedFiles, Writer};
use journal::Shared;
use merge::Merging;
use plan::Eagerness;
use recovery::Replayed;
use status::Counters;
use warm::Warming;

/// The catalog's file in a data folder.
pub(crate) const CATALOG_FILE: &str = "catalog.sqlite";

/// Memory for footers and series tables of segments; a day's segment of 100,000 series takes about 10 MiB.
const INDEX_CACHE_BYTES: usize = 64 << 20;

pub use delete::Deleted;
pub use error::{OpenError, StoreError};
pub use jobs::JobStatus;
pub(crate) use snapshot::{AnySegment, Current, Snapshot, TenantView};
pub use status::{Status, TableStatus, WalStatus};
pub use verify::{VerifyReport, verify};

/// What the store is given to work with.
#[derive(Clone, Debug)]
pub struct StoreEnv {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The data folder.
    pub disk: Arc<dyn Disk>,
    /// Where the catalog is.
    pub catalog: CatalogAt,
    /// Who is told of named points that are passed; nobody but in tests.
    pub steps: Steps,
}

impl StoreEnv {
    /// Takes a folder of this machine, locks it, and this machine's clock and randomness.
    ///
    /// # Errors
    /// [`OpenError::Folder`] when the folder cannot be used, or another process uses it.
    pub fn on_folder(path: &Path) -> Result<Self, OpenError> {
        let disk = OsDisk::open(path).map_err(|source| OpenError::Folder { path: path.into(), source })?;
        Ok(Self {
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(OsRandom),
            disk: Arc::new(disk),
            catalog: CatalogAt::Sqlite(path.join(CATALOG_FILE)),
            steps: Steps::default(),
        })
    }

    /// Has the catalog in PostgreSQL, if an address is given, in place of the file in the folder.
    #[must_use]
    pub fn with_catalog(mut self, url: Option<&DatabaseUrl>) -> Self {
        if let Some(url) = url {
            self.catalog = CatalogAt::Postgres(url.clone());
        }
        self
    }
}

/// Heads that take no more, and the log up to which they hold everything.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) position: u64,
    pub(crate) tenants: Vec<FrozenTenant>,
}

/// What one tenant's heads held.
#[derive(Clone, Debug)]
pub(crate) struct FrozenTenant {
    pub(crate) tenant: TenantId,
    pub(crate) metrics: Option<metrics::FrozenHead>,
    pub(crate) logs: Option<logs::FrozenHead>,
    pub(crate) metadata: Vec<MetricMetadata>,
}

/// The store of one data folder. Cheap to clone. Call [`shutdown`](Self::shutdown) at the end;
/// without it nothing that was acknowledged is lost, but what was not may be.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    env: StoreEnv,
    config: StoreConfig,
    catalog: Arc<dyn Catalog>,
    current: Arc<Current>,
    gate: Arc<Gate>,
    counters: Arc<Counters>,
    shared: Shared,
    appender: Appender,
    ids: SegmentIds,
    index_cache: Arc<IndexCache>,
    closed_files: ClosedFiles,
    replayed: Replayed,
    /// Frozen heads that could not be sealed yet; held while sealing, so that one runs at a time.
    sealing: tokio::sync::Mutex<Option<Frozen>>,
    /// Held while segments are merged or dropped, so that one of these runs at a time.
    merging: tokio::sync::Mutex<Merging>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    stop: CancellationToken,
    /// Rung when a sealing has made work for merging.
    merge_wanted: Arc<Notify>,
    /// The catalog failed at a change of the segments, and may have recorded it all the same.
    is_in_doubt: AtomicBool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("catalog", &self.inner.env.catalog).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store: reads the catalog, brings the log's content back into the heads, and
    /// starts the work in the background. Ready to take and to answer when it returns.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then that another attempt would miss.
    pub async fn open(config: StoreConfig, env: StoreEnv) -> Result<Self, OpenError> {
        config.validate()?;
        let catalog = crate::catalog::open(&env.catalog).await?;
        let loaded = catalog.load().await?;
        let saved = patterns::load(catalog.as_ref()).await?;
        env.steps.pass(Step::CatalogRead);
        let (inner, work, writer) =
            tokio::task::spawn_blocking(move || Inner::restore(config, env, catalog, &loaded, &saved))
                .await
                .map_err(|e| OpenError::Log(std::io::Error::other(e)))??;
        let inner = Arc::new(inner);
        let threads = journal::start(inner.shared.clone(), writer, work).map_err(OpenError::Log)?;
        *inner.threads.lock() = threads;
        *inner.tasks.lock() = upkeep::start(&inner, &inner.stop);
        Ok(Self { inner })
    }

    /// Returns the door through which data comes in.
    pub fn appender(&self) -> Appender {
        self.inner.appender.clone()
    }

    /// Returns the door through which data is read.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.inner.current))
    }

    /// Returns the door to documents and to the outbox.
    pub fn records(&self) -> Records {
        Records::new(Arc::clone(&self.inner.catalog), Arc::clone(&self.inner.env.clock))
    }

    /// Seals what the heads hold and merges segments until nothing is left to do.
    ///
    /// # Errors
    /// [`StoreError`]; what was acknowledged stays safe in the log, and the background tries again.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let result = self.inner.seal_and_merge().await;
        if result.is_err() {
            self.inner.clear_up_after_failure().await;
        }
        result
    }

    /// Checks every file of every segment against the catalog, and takes damaged segments out of
    /// answers.
    ///
    /// # Errors
    /// [`StoreError`] when checking could not be finished.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        // Nothing is merged away while its files are read.
        let merging = self.inner.merging.lock().await;
        let metas = self.inner.current.snapshot.load().metas();
        let disk = Arc::clone(&self.inner.env.disk);
        let ids: Vec<_> = metas.iter().map(|meta| meta.id).collect();
        let checked = tokio::task::spawn_blocking(move || {
            let mut report = VerifyReport::default();
            metas.iter().for_each(|meta| report.check(disk.as_ref(), meta));
            report
        });
        let mut report = checked.await.map_err(|_| StoreError::Died("checking the files"))?;
        if !report.is_clean() {
            self.inner.quarantine_damaged(&ids, &merging).await?;
        }
        if let Err(error) = self.inner.catalog.check().await {
            report.problems.push(error.to_string());
        }
        Ok(report)
    }

    /// Tells how the store fares.
    pub fn status(&self) -> Status {
        Status::of(&self.inner)
    }

    /// Ends: takes nothing more, finishes and acknowledges what was taken, stops the background.
    /// What the heads hold stays in the log and is there again after the next start.
    ///
    /// # Errors
    /// [`StoreError`] when the end was not clean; what was acknowledged is in the log all the same.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.gate.closed.store(true, Ordering::Release);
        inner.gate.eased.notify_waiters();
        inner.stop.cancel();
        let tasks = std::mem::take(&mut *inner.tasks.lock());
        for task in tasks {
            task.await.map_err(|_| StoreError::Died("the work in the background"))?;
        }
        inner.appender.stop().await;
        let threads = std::mem::take(&mut *inner.threads.lock());
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        let clean = joined.await.unwrap_or(false);
        inner.catalog.close().await;
        if clean { Ok(()) } else { Err(StoreError::Died("the write-ahead log")) }
    }
}

impl Inner {
    /// Builds the store from what lies in the folder; blocks.
    fn restore(
        config: StoreConfig,
        env: StoreEnv,
        catalog: Arc<dyn Catalog>,
        loaded: &Loaded,
        saved: &[patterns::Saved],
    ) -> Result<(Self, mpsc::Receiver<Work>, Writer), OpenError> {
        let current = Arc::new(Current::default());
        let index_cache = Arc::new(IndexCache::new(INDEX_CACHE_BYTES));
        recovery::attach_segments(&env, &current, &index_cache, loaded);
        let stop = CancellationToken::new();
        let warming = Warming::start(&current.snapshot.load(), &index_cache, &stop);
        recovery::restore_patterns(&current, saved, &loaded.segments);
        let gate = Arc::new(Gate {
            free_bytes: env.disk.free_bytes().unwrap_or(u64::MAX).into(),
            free_bytes_min: config.disk_free_min.0,
            head_bytes_max: config.head_bytes_max.0.saturating_mul(2),
            catalog_failed: catalog.sync_failed(),
            ..Gate::default()
        });
        let counters = Arc::new(Counters::new(loaded.wal_position, loaded.wal_position));
        let shared = Shared {
            current: Arc::clone(&current),
            gate: Arc::clone(&gate),
            counters: Arc::clone(&counters),
            clock: Arc::clone(&env.clock),
            seal_wanted: Arc::default(),
            seal_at_bytes: config.head_bytes_max.0,
            steps: env.steps.clone(),
        };
        let replayed = recovery::replay(&env, &shared, loaded.wal_position)?;
        counters.sequence.store(replayed.log.next_sequence - 1, Ordering::Relaxed);
        env.steps.pass(Step::LogReplayed);
        recovery::remove_orphans(env.disk.as_ref(), loaded).map_err(OpenError::Log)?;
        env.steps.pass(Step::OrphansRemoved);
        warm::tabulate_heads(&current.snapshot.load());
        warming.wait();
        let closed_files = ClosedFiles::new(replayed.log.files.clone());
        let tools =
            (Arc::clone(&env.disk), Arc::clone(&env.clock), Arc::clone(&env.random), env.steps.clone());
        let writer =
            Writer::new(tools, config.wal_file_bytes.0, replayed.log.next_sequence, closed_files.clone());
        let (appender, work) = Appender::new(Arc::clone(&gate), Arc::clone(&env.clock));
        let inner = Self {
            ids: SegmentIds::after(loaded.last_id),
            sealing: tokio::sync::Mutex::default(),
            merging: tokio::sync::Mutex::default(),
            threads: Mutex::default(),
            tasks: Mutex::default(),
            stop,
            merge_wanted: Arc::default(),
            is_in_doubt: AtomicBool::default(),
            env,
            config,
            catalog,
            current,
            gate,
            counters,
            shared,
            appender,
            index_cache,
            closed_files,
            replayed,
        };
        Ok((inner, work, writer))
    }

    async fn seal_and_merge(self: &Arc<Self>) -> Result<(), StoreError> {
        self.seal().await?;
        while self.merge_once(Eagerness::Full).await? {}
        self.retire().await
    }

    fn open_segment(&self, meta: &SegmentMeta) -> Result<AnySegment, ReadError> {
        recovery::open_segment(&self.env.disk, &self.index_cache, meta)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod mixed_tests;
