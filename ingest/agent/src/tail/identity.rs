//! Which file is which: what a file was when it was last read, and whether another holds the same bytes.
//!
//! A path is only a label and an inode is used again, so a file is known by what it held: the hash of its first
//! bytes, and of the bytes before a few positions up to which it was read.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// Bytes at a file's start that are compared.
pub(super) const HEAD_BYTES: usize = 1024;
/// Bytes before a position that are compared.
pub(super) const WINDOW_BYTES: usize = 256;
// A copy that was made while a file grew is shorter than what was read; one of these lies within it.
pub(super) const BOUNDARIES_MAX: usize = 16;

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Inode {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

/// What a look at a file's metadata says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) inode: Inode,
    pub(super) size: u64,
    /// Nanoseconds since the epoch of the last change.
    pub(super) changed: i128,
}

impl Stat {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            inode: Inode { dev: metadata.dev(), ino: metadata.ino() },
            size: metadata.len(),
            changed: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// A position and the hash of the bytes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    pub(super) at: u64,
    pub(super) hash: u64,
}

/// How far a file was read, and by what it is known again: what the ledger holds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileMark {
    /// Names these bytes for good: copies and renames keep it, truncation begins another.
    pub(super) id: u64,
    /// Its path when it was first seen.
    pub(super) path: PathBuf,
    /// Its path when it was last seen.
    pub(super) at: PathBuf,
    pub(super) inode: Inode,
    /// Every line before it is queued.
    pub(super) offset: u64,
    /// Starts of lines behind `offset` that are queued as well: those of another stream.
    pub(super) done: Vec<u64>,
    /// Whether `offset` lies in a line that was cut.
    pub(super) cutting: bool,
    pub(super) head_len: u16,
    pub(super) head_hash: u64,
    /// Oldest first; the last is where reading stopped.
    pub(super) boundaries: Vec<Boundary>,
    /// When it was found to be finished, in nanoseconds since the epoch.
    pub(super) ended: Option<i64>,
}

/// How a file compares with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It holds all that was read.
    Whole,
    /// It holds the beginning of what was read, and nothing else.
    Part,
    /// It is another file.
    Other,
}

impl FileMark {
    /// Returns up to where it was read.
    pub(super) fn read_to(&self) -> u64 {
        self.boundaries.last().map_or(0, |boundary| boundary.at)
    }

    /// Compares with what `file` of `size` bytes holds.
    pub(super) fn compare(&self, file: &File, size: u64) -> Likeness {
        let head_len = usize::from(self.head_len);
        if (size as u128) < head_len as u128 || hash_range(file, 0, head_len) != Some(self.head_hash) {
            return Likeness::Other;
        }
        let within = self.boundaries.iter().rev().find(|boundary| boundary.at <= size);
        match within {
            // Nothing was read: an empty file is like any other.
            None => Likeness::Other,
            Some(boundary) if window_hash(file, boundary.at) != Some(boundary.hash) => Likeness::Other,
            Some(boundary) if boundary.at == self.read_to() => Likeness::Whole,
            Some(_) => Likeness::Part,
        }
    }
}

/// Hashes the bytes before `at`.
pub(super) fn window_hash(file: &File, at: u64) -> Option<u64> {
    let len = at.min(WINDOW_BYTES as u64);
    hash_range(file, at - len, usize::try_from(len).ok()?)
}

fn hash_range(file: &File, start: u64, len: usize) -> Option<u64> {
    let mut bytes = [0; HEAD_BYTES];
    let bytes = bytes.get_mut(..len)?;
    file.read_exact_at(bytes, start).ok()?;
    Some(xxh3_64(bytes))
}

/// How the name of a copy relates to that of its original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// `app.log` and `app.log.1`: equal bytes mean a copy, however few.
    Rotated,
    /// The same name again, or `app.log` and `app-1.log`: only much equal text means a copy, since programs that
    /// begin with the same words are common.
    Similar,
    /// Not of one family.
    None,
}

impl Relation {
    /// Compares paths; copies are looked for in the original's folder alone.
    pub(super) fn of(original: &Path, copy: &Path) -> Self {
        let names =
            (original.file_name().and_then(|n| n.to_str()), copy.file_name().and_then(|n| n.to_str()));
        let (Some(original_name), Some(copy_name)) = names else { return Self::None };
        if original.parent() != copy.parent() {
            return Self::None;
        }
        let (stem, extension) = original_name.rsplit_once('.').unwrap_or((original_name, ""));
        match copy_name.strip_prefix(original_name) {
            Some("") => Self::Similar,
            Some(rest) if rest.starts_with(['.', '-', '_', '~']) => Self::Rotated,
            _ if copy_name.starts_with(stem) && copy_name.ends_with(extension) => Self::Similar,
            _ => Self::None,
        }
    }

    /// Tells whether `read_to` equal bytes are enough to call it a copy.
    pub(super) fn is_convincing(self, read_to: u64) -> bool {
        match self {
            Self::Rotated => read_to > 0,
            Self::Similar => read_to >= HEAD_BYTES as u64,
            Self::None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_copies_are_told_from_names_of_neighbours() {
        let relation = |a: &str, b: &str| Relation::of(Path::new(a), Path::new(b));
        assert_eq!(relation("/l/app.log", "/l/app.log.1"), Relation::Rotated);
        assert_eq!(relation("/l/app.log", "/l/app.log-20261121"), Relation::Rotated);
        assert_eq!(relation("/l/app.log", "/l/app.log"), Relation::Similar);
        assert_eq!(relation("/l/app.log", "/l/app.1.log"), Relation::Similar);
        assert_eq!(relation("/l/worker-1.log", "/l/worker-2.log"), Relation::None);
        assert_eq!(relation("/l/app.log", "/m/app.log.1"), Relation::None);
    }
}
