//! What deploy tools, people and pages can do with releases.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use greylight_store::model::{Clock, ErrorKind, Problem, Random, TenantId, Timestamp};
use greylight_store::records::{
    Document, Expect, Order, OutboxItem, Outgoing, OutgoingFilter, Page, Records, Transaction,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::format::{self, FormatError, LookFormat, PinFormat};
use super::model::{Move, PhaseProgress, Pinned, Release, State};
use super::request::{NewRelease, Outcome, OverrideRequest, PhaseCall, PolicyRequest};
use crate::accepted::{Accepted, AcceptedPatterns};
use crate::changes::Changes;
use crate::collect::Collector;
use crate::deliver::Message;
use crate::packs::{self, Asked, Chosen};
use crate::policies::{self, Policies, policy_problem, problem};
use crate::policy::{self, Policy};
use crate::sources::Sources;
use crate::verdict::wire::VerdictJson;
use crate::verdict::{ChangeJson, Decision, PhaseState};

/// Longest that a request may wait for a verdict.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
/// Most entries of one list.
pub(crate) const LIST_MAX: usize = 500;
/// Documents read at once while a list is filtered.
const LIST_CHUNK: usize = 200;

/// All releases. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Releases(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) records: Records,
    pub(super) policies: Policies,
    accepted: AcceptedPatterns,
    changes: Changes,
    pub(super) collector: Collector,
    sources: Sources,
    pub(super) clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    pub(super) outbox_wake: Arc<Notify>,
    live: Mutex<HashMap<(TenantId, String), Arc<Live>>>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Looks are heavy; so many are made at once.
    pub(super) slots: tokio::sync::Semaphore,
}

/// A release whose looks are being made.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) tenant: TenantId,
    pub(super) state: tokio::sync::Mutex<Held>,
    /// The revision of its verdict, for those who wait.
    pub(super) revision: watch::Sender<u64>,
    /// Tells the runner that a call changed what is due.
    pub(super) changed: Notify,
}

/// A release as it is stored, and the version of its document.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) release: Release,
    pub(super) version: u64,
}

/// Which releases to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) service: Option<String>,
    pub(crate) state: Option<State>,
    pub(crate) decision: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) label: Option<(String, String)>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
}

/// Whether a call made a release or found it.
#[derive(Clone, Debug)]
pub(crate) enum Started {
    New(Release),
    Known(Release),
}

