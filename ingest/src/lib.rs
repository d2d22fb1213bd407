//! Receives metrics and logs over the standard protocols and puts them into the store.
//!
//! Flow of one request: [`http`] or [`grpc`] takes its headers and asks for room (`admission`); `receive`
//! undoes the encoding under caps and decodes; `samples` or `records` holds each series or record
//! against the limits and fills a batch; the store's door makes it durable; the answer says in the
//! protocol's own words what was stored and what was refused, and why.
//!
//! What always holds: a 2xx is durable; whatever is not stored is named with its reason; one bad sample or
//! record never costs the good ones; a body that is malformed stores nothing; nothing is queued without a
//! bound. Samples and records of any age and order are taken, those far in the future are not.

mod config;
mod error;
mod refusal;
mod limits;
mod samples;
mod records;
mod admission;
mod buffers;
mod receive;
mod stats;
mod agents;
pub mod http;
pub mod grpc;

pub use agents::AgentStatus;
pub use config::{ConfigError, IngestConfig};
pub use error::IngestError;
pub use receive::Ingest;
pub use stats::{IngestStats, Protocol, Refusal};
