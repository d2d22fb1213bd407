//! The HTTP API of releases, policies, the judge and rules; nothing else in the crate names a status.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use greylight_store::model::{Caller, ErrorKind, Problem};
use serde_json::{Value, json};

mod backtests;
mod kayenta;
mod rules;

use crate::Analyzer;
use crate::changes::ChangeFilter;
use crate::policies::POLICY_BYTES_MAX;
use crate::policy::Span;
use crate::release::announce::{self, AnnounceRequest};
use crate::release::model::State as ReleaseState;
use crate::release::request::{self, Outcome, OverrideRequest, PhaseCall, ReplayRequest};
use crate::release::service::{Filter, LIST_MAX, Releases, Started, WAIT_MAX};
use crate::release::wire;

/// Largest body of a judge call: hours of data of many checks.
const JUDGE_BYTES_MAX: usize = 64 << 20;
/// Replays computed at once: one, since each holds all that its release pinned.
const REPLAYS_AT_ONCE: usize = 1;
/// Replays and announcements computed or waiting; more are refused.
const REPLAYS_MAX: usize = 8;

#[derive(Clone)]
struct Api {
    releases: Releases,
    judges: Arc<tokio::sync::Semaphore>,
    replays: Arc<tokio::sync::Semaphore>,
    /// Those that may be computed or wait.
    replay_places: Arc<tokio::sync::Semaphore>,
}

/// Returns the routes; requests carry a [`Caller`].
pub fn router(analyzer: &Analyzer) -> Router {
    let api = Api {
        releases: analyzer.releases().clone(),
        judges: analyzer.backtests().judges(),
        replays: Arc::new(tokio::sync::Semaphore::new(REPLAYS_AT_ONCE)),
        replay_places: Arc::new(tokio::sync::Semaphore::new(REPLAYS_MAX)),
    };
    let judge = Router::new()
        .route("/api/v1/judge", post(judge))
        .route("/kayenta/judge", post(kayenta::judge))
        .layer(DefaultBodyLimit::max(JUDGE_BYTES_MAX));
    Router::new()
        .route("/api/v1/releases", get(list).post(start))
        .route("/api/v1/releases/{id}", get(show).delete(cancel))
        .route("/api/v1/releases/{id}/verdict", get(verdict))
        .route("/api/v1/releases/{id}/looks", get(looks))
        .route("/api/v1/releases/{id}/compatibility", get(compatibility))
        .route("/api/v1/releases/{id}/deliveries", get(deliveries))
        .route("/api/v1/releases/{id}/deliveries/{message}/resend", post(resend))
        .route("/api/v1/releases/{id}/phase", post(phase))
        .route("/api/v1/releases/{id}/outcome", post(outcome))
        .route("/api/v1/releases/{id}/override", post(put_over))
        .route("/api/v1/releases/{id}/replay", post(replay))
        .route("/api/v1/patterns/accept", post(accept).get(accepted).delete(withdraw))
        .route("/api/v1/changes", get(changes).post(note_change))
        .route("/api/v1/policies", get(policies))
        .route("/api/v1/policies/default/preview", post(preview))
        .route(
            "/api/v1/policies/{name}",
            get(policy).put(put_policy).delete(delete_policy).post(check_policy),
        )
        .route("/api/v1/policies/{name}/announce", post(announce))
        .route("/api/v1/releases/{id}/announce", get(announce_release))
        .layer(DefaultBodyLimit::max(POLICY_BYTES_MAX))
        .merge(judge)
        .with_state(api)
        .merge(backtests::router(analyzer.backtests().clone()))
        .merge(rules::router(analyzer.rules().clone()))
}

/// An error as an answer.
struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0.to_json())).into_response()
    }
}

/// A request's body; its route is limited to so many bytes.
struct Payload<const BYTES_MAX: usize>(Bytes);

type Small = Payload<POLICY_BYTES_MAX>;

