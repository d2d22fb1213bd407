//! Runs backtests one after the other, and keeps what they came to.
//!
//! | kind | id | body |
//! |---|---|---|
//! | `backtest` | backtest id (ULID) | [`BacktestFormat`] |
//! | `backtest_live` | backtest id | empty; present while it waits or runs |

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use greylight_store::model::{Clock, ErrorKind, MatchOp, Problem, Random, TenantId, Timestamp};
use greylight_store::records::{Document, Expect, Order, Page, Records, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::history::History;
use super::plan::{Plan, Stopped};
use super::read::{INTERVALS_MAX, Reader, edges};
use super::request::NewBacktest;
use super::run::{Watch, backtest};
use super::wire::ReportJson;
use crate::collect::Collector;
use crate::policies::{self, policy_problem, problem};
use crate::policy::{self, Queries};
use crate::release::cohort;
use crate::release::request::PolicyRequest;
use crate::release::service::{Filter, Releases};
use crate::verdict::Decision;

const KIND: &str = "backtest";
const LIVE: &str = "backtest_live";
const VERSION: u32 = 1;
/// Backtests at work at once: each may hold half a gigabyte.
const AT_ONCE: usize = 1;
/// Backtests that run or wait, of all tenants.
const LIVE_MAX: usize = 8;
/// Backtests of a tenant that are kept; of more the oldest go.
const KEPT_MAX: usize = 200;
/// Longest release in intervals: each look reads all intervals before it.
const RELEASE_MAX: usize = 5_000;

/// All backtests. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Backtests(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    records: Records,
    collector: Collector,
    releases: Releases,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    live: Mutex<HashMap<(TenantId, String), Arc<Live>>>,
    places: Semaphore,
    /// Places of the judge, shared with all who ask it: a backtest holds one, and gives it up after each release.
    judges: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A backtest that waits or runs.
#[derive(Debug)]
struct Live {
    work: AtomicU8,
    done: AtomicUsize,
    of: AtomicUsize,
    cancel: CancellationToken,
    has_ended: watch::Sender<bool>,
}

/// What a backtest does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Waiting,
    Reading,
    Judging,
}

impl Work {
    const ALL: [Self; 3] = [Self::Waiting, Self::Reading, Self::Judging];

    fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Reading => "reading",
            Self::Judging => "judging",
        }
    }
}

impl Live {
    fn new(stop: &CancellationToken) -> Self {
        Self {
            work: AtomicU8::new(Work::Waiting as u8),
            done: AtomicUsize::new(0),
            of: AtomicUsize::new(0),
            cancel: stop.child_token(),
            has_ended: watch::Sender::new(false),
        }
    }

    fn tell(&self, work: Work, done: usize, of: usize) {
        self.work.store(work as u8, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
        self.of.store(of, Ordering::Relaxed);
    }

    fn work(&self) -> Work {
        let now = self.work.load(Ordering::Relaxed);
        Work::ALL.into_iter().find(|work| *work as u8 == now).unwrap_or(Work::Waiting)
    }

    fn progress(&self) -> Value {
        let (done, of) = (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed));
        json!({ "work": self.work().word(), "done": done, "of": of })
    }
}

/// A backtest as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct BacktestFormat {
    version: u32,
    /// `running` from its start on, then `done`, `failed`, `cancelled` or `interrupted`.
    state: String,
    created_at_ns: i64,
    ended_at_ns: Option<i64>,
    request: Value,
    policy_name: String,
    policy_revision: Option<u64>,
    /// As it judged.
    policy: Value,
    error: Option<Value>,
    report: Option<ReportJson>,
}

const RUNNING: &str = "running";