impl Releases {
    pub(crate) fn new(
        records: Records,
        collector: Collector,
        sources: Sources,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        outbox_wake: Arc<Notify>,
        looks_at_once: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            policies: Policies::new(records.clone()),
            accepted: AcceptedPatterns::new(records.clone()),
            changes: Changes::new(records.clone()),
            records,
            collector,
            sources,
            clock,
            random,
            outbox_wake,
            live: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            slots: tokio::sync::Semaphore::new(looks_at_once.max(1)),
        }))
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.0.policies
    }

    pub(crate) fn accepted(&self) -> &AcceptedPatterns {
        &self.0.accepted
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.0.changes
    }

    /// Checks a policy's text as this server could judge by it: its name, and the document as it is stored.
    pub(crate) fn checked_policy(&self, tenant: &TenantId, text: &str) -> Result<(String, Value), Problem> {
        let (policy, document) = policies::checked(text)?;
        self.check_sources(tenant, &policy, &document)?;
        Ok((policy.name, document))
    }

    /// Refuses a policy that reads what this server cannot reach.
    pub(crate) fn check_sources(
        &self,
        tenant: &TenantId,
        policy: &Policy,
        document: &Value,
    ) -> Result<(), Problem> {
        self.0.sources.check(tenant, policy, document)
    }

    /// Notes a change that is no release.
    pub(crate) async fn note_change(&self, tenant: &TenantId, body: &Value) -> Result<ChangeJson, Problem> {
        let now = self.0.clock.now();
        self.0.changes.note(tenant, body, now, &self.ulid(now)).await
    }

    /// Accepts a log template for a service.
    pub(crate) async fn accept(&self, tenant: &TenantId, body: &Value) -> Result<Accepted, Problem> {
        let one = Accepted::parse(body, self.0.clock.now())?;
        self.0.accepted.accept(tenant, &one).await?;
        Ok(one)
    }

    /// Goes on with every release that was live when the server ended.
    pub(crate) async fn resume(&self) -> Result<usize, Problem> {
        let mut n = 0;
        for tenant in self.0.records.tenants().await.map_err(|e| problem(&e))? {
            for live in
                self.0.records.list(&tenant, format::LIVE, Page::default()).await.map_err(|e| problem(&e))?
            {
                let Some(held) = self.load(&tenant, &live.id).await? else { continue };
                self.run(&tenant, held);
                n += 1;
            }
        }
        Ok(n)
    }

    /// Ends the runners after the looks under way.
    pub(crate) async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Starts a release, or finds the one that its key names.
    pub(crate) async fn start(&self, tenant: &TenantId, body: Value) -> Result<Started, Problem> {
        let request = NewRelease::parse(&body)?;
        let mut attempt = 1;
        let mut key_version = Expect::Absent;
        if let Some(key) = &request.key
            && let Some(document) = self.document(tenant, format::KEY, &format::key_id(key)).await?
        {
            key_version = Expect::Version(document.version);
            let id = String::from_utf8_lossy(&document.body).into_owned();
            if let Some(held) = self.load(tenant, &id).await? {
                if self.still_holds(&held.release) {
                    return self.again(tenant, held.release, &request, &body).await.map(Started::Known);
                }
                attempt = held.release.attempt + 1;
            }
        }
        let pinned = self.pin(tenant, &request).await?;
        let release = self.fresh(request, body, pinned, attempt)?;
        let mut transaction = Transaction::default()
            .put(format::RELEASE, &release.id, Expect::Absent, format::encode_release(&release))
            .put(format::LIVE, &release.id, Expect::Absent, Vec::new());
        if let Some(key) = &release.request.key {
            transaction = transaction.put(format::KEY, format::key_id(key), key_version, release.id.clone());
        }
        self.0.records.commit(tenant, transaction).await.map_err(|e| problem(&e))?;
        tracing::info!(release = release.id, service = release.request.service, "release started");
        self.run(tenant, Held { release: release.clone(), version: 1 });
        Ok(Started::New(release))
    }

    /// A call with a known key: the same body is the same release, and may carry a phase call.
    async fn again(
        &self,
        tenant: &TenantId,
        release: Release,
        request: &NewRelease,
        body: &Value,
    ) -> Result<Release, Problem> {
        if without_phase(&release.body) != without_phase(body) {
            let text = format!(
                "release {} has this key and another body; cancel it or take another key",
                release.id
            );
            return Err(Problem::new(ErrorKind::Conflict, text)
                .field("key")
                .value(release.request.key.clone()));
        }
        match &request.phase {
            Some(call) => self.call(tenant, &release.id, call.clone()).await,
            None => Ok(release),
        }
    }

    fn still_holds(&self, release: &Release) -> bool {
        let expires = release.verdict.as_ref().and_then(|v| v.expires_at.as_deref());
        let expires = expires.and_then(|t| super::request::time("expires_at", t).ok());
        release.state.is_live()
            || (release.state == State::Decided
                && expires.is_some_and(|expires| expires > self.0.clock.now()))
    }

    /// Pins the policy that a request names.
    pub(super) async fn pin(&self, tenant: &TenantId, request: &NewRelease) -> Result<Pinned, Problem> {
        let (name, revision, document, packs) = match &request.policy {
            PolicyRequest::Named(name) => match self.0.policies.get(tenant, name).await? {
                Some(stored) => (Some(stored.name), Some(stored.revision), stored.document, None),
                None if name == packs::DEFAULT => {
                    let chosen = self.choose(tenant, request).await?;
                    (Some(name.clone()), None, chosen.document, Some(chosen.report))
                }
                None => return Err(policies::not_found(name).field("policy").value(name.clone())),
            },
            PolicyRequest::Inline(document) => (None, None, document.clone(), None),
        };
        let of_policy = |problem: Problem| {
            let field =
                problem.field.as_ref().map_or_else(|| "policy".to_string(), |f| format!("policy.{f}"));
            problem.field(field)
        };
        let pinned = Pinned::new(name, revision, document, request)
            .and_then(|pinned| policy::check_queries(&pinned.document).map(|()| pinned))
            .map_err(|e| of_policy(policy_problem(&e)))?;
        self.check_sources(tenant, &pinned.policy, &pinned.document).map_err(of_policy)?;
        Ok(Pinned { packs, ..pinned })
    }

    /// Makes a policy of packs by what a release's cohorts show now.
    pub(crate) async fn choose(&self, tenant: &TenantId, request: &NewRelease) -> Result<Chosen, Problem> {
        let closed = |_| Problem::new(ErrorKind::Unavailable, "the server is ending");
        // It reads as much as a look does, so it takes a look's slot.
        let _slot = self.0.slots.acquire().await.map_err(closed)?;
        let (collector, tenant, request) = (self.0.collector.clone(), tenant.clone(), request.clone());
        let now = self.0.clock.now();
        let chosen = tokio::task::spawn_blocking(move || {
            packs::choose(&collector, &Asked { tenant: &tenant, request: &request, now })
        });
        chosen.await.map_err(|e| Problem::new(ErrorKind::Internal, e))?
    }

    pub(super) fn fresh(
        &self,
        request: NewRelease,
        body: Value,
        policy: Pinned,
        attempt: u32,
    ) -> Result<Release, Problem> {
        let now = self.0.clock.now();
        // Whole milliseconds: samples know no finer time, so edges between them would deceive.
        let start = Timestamp::from_millis(request.start.unwrap_or(now).as_millis());
        let call = request.phase.clone();
        let mut release = Release {
            id: self.ulid(now),
            attempt,
            body,
            request,
            created_at: now,
            start,
            state: if start > now { State::Pending } else { State::Running },
            phases: vec![PhaseProgress::waiting(); policy.policy.phases.len()],
            policy,
            verdict: None,
            outcomes: Vec::new(),
            overridden: None,
        };
        release.begin_next(start);
        if let Some(call) = call {
            apply_call(&mut release, &call, start)?;
        }
        Ok(release)
    }

    fn ulid(&self, now: Timestamp) -> String {
        let ms = u64::try_from(now.as_millis()).unwrap_or(0);
        let random = (u128::from(self.0.random.next_u64()) << 64) | u128::from(self.0.random.next_u64());
        ulid::Ulid::from_parts(ms, random).to_string()
    }

    /// Finds a release by id or `key:KEY`.
    pub(crate) async fn get(&self, tenant: &TenantId, id: &str) -> Result<Release, Problem> {
        let id = self.resolve(tenant, id).await?;
        Ok(self.held(tenant, &id).await?.release)
    }

    async fn resolve(&self, tenant: &TenantId, id: &str) -> Result<String, Problem> {
        let Some(key) = id.strip_prefix("key:") else { return Ok(id.to_string()) };
        let document = self.document(tenant, format::KEY, &format::key_id(key)).await?;
        let document = document
            .ok_or_else(|| Problem::new(ErrorKind::NotFound, format!("no release has the key {key:?}")))?;
        Ok(String::from_utf8_lossy(&document.body).into_owned())
    }

    async fn held(&self, tenant: &TenantId, id: &str) -> Result<Held, Problem> {
        let held = self.load(tenant, id).await?;
        held.ok_or_else(|| Problem::new(ErrorKind::NotFound, format!("there is no release {id:?}")))
    }

    async fn document(&self, tenant: &TenantId, kind: &str, id: &str) -> Result<Option<Document>, Problem> {
        if id.is_empty() || id.len() > 512 || id.chars().any(char::is_control) {
            return Ok(None);
        }
        self.0.records.get(tenant, kind, id).await.map_err(|e| problem(&e))
    }

    async fn load(&self, tenant: &TenantId, id: &str) -> Result<Option<Held>, Problem> {
        let Some(document) = self.document(tenant, format::RELEASE, id).await? else { return Ok(None) };
        let release = format::decode_release(id, &document.body).map_err(|e| unreadable(&e))?;
        Ok(Some(Held { release, version: document.version }))
    }

    /// Lists releases, newest first, with the cursor that goes on.
    pub(crate) async fn list(
        &self,
        tenant: &TenantId,
        filter: &Filter,
        limit: usize,
        cursor: Option<String>,
    ) -> Result<(Vec<Release>, Option<String>), Problem> {
        let mut out = Vec::new();
        let mut after = cursor;
        loop {
            let page =
                Page { after: after.clone(), order: Order::Descending, limit: LIST_CHUNK, prefix: None };
            let documents =
                self.0.records.list(tenant, format::RELEASE, page).await.map_err(|e| problem(&e))?;
            let last = documents.len() < LIST_CHUNK;
            for document in documents {
                let release =
                    format::decode_release(&document.id, &document.body).map_err(|e| unreadable(&e))?;
                after = Some(document.id);
                if filter.keeps(&release) {
                    out.push(release);
                    if out.len() == limit {
                        return Ok((out, after));
                    }
                }
            }
            if last {
                return Ok((out, None));
            }
        }
    }

    /// Returns the versions of a release's service that were refused in the time from which births are taken; none
    /// where its policy takes none.
    pub(crate) async fn refused_versions(
        &self,
        tenant: &TenantId,
        release: &Release,
    ) -> Result<BTreeSet<String>, Problem> {
        let Some(births) = &release.policy.policy.births else { return Ok(BTreeSet::new()) };
        let filter = Filter {
            service: Some(release.request.service.clone()),
            decision: Some(Decision::NoGo.word().into()),
            start: Some(release.start.saturating_sub(Duration::from_millis(births.window.millis()))),
            ..Filter::default()
        };
        let (refused, _) = self.list(tenant, &filter, usize::MAX, None).await?;
        Ok(refused.into_iter().map(|release| release.request.canary.name).collect())
    }

    /// The deploy tool began a phase, or moved share or scope within it.
    pub(crate) async fn call(
        &self,
        tenant: &TenantId,
        id: &str,
        call: PhaseCall,
    ) -> Result<Release, Problem> {
        let now = self.0.clock.now();
        self.change(tenant, id, |release| {
            if !release.state.is_live() {
                let text = format!("the release is {}", release.state.word());
                return Err(Problem::new(ErrorKind::Conflict, text));
            }
            apply_call(release, &call, now)
        })
        .await
    }

    /// Notes what the deploy tool did.
    pub(crate) async fn outcome(
        &self,
        tenant: &TenantId,
        id: &str,
        outcome: Outcome,
    ) -> Result<Release, Problem> {
        let now = self.0.clock.now();
        self.change(tenant, id, |release| {
            let time = outcome.time.unwrap_or(now).to_string();
            let same = |o: &Value| {
                o["action"] == outcome.action.as_str() && o["traffic_share"] == json!(outcome.traffic_share)
            };
            // Tools repeat their calls; the same outcome again is not another one.
            if !release.outcomes.last().is_some_and(same) {
                release
                    .outcomes
                    .push(json!({ "action": outcome.action, "traffic_share": outcome.traffic_share,
                    "by": outcome.by, "time": time }));
            }
            Ok(())
        })
        .await
    }

    /// Stops a release.
    pub(crate) async fn cancel(&self, tenant: &TenantId, id: &str) -> Result<Release, Problem> {
        self.change(tenant, id, |release| match release.state {
            State::Cancelled => Ok(()),
            state if state.is_live() => {
                release.state = State::Cancelled;
                Ok(())
            }
            state => {
                Err(Problem::new(ErrorKind::Conflict, format!("the release is {} already", state.word())))
            }
        })
        .await
    }

    /// Puts a person's decision over the verdict; the statistics stay visible.
    pub(crate) async fn put_over(
        &self,
        tenant: &TenantId,
        id: &str,
        over: OverrideRequest,
    ) -> Result<Release, Problem> {
        let now = self.0.clock.now();
        self.change(tenant, id, |release| {
            if release.state == State::Cancelled {
                return Err(Problem::new(ErrorKind::Conflict, "the release is cancelled"));
            }
            super::verdict::put_over(release, &over, now);
            Ok(())
        })
        .await
    }

    /// Changes a release under its lock and stores it, with the messages that the change asks for.
    async fn change(
        &self,
        tenant: &TenantId,
        id: &str,
        apply: impl FnOnce(&mut Release) -> Result<(), Problem>,
    ) -> Result<Release, Problem> {
        let id = self.resolve(tenant, id).await?;
        let live = self.0.live.lock().get(&(tenant.clone(), id.clone())).cloned();
        match live {
            Some(live) => {
                let mut held = live.state.lock().await;
                let next = self.changed(tenant, &held, apply).await?;
                *held = next;
                live.revision.send_replace(held.release.revision());
                live.changed.notify_one();
                Ok(held.release.clone())
            }
            None => {
                let held = self.held(tenant, &id).await?;
                Ok(self.changed(tenant, &held, apply).await?.release)
            }
        }
    }

    async fn changed(
        &self,
        tenant: &TenantId,
        held: &Held,
        apply: impl FnOnce(&mut Release) -> Result<(), Problem>,
    ) -> Result<Held, Problem> {
        let mut release = held.release.clone();
        apply(&mut release)?;
        let transaction = self.store(&held.release, &release, held.version);
        self.0.records.commit(tenant, transaction).await.map_err(|e| problem(&e))?;
        self.0.outbox_wake.notify_one();
        Ok(Held { release, version: held.version + 1 })
    }

    /// Makes the transaction that replaces a release: its document, its place among the live ones,
    /// and a message to each webhook where its verdict's revision rose.
    pub(super) fn store(&self, before: &Release, after: &Release, version: u64) -> Transaction {
        let mut transaction = Transaction::default().put(
            format::RELEASE,
            &after.id,
            Expect::Version(version),
            format::encode_release(after),
        );
        if before.state.is_live() && !after.state.is_live() {
            transaction = transaction.delete(format::LIVE, &after.id, Expect::Any);
        }
        let Some(verdict) = after.verdict.as_ref().filter(|_| after.revision() > before.revision()) else {
            return transaction;
        };
        let now = self.0.clock.now();
        let data = serde_json::to_value(verdict).unwrap_or(Value::Null);
        let id = format::verdict_id(&after.id, after.revision());
        transaction = transaction.put(format::VERDICT, id, Expect::Any, format::encode(&data));
        for webhook in &after.request.webhooks {
            let message = Message::new(webhook.clone(), "release.verdict", &now.to_string(), &data);
            transaction = transaction.send(OutboxItem {
                id: format!("msg_{}", self.ulid(now)),
                queue: webhook.queue(),
                ordering_key: delivery_key(&after.id),
                body: message.to_bytes(),
                not_before: now,
            });
        }
        transaction
    }

    /// Waits until the verdict's revision is above `after`, or the wait ends.
    pub(crate) async fn wait(
        &self,
        tenant: &TenantId,
        id: &str,
        after: Option<u64>,
        wait: Duration,
    ) -> Result<Release, Problem> {
        let release = self.get(tenant, id).await?;
        let above = |release: &Release| after.is_none_or(|after| release.revision() > after);
        if above(&release) || wait.is_zero() {
            return Ok(release);
        }
        let live = self.0.live.lock().get(&(tenant.clone(), release.id.clone())).cloned();
        let Some(live) = live else { return Ok(release) };
        let mut revision = live.revision.subscribe();
        let enough = async {
            let _ = revision.wait_for(|&revision| after.is_none_or(|after| revision > after)).await;
        };
        tokio::select! {
            () = enough => {}
            () = self.0.clock.sleep(wait.min(WAIT_MAX)) => {}
            () = self.0.stop.cancelled() => {}
        }
        self.get(tenant, &release.id).await
    }

    /// Returns the looks of a release, oldest first.
    pub(crate) async fn looks(&self, tenant: &TenantId, id: &str) -> Result<Vec<LookFormat>, Problem> {
        let release = self.get(tenant, id).await?;
        let prefix = format!("{}/", release.id);
        let page = Page { prefix: Some(prefix), ..Page::default() };
        let documents = self.0.records.list(tenant, format::LOOK, page).await.map_err(|e| problem(&e))?;
        let decode = |d: Document| format::decode(format::LOOK, &d.id, &d.body).map_err(|e| unreadable(&e));
        documents.into_iter().map(decode).collect()
    }

    /// Returns the values of each check of a phase interval by interval, for pictures.
    pub(crate) async fn history(
        &self,
        tenant: &TenantId,
        release: &Release,
        phase: &str,
    ) -> Result<Value, Problem> {
        let Some(idx) = release.policy.policy.phases.iter().position(|p| p.name == phase) else {
            return Ok(json!({}));
        };
        let id = format::pre_id(&release.id, idx);
        let pre = self.document(tenant, format::PRE, &id).await?;
        let pre: Option<PinFormat> =
            pre.map(|d| format::decode(format::PRE, &id, &d.body)).transpose().map_err(|e| unreadable(&e))?;
        let looks = self.looks(tenant, &release.id).await?;
        Ok(json!(super::history::of(pre.as_ref(), &looks, phase)))
    }

    /// Returns what one side of a release handles and the other does not, from what its looks pinned.
    pub(crate) async fn compatibility(&self, tenant: &TenantId, id: &str) -> Result<Value, Problem> {
        let release = self.get(tenant, id).await?;
        let mut pinned = Vec::new();
        for phase in 0..release.phases.len() {
            let id = format::pre_id(&release.id, phase);
            let document = self.document(tenant, format::PRE, &id).await?;
            pinned.push(document.map(|document| (id, document.body)));
        }
        let looks = self.looks(tenant, &release.id).await?;
        let table = tokio::task::spawn_blocking(move || {
            let decode = |one: Option<(String, _)>| {
                one.map(|(id, body): (String, Vec<u8>)| format::decode::<PinFormat>(format::PRE, &id, &body))
                    .transpose()
            };
            let pinned =
                pinned.into_iter().map(decode).collect::<Result<_, _>>().map_err(|e| unreadable(&e))?;
            super::compatibility::of(&release, pinned, looks).map_err(|error| {
                tracing::error!(release = release.id, %error, "pinned data cannot be read");
                Problem::new(ErrorKind::Internal, format!("the pinned data cannot be read: {error}"))
            })
        });
        table.await.map_err(|e| Problem::new(ErrorKind::Internal, e))?
    }

    /// Returns the messages of a release.
    pub(crate) async fn deliveries(&self, tenant: &TenantId, id: &str) -> Result<Vec<Outgoing>, Problem> {
        let release = self.get(tenant, id).await?;
        self.outgoing(tenant, &release.id, Vec::new()).await
    }

    /// Reads messages of a release from the outbox, the newest; with ids only those.
    async fn outgoing(
        &self,
        tenant: &TenantId,
        release: &str,
        ids: Vec<String>,
    ) -> Result<Vec<Outgoing>, Problem> {
        let ordering_key = Some(delivery_key(release));
        let filter = OutgoingFilter { queue: None, ordering_key, ids, limit: LIST_MAX };
        self.0.records.outgoing(tenant, filter).await.map_err(|e| problem(&e))
    }

    /// Sends a message again, under its id: a receiver that took it knows it.
    pub(crate) async fn resend(
        &self,
        tenant: &TenantId,
        id: &str,
        message: &str,
    ) -> Result<Outgoing, Problem> {
        let release = self.get(tenant, id).await?;
        let find = async || self.outgoing(tenant, &release.id, vec![message.to_string()]).await;
        if find().await?.is_empty() {
            let text = format!("the release has no delivery {message:?}");
            return Err(Problem::new(ErrorKind::NotFound, text));
        }
        let now = self.0.clock.now();
        self.0.records.again(message, now).await.map_err(|e| problem(&e))?;
        self.0.outbox_wake.notify_one();
        find()
            .await?
            .pop()
            .ok_or_else(|| Problem::new(ErrorKind::NotFound, "the delivery was removed meanwhile"))
    }

    /// Begins to make looks for a release.
    fn run(&self, tenant: &TenantId, held: Held) {
        if !held.release.state.is_live() {
            return;
        }
        let key = (tenant.clone(), held.release.id.clone());
        let revision = watch::Sender::new(held.release.revision());
        let live = Arc::new(Live {
            tenant: tenant.clone(),
            state: tokio::sync::Mutex::new(held),
            revision,
            changed: Notify::new(),
        });
        self.0.live.lock().insert(key.clone(), live.clone());
        let releases = self.clone();
        self.0.tasks.spawn(async move {
            super::runner::run(&releases, &live).await;
            releases.0.live.lock().remove(&key);
        });
    }
}

