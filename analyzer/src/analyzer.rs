//! Joins the parts of the analyzer, and starts and ends its work.

use std::sync::Arc;

use greylight_query::promql;
use greylight_query::sql::View;
use greylight_store::model::{Clock, Problem, Random};
use greylight_store::read::{Limits, LogSource, MetricSource};
use greylight_store::records::Records;
use tokio::sync::Notify;

use crate::anomaly::{AnomalyConfig, AnomalyError, Watch, WatchHandle};
use crate::collect::Collector;
use crate::deliver::{DeliveriesConfig, GuardError, Worker, WorkerHandle};
use crate::release::service::Releases;
use crate::release::views::{ReleasesView, VerdictsView};

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
}

impl Default for AnalyzerConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self { looks_at_once: 2, series_max: limits.series, samples_max: limits.samples }
    }
}

/// What the analyzer works with.
#[derive(Clone, Debug)]
pub struct AnalyzerEnv {
    /// Where releases, looks and messages are kept.
    pub records: Records,
    /// Where metrics are read.
    pub metrics: Arc<dyn MetricSource>,
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
    parts: parking_lot::Mutex<Option<(Worker, Vec<Watch>)>>,
}

/// Release analysis at work.
#[derive(Debug)]
pub struct Running {
    releases: Releases,
    worker: Option<WorkerHandle>,
    watches: Vec<WatchHandle>,
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
}

/// Why the analyzer could not go on with what was under way.
#[derive(Debug, thiserror::Error)]
#[error("releases under way cannot be read: {0}")]
pub struct StartError(Problem);

impl Analyzer {
    /// Joins the parts; nothing runs yet.
    ///
    /// # Errors
    /// [`SetupError`] names what cannot be used.
    pub fn new(
        env: AnalyzerEnv,
        config: &AnalyzerConfig,
        deliveries: &DeliveriesConfig,
        anomalies: &[AnomalyConfig],
    ) -> Result<Self, SetupError> {
        let wake = Arc::new(Notify::new());
        let limits = Limits { series: config.series_max, samples: config.samples_max, ..Limits::default() };
        let collector = Collector {
            engine: promql::Engine::new(env.metrics.clone(), promql::EngineOptions::default()),
            metrics: env.metrics,
            logs: env.logs,
            clock: env.clock.clone(),
            limits,
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
        let releases =
            Releases::new(env.records, collector, env.clock, env.random, wake, config.looks_at_once);
        Ok(Self { releases, parts: parking_lot::Mutex::new(Some((worker, watches))) })
    }

    pub(crate) fn releases(&self) -> &Releases {
        &self.releases
    }

    /// Returns the tables that SQL queries may read.
    pub fn views(&self) -> Vec<Arc<dyn View>> {
        vec![Arc::new(ReleasesView(self.releases.clone())), Arc::new(VerdictsView(self.releases.clone()))]
    }

    /// Goes on with every release that was under way, and begins to send messages.
    ///
    /// # Errors
    /// [`StartError`] when stored releases cannot be read.
    pub async fn start(&self) -> Result<Running, StartError> {
        let n = self.releases.resume().await.map_err(StartError)?;
        if n > 0 {
            tracing::info!(n, "going on with releases under way");
        }
        let (worker, watches) = match self.parts.lock().take() {
            Some((worker, watches)) => {
                (Some(worker.start()), watches.into_iter().map(Watch::start).collect())
            }
            None => (None, Vec::new()),
        };
        Ok(Running { releases: self.releases.clone(), worker, watches })
    }
}

impl Running {
    /// Ends after the looks and messages under way.
    pub async fn shutdown(self) {
        self.releases.shutdown().await;
        for watch in self.watches {
            watch.shutdown().await;
        }
        if let Some(worker) = self.worker {
            worker.shutdown().await;
        }
    }
}
