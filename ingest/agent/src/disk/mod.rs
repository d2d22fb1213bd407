//! Where the agent keeps what it must not lose.
//!
//! [`Disk`] is all that the queue knows of a file system. [`LocalDisk`] is the real one, [`MemoryDisk`]
//! can lose what was not synced, [`FailingDisk`] fails on demand; one contract suite runs on all three.

mod failing;
mod local;
mod memory;

use std::fmt;
use std::io;
use std::path::Path;

pub use failing::FailingDisk;
pub use local::LocalDisk;
pub use memory::MemoryDisk;

/// A folder tree to append to, with control over what is durable.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes `dir` and its parents, durably.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Returns the names of the files in `dir`, sorted.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a file that must not exist yet, and makes its name durable.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, to read it and to append to it.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Removes a file; that it stays removed after a crash is not promised.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns the bytes free for us on the file system of `dir`, if it can tell.
    fn free_bytes(&self, dir: &Path) -> Option<u64>;
}

/// A file of a [`Disk`].
pub trait DiskFile: Send + fmt::Debug {
    /// Returns the file's length in bytes.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before, or whatever the file system says.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes `bytes` at the end.
    ///
    /// # Errors
    /// Whatever the file system says; a part may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once everything appended is durable.
    ///
    /// # Errors
    /// Whatever the file system says; the file must not be trusted with more afterwards.
    fn sync(&mut self) -> io::Result<()>;
}
