//! Joins the parts of the analyzer, and starts and ends its work.

use std::sync::Arc;

use greylight_query::sql::{PointQueries, View};
use greylight_query::{QueryEnv, promql};
use greylight_store::append::Appender;
use greylight_store::model::{Clock, Problem, Random};
use greylight_store::read::{Limits, LogSource, MetricSource};
use greylight_store::records::{Records, RecordsError};
use greylight_wire::exposition::Writer;
use tokio::sync::{Notify, Semaphore};

use crate::anomaly::{AnomalyConfig, AnomalyError, Watch, WatchHandle};
use crate::backtest::service::Backtests;
use crate::collect::{Collector, Elsewhere};
use crate::deliver::{DeliveriesConfig, GuardError, Worker, WorkerHandle};
use crate::release::service::Releases;
use crate::release::views::{ReleasesView, VerdictsView};
use crate::rules::{Rules, RulesConfig, RulesEnv, RulesError, RulesHandle, SetupRulesError};
use crate::sources::{SourceConfig, SourceError, Sources};

/// Judge calls computed at once; more wait.
const JUDGES_AT_ONCE: usize = 2;

/// Release analysis: section `[analyzer]`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyzerConfig {
    /// Looks made at once; more wait. Default 2.
    pub looks_at_once: usize,
    /// Series that one question of a look may select. Default 100,000.
    pub series_max: u64,
    /// Samples or log records that one question of a look may read. Default 50,000,000.
    pub samples_max: u64,
    /// Other stores that checks may read, as `[[sources]]` lists them.
    #[serde(skip)]
    pub sources: Vec<SourceConfig>,
}

impl Default for AnalyzerConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self { looks_at_once: 2, series_max: limits.series, samples_max: limits.samples, sources: Vec::new() }
    }
}

/// What the analyzer works with.
#[derive(Clone, Debug)]
pub struct AnalyzerEnv {
    /// Where releases, looks and messages are kept.
    pub records: Records,
    /// Where metrics are read.
    pub metrics: Arc<dyn MetricSource>,
    /// Where the results of rules are written.
    pub appender: Appender,
    /// Where log records are read.
    pub logs: Arc<dyn LogSource>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ids and jitter.
    pub random: Arc<dyn Random>,
}

/// Release analysis, before it is started.
#[derive(Debug)]
pub struct Analyzer {
    releases: Releases,
    backtests: Backtests,
    rules: Rules,
    parts: parking_lot::Mutex<Option<(Worker, Vec<Watch>)>>,
}

/// Release analysis at work.
#[derive(Debug)]
pub struct Running {
    releases: Releases,
    backtests: Backtests,
    worker: Option<WorkerHandle>,
    watches: Vec<WatchHandle>,
    rules: Option<RulesHandle>,
}