impl<S: Send + Sync, const BYTES_MAX: usize> FromRequest<S> for Payload<BYTES_MAX> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            let problem = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let text = format!("the body is larger than {BYTES_MAX} bytes");
                Problem::new(ErrorKind::TooLarge, text).limit(BYTES_MAX)
            } else {
                Problem::new(ErrorKind::Invalid, format!("the body ended early: {}", rejection.body_text()))
            };
            Refusal(problem)
        })
    }
}

type Answer = Result<Response, Refusal>;
type Params = Query<Vec<(String, String)>>;

fn body(bytes: &Bytes) -> Result<Value, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|e| Problem::new(ErrorKind::Invalid, format!("the body is not JSON: {e}")))
}

/// Reads the parameters that a route knows; any other is an error, never ignored.
fn known<'a>(params: &'a Params, names: &[&str]) -> Result<impl Fn(&str) -> Option<&'a str>, Problem> {
    for (name, value) in &params.0 {
        if !names.contains(&name.as_str()) {
            let text = format!("unknown parameter; known here: {}", names.join(", "));
            return Err(Problem::new(ErrorKind::Invalid, text).field(name.clone()).value(value.clone()));
        }
    }
    Ok(move |name: &str| params.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()))
}

async fn start(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Payload(bytes): Small,
) -> Answer {
    let started = api.releases.start(&caller.tenant, body(&bytes)?).await?;
    let (status, release) = match started {
        Started::New(release) => (StatusCode::CREATED, release),
        Started::Known(release) => (StatusCode::OK, release),
    };
    Ok((status, Json(wire::release(&release))).into_response())
}

async fn list(State(api): State<Api>, Extension(caller): Extension<Caller>, params: Params) -> Answer {
    let names = ["service", "state", "decision", "environment", "label", "start", "end", "limit", "cursor"];
    let get = known(&params, &names)?;
    let text = |name: &str| get(name).map(str::to_string);
    let state = get("state").map(|word| {
        let bad = || {
            let known = ReleaseState::ALL.map(ReleaseState::word).join(", ");
            Problem::new(ErrorKind::Invalid, format!("a state is one of {known}")).field("state").value(word)
        };
        ReleaseState::from_word(word).ok_or_else(bad)
    });
    let label = get("label").map(|text| {
        let bad =
            || Problem::new(ErrorKind::Invalid, "a label is written name=value").field("label").value(text);
        text.split_once('=').map(|(n, v)| (n.to_string(), v.to_string())).ok_or_else(bad)
    });
    let decision = get("decision").map(|word| {
        let known = ["go", "no_go", "inconclusive"];
        let bad = || {
            let text = format!("a decision is one of {}", known.join(", "));
            Problem::new(ErrorKind::Invalid, text).field("decision").value(word)
        };
        known.contains(&word).then(|| word.to_string()).ok_or_else(bad)
    });
    let filter = Filter {
        service: text("service"),
        state: state.transpose()?,
        decision: decision.transpose()?,
        environment: text("environment"),
        label: label.transpose()?,
        start: get("start").map(|t| request::time("start", t)).transpose()?,
        end: get("end").map(|t| request::time("end", t)).transpose()?,
    };
    let limit = get("limit").map_or(Ok(50), |text| {
        let bad = || {
            let problem = Problem::new(ErrorKind::Invalid, "a limit is a number from 1").field("limit");
            problem.value(text).limit(LIST_MAX)
        };
        text.parse().ok().filter(|n| (1..=LIST_MAX).contains(n)).ok_or_else(bad)
    })?;
    let (releases, cursor) = api.releases.list(&caller.tenant, &filter, limit, text("cursor")).await?;
    let items: Vec<Value> = releases.iter().map(wire::item).collect();
    Ok(Json(json!({ "releases": items, "cursor": cursor })).into_response())
}

async fn show(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let release = api.releases.get(&caller.tenant, &id).await?;
    let mut answer = wire::release(&release);
    let phase = release_phase(&answer["verdict"]);
    let history = api.releases.history(&caller.tenant, &release, &phase).await?;
    wire::draw(&mut answer["verdict"], &history);
    Ok(Json(answer).into_response())
}

