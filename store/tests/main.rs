//! What the store promises, seen from outside.

mod durability;
mod golden;
mod kill;
mod model;
mod proof;
