//! Tells webhooks when alerts begin to fire and when they end.
//!
//! What was told is a document for each alert that fires; it changes in the transaction that puts the message into the
//! outbox. After each evaluation the documents are held against the alerts, so nothing is told twice over a restart,
//! and what ended meanwhile is told too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use greylight_store::model::{Labels, Timestamp};
use greylight_store::records::{Expect, OutboxItem, Page, Records, RecordsError, Transaction};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::alert::{Alert, State, Texts};
use super::file::Kind;
use super::group::{GroupState, Health, RuleState, Shared};
use crate::deliver::{Message, Webhook};

const KIND: &str = "alert";
/// Alerts of one message and one transaction.
const BATCH: usize = 100;
/// So long after the start, at least, an alert told before it is not told to have ended: what its rule reads may
/// still be missing, since senders and scrapes begin again with the server.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// Holds what was told.
#[derive(Debug)]
pub(super) struct Teller {
    webhooks: Vec<Webhook>,
    records: Records,
    wake: Arc<Notify>,
    told: Mutex<BTreeMap<RuleId, HashMap<Labels, Told>>>,
    /// The clock's running time at the start.
    started: Mutex<Duration>,
}

/// Names a rule over restarts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RuleId {
    file: String,
    group: String,
    rule: String,
}

/// An alert that was told to fire.
#[derive(Clone, Debug)]
struct Told {
    since: Timestamp,
    annotations: Texts,
    /// It was told before the start and has not been found since.
    is_old: bool,
}

/// On disk, format 1.
mod format {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Document {
        pub(super) version: u32,
        pub(super) file: String,
        pub(super) group: String,
        pub(super) rule: String,
        pub(super) labels: BTreeMap<String, String>,
        pub(super) annotations: BTreeMap<String, String>,
        pub(super) since_ms: i64,
    }
}

/// One thing to be told.
#[derive(Clone, Debug)]
struct News {
    labels: Labels,
    annotations: Texts,
    since: Timestamp,
    /// When it ended, and nothing while it fires.
    ended: Option<Timestamp>,
    value: Option<f64>,
}

impl Teller {
    pub(super) fn new(webhooks: Vec<Webhook>, records: Records, wake: Arc<Notify>) -> Self {
        Self { webhooks, records, wake, told: Mutex::default(), started: Mutex::default() }
    }

    /// Reads what was told before the start; alerts of rules that are gone are told to have ended.
    pub(super) async fn start(
        &self,
        shared: &Shared,
        groups: &[Arc<GroupState>],
    ) -> Result<(), RecordsError> {
        if self.webhooks.is_empty() {
            return Ok(());
        }
        let mut told: BTreeMap<RuleId, HashMap<Labels, Told>> = BTreeMap::new();
        for document in self.records.list(&shared.tenant, KIND, Page::default()).await? {
            let Some((id, labels, one)) = read(&document.body) else {
                tracing::warn!(id = document.id, "what was told of an alert cannot be read");
                continue;
            };
            told.entry(id).or_default().insert(labels, one);
        }
        let is_known = |id: &RuleId| {
            let here = groups.iter().filter(|g| g.file == id.file && g.name == id.group);
            here.flat_map(|g| &g.rules).any(|state| state.rule.name == id.rule)
        };
        let gone: Vec<RuleId> = told.keys().filter(|id| !is_known(id)).cloned().collect();
        *self.told.lock() = told;
        *self.started.lock() = shared.clock.elapsed();
        for id in gone {
            let now = shared.clock.now();
            self.tell(shared, (&id, None), "", now, self.ended(&id, now, |_, _| true)).await;
        }
        Ok(())
    }

