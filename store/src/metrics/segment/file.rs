//! A file being written, hashed on its way.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::segment::SegmentFile;

// Enough for the disk to take at once, little beside what a row group holds.
const BUFFER: usize = 256 << 10;

/// A file of a segment while it is written.
#[derive(Debug)]
pub(super) struct HashedFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    n_bytes: u64,
}

impl HashedFile {
    /// Creates the file.
    pub(super) fn create(disk: &dyn Disk, path: PathBuf) -> io::Result<Self> {
        let file = disk.create(&path)?;
        Ok(Self { path, file, buffer: Vec::with_capacity(BUFFER), hasher: blake3::Hasher::new(), n_bytes: 0 })
    }

    /// Returns the file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many bytes were written.
    pub(super) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    fn drain(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the file durable; its name is so when its folder is synced.
    pub(super) fn finish(mut self) -> io::Result<SegmentFile> {
        self.drain()?;
        self.file.sync_data()?;
        Ok(SegmentFile { path: self.path, bytes: self.n_bytes, blake3: *self.hasher.finalize().as_bytes() })
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER && !self.buffer.is_empty() {
            self.drain()?;
        }
        self.buffer.extend_from_slice(bytes);
        self.n_bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Durability is `finish`'s; writers call this after each part, which would split writes.
        Ok(())
    }
}
