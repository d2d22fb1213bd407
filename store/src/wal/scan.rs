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
    /// Damaged places with good frames after them, and the sequences that are missing there.
    pub(super) bad: Vec<(Range<u64>, Range<u64>)>,
    /// Bytes after `end`: a torn tail, or damage where more files follow.
    pub(super) tail_bytes: u64,
}

/// Visits every good frame of a file in order.
pub(super) fn scan(
    file: &dyn DiskRead,
    header: &Header,
    mut visit: impl FnMut(Frame<'_>),
) -> io::Result<Scan> {
    let mut window = Window { file, bytes: Bytes::new(), start: 0 };
    let start = (FRAMES_AT as u64).min(file.len());
    let mut scan =
        Scan { last_sequence: header.first_sequence.wrapping_sub(1), end: start, ..Scan::default() };
    let mut at = start;
    while at < file.len() {
        let next = scan.last_sequence.wrapping_add(1);
        if let Some(len) = window.frame_at(at, header, next, &mut |frame| {
            scan.last_sequence = frame.sequence;
            visit(frame);
        })? {
            if at > scan.end || scan.last_sequence > next {
                scan.bad.push((scan.end..at, next..scan.last_sequence));
            }
            at += len;
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

/// A piece of the file in memory, moved along as it is read.
struct Window<'a> {
    file: &'a dyn DiskRead,
    bytes: Bytes,
    start: u64,
}

impl Window<'_> {
    const STEP: usize = 1 << 20;

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

    /// Visits the frame at `at` if it is good and its sequence not below `next`; returns its length.
    fn frame_at(
        &mut self,
        at: u64,
        header: &Header,
        next: u64,
        visit: &mut dyn FnMut(Frame<'_>),
    ) -> io::Result<Option<u64>> {
        let Some(head) = FrameHead::decode(self.get(at, FrameHead::BYTES_MAX)?, &header.salt) else {
            return Ok(None);
        };
        // The length passed a checksum, and is bounded by the file before anything is allocated.
        if head.sequence < next || head.frame_len() as u64 > self.file.len() - at {
            return Ok(None);
        }
        let Some(frame) = head.frame(self.get(at, head.frame_len())?) else { return Ok(None) };
        visit(frame);
        Ok(Some(head.frame_len() as u64))
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
