//! Metrics: samples of series, in the head and in segments, behind one selection.
//!
//! Flow: [`Head`] takes batches and answers for the newest samples; a [`FrozenHead`] is a head that
//! takes no more, until [`segment::write`] has made segments of it; [`merge()`] makes one segment of
//! several; [`TenantMetrics`] is what a reader sees of all these, and [`select`] reads it.
//!
//! Invariants: a series has at most one sample at a millisecond in any answer, the one written
//! last, a float or a native histogram; every float comes back bit for bit.

mod varint;
pub(crate) mod hashing;
mod delta;
mod decimal;
mod chunk;
mod samples;
mod histogram_codec;
mod histograms;
mod exemplars;
mod series_table;
mod registry;
mod head;
pub mod wal_codec;
pub mod segment;
mod rollup;
mod merge;
mod delete;
pub mod select;

pub use delete::{Deletion, Left, without};
pub use head::{Applied, FrozenHead, Head};
pub(crate) use histograms::memory_bytes as histogram_bytes;
pub use merge::merge;
pub use segment::{IndexCache, Segment, SegmentError, Target};
pub use select::TenantMetrics;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod mixed_tests;
