//! One group at work: its schedule, its rules in order, and what answers say of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use greylight_query::promql;
use greylight_query::promql::Engine;
use greylight_store::append::{AppendError, Appender, MetricBatch};
use greylight_store::model::{Clock, HistogramError, Labels, METRIC_NAME, Matcher, TenantId, Timestamp};
use greylight_store::read::{Budget, Limits, ReadError, STALE_NAN_BITS, Select, SpanMs};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::alert::{Active, FOR_STATE, OUTAGE, Spans, State};
use super::evaluate::{EvaluateError, Evaluated, Evaluator, Point};
use super::file::{Kind, Rule};
use super::notify::Notifier;
use super::tell::Teller;

/// What all groups share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) tenant: TenantId,
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    pub(super) appender: Appender,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) external_labels: Arc<BTreeMap<String, String>>,
    pub(super) external_url: Mutex<String>,
    pub(super) notifier: Notifier,
    pub(super) teller: Teller,
    /// Rules evaluated at once, over all groups.
    pub(super) slots: Semaphore,
}

/// Whether a rule can be evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Health {
    #[default]
    Unknown,
    Ok,
    Err,
}

/// How a rule fares.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleStatus {
    pub(super) health: Health,
    pub(super) last_error: String,
    pub(super) took: Duration,
    pub(super) last_at: Option<Timestamp>,
}

/// A rule with its state.
#[derive(Debug)]
pub(super) struct RuleState {
    pub(super) rule: Rule,
    pub(super) status: Mutex<RuleStatus>,
    pub(super) active: Mutex<Active>,
}

/// How a group fares, and what it has done since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupStatus {
    pub(super) last_at: Option<Timestamp>,
    pub(super) took: Duration,
    pub(super) restore_took: Duration,
    pub(super) n_samples: usize,
    pub(super) n_iterations: u64,
    pub(super) n_missed: u64,
    pub(super) n_evaluations: u64,
    pub(super) n_failures: u64,
    pub(super) all_took: Duration,
    pub(super) rules_took: Duration,
    pub(super) all_rules_took: Duration,
}

/// A group with its state.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) interval: Duration,
    pub(super) query_offset: Duration,
    pub(super) limit: i64,
    pub(super) rules: Vec<Arc<RuleState>>,
    pub(super) status: Mutex<GroupStatus>,
}

/// The evaluation of a group, step by step.
#[derive(Debug)]
pub(super) struct Runner {
    shared: Arc<Shared>,
    group: Arc<GroupState>,
    /// What each rule wrote last, so that what is gone can be marked.
    written: Vec<Written>,
    n_evaluated: u64,
    /// When the group is due next.
    next: Timestamp,
    /// Ends the group, its query under way included.
    stop: CancellationToken,
}

/// What one rule wrote when it last wrote.
#[derive(Clone, Debug, Default)]
struct Written {
    t_ms: Option<i64>,
    series: HashSet<Labels>,
}

/// Returns what rule `i` wrote before and now does not, to be marked as gone at `t_ms`.
///
/// Not what another rule gives: one before it has written it at this instant, and one after it that wrote it last is
/// about to, or will mark it itself.
fn gone<'a>(written: &'a [Written], i: usize, t_ms: i64, now: &HashSet<Labels>) -> Vec<&'a Labels> {
    let is_of_another = |labels: &Labels| {
        let mut others = written.iter().enumerate().filter(|(j, _)| *j != i);
        others.any(|(j, other)| (j > i || other.t_ms == Some(t_ms)) && other.series.contains(labels))
    };
    written[i].series.iter().filter(|labels| !now.contains(*labels) && !is_of_another(labels)).collect()
}

impl GroupState {
    /// Returns the last instant, up to now, at which the group is due: a whole number of intervals, moved by a hash of
    /// file and name so that groups do not all begin at once.
    fn slot(&self, now: Timestamp) -> Timestamp {
        let interval = i64::try_from(self.interval.as_nanos()).unwrap_or(i64::MAX).max(1);
        let hash = blake3::hash(format!("{}\u{ff}{}", self.file, self.name).as_bytes());
        let first: [u8; 8] = hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes");
        let offset = i64::try_from(u64::from_le_bytes(first) % interval.unsigned_abs()).unwrap_or(0);
        let moved = now.as_nanos().saturating_sub(offset);
        Timestamp::from_nanos(moved.saturating_sub(moved.rem_euclid(interval)).saturating_add(offset))
    }
}

