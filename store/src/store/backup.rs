//! Backups of a store that takes and answers meanwhile.

use std::path::Path;

use super::Store;
use crate::backup::{BackupError, BackupReport, Unfinished, is_inside};

impl Store {
    /// Makes a backup in an empty folder: everything that was acknowledged before this call, and
    /// perhaps some of what came after. Ingest and queries go on; merging and retention wait while
    /// files are linked. A call that is given up leaves nothing behind.
    ///
    /// # Errors
    /// [`BackupError`]. A file that is found damaged is named, and its segment is out of answers, so
    /// that the next backup is made without it.
    pub async fn backup(&self, target: &Path) -> Result<BackupReport, BackupError> {
        let inner = &self.inner;
        let mut unfinished = Unfinished::begin(target, inner.env.clock.now())?;
        inner.seal().await?;
        // Only merging and retention remove files of segments.
        let merging = inner.merging.lock().await;
        let taken = unfinished.take_segments(&inner.env.disk, inner.catalog.as_ref()).await;
        drop(merging);
        let loaded = unfinished.segments();
        let finished = match taken {
            Ok(()) => unfinished.finish().await,
            Err(error) => Err(error),
        };
        if let Err(BackupError::Damaged { path, .. }) = &finished
            && let Some(meta) = loaded.segments.iter().find(|meta| meta.files.iter().any(|f| f.path == *path))
        {
            let merging = inner.merging.lock().await;
            inner.quarantine_damaged(&[meta.id], &merging).await?;
        }
        finished
    }

    /// Makes a [backup](Self::backup) in a folder below the one that the settings name.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn backup_below(&self, path: &str) -> Result<BackupReport, BackupError> {
        let folder = self.inner.config.backup_folder.as_ref().ok_or(BackupError::NoFolder)?;
        if !is_inside(Path::new(path)) {
            return Err(BackupError::Outside(path.to_owned()));
        }
        self.backup(&folder.join(path)).await
    }
}
