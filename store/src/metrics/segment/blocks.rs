//! Files of blocks: what lies beside the rows of a segment, each block compressed by itself.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | magic: what the blocks hold |
//! | 8..12 | version, 1 |
//! | 12.. | blocks, a zstd frame with a checksum each |
//! | then | directory, one more such frame: count, then for each block: its bytes here, its bytes decompressed, two keys (zigzag), all LEB128 |
//! | last 48 | offset of the directory (8), its bytes decompressed (8), BLAKE3 of the header, the directory and these 16 bytes (32) |
//!
//! Numbers are little-endian.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::super::varint;
use super::SegmentError;
use super::file::HashedFile;
use super::page::decompress;
use super::row_writer::Effort;
use crate::disk::{Disk, DiskRead};
use crate::read::ReadError;
use crate::segment::SegmentFile;

/// A block is closed at this size: a small read decompresses little, and zstd has enough to work on.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// The largest histogram or group of exemplars takes half of this; more is damage, not data.
const PLAIN_BYTES_MAX: u64 = 8 << 20;

const VERSION: u32 = 1;
const HEADER_BYTES: usize = 12;
const TRAILER_BYTES: usize = 48;

/// What a file of blocks holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Histograms,
    Exemplars,
    /// A rollup by minutes.
    Minutes,
    /// A rollup by hours.
    Hours,
}

impl Content {
    /// Returns the end of the file's name.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Histograms => "histograms",
            Self::Exemplars => "exemplars",
            Self::Minutes => "rollup-1m",
            Self::Hours => "rollup-1h",
        }
    }

    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Histograms => b"GLHIST\r\n",
            Self::Exemplars => b"GLEXEM\r\n",
            Self::Minutes => b"GLROLM\r\n",
            Self::Hours => b"GLROLH\r\n",
        }
    }

    fn header(self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(self.magic());
        header[8..].copy_from_slice(&VERSION.to_le_bytes());
        header
    }
}

/// Where a block is, and what it is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockPlace {
    pub(super) keys: (i64, i64),
    offset: u64,
    packed_bytes: u32,
    plain_bytes: u32,
}

/// Writes a file of blocks.
pub(super) struct BlockWriter {
    content: Content,
    file: HashedFile,
    compressor: zstd::bulk::Compressor<'static>,
    places: Vec<BlockPlace>,
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter").field("file", &self.file).finish_non_exhaustive()
    }
}

impl BlockWriter {
    /// Creates the file.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        content: Content,
        effort: Effort,
    ) -> Result<Self, SegmentError> {
        let failed = |source| SegmentError::Io { path: path.clone(), source };
        let mut compressor = zstd::bulk::Compressor::new(effort.level()).map_err(failed)?;
        compressor.include_checksum(true).map_err(failed)?;
        let mut file = HashedFile::create(disk.as_ref(), path.clone()).map_err(failed)?;
        file.write_all(&content.header()).map_err(failed)?;
        Ok(Self { content, file, compressor, places: Vec::new() })
    }

    /// Adds a block.
    pub(super) fn push(&mut self, keys: (i64, i64), plain: &[u8]) -> Result<(), SegmentError> {
        assert!(plain.len() as u64 <= PLAIN_BYTES_MAX, "a block holds what is read at once");
        let offset = self.file.n_bytes();
        let packed = self.compressor.compress(plain).and_then(|packed| {
            self.file.write_all(&packed)?;
            Ok(packed.len() as u32)
        });
        let packed_bytes = packed.map_err(|source| self.io(source))?;
        self.places.push(BlockPlace { keys, offset, packed_bytes, plain_bytes: plain.len() as u32 });
        Ok(())
    }

    /// Writes the directory and makes the file durable.
    pub(super) fn finish(mut self) -> Result<SegmentFile, SegmentError> {
        let mut plain = Vec::new();
        varint::put(&mut plain, self.places.len() as u64);
        for place in &self.places {
            varint::put(&mut plain, u64::from(place.packed_bytes));
            varint::put(&mut plain, u64::from(place.plain_bytes));
            varint::put(&mut plain, varint::zigzag(place.keys.0));
            varint::put(&mut plain, varint::zigzag(place.keys.1));
        }
        let mut tail = self.compressor.compress(&plain).map_err(|source| self.io(source))?;
        tail.extend_from_slice(&self.file.n_bytes().to_le_bytes());
        tail.extend_from_slice(&(plain.len() as u64).to_le_bytes());
        let blake3 = tail_hash(self.content, &tail);
        tail.extend_from_slice(&blake3);
        self.file.write_all(&tail).map_err(|source| self.io(source))?;
        let path = self.file.path().to_path_buf();
        self.file.finish().map_err(|source| SegmentError::Io { path, source })
    }

    fn io(&self, source: std::io::Error) -> SegmentError {
        SegmentError::Io { path: self.file.path().to_path_buf(), source }
    }
}

fn tail_hash(content: Content, tail: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(&content.header()).update(tail).finalize().as_bytes()
}

/// A file of blocks, open for reading.
#[derive(Clone, Debug)]
pub(super) struct BlockFile {
    content: Content,
    path: PathBuf,
    file: Arc<dyn DiskRead>,
}

impl BlockFile {
    /// Takes a file that is open; reads nothing yet.
    pub(super) fn new(content: Content, path: PathBuf, file: Arc<dyn DiskRead>) -> Self {
        Self { content, path, file }
    }

    /// Says that the file is damaged.
    pub(super) fn damaged(&self, detail: impl Into<String>) -> ReadError {
        ReadError::Corrupt { path: self.path.display().to_string(), detail: detail.into() }
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        self.file
            .read_at(offset, len)
            .map_err(|source| ReadError::Io { path: self.path.display().to_string(), source })
    }

