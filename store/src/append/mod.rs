//! The one way in.
//!
//! A batch is validated by its type, framed into the write-ahead log, synced together with all
//! that wait, applied to the head, and only then acknowledged: `Ok` means durable and queryable.

mod appender;
mod batch;
mod error;
mod spares;

pub use appender::Appender;
pub(crate) use appender::{Batch, Gate, Pending, Work};
pub use batch::{
    BatchSeries, LogBatch, MetricBatch, MetricKind, MetricMetadata, SeriesEntry, SeriesKey, SeriesWriter,
};
pub use error::AppendError;
pub(crate) use spares::Spares;

/// What an acknowledged batch held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples or records taken, repeated ones included.
    pub n_items: usize,
    /// Series or streams that the head had not held before.
    pub n_new_series: usize,
}
