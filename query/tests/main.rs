//! The crate's outside behaviour: conformance scripts, HTTP, limits.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod memory;
mod script;
mod conformance;
mod server;
mod prometheus_api;
mod exemplars;
mod remote;
mod rollups;
mod cache;
mod limits;
mod sql;
mod logs_api;
