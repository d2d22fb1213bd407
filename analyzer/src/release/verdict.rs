//! A release's verdict: what its looks, its end or a person make of it.

use std::collections::BTreeSet;

use greylight_store::model::Timestamp;

use super::look::{Found, SILENT_AFTER};
use super::model::{PhaseProgress, Release, State};
use super::request::{OverrideDecision, OverrideRequest};
use crate::judge::{CheckData, Data};
use crate::policy::Phase;
use crate::verdict::wire::VerdictJson;
use crate::verdict::{
    Cause, ChangeJson, Cohort, Cohorts, Decision, Evidence, OverlapJson, PhaseResult, PhaseState, Reason,
    Verdict,
};

/// Brings a release up to what a look found: phase, decision, state and verdict.
pub(super) fn apply(release: &mut Release, found: &Found, now: Timestamp) {
    let (phase_idx, look) = (found.memory.phase, &found.look);
    let policy = release.policy.policy.clone();
    let phase = &mut release.phases[phase_idx];
    phase.n_looks += 1;
    phase.state = PhaseState::Begun(look.decision);
    phase.decided_at = look.decided_at;
    phase.alpha_spent = look.alpha_spent;
    let is_last = phase_idx + 1 == policy.phases.len();
    let (decision, is_final) = match look.decision {
        Decision::NoGo => (Decision::NoGo, true),
        Decision::Go if is_last => (Decision::Go, true),
        Decision::Go => (Decision::Inconclusive, false),
        Decision::Inconclusive => (Decision::Inconclusive, look.is_final),
    };
    if look.decision == Decision::Go && !is_last {
        // Of what lay in the past when the release was asked for nobody waited: its phases follow each other there.
        let since = if look.at < release.created_at { look.at } else { look.at.max(now) };
        let next = release.edge_at_or_after(since);
        release.begin_next(next);
    }
    if is_final {
        release.state = State::Decided;
    } else {
        release.state = State::Running;
    }
    let mut verdict = VerdictJson::from(&verdict(release, found, decision, is_final, now));
    for check in &mut verdict.checks {
        for pattern in &mut check.patterns {
            let key = (check.name.clone(), pattern.id.clone());
            pattern.examples = found.examples.get(&key).cloned().unwrap_or_default();
        }
    }
    set_verdict(release, verdict);
}

/// Names what else happened in a verdict's time; that alone is no news to receivers.
pub(super) fn put_beside(release: &mut Release, changes: Vec<ChangeJson>, overlaps: &[OverlapJson]) {
    if let Some(verdict) = &mut release.verdict {
        verdict.changes = changes;
        verdict.overlaps = overlaps.to_vec();
    }
}

/// Ends a release for which no look can be made any more.
pub(super) fn end(release: &mut Release, cause: Cause, state: State, now: Timestamp) {
    release.state = state;
    let mut verdict = release.verdict.clone().unwrap_or_else(|| before_the_first(release));
    verdict.is_final = true;
    verdict.decision = Decision::Inconclusive.word().to_string();
    verdict.decided_at = Some(now.to_string());
    verdict.reasons.insert(0, (&Reason::of_release(cause)).into());
    set_verdict(release, verdict);
}

/// Puts a person's decision over the verdict.
pub(super) fn put_over(release: &mut Release, over: &OverrideRequest, now: Timestamp) {
    let decision = match over.decision {
        OverrideDecision::Go => Decision::Go,
        OverrideDecision::NoGo => Decision::NoGo,
    };
    let mut verdict = release.verdict.clone().unwrap_or_else(|| before_the_first(release));
    let cause = Cause::Override { by: over.by.clone(), why: over.why.clone() };
    verdict.decision = decision.word().to_string();
    verdict.is_final = true;
    verdict.decided_at = Some(now.to_string());
    verdict.reasons.retain(|reason| reason.code != "override");
    verdict.reasons.insert(0, (&Reason::of_release(cause)).into());
    release.state = State::Decided;
    release.overridden =
        Some(serde_json::json!({ "decision": decision.word(), "by": over.by, "why": over.why,
        "at": now.to_string() }));
    verdict.expires_at = Some(expires(release, now).to_string());
    set_verdict(release, verdict);
}

