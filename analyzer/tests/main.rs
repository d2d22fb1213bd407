//! The analyzer from outside.

mod simulate;
mod judge;
mod kayenta;
mod patterns;
mod calibration;
mod releases;
