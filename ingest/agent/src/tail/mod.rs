//! Follows log files: finds them, reads what is new, makes records of lines, and queues the records in one write
//! with the positions behind them.
//!
//! Flow: [`discover`] keeps the set of [`follow::Follower`]s, each cuts its file into [`lines`], [`assemble`] joins
//! them to records, [`parse`] reads their fields, [`batch`] encodes them, and the ledger takes the batch with every
//! file's mark.
//!
//! Invariant: what is behind a mark in the ledger was never queued, what is before it was, once; a batch that the
//! ledger has refused is offered again as it is, and nothing is read meanwhile.

mod assemble;
mod batch;
mod discover;
mod follow;
mod format;
mod glob;
mod identity;
mod lines;
mod multiline;
pub mod parse;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod wrapper;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use greylight_wire::compress::{Encoding, encode};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::clock::{Clock, Timestamp};
use crate::counters::Counters;
use crate::docker::LabelRules;
use crate::queue::{Mark, Queue, QueueError};
use assemble::Output;
use batch::{LogBatch, Origin};
use follow::{Follower, Progress};
use identity::{FileMark, Inode, Stat};
use parse::Context;
use source::Source;
pub(crate) use source::is_label_name;
pub use source::{LogSourceConfig, Multiline, SourceError, SourceFormat, StartAt};

/// Settings of following files: section `[agent.tail]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TailConfig {
    /// How often files are looked at. Default `250ms`.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// How often folders are looked at. Default `1s`.
    #[serde(with = "humantime_serde")]
    pub discovery: Duration,
    /// How long records wait for company before they are queued. Default `250ms`.
    #[serde(with = "humantime_serde")]
    pub flush: Duration,
    /// Size at which a batch is queued at once. Default 1 MiB.
    pub batch_bytes: usize,
    /// How long a file that was rotated away must rest at its end before it is closed. Default `5s`.
    #[serde(with = "humantime_serde")]
    pub rotate_wait: Duration,
    /// How long a file that was rotated away is kept open at most. Default `10m`.
    #[serde(with = "humantime_serde")]
    pub rotate_wait_max: Duration,
    /// How long a line without a newline must rest before it is taken as it is. Default `5s`.
    #[serde(with = "humantime_serde")]
    pub partial_after: Duration,
}

impl Default for TailConfig {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(250),
            discovery: Duration::from_secs(1),
            flush: Duration::from_millis(250),
            batch_bytes: 1024 * 1024,
            rotate_wait: Duration::from_secs(5),
            rotate_wait_max: Duration::from_secs(600),
            partial_after: Duration::from_secs(5),
        }
    }
}

/// What the tailer works with.
#[derive(Clone, Debug)]
pub struct TailParts {
    /// The agent's name, a part of each record's identity.
    pub agent: String,
    /// Labels of every record.
    pub labels: BTreeMap<String, String>,
    /// Which labels of a container its records get.
    pub container_labels: LabelRules,
    /// Queue of log batches and ledger of positions.
    pub ledger: Arc<Mutex<Queue>>,
    /// How batches are compressed.
    pub compression: Encoding,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub counters: Arc<Counters>,
}

/// What to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Another turn will find more.
    Busy,
    /// Wait a little.
    Rest,
    /// The ledger refused: wait until it has room.
    Blocked,
}

// Fair to other files, and enough to go through 64 MiB/s in turns of a few milliseconds.
const READ_BYTES: usize = 64 * 1024;
const READS_A_TURN: usize = 4;
// Positions that move without a record (a skipped rest of a line, a file that ended) are no hurry.
const MARK_WAIT: Duration = Duration::from_secs(1);

/// Follows all files of all sources; synchronous, driven by [`turn`](Self::turn).
#[derive(Debug)]
pub struct Tailer {
    config: TailConfig,
    parts: TailParts,
    sources: Vec<Arc<Source>>,
    followers: BTreeMap<u64, Follower>,
    /// Files that are not open: of an earlier run, or finished.
    known: BTreeMap<u64, FileMark>,
    /// Files that were looked at and need nothing until they change.
    settled: HashMap<Inode, Stat>,
    /// Files that may be copies in the making, and since when.
    held: HashMap<Inode, Duration>,
    marks: BTreeMap<u64, Mark>,
    intake: Intake,
    refused: Option<Refused>,
    next_discovery: Duration,
    first_discovery: bool,
    marked: Duration,
    /// A file was found that the ledger does not know: it must, before the file is renamed out of sight.
    urgent: bool,
    n_ids: u64,
    buf: Vec<u8>,
}

/// What all records of a file share; shared by them until they are encoded.
type Resource = Arc<[(String, greylight_wire::logs::Value)]>;

/// Records on their way into a batch.
#[derive(Debug)]
struct Intake {
    agent: String,
    batch: LogBatch,
    since: Option<Duration>,
    /// The last time that was given to a record without one.
    given: i64,
}

