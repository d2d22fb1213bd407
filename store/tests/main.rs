//! What the store promises, seen from outside.

mod catalog_sync;
mod delta;
mod durability;
mod golden;
mod kill;
mod loghub;
mod model;
mod proof;