    /// Reads the places of all blocks, in order, and checks header and directory against their checksum.
    pub(super) fn places(&self) -> Result<Vec<BlockPlace>, ReadError> {
        let directory_end = self.file.len().checked_sub(TRAILER_BYTES as u64);
        let directory_end = directory_end.filter(|end| *end >= HEADER_BYTES as u64);
        let directory_end = directory_end.ok_or_else(|| self.damaged("it is too short"))?;
        self.check_header(&self.read_at(0, HEADER_BYTES)?)?;
        let trailer = self.read_at(directory_end, TRAILER_BYTES)?;
        let number =
            |at: usize| trailer[at..at + 8].iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let (offset, plain_bytes) = (number(0), number(8));
        let is_inside = (HEADER_BYTES as u64..=directory_end).contains(&offset);
        if !is_inside || plain_bytes > PLAIN_BYTES_MAX {
            return Err(self.damaged("its directory is not where it should be"));
        }
        let tail = self.read_at(offset, (directory_end - offset) as usize + 16)?;
        if tail_hash(self.content, &tail) != trailer[16..] {
            return Err(self.damaged("the checksum of its directory differs"));
        }
        let packed = &tail[..tail.len() - 16];
        let plain = decompress(packed, plain_bytes as usize).map_err(|e| self.damaged(e.to_string()))?;
        places_of(&plain, offset).ok_or_else(|| self.damaged("its directory does not decode"))
    }

    fn check_header(&self, header: &[u8]) -> Result<(), ReadError> {
        let name = self.content.extension();
        if header[..8] != *self.content.magic() {
            return Err(self.damaged(format!("it is no file of {name}")));
        }
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if version != VERSION {
            return Err(self.damaged(format!(
                "its format is metrics-{name}-{version}, this release reads metrics-{name}-{VERSION}; \
                 use the release that wrote it"
            )));
        }
        Ok(())
    }

    /// Reads a block.
    pub(super) fn block(&self, place: &BlockPlace) -> Result<Vec<u8>, ReadError> {
        let packed = self.read_at(place.offset, place.packed_bytes as usize)?;
        // The frame's checksum is checked here: what decompresses is what was written.
        decompress(&packed, place.plain_bytes as usize)
            .map_err(|e| self.damaged(format!("a block does not decompress: {e}")))
    }
}

fn places_of(plain: &[u8], end: u64) -> Option<Vec<BlockPlace>> {
    let mut rest = plain;
    let (mut places, mut offset) = (Vec::new(), HEADER_BYTES as u64);
    for _ in 0..varint::take(&mut rest)? {
        let packed_bytes = u32::try_from(varint::take(&mut rest)?).ok()?;
        let plain_bytes = varint::take(&mut rest).filter(|n| *n <= PLAIN_BYTES_MAX)? as u32;
        let keys = (varint::unzigzag(varint::take(&mut rest)?), varint::unzigzag(varint::take(&mut rest)?));
        places.push(BlockPlace { keys, offset, packed_bytes, plain_bytes });
        offset += u64::from(packed_bytes);
    }
    (rest.is_empty() && offset == end).then_some(places)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::MemDisk;

    /// Keys and content.
    type Block = ((i64, i64), Vec<u8>);

    fn write(blocks: &[Block]) -> Vec<u8> {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
        let mut writer = BlockWriter::create(&disk, "f".into(), Content::Exemplars, Effort::Small).unwrap();
        blocks.iter().for_each(|(keys, plain)| writer.push(*keys, plain).unwrap());
        let file = writer.finish().unwrap();
        let bytes = disk.read(Path::new("f")).unwrap();
        assert_eq!((file.bytes, file.blake3), (bytes.len() as u64, *blake3::hash(&bytes).as_bytes()));
        bytes.to_vec()
    }

    fn read(content: Content, bytes: &[u8]) -> Result<Vec<Block>, ReadError> {
        let disk = MemDisk::default();
        let mut file = disk.create(Path::new("f")).unwrap();
        file.write_all(bytes).unwrap();
        let file = BlockFile::new(content, "f".into(), disk.open(Path::new("f")).unwrap());
        file.places()?.iter().map(|place| Ok((place.keys, file.block(place)?))).collect()
    }

    proptest! {
        #[test]
        fn blocks_come_back_and_damage_is_an_error_or_nothing(
            blocks in proptest::collection::vec(
                ((any::<i64>(), any::<i64>()), proptest::collection::vec(any::<u8>(), 0..300)), 0..5),
            at in any::<u32>(), bit in 0..8, cut in any::<bool>(),
        ) {
            let mut bytes = write(&blocks);
            prop_assert_eq!(read(Content::Exemplars, &bytes).unwrap(), blocks.clone());
            let at = at as usize % bytes.len();
            if cut {
                bytes.truncate(at);
                prop_assert!(read(Content::Exemplars, &bytes).is_err());
            } else {
                bytes[at] ^= 1u8 << bit;
                match read(Content::Exemplars, &bytes) {
                    // A bit that no decoder looks at.
                    Ok(read) => prop_assert_eq!(read, blocks),
                    Err(error) => prop_assert!(matches!(error, ReadError::Corrupt { .. }), "{}", error),
                }
            }
        }
    }

    #[test]
    fn other_files_and_newer_ones_are_refused_with_a_clear_message() {
        let mut bytes = write(&[]);
        let error = read(Content::Histograms, &bytes).unwrap_err().to_string();
        assert_eq!(error, "f is damaged: it is no file of histograms");
        bytes[8] = 2;
        let error = read(Content::Exemplars, &bytes).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "its format is metrics-exemplars-2, this release reads metrics-exemplars-1; use the release that wrote it"
            ),
            "{error}"
        );
    }
}
