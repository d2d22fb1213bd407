//! Reads what an earlier run left in a queue's folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::format::{self, Body, FRAME_HEAD_BYTES, HEADER, Mark};
use super::{FrameRef, Segment};
use crate::disk::{Disk, DiskFile};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) pending: BTreeMap<u64, FrameRef>,
    pub(super) marks: BTreeMap<u64, Vec<u8>>,
    pub(super) next_seq: u64,
    pub(super) next_segment: u64,
    pub(super) anchor: u64,
    pub(super) damaged_bytes: u64,
}

/// Scans all segments of `dir`, oldest first, one frame in memory at a time.
pub(super) fn scan(disk: &dyn Disk, dir: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut acked = BTreeSet::new();
    for name in disk.list(dir)? {
        let Some(number) = segment_number(&name) else { continue };
        let mut file = disk.open(&dir.join(&name))?;
        // What a killed process wrote but did not sync is read from the page cache here; it must be durable
        // before anything is built on it, or a later power loss would take batches whose marks survive.
        file.sync()?;
        let bytes = file.size()?;
        found.next_segment = number + 1;
        found.damaged_bytes += scan_segment(file.as_ref(), bytes, |offset, frame_bytes, body| match body {
            Body::Batch { seq, items, marks, payload } => {
                found.next_seq = found.next_seq.max(seq + 1);
                apply(&mut found.marks, marks);
                let payload_bytes = payload.len() as u64;
                let frame = FrameRef { segment: number, offset, frame_bytes, payload_bytes, items };
                found.pending.insert(seq, frame);
            }
            Body::Marks { next_seq, marks } => {
                found.next_seq = found.next_seq.max(next_seq);
                apply(&mut found.marks, marks);
            }
            Body::Snapshot { next_seq, marks } => {
                found.next_seq = found.next_seq.max(next_seq);
                found.anchor = number;
                found.marks.clear();
                apply(&mut found.marks, marks);
            }
            Body::Acked { seqs } => acked.extend(seqs),
        })?;
        found.segments.insert(number, Segment { file, bytes, n_pending: 0 });
    }
    found.pending.retain(|seq, _| !acked.contains(seq));
    for frame in found.pending.values() {
        if let Some(segment) = found.segments.get_mut(&frame.segment) {
            segment.n_pending += 1;
        }
    }
    Ok(found)
}

/// Puts marks where they belong: the later one wins, an empty one removes.
pub(super) fn apply(state: &mut BTreeMap<u64, Vec<u8>>, marks: impl IntoIterator<Item = Mark>) {
    for mark in marks {
        if mark.value.is_empty() {
            state.remove(&mark.key);
        } else {
            state.insert(mark.key, mark.value);
        }
    }
}

/// Names the file of a segment.
pub(super) fn segment_name(number: u64) -> String {
    format!("{number:016x}.queue")
}

fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".queue").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Calls `visit` for each intact frame; returns the bytes that are none.
fn scan_segment(
    file: &dyn DiskFile,
    bytes: u64,
    mut visit: impl FnMut(u64, u64, Body<'_>),
) -> io::Result<u64> {
    let mut header = [0; HEADER.len()];
    let header_bytes = header.len() as u64;
    let mut offset = 0;
    let mut damaged = 0;
    if bytes >= header_bytes {
        file.read_exact_at(&mut header, 0)?;
    }
    if header == HEADER {
        offset = header_bytes;
    }
    let mut body = Vec::new();
    while offset < bytes {
        if let Some(frame_bytes) = read_frame(file, offset, bytes, &mut body)?
            && let Some(read) = format::read_body(&body)
        {
            visit(offset, frame_bytes, read);
            offset += frame_bytes;
            continue;
        }
        let next = next_marker(file, offset + 1, bytes)?;
        damaged += next - offset;
        offset = next;
    }
    Ok(damaged)
}

/// Reads the body of the frame at `offset` into `body`; returns the frame's length if it is intact.
pub(super) fn read_frame(
    file: &dyn DiskFile,
    offset: u64,
    end: u64,
    body: &mut Vec<u8>,
) -> io::Result<Option<u64>> {
    let head_bytes = FRAME_HEAD_BYTES as u64;
    if end.saturating_sub(offset) < head_bytes {
        return Ok(None);
    }
    let mut head = [0; FRAME_HEAD_BYTES];
    file.read_exact_at(&mut head, offset)?;
    let Some((body_bytes, crc)) = format::read_head(&head) else { return Ok(None) };
    if (body_bytes as u64) > end - offset - head_bytes {
        return Ok(None);
    }
    body.resize(body_bytes, 0);
    file.read_exact_at(body, offset + head_bytes)?;
    Ok(format::is_intact(body, crc).then_some(head_bytes + body_bytes as u64))
}

fn next_marker(file: &dyn DiskFile, from: u64, end: u64) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut at = from;
    let mut buf = Vec::new();
    while at < end {
        let n = STEP.min(end - at);
        buf.resize(usize::try_from(n).unwrap_or(0), 0);
        file.read_exact_at(&mut buf, at)?;
        if let Some(i) = format::find_marker(&buf) {
            return Ok(at + i as u64);
        }
        if n < STEP {
            break;
        }
        // A marker may lie across the border of two steps.
        at += n - 3;
    }
    Ok(end)
}
