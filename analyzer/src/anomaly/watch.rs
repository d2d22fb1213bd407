//! Feeds detectors from the store and puts alerts into the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use greylight_query::promql::{Engine, Query, Value};
use greylight_store::model::{Clock, Labels, TenantId, Timestamp};
use greylight_store::read::{Budget, Limits};
use greylight_store::records::{Expect, OutboxItem, Records, Transaction};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::detector::{Anomaly, Detector, DetectorConfig};
use super::{AnomalyConfig, AnomalyError};
use crate::deliver::{Message, Webhook};

const KIND: &str = "anomaly";
/// History that detectors are fed with after a start.
const HISTORY: Duration = Duration::from_secs(8 * 86_400);
/// Steps of one range query.
const STEPS_MAX: i64 = 10_000;
/// Late samples get this long before an instant is looked at.
const DELAY: Duration = Duration::from_secs(15);
/// A series unseen for this long is forgotten.
const FORGET: Duration = Duration::from_secs(86_400);

/// One rule at work.
#[derive(Debug)]
pub(crate) struct Watch {
    config: AnomalyConfig,
    tenant: TenantId,
    query: Query,
    webhooks: Vec<Webhook>,
    engine: Engine,
    records: Records,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
}

/// Ends a rule.
#[derive(Debug)]
pub(crate) struct WatchHandle {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl WatchHandle {
    /// Ends after the step under way.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "an anomaly rule did not end well");
        }
    }
}

/// A detector and when its series was last seen.
#[derive(Debug)]
struct Watched {
    detector: Detector,
    seen_ms: i64,
}

type Detectors = HashMap<Labels, Watched>;

impl Watch {
    /// Checks a rule.
    pub(crate) fn new(
        config: AnomalyConfig,
        engine: Engine,
        records: Records,
        clock: Arc<dyn Clock>,
        wake: Arc<Notify>,
    ) -> Result<Self, AnomalyError> {
        let wrong = |detail: String| AnomalyError { rule: config.name.clone(), detail };
        let tenant = TenantId::new(&config.tenant).map_err(|e| wrong(e.to_string()))?;
        let query = Query::parse(&config.expr).map_err(|e| wrong(format!("match: {e}")))?;
        let webhooks: Result<Vec<Webhook>, _> =
            config.webhooks.iter().map(|w| Webhook::parse(&w.url, w.secret.as_deref())).collect();
        let webhooks = webhooks.map_err(|e| wrong(format!("webhooks: {e}")))?;
        if config.interval < Duration::from_secs(1) {
            return Err(wrong(format!("interval {:?} is below 1s", config.interval)));
        }
        if !(config.alerts_per_series_day > 0.0 && config.alerts_per_series_day <= 100.0) {
            let value = config.alerts_per_series_day;
            return Err(wrong(format!("alerts_per_series_day {value} is not above 0 and at most 100")));
        }
        Ok(Self { config, tenant, query, webhooks, engine, records, clock, wake })
    }

