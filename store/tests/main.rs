//! What the store promises, seen from outside.

mod golden;
mod kill;
