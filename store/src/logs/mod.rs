//! Log records: the newest in memory, the rest in segments, behind one search.
//!
//! Flow: [`Head`] splits each body into its pattern and variables and keeps records as columns;
//! a [`FrozenHead`] is a head that takes no more, until [`segment::write`] has made segments of it;
//! [`merge()`] makes one segment of several; [`TenantLogs`] is what a reader sees of all these and
//! answers the questions of [`LogSource`].
//!
//! Invariants: a record is in an answer once, however often it was sent; its body comes back byte
//! for byte; an index only ever makes an answer faster, never another one.

mod source;
mod query;
mod rows;
mod anchored;
mod attributes;
mod fields;
mod headers;
mod patterns;
mod prepared;
mod head;
pub mod wal_codec;
pub mod segment;
mod index;
mod eval;
mod selector;
mod counting;
mod tenant;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod figures;

pub use fields::derived_fields;
pub use head::{Applied, FrozenHead, Head};
pub use patterns::SharedTemplates;
pub(crate) use prepared::Prepared;
pub use query::{Query, QueryError};
pub use segment::{Segment, merge};
pub use source::{
    CountGroup, Counts, Flow, FoundRecord, GroupBy, Intervals, LogPage, LogSelect, LogSource, Missing,
    Numbers, Order, PageRequest, PatternCount, Patterns, RecordId, RecordIdError,
};
pub use tenant::TenantLogs;
