//! Decides whether a release may go on, and tells those who wait.
//!
//! Flow: [`policy`] says what is compared (`packs` chooses where the team did not), `release` takes a release and
//! makes a look whenever one is due, `collect` reads both sides from the store or from other ones (`sources`), [`judge`] compares them by [`stats`]
//! and decides, [`verdict`] is the decision with its evidence, `deliver` carries it to webhooks. [`kayenta`]
//! judges the same data as Kayenta would, for comparison.
//! [`backtest`] judges releases that never were, in stored history.
//! `anomaly` watches series that no release is about, and `rules` evaluates Prometheus's rule files.
//!
//! Invariant: [`policy`], [`stats`], [`judge`], [`kayenta`] and [`verdict`] are pure. They know no clock, store or
//! network; the same policy and data give the same bits.

pub mod policy;
pub mod stats;
pub mod judge;
pub mod kayenta;
pub mod verdict;
mod sources;
mod collect;
mod accepted;
mod changes;
mod policies;
mod packs;
mod release;
pub mod backtest;
mod deliver;
mod anomaly;
mod rules;
mod analyzer;
pub mod http;

pub use analyzer::{Analyzer, AnalyzerConfig, AnalyzerEnv, Running, SetupError, StartError};
pub use anomaly::{AnomalyConfig, AnomalyError, AnomalyWebhook};
pub use deliver::{DeliveriesConfig, GuardError, Secret, SecretError, signature};
pub use rules::{RuleFileError, RulesConfig, RulesError, check_rules, is_rule_file};
pub use sources::{SourceConfig, SourceError, SourceKind, check_sources};
