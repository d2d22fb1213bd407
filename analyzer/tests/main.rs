//! The analyzer from outside.

mod simulate;
mod judge;
mod calibration;
mod releases;
