//! Backups: a folder with everything that was acknowledged up to a moment, and the way back.
//!
//! A backup holds a consistent copy of the catalog, the files of the segments that it names, and
//! `backup.json`, which is written last: a folder without it is no backup. Segments never change,
//! so on one file system their files are hard links, which take no time and no room. A server that
//! runs seals its heads first, so nothing of the log is needed; of a folder that nobody uses the log
//! is copied, never linked, since opening a store cuts torn ends off it in place.
//!
//! Every file is read in full and held against its checksum, when a backup is made and before
//! anything of it is restored. A restore copies, so what is restored and the backup share nothing.

mod copy;
mod format;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::{Catalog, CatalogAt, CatalogError, DatabaseUrl, Loaded};
use crate::disk::{Disk, OsDisk};
use crate::model::{ErrorKind, Timestamp};
use crate::read::ReadError;
use crate::segment::SegmentFile;
use crate::store::{CATALOG_FILE, OpenError, StoreEnv, StoreError};
use copy::{Counts, Place, sync_folders};
use format::{FORMAT, Manifest, ManifestError};

pub(crate) use format::is_inside;

/// The file that makes a folder a backup.
const MANIFEST: &str = "backup.json";
/// The catalog's copy while it is made.
const CATALOG_NEW: &str = "catalog.new";

/// What was backed up or restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// When the backup was begun.
    pub created_at: Timestamp,
    /// Segments.
    pub n_segments: u64,
    /// Files, the catalog's and the log's among them.
    pub n_files: u64,
    /// Bytes of them, each read and found as it should be.
    pub bytes: u64,
    /// Files that are hard links and take no room of their own.
    pub n_linked: u64,
    /// Segments that were known to be damaged before, a sentence each; what is left of their files
    /// is in the backup.
    pub damaged_before: Vec<String>,
}

/// Why a backup was not made or not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is something in the folder already.
    #[error("folder {0} is not empty")]
    NotEmpty(PathBuf),
    /// There is no finished backup, or no data.
    #[error("there is no {file} in {folder}")]
    Nothing {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// The server was not told where backups may go.
    #[error("this server has no folder for backups; set [store] backup_folder")]
    NoFolder,
    /// A path would lead out of the folder for backups.
    #[error("{0:?} is no path below the folder for backups")]
    Outside(String),
    /// A file is not what it was.
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A newer release wrote it.
    #[error("the backup has format {found}, this release knows up to {known}; use the release that wrote it")]
    Newer {
        /// Format found.
        found: u32,
        /// Newest format known.
        known: u32,
    },
    /// A file could not be read or written.
    #[error("{doing} {path} failed")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The catalog could not be copied or read.
    #[error("copying the catalog failed")]
    Catalog(#[from] CatalogError),
    /// The folder could not be opened.
    #[error("opening the data folder failed")]
    Open(#[from] OpenError),
    /// The heads could not be sealed before.
    #[error("sealing before the backup failed")]
    Seal(#[from] StoreError),
    /// A piece of work died.
    #[error("the work ended without a result; the log says why")]
    Died,
}

impl BackupError {
    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotEmpty(_) => ErrorKind::Conflict,
            Self::Nothing { .. } | Self::NoFolder | Self::Outside(_) => ErrorKind::Invalid,
            Self::Catalog(e) => e.kind(),
            Self::Open(e) => e.kind(),
            Self::Seal(e) => e.kind(),
            Self::Damaged { .. } | Self::Newer { .. } | Self::Io { .. } | Self::Died => ErrorKind::Internal,
        }
    }

    fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    fn read(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt { path, detail } => Self::Damaged { path: path.into(), detail },
            ReadError::Io { path, source } => Self::Io { doing: "reading", path: path.into(), source },
            other => Self::Damaged { path: PathBuf::new(), detail: other.to_string() },
        }
    }
}

/// Backs up a data folder that no server uses, into a folder that is empty or not there yet. `catalog` is the
/// database that has its catalog, if that is not a file in it. Changes nothing in the data folder, but for bringing
/// its catalog to this release's version.
///
/// # Errors
/// [`BackupError`]; the target is left empty then.
pub async fn backup(
    data: &Path,
    catalog: Option<&DatabaseUrl>,
    target: &Path,
) -> Result<BackupReport, BackupError> {
    let env = StoreEnv::on_folder(data)?.with_catalog(catalog);
    if catalog.is_none() && env.disk.open(Path::new(CATALOG_FILE)).is_err() {
        return Err(BackupError::Nothing { folder: data.into(), file: CATALOG_FILE });
    }
    let catalog = crate::catalog::open(&env.catalog).await?;
    let unfinished = async {
        let mut unfinished = Unfinished::begin(target, env.clock.now())?;
        unfinished.take_segments(&env.disk, catalog.as_ref()).await?;
        unfinished.take_log(&env.disk).await?;
        Ok::<_, BackupError>(unfinished)
    };
    let unfinished = unfinished.await;
    catalog.close().await;
    unfinished?.finish().await
}

