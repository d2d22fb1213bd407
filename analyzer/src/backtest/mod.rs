//! Says beforehand what a policy would do: it judges placebo releases in stored history.
//!
//! Flow: [`request`] is what was asked, `read` takes the cohort's history from the store once, by unit, into
//! [`History`]; `placebo` chooses releases that never were, `run` judges each by the same [`crate::judge::Analysis`]
//! that judges real ones, and again with effects that `inject` puts into the canary's data; `summary` counts.
//! `service` runs backtests one after the other and keeps what they came to.
//!
//! Invariant: all but `read` and `service` is pure. The same history, plan and seed give the same report.

mod history;
mod inject;
mod placebo;
mod plan;
mod read;
mod request;
mod run;
pub(crate) mod service;
mod summary;
pub mod wire;

pub use history::{Feed, History, Start, Track};
pub use plan::{Injection, PlaceboKind, Plan, Stopped};
pub use run::{Watch, backtest};
