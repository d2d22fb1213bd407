//! The one way to read metrics; logs are read through the log search that is re-exported here.
//!
//! A read works on a snapshot: what is selected stays readable, whatever is sealed, compacted or
//! dropped meanwhile, and every row is in it exactly once.

mod budget;
mod error;
mod fetched;
mod reader;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::model::{Exemplar, Histogram, Labels, Matcher, TenantId};

pub use crate::append::{MetricKind, MetricMetadata};
pub use crate::logs::{
    CountGroup, Counts as LogCounts, Flow, FoundRecord, GroupBy, Intervals, LogPage, LogSelect, LogSource,
    Missing, Numbers as LogNumbers, Order as LogOrder, PageRequest, Patterns as LogPatterns,
    Query as LogQuery, QueryError as LogQueryError, RecordId,
};
pub use budget::{Budget, Limits};
pub use error::ReadError;
pub use fetched::Fetched;
pub use reader::Reader;

/// Something that holds metrics: the store, or another system behind the same questions.
///
/// All calls block; run them where blocking is allowed.
pub trait MetricSource: Send + Sync + fmt::Debug {
    /// Finds the series that match, with their samples still to be read.
    ///
    /// A series is selected if it may have a sample in the span.
    ///
    /// # Errors
    /// [`ReadError`] when a limit of the budget is passed or the work was cancelled.
    fn select(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError>;

    /// As [`select`](Self::select), for windows of whole buckets: the samples that do not matter to them may be left
    /// out, and [`Samples::counts`] then says how many.
    ///
    /// Sources without rollups answer with all samples, as this does if it is not written anew.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    fn select_buckets(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        _buckets: WholeBuckets,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        self.select(tenant, select, budget)
    }

    /// As [`select`](Self::select), where of each series only the last sample in the span is wanted: earlier ones may
    /// be left out.
    ///
    /// Sources that gain nothing from it answer with all samples, as this does if it is not written anew.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    fn select_last(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        self.select(tenant, select, budget)
    }

    /// Marks what the samples of a span are made of: as long as the mark is the same, so are all answers from them.
    /// `None` where it may change without notice, as what was not sealed yet does.
    ///
    /// Sources that cannot tell answer `None`, as this does if it is not written anew.
    fn settled(&self, _tenant: &TenantId, _span: SpanMs) -> Option<Vec<u64>> {
        None
    }

    /// Returns the times of the first and the last sample; `None` where there is none, or where that is not known.
    fn bounds(&self, _tenant: &TenantId) -> Option<SpanMs> {
        None
    }

    /// Returns in how many places the samples of series lie: one for each series of each head and segment. `None`
    /// where that is not known.
    fn n_chunks(&self, _tenant: &TenantId) -> Option<u64> {
        None
    }

    /// Returns the names of labels of the series that match any of the sets, sorted.
    /// No set means every series.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    fn label_names(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError>;

    /// Returns the values of one label over the series that match any of the sets, sorted.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError>;

    /// Returns the exemplars in a span of the series that match any of the sets, by series, sorted by label set and
    /// by time. No set means every series. A series counts for the budget if it has one, and an exemplar as a sample.
    ///
    /// Sources that keep none answer with none, as this does if it is not written anew.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    fn exemplars(
        &self,
        _tenant: &TenantId,
        _sets: &[Vec<Matcher>],
        _span: SpanMs,
        _budget: &Budget,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        Ok(Vec::new())
    }

    /// Returns what is known about metric families, sorted by name; all of them, or one.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    fn metadata(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<MetricMetadata>, ReadError>;
}

/// A span of sample times in milliseconds, both ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanMs {
    /// First millisecond inside.
    pub start: i64,
    /// Last millisecond inside.
    pub end: i64,
}

impl SpanMs {
    /// Every time.
    pub const ALL: Self = Self { start: i64::MIN, end: i64::MAX };
}

/// Which series and which of their samples to read.
#[derive(Clone, Copy, Debug)]
pub struct Select<'a> {
    /// All must match. Empty selects every series.
    pub matchers: &'a [Matcher],
    /// The samples wanted.
    pub span: SpanMs,
}

/// What is asked of the samples of a selection, where that is only about whole buckets of time.
///
/// For windows that are open on the left and closed on the right, and both of whose ends are multiples of
/// `every_ms`: how many samples there are, the first, the last, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeBuckets {
    /// The ends of all windows are multiples of this, in milliseconds.
    pub every_ms: i64,
    /// Both sides of each pair of samples that falls are asked for as well, as for the rate of a counter.
    pub falls: bool,
}

/// Series that were found, over a snapshot; reading decodes on demand.
pub trait Selection: Send + Sync + fmt::Debug {
    /// Returns the label sets, sorted and distinct; a series is named by its index here.
    fn series(&self) -> &[Labels];

    /// Reads the samples of the series at the given indexes, in that order, calling `sink` once
    /// for each series: those without a sample in the span get an empty slice.
    ///
    /// Samples are sorted by time and distinct in it. A histogram counts for the budget as many samples as take its
    /// memory. Reading neighbours together is cheaper than
    /// one by one, and separate ranges may be read from several threads.
    ///
    /// # Errors
    /// [`ReadError`] when a limit is passed, the work was cancelled, or a file is damaged in a
    /// way that was not known when the selection was made.
    fn read(
        &self,
        series: Range<usize>,
        budget: &Budget,
        sink: &mut dyn FnMut(usize, Samples<'_>),
    ) -> Result<(), ReadError>;

    /// Says what is missing from the answer because files are damaged; empty when it is whole.
    fn missing(&self) -> Vec<String>;
}

/// Samples of one series: two columns of one length, times strictly rising, and the native histograms among them.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// Times in milliseconds.
    pub t_ms: &'a [i64],
    /// Values, bit for bit as they came; stale markers are among them, also those that end a series of histograms.
    /// NaN in the place of a histogram.
    pub values: &'a [f64],
    /// The samples that are native histograms: their places in the columns, rising, and themselves. Empty for most
    /// series.
    pub histograms: &'a [(usize, Arc<Histogram>)],
    /// How many samples each one stands for, where a rollup was read: itself and those left out since the one
    /// before; 0 for stale markers. Empty where nothing was left out.
    pub counts: &'a [u32],
}

/// Bits of the NaN that marks a series as gone.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Tells whether a value is the mark that a series is gone.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}
