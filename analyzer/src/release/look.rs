//! One look: reads what is new, pins it, judges, and says what changed.

use std::collections::{BTreeMap, BTreeSet};

use greylight_store::model::{TenantId, TimeRange, Timestamp};
use greylight_store::read::SpanMs;
use indexmap::IndexMap;

use super::cohort::{self, Filling, Side, Units};
use super::format::{LookFormat, PinFormat, PinnedData};
use super::model::{PhaseProgress, Release, State};
use super::pinned;
use super::request::{OverrideDecision, OverrideRequest};
use crate::collect::{CollectError, Collector, Grid, Question};
use crate::judge::wire::{DataJson, SidesJson};
use crate::judge::{Analysis, CheckData, Data, JudgeError, Look, PhaseRun, Shift, Sides};
use crate::policy::{Check, CheckKind, Distribution, Phase, Source, Users};
use crate::verdict::wire::VerdictJson;
use crate::verdict::{Cause, Cohort, Cohorts, Decision, Evidence, PhaseResult, PhaseState, Reason, Verdict};

/// Longest history in intervals.
const HISTORY_MAX: i64 = 50_000;
/// Units that had data and show none in so many last intervals are silent.
const SILENT_AFTER: usize = 3;

/// What a phase's looks build on, kept between them; a restart builds it again from what is pinned.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) phase: usize,
    analysis: Analysis,
    data: IndexMap<String, CheckData>,
    /// What looks were given since the scope last moved, to tell what came late.
    booked: IndexMap<String, Sides>,
    /// The first interval of the scope that holds now.
    base: usize,
    n_moves: usize,
    canary_units: BTreeSet<String>,
}

/// What one look found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) memory: Memory,
    pub(super) look: Look,
    pub(super) document: LookFormat,
    /// The history, where this look was the first of its phase.
    pub(super) pre: Option<PinFormat>,
}

/// Why a look could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error("judging failed: {0}")]
    Judge(#[from] JudgeError),
    #[error("pinned data cannot be read: {0}")]
    Pinned(String),
}

impl LookError {
    /// Tells whether trying again may help.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Collect(e) if e.may_pass())
    }
}

/// Returns the index of the first interval after a phase's warm-up, which has the first look.
pub(super) fn first_interval(release: &Release) -> usize {
    let policy = &release.policy.policy;
    usize::try_from(policy.warm_up.millis().div_ceil(policy.interval.millis().max(1))).unwrap_or(usize::MAX)
}

/// Returns the interval that the next look of a phase is about.
pub(super) fn next_interval(release: &Release, phase: &PhaseProgress) -> usize {
    first_interval(release) + usize::try_from(phase.n_looks).unwrap_or(usize::MAX)
}

fn step(release: &Release) -> i64 {
    release.interval_ms()
}

fn phase_start_ms(phase: &PhaseProgress) -> i64 {
    phase.started_at.unwrap_or_default().as_millis()
}

/// The phase as it began: moves after its start are told one by one, in the order of the looks.
fn phase_run(release: &Release, phase: &PhaseProgress) -> PhaseRun {
    let start = phase_start_ms(phase);
    let at_start = phase.moves.iter().filter(|m| m.at.as_millis() <= start);
    PhaseRun {
        release_start_ms: release.start.as_millis(),
        phase_start_ms: start,
        traffic_share: at_start.rev().find_map(|m| m.traffic_share),
        shifts: Vec::new(),
    }
}

fn shifts(phase: &PhaseProgress, from: usize, to: usize) -> Vec<Shift> {
    let start = phase_start_ms(phase);
    let later = phase.moves[from..to].iter().filter(|m| m.at.as_millis() > start);
    later.map(|m| Shift { at_ms: m.at.as_millis(), traffic_share: m.traffic_share }).collect()
}

