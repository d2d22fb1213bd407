//! Kayenta's judge `NetflixACAJudge-v1.0` as a second engine, with its formats.
//!
//! Flow: [`config`] reads a canary configuration, [`pairs`] joins the metrics of both sides,
//! [`NetflixJudge`] cleans, tests and labels each pair and folds the labels into a score, [`wire`]
//! writes the result as Kayenta does, [`report`] as a field of our verdicts. [`remote_judge`] is Kayenta's remote-judge contract, [`beside()`]
//! judges a release's data by it, and [`runs`] follows a series of judgements.
//!
//! The judge is followed in each detail, faults included, so that teams can compare: see
//! `docs/kayenta.md`. One thing differs: where it adds random noise, ours comes from a seed made of
//! the data, so that equal data gives equal results.
//!
//! Everything here is pure.

pub mod config;
mod settings;
mod clean;
mod rank_test;
mod classify;
mod score;
pub mod pairs;
mod judge;
pub mod runs;
pub mod wire;
pub mod report;
mod error;
mod beside;
mod request;

pub use beside::{Comparison, beside};
pub use classify::Label;
pub use clean::Summary;
pub use config::CanaryConfig;
pub use error::KayentaError;
pub use judge::{JUDGE_NAME, JudgeResult, MetricResult, NetflixJudge};
pub use rank_test::Shift;
pub use request::{compared, remote_judge};
pub use score::{Class, GroupScore, Score, Thresholds};
pub use settings::{Direction, EffectMeasure, NanStrategy, Settings};

#[cfg(test)]
mod tests;
