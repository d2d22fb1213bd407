//! The analyzer from outside.

mod simulate;
mod judge;
mod judge_kinds;
mod new_pods;
mod kayenta;
mod native;
mod patterns;
mod calibration;
mod releases;
mod by_value;
mod accept;
mod announce;
mod before;
mod beside;
mod docs;
mod births;
mod births_latency;
mod fresh;
mod users;
mod sql;
mod replay;
mod backtest;
mod rules;
mod packs;
mod sources;
