//! Releases, looks and deliveries as JSON, as the contract fixes them.

use greylight_store::model::Timestamp;
use greylight_store::records::{Outgoing, OutgoingState};
use serde_json::{Value, json};

use super::format::LookFormat;
use super::model::{PhaseProgress, Release};
use super::replay::{PhaseReplay, Replay};
use super::request::CohortRequest;
use super::service::verdict;
use crate::deliver::Message;
use crate::verdict::wire::VerdictJson;

/// A release in full: what was asked, where it stands, its verdict. Secrets are left out.
pub(crate) fn release(release: &Release) -> Value {
    let request = &release.request;
    let mut out = item(release);
    let more = json!({
        "policy": { "name": release.policy.name, "revision": release.policy.revision },
        "policy_document": release.policy.document,
        "packs": release.policy.packs,
        "baseline": cohort(&request.baseline),
        "canary": cohort(&request.canary),
        "fresh": request.fresh.as_ref().map(cohort),
        "interval": release.policy.policy.interval.to_string(),
        "pre_period": release.policy.policy.pre_period.to_string(),
        "webhooks": request.webhooks.iter().map(|w| json!({ "url": w.url().as_str() })).collect::<Vec<_>>(),
        "phases": phases(release),
        "outcomes": release.outcomes,
        "override": release.overridden,
        "verdict": verdict(release),
    });
    merge(&mut out, more);
    out
}

/// A release in a list: decision, deciding check, evidence line, time to decide.
pub(crate) fn item(release: &Release) -> Value {
    let request = &release.request;
    let verdict = verdict(release);
    let deciding = verdict.reasons.first();
    let decided_at = verdict.decided_at.clone().filter(|_| verdict.is_final);
    let to_decide = decided_at.as_deref().and_then(|t| super::request::time("decided_at", t).ok());
    json!({
        "id": release.id, "key": request.key, "attempt": release.attempt, "service": request.service,
        "environment": request.environment, "region": request.region, "kind": request.kind.word(),
        "baseline": { "name": request.baseline.name }, "canary": { "name": request.canary.name },
        "policy": { "name": release.policy.name, "revision": release.policy.revision },
        "labels": request.labels, "state": release.state.word(), "phase": verdict.phase,
        "decision": verdict.decision, "final": verdict.is_final, "revision": verdict.revision,
        "score": verdict.score,
        "check": deciding.and_then(|r| r.check.clone()),
        "deciding_check": deciding_check(&verdict),
        "evidence_line": deciding.map(|r| r.text.clone()),
        "created_at": release.created_at.to_string(), "start": release.start.to_string(),
        "decided_at": decided_at,
        "time_to_decide_ms": to_decide.map(|t| t.since(release.start).as_millis() as u64),
        "time_left": verdict.time_left,
        "last_outcome": release.outcomes.last(),
        "by": request.by, "end": request.end.map(|t| t.to_string()),
        "reasons": verdict.reasons, "phases": verdict.phases,
        "overridden_by": release.overridden.as_ref().map(|o| o["by"].clone()),
    })
}

/// Finds the check that the first reason names; without its long parts.
fn deciding_check(verdict: &VerdictJson) -> Option<Value> {
    let name = verdict.reasons.first()?.check.as_ref()?;
    let check = verdict.checks.iter().find(|check| check.name == *name)?;
    Some(json!({ "name": check.name, "phase": check.phase, "kind": check.kind, "decision": check.decision,
        "effect": check.effect, "margin": check.margin, "harm": check.harm, "values": check.values }))
}

fn cohort(cohort: &CohortRequest) -> Value {
    json!({ "name": cohort.name, "match": format!("{{{}}}", cohort.matchers),
        "pre_match": cohort.pre_matchers.as_ref().map(|m| format!("{{{m}}}")),
        "vars": cohort.vars, "where": cohort.filter })
}

fn phases(release: &Release) -> Vec<Value> {
    let policy = &release.policy.policy;
    let phase = |(declared, progress): (&crate::policy::Phase, &PhaseProgress)| {
        let moves: Vec<Value> = progress
            .moves
            .iter()
            .map(|m| json!({ "at": m.at.to_string(), "traffic_share": m.traffic_share, "scope": m.scope }))
            .collect();
        json!({ "name": declared.name, "decision": progress.state.word(),
            "started_at": progress.started_at.map(|t| t.to_string()),
            "decided_at": progress.decided_at.map(|t| t.to_string()), "looks": progress.n_looks,
            "at_least": declared.at_least.to_string(), "at_most": declared.at_most.to_string(),
            "traffic_share": progress.share(declared.traffic_share), "moves": moves })
    };
    policy.phases.iter().zip(&release.phases).map(phase).collect()
}

