//! Files from one folder into another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BackupError;
use crate::disk::{Disk, OsDisk};
use crate::segment::SegmentFile;

/// Large enough to copy at the disk's speed, small enough to copy any file in little memory.
const STEP: usize = 1 << 20;

/// A folder that was empty, and is again if nobody says [`keep`](Self::keep).
#[derive(Debug)]
pub(super) struct Place {
    pub(super) disk: Arc<OsDisk>,
    is_kept: bool,
}

impl Place {
    /// Takes a folder that is empty or not there yet.
    pub(super) fn take(path: &Path) -> Result<Self, BackupError> {
        let is_empty = match std::fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(BackupError::io("reading", path)(error)),
        };
        if !is_empty {
            return Err(BackupError::NotEmpty(path.to_owned()));
        }
        let disk = OsDisk::open(path).map_err(BackupError::io("opening", path))?;
        Ok(Self { disk: Arc::new(disk), is_kept: false })
    }

    /// Lets the folder's content stay.
    pub(super) fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = std::fs::remove_dir_all(self.disk.root())
        {
            tracing::warn!(%error, folder = %self.disk.root().display(), "what was copied stays behind");
        }
    }
}

/// What was linked.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) n_linked: u64,
    pub(super) paths: Vec<PathBuf>,
}

impl Counts {
    /// Links files, or copies them where the file system cannot link.
    pub(super) fn link(
        &mut self,
        from: &dyn Disk,
        to: &OsDisk,
        files: &[SegmentFile],
    ) -> Result<(), BackupError> {
        for SegmentFile { path, .. } in files {
            let folder = path.parent().unwrap_or(Path::new(""));
            to.create_dir_all(folder).map_err(BackupError::io("making", folder))?;
            match from.link_to(path, &to.root().join(path)) {
                Ok(()) => self.n_linked += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let detail = "the file is missing".into();
                    return Err(BackupError::Damaged { path: path.clone(), detail });
                }
                // Another file system, too many links, or a file of someone else: a copy does as well.
                Err(_) => drop(copy(from, path, to, path)?),
            }
            self.paths.push(path.clone());
        }
        Ok(())
    }
}

/// Copies a file durably, but for its name, and says what was written.
pub(super) fn copy(
    from: &dyn Disk,
    from_path: &Path,
    to: &dyn Disk,
    to_path: &Path,
) -> Result<SegmentFile, BackupError> {
    let folder = to_path.parent().unwrap_or(Path::new(""));
    to.create_dir_all(folder).map_err(BackupError::io("making", folder))?;
    let source = from.open(from_path).map_err(BackupError::io("reading", from_path))?;
    let mut file = to.create(to_path).map_err(BackupError::io("writing", to_path))?;
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < source.len() {
        let n = usize::try_from(source.len() - at).map_or(STEP, |left| left.min(STEP));
        let bytes = source.read_at(at, n).map_err(BackupError::io("reading", from_path))?;
        hasher.update(&bytes);
        file.write_all(&bytes).map_err(BackupError::io("writing", to_path))?;
        at += n as u64;
    }
    file.sync_data().map_err(BackupError::io("writing", to_path))?;
    Ok(SegmentFile { path: to_path.to_owned(), bytes: at, blake3: *hasher.finalize().as_bytes() })
}

/// Makes the names of files durable.
pub(super) fn sync_folders<'a>(
    disk: &dyn Disk,
    paths: impl Iterator<Item = &'a Path>,
) -> Result<(), BackupError> {
    let folders: BTreeSet<&Path> = paths.filter_map(Path::parent).collect();
    folders
        .into_iter()
        .try_for_each(|folder| disk.sync_dir(folder).map_err(BackupError::io("making durable", folder)))
}
