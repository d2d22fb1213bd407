//! The disk as the store sees it, so that tests can take it away, fill it or make it lie.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

mod faulty;
mod memory;
mod os;

pub use faulty::{Fault, FaultyDisk, Operation};
pub use memory::MemDisk;
pub use os::OsDisk;

/// A folder tree. Paths are relative to the data folder.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a folder and those above it, durably.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a file for writing; it must not exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading at any place.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>>;
    /// Renames a file, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name in the folder; the two share what they hold, and each goes by itself.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Cuts a file to a length, durably.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Lists a folder: names of files and folders, unsorted; nothing where there is no folder.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Gives a file a second name outside the folder, on the same file system; the two share what
    /// they hold. An error of kind `Unsupported` where a disk has no outside.
    fn link_to(&self, path: &Path, outside: &Path) -> io::Result<()> {
        let _ = (path, outside);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Returns bytes free for this process.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Bytes> {
        let file = self.open(path)?;
        file.read_at(0, usize::try_from(file.len()).map_err(io::Error::other)?)
    }

    /// Writes a whole file so that it is there in full or not at all, and durably: temporary name,
    /// sync, rename, sync of the folder.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let temp = path.with_file_name(name);
        match self.remove(&temp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = self.create(&temp)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        drop(file);
        self.rename(&temp, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new("")))
    }
}

/// A file being written from its start to its end.
pub trait DiskFile: Send + fmt::Debug {
    /// Appends bytes.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes room for so many more bytes, so that a full disk shows here and not at a sync, which
    /// nothing can mend. The file's length stays; does nothing where a disk cannot do it.
    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let _ = bytes;
        Ok(())
    }
    /// Makes what was written durable. After a failure the file's state is unknown for ever.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// A file being read; it stays readable after it was removed.
pub trait DiskRead: Send + Sync + fmt::Debug {
    /// Returns its length.
    fn len(&self) -> u64;
    /// Tells whether it has no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads exactly `len` bytes from `offset`; an error of kind `UnexpectedEof` past the end.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes>;
}

#[cfg(test)]
mod tests;
