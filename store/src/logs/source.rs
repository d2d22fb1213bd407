//! The questions that can be asked about log records.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Query;
use crate::model::{Labels, LogRecord, Matcher, TenantId, TimeRange, Timestamp};
use crate::pattern::{PatternId, TemplateId};
use crate::read::{Budget, ReadError};

/// Something that holds log records: the store, or another system behind the same questions.
///
/// All calls block; run them where blocking is allowed. Each works on a snapshot, in which every
/// record is exactly once. What is charged to the budget as samples are the records that are
/// looked at one by one; those that an index or a pattern decides in bulk cost nothing.
pub trait LogSource: Send + Sync + fmt::Debug {
    /// Finds a page of records, in order of time.
    ///
    /// # Errors
    /// [`ReadError`] when a limit of the budget is passed or the work was cancelled.
    fn search(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        page: &PageRequest,
        budget: &Budget,
    ) -> Result<LogPage, ReadError>;

    /// Hands every record that matches to `sink`, in order of time, until it says stop.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn scan(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        order: Order,
        budget: &Budget,
        sink: &mut dyn FnMut(FoundRecord) -> Flow,
    ) -> Result<Missing, ReadError>;

    /// Counts records by interval and by the given keys.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn count(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        by: &[GroupBy],
        budget: &Budget,
    ) -> Result<Counts, ReadError>;

    /// Collects the numbers that a field has, by interval; records without one are left out.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn numbers(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        field: &str,
        budget: &Budget,
    ) -> Result<Numbers, ReadError>;

    /// Lists the templates of the records that match, the most frequent first, with an example.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn patterns(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        limit: usize,
        budget: &Budget,
    ) -> Result<Patterns, ReadError>;

    /// Finds a record and its neighbours in time within its stream, oldest first. Empty when there
    /// is no such record.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn context(
        &self,
        tenant: &TenantId,
        id: RecordId,
        before: usize,
        after: usize,
        budget: &Budget,
    ) -> Result<LogPage, ReadError>;

    /// Lists the label sets of streams that match any of the sets and may have a record in the
    /// range, sorted. No set means every stream.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn streams(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Vec<Labels>, ReadError>;

    /// Returns a template's text for people, `<*>` for what varies.
    fn template_text(&self, tenant: &TenantId, id: TemplateId) -> Option<String>;
}

/// What is missing from an answer because files are damaged, a sentence each; empty when whole.
pub type Missing = Vec<String>;

/// Which records.
#[derive(Clone, Debug)]
pub struct LogSelect {
    /// What they say.
    pub query: Query,
    /// Whose they are: all must match the record's labels.
    pub matchers: Vec<Matcher>,
    /// When they happened.
    pub range: TimeRange,
}

/// An order of time; records of one instant are ordered by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest record first.
    NewestFirst,
    /// The oldest record first.
    OldestFirst,
}

/// Whether a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More, please.
    Continue,
    /// That was enough.
    Stop,
}

/// Which part of the matching records.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// The order of the records.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
    /// Behind this record: the last one of the page before.
    pub after: Option<RecordId>,
}

/// A page of records.
#[derive(Clone, Debug, Default)]
pub struct LogPage {
    /// The records, in the order asked for.
    pub records: Vec<FoundRecord>,
    /// Where the next page begins; `None` when this is the last one.
    pub next: Option<RecordId>,
    /// What is missing.
    pub missing: Missing,
}

/// A record with its names.
#[derive(Clone, Debug)]
pub struct FoundRecord {
    /// Its name.
    pub id: RecordId,
    /// The pattern of its body.
    pub pattern: PatternId,
    /// The template of that pattern, as it is known today.
    pub template: TemplateId,
    /// The record, with the body exactly as it was sent. Attributes are those that were sent;
    /// those of a JSON or logfmt body are given by [`derived_fields`](super::derived_fields).
    pub record: LogRecord,
}

/// Names a record: its time and a hash of its identity. It outlives compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The record's time.
    pub time: Timestamp,
    /// Hash of its identity.
    pub hash: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.time.as_nanos(), self.hash)
    }
}

/// A text that is no record id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no record id: <nanoseconds>-<16 hexadecimal digits>")]
pub struct RecordIdError {
    /// The refused text, cut to 80 characters.
    pub value: String,
}

impl FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || RecordIdError { value: text.chars().take(80).collect() };
        // From the right: a time before 1970 has a minus of its own.
        let (nanos, hash) = text.rsplit_once('-').ok_or_else(refused)?;
        if hash.len() != 16 {
            return Err(refused());
        }
        let time = nanos.parse().map(Timestamp::from_nanos).map_err(|_| refused())?;
        let hash = u64::from_str_radix(hash, 16).map_err(|_| refused())?;
        Ok(Self { time, hash })
    }
}

/// Equal intervals of time, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Where the first one starts.
    pub start: Timestamp,
    /// The width of each; not zero.
    pub step: Duration,
    /// How many there are.
    pub n: usize,
}

impl Intervals {
    /// Makes one interval of a whole range.
    pub fn one(range: TimeRange) -> Self {
        Self { start: range.start(), step: range.end().since(range.start()), n: 1 }
    }

    /// Returns the interval that a time lies in.
    pub fn index(self, time: Timestamp) -> Option<usize> {
        if time < self.start {
            return None;
        }
        let index = time.since(self.start).as_nanos().checked_div(self.step.as_nanos())?;
        usize::try_from(index).ok().filter(|&i| i < self.n)
    }
}

/// What records are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The text of a field, found as `field:value` finds it; empty where there is none.
    Field(String),
    /// The word for the severity: trace, debug, info, warn, error, fatal; empty where not known.
    Severity,
    /// The pattern, as [`PatternId`] is written.
    Pattern,
    /// The template, as [`TemplateId`] is written.
    Template,
}

/// Counts of records.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// One for each combination of keys that occurs, the largest total first.
    pub groups: Vec<CountGroup>,
    /// What is missing.
    pub missing: Missing,
}

/// The counts of one combination of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountGroup {
    /// One text for each key asked for.
    pub key: Vec<String>,
    /// One count for each interval.
    pub counts: Vec<u64>,
}

impl CountGroup {
    /// Returns the count over all intervals.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Numbers of a field.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// One list for each interval, in no order.
    pub values: Vec<Vec<f64>>,
    /// What is missing.
    pub missing: Missing,
}

/// Templates and how often they occur.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    /// The most frequent first.
    pub patterns: Vec<PatternCount>,
    /// What is missing.
    pub missing: Missing,
}

/// How often one template occurs.
#[derive(Clone, Debug)]
pub struct PatternCount {
    /// The template.
    pub template: TemplateId,
    /// Its text, `<*>` for what varies.
    pub text: String,
    /// The highest severity number among its records.
    pub severity_number: u8,
    /// Records.
    pub count: u64,
    /// One of them, the newest that was looked at.
    pub example: Option<FoundRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        for nanos in [0, -5, i64::MAX, i64::MIN] {
            let id = RecordId { time: Timestamp::from_nanos(nanos), hash: 0xab };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "1", "1-2", "x-00000000000000ab", "1-00000000000000ag", "1-0000000000000000ab"] {
            assert!(bad.parse::<RecordId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_fall_into_their_interval() {
        let intervals = Intervals { start: Timestamp::from_millis(10), step: Duration::from_millis(5), n: 2 };
        let index = |ms| intervals.index(Timestamp::from_millis(ms));
        assert_eq!(
            (index(9), index(10), index(14), index(15), index(19), index(20)),
            (None, Some(0), Some(0), Some(1), Some(1), None)
        );
    }
}