/// Returns how many intervals lie between an evaluation and the next one that is due, at least one.
fn steps(at: Timestamp, now: Timestamp, interval: Duration) -> u32 {
    let passed = now.since(at).as_nanos() / interval.as_nanos().max(1);
    u32::try_from(passed).unwrap_or(u32::MAX).max(1)
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, group: Arc<GroupState>, stop: CancellationToken) -> Self {
        let written = vec![Written::default(); group.rules.len()];
        let next = group.slot(shared.clock.now()).saturating_add(group.interval);
        Self { shared, group, written, n_evaluated: 0, next, stop }
    }

    /// Evaluates the group whenever it is due, until it is stopped.
    pub(super) async fn run(mut self) {
        let (shared, group, stop) = (self.shared.clone(), self.group.clone(), self.stop.clone());
        let interval = group.interval;
        let mut at = self.next;
        loop {
            let now = shared.clock.now();
            if now < at.saturating_sub(interval) {
                // The clock was set back: waiting for the old time would stop the group.
                at = group.slot(now).saturating_add(interval);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = shared.clock.sleep(at.since(now)) => {}
            }
            if shared.clock.now() < at {
                // It was set back meanwhile: nothing has been measured at an instant that is to come.
                continue;
            }
            self.iterate(at).await;
            let n = steps(at, shared.clock.now(), interval);
            group.status.lock().miss(u64::from(n - 1));
            at = at.saturating_add(interval.saturating_mul(n));
        }
    }

    /// Evaluates all rules as of one instant; leaves out the rest when it is stopped.
    pub(super) async fn iterate(&mut self, at: Timestamp) {
        let (shared, group) = (self.shared.clone(), self.group.clone());
        let (begun_at, begun) = (shared.clock.now(), shared.clock.elapsed());
        let mut n_samples = 0;
        let mut rules_took = Duration::ZERO;
        for i in 0..group.rules.len() {
            let (rule_at, rule_begun) = (shared.clock.now(), shared.clock.elapsed());
            let outcome = self.rule(i, at).await;
            if self.stop.is_cancelled() {
                // Nobody sees the counts any more, and a query that was cancelled is no failure of its rule.
                return;
            }
            let took = shared.clock.elapsed().saturating_sub(rule_begun);
            rules_took += took;
            let mut status = group.rules[i].status.lock();
            (status.took, status.last_at) = (took, Some(rule_at));
            let mut counts = group.status.lock();
            counts.n_evaluations += 1;
            match outcome {
                Ok(n) => {
                    n_samples += n;
                    (status.health, status.last_error) = (Health::Ok, String::new());
                }
                Err(error) => {
                    counts.n_failures += 1;
                    (status.health, status.last_error) = (Health::Err, error.to_string());
                    let rule = &group.rules[i].rule.name;
                    tracing::warn!(file = group.file, group = group.name, rule, %error, "a rule failed");
                }
            }
        }
        let took = shared.clock.elapsed().saturating_sub(begun);
        group.status.lock().note(begun_at, took, rules_took, n_samples);
        self.n_evaluated += 1;
        // Before the second evaluation data may still be missing, so that alerts to restore may not be there.
        if self.n_evaluated == 2 {
            self.restore(at).await;
        }
    }

    /// Evaluates one rule, tells of its alerts and writes its series; returns how many there are.
    async fn rule(&mut self, i: usize, at: Timestamp) -> Result<usize, RuleError> {
        let (shared, group) = (self.shared.clone(), self.group.clone());
        let state = group.rules[i].clone();
        let found = {
            let _slot = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(RuleError::Ending),
                slot = shared.slots.acquire() => slot.map_err(|_| RuleError::Ending)?,
            };
            let (shared, state, group) = (shared.clone(), state.clone(), group.clone());
            self.blocking(move |budget| evaluate(&shared, &group, &state.rule, at, budget)).await?
        };
        if let Err(EvaluateError::Alerts(_)) = found {
            state.active.lock().clear();
        }
        let found = found?;
        if self.stop.is_cancelled() {
            // A template's query that was cancelled stands as a mistake in its text: nobody is told that.
            return Err(RuleError::Ending);
        }
        let points = match found {
            Evaluated::Points(points) => points,
            Evaluated::Alerts(found) => {
                let (points, due) = {
                    let mut active = state.active.lock();
                    let series = active.update(at, found, spans(&state.rule), group.limit)?;
                    let points = series.into_iter().map(|(labels, v)| Point::float(labels, v)).collect();
                    (points, active.due(at, group.interval))
                };
                shared.notifier.send(&shared, &state.rule, due);
                shared.teller.reconcile(&shared, &group, &state, at).await;
                points
            }
        };
        let t_ms = at.saturating_sub(group.query_offset).as_millis();
        self.write(i, t_ms, points).await
    }

    /// Runs queries where they block nobody; they end early when the group is stopped.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Budget) -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let budget = Budget::new(self.shared.limits, self.shared.clock.clone());
        let handle = budget.clone();
        let mut work = tokio::task::spawn_blocking(move || work(&budget));
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = self.stop.cancelled() => handle.cancel(),
        }
        work.await
    }

    async fn write(&mut self, i: usize, t_ms: i64, points: Vec<Point>) -> Result<usize, RuleError> {
        let mut batch = self.shared.appender.empty_batch();
        let (mut now, n) = (HashSet::with_capacity(points.len()), points.len());
        for point in points {
            push(&mut batch, t_ms, &point)?;
            now.insert(point.labels);
        }
        let stale = f64::from_bits(STALE_NAN_BITS);
        for gone in gone(&self.written, i, t_ms, &now) {
            batch.start_labels(gone).push(t_ms, stale);
        }
        self.shared.appender.metrics(&self.shared.tenant, batch).await?;
        self.written[i] = Written { t_ms: Some(t_ms), series: now };
        Ok(n)
    }

    /// Reads since when alerts waited before the server was started.
    async fn restore(&mut self, at: Timestamp) {
        let (shared, group) = (self.shared.clone(), self.group.clone());
        let begun = shared.clock.elapsed();
        for state in &group.rules {
            let Kind::Alerting(alerting) = &state.rule.kind else { continue };
            let hold = alerting.hold;
            let (asked, name, now) = (shared.clone(), state.rule.name.clone(), shared.clock.now());
            let work = self.blocking(move |budget| for_states(&asked, &name, now, budget)).await;
            if self.stop.is_cancelled() {
                return;
            }
            let stored = match work.map_err(RuleError::from).and_then(|read| Ok(read?)) {
                Ok(stored) => stored,
                Err(error) => {
                    // There is no second try: rules must run on.
                    let rule = &state.rule.name;
                    tracing::error!(file = group.file, group = group.name, rule, %error,
                        "since when alerts wait could not be read");
                    HashMap::new()
                }
            };
            state.active.lock().restore(now, hold, &stored);
        }
        // What a rule that failed would find is not known.
        for state in group.rules.iter().filter(|state| state.status.lock().health == Health::Ok) {
            shared.teller.reconcile(&shared, &group, state, at).await;
        }
        group.status.lock().restore_took = shared.clock.elapsed().saturating_sub(begun);
    }
}

