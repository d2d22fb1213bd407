//! What the store promises, seen from outside.

mod kill;
