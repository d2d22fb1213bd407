//! Watches series that a rule chose, and says when one does what it hardly ever did.
//!
//! [`tail`] learns how large a residual's tails are, [`detector`] keeps one series' residuals and
//! decides, [`watch`] feeds detectors from the store and puts alerts into the outbox. A restart
//! feeds them again from stored history, so that nothing of their state needs keeping.

mod detector;
mod tail;
mod watch;

use std::time::Duration;

pub(crate) use watch::{Watch, WatchHandle};

/// One rule: which series are watched. Section `[[anomaly]]`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyConfig {
    /// The rule's name, in alerts.
    pub name: String,
    /// Selector or PromQL expression of the series.
    #[serde(rename = "match")]
    pub expr: String,
    /// Tenant whose series are watched. Default `default`.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// How often the expression is looked at. Default `1m`.
    #[serde(default = "default_interval", with = "humantime_serde")]
    pub interval: Duration,
    /// How many alerts a series may raise a day when nothing is wrong. Default 0.05.
    #[serde(default = "default_budget")]
    pub alerts_per_series_day: f64,
    /// A series that alerted is quiet for so long unless it gets worse. Default `1h`.
    #[serde(default = "default_rest", with = "humantime_serde")]
    pub rest: Duration,
    /// Series that one rule watches at most; more are refused, and the log says so. Default 10,000.
    #[serde(default = "default_series")]
    pub series_max: usize,
    /// Where alerts are sent.
    #[serde(default)]
    pub webhooks: Vec<AnomalyWebhook>,
}

/// Where alerts are sent.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyWebhook {
    /// The address.
    pub url: String,
    /// Secret that alerts are signed with, `whsec_` and base64.
    pub secret: Option<String>,
}

impl std::fmt::Debug for AnomalyWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnomalyWebhook").field("url", &self.url).finish_non_exhaustive()
    }
}

fn default_tenant() -> String {
    greylight_store::model::TenantId::default().to_string()
}

fn default_interval() -> Duration {
    Duration::from_secs(60)
}

fn default_budget() -> f64 {
    0.05
}

fn default_rest() -> Duration {
    Duration::from_secs(3600)
}

fn default_series() -> usize {
    10_000
}

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("[[anomaly]] {rule:?}: {detail}")]
pub struct AnomalyError {
    /// The rule's name.
    pub rule: String,
    /// What is wrong.
    pub detail: String,
}
