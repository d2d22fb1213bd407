//! Reads a check's data of one side from the store, interval by interval.
//!
//! Counters are read raw and without extrapolation, so that integers stay integers and counts
//! stay exact. What is read here is pinned with the look that used it.

mod births;
mod counter;
mod elsewhere;
mod grid;
mod later;
mod logs;
mod members;
mod metrics;
mod native;
mod sql;
mod told;

pub(crate) use births::{Event, Wanted, events};
pub(crate) use elsewhere::Elsewhere;
pub(crate) use grid::Grid;
pub(crate) use metrics::{CollectError, Collector, Question, parsed, present};
