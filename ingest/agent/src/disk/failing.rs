//! A disk that fails when a test says so.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Disk, DiskFile};

/// Passes everything to another disk until its allowance of writes is spent, then fails each of them.
#[derive(Clone, Debug)]
pub struct FailingDisk {
    inner: Arc<dyn Disk>,
    writes_left: Arc<AtomicU64>,
}

impl FailingDisk {
    /// Wraps `inner`; nothing fails until [`fail_after`](Self::fail_after).
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self { inner, writes_left: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Lets `n` more creations, appends, syncs and removals pass, and fails those after them.
    pub fn fail_after(&self, n: u64) {
        self.writes_left.store(n, Ordering::SeqCst);
    }

    /// Fails no more.
    pub fn heal(&self) {
        self.fail_after(u64::MAX);
    }

    fn spend(&self) -> io::Result<()> {
        let spent = self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        spent.map(drop).map_err(|_| io::Error::other("the disk was told to fail"))
    }
}

impl Disk for FailingDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.spend()?;
        Ok(Box::new(FailingFile { inner: self.inner.create(path)?, disk: self.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FailingFile { inner: self.inner.open(path)?, disk: self.clone() }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.spend()?;
        self.inner.remove(path)
    }

    fn free_bytes(&self, dir: &Path) -> Option<u64> {
        self.inner.free_bytes(dir)
    }
}

#[derive(Debug)]
struct FailingFile {
    inner: Box<dyn DiskFile>,
    disk: FailingDisk,
}

impl DiskFile for FailingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buf, offset)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.disk.spend() {
            Ok(()) => self.inner.append(bytes),
            Err(e) => {
                // A real disk that runs full keeps a part of what it was given.
                self.inner.append(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
                Err(e)
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.spend()?;
        self.inner.sync()
    }
}