fn expires(release: &Release, now: Timestamp) -> Timestamp {
    now.saturating_add(std::time::Duration::from_millis(release.policy.policy.valid_for.millis()))
}

/// Stores a verdict; its revision rises where something changed that receivers act on.
fn set_verdict(release: &mut Release, mut verdict: VerdictJson) {
    let before = release.verdict.as_ref();
    let same = before.is_some_and(|before| acted_on(before) == acted_on(&verdict));
    verdict.revision = before.map_or(0, |v| v.revision) + u64::from(!same);
    release.verdict = Some(verdict);
}

/// The parts of a verdict whose change is news.
#[derive(PartialEq)]
struct News<'a> {
    decision: &'a str,
    is_final: bool,
    phase: &'a str,
    phases: Vec<&'a str>,
    reasons: BTreeSet<(&'a str, Option<&'a str>)>,
}

fn acted_on(verdict: &VerdictJson) -> News<'_> {
    News {
        decision: &verdict.decision,
        is_final: verdict.is_final,
        phase: &verdict.phase,
        phases: verdict.phases.iter().map(|phase| phase.decision.as_str()).collect(),
        reasons: verdict.reasons.iter().map(|r| (r.code.as_str(), r.check.as_deref())).collect(),
    }
}

/// The verdict of a release that has no look yet.
pub(super) fn before_the_first(release: &Release) -> VerdictJson {
    let policy = &release.policy.policy;
    let reason = match release.state {
        State::Pending => Cause::Other { code: "pending", text: format!("starts at {}", release.start) },
        _ => Cause::WarmUp { left_ms: policy.warm_up.millis() },
    };
    let mut verdict = skeleton(release);
    verdict.reasons = vec![Reason::of_release(reason)];
    VerdictJson::from(&verdict)
}

fn skeleton(release: &Release) -> Verdict {
    let policy = &release.policy.policy;
    let current = release.current_phase().unwrap_or(policy.phases.len() - 1);
    Verdict {
        release: Some(release.id.clone()),
        key: release.request.key.clone(),
        service: Some(release.request.service.clone()),
        revision: 0,
        decision: Decision::Inconclusive,
        is_final: false,
        phase: policy.phases[current].name.clone(),
        policy: release.policy.name.clone(),
        policy_revision: release.policy.revision,
        started_at: Some(release.start),
        by: release.request.by.clone(),
        cohorts: Some(Cohorts {
            canary: bare_cohort(&release.request.canary.name),
            baseline: bare_cohort(&release.request.baseline.name),
            fresh: release.request.fresh.as_ref().map(|fresh| bare_cohort(&fresh.name)),
        }),
        phases: phases(release),
        validity: Vec::new(),
        decided_at: None,
        watermark: None,
        expires_at: None,
        alpha: policy.alpha.get(),
        alpha_spent: 0.0,
        score: 0,
        time_left: None,
        reasons: Vec::new(),
        checks: Vec::new(),
        evidence: None,
    }
}

fn bare_cohort(name: &str) -> Cohort {
    Cohort { name: name.to_string(), units: 0, requests: None, silent: Vec::new() }
}

fn phases(release: &Release) -> Vec<PhaseResult> {
    let phases = release.policy.policy.phases.iter().zip(&release.phases);
    let result = |(declared, progress): (&Phase, &PhaseProgress)| PhaseResult {
        name: declared.name.clone(),
        state: progress.state,
        started_at: progress.started_at,
        decided_at: progress.decided_at,
        looks: progress.n_looks,
        at_least: declared.at_least.to_string(),
        at_most: declared.at_most.to_string(),
        traffic_share: progress.share(declared.traffic_share),
    };
    phases.map(result).collect()
}

fn verdict(release: &Release, found: &Found, decision: Decision, is_final: bool, now: Timestamp) -> Verdict {
    let look = &found.look;
    Verdict {
        decision,
        is_final,
        decided_at: is_final.then_some(look.decided_at.unwrap_or(look.at)),
        watermark: Some(look.at),
        expires_at: Some(expires(release, now)),
        alpha_spent: release.phases.iter().map(|phase| phase.alpha_spent).sum(),
        score: look.score,
        time_left: look.time_left,
        reasons: look.reasons.clone(),
        checks: look.checks.clone(),
        validity: look.validity.clone(),
        cohorts: Some(cohorts(release, found)),
        evidence: Some(evidence(release, found)),
        ..skeleton(release)
    }
}