    /// Tells what is new about a rule's alerts.
    pub(super) async fn reconcile(
        &self,
        shared: &Shared,
        group: &GroupState,
        state: &RuleState,
        at: Timestamp,
    ) {
        if self.webhooks.is_empty() || !matches!(state.rule.kind, Kind::Alerting(_)) {
            return;
        }
        let rule = state.rule.name.clone();
        // Alerts of one name may be those of several rules of the group. Those of a rule that fails are not known: it
        // may find them still.
        let mut is_sure = true;
        let same = |other: &Arc<RuleState>| other.rule.name == rule;
        let mut current: HashMap<Labels, Alert> = HashMap::new();
        for other in group.rules.iter().filter(|other| same(other)) {
            let is_other = !std::ptr::eq(Arc::as_ptr(other), state);
            is_sure &= !(is_other && other.status.lock().health == Health::Err);
            let active = other.active.lock();
            if !active.is_restored() {
                return;
            }
            current.extend(active.current().map(|alert| (alert.labels.clone(), alert.clone())));
        }
        let id = RuleId { file: group.file.clone(), group: group.name.clone(), rule };
        self.note_found(&id, &current);
        let running = shared.clock.elapsed().saturating_sub(*self.started.lock());
        let is_settled = running >= grace(group.interval);
        let may_end = |labels: &Labels, told: &Told| {
            is_sure && !current.contains_key(labels) && (is_settled || !told.is_old)
        };
        let mut news = self.ended(&id, at, may_end);
        {
            let told = self.told.lock();
            let known = told.get(&id);
            let fresh = current.into_values().filter(|alert| {
                alert.state == State::Firing && !known.is_some_and(|told| told.contains_key(&alert.labels))
            });
            news.extend(fresh.map(|alert| News {
                since: alert.fired_at.unwrap_or(at),
                labels: alert.labels,
                annotations: alert.annotations,
                ended: None,
                value: Some(alert.value),
            }));
        }
        if !news.is_empty() {
            let place = group.rules.iter().position(|other| std::ptr::eq(Arc::as_ptr(other), state));
            self.tell(shared, (&id, place), &shared.generator_url(&state.rule), at, news).await;
        }
    }

    /// Notes which of the alerts told before the start hold on.
    fn note_found(&self, id: &RuleId, current: &HashMap<Labels, Alert>) {
        if let Some(known) = self.told.lock().get_mut(id) {
            for (labels, told) in known {
                told.is_old &= !current.contains_key(labels);
            }
        }
    }

    /// Lists alerts of a rule that were told to fire and have ended.
    fn ended(&self, id: &RuleId, at: Timestamp, has_ended: impl Fn(&Labels, &Told) -> bool) -> Vec<News> {
        let told = self.told.lock();
        let Some(known) = told.get(id) else { return Vec::new() };
        let gone = known.iter().filter(|(labels, told)| has_ended(labels, told));
        gone.map(|(labels, told)| News {
            labels: labels.clone(),
            annotations: told.annotations.clone(),
            since: told.since,
            ended: Some(at),
            value: None,
        })
        .collect()
    }

    /// Puts news into the outbox; `place` is that of the rule in its group, if it still has one.
    async fn tell(
        &self,
        shared: &Shared,
        (id, place): (&RuleId, Option<usize>),
        generator: &str,
        at: Timestamp,
        mut news: Vec<News>,
    ) {
        news.sort_by(|a, b| a.labels.cmp(&b.labels));
        for (n, part) in news.chunks(BATCH).enumerate() {
            let transaction =
                self.transaction(shared, id, generator, (at, &batch_id(id, place, at, n)), part);
            match self.records.commit(&shared.tenant, transaction).await {
                Ok(()) => {
                    self.note(id, part);
                    self.wake.notify_one();
                }
                // Nothing is noted, so the next evaluation tries again.
                Err(error) => {
                    tracing::warn!(%error, rule = id.rule, "alerts were not put into the outbox");
                    return;
                }
            }
        }
    }

    fn transaction(
        &self,
        shared: &Shared,
        id: &RuleId,
        generator: &str,
        (at, batch): (Timestamp, &str),
        part: &[News],
    ) -> Transaction {
        let mut transaction = Transaction::default();
        for one in part {
            let name = document_id(id, &one.labels);
            transaction = match one.ended {
                Some(_) => transaction.delete(KIND, name, Expect::Any),
                None => transaction.put(KIND, name, Expect::Any, written(id, one)),
            };
        }
        let alerts: Vec<Value> = part.iter().map(wire).collect();
        let data = json!({ "file": id.file, "group": id.group, "rule": id.rule, "generator_url": generator,
            "external_labels": *shared.external_labels, "alerts": alerts });
        for (i, webhook) in self.webhooks.iter().enumerate() {
            let message = Message::new(webhook.clone(), "rules.alerts", &at.to_string(), &data);
            transaction = transaction.send(OutboxItem {
                id: format!("msg_alerts_{batch}_{i}"),
                queue: webhook.queue(),
                ordering_key: format!("alerts/{}/{}", id.group, id.rule),
                body: message.to_bytes(),
                not_before: shared.clock.now(),
            });
        }
        transaction
    }