/// The verdict, with `decision` and `final` of one phase where one is named.
pub(crate) fn verdict_of(release: &Release, phase: Option<&str>) -> Option<Value> {
    let verdict = verdict(release);
    let mut out = serde_json::to_value(&verdict).unwrap_or(Value::Null);
    if let Some(name) = phase {
        let found = verdict.phases.iter().find(|p| p.name == name)?;
        // A phase that went stays gone; one that waits or was refused ends with the release.
        let is_final = found.decision == "go" || (verdict.is_final && found.decision != "waiting");
        out["decision"] =
            if found.decision == "waiting" { "inconclusive".into() } else { found.decision.clone().into() };
        out["final"] = (is_final || verdict.is_final).into();
        out["phase"] = name.into();
    }
    Some(out)
}

/// Puts each check's values by interval beside it; webhooks go without, pages draw them.
pub(crate) fn draw(verdict: &mut Value, history: &Value) {
    for check in verdict["checks"].as_array_mut().into_iter().flatten() {
        let name = check["name"].as_str().unwrap_or_default().to_string();
        if let Some(line) = history.get(&name) {
            check["history"] = line.clone();
        }
    }
}

/// One look.
///
/// - `data`: phase and check whose pinned data is wanted: what was new in this look.
pub(crate) fn look(look: &LookFormat, data: Option<(&str, &str)>) -> Value {
    let mut answer = json!({ "number": look.number, "look": look.number_in_phase, "at": Timestamp::from_nanos(look.at_ns).to_string(),
        "at_ms": look.at_ns / 1_000_000, "phase": look.phase,
        "interval_start": Timestamp::from_millis(look.interval_start_ms).to_string(),
        "decision": look.decision, "revision": look.revision, "checks": look.checks });
    if let Some((_, check)) = data.filter(|(phase, _)| *phase == look.phase)
        && let Some(sides) = look.data.get(check)
    {
        answer["data"] = json!({ check: sides });
    }
    answer
}

/// A replay: what it came to, and whether that is what was recorded.
pub(crate) fn replay(replay: &Replay) -> Value {
    let is_judged = replay.is_own && replay.verdict.is_some();
    let difference = replay.difference.as_ref().map(|one| {
        json!({ "look": one.look, "phase": one.phase, "field": one.field,
            "recorded": one.recorded, "replayed": one.replayed })
    });
    let brief = |look: &LookFormat| {
        json!({ "number": look.number, "look": look.number_in_phase, "phase": look.phase,
            "at": Timestamp::from_nanos(look.at_ns).to_string(), "decision": look.decision })
    };
    let recorded = verdict(&replay.release);
    json!({
        "release": replay.release.id,
        "engine": replay.engine.word(),
        "policy": { "name": replay.policy.name, "revision": replay.policy.revision, "pinned": replay.is_own },
        "same": is_judged.then_some(replay.difference.is_none()),
        "difference": difference,
        "recorded": { "decision": recorded.decision, "final": recorded.is_final, "phase": recorded.phase,
            "score": recorded.score, "overridden": replay.release.overridden.is_some() },
        "verdict": replay.verdict,
        "looks": replay.looks.iter().map(brief).collect::<Vec<_>>(),
        "phases": replay.phases.iter().map(phase_replay).collect::<Vec<_>>(),
    })
}

fn phase_replay(phase: &PhaseReplay) -> Value {
    let ours = phase.ours.as_ref();
    let (kayenta, error) = match &phase.kayenta {
        None => (None, None),
        Some(Ok(comparison)) => (Some(comparison), None),
        Some(Err(why)) => (None, Some(why)),
    };
    json!({
        "name": phase.name,
        "decision": ours.map(|one| one.decision), "score": ours.map(|one| one.score),
        "looks": ours.map_or(0, |one| one.n_looks), "watermark": ours.map(|one| one.at.to_string()),
        "reasons": ours.map_or(&[][..], |one| &one.reasons), "checks": ours.map_or(&[][..], |one| &one.checks),
        "kayenta": kayenta, "kayenta_error": error,
    })
}

/// One message to a webhook and how it fares; the body without the secret that signs it.
pub(crate) fn delivery(outgoing: &Outgoing) -> Value {
    let message = Message::from_bytes(&outgoing.body);
    let body: Option<Value> = message.as_ref().and_then(|m| serde_json::from_str(&m.body).ok());
    let data = body.as_ref().map(|b| &b["data"]);
    let state = match outgoing.state {
        OutgoingState::Waiting => "waiting",
        OutgoingState::Delivered => "delivered",
        OutgoingState::GivenUp => "failed",
    };
    let field = |name: &str| data.map(|d| d[name].clone());
    let attempts = outgoing
        .tries
        .iter()
        .map(|one| json!({ "at": one.at.to_string(), "error": (!one.is_taken).then_some(&one.note) }));
    json!({ "id": outgoing.id, "to": message.as_ref().map(|m| m.webhook.url().as_str()),
        "type": body.as_ref().map(|b| b["type"].clone()), "revision": field("revision"),
        "decision": field("decision"), "final": field("final"), "phase": field("phase"),
        "state": state, "n_attempts": outgoing.tries.len(),
        "attempts": attempts.collect::<Vec<_>>(), "created_at": outgoing.created_at.to_string(),
        "next_at": (outgoing.state == OutgoingState::Waiting).then(|| outgoing.not_before.to_string()) })
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