fn cohorts(release: &Release, found: &Found) -> Cohorts {
    let memory = &found.memory;
    let cohort = |name: &str, of: fn(&CheckData) -> Option<&Data>, known: BTreeSet<String>| {
        let (mut units, mut silent) = (BTreeSet::new(), BTreeSet::new());
        for data in memory.data.values() {
            for (unit, is_silent) in of(data).map(unit_states).unwrap_or_default() {
                if is_silent {
                    silent.insert(unit.clone());
                }
                units.insert(unit);
            }
        }
        units.extend(known);
        let (units, silent) = (units.len() as u64, silent.into_iter().collect());
        Cohort { name: name.to_string(), units, requests: None, silent }
    };
    let request = &release.request;
    let (canary, baseline) = (&request.canary.name, &request.baseline.name);
    let requests = |side: usize| found.look.requests.map(|requests| requests[side]);
    // What ran the canary too is a unit of the canary.
    let fresh_units = &memory.fresh_units - &memory.canary_units;
    Cohorts {
        canary: Cohort {
            requests: requests(1),
            ..cohort(canary, |data| data.run.canary.as_ref(), memory.canary_units.clone())
        },
        baseline: Cohort {
            requests: requests(0),
            ..cohort(baseline, |data| data.run.baseline.as_ref(), BTreeSet::new())
        },
        fresh: request.fresh.as_ref().map(|one| cohort(&one.name, |data| data.fresh.as_ref(), fresh_units)),
    }
}

/// Lists the units of one side's data, and whether each has gone silent.
fn unit_states(data: &Data) -> Vec<(String, bool)> {
    fn silent<T>(column: &[Option<T>]) -> bool {
        let tail = column.len().saturating_sub(SILENT_AFTER);
        column[..tail].iter().any(Option::is_some) && column[tail..].iter().all(Option::is_none)
    }
    let named = |unit: &String| !unit.is_empty();
    match data {
        Data::Counts(c) => {
            c.units.iter().filter(|(u, _)| named(u)).map(|(u, c)| (u.clone(), silent(&c.exposure))).collect()
        }
        Data::Histogram(h) => {
            h.units.iter().filter(|(u, _)| named(u)).map(|(u, h)| (u.clone(), silent(&h.counts))).collect()
        }
        Data::Values(all) => {
            all.iter().filter(|s| named(&s.instance)).map(|s| (s.instance.clone(), silent(&s.v))).collect()
        }
        Data::Raw(v) => {
            v.units.iter().filter(|(u, _)| named(u)).map(|(u, v)| (u.clone(), silent(&v.values))).collect()
        }
        Data::Patterns(_) | Data::Users(_) | Data::By(_) => Vec::new(),
    }
}

/// Chains the digest of each look's data to that of the look before.
fn evidence(release: &Release, found: &Found) -> Evidence {
    let before = release.verdict.as_ref().and_then(|v| v.evidence.as_ref());
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.map_or("", |e| e.digest.as_str()).as_bytes());
    if let Some(pre) = &found.pre {
        hasher.update(&super::format::encode(pre));
    }
    hasher.update(&super::format::encode(&found.document.data));
    if !found.document.fresh.is_empty() {
        hasher.update(&super::format::encode(&found.document.fresh));
    }
    let all = found.memory.data.values();
    let sides = all
        .flat_map(|d| [&d.run.baseline, &d.run.canary, &d.pre.baseline, &d.pre.canary, &d.fresh])
        .flatten();
    let start = sides.clone().filter_map(Data::span_ms).map(|(first, _)| first).min();
    Evidence {
        start: Timestamp::from_millis(start.unwrap_or(release.start.as_millis())),
        end: found.look.at,
        rows: sides.map(Data::n_rows).sum(),
        digest: format!("blake3:{}", hasher.finalize().to_hex()),
    }
}
