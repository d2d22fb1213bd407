//! The bytes of a file's mark in the ledger, version 1.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version |
//! | 1 | flags: 1 in a line that was cut, 2 ended |
//! | 8, 8, 8 | device, inode, offset |
//! | 8 | time of the end in ns, 0 if not ended |
//! | 2, 8 | length and XXH3-64 of the head |
//! | 2 + n x 16 | boundaries: position, XXH3-64 of up to 256 bytes before it |
//! | 2 + n x 8 | starts of lines behind the offset that are queued |
//! | 2 + n, 2 + n | path when first seen, when last seen |
//!
//! Numbers are little-endian. A mark of another version is ignored, and its file read as a new one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::identity::{Boundary, FileMark, Inode};
use crate::queue::Mark;

const VERSION: u8 = 1;

/// Writes a mark for the ledger.
pub(super) fn write(file: &FileMark) -> Mark {
    let mut out = vec![VERSION, u8::from(file.cutting) | u8::from(file.ended.is_some()) << 1];
    for number in [file.inode.dev, file.inode.ino, file.offset, file.ended.unwrap_or(0).cast_unsigned()] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&file.head_len.to_le_bytes());
    out.extend_from_slice(&file.head_hash.to_le_bytes());
    put_count(&mut out, file.boundaries.len());
    for boundary in &file.boundaries {
        out.extend_from_slice(&boundary.at.to_le_bytes());
        out.extend_from_slice(&boundary.hash.to_le_bytes());
    }
    put_count(&mut out, file.done.len());
    for start in &file.done {
        out.extend_from_slice(&start.to_le_bytes());
    }
    for path in [&file.path, &file.at] {
        put_count(&mut out, path.as_os_str().len());
        out.extend_from_slice(path.as_os_str().as_bytes());
    }
    Mark { key: file.id, value: out }
}

fn put_count(out: &mut Vec<u8>, n: usize) {
    // Paths end at 4096 bytes, boundaries at 16 and lines at 2000.
    out.extend_from_slice(&u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes());
}

/// Reads a mark of the ledger; `None` if it is of another version.
pub(super) fn read(id: u64, bytes: &[u8]) -> Option<FileMark> {
    let mut rest = bytes;
    let [version, flags] = take::<2>(&mut rest)?;
    if version != VERSION {
        return None;
    }
    let inode = Inode { dev: take_u64(&mut rest)?, ino: take_u64(&mut rest)? };
    let offset = take_u64(&mut rest)?;
    let ended = take_u64(&mut rest)?.cast_signed();
    let head_len = u16::from_le_bytes(take(&mut rest)?);
    let head_hash = take_u64(&mut rest)?;
    let mut boundaries = Vec::new();
    for _ in 0..u16::from_le_bytes(take(&mut rest)?) {
        boundaries.push(Boundary { at: take_u64(&mut rest)?, hash: take_u64(&mut rest)? });
    }
    let mut done = Vec::new();
    for _ in 0..u16::from_le_bytes(take(&mut rest)?) {
        done.push(take_u64(&mut rest)?);
    }
    let path = take_path(&mut rest)?;
    let at = take_path(&mut rest)?;
    let (cutting, ended) = (flags & 1 != 0, (flags & 2 != 0).then_some(ended));
    Some(FileMark { id, path, at, inode, offset, done, cutting, head_len, head_hash, boundaries, ended })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

fn take_path(rest: &mut &[u8]) -> Option<PathBuf> {
    let len = usize::from(u16::from_le_bytes(take(rest)?));
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(Path::new(OsStr::from_bytes(bytes)).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_come_back(
            numbers: [u64; 5], cutting: bool, ended: Option<i64>, head_len: u16, path in "[a-z/é]{0,40}",
            boundaries in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..16),
            done: Vec<u64>,
        ) {
            let [id, dev, ino, offset, head_hash] = numbers;
            let boundaries = boundaries.into_iter().map(|(at, hash)| Boundary { at, hash }).collect();
            let file = FileMark {
                id, path: path.clone().into(), at: format!("{path}.1").into(), inode: Inode { dev, ino }, offset,
                done, cutting, head_len, head_hash, boundaries, ended,
            };
            let mark = write(&file);
            prop_assert_eq!(mark.key, id);
            prop_assert_eq!(read(id, &mark.value), Some(file));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read(1, &bytes);
            let mut with_version = vec![VERSION];
            with_version.extend_from_slice(&bytes);
            let _ = read(1, &with_version);
        }
    }
}
