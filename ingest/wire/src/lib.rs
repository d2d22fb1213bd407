//! The wire formats that Greylight speaks, both ways.
//!
//! Nothing here knows the store, a socket or a clock: each module turns bytes into borrowed samples or
//! records, or the other way round, and says precisely what it refused and why.
//!
//! - [`compress`] undoes content encodings under a cap that is checked while decoding.
//! - [`exposition`] reads and writes what `/metrics` pages hold.
//! - [`histogram`] is what a native histogram looks like, by whatever protocol it comes.
//! - [`remote_write`] reads Prometheus remote write 1.0 and 2.0 and writes 1.0.
//! - [`remote_read`] reads the requests of Prometheus remote read and writes its answers.
//! - [`otlp`] turns OpenTelemetry metrics into Prometheus samples and its logs into [`logs`], and writes
//!   log exports.
//! - [`severity`] finds a line's level where its sender does not say.
//! - [`loki`] reads pushes of Promtail, Alloy and Fluent Bit.
//!
//! Invariants: no parser panics, whatever the bytes; none allocates more than a small multiple of its
//! input; NaN payloads (stale markers) pass unchanged.

pub mod number;
pub mod compress;
pub mod exposition;
mod proto;
mod json;
pub mod histogram;
pub mod remote_write;
pub mod remote_read;
pub mod logs;
pub mod severity;
pub mod otlp;
pub mod loki;