/// A batch that the ledger did not take.
#[derive(Debug)]
struct Refused {
    payload: Vec<u8>,
    n_records: u32,
    marks: Vec<Mark>,
}

impl Tailer {
    /// Makes a tailer that continues where the ledger says.
    ///
    /// # Errors
    /// [`SourceError`] if a source's settings make no sense.
    pub fn new(
        config: TailConfig,
        sources: &[LogSourceConfig],
        parts: TailParts,
    ) -> Result<Self, SourceError> {
        let sources =
            sources.iter().enumerate().map(|(index, config)| Ok(Arc::new(Source::new(index, config)?)));
        let sources = sources.collect::<Result<Vec<_>, SourceError>>()?;
        let known: BTreeMap<u64, FileMark> = parts
            .ledger
            .lock()
            .marks()
            .filter_map(|(id, bytes)| Some((id, format::read(id, bytes)?)))
            .collect();
        let intake = Intake { agent: parts.agent.clone(), batch: LogBatch::default(), since: None, given: 0 };
        Ok(Self {
            config,
            sources,
            followers: BTreeMap::new(),
            first_discovery: true,
            known,
            settled: HashMap::new(),
            held: HashMap::new(),
            marks: BTreeMap::new(),
            intake,
            refused: None,
            next_discovery: Duration::ZERO,
            marked: Duration::ZERO,
            urgent: false,
            n_ids: 0,
            buf: vec![0; READ_BYTES],
            parts,
        })
    }

    /// Looks at everything once, and queues what is due.
    pub fn turn(&mut self) -> Turn {
        if !self.offer_again() {
            return Turn::Blocked;
        }
        let now = self.parts.clock.elapsed();
        if now >= self.next_discovery {
            self.discover(now);
            self.next_discovery = now + self.config.discovery;
        }
        let mut busy = false;
        for id in self.followers.keys().copied().collect::<Vec<_>>() {
            for _ in 0..READS_A_TURN {
                let more = self.read(id, now);
                busy |= more;
                // A file that was replaced has another id now, and its turn comes next.
                let more = more && self.followers.contains_key(&id);
                if self.intake.batch.bytes() >= self.config.batch_bytes && !self.commit() {
                    return Turn::Blocked;
                }
                if !more {
                    break;
                }
            }
        }
        self.expire(now);
        self.end_rotated(now);
        self.count_files();
        if !self.flush_due(now, busy) {
            return Turn::Blocked;
        }
        if busy { Turn::Busy } else { Turn::Rest }
    }

    /// Queues what was read, and stops; what waits for more lines is read again at the next start.
    pub fn close(&mut self) {
        if self.offer_again() {
            self.commit();
        }
    }

    /// Reads once from a file; tells whether there may be more at once.
    fn read(&mut self, id: u64, now: Duration) -> bool {
        let Self { followers, intake, parts, buf, .. } = self;
        let Some(follower) = followers.get_mut(&id) else { return false };
        let (source, resource) = (Arc::clone(&follower.source), Arc::clone(&follower.resource));
        let context = Context { zone: &source.config.timezone, now: parts.clock.now() };
        let origin = (id, &resource, &source);
        let read = follower.read(buf, &context, now, &mut |out| intake.take(origin, out, &context, now));
        match read {
            Ok(Progress::Idle) => false,
            Ok(Progress::Read(n)) => {
                parts.counters.tail_bytes.add(n as u64);
                // Only now does its mark tell how it begins, by which it is found again under any name.
                self.urgent |= follower.read_to() == n as u64;
                n == self.buf.len()
            }
            Ok(Progress::Replaced) => {
                self.replaced(id, now);
                true
            }
            Err(e) => {
                parts.counters.tail_read_errors.add(1);
                tracing::warn!(path = %follower.at.display(), error = %e, "reading a log file failed");
                // What is in memory is read again when the file is found again.
                let mark = self.followers.remove(&id).map(|follower| follower.mark());
                self.known.extend(mark.map(|mark| (id, mark)));
                false
            }
        }
    }

    fn expire(&mut self, now: Duration) {
        let Self { followers, intake, parts, config, .. } = self;
        for (&id, follower) in followers {
            let (source, resource) = (Arc::clone(&follower.source), Arc::clone(&follower.resource));
            let context = Context { zone: &source.config.timezone, now: parts.clock.now() };
            let origin = (id, &resource, &source);
            let give = &mut |out: Output<'_>| intake.take(origin, out, &context, now);
            follower.expire(config.partial_after, &context, now, give);
        }
    }