async fn cancel(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let release = api.releases.cancel(&caller.tenant, &id).await?;
    Ok(Json(wire::release(&release)).into_response())
}

async fn verdict(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let get = known(&params, &["after", "wait", "phase"])?;
    let after = get("after").map(|text| {
        let bad =
            || Problem::new(ErrorKind::Invalid, "after is a revision number").field("after").value(text);
        text.parse::<u64>().map_err(|_| bad())
    });
    let wait = get("wait").map_or(Ok(Duration::ZERO), |text| {
        let bad = || {
            let problem = Problem::new(ErrorKind::Invalid, "wait is a duration such as 30s").field("wait");
            problem.value(text).limit(format!("{}s", WAIT_MAX.as_secs()))
        };
        Span::parse(text).map(|span| Duration::from_millis(span.millis())).ok_or_else(bad)
    })?;
    let release = api.releases.wait(&caller.tenant, &id, after.transpose()?, wait).await?;
    let mut answer = wire::verdict_of(&release, get("phase")).ok_or_else(|| {
        let problem = Problem::new(ErrorKind::Invalid, "the policy has no such phase").field("phase");
        problem.value(get("phase").unwrap_or_default())
    })?;
    let phase = release_phase(&answer);
    let history = api.releases.history(&caller.tenant, &release, &phase).await?;
    wire::draw(&mut answer, &history);
    Ok(Json(answer).into_response())
}

/// The phase whose checks a verdict holds.
fn release_phase(verdict: &Value) -> String {
    let of_check = verdict["checks"][0]["phase"].as_str();
    of_check.or(verdict["phase"].as_str()).unwrap_or_default().to_string()
}

async fn looks(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let get = known(&params, &["data"])?;
    let data = get("data").map(|text| {
        let bad = || {
            let problem = Problem::new(ErrorKind::Invalid, "is a check written as PHASE/CHECK");
            problem.field("data").value(text)
        };
        text.split_once('/').ok_or_else(bad)
    });
    let data = data.transpose()?;
    let looks = api.releases.looks(&caller.tenant, &id).await?;
    let looks: Vec<Value> = looks.iter().map(|look| wire::look(look, data)).collect();
    Ok(Json(json!({ "looks": looks })).into_response())
}

async fn compatibility(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    Ok(Json(api.releases.compatibility(&caller.tenant, &id).await?).into_response())
}

async fn deliveries(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let deliveries = api.releases.deliveries(&caller.tenant, &id).await?;
    let deliveries: Vec<Value> = deliveries.iter().map(wire::delivery).collect();
    Ok(Json(json!({ "deliveries": deliveries })).into_response())
}

async fn resend(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((id, message)): Path<(String, String)>,
) -> Answer {
    let outgoing = api.releases.resend(&caller.tenant, &id, &message).await?;
    Ok((StatusCode::ACCEPTED, Json(wire::delivery(&outgoing))).into_response())
}

async fn phase(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Payload(bytes): Small,
) -> Answer {
    let call = PhaseCall::parse(&body(&bytes)?)?;
    let release = api.releases.call(&caller.tenant, &id, call).await?;
    Ok(Json(wire::release(&release)).into_response())
}

async fn outcome(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Payload(bytes): Small,
) -> Answer {
    let outcome = Outcome::parse(&body(&bytes)?)?;
    let release = api.releases.outcome(&caller.tenant, &id, outcome).await?;
    Ok(Json(wire::release(&release)).into_response())
}

async fn put_over(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Payload(bytes): Small,
) -> Answer {
    let over = OverrideRequest::parse(&body(&bytes)?)?;
    let release = api.releases.put_over(&caller.tenant, &id, over).await?;
    Ok(Json(wire::release(&release)).into_response())
}

