//! Files of segments as the Parquet library wants to see them.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};

use super::format::{ColumnSum, column_place, column_sum};
use crate::disk::{Disk, DiskFile, DiskRead};
use crate::segment::SegmentFile;

/// A file being read.
#[derive(Clone, Debug)]
pub(super) struct Chunks(pub(super) Arc<dyn DiskRead>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        // Used for page headers alone: a piece is enough, and more is read when it is used up.
        Ok(Box::new(Pieces { file: Arc::clone(&self.0), at: start, piece: Bytes::new() }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.0.read_at(start, length).map_err(|e| ParquetError::External(Box::new(e)))
    }
}

/// A piece of a file in memory, under the offsets of the whole.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) bytes: Bytes,
    pub(super) file_len: u64,
}

impl Length for Piece {
    fn len(&self) -> u64 {
        self.file_len
    }
}

impl ChunkReader for Piece {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let rest = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let rest = rest.filter(|at| *at <= self.bytes.len()).map(|at| self.bytes.slice(at..));
        rest.map(Buf::reader).ok_or_else(|| ParquetError::EOF("a page lies outside of its column".into()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut rest = self.get_read(start)?.into_inner();
        if rest.len() < length {
            return Err(ParquetError::EOF("a page ends outside of its column".into()));
        }
        Ok(rest.split_to(length))
    }
}

struct Pieces {
    file: Arc<dyn DiskRead>,
    at: u64,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        const PIECE: u64 = 16 * 1024;
        if self.piece.is_empty() {
            let left = self.file.len().saturating_sub(self.at).min(PIECE);
            self.piece = self.file.read_at(self.at, left as usize)?;
            self.at += left;
        }
        let n = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// A file being written under a temporary name, checksummed on the way.
#[derive(Debug)]
pub(super) struct Sink {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    temp: PathBuf,
    file: Box<dyn DiskFile>,
    hasher: blake3::Hasher,
    n_bytes: u64,
    /// What was written since checksums were taken last: a row group at most.
    recent: Vec<u8>,
}

impl Sink {
    pub(super) fn create(disk: &Arc<dyn Disk>, path: PathBuf) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let temp = path.with_file_name(name);
        match disk.remove(&temp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = disk.create(&temp)?;
        Ok(Self {
            disk: Arc::clone(disk),
            path,
            temp,
            file,
            hasher: blake3::Hasher::new(),
            n_bytes: 0,
            recent: Vec::new(),
        })
    }

    /// Returns the checksums of the columns of the row group that was just written.
    pub(super) fn sums_of(&mut self, group: &RowGroupMetaData) -> Option<Vec<ColumnSum>> {
        let recent = std::mem::take(&mut self.recent);
        let recent_at = self.n_bytes - recent.len() as u64;
        let sum = |chunk: &ColumnChunkMetaData| {
            let (start, len) = column_place(chunk)?;
            let from = usize::try_from(start.checked_sub(recent_at)?).ok()?;
            let bytes = recent.get(from..from.checked_add(usize::try_from(len).ok()?)?)?;
            Some((start, len, column_sum(bytes, chunk)))
        };
        group.columns().iter().map(sum).collect()
    }

    /// Makes the file durable under its name.
    pub(super) fn finish(mut self) -> io::Result<SegmentFile> {
        self.file.sync_data()?;
        self.disk.rename(&self.temp, &self.path)?;
        if let Some(folder) = self.path.parent() {
            self.disk.sync_dir(folder)?;
        }
        Ok(SegmentFile { path: self.path, bytes: self.n_bytes, blake3: *self.hasher.finalize().as_bytes() })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.n_bytes += bytes.len() as u64;
        self.recent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
