//! Reading one file frame by frame, past damaged places, in bounded memory.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::format::{FRAME_HEADER_BYTES, FRAME_MAGIC, FRAMES_AT, Frame, FrameHead, Header};
use crate::disk::DiskRead;

/// What a file held beside its frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Sequence of the last good frame; the one before the file's first where there is none.
    pub(super) last_sequence: u64,
    /// Where the last good frame ends.
    pub(super) end: u64,
    /// Damaged places with good frames after them.
    pub(super) bad: Vec<Bad>,
    /// Bytes after `end`: a torn tail, or damage where more files follow.
    pub(super) tail_bytes: u64,
}

/// A damaged place with good frames after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) bytes: Range<u64>,
    /// Sequences that are missing.
    pub(super) lost: Range<u64>,
    /// A group begins after it, so it was durable once.
    pub(super) was_synced: bool,
}

/// Visits every good frame of a file in order, and says of each whether a damaged place came before it.
pub(super) fn scan(
    file: &dyn DiskRead,
    header: &Header,
    mut visit: impl FnMut(Frame<'_>, bool),
) -> io::Result<Scan> {
    let mut window = Window { file, bytes: Bytes::new(), start: 0 };
    let start = (FRAMES_AT as u64).min(file.len());
    let mut scan =
        Scan { last_sequence: header.first_sequence.wrapping_sub(1), end: start, ..Scan::default() };
    let mut at = start;
    while at < file.len() {
        let next = scan.last_sequence.wrapping_add(1);
        if let Some((head, frame)) = window.frame_at(at, header, next)? {
            scan.last_sequence = frame.sequence;
            if at > scan.end || scan.last_sequence > next {
                let lost = next..scan.last_sequence;
                scan.bad.push(Bad { bytes: scan.end..at, lost, was_synced: false });
            }
            if head.begins_group {
                scan.bad.iter_mut().for_each(|bad| bad.was_synced = true);
            }
            visit(frame, !scan.bad.is_empty());
            at += head.frame_len() as u64;
            scan.end = at;
            continue;
        }
        match window.find_magic(at + 1)? {
            Some(candidate) => at = candidate,
            None => break,
        }
    }
    scan.tail_bytes = file.len() - scan.end;
    Ok(scan)
}

/// Returns where the last file of the log stops being what was synced, if it does: where a write was cut short, or
/// where a power loss left holes in the last group. What it says of a bit that flipped is no.
pub(super) fn torn_at(file: &dyn DiskRead, header: &Header, scan: &Scan) -> io::Result<Option<u64>> {
    for bad in scan.bad.iter().filter(|bad| !bad.was_synced) {
        if has_hole(file, bad.bytes.clone())? {
            return Ok(Some(bad.bytes.start));
        }
    }
    if scan.tail_bytes == 0 {
        return Ok(None);
    }
    let tail = scan.end..file.len();
    let torn = is_cut_short(file, header, tail.clone())? || has_hole(file, tail)?;
    Ok(torn.then_some(scan.end))
}

/// Tells whether bytes are the begin of a frame that goes on behind their end.
fn is_cut_short(file: &dyn DiskRead, header: &Header, bytes: Range<u64>) -> io::Result<bool> {
    let left = bytes.end - bytes.start;
    let n = usize::try_from(left).map_or(FrameHead::BYTES_MAX, |left| left.min(FrameHead::BYTES_MAX));
    let start = file.read_at(bytes.start, n)?;
    if let Some(head) = FrameHead::decode(&start, &header.salt) {
        return Ok(head.frame_len() as u64 > left);
    }
    let (Some(&tenant_bytes), Some(payload_bytes)) = (start.get(25), start.get(12..16)) else {
        return Ok(true);
    };
    if n < FRAME_HEADER_BYTES {
        return Ok(true);
    }
    let payload_bytes = payload_bytes.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b));
    // A frame whose bytes are all there is none that was cut, whatever the length of its tenant's name says now.
    let named = left.checked_sub(FRAME_HEADER_BYTES as u64 + payload_bytes);
    let is_all_there = named.is_some_and(|n| (1..=64).contains(&n));
    Ok(n < FRAME_HEADER_BYTES + usize::from(tenant_bytes) && !is_all_there)
}