async fn replay(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Payload(bytes): Small,
) -> Answer {
    // Nothing has to be said: without a body the release's own policy judges again.
    let asked = if bytes.is_empty() { json!({}) } else { body(&bytes)? };
    let request = ReplayRequest::parse(&asked)?;
    let slot = api.slot().await?;
    let job = api.releases.replay(&caller.tenant, &id, request).await?;
    let answer = compute(slot, move || job.run().map(|replay| wire::replay(&replay))).await?;
    Ok(Json(answer).into_response())
}

/// A place among long computations; what these read is held only within one.
struct Slot {
    _one: tokio::sync::OwnedSemaphorePermit,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Api {
    /// Waits for a slot of its own: a long replay must not keep deploy tools waiting for the judge.
    async fn slot(&self) -> Result<Slot, Problem> {
        let full = |_| {
            let text = format!("{REPLAYS_MAX} replays are being computed or wait already; try again later");
            Problem::new(ErrorKind::RateLimited, text).limit(REPLAYS_MAX)
        };
        let place = self.replay_places.clone().try_acquire_owned().map_err(full)?;
        let closed = |_| Problem::new(ErrorKind::Unavailable, "the server is ending");
        let one = self.replays.clone().acquire_owned().await.map_err(closed)?;
        Ok(Slot { _one: one, _place: place })
    }
}

/// Computes where nothing else waits for the thread.
async fn compute(
    slot: Slot,
    run: impl FnOnce() -> Result<Value, Problem> + Send + 'static,
) -> Result<Value, Problem> {
    let computed = tokio::task::spawn_blocking(move || {
        let answer = run();
        drop(slot);
        answer
    });
    computed.await.map_err(|e| Problem::new(ErrorKind::Internal, e))?
}

async fn announce(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Payload(bytes): Small,
) -> Answer {
    let request = AnnounceRequest::parse(&body(&bytes)?)?;
    let slot = api.slot().await?;
    let job = api.releases.announce(&caller.tenant, &name, request).await?;
    let answer = compute(slot, move || job.run().map(|done| announce::wire(&done))).await?;
    Ok(Json(answer).into_response())
}

async fn announce_release(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let slot = api.slot().await?;
    let job = api.releases.announce_release(&caller.tenant, &id).await?;
    let answer = compute(slot, move || job.run().map(|done| announce::wire(&done))).await?;
    Ok(Json(answer).into_response())
}

async fn accept(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Payload(bytes): Small,
) -> Answer {
    let accepted = api.releases.accept(&caller.tenant, &body(&bytes)?).await?;
    Ok((StatusCode::CREATED, Json(accepted)).into_response())
}

/// Reads a parameter that must be there.
fn required<'a>(get: &impl Fn(&str) -> Option<&'a str>, name: &str) -> Result<&'a str, Problem> {
    get(name).ok_or_else(|| Problem::new(ErrorKind::Invalid, "is required").field(name))
}

async fn accepted(State(api): State<Api>, Extension(caller): Extension<Caller>, params: Params) -> Answer {
    let get = known(&params, &["service"])?;
    let list = api.releases.accepted().list(&caller.tenant, required(&get, "service")?).await?;
    Ok(Json(json!({ "patterns": list })).into_response())
}