/// A backup that has no manifest yet; what it holds goes away with it.
#[derive(Debug)]
pub(crate) struct Unfinished {
    place: Place,
    created_at: Timestamp,
    catalog: Option<SegmentFile>,
    log: Vec<SegmentFile>,
    loaded: Arc<Loaded>,
    counts: Counts,
}

impl Unfinished {
    /// Takes an empty folder for a backup.
    pub(crate) fn begin(target: &Path, now: Timestamp) -> Result<Self, BackupError> {
        let place = Place::take(target)?;
        Ok(Self {
            place,
            created_at: now,
            catalog: None,
            log: Vec::new(),
            loaded: Arc::default(),
            counts: Counts::default(),
        })
    }

    /// Copies the catalog and links the files that it names. None of them may be removed meanwhile.
    pub(crate) async fn take_segments(
        &mut self,
        disk: &Arc<dyn Disk>,
        catalog: &dyn Catalog,
    ) -> Result<(), BackupError> {
        let new = self.place.disk.root().join(CATALOG_NEW);
        catalog.copy_to(&new).await?;
        let to = Arc::clone(&self.place.disk);
        // Hashed before it is opened, which changes its header. SQLite does not sync such a copy; this does.
        self.catalog = Some(
            blocking(move || {
                copy::copy(to.as_ref(), Path::new(CATALOG_NEW), to.as_ref(), Path::new(CATALOG_FILE))
            })
            .await?,
        );
        self.loaded = Arc::new(load(&new).await?);
        let (from, to, loaded) = (Arc::clone(disk), Arc::clone(&self.place.disk), Arc::clone(&self.loaded));
        self.counts = blocking(move || {
            remove_catalog(to.as_ref(), CATALOG_NEW)?;
            let mut counts = Counts::default();
            loaded.segments.iter().try_for_each(|meta| counts.link(from.as_ref(), &to, &meta.files))?;
            for (meta, _) in &loaded.quarantined {
                let left =
                    meta.files.iter().filter(|f| from.open(&f.path).is_ok()).cloned().collect::<Vec<_>>();
                counts.link(from.as_ref(), &to, &left)?;
            }
            Ok(counts)
        })
        .await?;
        Ok(())
    }

    /// Copies the files of the log, which nobody may write to meanwhile.
    async fn take_log(&mut self, disk: &Arc<dyn Disk>) -> Result<(), BackupError> {
        let (from, to) = (Arc::clone(disk), Arc::clone(&self.place.disk));
        self.log = blocking(move || {
            let folder = Path::new(crate::wal::FOLDER);
            let names = from.list(folder).map_err(BackupError::io("listing", folder))?;
            names
                .into_iter()
                .map(|name| {
                    let path = folder.join(name);
                    copy::copy(from.as_ref(), &path, to.as_ref(), &path)
                })
                .collect()
        })
        .await?;
        Ok(())
    }

    /// Reads everything back, and writes the manifest.
    pub(crate) async fn finish(mut self) -> Result<BackupReport, BackupError> {
        let catalog = self.catalog.take().ok_or(BackupError::Died)?;
        let manifest = Manifest { created_at: self.created_at, catalog, log: std::mem::take(&mut self.log) };
        let (disk, loaded, counts) =
            (Arc::clone(&self.place.disk), Arc::clone(&self.loaded), self.counts.clone());
        let report = blocking(move || {
            verify(disk.as_ref(), &loaded, &manifest)?;
            let log = manifest.log.iter().map(|file| file.path.as_path());
            sync_folders(disk.as_ref(), log.chain(counts.paths.iter().map(PathBuf::as_path)))?;
            let path = Path::new(MANIFEST);
            disk.write_atomic(path, &format::write(&manifest)).map_err(BackupError::io("writing", path))?;
            Ok(report(&loaded, &manifest, counts.n_linked))
        })
        .await?;
        self.place.keep();
        Ok(report)
    }

    /// Returns what the copied catalog names.
    pub(crate) fn segments(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded)
    }
}