fn spans(rule: &Rule) -> Spans {
    match &rule.kind {
        Kind::Alerting(alerting) => Spans { hold: alerting.hold, keep_firing: alerting.keep_firing },
        Kind::Recording => Spans::default(),
    }
}

fn push(batch: &mut MetricBatch, t_ms: i64, point: &Point) -> Result<(), HistogramError> {
    let mut writer = batch.start_labels(&point.labels);
    match &point.histogram {
        Some(histogram) => writer.push_histogram(t_ms, histogram.as_ref().clone()),
        None => {
            writer.push(t_ms, point.value);
            Ok(())
        }
    }
}

fn evaluate(
    shared: &Shared,
    group: &GroupState,
    rule: &Rule,
    at: Timestamp,
    budget: &Budget,
) -> Result<Evaluated, EvaluateError> {
    let external_url = shared.external_url.lock().clone();
    let evaluator = Evaluator {
        tenant: &shared.tenant,
        engine: &shared.engine,
        budget,
        external_labels: shared.external_labels.clone(),
        external_url,
    };
    evaluator.run(rule, at, group.query_offset, group.limit)
}

type States = HashMap<Labels, (i64, f64)>;

/// Reads the last sample of each series of an alert's states, by labels without the name.
fn for_states(shared: &Shared, alert: &str, now: Timestamp, budget: &Budget) -> Result<States, ReadError> {
    let matchers = [Matcher::equal(METRIC_NAME, FOR_STATE), Matcher::equal("alertname", alert)];
    let span = SpanMs { start: now.saturating_sub(OUTAGE).as_millis(), end: now.as_millis() };
    let select = Select { matchers: &matchers, span };
    let selection = shared.engine.source().select(&shared.tenant, &select, budget)?;
    let names: Vec<Labels> =
        selection.series().iter().map(|labels| labels.to_builder().remove(METRIC_NAME).build()).collect();
    let mut states = HashMap::new();
    selection.read(0..names.len(), budget, &mut |i, samples| {
        if let (Some(t_ms), Some(value)) = (samples.t_ms.last(), samples.values.last()) {
            states.insert(names[i].clone(), (*t_ms, *value));
        }
    })?;
    Ok(states)
}

