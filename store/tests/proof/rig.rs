//! A store over a folder in memory that can lose its power.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use greylight_store::disk::{Disk, Fault, FaultyDisk, MemDisk, Operation};
use greylight_store::model::{ManualClock, SeededRandom, TenantId, Timestamp};
use greylight_store::step::Steps;
use greylight_store::{CatalogAt, Store, StoreConfig, StoreEnv};

use super::facts::{Found, Record, Sample, log_batch, metric_batch, read_all};
use super::{Chance, Outcome, must};

/// A Saturday at 18:20 UTC.
pub(crate) const NOW_MS: i64 = 1_795_255_200_000;
const CATALOG: &str = "catalog.sqlite";

/// A folder in memory, a catalog in a real one, and the settings of the store over both.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) memory: MemDisk,
    pub(crate) faulty: FaultyDisk,
    pub(crate) clock: ManualClock,
    pub(crate) config: StoreConfig,
    pub(crate) steps: Steps,
    catalog: tempfile::TempDir,
}

/// What lies in the folder of a store that is closed.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) catalog: Vec<u8>,
}

/// A folder for catalogs: in memory where there is such a place, since SQLite syncs each transaction.
fn folder() -> io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

impl Rig {
    pub(crate) fn new() -> Outcome<Self> {
        let memory = MemDisk::default();
        Ok(Self {
            faulty: FaultyDisk::new(Arc::new(memory.until_power_loss())),
            memory,
            clock: ManualClock::at(Timestamp::from_millis(NOW_MS)),
            config: StoreConfig::default(),
            steps: Steps::default(),
            catalog: folder()?,
        })
    }

    /// Lays out what lay in another folder.
    pub(crate) fn from_image(image: &Image) -> Outcome<Self> {
        let rig = Self::new()?;
        for (path, bytes) in &image.files {
            rig.memory.create_dir_all(path.parent().unwrap_or(Path::new("")))?;
            rig.memory.write_atomic(path, bytes)?;
        }
        rig.write_catalog(&image.catalog)?;
        Ok(rig)
    }

    #[expect(clippy::disallowed_methods, reason = "a catalog is laid out before any store is there")]
    fn write_catalog(&self, bytes: &[u8]) -> io::Result<()> {
        std::fs::write(self.catalog.path().join(CATALOG), bytes)
    }

    /// Returns what lies in the folder; no store may be open.
    pub(crate) fn image(&self) -> Outcome<Image> {
        let mut files = Vec::new();
        for path in self.memory.files() {
            files.push((path.clone(), self.memory.read(&path)?.to_vec()));
        }
        Ok(Image { files, catalog: std::fs::read(self.catalog.path().join(CATALOG))? })
    }

    fn env(&self) -> StoreEnv {
        StoreEnv {
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(7)),
            disk: Arc::new(self.faulty.clone()),
            catalog: CatalogAt::Sqlite(self.catalog.path().join(CATALOG)),
            steps: self.steps.clone(),
        }
    }

    pub(crate) async fn open(&self) -> Outcome<Store> {
        Ok(Store::open(self.config.clone(), self.env()).await?)
    }

    /// Has the disk die at its `after`th change from now, a write being cut to `short` bytes.
    pub(crate) fn die_after(&self, after: u64, short: usize) {
        let error = io::ErrorKind::Other;
        self.faulty.inject(Fault { operation: Operation::Change, after, error, short, for_ever: true });
    }

    /// Takes the power away, whatever the store is doing; chance decides what of the unsynced is left.
    /// The next store gets a new way to the folder.
    pub(crate) async fn lose_power(&mut self, store: Option<Store>, chance: &mut Chance) {
        self.memory.lose_power(&mut |n| chance.below(n));
        self.faulty.heal();
        if let Some(store) = store {
            // Nothing that it still does reaches the disk; it only has to end.
            let _ = store.shutdown().await;
        }
        self.faulty = FaultyDisk::new(Arc::new(self.memory.until_power_loss()));
    }

    /// Closes a store, and opens it once more to see that the folder is clean.
    pub(crate) async fn end(&self, store: Store) -> Outcome<()> {
        store.shutdown().await?;
        let store = self.open().await?;
        self.must_be_clean(&store).await?;
        Ok(store.shutdown().await?)
    }

    /// Reads everything of the default tenant.
    pub(crate) fn read(&self, store: &Store) -> Outcome<Found> {
        read_all(&store.reader(), &TenantId::default(), &self.clock)
    }

    /// Fails where files lie about that no segment has, or checksums differ. For a store that was just opened: later,
    /// merges in the background have files on their way.
    pub(crate) async fn must_be_clean(&self, store: &Store) -> Outcome<()> {
        let report = store.verify().await?;
        must(report.is_clean(), || format!("verify finds {:?}", report.problems))?;
        let files = self.memory.files();
        let n_known: u64 = store.status().tables.iter().map(|table| table.n_segments * 2).sum();
        let n_found = files.iter().filter(|f| f.starts_with("tenants")).count() as u64;
        must(n_found == n_known, || format!("{n_found} files of segments, {n_known} are known: {files:?}"))?;
        let left = files.iter().find(|f| f.extension().is_some_and(|e| e == "tmp"));
        must(left.is_none(), || format!("{left:?} is left"))
    }
}

/// Stores samples of the default tenant; `Ok` when they are acknowledged.
pub(crate) async fn put_samples(store: &Store, samples: &[Sample]) -> Outcome<()> {
    store.appender().metrics(&TenantId::default(), metric_batch(samples)?).await?;
    Ok(())
}

/// Stores log records of the default tenant; `Ok` when they are acknowledged.
pub(crate) async fn put_records(store: &Store, records: &[Record]) -> Outcome<()> {
    store.appender().logs(&TenantId::default(), log_batch(records)?).await?;
    Ok(())
}