/// Restores a backup into a folder that is empty or not there yet, and its catalog into a database that is empty, if
/// one is named.
///
/// # Errors
/// [`BackupError`], naming the file where one is damaged; folder and database are left empty then.
pub async fn restore(
    backup: &Path,
    data: &Path,
    catalog_to: Option<&DatabaseUrl>,
) -> Result<BackupReport, BackupError> {
    let from: Arc<OsDisk> = Arc::new(OsDisk::reading(backup));
    let manifest = read_manifest(&from)?;
    let mut place = Place::take(data)?;
    let (source, to, catalog) = (Arc::clone(&from), Arc::clone(&place.disk), manifest.catalog.clone());
    blocking(move || {
        catalog.verify(source.as_ref()).map_err(BackupError::read)?;
        copy::copy(source.as_ref(), &catalog.path, to.as_ref(), Path::new(CATALOG_NEW))?;
        Ok(())
    })
    .await?;
    let loaded = load(&place.disk.root().join(CATALOG_NEW)).await?;
    let to = Arc::clone(&place.disk);
    let report = blocking(move || {
        verify(from.as_ref(), &loaded, &manifest)?;
        let quarantined = loaded.quarantined.iter().flat_map(|(meta, _)| &meta.files);
        let left = quarantined.filter(|file| from.open(&file.path).is_ok());
        let mut paths = Vec::new();
        for file in loaded.segments.iter().flat_map(|meta| &meta.files).chain(&manifest.log) {
            let copied = copy::copy(from.as_ref(), &file.path, to.as_ref(), &file.path)?;
            if copied != *file {
                let detail = "it changed while it was copied".into();
                return Err(BackupError::Damaged { path: file.path.clone(), detail });
            }
            paths.push(file.path.clone());
        }
        for file in left {
            copy::copy(from.as_ref(), &file.path, to.as_ref(), &file.path)?;
            paths.push(file.path.clone());
        }
        sync_folders(to.as_ref(), paths.iter().map(PathBuf::as_path))?;
        Ok(report(&loaded, &manifest, 0))
    })
    .await?;
    // Last, so that a folder that a restore did not finish holds no store.
    let to = Arc::clone(&place.disk);
    if let Some(url) = catalog_to {
        let new = CatalogAt::Sqlite(to.root().join(CATALOG_NEW));
        crate::catalog::copy(&new, &CatalogAt::Postgres(url.clone())).await?;
        blocking(move || remove_catalog(to.as_ref(), CATALOG_NEW)).await?;
    } else {
        let (new, path) = (Path::new(CATALOG_NEW), Path::new(CATALOG_FILE));
        let named = to.rename(new, path).and_then(|()| to.sync_dir(Path::new("")));
        named.map_err(BackupError::io("writing", path))?;
    }
    place.keep();
    Ok(report)
}

fn read_manifest(disk: &OsDisk) -> Result<Manifest, BackupError> {
    let path = Path::new(MANIFEST);
    let bytes = disk.read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            BackupError::Nothing { folder: disk.root().to_owned(), file: MANIFEST }
        }
        _ => BackupError::io("reading", path)(error),
    })?;
    format::read(&bytes).map_err(|error| match error {
        ManifestError::Newer(found) => BackupError::Newer { found, known: FORMAT },
        ManifestError::Damaged(detail) => BackupError::Damaged { path: path.into(), detail },
    })
}

/// Reads a copied catalog, which nobody else uses.
async fn load(path: &Path) -> Result<Loaded, BackupError> {
    let catalog = crate::catalog::open(&CatalogAt::Sqlite(path.to_owned())).await?;
    let checked = match catalog.check().await {
        Ok(()) => catalog.load().await,
        Err(error) => Err(error),
    };
    catalog.close().await;
    Ok(checked?)
}

/// Removes a catalog and what SQLite leaves beside it.
fn remove_catalog(disk: &dyn Disk, name: &str) -> Result<(), BackupError> {
    for end in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{name}{end}"));
        match disk.remove(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(BackupError::io("removing", &path)(e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads every file of a backup and holds it against its checksum.
fn verify(disk: &dyn Disk, loaded: &Loaded, manifest: &Manifest) -> Result<(), BackupError> {
    let segments = loaded.segments.iter().flat_map(|meta| &meta.files);
    let mut all = std::iter::once(&manifest.catalog).chain(&manifest.log).chain(segments);
    all.try_for_each(|file| file.verify(disk)).map_err(BackupError::read)
}

fn report(loaded: &Loaded, manifest: &Manifest, n_linked: u64) -> BackupReport {
    let segments = loaded.segments.iter().flat_map(|meta| &meta.files);
    let files = || std::iter::once(&manifest.catalog).chain(&manifest.log).chain(segments.clone());
    BackupReport {
        created_at: manifest.created_at,
        n_segments: loaded.segments.len() as u64,
        n_files: files().count() as u64,
        bytes: files().map(|file| file.bytes).sum(),
        n_linked,
        damaged_before: loaded.quarantined.iter().map(|(_, why)| why.clone()).collect(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BackupError::Died)?
}

#[cfg(test)]
mod tests;
