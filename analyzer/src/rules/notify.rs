//! Sends alerts to Alertmanagers.
//!
//! Unlike webhooks these messages are not kept in the outbox: an alert is told again each minute while it fires and for
//! a quarter of an hour after, so an old message would only be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greylight_store::model::{Clock, Labels, Timestamp};
use indexmap::IndexMap;
use indexmap::map::Entry;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::alert::Alert;
use super::file::Rule;
use super::group::Shared;
use crate::deliver::{AllowList, Attempt, Message, Webhook, post};

/// Alerts of one request, as in Prometheus.
const BATCH: usize = 256;
/// Alerts that wait for one Alertmanager, as in Prometheus; when there are more the new ones are dropped, and counted:
/// they are told again in a minute.
const WAITING_MAX: usize = 10_000;

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
    queue: Arc<Queue>,
}

/// What waits for one Alertmanager: the latest of each alert, so that a slow receiver hears nothing outdated.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<IndexMap<Labels, Waiting>>,
    wake: Notify,
}

/// An alert as it is sent.
#[derive(Clone, Debug)]
struct Waiting {
    text: Arc<str>,
    /// Until when it may be sent while it fires: later it would be taken for resolved.
    valid_until: Option<Timestamp>,
}

/// What is sent next.
#[derive(Debug, Default)]
struct Batch {
    texts: Vec<Arc<str>>,
    /// Alerts that waited too long and are left out.
    n_late: u64,
}

impl Queue {
    /// Adds alerts; returns how many found no room, and the first of them.
    fn put<'a>(&self, alerts: &'a [(Labels, Waiting)]) -> Option<(u64, &'a Labels)> {
        let mut dropped = None;
        {
            let mut waiting = self.waiting.lock();
            for (labels, alert) in alerts {
                let is_full = waiting.len() >= WAITING_MAX;
                match waiting.entry(labels.clone()) {
                    Entry::Occupied(mut known) => drop(known.insert(alert.clone())),
                    Entry::Vacant(room) if !is_full => drop(room.insert(alert.clone())),
                    Entry::Vacant(_) => dropped.get_or_insert((0, labels)).0 += 1,
                }
            }
        }
        self.wake.notify_one();
        dropped
    }

    /// Takes the alerts of one request, those that have waited longest.
    fn take(&self, now: Timestamp) -> Batch {
        let mut waiting = self.waiting.lock();
        let n = waiting.len().min(BATCH);
        let mut batch = Batch::default();
        for (_, alert) in waiting.drain(..n) {
            if alert.valid_until.is_some_and(|until| until < now) {
                batch.n_late += 1;
            } else {
                batch.texts.push(alert.text);
            }
        }
        batch
    }
}

impl Batch {
    fn body(&self) -> String {
        format!("[{}]", self.texts.join(","))
    }
}

impl Notifier {
    pub(super) fn new(alertmanagers: Vec<Webhook>) -> Self {
        let target = |webhook| Target { webhook, counts: Arc::default(), queue: Arc::default() };
        Self { targets: alertmanagers.into_iter().map(target).collect() }
    }

    /// Hands alerts to every sender; never waits.
    pub(super) fn send(&self, shared: &Shared, rule: &Rule, alerts: Vec<Alert>) {
        if alerts.is_empty() || self.targets.is_empty() {
            return;
        }
        let generator = shared.generator_url(rule);
        let waiting = |alert: Alert| {
            let valid_until = alert.valid_until.filter(|_| alert.resolved_at.is_none());
            let text = wire(shared, &alert, &generator).to_string().into();
            (alert.labels, Waiting { text, valid_until })
        };
        let alerts: Vec<(Labels, Waiting)> = alerts.into_iter().map(waiting).collect();
        for target in &self.targets {
            if let Some((n_dropped, first)) = target.queue.put(&alerts) {
                target.counts.dropped.fetch_add(n_dropped, Ordering::Relaxed);
                let url = target.webhook.url();
                tracing::warn!(%url, n_dropped, %first, "too many alerts wait for an Alertmanager");
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
            let (webhook, counts, queue) =
                (target.webhook.clone(), target.counts.clone(), target.queue.clone());
            let (clock, allow, stop) = (clock.clone(), allow.clone(), stop.clone());
            tokio::spawn(deliver(queue, webhook, counts, clock, allow, timeout, stop))
        };
        self.targets.iter().map(begin).collect()
    }
}

async fn deliver(
    queue: Arc<Queue>,
    webhook: Webhook,
    counts: Arc<Counts>,
    clock: Arc<dyn Clock>,
    allow: AllowList,
    timeout: Duration,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let batch = queue.take(clock.now());
        if batch.n_late > 0 {
            counts.dropped.fetch_add(batch.n_late, Ordering::Relaxed);
            let (url, n_dropped) = (webhook.url(), batch.n_late);
            tracing::warn!(%url, n_dropped, "alerts waited for an Alertmanager until they were no longer valid");
        } else if batch.texts.is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = queue.wake.notified() => {}
            }
        }
        if batch.texts.is_empty() {
            continue;
        }
        let (n_alerts, body) = (batch.texts.len() as u64, batch.body());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(x: &str, text: &str, valid_until: Option<i64>) -> (Labels, Waiting) {
        let valid_until = valid_until.map(Timestamp::from_millis);
        (Labels::from_pairs([("x", x)]).unwrap(), Waiting { text: text.into(), valid_until })
    }

    fn take(queue: &Queue, now: i64) -> (String, u64) {
        let batch = queue.take(Timestamp::from_millis(now));
        (batch.body(), batch.n_late)
    }

    #[test]
    fn the_latest_of_each_alert_is_sent_while_it_is_valid() {
        let queue = Queue::default();
        assert_eq!(queue.put(&[alert("a", "1", Some(5)), alert("b", "2", Some(5))]), None);
        assert_eq!(queue.put(&[alert("a", "3", None), alert("c", "4", Some(9))]), None);
        assert_eq!(take(&queue, 6), ("[3,4]".into(), 1));
        assert_eq!(take(&queue, 6), ("[]".into(), 0));
    }

    #[test]
    fn what_finds_no_room_is_named_and_what_waits_is_still_brought_up_to_date() {
        let queue = Queue::default();
        let many: Vec<_> = (0..WAITING_MAX + 2).map(|n| alert(&n.to_string(), "old", None)).collect();
        assert_eq!(queue.put(&many), Some((2, &many[WAITING_MAX].0)));
        assert_eq!(queue.put(&[alert("0", "new", None)]), None);
        let (body, _) = take(&queue, 0);
        assert_eq!((body.matches("new").count(), body.matches("old").count()), (1, BATCH - 1));
    }
}
