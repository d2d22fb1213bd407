//! The analyzer from outside.

mod simulate;
mod judge;
mod judge_kinds;
mod calibration;
mod releases;