/// Why the configuration of the analyzer cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// An entry of `[deliveries] allow`.
    #[error("[deliveries] allow: {0}")]
    Deliveries(#[from] GuardError),
    /// An anomaly rule.
    #[error(transparent)]
    Anomaly(#[from] AnomalyError),
    /// A rule file, or a setting of rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Another store that checks may read.
    #[error(transparent)]
    Sources(#[from] SourceError),
}

impl From<SetupRulesError> for SetupError {
    fn from(error: SetupRulesError) -> Self {
        match error {
            SetupRulesError::Rules(error) => Self::Rules(error),
            SetupRulesError::Guard(error) => Self::Deliveries(error),
        }
    }
}

/// Why the analyzer could not go on with what was under way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Releases cannot be read.
    #[error("releases under way cannot be read: {0}")]
    Releases(Problem),
    /// Backtests cannot be read.
    #[error("backtests under way cannot be read: {0}")]
    Backtests(Problem),
    /// What was told of alerts cannot be read.
    #[error("what was told of alerts cannot be read")]
    Alerts(#[from] RecordsError),
}

impl Analyzer {
    /// Joins the parts; nothing runs yet. Called within a runtime where there are sources.
    ///
    /// # Errors
    /// [`SetupError`] names what cannot be used.
    pub fn new(
        env: AnalyzerEnv,
        config: &AnalyzerConfig,
        deliveries: &DeliveriesConfig,
        anomalies: &[AnomalyConfig],
        rules: &RulesConfig,
    ) -> Result<Self, SetupError> {
        let wake = Arc::new(Notify::new());
        let limits = Limits { series: config.series_max, samples: config.samples_max, ..Limits::default() };
        let rules_env = RulesEnv {
            metrics: env.metrics.clone(),
            appender: env.appender,
            records: env.records.clone(),
            clock: env.clock.clone(),
            wake: wake.clone(),
            limits,
        };
        let rules = Rules::new(rules_env, rules, deliveries)?;
        let read = QueryEnv {
            metrics: env.metrics.clone(),
            logs: env.logs.clone(),
            views: Vec::new(),
            clock: env.clock.clone(),
        };
        let sources = Sources::new(&config.sources)?;
        let collector = Collector {
            sql: PointQueries::new(read),
            engine: promql::Engine::new(env.metrics.clone(), promql::EngineOptions::default()),
            metrics: env.metrics,
            logs: env.logs,
            clock: env.clock.clone(),
            limits,
            elsewhere: Elsewhere::new(sources.clone()),
        };
        let worker = Worker::new(
            env.records.clone(),
            env.clock.clone(),
            env.random.clone(),
            deliveries,
            wake.clone(),
        )?;
        let watch = |rule: &AnomalyConfig| {
            let engine = collector.engine.clone();
            Watch::new(rule.clone(), engine, env.records.clone(), env.clock.clone(), wake.clone())
        };
        let watches = anomalies.iter().map(watch).collect::<Result<Vec<Watch>, AnomalyError>>()?;
        let releases = Releases::new(
            env.records.clone(),
            collector.clone(),
            sources,
            env.clock.clone(),
            env.random.clone(),
            wake,
            config.looks_at_once,
        );
        let judges = Arc::new(Semaphore::new(JUDGES_AT_ONCE));
        let backtests =
            Backtests::new(env.records, collector, releases.clone(), env.clock, env.random, judges);
        Ok(Self { releases, backtests, rules, parts: parking_lot::Mutex::new(Some((worker, watches))) })
    }

    pub(crate) fn releases(&self) -> &Releases {
        &self.releases
    }

    pub(crate) fn backtests(&self) -> &Backtests {
        &self.backtests
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Says where this server is reached, for links in alerts, unless the settings say so.
    pub fn set_address(&self, url: &str) {
        self.rules.set_address(url);
    }

    /// Writes what rules say about themselves.
    pub fn render(&self, page: &mut Writer) {
        self.rules.render(page);
    }

    /// Returns the tables that SQL queries may read.
    pub fn views(&self) -> Vec<Arc<dyn View>> {
        vec![Arc::new(ReleasesView(self.releases.clone())), Arc::new(VerdictsView(self.releases.clone()))]
    }

    /// Goes on with every release that was under way, and begins to send messages.
    ///
    /// # Errors
    /// [`StartError`] when stored releases, or what was told of alerts, cannot be read.
    pub async fn start(&self) -> Result<Running, StartError> {
        let n = self.releases.resume().await.map_err(StartError::Releases)?;
        if n > 0 {
            tracing::info!(n, "going on with releases under way");
        }
        self.backtests.resume().await.map_err(StartError::Backtests)?;
        let parts = self.parts.lock().take();
        let (worker, watches, rules) = match parts {
            Some((worker, watches)) => {
                let watches = watches.into_iter().map(Watch::start).collect();
                (Some(worker.start()), watches, Some(self.rules.start().await?))
            }
            None => (None, Vec::new(), None),
        };
        let (releases, backtests) = (self.releases.clone(), self.backtests.clone());
        Ok(Running { releases, backtests, worker, watches, rules })
    }
}

impl Running {
    /// Ends after the looks and messages under way.
    pub async fn shutdown(self) {
        self.backtests.shutdown().await;
        self.releases.shutdown().await;
        if let Some(rules) = self.rules {
            rules.shutdown().await;
        }
        for watch in self.watches {
            watch.shutdown().await;
        }
        if let Some(worker) = self.worker {
            worker.shutdown().await;
        }
    }
}
