//! What runs queries: their threads, their limits, and the list of those that run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greylight_store::model::{Clock, ErrorKind, Problem, TenantId};
use greylight_store::read::{Budget, LogSource, MetricSource, ReadError};
use parking_lot::Mutex;

use crate::config::{ConfigError, QueryConfig};
use crate::features::Disabled;
use crate::pool::{Pool, Refused};
use crate::promql::{Engine, EngineOptions, ResultCache};
use crate::sql::View;

/// What queries are made of.
#[derive(Clone, Debug)]
pub struct QueryEnv {
    /// Metrics.
    pub metrics: Arc<dyn MetricSource>,
    /// Log records.
    pub logs: Arc<dyn LogSource>,
    /// Further tables of SQL.
    pub views: Vec<Arc<dyn View>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Runs queries of all kinds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    env: QueryEnv,
    config: QueryConfig,
    engine: Engine,
    cache: ResultCache,
    disabled: Disabled,
    pool: Pool,
    running: Mutex<BTreeMap<u64, Entry>>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    tenant: TenantId,
    text: String,
    kind: &'static str,
    started: Duration,
    limit: Duration,
    budget: Budget,
}

/// A query that runs now.
#[derive(Clone, Debug)]
pub struct RunningQuery {
    /// Its name, by which it can be ended.
    pub id: String,
    /// What was asked.
    pub text: String,
    /// The language: `promql`, `sql`, `logs`.
    pub kind: &'static str,
    /// How long it has been known, waiting included.
    pub elapsed: Duration,
    /// How long it may take.
    pub limit: Duration,
    /// Samples or records that it has read so far.
    pub n_samples: u64,
}

/// Takes a query off the list, and ends its work, when the request is over or was dropped.
#[derive(Debug)]
struct Listed {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(entry) = self.shared.running.lock().remove(&self.id) {
            entry.budget.cancel();
        }
    }
}

/// An error that may be that a file is damaged.
pub(crate) trait MeetsDamage {
    /// Tells whether it is.
    fn is_damage(&self) -> bool;
}

impl MeetsDamage for ReadError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

/// Damaged files that one query may meet, one behind the other, and still be answered.
const DAMAGED_MAX: usize = 8;

/// Reads once more when a read meets a damaged file: by then the store has taken it out, and the answer says what is
/// missing.
pub(crate) fn past_damage<T, E: MeetsDamage + std::fmt::Display>(
    mut read: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    for _ in 0..DAMAGED_MAX {
        match read() {
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "a query met damage, and reads once more")
            }
            result => return result,
        }
    }
    read()
}

/// Why queries cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A thread could not be started.
    #[error("starting the threads of queries failed")]
    Thread(#[source] std::io::Error),
}

/// What a query is asked with.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) tenant: TenantId,
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    pub(crate) timeout: Option<Duration>,
}

impl Queries {
    /// Starts the threads; features and functions of PromQL that are named in `disabled` are taken away.
    ///
    /// # Errors
    /// [`StartError`] when a setting is wrong or a thread cannot be started.
    pub fn new(env: QueryEnv, config: QueryConfig, disabled: &[String]) -> Result<Self, StartError> {
        config.check()?;
        let disabled = Disabled::new(disabled)?;
        let pool =
            Pool::start(config.concurrent_max, config.queued_max, config.queue_wait, env.clock.clone())
                .map_err(StartError::Thread)?;
        let options = EngineOptions { delayed_names: disabled.delays_names(), ..config.engine() };
        let engine = Engine::new(env.metrics.clone(), options);
        let cache = ResultCache::new(config.cache_bytes);
        let shared = Shared {
            env,
            config,
            engine,
            cache,
            disabled,
            pool,
            running: Mutex::default(),
            next_id: AtomicU64::new(1),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the queries of a tenant that run or wait, oldest first.
    pub fn running(&self, tenant: &TenantId) -> Vec<RunningQuery> {
        let now = self.shared.env.clock.elapsed();
        let running = self.shared.running.lock();
        let own = running.iter().filter(|(_, entry)| entry.tenant == *tenant);
        own.map(|(id, entry)| RunningQuery {
            id: id.to_string(),
            text: entry.text.clone(),
            kind: entry.kind,
            elapsed: now.saturating_sub(entry.started),
            limit: entry.limit,
            n_samples: entry.budget.used().1,
        })
        .collect()
    }

    /// Ends a query of a tenant; `false` when there is none of that name.
    pub fn end(&self, tenant: &TenantId, id: &str) -> bool {
        let Ok(id) = id.parse::<u64>() else { return false };
        match self.shared.running.lock().get(&id) {
            Some(entry) if entry.tenant == *tenant => {
                entry.budget.cancel();
                true
            }
            _ => false,
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// Returns the kept answers to range queries.
    pub(crate) fn cache(&self) -> &ResultCache {
        &self.shared.cache
    }

    pub(crate) fn env(&self) -> &QueryEnv {
        &self.shared.env
    }

    pub(crate) fn config(&self) -> &QueryConfig {
        &self.shared.config
    }

    /// Returns what is taken away of PromQL.
    pub(crate) fn disabled(&self) -> &Disabled {
        &self.shared.disabled
    }

    /// Runs work that blocks, in its tenant's turn, within a budget. When the future is dropped
    /// the budget is cancelled, and the work ends at its next check.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        asked: Asked,
        work: impl FnOnce(&Self, &TenantId, &Budget) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let shared = &self.shared;
        let limits = shared.config.limits(asked.timeout);
        let budget = Budget::new(limits, shared.env.clock.clone());
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let Asked { tenant, kind, text, .. } = asked;
        let started = shared.env.clock.elapsed();
        let entry =
            Entry { tenant: tenant.clone(), text, kind, started, limit: limits.time, budget: budget.clone() };
        shared.running.lock().insert(id, entry);
        let _listed = Listed { shared: shared.clone(), id };
        let queries = self.clone();
        let owner = tenant.clone();
        let outcome = shared.pool.run(&owner, move || work(&queries, &tenant, &budget)).await;
        outcome.map_err(|refused| match refused {
            Refused::Full => Problem::new(ErrorKind::Unavailable, "too many queries wait; try again later")
                .limit(shared.config.queued_max),
            Refused::Waited => {
                let wait = format!("{} s", shared.config.queue_wait.as_secs_f64());
                Problem::new(ErrorKind::Unavailable, format!("query waited longer than {wait} for its turn"))
            }
            Refused::Panicked => Problem::new(ErrorKind::Internal, "query failed for a fault of ours"),
        })
    }
}