    fn note(&self, id: &RuleId, part: &[News]) {
        let mut told = self.told.lock();
        let known = told.entry(id.clone()).or_default();
        for one in part {
            match one.ended {
                Some(_) => drop(known.remove(&one.labels)),
                None => {
                    let new = Told { since: one.since, annotations: one.annotations.clone(), is_old: false };
                    known.insert(one.labels.clone(), new);
                }
            }
        }
        if known.is_empty() {
            told.remove(id);
        }
    }
}

/// Returns how long after the start alerts told before it are left alone: two evaluations at least.
fn grace(interval: Duration) -> Duration {
    GRACE.max(interval.saturating_mul(2))
}

/// Names a message: the `n`th of one evaluation of one rule. Rules of one name are told apart by their place.
fn batch_id(id: &RuleId, place: Option<usize>, at: Timestamp, n: usize) -> String {
    let text = format!("{id:?}/{place:?}/{}/{n}", at.as_nanos());
    blake3::hash(text.as_bytes()).to_hex().as_str()[..32].to_owned()
}

fn document_id(id: &RuleId, labels: &Labels) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in [&id.file, &id.group, &id.rule] {
        hasher.update(text.as_bytes());
        hasher.update(&[0xff]);
    }
    hasher.update(labels.as_bytes());
    hasher.finalize().to_hex().as_str()[..32].to_owned()
}

fn written(id: &RuleId, one: &News) -> Vec<u8> {
    let document = format::Document {
        version: 1,
        file: id.file.clone(),
        group: id.group.clone(),
        rule: id.rule.clone(),
        labels: one.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        annotations: one.annotations.iter().cloned().collect(),
        since_ms: one.since.as_millis(),
    };
    serde_json::to_vec(&document).expect("texts always become JSON")
}

fn read(body: &[u8]) -> Option<(RuleId, Labels, Told)> {
    let document: format::Document = serde_json::from_slice(body).ok()?;
    if document.version != 1 {
        return None;
    }
    let labels = Labels::from_pairs(&document.labels).ok()?;
    let id = RuleId { file: document.file, group: document.group, rule: document.rule };
    let annotations = document.annotations.into_iter().collect();
    Some((id, labels, Told { since: Timestamp::from_millis(document.since_ms), annotations, is_old: true }))
}

fn wire(one: &News) -> Value {
    let labels: serde_json::Map<String, Value> =
        one.labels.iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
    let annotations: serde_json::Map<String, Value> =
        one.annotations.iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect();
    json!({ "status": if one.ended.is_some() { "resolved" } else { "firing" }, "labels": labels,
        "annotations": annotations, "starts_at": one.since.to_string(),
        "ends_at": one.ended.map(|t| t.to_string()), "value": one.value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_rules_of_one_name_have_ids_of_their_own() {
        let id = RuleId { file: "f".into(), group: "g".into(), rule: "r".into() };
        let at = Timestamp::from_millis(1);
        let first = batch_id(&id, Some(0), at, 0);
        assert_eq!(first, batch_id(&id, Some(0), at, 0));
        for other in
            [batch_id(&id, Some(1), at, 0), batch_id(&id, None, at, 0), batch_id(&id, Some(0), at, 1)]
        {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn alerts_told_before_the_start_are_left_alone_for_two_evaluations_at_least() {
        for (interval_s, want_s) in [(15, 300), (60, 300), (600, 1200)] {
            assert_eq!(grace(Duration::from_secs(interval_s)), Duration::from_secs(want_s), "{interval_s}");
        }
    }
}
