//! Checking every file against the catalog.

use std::sync::Arc;

use super::{OpenError, StoreEnv};
use crate::disk::Disk;
use crate::segment::SegmentMeta;

/// What checking found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segments that the catalog names.
    pub n_segments: u64,
    /// Their files.
    pub n_files: u64,
    /// Bytes read and found as they should be.
    pub bytes: u64,
    /// What is wrong, a sentence each; empty when all is well.
    pub problems: Vec<String>,
}

impl VerifyReport {
    /// Tells whether all is well.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn check(&mut self, disk: &dyn Disk, meta: &SegmentMeta) {
        self.n_segments += 1;
        for file in &meta.files {
            self.n_files += 1;
            match file.verify(disk) {
                Ok(()) => self.bytes += file.bytes,
                Err(error) => self.problems.push(format!("segment {}: {error}", meta.id)),
            }
        }
    }
}

/// Checks the catalog itself, and every file that it names against length and checksum, in a
/// folder that no server uses. Changes nothing.
///
/// # Errors
/// [`OpenError`] when the catalog cannot be read at all.
pub async fn verify(env: &StoreEnv) -> Result<VerifyReport, OpenError> {
    let catalog = crate::catalog::open(&env.catalog).await?;
    let mut report = VerifyReport::default();
    if let Err(error) = catalog.check().await {
        report.problems.push(error.to_string());
    }
    let loaded = catalog.load().await?;
    catalog.close().await;
    report.problems.extend(loaded.quarantined.iter().map(|(_, why)| why.clone()));
    let disk = Arc::clone(&env.disk);
    let checked = tokio::task::spawn_blocking(move || {
        loaded.segments.iter().for_each(|meta| report.check(disk.as_ref(), meta));
        report
    });
    checked.await.map_err(|e| OpenError::Log(std::io::Error::other(e)))
}
