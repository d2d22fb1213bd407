//! Carries verdicts and alerts to those who wait for them, at least once.
//!
//! A message is put into the outbox by the same transaction that makes the verdict. [`worker`]
//! takes what is due, [`client`] checks the address and posts, [`sign`] proves who sent it. An
//! attempt that fails is tried again on [`SCHEDULE`]; every attempt keeps the message's id, so
//! that a receiver can tell a repetition.

mod client;
mod guard;
mod message;
mod sign;
mod worker;

use std::time::Duration;

pub(crate) use client::{Attempt, chain, post};
pub(crate) use guard::AllowList;
pub use guard::GuardError;
pub(crate) use message::{Message, Webhook};
pub use sign::{Secret, SecretError, signature};
pub(crate) use worker::{Worker, WorkerHandle};

/// Outgoing webhooks: section `[deliveries]`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveriesConfig {
    /// Hosts, addresses or networks that may be called although they are loopback or link-local,
    /// such as `127.0.0.1`, `10.0.0.0/8` or `deploy.internal`. Default none.
    pub allow: Vec<String>,
    /// Longest that one attempt may take. Default `15s`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for DeliveriesConfig {
    fn default() -> Self {
        Self { allow: Vec::new(), timeout: Duration::from_secs(15) }
    }
}

/// Waits before the attempts after the first. A deploy tool waits for a verdict, so the head is
/// quick; the tail lets a receiver be away for three days.
const SCHEDULE: [Duration; 15] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(24 * 3600),
];