/// Why a rule gave nothing.
#[derive(Debug, thiserror::Error)]
enum RuleError {
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Limit(#[from] super::alert::LimitError),
    #[error("a result cannot be stored: {0}")]
    Histogram(#[from] HistogramError),
    #[error("the result was not stored: {0}")]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the evaluation failed for a fault of ours: {0}")]
    Panicked(#[from] tokio::task::JoinError),
    #[error("the server is ending")]
    Ending,
}

impl GroupStatus {
    fn note(&mut self, at: Timestamp, took: Duration, rules_took: Duration, n_samples: usize) {
        self.n_iterations += 1;
        self.all_took = self.all_took.saturating_add(took);
        self.all_rules_took = self.all_rules_took.saturating_add(rules_took);
        (self.last_at, self.took, self.rules_took, self.n_samples) = (Some(at), took, rules_took, n_samples);
    }

    fn miss(&mut self, n: u64) {
        self.n_missed += n;
        // They were due all the same.
        self.n_iterations += n;
    }
}

impl RuleState {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, status: Mutex::default(), active: Mutex::default() }
    }

    /// Returns the worst state of the rule's alerts.
    pub(super) fn state(&self) -> State {
        self.active.lock().state()
    }
}

/// Returns how the engine of rules evaluates.
pub(super) fn engine_options() -> promql::EngineOptions {
    promql::EngineOptions::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, interval: Duration) -> GroupState {
        GroupState {
            file: "f.yml".into(),
            name: name.into(),
            interval,
            query_offset: Duration::ZERO,
            limit: 0,
            rules: Vec::new(),
            status: Mutex::default(),
        }
    }

    #[test]
    fn slots_lie_an_interval_apart_and_up_to_now() {
        let minute = Duration::from_secs(60);
        let a = group("a", minute);
        let now = Timestamp::from_millis(1_795_255_217_123);
        let slot = a.slot(now);
        assert!(slot <= now && now.since(slot) < minute);
        assert_eq!(a.slot(slot), slot);
        assert_eq!(a.slot(now.saturating_add(minute)), slot.saturating_add(minute));
        assert_ne!(group("b", minute).slot(now), slot, "groups begin at different times");
    }

    #[test]
    fn what_another_rule_gives_is_not_marked_as_gone() {
        let labels = |x: &str| Labels::from_pairs([("x", x)]).unwrap();
        let of =
            |t_ms, xs: &[&str]| Written { t_ms: Some(t_ms), series: xs.iter().map(|x| labels(x)).collect() };
        // The first rule has written at 2, the third failed and the fourth is still to come.
        let written = [of(2, &["a"]), of(1, &["a", "b", "c", "d", "e"]), Written::default(), of(1, &["b"])];
        let now = HashSet::from([labels("c")]);
        let marked = |t_ms| {
            let mut marked: Vec<String> =
                gone(&written, 1, t_ms, &now).iter().map(|l| l.get("x").unwrap().to_owned()).collect();
            marked.sort();
            marked.join(" ")
        };
        assert_eq!(marked(2), "d e");
        assert_eq!(marked(3), "a d e", "the first rule failed at this instant");
    }

    #[test]
    fn what_took_too_long_misses_instants() {
        let minute = Duration::from_secs(60);
        let at = Timestamp::from_millis(0);
        for (now_s, want) in [(5, 1), (60, 1), (90, 1), (119, 1), (120, 2), (301, 5)] {
            assert_eq!(steps(at, Timestamp::from_millis(now_s * 1000), minute), want, "{now_s}");
        }
    }
}
