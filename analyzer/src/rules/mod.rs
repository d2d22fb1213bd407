//! Prometheus rule files: recording rules, and alerting rules with their alerts.
//!
//! Flow: [`config`] finds the files and [`mod@file`] reads them; each [`group`] waits for its instant, has [`evaluate`]
//! ask its expressions and fill in the texts of [`template`], moves the states of [`alert`] on, and writes series to
//! the store as any sender does. [`notify`] tells Alertmanagers of alerts, [`tell`] webhooks. [`wire`] shows all of it
//! as Prometheus does.
//!
//! What always holds: rules of a group are evaluated in order, each as of the same instant; a rule that fails stops no
//! other; what a rule wrote before and no longer gives is marked as gone.

mod alert;
mod config;
mod evaluate;
mod file;
mod group;
mod metrics;
mod notify;
mod tell;
mod template;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use greylight_store::append::Appender;
use greylight_store::model::{Clock, TenantId};
use greylight_store::read::{Limits, MetricSource};
use greylight_store::records::{Records, RecordsError};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use config::{RuleFileError, RulesConfig, RulesError, check_rules, is_rule_file};
pub(crate) use wire::Wanted;

use crate::deliver::{AllowList, DeliveriesConfig, GuardError};
use file::Rule;
use group::{GroupState, RuleState, Runner, Shared};
use notify::Notifier;
use tell::Teller;

/// Rules evaluated at once over all groups: as many as leave room for queries of people.
const EVALUATIONS_AT_ONCE: usize = 4;

/// What rules work with.
#[derive(Debug)]
pub(crate) struct RulesEnv {
    pub(crate) metrics: Arc<dyn MetricSource>,
    pub(crate) appender: Appender,
    pub(crate) records: Records,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) limits: Limits,
}

/// All groups, and what there is to say about them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    shared: Arc<Shared>,
    groups: Arc<Vec<Arc<GroupState>>>,
    allow: AllowList,
    timeout: Duration,
}

/// Groups at work.
#[derive(Debug)]
pub(crate) struct RulesHandle {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Why rules cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupRulesError {
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error(transparent)]
    Guard(#[from] GuardError),
}

impl Rules {
    /// Reads every file; nothing runs yet.
    pub(crate) fn new(
        env: RulesEnv,
        config: &RulesConfig,
        deliveries: &DeliveriesConfig,
    ) -> Result<Self, SetupRulesError> {
        let checked = config.read()?;
        let of = |(file, group): (String, file::Group)| {
            Arc::new(GroupState {
                file,
                name: group.name,
                interval: group.interval.unwrap_or(config.interval),
                query_offset: group.query_offset.unwrap_or(config.query_offset),
                limit: group.limit,
                rules: group.rules.into_iter().map(|rule| Arc::new(RuleState::new(rule))).collect(),
                status: Mutex::default(),
            })
        };
        let shared = Shared {
            tenant: checked.tenant,
            engine: greylight_query::promql::Engine::new(env.metrics, group::engine_options()),
            limits: env.limits,
            appender: env.appender,
            clock: env.clock,
            external_labels: Arc::new(config.external_labels.clone()),
            external_url: Mutex::new(config.external_url.clone().unwrap_or_default()),
            notifier: Notifier::new(checked.alertmanagers),
            teller: Teller::new(checked.webhooks, env.records, env.wake),
            slots: Semaphore::new(EVALUATIONS_AT_ONCE),
        };
        Ok(Self {
            shared: Arc::new(shared),
            groups: Arc::new(checked.groups.into_iter().map(of).collect()),
            allow: AllowList::parse(&deliveries.allow)?,
            timeout: deliveries.timeout,
        })
    }

    /// Sets the address of this server, where the settings name none.
    pub(crate) fn set_address(&self, url: &str) {
        let mut external_url = self.shared.external_url.lock();
        if external_url.is_empty() {
            *external_url = url.to_owned();
        }
    }

    /// Starts every group.
    ///
    /// # Errors
    /// [`RecordsError`] when it cannot be read what was told before.
    pub(crate) async fn start(&self) -> Result<RulesHandle, RecordsError> {
        let stop = CancellationToken::new();
        self.shared.teller.start(&self.shared, &self.groups).await?;
        let mut tasks = self.shared.notifier.start(&self.shared.clock, &self.allow, self.timeout, &stop);
        for group in self.groups.iter() {
            let runner = Runner::new(self.shared.clone(), group.clone(), stop.clone());
            tasks.push(tokio::spawn(runner.run()));
        }
        Ok(RulesHandle { stop, tasks })
    }

    /// Tells whether a tenant's rules are these.
    fn is_of(&self, tenant: &TenantId) -> bool {
        self.shared.tenant == *tenant
    }
}

impl RulesHandle {
    /// Ends soon: queries under way are cancelled, rules that did not begin are left out.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a group of rules did not end well");
            }
        }
    }
}

impl Shared {
    /// Returns the address of a page that shows a rule's expression.
    fn generator_url(&self, rule: &Rule) -> String {
        let base = self.external_url.lock().trim_end_matches('/').to_owned();
        base + &template::link(&rule.query.expr().to_string(), 1)
    }
}
