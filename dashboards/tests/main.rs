//! How the crate behaves from outside, and whether the committed build belongs to the sources beside it.
#![allow(clippy::unwrap_used)]

mod freshness;
mod serving;