    /// Closes files that were rotated away and have come to rest.
    fn end_rotated(&mut self, now: Duration) {
        let TailConfig { rotate_wait, rotate_wait_max, .. } = self.config;
        let is_over = |follower: &Follower| {
            let Some(gone) = follower.gone_since else { return false };
            let rested = now.saturating_sub(gone.max(follower.last_growth)) >= rotate_wait;
            (rested && follower.lag() == 0) || now.saturating_sub(gone) >= rotate_wait_max
        };
        let over: Vec<u64> = self
            .followers
            .values()
            .filter(|follower| is_over(follower))
            .map(|follower| follower.id)
            .collect();
        for id in over {
            let Some(mut follower) = self.followers.remove(&id) else { continue };
            if follower.lag() > 0 {
                self.parts.counters.tail_bytes_lost.add(follower.lag());
                let (path, bytes) = (follower.path.display(), follower.lag());
                tracing::warn!(%path, bytes, "gave up on the rest of a rotated log file");
            }
            self.finish(&mut follower, now);
            self.end(follower.mark());
        }
    }

    /// Gives out what a follower still holds in memory.
    fn finish(&mut self, follower: &mut Follower, now: Duration) {
        let (source, resource) = (Arc::clone(&follower.source), Arc::clone(&follower.resource));
        let context = Context { zone: &source.config.timezone, now: self.parts.clock.now() };
        let origin = (follower.id, &resource, &source);
        follower.finish(&context, now, &mut |out| self.intake.take(origin, out, &context, now));
    }

    /// Notes that nothing more will come of a file.
    fn end(&mut self, mut mark: FileMark) {
        mark.ended = Some(self.parts.clock.now().as_nanos());
        self.marks.insert(mark.id, format::write(&mark));
        self.known.insert(mark.id, mark);
    }

    fn count_files(&self) {
        self.parts.counters.tail_files.set(self.followers.len() as u64);
        self.parts.counters.tail_lag_bytes.set(self.followers.values().map(Follower::lag).sum());
    }

    /// Queues the batch if it is due; false if the ledger refuses.
    fn flush_due(&mut self, now: Duration, busy: bool) -> bool {
        let due = |since: Duration| now.saturating_sub(since) >= self.config.flush;
        // A new file's mark is of use when it tells how the file begins, so when it was read once.
        if (self.urgent && !busy) || self.intake.since.is_some_and(due) {
            self.urgent = false;
            return self.commit();
        }
        let moved = !self.marks.is_empty() || self.followers.values().any(|follower| follower.changed);
        if self.intake.since.is_none() && moved && now.saturating_sub(self.marked) >= MARK_WAIT {
            self.marked = now;
            return self.commit();
        }
        true
    }

    /// Queues the records and all positions behind them; false if the ledger refuses.
    fn commit(&mut self) -> bool {
        let n_records = self.intake.batch.n_records();
        let payload = if n_records > 0 {
            encode(self.parts.compression, &self.intake.batch.finish())
        } else {
            Vec::new()
        };
        self.intake.since = None;
        let mut marks = std::mem::take(&mut self.marks);
        for follower in self.followers.values_mut().filter(|follower| follower.changed) {
            follower.changed = false;
            marks.insert(follower.id, format::write(&follower.mark()));
        }
        let marks: Vec<Mark> = marks.into_values().collect();
        if n_records == 0 && marks.is_empty() {
            return true;
        }
        self.parts.counters.tail_records.add(u64::from(n_records));
        self.refused = Some(Refused { payload, n_records, marks });
        self.offer_again()
    }

    /// Offers the ledger what it has refused before; true if nothing is left.
    fn offer_again(&mut self) -> bool {
        let Some(Refused { payload, n_records, marks }) = &self.refused else { return true };
        let mut ledger = self.parts.ledger.lock();
        let taken = match n_records {
            0 => ledger.mark(marks.clone()),
            _ => ledger.append(payload, *n_records, marks.clone()).map(drop),
        };
        drop(ledger);
        match taken {
            Ok(()) => self.refused = None,
            Err(QueueError::Full { .. }) => self.parts.counters.tail_blocked.add(1),
            Err(e) => {
                self.parts.counters.queue_errors.add(1);
                tracing::error!(error = &e as &dyn std::error::Error, "log records could not be queued");
            }
        }
        self.refused.is_none()
    }
}

impl Intake {
    fn take(
        &mut self,
        (file, resource, source): (u64, &Resource, &Arc<Source>),
        output: Output<'_>,
        context: &Context<'_>,
        now: Duration,
    ) {
        // An empty line says nothing; what it separates are records of their own.
        if output.text.is_empty() {
            return;
        }
        // Rises by a nanosecond, so that lines without a time keep their order.
        self.given = context.now.as_nanos().max(self.given.saturating_add(1));
        self.since.get_or_insert(now);
        let format = source.rules().format;
        let origin = Origin { agent: &self.agent, file, resource, format };
        self.batch.push(origin, output, context, Timestamp::from_nanos(self.given));
    }
}
