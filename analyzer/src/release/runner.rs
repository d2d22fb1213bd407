//! Makes the looks of one release when they are due.

use std::sync::Arc;
use std::time::Duration;

use greylight_store::model::Timestamp;
use greylight_store::records::{Expect, Page};

use super::format::{self, LookFormat, PinFormat};
use super::look::{self, Found, Known, LookError, Memory};
use super::model::{Release, State};
use super::service::{Held, Live, Releases};
use super::verdict;
use crate::verdict::Cause;

/// Longest nap: the wall clock may jump, and then what is due changes.
const NAP_MAX: Duration = Duration::from_secs(1);
/// How often within the policy's delay it is tried whether the data is whole.
const PEEKS: u32 = 8;
/// Shortest wait between two of those tries.
const PEEK_MIN: Duration = Duration::from_millis(250);
/// The same where another store is asked.
const PEEK_ELSEWHERE_MIN: Duration = Duration::from_secs(1);
/// Wait before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Why a step failed; it is logged with its whole text and tried again.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a release waits for.
enum Next {
    /// Nothing: it is decided, cancelled or failed.
    Nothing,
    /// The deploy tool's call, or the release's end.
    Call,
    /// The look of its current phase: due at the latest then, from the interval's end on if its data is whole.
    Look { end: Timestamp, due: Timestamp },
    /// Its end has come before a decision.
    End,
}

/// Runs a release until it is decided, cancelled or the server ends.
pub(super) async fn run(releases: &Releases, live: &Arc<Live>) {
    let mut memory = None;
    while !releases.0.stop.is_cancelled() {
        let next = next(&live.state.lock().await.release, releases.0.clock.now());
        let nap = match next {
            Next::Nothing => return,
            Next::Call => NAP_MAX,
            Next::Look { end, due } => match until(releases, live, end, due).await {
                Ok(nap) => nap.min(NAP_MAX),
                Err(error) => {
                    // The look itself meets the same error when it is due, and says so then.
                    tracing::debug!(%error, "whether an interval is whole cannot be told");
                    due.since(releases.0.clock.now()).min(NAP_MAX)
                }
            },
            Next::End => Duration::ZERO,
        };
        if !nap.is_zero() {
            tokio::select! {
                () = releases.0.stop.cancelled() => return,
                () = live.changed.notified() => {}
                () = releases.0.clock.sleep(nap) => {}
            }
            continue;
        }
        let done = match next {
            Next::End => end(releases, live, Cause::TimeRanOut, State::Decided).await,
            _ => make_look(releases, live, &mut memory).await,
        };
        if let Err(error) = done {
            tracing::error!(%error, "a look could not be made; it is tried again");
            memory = None;
            tokio::select! {
                () = releases.0.stop.cancelled() => return,
                () = releases.0.clock.sleep(RETRY) => {}
            }
        }
    }
}

fn next(release: &Release, now: Timestamp) -> Next {
    if !release.state.is_live() {
        return Next::Nothing;
    }
    if release.request.end.is_some_and(|end| now >= end) {
        return Next::End;
    }
    let Some(current) = release.current_phase() else { return Next::Nothing };
    let Some(started_at) = release.phases[current].started_at else { return Next::Call };
    let interval = look::next_interval(release, &release.phases[current]);
    let end_ms =
        started_at.as_millis().saturating_add((interval as i64 + 1).saturating_mul(release.interval_ms()));
    let end = Timestamp::from_millis(end_ms);
    Next::Look { end, due: end.saturating_add(delay(release)) }
}

fn delay(release: &Release) -> Duration {
    Duration::from_millis(release.policy.policy.delay.millis())
}

/// Returns how long to wait for a look: nothing when it is due or its interval's data is whole.
async fn until(
    releases: &Releases,
    live: &Live,
    end: Timestamp,
    due: Timestamp,
) -> Result<Duration, Failure> {
    let now = releases.0.clock.now();
    if now < end {
        return Ok(end.since(now));
    }
    let left = due.since(now);
    if left.is_zero() {
        return Ok(left);
    }
    let Ok(_slot) = releases.0.slots.acquire().await else { return Ok(left) };
    let release = live.state.lock().await.release.clone();
    let Some(phase) = release.current_phase() else { return Ok(left) };
    let (collector, tenant, delay) = (releases.0.collector.clone(), live.tenant.clone(), delay(&release));
    let is_elsewhere = release.policy.policy.phases[phase].checks.iter().any(|check| check.source.is_some());
    let peek_min = if is_elsewhere { PEEK_ELSEWHERE_MIN } else { PEEK_MIN };
    let is_whole =
        tokio::task::spawn_blocking(move || look::is_whole(&collector, &tenant, &release, phase, now))
            .await??;
    if is_whole {
        return Ok(Duration::ZERO);
    }
    Ok(left.min((delay / PEEKS).max(peek_min)))
}

