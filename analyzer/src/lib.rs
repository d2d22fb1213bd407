//! Decides whether a canary may replace its baseline.
//!
//! Flow: [`policy`] says what is compared and how surely, [`judge`] takes the two sides' data interval by
//! interval, [`stats`] compares them, and a [`verdict`] is what comes out, with its evidence.
//!
//! Invariant: these four are pure. They know no clock, store, network or chance, so the same policy
//! and data give the same bits.

pub mod policy;
pub mod stats;
pub mod judge;
pub mod verdict;
