//! The crate's outside behaviour: conformance scripts, HTTP, limits.

mod memory;
mod script;
mod conformance;