impl Memory {
    /// Builds the memory again from a phase's pinned history and looks, in order.
    pub(super) fn replay(
        release: &Release,
        phase_idx: usize,
        pre: PinFormat,
        looks: Vec<LookFormat>,
    ) -> Result<Self, LookError> {
        let progress = &release.phases[phase_idx];
        let mut pre_sides = BTreeMap::new();
        let phase = &release.policy.policy.phases[phase_idx];
        for (check, json) in pre.data {
            let sides = decode(phase, &check, json)?;
            pre_sides.insert(check, sides);
        }
        let mut memory = Self::new(release, phase_idx, pre_sides, pre.canary_units.into_iter().collect())?;
        let start = phase_start_ms(progress);
        for look in looks {
            memory.follow_moves(release, look.interval_start_ms + step(release));
            let mut rows = BTreeMap::new();
            for (check, json) in look.data {
                let sides = decode(phase, &check, json)?;
                rows.insert(check, sides);
            }
            memory.take(rows);
            let interval = usize::try_from((look.interval_start_ms - start) / step(release)).unwrap_or(0);
            let placed = memory.analysis.place(&memory.data)?;
            memory.analysis.look(interval, &placed);
        }
        Ok(memory)
    }

    fn new(
        release: &Release,
        phase_idx: usize,
        pre: BTreeMap<String, Sides>,
        canary_units: BTreeSet<String>,
    ) -> Result<Self, LookError> {
        let policy = &release.policy.policy;
        let phase = &policy.phases[phase_idx];
        let progress = &release.phases[phase_idx];
        let mut pre = pre;
        let data: IndexMap<String, CheckData> = phase
            .checks
            .iter()
            .map(|check| {
                let pre = pre.remove(&check.name).unwrap_or_default();
                (check.name.clone(), CheckData { pre, ..CheckData::default() })
            })
            .collect();
        let mut analysis = Analysis::new(policy, phase, phase_run(release, progress), &data)?;
        // Intervals of the warm-up have no look of their own, but the analysis counts them.
        let nothing = analysis.place(&data)?;
        for interval in 0..first_interval(release) {
            analysis.look(interval, &nothing);
        }
        Ok(Self {
            phase: phase_idx,
            analysis,
            data,
            booked: IndexMap::new(),
            base: 0,
            n_moves: 0,
            canary_units,
        })
    }

    /// Takes the moves before `end_ms` in: each warms up anew, and a new scope is counted from its start.
    fn follow_moves(&mut self, release: &Release, end_ms: i64) {
        let progress = &release.phases[self.phase];
        let start = phase_start_ms(progress);
        while let Some(next) = progress.moves.get(self.n_moves).filter(|m| m.at.as_millis() < end_ms) {
            for shift in shifts(progress, self.n_moves, self.n_moves + 1) {
                self.analysis.shift(&release.policy.policy, shift);
            }
            if next.scope.is_some() && next.at.as_millis() > start {
                self.base = usize::try_from((next.at.as_millis() - start) / step(release)).unwrap_or(0);
                self.booked.clear();
            }
            self.n_moves += 1;
        }
    }

    fn take(&mut self, rows: BTreeMap<String, Sides>) {
        for (check, sides) in rows {
            let data = self.data.entry(check.clone()).or_default();
            let booked = self.booked.entry(check).or_default();
            for (rows, into, booked) in [
                (sides.baseline, &mut data.run.baseline, &mut booked.baseline),
                (sides.canary, &mut data.run.canary, &mut booked.canary),
            ] {
                if let Some(rows) = rows {
                    pinned::append(booked, rows.clone());
                    pinned::append(into, rows);
                }
            }
        }
    }
}

