//! Releases: started by a deploy tool, judged look by look, decided once.
//!
//! [`service`] takes requests, [`runner`] makes the looks when they are due, [`look`] is one look:
//! data is read, pinned and judged; [`verdict`] says what it means for the release, and the
//! verdict, its evidence and its messages are one transaction. What a restart finds is enough to go
//! on where it ended: looks that were made stay, looks that were missed are made in order. [`replay`]
//! makes all of them again from what they pinned; [`announce`] says beforehand what they will be able to show.

pub(crate) mod announce;
mod announce_words;
pub(crate) mod beside;
pub(crate) mod cohort;
pub(crate) mod compatibility;
pub(crate) mod format;
pub(crate) mod history;
pub(crate) mod look;
pub(crate) mod model;
pub(crate) mod pinned;
mod fit;
mod same;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod runner;
pub(crate) mod service;
pub(crate) mod verdict;
pub(crate) mod views;
pub(crate) mod wire;
