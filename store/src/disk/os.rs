//! A folder of the operating system.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FallocateFlags, FlockOperation};

use super::{Disk, DiskFile, DiskRead};

/// Name of the file whose lock says that a process uses the folder.
const LOCK: &str = "LOCK";

/// A folder, locked for this process as long as the value lives.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
    lock: Option<File>,
}

impl Drop for OsDisk {
    /// Gives the lock back by name: closing the file would not, while a child that another thread has just forked
    /// has a copy of it.
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            rustix::fs::flock(lock, FlockOperation::Unlock).ok();
        }
    }
}

impl OsDisk {
    /// Opens a folder, making it where it is missing, and locks it.
    ///
    /// # Errors
    /// Kind `ResourceBusy` with a sentence for people when another process has it; else what the
    /// system says.
    pub fn open(root: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> = root.ancestors().take_while(|folder| !folder.exists()).collect();
        std::fs::create_dir_all(root)?;
        // A folder whose name is not durable takes everything in it with it when the power fails.
        for folder in missing {
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
            File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        let path = root.join(LOCK);
        let mut lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let owner = std::fs::read_to_string(&path).unwrap_or_default();
                let owner = owner.trim();
                let who = if owner.is_empty() { String::new() } else { format!(" (process {owner})") };
                let text = format!("data folder {} is in use by another process{who}", root.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Err(e) => return Err(e.into()),
        }
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { root: root.to_owned(), lock: Some(lock) })
    }

    /// Opens a folder to be read only, without a lock: it may lie where nothing can be written.
    pub fn reading(root: &Path) -> Self {
        Self { root: root.to_owned(), lock: None }
    }

    /// Returns the folder's path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }
}

impl Disk for OsDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut next = Some(path);
        while let Some(folder) = next.filter(|f| !f.as_os_str().is_empty() && !self.at(f).is_dir()) {
            missing.push(folder);
            next = folder.parent();
        }
        for folder in missing.into_iter().rev() {
            match std::fs::create_dir(self.at(folder)) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            self.sync_dir(folder.parent().unwrap_or(Path::new("")))?;
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(self.at(path))?;
        Ok(Box::new(OsFile { file, len: 0, reserved: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>> {
        let file = File::open(self.at(path))?;
        let len = file.metadata()?.len();
        Ok(Arc::new(OsRead { file, len }))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the implementation of the storage trait")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(self.at(from), self.at(to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(self.at(from), self.at(to))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the implementation of the storage trait")]
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(self.at(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(self.at(path))?.sync_all()
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.at(path))?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(self.at(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect()
    }

    fn link_to(&self, path: &Path, outside: &Path) -> io::Result<()> {
        std::fs::hard_link(self.at(path), outside)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
    len: u64,
    reserved: u64,
}

impl DiskFile for OsFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        // Blocks are taken in steps, since each call costs a transaction of the file system.
        const STEP: u64 = 4 << 20;
        let end = self.len + bytes;
        if end <= self.reserved {
            return Ok(());
        }
        let until = end.next_multiple_of(STEP);
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.len, until - self.len) {
            Ok(()) => self.reserved = until,
            // The step does not fit, but what is needed may.
            Err(rustix::io::Errno::NOSPC) => {
                rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.len, bytes)?;
                self.reserved = end;
            }
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.reserved = u64::MAX,
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Drop for OsFile {
    fn drop(&mut self) {
        if self.reserved > self.len {
            // Gives back blocks that were reserved and not written. It only saves space: a file
            // that was cut shorter meanwhile is found shorter and left alone.
            if self.file.metadata().is_ok_and(|m| m.len() == self.len) {
                let _ = self.file.set_len(self.len);
            }
        }
    }
}

#[derive(Debug)]
struct OsRead {
    file: File,
    len: u64,
}

impl DiskRead for OsRead {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            // Checked first, so that a damaged length does not allocate.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }
}