    /// Starts the rule on the current runtime.
    pub(crate) fn start(self) -> WatchHandle {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let watch = Arc::new(self);
            let step_ms = watch.step_ms();
            let now_ms = watch.clock.now().saturating_sub(DELAY).as_millis();
            let mut next_ms = now_ms.div_euclid(step_ms) * step_ms;
            let (mut detectors, _) =
                watch.clone().feed(Detectors::new(), next_ms - history_ms(), next_ms).await;
            next_ms += step_ms;
            while !stopped.is_cancelled() {
                let due = Timestamp::from_millis(next_ms).saturating_add(DELAY);
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = watch.clock.sleep(due.since(watch.clock.now())) => {}
                }
                let (fed, found) = watch.clone().feed(detectors, next_ms, next_ms).await;
                detectors = fed;
                for (labels, anomaly) in found {
                    watch.tell(&labels, &anomaly).await;
                }
                next_ms += step_ms;
            }
        });
        WatchHandle { stop, task }
    }

    fn step_ms(&self) -> i64 {
        i64::try_from(self.config.interval.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// Evaluates the expression from one instant to another and feeds the detectors.
    async fn feed(
        self: Arc<Self>,
        detectors: Detectors,
        start_ms: i64,
        end_ms: i64,
    ) -> (Detectors, Vec<(Labels, Anomaly)>) {
        let work = tokio::task::spawn_blocking(move || {
            let mut detectors = detectors;
            let mut found = Vec::new();
            let chunk = self.step_ms() * STEPS_MAX;
            let mut from = start_ms;
            while from <= end_ms {
                let to = end_ms.min(from + chunk - self.step_ms());
                if let Err(error) = self.feed_chunk(&mut detectors, from, to, &mut found) {
                    tracing::warn!(
                        rule = self.config.name,
                        error,
                        "series of an anomaly rule cannot be read"
                    );
                }
                from = to + self.step_ms();
            }
            let forgotten = end_ms - i64::try_from(FORGET.as_millis()).unwrap_or(i64::MAX);
            detectors.retain(|_, watched| watched.seen_ms >= forgotten);
            (detectors, found)
        });
        work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an anomaly rule lost its state and begins anew");
            (Detectors::new(), Vec::new())
        })
    }

    fn feed_chunk(
        &self,
        detectors: &mut Detectors,
        from_ms: i64,
        to_ms: i64,
        found: &mut Vec<(Labels, Anomaly)>,
    ) -> Result<(), String> {
        let budget = Budget::new(Limits::default(), self.clock.clone());
        let range = (Timestamp::from_millis(from_ms), Timestamp::from_millis(to_ms));
        let answer = self.engine.range(&self.tenant, &self.query, range, self.config.interval, &budget);
        let Value::Matrix(matrix) = answer.map_err(|e| e.to_string())?.value else {
            return Err("the expression gives no series over time".into());
        };
        for i in 0..matrix.len() {
            let labels = matrix.labels(i);
            if detectors.len() >= self.config.series_max && !detectors.contains_key(labels) {
                return Err(format!(
                    "more than series_max = {} series match; the others are not watched",
                    self.config.series_max
                ));
            }
            let fresh = || Watched { detector: Detector::new(self.detector()), seen_ms: 0 };
            let watched = detectors.entry(labels.clone()).or_insert_with(fresh);
            for (t_ms, value) in matrix.samples(i) {
                watched.seen_ms = t_ms;
                found.extend(watched.detector.push(t_ms, value).map(|anomaly| (labels.clone(), anomaly)));
            }
        }
        Ok(())
    }

    fn detector(&self) -> DetectorConfig {
        DetectorConfig {
            interval: self.config.interval,
            alerts_per_day: self.config.alerts_per_series_day,
            rest: self.config.rest,
        }
    }

    /// Stores an alert and its messages in one transaction; the same alert after a restart is the same document.
    async fn tell(&self, labels: &Labels, anomaly: &Anomaly) {
        let at = Timestamp::from_millis(anomaly.t_ms);
        let identity = format!("{}/{labels}/{}", self.config.name, anomaly.t_ms);
        let hash = blake3::hash(identity.as_bytes()).to_hex();
        let id = format!("{:016x}-{}", anomaly.t_ms, &hash.as_str()[..16]);
        let pairs: serde_json::Map<String, serde_json::Value> =
            labels.iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        let data = json!({ "id": id, "rule": self.config.name, "labels": pairs, "at": at.to_string(),
            "value": anomaly.value, "expected": anomaly.expected, "score": anomaly.score,
            "once_in_days": anomaly.once_in_days, "query": self.config.expr });
        let body = serde_json::to_vec(&data).expect("a JSON value is always JSON");
        let mut transaction = Transaction::default().put(KIND, &id, Expect::Absent, body);
        for (i, webhook) in self.webhooks.iter().enumerate() {
            let message = Message::new(webhook.clone(), "anomaly.alert", &at.to_string(), &data);
            transaction = transaction.send(OutboxItem {
                id: format!("msg_{id}_{i}"),
                queue: webhook.queue(),
                ordering_key: format!("anomaly/{}", self.config.name),
                body: message.to_bytes(),
                not_before: self.clock.now(),
            });
        }
        match self.records.commit(&self.tenant, transaction).await {
            Ok(()) => {
                tracing::info!(rule = self.config.name, %labels, value = anomaly.value, "anomaly");
                self.wake.notify_one();
            }
            Err(error) => tracing::warn!(%error, rule = self.config.name, "an anomaly was not stored"),
        }
    }
}

fn history_ms() -> i64 {
    i64::try_from(HISTORY.as_millis()).unwrap_or(i64::MAX)
}
