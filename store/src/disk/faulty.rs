//! A disk that fails when it is told to.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::{Disk, DiskFile, DiskRead};

/// What a disk is asked to do, as far as faults tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Any of them but reading.
    Change,
    /// Making a file.
    Create,
    /// Writing to a file.
    Write,
    /// Making room in a file.
    Reserve,
    /// Syncing a file.
    Sync,
    /// Renaming or removing a file, cutting it, syncing a folder.
    Folder,
    /// Opening a file or reading from it.
    Read,
}

impl Operation {
    fn covers(self, operation: Self) -> bool {
        self == operation || self == Self::Change && operation != Self::Read
    }
}

/// A fault that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What fails.
    pub operation: Operation,
    /// How many of these succeed before.
    pub after: u64,
    /// The error.
    pub error: io::ErrorKind,
    /// Of a failing write, this many bytes are written all the same.
    pub short: usize,
    /// Whether everything fails from then on, as when the process dies, or only this one operation.
    pub for_ever: bool,
}

/// Passes everything on to another disk, but for the faults it was given. Clones share them.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    plan: Arc<Mutex<Plan>>,
    let_go: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Fault>,
    dead: Option<io::ErrorKind>,
    n_changes: u64,
    /// What hangs until it is let go.
    held: Option<Operation>,
    n_waiting: usize,
    /// Files that cannot be read.
    unreadable: BTreeSet<PathBuf>,
}

impl FaultyDisk {
    /// Wraps a disk; nothing fails yet.
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self { inner, plan: Arc::default(), let_go: Arc::default() }
    }

    /// Plans a fault.
    pub fn inject(&self, fault: Fault) {
        self.plan.lock().faults.push(fault);
    }

    /// Forgets all faults, and lets go what hangs.
    pub fn heal(&self) {
        let n_waiting = self.plan.lock().n_waiting;
        *self.plan.lock() = Plan { n_waiting, ..Plan::default() };
        self.let_go.notify_all();
    }

    /// Has operations of a kind hang, as on a disk that does not answer, until [`heal`](Self::heal).
    pub fn hold(&self, operation: Operation) {
        self.plan.lock().held = Some(operation);
    }

    /// Has every read of a file fail, open or not, as on a sector that went bad, until [`heal`](Self::heal).
    pub fn make_unreadable(&self, path: &Path) {
        self.plan.lock().unreadable.insert(path.to_owned());
    }

    /// Returns how many operations hang.
    pub fn n_waiting(&self) -> usize {
        self.plan.lock().n_waiting
    }

    /// Returns how many operations changed something since the last [`heal`](Self::heal), so that
    /// a test can fail each in turn.
    pub fn n_changes(&self) -> u64 {
        self.plan.lock().n_changes
    }

    fn check(&self, operation: Operation) -> Result<(), (io::Error, usize)> {
        let mut plan = self.plan.lock();
        if plan.held.is_some_and(|held| held.covers(operation)) {
            plan.n_waiting += 1;
            self.let_go.wait_while(&mut plan, |plan| plan.held.is_some_and(|held| held.covers(operation)));
            plan.n_waiting -= 1;
        }
        plan.check(operation)
    }
}

impl Plan {
    fn check(&mut self, operation: Operation) -> Result<(), (io::Error, usize)> {
        if let Some(kind) = self.dead {
            return Err((kind.into(), 0));
        }
        if operation != Operation::Read {
            self.n_changes += 1;
        }
        let mut hit = None;
        for (i, fault) in self.faults.iter_mut().enumerate() {
            if !fault.operation.covers(operation) {
                continue;
            }
            if fault.after == 0 {
                hit = Some(i);
                break;
            }
            fault.after -= 1;
        }
        let Some(i) = hit else { return Ok(()) };
        let fault = self.faults.remove(i);
        if fault.for_ever {
            self.dead = Some(fault.error);
        }
        Err((fault.error.into(), fault.short))
    }
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::Folder).map_err(|(e, _)| e)?;
        self.inner.create_dir_all(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.check(Operation::Create).map_err(|(e, _)| e)?;
        Ok(Box::new(FaultyFile { inner: self.inner.create(path)?, disk: self.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>> {
        self.check(Operation::Read).map_err(|(e, _)| e)?;
        Ok(Arc::new(FaultyRead { inner: self.inner.open(path)?, path: path.to_owned(), disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Operation::Folder).map_err(|(e, _)| e)?;
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Operation::Folder).map_err(|(e, _)| e)?;
        self.inner.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::Folder).map_err(|(e, _)| e)?;
        self.inner.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::Folder).map_err(|(e, _)| e)?;
        self.inner.sync_dir(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.check(Operation::Folder).map_err(|(e, _)| e)?;
        self.inner.truncate(path, len)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(path)
    }

    fn link_to(&self, path: &Path, outside: &Path) -> io::Result<()> {
        self.check(Operation::Folder).map_err(|(e, _)| e)?;
        self.inner.link_to(path, outside)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn DiskFile>,
    disk: FaultyDisk,
}

impl DiskFile for FaultyFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.disk.check(Operation::Write) {
            Ok(()) => self.inner.write_all(bytes),
            Err((error, short)) => {
                self.inner.write_all(&bytes[..short.min(bytes.len())])?;
                Err(error)
            }
        }
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.check(Operation::Reserve).map_err(|(e, _)| e)?;
        self.inner.reserve(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.disk.check(Operation::Sync).map_err(|(e, _)| e)?;
        self.inner.sync_data()
    }
}

#[derive(Debug)]
struct FaultyRead {
    inner: Arc<dyn DiskRead>,
    path: PathBuf,
    disk: FaultyDisk,
}

impl DiskRead for FaultyRead {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.disk.check(Operation::Read).map_err(|(e, _)| e)?;
        if self.disk.plan.lock().unreadable.contains(&self.path) {
            return Err(io::Error::other("the disk gives an error for this file"));
        }
        self.inner.read_at(offset, len)
    }
}
