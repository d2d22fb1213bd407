//! The disk queue: one ledger of batches, of where the producer stood, and of what was delivered.
//!
//! A batch and the producer's [`Mark`]s that go with it are one checksummed frame, so after a crash either both
//! are there or neither is: the tailer continues behind exactly the lines that are queued. Each new segment
//! starts with all marks, so that old segments can go as soon as their batches are delivered.
//!
//! Invariants: [`Queue::append`] returns after the frame is durable; a batch's bytes never change; a sequence
//! number is never given twice; a file that failed a write or a sync gets no further byte.

mod format;
mod recover;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use format::Mark;

use crate::disk::{Disk, DiskFile};
use format::{Body, HEADER};

/// What happens to an append that finds the queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The append is refused; its producer can wait (files are a buffer themselves).
    Refuse,
    /// The oldest batches go, counted.
    DropOldest,
}

/// How a queue is laid out.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Size at which a segment is followed by another.
    pub segment_bytes: u64,
    /// Size of all segments together that is not exceeded.
    pub bytes_max: u64,
    /// What happens at that size.
    pub when_full: WhenFull,
}

/// Which batch is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one that waits longest.
    OldestFirst,
    /// The one that came last.
    NewestFirst,
}

/// A batch on its way to the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its sequence number.
    pub seq: u64,
    /// How many samples or records it holds.
    pub items: u32,
    /// The bytes to send.
    pub payload: Vec<u8>,
}

/// How full a queue is, and what it lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Batches that wait.
    pub n_pending: u64,
    /// Bytes of payload that wait.
    pub pending_bytes: u64,
    /// Bytes of all segments.
    pub disk_bytes: u64,
    /// Items that were dropped because the queue was full.
    pub n_items_dropped: u64,
    /// Bytes that were damaged on disk, and skipped.
    pub damaged_bytes: u64,
}

/// Why a batch is not in the queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// There is no room.
    #[error("queue {dir} holds {disk_bytes} bytes, and {frame_bytes} more would exceed its {bytes_max}")]
    Full {
        /// The queue's folder.
        dir: PathBuf,
        /// What it holds.
        disk_bytes: u64,
        /// What was to be added.
        frame_bytes: u64,
        /// What it may hold.
        bytes_max: u64,
    },
    /// The disk failed.
    #[error("could not {doing} queue {dir}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The queue's folder.
        dir: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug)]
struct Segment {
    file: Box<dyn DiskFile>,
    bytes: u64,
    n_pending: u64,
}

#[derive(Clone, Copy, Debug)]
struct FrameRef {
    segment: u64,
    offset: u64,
    frame_bytes: u64,
    payload_bytes: u64,
    items: u32,
}

/// A bounded queue of batches in a folder of its own.
#[derive(Debug)]
pub struct Queue {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: QueueOptions,
    segments: BTreeMap<u64, Segment>,
    /// The segment that takes appends; none before the first one and after a failure.
    active: Option<u64>,
    pending: BTreeMap<u64, FrameRef>,
    taken: BTreeSet<u64>,
    unwritten_acks: Vec<u64>,
    marks: BTreeMap<u64, Vec<u8>>,
    next_seq: u64,
    next_segment: u64,
    /// The newest segment whose snapshot of the marks is durable: it and those behind it stay.
    anchor: u64,
    n_items_dropped: u64,
    damaged_bytes: u64,
}

// Acknowledgements that are lost in a crash only cause batches to be sent again, so they wait for company.
const ACKS_WRITTEN_TOGETHER: usize = 64;

