//! The crate's outside behaviour: conformance scripts, HTTP, limits.

mod memory;
mod script;
mod conformance;
mod server;
mod prometheus_api;
mod sql;
mod logs_api;