/// Makes the next look of a release's current phase; blocks while it reads.
pub(super) fn make(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    phase_idx: usize,
    memory: Option<Memory>,
) -> Result<Found, LookError> {
    let progress = &release.phases[phase_idx];
    let interval = next_interval(release, progress);
    let start = phase_start_ms(progress);
    let interval_start_ms = start + interval as i64 * step(release);
    let end_ms = interval_start_ms + step(release);
    let (mut memory, pre) = match memory.filter(|memory| memory.phase == phase_idx) {
        Some(memory) => (memory, None),
        None => begin(collector, tenant, release, phase_idx, end_ms)?,
    };
    memory.follow_moves(release, end_ms);
    canary_units(collector, tenant, release, end_ms, &mut memory.canary_units)?;
    let rows = read(collector, tenant, release, &memory, interval)?;
    let phase = &release.policy.policy.phases[phase_idx];
    let data = encode(phase, &rows);
    memory.take(rows);
    let placed = memory.analysis.place(&memory.data)?;
    let look = memory.analysis.look(interval, &placed);
    let number: u64 = release.phases.iter().map(|phase| phase.n_looks).sum::<u64>() + 1;
    let mut document = LookFormat::new(number, progress.n_looks + 1, look.at, &phase.name, interval_start_ms);
    document.decision = look.decision.word().to_string();
    document.checks = look.checks.iter().map(Into::into).collect();
    document.data = data;
    Ok(Found { memory, look, document, pre })
}

/// Pins the history of a phase when its first look is made: by then the canary's units are known.
fn begin(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    phase_idx: usize,
    end_ms: i64,
) -> Result<(Memory, Option<PinFormat>), LookError> {
    let mut units = BTreeSet::new();
    canary_units(collector, tenant, release, end_ms, &mut units)?;
    let pre = history(collector, tenant, release, phase_idx, &units)?;
    let json = encode(&release.policy.policy.phases[phase_idx], &pre);
    let pin = PinFormat::new(units.iter().cloned().collect(), json);
    Ok((Memory::new(release, phase_idx, pre, units)?, Some(pin)))
}

/// Finds the units that the canary's matchers have shown since the release started.
fn canary_units(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    end_ms: i64,
    known: &mut BTreeSet<String>,
) -> Result<(), LookError> {
    let names = &release.policy.policy.unit;
    let start = release.start.as_millis();
    let matchers = cohort::matchers(&release.request.canary.matchers).map_err(|e| CollectError::Query {
        query: release.request.canary.matchers.clone(),
        detail: e.to_string(),
    })?;
    collector.metric_units(tenant, &matchers, names, SpanMs { start, end: end_ms - 1 }, known)?;
    let reads_logs = release.policy.policy.phases.iter().flat_map(|phase| &phase.checks).any(reads_logs);
    let range = TimeRange::new(release.start, Timestamp::from_millis(end_ms));
    if let (true, Ok(range)) = (reads_logs, range) {
        collector.record_units(tenant, matchers, names, range, known)?;
    }
    Ok(())
}

fn reads_logs(check: &Check) -> bool {
    let is_logs = |source: &Source| matches!(source, Source::Logs(_));
    match &check.kind {
        CheckKind::Ratio { events, trials } => is_logs(events) || is_logs(trials),
        CheckKind::Count { events } => is_logs(events),
        CheckKind::Distribution { data } => matches!(data, Distribution::Values(_)),
        CheckKind::Patterns { .. } => true,
        CheckKind::Users { users } => matches!(users, Users::Logs { .. }),
        CheckKind::Mean { .. } | CheckKind::Composite => false,
    }
}

/// Reads what both sides did before the release.
fn history(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    phase_idx: usize,
    canary_units: &BTreeSet<String>,
) -> Result<BTreeMap<String, Sides>, LookError> {
    let phase = &release.policy.policy.phases[phase_idx];
    let pre_ms = i64::try_from(release.pre_period().millis()).unwrap_or(i64::MAX);
    let n = (pre_ms / step(release)).min(HISTORY_MAX);
    let mut out = BTreeMap::new();
    if n == 0 {
        return Ok(out);
    }
    let start_ms = release.start.as_millis() - n * step(release);
    let grid = Grid { start_ms, step_ms: step(release), n: usize::try_from(n).unwrap_or(0) };
    let request = &release.request;
    let filling = |side| filling(release, phase, phase_idx, side);
    let baseline = match &request.baseline.pre_matchers {
        Some(matchers) => filling(Side::Baseline).with_matchers(matchers.clone()),
        None => filling(Side::Baseline),
    };
    let not_canary = Units::AllBut(canary_units.clone());
    // What the canary's units did before: the old version on the same hosts.
    let (canary, was_canary) = match &request.canary.pre_matchers {
        Some(matchers) => (filling(Side::Canary).with_matchers(matchers.clone()), Units::all()),
        None => (filling(Side::Baseline), Units::Only(canary_units.clone())),
    };
    for check in &phase.checks {
        let ask = |filling: &Filling, units: &Units| {
            collector.collect(&Question {
                tenant,
                check,
                filling,
                units,
                unit_names: &release.policy.policy.unit,
                grid,
            })
        };
        let sides = Sides { baseline: ask(&baseline, &not_canary)?, canary: ask(&canary, &was_canary)? };
        out.insert(check.name.clone(), sides);
    }
    Ok(out)
}