async fn withdraw(State(api): State<Api>, Extension(caller): Extension<Caller>, params: Params) -> Answer {
    let get = known(&params, &["service", "pattern"])?;
    let (service, pattern) = (required(&get, "service")?, required(&get, "pattern")?);
    api.releases.accepted().withdraw(&caller.tenant, service, pattern).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn note_change(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Payload(bytes): Small,
) -> Answer {
    let change = api.releases.note_change(&caller.tenant, &body(&bytes)?).await?;
    Ok((StatusCode::CREATED, Json(change)).into_response())
}

async fn changes(State(api): State<Api>, Extension(caller): Extension<Caller>, params: Params) -> Answer {
    let get = known(&params, &["service", "start", "end"])?;
    let filter = ChangeFilter {
        service: get("service").map(str::to_string),
        start: get("start").map(|t| request::time("start", t)).transpose()?,
        end: get("end").map(|t| request::time("end", t)).transpose()?,
    };
    let list = api.releases.changes().list(&caller.tenant, &filter).await?;
    Ok(Json(json!({ "changes": list })).into_response())
}

async fn policies(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Answer {
    let stored = api.releases.policies().list(&caller.tenant).await?;
    let list: Vec<Value> = stored.iter().map(|p| json!({ "name": p.name, "revision": p.revision })).collect();
    Ok(Json(json!({ "policies": list })).into_response())
}

async fn policy(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    let stored = api.releases.policies().get(&caller.tenant, &name).await?;
    let stored = stored.ok_or_else(|| crate::policies::not_found(&name))?;
    Ok(Json(stored.wire()).into_response())
}

async fn preview(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Payload(bytes): Small,
) -> Answer {
    let request = request::preview(&body(&bytes)?)?;
    let chosen = api.releases.choose(&caller.tenant, &request).await?;
    Ok(Json(json!({ "name": crate::packs::DEFAULT, "policy": chosen.document, "packs": chosen.report }))
        .into_response())
}

async fn put_policy(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Payload(bytes): Small,
) -> Answer {
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Problem::new(ErrorKind::Invalid, "the policy is not UTF-8"))?;
    let checked = api.releases.checked_policy(&caller.tenant, text)?;
    let stored = api.releases.policies().put(&caller.tenant, &name, text, checked).await?;
    // A policy is stored whether or not it can be said what it will show.
    let announced = match announce_last(&api, &caller, &name).await {
        Ok(announced) => json!({ "announced": announced }),
        Err(problem) => json!({ "announced": null, "not_announced": problem.message }),
    };
    let mut answer = stored.wire();
    if let (Some(answer), Value::Object(announced)) = (answer.as_object_mut(), announced) {
        answer.extend(announced);
    }
    Ok(Json(answer).into_response())
}

/// Says what a policy would have shown of the last release that it judged.
async fn announce_last(api: &Api, caller: &Caller, name: &str) -> Result<Value, Problem> {
    let Some(job) = api.releases.announce_last(&caller.tenant, name).await? else {
        let text = "it has judged no release yet; POST /api/v1/policies/{name}/announce says what it can show of one";
        return Err(Problem::new(ErrorKind::NotFound, text));
    };
    let slot = api.slot().await?;
    compute(slot, move || job.run().map(|done| announce::wire(&done))).await
}

/// What a POST to a policy checks a text without storing it under.
const CHECKED: &str = "check";

/// Checks a policy's text and stores nothing.
async fn check_policy(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Payload(bytes): Small,
) -> Answer {
    if name != CHECKED {
        let text = "a policy is stored by PUT; POST /api/v1/policies/check checks one and stores nothing";
        return Err(Problem::new(ErrorKind::NotFound, text).field("name").value(name).into());
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Problem::new(ErrorKind::Invalid, "the policy is not UTF-8"))?;
    let (name, document) = api.releases.checked_policy(&caller.tenant, text)?;
    Ok(Json(json!({ "name": name, "policy": document })).into_response())
}

async fn delete_policy(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    api.releases.policies().delete(&caller.tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn judge(
    State(api): State<Api>,
    headers: HeaderMap,
    Payload(bytes): Payload<JUDGE_BYTES_MAX>,
) -> Answer {
    let json = headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|v| v.to_str().is_ok_and(|v| v.starts_with("application/json")));
    if !json {
        return Ok((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the judge takes application/json\n").into_response());
    }
    let closed = |_| Problem::new(ErrorKind::Unavailable, "the server is ending");
    let slot = api.judges.acquire_owned().await.map_err(closed)?;
    // Hours of data of many checks take a second or more: never on a thread that answers others.
    let judged = tokio::task::spawn_blocking(move || {
        let answer = crate::judge::answer(&bytes);
        drop(slot);
        answer
    });
    let answer = judged.await.map_err(|e| Problem::new(ErrorKind::Internal, e))?;
    let answer = answer.map_err(|e| e.problem())?;
    Ok(Json(answer).into_response())
}