/// Names the messages of a release in the outbox.
fn delivery_key(id: &str) -> String {
    format!("release/{id}")
}

/// Says that a document cannot be read; the detail goes to the log.
pub(super) fn unreadable(error: &FormatError) -> Problem {
    tracing::error!(%error, "a stored release cannot be read");
    Problem::new(ErrorKind::Internal, error)
}

/// A body without what a repeated call may change.
fn without_phase(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        for field in ["phase", "traffic_share", "scope"] {
            map.remove(field);
        }
    }
    body
}

fn apply_call(release: &mut Release, call: &PhaseCall, now: Timestamp) -> Result<(), Problem> {
    let phases = &release.policy.policy.phases;
    let Some(i) = phases.iter().position(|phase| phase.name == call.phase) else {
        let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
        let text = format!("the policy has no such phase; it has {}", names.join(", "));
        return Err(Problem::new(ErrorKind::Invalid, text).field("phase").value(call.phase.clone()));
    };
    let current = release.current_phase().unwrap_or(phases.len());
    if i > current {
        let text = format!("phase {:?} before it is not go yet", phases[i - 1].name);
        return Err(Problem::new(ErrorKind::Conflict, text).field("phase").value(call.phase.clone()));
    }
    // Of a phase that went already there is nothing left to move: a repeated call changes nothing.
    if i < current {
        return Ok(());
    }
    let at = release.edge_at_or_after(now.max(release.start));
    let phase = &mut release.phases[i];
    let begins = phase.state == PhaseState::Waiting;
    if begins {
        phase.begin(at);
    }
    let moves = call.traffic_share.is_some() || call.scope.is_some();
    let same = phase.moves.last().is_some_and(|m| {
        (call.traffic_share.is_none() || m.traffic_share == call.traffic_share)
            && (call.scope.is_none() || m.scope == call.scope)
    });
    if moves && !same {
        phase.moves.push(Move { at, traffic_share: call.traffic_share, scope: call.scope.clone() });
    }
    Ok(())
}

impl Filter {
    fn keeps(&self, release: &Release) -> bool {
        let request = &release.request;
        let same =
            |want: &Option<String>, have: Option<&str>| want.as_deref().is_none_or(|want| have == Some(want));
        same(&self.service, Some(&request.service))
            && same(&self.environment, request.environment.as_deref())
            && same(&self.decision, Some(release.decision().word()))
            && self.state.is_none_or(|state| state == release.state)
            && self.label.as_ref().is_none_or(|(name, value)| request.labels.get(name) == Some(value))
            && self.start.is_none_or(|start| release.start >= start)
            && self.end.is_none_or(|end| release.start < end)
    }
}

/// Returns the verdict as it stands, also before the first look.
pub(crate) fn verdict(release: &Release) -> VerdictJson {
    release.verdict.clone().unwrap_or_else(|| super::verdict::before_the_first(release))
}