async fn make_look(releases: &Releases, live: &Live, memory: &mut Option<Memory>) -> Result<(), Failure> {
    // Held throughout: a call of the deploy tool waits for the look under way, or the look sees it.
    let mut held = live.state.lock().await;
    let Some(phase) = held.release.current_phase() else { return Ok(()) };
    if memory.as_ref().is_none_or(|memory| memory.phase != phase) {
        *memory = load(releases, live, &held.release, phase).await?;
    }
    let Ok(_slot) = releases.0.slots.acquire().await else { return Ok(()) };
    let (collector, tenant) = (releases.0.collector.clone(), live.tenant.clone());
    let (release, taken) = (held.release.clone(), memory.take());
    let others = releases.others(&tenant, &release).await?;
    let known = match taken {
        Some(_) => Known { others, ..Known::default() },
        None => Known {
            refused: releases.refused_versions(&tenant, &release).await?,
            accepted: releases.accepted().of_service(&tenant, &release.request.service).await?,
            others,
        },
    };
    let made =
        tokio::task::spawn_blocking(move || look::make(&collector, &tenant, &release, phase, taken, known));
    let made = made.await?;
    let found = match made {
        Ok(found) => found,
        Err(error) if error.may_pass() => return Err(error.into()),
        Err(error) => {
            tracing::error!(release = held.release.id, %error, "the release cannot be judged");
            let text = error.to_string();
            return end_held(releases, live, &mut held, Cause::Other { code: "failed", text }, State::Failed)
                .await;
        }
    };
    *memory = Some(store_look(releases, live, &mut held, found).await?);
    Ok(())
}

/// Stores a look, its verdict and its messages in one transaction, and tells who waits.
async fn store_look(
    releases: &Releases,
    live: &Live,
    held: &mut Held,
    mut found: Found,
) -> Result<Memory, Failure> {
    let mut release = held.release.clone();
    let changes = releases.changes_beside(&live.tenant, &release, found.look.at).await?;
    verdict::apply(&mut release, &found, releases.0.clock.now());
    verdict::put_beside(&mut release, changes, &found.overlaps);
    found.document.revision = release.revision();
    let id = format::look_id(&release.id, found.document.number);
    let mut transaction = releases.store(&held.release, &release, held.version).put(
        format::LOOK,
        id,
        Expect::Absent,
        format::encode(&found.document),
    );
    if let Some(pre) = &found.pre {
        let id = format::pre_id(&release.id, found.memory.phase);
        transaction = transaction.put(format::PRE, id, Expect::Any, format::encode(pre));
    }
    releases.0.records.commit(&live.tenant, transaction).await?;
    announce(releases, live, held, release);
    Ok(found.memory)
}

fn announce(releases: &Releases, live: &Live, held: &mut Held, release: Release) {
    if release.revision() > held.release.revision() {
        let verdict = release.verdict.as_ref();
        let decision = verdict.map_or("", |v| v.decision.as_str());
        let reason = verdict.and_then(|v| v.reasons.first()).map_or("", |r| r.text.as_str());
        tracing::info!(release = release.id, decision, reason, "verdict");
        releases.0.outbox_wake.notify_one();
    }
    *held = Held { release, version: held.version + 1 };
    live.revision.send_replace(held.release.revision());
}

async fn end(releases: &Releases, live: &Live, cause: Cause, state: State) -> Result<(), Failure> {
    let mut held = live.state.lock().await;
    end_held(releases, live, &mut held, cause, state).await
}

async fn end_held(
    releases: &Releases,
    live: &Live,
    held: &mut Held,
    cause: Cause,
    state: State,
) -> Result<(), Failure> {
    let mut release = held.release.clone();
    verdict::end(&mut release, cause, state, releases.0.clock.now());
    let transaction = releases.store(&held.release, &release, held.version);
    releases.0.records.commit(&live.tenant, transaction).await?;
    announce(releases, live, held, release);
    Ok(())
}

/// Reads what a phase pinned before a restart; nothing where its first look is still to come.
async fn load(
    releases: &Releases,
    live: &Live,
    release: &Release,
    phase: usize,
) -> Result<Option<Memory>, Failure> {
    let id = format::pre_id(&release.id, phase);
    let Some(pre) = releases.0.records.get(&live.tenant, format::PRE, &id).await? else { return Ok(None) };
    let pre: PinFormat = format::decode(format::PRE, &id, &pre.body)?;
    let page = Page { prefix: Some(format!("{}/", release.id)), ..Page::default() };
    let name = &release.policy.policy.phases[phase].name;
    let mut looks = Vec::new();
    for document in releases.0.records.list(&live.tenant, format::LOOK, page).await? {
        let look: LookFormat = format::decode(format::LOOK, &document.id, &document.body)?;
        if look.phase == *name {
            looks.push(look);
        }
    }
    let release = release.clone();
    let replayed: Result<Memory, LookError> =
        tokio::task::spawn_blocking(move || Memory::replay(&release, phase, pre, looks)).await?;
    Ok(Some(replayed?))
}
