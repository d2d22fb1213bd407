//! The vocabulary that every crate above the store shares.
//!
//! Nothing here reads a disk, a clock or a network. Values are parsed once, at the edge, into
//! these types, and carry their proof from there on.

mod caller;
mod clock;
mod error;
mod exemplar;
mod hex;
mod histogram;
mod labels;
mod log_record;
mod matcher;
mod random;
mod tenant;
mod time;

pub use caller::{Caller, Scope, Scopes};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{ErrorKind, Problem};
pub use exemplar::{EXEMPLAR_CHARS_MAX, Exemplar, ExemplarError};
pub use hex::{hex, write_hex};
pub use histogram::{BUCKETS_MAX, Buckets, CUSTOM_BOUNDS, CounterReset, Histogram, HistogramError, Span};
pub(crate) use labels::encode_pair;
pub use labels::{Labels, LabelsBuilder, LabelsError, METRIC_NAME};
pub use log_record::{AttributeValue, LogRecord, SpanId, TraceId, severity_word};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use random::{OsRandom, Random, SeededRandom};
pub use tenant::{TenantId, TenantIdError};
pub use time::{TimeRange, TimeRangeError, Timestamp};