/// Bytes that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// Tells whether a sector's part of a range holds nothing but zeros: it was never written.
pub(super) fn has_hole(file: &dyn DiskRead, range: Range<u64>) -> io::Result<bool> {
    // The last bytes of a payload may be zeros by themselves.
    const AT_END_MIN: u64 = 4;
    let mut at = range.start;
    while at < range.end {
        let until = range.end.min((at + (1 << 20)).next_multiple_of(SECTOR));
        let piece = file.read_at(at, usize::try_from(until - at).map_err(io::Error::other)?)?;
        let mut from = 0;
        while from < piece.len() {
            let here = at + from as u64;
            let to = piece.len().min(from + (SECTOR - here % SECTOR) as usize);
            let is_whole = to < piece.len() || (at + to as u64).is_multiple_of(SECTOR);
            let counts = is_whole || (to - from) as u64 >= AT_END_MIN;
            if counts && piece[from..to].iter().all(|b| *b == 0) {
                return Ok(true);
            }
            from = to;
        }
        at = until;
    }
    Ok(false)
}

/// Counts places that look like the begin of a group, in a file whose header is gone; more than one says that the
/// first was durable.
pub(super) fn n_groups_guessed(file: &dyn DiskRead) -> io::Result<usize> {
    let mut window = Window { file, bytes: Bytes::new(), start: 0 };
    let (mut at, mut n) = (FRAMES_AT as u64, 0);
    while let Some(found) = window.find_magic(at)? {
        n += usize::from(window.get(found, FRAME_HEADER_BYTES)?.get(26) == Some(&1));
        at = found + 1;
    }
    Ok(n)
}

/// A piece of the file in memory, moved along as it is read.
struct Window<'a> {
    file: &'a dyn DiskRead,
    bytes: Bytes,
    start: u64,
}

impl Window<'_> {
    /// Several frames of the usual size, since the one that the end cuts is read again.
    const STEP: usize = 4 << 20;

    /// Returns up to `len` bytes at `at`, fewer at the file's end.
    fn get(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.file.len().saturating_sub(at)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let inside = at >= self.start && at + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            self.bytes = self.file.read_at(at, len.max(Self::STEP.min(left)))?;
            self.start = at;
        }
        let from = usize::try_from(at - self.start).map_err(io::Error::other)?;
        Ok(&self.bytes[from..from + len])
    }

    /// Returns the frame at `at` if it is good and its sequence not below `next`.
    fn frame_at(
        &mut self,
        at: u64,
        header: &Header,
        next: u64,
    ) -> io::Result<Option<(FrameHead, Frame<'_>)>> {
        let Some(head) = FrameHead::decode(self.get(at, FrameHead::BYTES_MAX)?, &header.salt) else {
            return Ok(None);
        };
        // The length passed a checksum, and is bounded by the file before anything is allocated.
        if head.sequence < next || head.frame_len() as u64 > self.file.len() - at {
            return Ok(None);
        }
        Ok(head.frame(self.get(at, head.frame_len())?).map(|frame| (head, frame)))
    }

    /// Finds the next place from `at` where a frame could begin.
    fn find_magic(&mut self, mut at: u64) -> io::Result<Option<u64>> {
        while at + FRAME_HEADER_BYTES as u64 <= self.file.len() {
            let piece = self.get(at, Self::STEP)?;
            if let Some(i) = memchr::memmem::find(piece, &FRAME_MAGIC) {
                return Ok(Some(at + i as u64));
            }
            // The magic may lie across the end of the piece.
            at += (piece.len() - (FRAME_MAGIC.len() - 1)) as u64;
        }
        Ok(None)
    }
}