impl Queue {
    /// Opens the queue in `dir`, with all that an earlier run left there.
    ///
    /// # Errors
    /// [`QueueError::Disk`] if the folder cannot be made or read. Damage inside files is no error: it is
    /// skipped and counted.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: QueueOptions) -> Result<Self, QueueError> {
        let failed = |source| QueueError::Disk { doing: "open", dir: dir.to_owned(), source };
        disk.create_dir(dir).map_err(failed)?;
        let found = recover::scan(disk.as_ref(), dir).map_err(failed)?;
        let mut queue = Self {
            disk,
            dir: dir.to_owned(),
            options,
            segments: found.segments,
            active: None,
            pending: found.pending,
            taken: BTreeSet::new(),
            unwritten_acks: Vec::new(),
            marks: found.marks,
            next_seq: found.next_seq,
            next_segment: found.next_segment,
            anchor: found.anchor,
            n_items_dropped: 0,
            damaged_bytes: found.damaged_bytes,
        };
        queue.limit_to_free_space();
        Ok(queue)
    }

    // An agent must not be what fills a disk: of the free space a tenth is ours.
    fn limit_to_free_space(&mut self) {
        if let Some(free) = self.disk.free_bytes(&self.dir) {
            let ours = (free / 10).saturating_add(self.disk_bytes()).max(4 * 1024 * 1024);
            self.options.bytes_max = self.options.bytes_max.min(ours);
        }
        self.options.segment_bytes = self.options.segment_bytes.min(self.options.bytes_max / 4).max(1);
    }

    /// Adds a batch and its marks durably, and returns its sequence number.
    ///
    /// Costs one write and one fdatasync. After an error the batch is not in the queue, or is there without
    /// the caller knowing; appending the very same bytes again is then right, as receivers keep one copy.
    ///
    /// # Errors
    /// [`QueueError::Full`] (only with [`WhenFull::Refuse`]), or [`QueueError::Disk`].
    pub fn append(&mut self, payload: &[u8], items: u32, marks: Vec<Mark>) -> Result<u64, QueueError> {
        let seq = self.next_seq;
        let mut frames = self.take_acks();
        let start = frames.len() as u64;
        format::write_frame(&mut frames, &Body::Batch { seq, items, marks: marks.clone(), payload });
        let frame_bytes = frames.len() as u64 - start;
        let (segment, offset) = self.write(&frames)?;
        self.next_seq += 1;
        recover::apply(&mut self.marks, marks);
        let payload_bytes = payload.len() as u64;
        let frame = FrameRef { segment, offset: offset + start, frame_bytes, payload_bytes, items };
        self.pending.insert(seq, frame);
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.n_pending += 1;
        }
        Ok(seq)
    }

    /// Stores marks that go with no batch, durably.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn mark(&mut self, marks: Vec<Mark>) -> Result<(), QueueError> {
        let mut frames = self.take_acks();
        format::write_frame(&mut frames, &Body::Marks { next_seq: self.next_seq, marks: marks.clone() });
        self.write(&frames)?;
        recover::apply(&mut self.marks, marks);
        Ok(())
    }

    /// Returns the latest mark of each key.
    pub fn marks(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.marks.iter().map(|(&key, value)| (key, value.as_slice()))
    }

    /// Takes a batch to send, if one waits that is not already on its way.
    ///
    /// A batch whose bytes are damaged is dropped and counted.
    pub fn take(&mut self, order: Order) -> Option<Batch> {
        loop {
            let mut waiting = self.pending.keys().filter(|seq| !self.taken.contains(seq));
            let seq = match order {
                Order::OldestFirst => *waiting.next()?,
                Order::NewestFirst => *waiting.next_back()?,
            };
            let frame = *self.pending.get(&seq)?;
            let mut body = Vec::new();
            let read = self.segments.get(&frame.segment).map(|segment| {
                recover::read_frame(segment.file.as_ref(), frame.offset, segment.bytes, &mut body)
            });
            if let Some(Ok(Some(_))) = read
                && let Some(Body::Batch { items, payload, .. }) = format::read_body(&body)
            {
                // Spares a copy of the whole payload.
                let head = body.len() - payload.len();
                body.drain(..head);
                self.taken.insert(seq);
                return Some(Batch { seq, items, payload: body });
            }
            self.n_items_dropped += u64::from(frame.items);
            self.damaged_bytes += frame.frame_bytes;
            self.forget(seq);
        }
    }

    /// Notes that a batch was delivered, or refused for good, and frees its space when it can.
    pub fn ack(&mut self, seq: u64) {
        if self.forget(seq) {
            self.unwritten_acks.push(seq);
        }
        if self.unwritten_acks.len() >= ACKS_WRITTEN_TOGETHER || self.pending.is_empty() {
            self.write_acks();
        }
        self.reclaim();
    }

    /// Gives a batch back that could not be delivered now.
    pub fn release(&mut self, seq: u64) {
        self.taken.remove(&seq);
    }

    /// Writes what is still to be written about deliveries; losing it would only cause repeats.
    pub fn close(&mut self) {
        self.write_acks();
    }

    /// Returns how full it is.
    pub fn stats(&self) -> QueueStats {
        QueueStats {
            n_pending: self.pending.len() as u64,
            pending_bytes: self.pending.values().map(|frame| frame.payload_bytes).sum(),
            disk_bytes: self.disk_bytes(),
            n_items_dropped: self.n_items_dropped,
            damaged_bytes: self.damaged_bytes,
        }
    }

    fn disk_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    fn forget(&mut self, seq: u64) -> bool {
        self.taken.remove(&seq);
        let Some(frame) = self.pending.remove(&seq) else { return false };
        if let Some(segment) = self.segments.get_mut(&frame.segment) {
            segment.n_pending -= 1;
        }
        true
    }

    fn take_acks(&mut self) -> Vec<u8> {
        let mut frames = Vec::new();
        if !self.unwritten_acks.is_empty() {
            let seqs = std::mem::take(&mut self.unwritten_acks);
            format::write_frame(&mut frames, &Body::Acked { seqs });
        }
        frames
    }

    fn write_acks(&mut self) {
        if self.unwritten_acks.is_empty() {
            return;
        }
        let number = match self.active {
            Some(number) => number,
            None => match self.start_segment() {
                Ok(number) => number,
                // The batches will be sent again, and stored once.
                Err(_) => return,
            },
        };
        let frames = self.take_acks();
        let Some(segment) = self.segments.get_mut(&number) else { return };
        // Synced, as the segments before it, which hold the marks until now, may be removed because of it.
        match segment.file.append(&frames).and_then(|()| segment.file.sync()) {
            Ok(()) => {
                segment.bytes += frames.len() as u64;
                self.anchor = number;
            }
            Err(_) => self.active = None,
        }
    }

    /// Removes the oldest segments that nobody needs: only whole prefixes, as acknowledgements lie behind
    /// what they acknowledge, and none that may hold the only durable marks.
    fn reclaim(&mut self) {
        while self.segments.len() > 1 {
            let Some((&number, segment)) = self.segments.first_key_value() else { return };
            if segment.n_pending > 0 || number >= self.anchor {
                return;
            }
            // A file that cannot be removed is found again at the next start.
            let _ = self.disk.remove(&self.dir.join(recover::segment_name(number)));
            self.segments.remove(&number);
        }
    }

    fn write(&mut self, frames: &[u8]) -> Result<(u64, u64), QueueError> {
        self.make_room(frames.len() as u64)?;
        let result = self.try_write(frames);
        if result.is_err() {
            // What is on disk now is anyone's guess: a new segment is started for whatever comes next.
            self.active = None;
        }
        result.map_err(|source| QueueError::Disk { doing: "append to", dir: self.dir.clone(), source })
    }

    fn try_write(&mut self, frames: &[u8]) -> io::Result<(u64, u64)> {
        let number = match self.active {
            Some(number) => number,
            None => self.start_segment()?,
        };
        let segment = self.segments.get_mut(&number).expect("the active segment is one of them");
        let offset = segment.bytes;
        let written = segment.file.append(frames).and_then(|()| segment.file.sync());
        segment.bytes = match written {
            Ok(()) => offset + frames.len() as u64,
            Err(_) => segment.file.size().unwrap_or(offset),
        };
        written?;
        self.anchor = number;
        if segment.bytes >= self.options.segment_bytes {
            self.active = None;
        }
        self.reclaim();
        Ok((number, offset))
    }

    fn start_segment(&mut self) -> io::Result<u64> {
        let number = self.next_segment;
        self.next_segment += 1;
        let mut file = self.disk.create(&self.dir.join(recover::segment_name(number)))?;
        let marks = self.marks.iter().map(|(&key, value)| Mark { key, value: value.clone() }).collect();
        let mut bytes = HEADER.to_vec();
        format::write_frame(&mut bytes, &Body::Snapshot { next_seq: self.next_seq, marks });
        let written = file.append(&bytes);
        let bytes = if written.is_ok() { bytes.len() as u64 } else { file.size()? };
        self.segments.insert(number, Segment { file, bytes, n_pending: 0 });
        written?;
        self.active = Some(number);
        Ok(number)
    }

    fn make_room(&mut self, frame_bytes: u64) -> Result<(), QueueError> {
        self.reclaim();
        while self.disk_bytes().saturating_add(frame_bytes) > self.options.bytes_max {
            let full = QueueError::Full {
                dir: self.dir.clone(),
                disk_bytes: self.disk_bytes(),
                frame_bytes,
                bytes_max: self.options.bytes_max,
            };
            let oldest = self.segments.first_key_value().map(|(&number, _)| number);
            match (self.options.when_full, oldest) {
                (WhenFull::DropOldest, Some(oldest)) if self.segments.len() > 1 => self.drop_segment(oldest),
                // Its own snapshot goes into the next segment, so the last one may go as well.
                (WhenFull::DropOldest, Some(oldest)) => {
                    self.active = None;
                    self.drop_segment(oldest);
                }
                _ => return Err(full),
            }
        }
        Ok(())
    }

    fn drop_segment(&mut self, number: u64) {
        let lost: Vec<u64> =
            self.pending.iter().filter(|(_, frame)| frame.segment == number).map(|(&seq, _)| seq).collect();
        for seq in lost {
            let items = self.pending.get(&seq).map_or(0, |frame| frame.items);
            self.n_items_dropped += u64::from(items);
            self.forget(seq);
        }
        let _ = self.disk.remove(&self.dir.join(recover::segment_name(number)));
        self.segments.remove(&number);
        if self.active == Some(number) {
            self.active = None;
        }
    }
}
