//! The analyzer from outside.

mod simulate;
mod judge;
mod patterns;
mod calibration;
mod releases;