fn filling(release: &Release, phase: &Phase, phase_idx: usize, side: Side) -> Filling {
    let cohort = match side {
        Side::Baseline => &release.request.baseline,
        Side::Canary => &release.request.canary,
    };
    let interval = release.policy.policy.interval.to_string();
    Filling::new(side, cohort, phase, release.phases[phase_idx].scope(), &interval)
}

/// Reads the intervals since the scope last moved and returns what is new in them.
fn read(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    memory: &Memory,
    interval: usize,
) -> Result<BTreeMap<String, Sides>, LookError> {
    let phase = &release.policy.policy.phases[memory.phase];
    let start = phase_start_ms(&release.phases[memory.phase]);
    let base = memory.base.min(interval);
    let grid = Grid {
        start_ms: start + base as i64 * step(release),
        step_ms: step(release),
        n: interval - base + 1,
    };
    let mut out = BTreeMap::new();
    for check in &phase.checks {
        let mut sides = Sides::default();
        for side in Side::BOTH {
            let filling = filling(release, phase, memory.phase, side);
            let units = match side {
                Side::Baseline => Units::AllBut(memory.canary_units.clone()),
                Side::Canary => Units::all(),
            };
            let unit_names = &release.policy.policy.unit;
            let read = collector.collect(&Question {
                tenant,
                check,
                filling: &filling,
                units: &units,
                unit_names,
                grid,
            })?;
            let booked = memory.booked.get(&check.name);
            let (into, booked) = match side {
                Side::Baseline => (&mut sides.baseline, booked.and_then(|b| b.baseline.as_ref())),
                Side::Canary => (&mut sides.canary, booked.and_then(|b| b.canary.as_ref())),
            };
            *into = read.map(|read| match booked {
                // The first rows of a side are all that it has so far, the warm-up's among them.
                None => read,
                Some(booked) => pinned::news(Some(booked), read, interval - base),
            });
        }
        out.insert(check.name.clone(), sides);
    }
    Ok(out)
}

/// The kind of a check by its name, which says how its data is written.
fn kind_of<'a>(phase: &'a Phase, check: &str) -> Option<&'a str> {
    phase.checks.iter().find(|c| c.name == check).map(|c| c.kind.word())
}

fn encode(phase: &Phase, all: &BTreeMap<String, Sides>) -> PinnedData {
    let side = |data: &Option<Data>, kind: &str| data.as_ref().map(|data| DataJson::from_data(data, kind));
    let sides = |(check, sides): (&String, &Sides)| {
        let kind = kind_of(phase, check)?;
        let json = SidesJson { baseline: side(&sides.baseline, kind), canary: side(&sides.canary, kind) };
        Some((check.clone(), json))
    };
    all.iter().filter_map(sides).collect()
}

fn decode(phase: &Phase, check: &str, json: SidesJson) -> Result<Sides, LookError> {
    let kind =
        kind_of(phase, check).ok_or_else(|| LookError::Pinned(format!("no check is called {check:?}")))?;
    let side = |json: Option<DataJson>, path: &str| json.map(|json| json.into_data(kind, path)).transpose();
    Ok(Sides { baseline: side(json.baseline, "baseline")?, canary: side(json.canary, "canary")? })
}

