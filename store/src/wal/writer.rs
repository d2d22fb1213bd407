//! Appending to the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::FOLDER;
use super::format::{FRAMES_AT, Header, Kind, encode_frame};
use super::recover::file_name;
use crate::disk::{Disk, DiskFile};
use crate::model::{Clock, Random};
use crate::step::{Step, Steps};

/// What the log is written with.
pub(crate) type Tools = (Arc<dyn Disk>, Arc<dyn Clock>, Arc<dyn Random>, Steps);

/// Writes frames in groups: [`begin`](Self::begin), [`frame`](Self::frame) for each,
/// [`commit`](Self::commit).
#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    steps: Steps,
    file_bytes_max: u64,
    next_sequence: u64,
    /// Sequence after the last durable frame.
    durable_next: u64,
    file: Option<OpenFile>,
    buffer: Vec<u8>,
    closed: ClosedFiles,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    salt: [u8; 16],
    durable_bytes: u64,
}

/// A file that takes no more frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClosedFile {
    pub(crate) path: PathBuf,
    pub(crate) last_sequence: u64,
}

/// Files that take no more frames and wait to be removed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClosedFiles(Arc<Mutex<Vec<ClosedFile>>>);

impl ClosedFiles {
    pub(crate) fn new(files: Vec<ClosedFile>) -> Self {
        Self(Arc::new(Mutex::new(files)))
    }

    fn push(&self, file: ClosedFile) {
        self.0.lock().push(file);
    }

    /// Removes the files that hold nothing above `covered`; the catalog must say so durably.
    pub(crate) fn remove_covered(&self, disk: &dyn Disk, covered: u64) -> io::Result<()> {
        let old: Vec<ClosedFile> =
            self.0.lock().iter().filter(|f| f.last_sequence <= covered).cloned().collect();
        for file in &old {
            match disk.remove(&file.path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => self.0.lock().retain(|f| f != file),
            }
        }
        if old.is_empty() { Ok(()) } else { disk.sync_dir(Path::new(FOLDER)) }
    }
}

/// Why a group was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// There was no room, or no new file; the log is as it was before and takes the next group.
    #[error("the log has no room")]
    Refused(#[source] io::Error),
    /// What the file holds is not known any more; nothing must be written or acknowledged again.
    #[error("the log is broken")]
    Broken(#[source] io::Error),
}

/// What writing a group took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) bytes: u64,
    pub(crate) sync_time: Duration,
}

impl Writer {
    /// Goes on after what was recovered, in a new file.
    pub(crate) fn new(
        (disk, clock, random, steps): Tools,
        file_bytes_max: u64,
        next_sequence: u64,
        closed: ClosedFiles,
    ) -> Self {
        Self {
            disk,
            clock,
            random,
            steps,
            file_bytes_max,
            next_sequence,
            durable_next: next_sequence,
            file: None,
            buffer: Vec::new(),
            closed,
        }
    }

    /// Returns the sequence of the last durable frame.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.durable_next - 1
    }

    /// Returns how many bytes the group has so far.
    pub(crate) fn group_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Begins a group. `true` says that it goes into a new file: dictionaries begin anew.
    pub(crate) fn begin(&mut self) -> Result<bool, CommitError> {
        self.buffer.clear();
        self.next_sequence = self.durable_next;
        if self.file.as_ref().is_some_and(|f| f.durable_bytes < self.file_bytes_max) {
            return Ok(false);
        }
        match self.create() {
            Ok(file) => {
                self.close_file();
                Header { salt: file.salt, first_sequence: self.next_sequence }.encode(&mut self.buffer);
                self.file = Some(file);
                Ok(true)
            }
            // A file that is longer than planned does no harm; none at all does.
            Err(error) if self.file.is_some() => {
                tracing::warn!(%error, "no new file for the write-ahead log, the old one goes on");
                Ok(false)
            }
            Err(error) => Err(CommitError::Refused(error)),
        }
    }

    fn create(&self) -> io::Result<OpenFile> {
        let path = file_name(self.next_sequence);
        match self.disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = self.disk.create(&path)?;
        self.disk.sync_dir(Path::new(FOLDER))?;
        self.steps.pass(Step::LogFileMade);
        let (a, b) = (self.random.next_u64().to_le_bytes(), self.random.next_u64().to_le_bytes());
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&a);
        salt[8..].copy_from_slice(&b);
        Ok(OpenFile { path, file, salt, durable_bytes: 0 })
    }

    /// Adds a frame to the group and returns its sequence.
    ///
    /// # Panics
    /// Panics outside a group, which is a fault of the caller.
    pub(crate) fn frame(&mut self, kind: Kind, tenant: &str, encode: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let file = self.file.as_ref().expect("a group was begun");
        let sequence = self.next_sequence;
        let begins_group = sequence == self.durable_next;
        encode_frame(&mut self.buffer, &file.salt, (sequence, kind, tenant), begins_group, encode);
        self.next_sequence += 1;
        sequence
    }

    /// Makes the group durable with one sync.
    ///
    /// # Errors
    /// [`CommitError`]; no frame of the group counts then.
    pub(crate) fn commit(&mut self) -> Result<Committed, CommitError> {
        let Some(open) = &mut self.file else { return Ok(Committed::default()) };
        let bytes = self.buffer.len() as u64;
        let written = open.file.reserve(bytes).and_then(|()| open.file.write_all(&self.buffer));
        if let Err(error) = written {
            return Err(self.take_back(error));
        }
        self.steps.pass(Step::LogWritten);
        let started = self.clock.elapsed();
        open.file.sync_data().map_err(CommitError::Broken)?;
        let sync_time = self.clock.elapsed().saturating_sub(started);
        open.durable_bytes += bytes;
        self.durable_next = self.next_sequence;
        // A group that was unusually large does not keep its memory.
        self.buffer.clear();
        self.buffer.shrink_to(8 << 20);
        Ok(Committed { bytes, sync_time })
    }

    /// Undoes a group that was written in part, where the disk is full; anything else breaks the log.
    fn take_back(&mut self, error: io::Error) -> CommitError {
        if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return CommitError::Broken(error);
        }
        let Some(open) = self.file.take() else { return CommitError::Broken(error) };
        let undone = if open.durable_bytes == 0 {
            self.disk.remove(&open.path)
        } else {
            self.disk.truncate(&open.path, open.durable_bytes)
        };
        // Dictionaries name series that the file does not hold, so the next group begins a new file.
        if open.durable_bytes > 0 {
            self.closed.push(ClosedFile { path: open.path, last_sequence: self.durable_next - 1 });
        }
        match undone {
            Ok(()) => CommitError::Refused(error),
            Err(undo) => CommitError::Broken(undo),
        }
    }

    /// Ends the current file, so that it can be removed once it is sealed.
    pub(crate) fn close_file(&mut self) {
        if let Some(open) = self.file.take() {
            debug_assert!(open.durable_bytes == 0 || open.durable_bytes > FRAMES_AT as u64);
            self.closed.push(ClosedFile { path: open.path, last_sequence: self.durable_next - 1 });
        }
    }
}
