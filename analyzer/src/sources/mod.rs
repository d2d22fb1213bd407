//! Other stores that checks read: Prometheus's API, Loki's, Elasticsearch's.
//!
//! Raw samples and records are fetched, and the collector works on them as on those of the own store, so all its rules
//! hold: nothing is computed on the other side. What is fetched is bounded by the limits of a question and kept no
//! longer than a look.

mod config;
mod client;
mod prometheus;
mod records;
mod loki;
mod elastic;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use greylight_store::model::{ErrorKind, Problem, TenantId};
use greylight_store::read::{Fetched, LogSource, MetricSource};
use parking_lot::Mutex;
use serde_json::Value;

use crate::policy::{Needs, Policy};
use client::Client;

pub use config::{SourceConfig, SourceError, SourceKind, check_sources};

/// The sources of the settings, by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Arc<BTreeMap<String, Source>>);

/// One other store.
#[derive(Debug)]
struct Source {
    kind: SourceKind,
    index: String,
    /// Who may use it; all where it is not said.
    tenants: Option<Vec<String>>,
    client: Arc<Client>,
    /// The templates of its records, as long as the process lives: looks must name a template alike.
    templates: Mutex<HashMap<TenantId, Fetched>>,
}

/// What a check with a source is read from.
pub(crate) struct Doors {
    pub(crate) metrics: Arc<dyn MetricSource>,
    pub(crate) logs: Arc<dyn LogSource>,
    /// There are no series behind them.
    pub(crate) has_records_only: bool,
}

impl Sources {
    /// Checks the settings and makes the clients. Called within a runtime, which does their network's work.
    ///
    /// # Errors
    /// [`SourceError`] with the source, the field and what is wrong.
    pub(crate) fn new(all: &[SourceConfig]) -> Result<Self, SourceError> {
        check_sources(all)?;
        let mut by_name = BTreeMap::new();
        for one in all {
            let source = Source {
                kind: one.kind,
                index: one.index.clone().unwrap_or_else(|| config::INDEX.to_owned()),
                tenants: one.tenants.clone(),
                client: Arc::new(Client::new(one)?),
                templates: Mutex::default(),
            };
            by_name.insert(one.name.clone(), source);
        }
        Ok(Self(Arc::new(by_name)))
    }

    fn find(&self, tenant: &TenantId, name: &str) -> Option<&Source> {
        self.0.get(name).filter(|source| source.is_for(tenant))
    }

    /// Opens a source for some questions; what they fetch is shared between them. Nothing where the tenant has no
    /// such source.
    ///
    /// - `labels`: names that records are told apart by, beside those that are known.
    pub(crate) fn open(&self, tenant: &TenantId, name: &str, labels: &[String]) -> Option<Doors> {
        let source = self.find(tenant, name)?;
        let nothing = || Arc::new(Fetched::new(tenant).reader().clone());
        let client = || Arc::clone(&source.client);
        let pages: Arc<dyn records::Pages> = match source.kind {
            SourceKind::Prometheus => {
                let metrics = Arc::new(prometheus::Metrics::new(client()));
                return Some(Doors { metrics, logs: nothing(), has_records_only: false });
            }
            SourceKind::Loki => Arc::new(loki::Loki::new(client())),
            SourceKind::Elasticsearch => Arc::new(elastic::Elastic::new(client(), &source.index, labels)),
        };
        let first =
            source.templates.lock().entry(tenant.clone()).or_insert_with(|| Fetched::new(tenant)).clone();
        let logs = Arc::new(records::Records::new(pages, first, name));
        Some(Doors { metrics: nothing(), logs, has_records_only: true })
    }

    /// Names the sources that a tenant may use.
    pub(crate) fn named(&self, tenant: &TenantId) -> String {
        let names: Vec<&str> = self
            .0
            .iter()
            .filter(|(_, source)| source.is_for(tenant))
            .map(|(name, _)| name.as_str())
            .collect();
        if names.is_empty() {
            "this server has none for you: an operator adds `[[sources]]` to its configuration".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        }
    }

    /// Refuses a policy with a source that is not there, or cannot serve its check.
    ///
    /// # Errors
    /// A [`Problem`] with the path of `source` in the document, its value and what would do.
    pub(crate) fn check(&self, tenant: &TenantId, policy: &Policy, document: &Value) -> Result<(), Problem> {
        for (at, phase) in policy.phases.iter().enumerate() {
            let n_own = document["phases"][at]["checks"].as_array().map_or(0, Vec::len);
            for (i, check) in phase.checks.iter().enumerate() {
                let Some(name) = &check.source else { continue };
                let path = match i.checked_sub(n_own) {
                    None => format!("phases[{at}].checks[{i}].source"),
                    Some(i) => format!("checks[{i}].source"),
                };
                let wrong = |text: String| {
                    Err(Problem::new(ErrorKind::Invalid, text).field(path).value(name.clone()))
                };
                let Some(source) = self.find(tenant, name) else {
                    return wrong(format!("no source is called {name:?}; {}", self.named(tenant)));
                };
                let kind = source.kind.word();
                match (check.needs(), source.kind.has_series()) {
                    (Needs::Series, false) => {
                        return wrong(format!(
                            "source {name:?} is of kind {kind} and has log records only, and check {:?} reads series; \
                             name a source of kind prometheus, or give the check a log query",
                            check.name
                        ));
                    }
                    (Needs::Records, true) => {
                        return wrong(format!(
                            "source {name:?} is of kind {kind} and has series only, and check {:?} reads log records; \
                             name a source of kind loki or elasticsearch, or give the check selectors",
                            check.name
                        ));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Source {
    fn is_for(&self, tenant: &TenantId) -> bool {
        self.tenants.as_ref().is_none_or(|all| all.iter().any(|one| one == tenant.as_str()))
    }
}