impl Backtests {
    pub(crate) fn new(
        records: Records,
        collector: Collector,
        releases: Releases,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        judges: Arc<Semaphore>,
    ) -> Self {
        Self(Arc::new(Inner {
            records,
            collector,
            releases,
            clock,
            random,
            live: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
            judges,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Returns the places of the judge, for those who ask it beside backtests.
    pub(crate) fn judges(&self) -> Arc<Semaphore> {
        self.0.judges.clone()
    }

    /// Marks what ran when the server ended: its history was in memory.
    pub(crate) async fn resume(&self) -> Result<(), Problem> {
        for tenant in self.0.records.tenants().await.map_err(|e| problem(&e))? {
            let all = self.0.records.list(&tenant, LIVE, Page::default()).await.map_err(|e| problem(&e))?;
            for id in all.into_iter().map(|document| document.id) {
                let error = Problem::new(
                    ErrorKind::Unavailable,
                    "the server ended while it ran; ask for it again: the same seed gives the same answer",
                );
                self.end(&tenant, &id, "interrupted", Some(&error), None).await?;
            }
        }
        Ok(())
    }

    /// Ends what runs; the next start marks it.
    pub(crate) async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Starts a backtest, or has it wait for its turn.
    pub(crate) async fn start(&self, tenant: &TenantId, body: Value) -> Result<Value, Problem> {
        let asked = NewBacktest::parse(&body)?;
        let (name, revision, document) = self.pin(tenant, &asked.policy).await?;
        let of_policy = |problem: Problem| {
            let field = problem.field.as_ref().map_or("policy".to_owned(), |field| format!("policy.{field}"));
            problem.field(field)
        };
        let policy = policy::from_document(&document, Queries::Required)
            .and_then(|policy| policy::check_queries(&document).map(|()| policy))
            .map_err(|e| of_policy(policy_problem(&e)))?;
        self.0.releases.check_sources(tenant, &policy, &document).map_err(of_policy)?;
        let plan = Plan {
            canary_hosts: asked.canary_hosts,
            runs: asked.runs,
            seed: asked.seed,
            effects: asked.effects.clone(),
            placebos: asked.placebos,
            policy,
        };
        let now = self.0.clock.now();
        check_range(&asked, &plan, now)?;
        let id = self.ulid(now);
        let live = Arc::new(Live::new(&self.0.stop));
        {
            let mut all = self.0.live.lock();
            if all.len() >= LIVE_MAX {
                let text = format!("{LIVE_MAX} backtests run or wait already; try again later, or end one");
                return Err(Problem::new(ErrorKind::RateLimited, text).limit(LIVE_MAX));
            }
            all.insert((tenant.clone(), id.clone()), live.clone());
        }
        let format = BacktestFormat {
            version: VERSION,
            state: RUNNING.to_owned(),
            created_at_ns: now.as_nanos(),
            ended_at_ns: None,
            request: body,
            policy_name: name.unwrap_or_else(|| plan.policy.name.clone()),
            policy_revision: revision,
            policy: document,
            error: None,
            report: None,
        };
        if let Err(problem) = self.store_new(tenant, &id, &format).await {
            self.0.live.lock().remove(&(tenant.clone(), id));
            return Err(problem);
        }
        let answer = wire(&id, &format, Some(&live));
        let (backtests, tenant) = (self.clone(), tenant.clone());
        self.0.tasks.spawn(async move { backtests.run(&tenant, &id, &live, asked, plan).await });
        Ok(answer)
    }

    async fn pin(
        &self,
        tenant: &TenantId,
        policy: &PolicyRequest,
    ) -> Result<(Option<String>, Option<u64>, Value), Problem> {
        match policy {
            PolicyRequest::Inline(document) => Ok((None, None, document.clone())),
            PolicyRequest::Named(name) => {
                let stored = self.0.releases.policies().get(tenant, name).await?;
                let stored =
                    stored.ok_or_else(|| policies::not_found(name).field("policy").value(name.clone()))?;
                Ok((Some(stored.name), Some(stored.revision), stored.document))
            }
        }
    }

    fn ulid(&self, now: Timestamp) -> String {
        let ms = u64::try_from(now.as_millis()).unwrap_or(0);
        let random = (u128::from(self.0.random.next_u64()) << 64) | u128::from(self.0.random.next_u64());
        ulid::Ulid::from_parts(ms, random).to_string()
    }

    /// Stores a new backtest, and drops the oldest where there are too many.
    async fn store_new(&self, tenant: &TenantId, id: &str, format: &BacktestFormat) -> Result<(), Problem> {
        let page = Page { order: Order::Descending, limit: 2 * KEPT_MAX, ..Page::default() };
        let known = self.0.records.list(tenant, KIND, page).await.map_err(|e| problem(&e))?;
        let mut transaction = Transaction::default().put(KIND, id, Expect::Absent, encode(format)?).put(
            LIVE,
            id,
            Expect::Absent,
            Vec::new(),
        );
        let old = known.into_iter().skip(KEPT_MAX - 1).map(|document| document.id);
        let live: BTreeSet<String> = self.0.live.lock().keys().map(|(_, id)| id.clone()).collect();
        for old in old.filter(|old| !live.contains(old)) {
            transaction = transaction.delete(KIND, old, Expect::Any);
        }
        self.0.records.commit(tenant, transaction).await.map_err(|e| problem(&e))
    }

    /// Reads, judges and stores what it came to.
    async fn run(&self, tenant: &TenantId, id: &str, live: &Arc<Live>, asked: NewBacktest, plan: Plan) {
        let report = self.report(tenant, live, asked, plan).await;
        let stored = match report {
            Ok(report) => self.end(tenant, id, "done", None, Some(report)).await,
            // The next start says that it was interrupted.
            Err(_) if self.0.stop.is_cancelled() => Ok(()),
            Err(Failure::Stopped(Stopped::Cancelled)) => self.end(tenant, id, "cancelled", None, None).await,
            Err(Failure::Stopped(Stopped::Unfit { field, text })) => {
                let error = Problem::new(ErrorKind::Invalid, text).field(field);
                self.end(tenant, id, "failed", Some(&error), None).await
            }
            Err(Failure::Broken(error)) => {
                tracing::error!(backtest = id, %error, "a backtest failed");
                self.end(tenant, id, "failed", Some(&error), None).await
            }
        };
        if let Err(error) = stored {
            tracing::error!(backtest = id, %error, "what a backtest came to could not be stored");
        }
        self.0.live.lock().remove(&(tenant.clone(), id.to_owned()));
        live.has_ended.send_replace(true);
    }

    async fn report(
        &self,
        tenant: &TenantId,
        live: &Arc<Live>,
        asked: NewBacktest,
        plan: Plan,
    ) -> Result<ReportJson, Failure> {
        let _place = tokio::select! {
            place = self.0.places.acquire() => place.map_err(|_| Stopped::Cancelled)?,
            () = live.cancel.cancelled() => return Err(Stopped::Cancelled.into()),
        };
        let refused = self.refused_versions(tenant, &asked, &plan).await.map_err(Failure::Broken)?;
        let (collector, judges) = (self.0.collector.clone(), self.0.judges.clone());
        let (tenant, live) = (tenant.clone(), live.clone());
        let work = tokio::task::spawn_blocking(move || {
            let is_cancelled = || live.cancel.is_cancelled();
            let progress = |done, of| live.tell(Work::Reading, done, of);
            let reader = Reader {
                collector: &collector,
                tenant: &tenant,
                asked: &asked,
                plan: &plan,
                refused,
                progress: &progress,
                is_cancelled: &is_cancelled,
            };
            let history = reader.read()?;
            judge(&plan, &history, &live, &judges)
        });
        let done = work.await.map_err(|e| Failure::Broken(Problem::new(ErrorKind::Internal, e)))?;
        Ok(done?)
    }

    /// Returns the versions of the cohort's service that were refused within the range; none where nothing names it.
    async fn refused_versions(
        &self,
        tenant: &TenantId,
        asked: &NewBacktest,
        plan: &Plan,
    ) -> Result<BTreeSet<String>, Problem> {
        if plan.policy.births.is_none() {
            return Ok(BTreeSet::new());
        }
        let matchers = cohort::matchers(&asked.matchers).unwrap_or_default();
        let service = matchers.iter().find(|one| one.name() == "service_name" && one.op() == MatchOp::Equal);
        let Some(service) = service else { return Ok(BTreeSet::new()) };
        let filter = Filter {
            service: Some(service.value().to_owned()),
            decision: Some(Decision::NoGo.word().into()),
            start: Some(asked.start),
            ..Filter::default()
        };
        let (refused, _) = self.0.releases.list(tenant, &filter, usize::MAX, None).await?;
        Ok(refused.into_iter().map(|release| release.request.canary.name).collect())
    }

    async fn end(
        &self,
        tenant: &TenantId,
        id: &str,
        state: &str,
        error: Option<&Problem>,
        report: Option<ReportJson>,
    ) -> Result<(), Problem> {
        let mut transaction = Transaction::default().delete(LIVE, id, Expect::Any);
        if let Some((format, version)) = self.load(tenant, id).await? {
            let format = BacktestFormat {
                state: state.to_owned(),
                ended_at_ns: Some(self.0.clock.now().as_nanos()),
                error: error.map(|error| error.to_json()["error"].clone()),
                report,
                ..format
            };
            transaction = transaction.put(KIND, id, Expect::Version(version), encode(&format)?);
        }
        self.0.records.commit(tenant, transaction).await.map_err(|e| problem(&e))
    }

    async fn load(&self, tenant: &TenantId, id: &str) -> Result<Option<(BacktestFormat, u64)>, Problem> {
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        let document = self.0.records.get(tenant, KIND, id).await.map_err(|e| problem(&e))?;
        document.map(|document| Ok((decode(&document)?, document.version))).transpose()
    }

    /// Shows a backtest: its progress, then what it came to.
    pub(crate) async fn get(&self, tenant: &TenantId, id: &str) -> Result<Value, Problem> {
        // Before the document: what ends between the two reads is shown as it ended.
        let live = self.0.live.lock().get(&(tenant.clone(), id.to_owned())).cloned();
        let stored = self.load(tenant, id).await?;
        let (format, _) = stored.ok_or_else(|| not_found(id))?;
        Ok(wire(id, &format, live.as_deref()))
    }

    /// Lists backtests, the newest first.
    pub(crate) async fn list(&self, tenant: &TenantId) -> Result<Vec<Value>, Problem> {
        let page = Page { order: Order::Descending, limit: KEPT_MAX, ..Page::default() };
        let all = self.0.records.list(tenant, KIND, page).await.map_err(|e| problem(&e))?;
        let live = self.0.live.lock().clone();
        let item = |document: &Document| {
            let format = decode(document)?;
            let live = live.get(&(tenant.clone(), document.id.clone()));
            let mut item = wire(&document.id, &format, live.map(Arc::as_ref));
            // What a list shows; the rest is asked for one by one.
            const SHOWN: [&str; 11] = [
                "id",
                "state",
                "progress",
                "created_at",
                "ended_at",
                "policy",
                "request",
                "error",
                "runs",
                "refused",
                "go",
            ];
            if let Some(fields) = item.as_object_mut() {
                fields.retain(|name, _| SHOWN.contains(&name.as_str()));
            }
            Ok(item)
        };
        all.iter().map(item).collect()
    }

    /// Ends a backtest that waits or runs, and shows it; removes one that has ended.
    pub(crate) async fn delete(&self, tenant: &TenantId, id: &str) -> Result<Option<Value>, Problem> {
        let live = self.0.live.lock().get(&(tenant.clone(), id.to_owned())).cloned();
        if let Some(live) = live {
            live.cancel.cancel();
            let mut ended = live.has_ended.subscribe();
            // An error means that the sender is gone: it has ended.
            let _ = ended.wait_for(|has_ended| *has_ended).await;
            return self.get(tenant, id).await.map(Some);
        }
        if self.load(tenant, id).await?.is_none() {
            return Err(not_found(id));
        }
        let transaction = Transaction::default().delete(KIND, id, Expect::Any);
        self.0.records.commit(tenant, transaction).await.map_err(|e| problem(&e))?;
        Ok(None)
    }
}

/// Why there is no report.
enum Failure {
    Stopped(Stopped),
    Broken(Problem),
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

/// Judges on the calling thread, which may block: a place of the judge is taken for each release and given up after it,
/// so that who asks the judge meanwhile waits for one release at most.
fn judge(
    plan: &Plan,
    history: &History,
    live: &Live,
    judges: &Arc<Semaphore>,
) -> Result<ReportJson, Stopped> {
    let mut place = None;
    let mut next = |done: usize, of: usize| {
        live.tell(Work::Judging, done, of);
        place = None;
        // A place is never closed; without one nothing would be lost but order.
        place = Handle::current().block_on(judges.clone().acquire_owned()).ok();
    };
    let is_cancelled = || live.cancel.is_cancelled();
    let report = backtest(plan, history, &mut Watch { next: &mut next, is_cancelled: &is_cancelled });
    drop(place);
    report
}

/// Checks that the range holds a release and is none that would take for ever.
fn check_range(asked: &NewBacktest, plan: &Plan, now: Timestamp) -> Result<(), Problem> {
    let wrong = |field: &str, text: String| Problem::new(ErrorKind::Invalid, text).field(field);
    let interval = &plan.policy.interval;
    let spans = |n: usize| policy::Span::from_millis(interval.millis().saturating_mul(n as u64)).to_string();
    let range = json!([asked.start.to_string(), asked.end.to_string()]);
    if asked.end > now {
        let text = format!("the range ends in the future; it is {now} now");
        return Err(wrong("range[1]", text).value(asked.end.to_string()));
    }
    let (n_pre, n_release) = (plan.n_pre(), plan.n_release());
    if n_release > RELEASE_MAX {
        let text = format!(
            "a release of this policy lasts up to {n_release} intervals of {interval}; a backtest takes {RELEASE_MAX}: \
             shorten lasts.at_most, or take a longer interval"
        );
        return Err(wrong("policy.phases", text).value(n_release).limit(RELEASE_MAX));
    }
    let (start_ms, end_ms) = edges(asked, plan.interval_ms());
    let n = usize::try_from((end_ms - start_ms) / plan.interval_ms()).unwrap_or(0);
    if n > INTERVALS_MAX {
        let text = format!(
            "the range has {n} intervals of {interval}, more than {INTERVALS_MAX}: take at most {}",
            spans(INTERVALS_MAX)
        );
        return Err(wrong("range", text).value(range).limit(INTERVALS_MAX));
    }
    let least = n_pre.saturating_add(n_release);
    if n < least {
        let text = format!(
            "a release of this policy lasts up to {} and uses {} before it, so the range must be {} or longer; or \
             shorten the policy's pre_period",
            spans(n_release),
            plan.policy.pre_period,
            spans(least)
        );
        return Err(wrong("range", text).value(range));
    }
    Ok(())
}

fn not_found(id: &str) -> Problem {
    Problem::new(ErrorKind::NotFound, format!("there is no backtest {id:?}"))
}

fn encode(format: &BacktestFormat) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(format).map_err(|e| Problem::new(ErrorKind::Internal, e))
}

fn decode(document: &Document) -> Result<BacktestFormat, Problem> {
    let format: BacktestFormat = serde_json::from_slice(&document.body).map_err(|e| {
        Problem::new(ErrorKind::Internal, format!("backtest {} is not readable: {e}", document.id))
    })?;
    if format.version > VERSION {
        let text = format!("backtest {} was stored by a newer Greylight", document.id);
        return Err(Problem::new(ErrorKind::Internal, text));
    }
    Ok(format)
}

fn wire(id: &str, format: &BacktestFormat, live: Option<&Live>) -> Value {
    let is_live = format.state == RUNNING;
    let live = live.filter(|_| is_live);
    let is_waiting = live.is_some_and(|live| live.work() == Work::Waiting);
    let time = |ns: i64| Timestamp::from_nanos(ns).to_string();
    let mut answer = json!({
        "id": id,
        "state": if is_waiting { "waiting" } else { &format.state },
        "progress": live.map(Live::progress),
        "created_at": time(format.created_at_ns),
        "ended_at": format.ended_at_ns.map(time),
        "policy": { "name": format.policy_name, "revision": format.policy_revision },
        "request": format.request,
        "error": format.error,
    });
    let report = format.report.as_ref().and_then(|report| serde_json::to_value(report).ok());
    if let (Some(answer), Some(Value::Object(report))) = (answer.as_object_mut(), report) {
        answer.extend(report);
    }
    answer
}