/// Brings a release up to what a look found: phase, decision, state and verdict.
pub(super) fn apply(release: &mut Release, found: &Found, now: Timestamp) {
    let (phase_idx, look) = (found.memory.phase, &found.look);
    let policy = release.policy.policy.clone();
    let phase = &mut release.phases[phase_idx];
    phase.n_looks += 1;
    phase.state = PhaseState::Begun(look.decision);
    phase.decided_at = look.decided_at;
    let is_last = phase_idx + 1 == policy.phases.len();
    let (decision, is_final) = match look.decision {
        Decision::NoGo => (Decision::NoGo, true),
        Decision::Go if is_last => (Decision::Go, true),
        Decision::Go => (Decision::Inconclusive, false),
        Decision::Inconclusive => (Decision::Inconclusive, look.is_final),
    };
    if look.decision == Decision::Go && !is_last {
        let next = release.edge_at_or_after(look.at.max(now));
        release.begin_next(next);
    }
    if is_final {
        release.state = State::Decided;
    } else {
        release.state = State::Running;
    }
    let verdict = verdict(release, found, decision, is_final, now);
    set_verdict(release, VerdictJson::from(&verdict));
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
    let before = release.verdict.as_ref();
    let spent_before = before.filter(|v| v.phase != found.document.phase).map_or(0.0, |v| v.alpha_spent);
    let spent_in_earlier = spent_before.max(earlier_spent(before, &found.document.phase));
    Verdict {
        decision,
        is_final,
        decided_at: is_final.then_some(look.decided_at.unwrap_or(look.at)),
        watermark: Some(look.at),
        expires_at: Some(expires(release, now)),
        alpha_spent: spent_in_earlier + look.alpha_spent,
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

/// What phases before this one spent, carried from verdict to verdict.
fn earlier_spent(before: Option<&VerdictJson>, phase: &str) -> f64 {
    let Some(before) = before.filter(|v| v.phase == phase) else { return 0.0 };
    (before.alpha_spent - before.checks.iter().map(|check| check.spent).sum::<f64>()).max(0.0)
}

fn cohorts(release: &Release, found: &Found) -> Cohorts {
    let side = |side: Side, name: &str| {
        let (mut units, mut silent) = (BTreeSet::new(), BTreeSet::new());
        for data in found.memory.data.values() {
            let data = match side {
                Side::Baseline => data.run.baseline.as_ref(),
                Side::Canary => data.run.canary.as_ref(),
            };
            for (unit, is_silent) in data.map(unit_states).unwrap_or_default() {
                if is_silent {
                    silent.insert(unit.clone());
                }
                units.insert(unit);
            }
        }
        if side == Side::Canary {
            units.extend(found.memory.canary_units.iter().cloned());
        }
        let requests = found.look.requests.map(|[baseline, canary]| match side {
            Side::Baseline => baseline,
            Side::Canary => canary,
        });
        Cohort {
            name: name.to_string(),
            units: units.len() as u64,
            requests,
            silent: silent.into_iter().collect(),
        }
    };
    Cohorts {
        canary: side(Side::Canary, &release.request.canary.name),
        baseline: side(Side::Baseline, &release.request.baseline.name),
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
        Data::Raw(_) | Data::Patterns(_) | Data::Users(_) | Data::By(_) => Vec::new(),
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
    hasher.update(&serde_json::to_vec(&found.document.data).expect("pinned data is always JSON"));
    let all = found.memory.data.values();
    let sides = all.flat_map(|d| [&d.run.baseline, &d.run.canary, &d.pre.baseline, &d.pre.canary]).flatten();
    let start = sides.clone().filter_map(Data::span_ms).map(|(first, _)| first).min();
    Evidence {
        start: Timestamp::from_millis(start.unwrap_or(release.start.as_millis())),
        end: found.look.at,
        rows: sides.map(Data::n_rows).sum(),
        digest: format!("blake3:{}", hasher.finalize().to_hex()),
    }
}
