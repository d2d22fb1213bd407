//! Sends alerts to Alertmanagers.
//!
//! Unlike webhooks these messages are not kept in the outbox: an alert is told again each minute while it fires and for
//! a quarter of an hour after, so an old message would only be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greylight_store::model::Clock;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::alert::Alert;
use super::file::Rule;
use super::group::Shared;
use crate::deliver::{AllowList, Attempt, Message, Webhook, post};

/// Alerts of one request, as in Prometheus.
const BATCH: usize = 256;
/// Requests that wait for one Alertmanager, about 10,000 alerts; when there are more the new ones are dropped, and
/// counted: they are told again in a minute.
const WAITING_MAX: usize = 40;

/// What became of alerts for one Alertmanager.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// Where alerts are sent.
#[derive(Debug)]
pub(super) struct Notifier {
    pub(super) targets: Vec<Target>,
}

/// One Alertmanager.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) webhook: Webhook,
    pub(super) counts: Arc<Counts>,
    queue: mpsc::Sender<Batch>,
    // Taken when the sender starts.
    waiting: parking_lot::Mutex<Option<mpsc::Receiver<Batch>>>,
}

#[derive(Clone, Debug)]
struct Batch {
    n_alerts: u64,
    body: String,
}

impl Notifier {
    pub(super) fn new(alertmanagers: Vec<Webhook>) -> Self {
        let target = |webhook| {
            let (queue, waiting) = mpsc::channel(WAITING_MAX);
            Target { webhook, counts: Arc::default(), queue, waiting: parking_lot::Mutex::new(Some(waiting)) }
        };
        Self { targets: alertmanagers.into_iter().map(target).collect() }
    }

    /// Hands alerts to every sender; never waits.
    pub(super) fn send(&self, shared: &Shared, rule: &Rule, alerts: Vec<Alert>) {
        if alerts.is_empty() || self.targets.is_empty() {
            return;
        }
        let generator = shared.generator_url(rule);
        for part in alerts.chunks(BATCH) {
            let list: Vec<Value> = part.iter().map(|alert| wire(shared, alert, &generator)).collect();
            let batch = Batch { n_alerts: part.len() as u64, body: Value::Array(list).to_string() };
            for target in &self.targets {
                if target.queue.try_send(batch.clone()).is_err() {
                    target.counts.dropped.fetch_add(batch.n_alerts, Ordering::Relaxed);
                    tracing::warn!(url = %target.webhook.url(), "too many alerts wait for an Alertmanager");
                }
            }
        }
    }

    /// Starts a sender for each Alertmanager.
    pub(super) fn start(
        &self,
        clock: &Arc<dyn Clock>,
        allow: &AllowList,
        timeout: Duration,
        stop: &CancellationToken,
    ) -> Vec<JoinHandle<()>> {
        let begin = |target: &Target| {
            let waiting = target.waiting.lock().take()?;
            let (webhook, counts) = (target.webhook.clone(), target.counts.clone());
            let (clock, allow, stop) = (clock.clone(), allow.clone(), stop.clone());
            Some(tokio::spawn(deliver(waiting, webhook, counts, clock, allow, timeout, stop)))
        };
        self.targets.iter().filter_map(begin).collect()
    }
}

async fn deliver(
    mut waiting: mpsc::Receiver<Batch>,
    webhook: Webhook,
    counts: Arc<Counts>,
    clock: Arc<dyn Clock>,
    allow: AllowList,
    timeout: Duration,
    stop: CancellationToken,
) {
    loop {
        let batch = tokio::select! {
            () = stop.cancelled() => return,
            batch = waiting.recv() => batch,
        };
        let Some(Batch { n_alerts, body }) = batch else { return };
        let now_s = clock.now().as_millis().div_euclid(1000);
        let message = Message { webhook: webhook.clone(), body };
        let attempt = post(&message, "alerts", now_s, &allow, timeout).await;
        counts.sent.fetch_add(n_alerts, Ordering::Relaxed);
        let why = match attempt {
            Attempt::Delivered => continue,
            Attempt::Gone => "answered 410".to_owned(),
            Attempt::Failed { why, .. } => why,
        };
        counts.errors.fetch_add(n_alerts, Ordering::Relaxed);
        tracing::warn!(url = %webhook.url(), why, n_alerts, "alerts did not reach an Alertmanager");
    }
}

fn wire(shared: &Shared, alert: &Alert, generator: &str) -> Value {
    let mut labels: serde_json::Map<String, Value> =
        shared.external_labels.iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect();
    labels.extend(alert.labels.iter().map(|(n, v)| (n.to_owned(), v.into())));
    let annotations: serde_json::Map<String, Value> =
        alert.annotations.iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect();
    let ends = alert.resolved_at.or(alert.valid_until);
    json!({ "labels": labels, "annotations": annotations, "startsAt": alert.fired_at.map(|t| t.to_string()),
        "endsAt": ends.map(|t| t.to_string()), "generatorURL": generator })
}
