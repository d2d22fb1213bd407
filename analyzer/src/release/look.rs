//! One look: reads what is new, pins it, judges, and says what changed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use greylight_store::model::{TenantId, TimeRange, Timestamp};
use greylight_store::read::SpanMs;
use indexmap::IndexMap;
use serde_json::Value;

use super::beside::{self, Other};
use super::cohort::{self, Filling, Side, Units};
use super::format::{LookFormat, PinFormat, PinnedData};
use super::model::{PhaseProgress, Release};
use super::pinned::{self, UsersAt};
use super::request::CohortRequest;
use crate::collect::{self, CollectError, Collector, Event, Grid, Question, Wanted};
use crate::judge::wire::{DataJson, SidesJson};
use crate::judge::{
    self, Analysis, BirthData, CheckData, Data, JudgeError, Look, PhaseRun, Scale, Shift, Sides,
};
use crate::policy::{Check, CheckKind, Distribution, Phase, Source, UserValue, Users};
use crate::verdict::{OverlapJson, PatternChange};

/// Longest history in intervals.
const HISTORY_MAX: i64 = 50_000;
/// How long before a release what tells the members of its cohorts may have come.
pub(super) const MEMBER_MS: i64 = 10 * 60 * 1000;
/// How long before the window of births a pod's samples tell that it did not start in it.
const NOT_BORN_MS: i64 = 3600 * 1000;
/// Units that had data and show none in so many last intervals are silent.
pub(super) const SILENT_AFTER: usize = 3;

/// What a phase's looks build on, kept between them; a restart builds it again from what is pinned.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) phase: usize,
    analysis: Analysis,
    pub(super) data: IndexMap<String, CheckData>,
    /// What looks were given since the scope last moved, to tell what came late.
    booked: IndexMap<String, Rows>,
    /// The first interval of the scope that holds now.
    base: usize,
    n_moves: usize,
    pub(super) canary_units: BTreeSet<String>,
    /// Pods of the old version that started together with the canary.
    pub(super) fresh_units: BTreeSet<String>,
}

/// What looks read of one check.
#[derive(Debug, Default)]
struct Rows {
    sides: Sides,
    fresh: Option<Data>,
}

/// What one look found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) memory: Memory,
    pub(super) look: Look,
    pub(super) document: LookFormat,
    /// The history, where this look was the first of its phase.
    pub(super) pre: Option<PinFormat>,
    /// Records that show a pattern, by check and pattern.
    pub(super) examples: Examples,
    /// Other releases at the same time.
    pub(super) overlaps: Vec<OverlapJson>,
}

/// What was before a phase: by check, both sides and earlier starts of the service's pods; and what people said of it.
#[derive(Debug, Default)]
struct History {
    sides: BTreeMap<String, Sides>,
    births: BTreeMap<String, Vec<BirthData>>,
    /// Log templates that a person accepted: they refuse nothing.
    accepted: BTreeSet<String>,
}

/// Log records that show a pattern, by check and pattern.
pub(super) type Examples = BTreeMap<(String, String), Vec<Value>>;

/// What people and earlier releases say of a service, as a phase finds it when it begins.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Versions that were refused, whose pods are no placebos.
    pub(super) refused: BTreeSet<String>,
    /// Log templates that a person accepted.
    pub(super) accepted: BTreeSet<String>,
    /// Releases at the same time; read for each look.
    pub(super) others: Vec<Other>,
}

/// Why a look could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
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
pub(super) fn phase_run(release: &Release, phase: &PhaseProgress) -> PhaseRun {
    let start = phase_start_ms(phase);
    let at_start = phase.moves.iter().filter(|m| m.at.as_millis() <= start);
    PhaseRun {
        release_start_ms: release.start.as_millis(),
        phase_start_ms: start,
        traffic_share: at_start.rev().find_map(|m| m.traffic_share),
        ..PhaseRun::default()
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
        let mut memory = Self::begin_again(release, phase_idx, pre)?;
        for look in looks {
            memory.look_again(release, look)?;
        }
        Ok(memory)
    }

    /// Goes back to where a phase began, by the history that it pinned.
    pub(super) fn begin_again(
        release: &Release,
        phase_idx: usize,
        pre: PinFormat,
    ) -> Result<Self, LookError> {
        let sides = decode_all(&release.policy.policy.phases[phase_idx], pre.data)?;
        let mut births = BTreeMap::new();
        for (check, json) in pre.births {
            let kind = kind_of(&release.policy.policy.phases[phase_idx], &check)?;
            let read = judge::births(json, kind, &check)?;
            births.insert(check, read);
        }
        let history = History { sides, births, accepted: pre.accepted };
        let canary_units = pre.canary_units.into_iter().collect();
        Self::new(release, phase_idx, history, canary_units, pre.fresh_units.into_iter().collect())
    }

    /// Makes a look again by the data that it pinned; looks come in their order.
    pub(super) fn look_again(&mut self, release: &Release, look: LookFormat) -> Result<Look, LookError> {
        let phase = &release.policy.policy.phases[self.phase];
        self.follow_moves(release, look.interval_start_ms + step(release));
        self.canary_units.extend(look.canary_units);
        self.fresh_units.extend(look.fresh_units);
        let mut rows = BTreeMap::new();
        for (check, sides) in decode_all(phase, look.data)? {
            rows.insert(check, Rows { sides, fresh: None });
        }
        for (check, json) in look.fresh {
            let fresh = json.into_data(kind_of(phase, &check)?, "fresh")?;
            rows.entry(check).or_default().fresh = Some(fresh);
        }
        self.take(rows);
        let start = phase_start_ms(&release.phases[self.phase]);
        let interval = usize::try_from((look.interval_start_ms - start) / step(release)).unwrap_or(0);
        let placed = self.analysis.place(&self.data)?;
        Ok(self.analysis.look(interval, &placed))
    }

    fn new(
        release: &Release,
        phase_idx: usize,
        mut history: History,
        canary_units: BTreeSet<String>,
        fresh_units: BTreeSet<String>,
    ) -> Result<Self, LookError> {
        let policy = &release.policy.policy;
        let phase = &policy.phases[phase_idx];
        let progress = &release.phases[phase_idx];
        let data: IndexMap<String, CheckData> = phase
            .checks
            .iter()
            .map(|check| {
                let pre = history.sides.remove(&check.name).unwrap_or_default();
                let births = history.births.remove(&check.name).unwrap_or_default();
                (check.name.clone(), CheckData { pre, births, ..CheckData::default() })
            })
            .collect();
        let run = PhaseRun { accepted: history.accepted, ..phase_run(release, progress) };
        let mut analysis = Analysis::new(policy, phase, run, &data)?;
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
            fresh_units,
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

    fn take(&mut self, rows: BTreeMap<String, Rows>) {
        for (check, Rows { sides, fresh }) in rows {
            let data = self.data.entry(check.clone()).or_default();
            let booked = self.booked.entry(check).or_default();
            for (rows, into, booked) in [
                (sides.baseline, &mut data.run.baseline, &mut booked.sides.baseline),
                (sides.canary, &mut data.run.canary, &mut booked.sides.canary),
                (fresh, &mut data.fresh, &mut booked.fresh),
            ] {
                if let Some(rows) = rows {
                    // What is new of users is told by all that they did, whatever the scope.
                    if !matches!(rows, Data::Users(_)) {
                        pinned::append(booked, rows.clone());
                    }
                    pinned::append(into, rows);
                }
            }
        }
    }
}

/// Makes the next look of a release's current phase; blocks while it reads.
///
/// - `known`: read where there is no memory yet.
pub(super) fn make(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    phase_idx: usize,
    memory: Option<Memory>,
    mut known: Known,
) -> Result<Found, LookError> {
    let progress = &release.phases[phase_idx];
    let interval = next_interval(release, progress);
    let start = phase_start_ms(progress);
    let interval_start_ms = start + interval as i64 * step(release);
    let end_ms = interval_start_ms + step(release);
    let others = std::mem::take(&mut known.others);
    let span = SpanMs { start: release.start.as_millis().saturating_sub(MEMBER_MS), end: end_ms - 1 };
    let (store, collector) = (collector, &joined(collector, release, phase_idx, span)?);
    let (mut memory, pre) = match memory.filter(|memory| memory.phase == phase_idx) {
        Some(memory) => (memory, None),
        None => begin((store, collector), tenant, release, phase_idx, end_ms, known)?,
    };
    memory.follow_moves(release, end_ms);
    let known_units = (memory.canary_units.clone(), memory.fresh_units.clone());
    new_units(collector, tenant, release, end_ms, (&mut memory.canary_units, &mut memory.fresh_units))?;
    let others = beside::units(collector, tenant, release, others, end_ms)?;
    let foreign = beside::foreign_units(release, &others);
    let rows = read(collector, tenant, release, &memory, (interval, &foreign))?;
    let phase = &release.policy.policy.phases[phase_idx];
    let data = encode(phase, rows.iter().map(|(check, rows)| (check, &rows.sides)));
    let fresh = rows.iter().filter_map(|(check, rows)| Some((check, rows.fresh.as_ref()?)));
    let fresh = fresh.filter_map(|(check, data)| {
        Some((check.clone(), DataJson::from_data(data, kind_of(phase, check).ok()?)))
    });
    let fresh = fresh.collect();
    memory.take(rows);
    let placed = memory.analysis.place(&memory.data)?;
    let look = memory.analysis.look(interval, &placed);
    let number: u64 = release.phases.iter().map(|phase| phase.n_looks).sum::<u64>() + 1;
    let mut document = LookFormat::new(number, progress.n_looks + 1, look.at, &phase.name, interval_start_ms);
    document.decision = look.decision.word().to_string();
    document.checks = look.checks.iter().map(Into::into).collect();
    document.canary_units = memory.canary_units.difference(&known_units.0).cloned().collect();
    document.fresh_units = memory.fresh_units.difference(&known_units.1).cloned().collect();
    document.data = data;
    document.fresh = fresh;
    let examples = examples(collector, tenant, release, &memory, &look, interval)?;
    let overlaps = beside::overlaps(&others, &memory.canary_units);
    Ok(Found { memory, look, document, pre, examples, overlaps })
}

/// Returns the records that the verdict of the look before shows for a phase's patterns.
pub(super) fn known_examples(release: &Release, phase: &str) -> Examples {
    (release.verdict.iter())
        .flat_map(|verdict| &verdict.checks)
        .filter(|check| check.phase == phase)
        .flat_map(|check| check.patterns.iter().map(|p| (check.name.clone(), p)))
        .filter(|(_, pattern)| !pattern.examples.is_empty())
        .map(|(check, pattern)| ((check, pattern.id.clone()), pattern.examples.clone()))
        .collect()
}

/// Finds records that show the patterns of a look; those of the look before are kept.
fn examples(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    memory: &Memory,
    look: &Look,
    interval: usize,
) -> Result<Examples, LookError> {
    let phase = &release.policy.policy.phases[memory.phase];
    let mut known = known_examples(release, &phase.name);
    let start_ms = phase_start_ms(&release.phases[memory.phase]);
    let grid = Grid { start_ms, step_ms: step(release), n: interval + 1 };
    let mut out = Examples::new();
    for result in &look.checks {
        let check = phase.checks.iter().find(|check| check.name == result.name);
        let Some((check, CheckKind::Patterns { logs, .. })) = check.map(|check| (check, &check.kind)) else {
            continue;
        };
        for pattern in &result.patterns {
            let key = (result.name.clone(), pattern.id.clone());
            if let Some(found) = known.remove(&key) {
                out.insert(key, found);
                continue;
            }
            let side = match pattern.change {
                PatternChange::New | PatternChange::More => Side::Canary,
                PatternChange::Fewer | PatternChange::Gone => Side::Baseline,
            };
            let question = Question {
                tenant,
                check,
                filling: &filling(release, phase, memory.phase, side),
                units: &Units::all(),
                unit_names: &release.policy.policy.unit,
                grid,
            };
            out.insert(key, collector.examples(&question, logs, &pattern.id)?);
        }
    }
    Ok(out)
}

/// Tells whether the next look's interval is whole before the policy's delay has passed: every unit
/// of both sides has something later in each source of each check.
pub(super) fn is_whole(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    phase_idx: usize,
    now: Timestamp,
) -> Result<bool, LookError> {
    let phase = &release.policy.policy.phases[phase_idx];
    let interval = next_interval(release, &release.phases[phase_idx]);
    let end_ms = phase_start_ms(&release.phases[phase_idx]) + (interval as i64 + 1) * step(release);
    let n = SILENT_AFTER;
    let grid = Grid { start_ms: end_ms - n as i64 * step(release), step_ms: step(release), n };
    let span = SpanMs { start: release.start.as_millis().saturating_sub(MEMBER_MS), end: now.as_millis() };
    let collector = &joined(collector, release, phase_idx, span)?;
    for check in &phase.checks {
        let sides = Side::BOTH.iter().filter(|side| !phase.is_before || **side == Side::Canary);
        let mut all: Vec<Filling> = sides.map(|side| filling(release, phase, phase_idx, *side)).collect();
        all.extend(fresh_filling(release, phase, phase_idx, check));
        for filling in &all {
            let question = Question {
                tenant,
                check,
                filling,
                units: &Units::all(),
                unit_names: &release.policy.policy.unit,
                grid,
            };
            if !collector.is_whole(&question, now)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Pins the history of a phase when its first look is made: by then the canary's units are known.
///
/// Before the release the cohorts had other members than `collector` knows; `store` knows none.
fn begin(
    (store, collector): (&Collector, &Collector),
    tenant: &TenantId,
    release: &Release,
    phase_idx: usize,
    end_ms: i64,
    known: Known,
) -> Result<(Memory, Option<PinFormat>), LookError> {
    let (mut units, mut fresh_units) = (BTreeSet::new(), BTreeSet::new());
    new_units(collector, tenant, release, end_ms, (&mut units, &mut fresh_units))?;
    let (sides, births) = before(store, tenant, release, phase_idx, (&units, &fresh_units), &known.refused)?;
    let json = encode(&release.policy.policy.phases[phase_idx], sides.iter());
    let births_json =
        births.iter().map(|(check, all)| (check.clone(), all.iter().map(Into::into).collect())).collect();
    let list = |units: &BTreeSet<String>| units.iter().cloned().collect();
    let accepted = known.accepted;
    let pin = PinFormat::new(list(&units), list(&fresh_units), json, births_json, accepted.clone());
    let history = History { sides, births, accepted };
    Ok((Memory::new(release, phase_idx, history, units, fresh_units)?, Some(pin)))
}

/// Data of both sides by check.
type AllSides = BTreeMap<String, Sides>;
/// Earlier starts of pods by check.
type AllBirths = BTreeMap<String, Vec<BirthData>>;

/// Reads what was before a release for each check of a phase: both sides, and earlier starts of pods.
///
/// - `units`: those of the canary, and fresh pods.
pub(super) fn before(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    phase_idx: usize,
    units: (&BTreeSet<String>, &BTreeSet<String>),
    refused: &BTreeSet<String>,
) -> Result<(AllSides, AllBirths), LookError> {
    let sides = history(collector, tenant, release, phase_idx, units.0, units.1)?;
    let births = births(collector, tenant, release, phase_idx, &sides, refused.clone())?;
    Ok((sides, births))
}

/// Labels that tell versions of a service apart.
const VERSION_LABELS: [&str; 3] = ["service_version", "version", "track"];

/// Reads earlier starts of the service's pods for the checks that need them: those on whose canary there is no history.
fn births(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    phase_idx: usize,
    sides: &BTreeMap<String, Sides>,
    refused: BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<BirthData>>, LookError> {
    let policy = &release.policy.policy;
    let phase = &policy.phases[phase_idx];
    let mut found = BTreeMap::new();
    let Some(wanted) = policy.births.as_ref().filter(|_| !phase.is_before) else { return Ok(found) };
    let mut needed: Vec<&Check> = phase.checks.iter().collect();
    needed.retain(|check| {
        let has_history = sides.get(&check.name).is_some_and(|sides| sides.canary.is_some());
        let tells_pods = matches!(
            check.kind,
            CheckKind::Mean { .. } | CheckKind::Ratio { .. } | CheckKind::Distribution { .. }
        );
        tells_pods && check.by.is_none() && !has_history
    });
    if needed.is_empty() {
        return Ok(found);
    }
    // The service in all its versions.
    let baseline = &release.request.baseline.matchers;
    let all = cohort::matchers(baseline)
        .map_err(|e| CollectError::Query { query: baseline.clone(), detail: e.to_string() })?;
    let kept = all.iter().filter(|matcher| !VERSION_LABELS.contains(&matcher.name()));
    let service = kept.map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let service = filling(release, phase, phase_idx, Side::Baseline).with_matchers(service);
    // A pod that was there before the window did not start in it.
    let since_ms =
        release.start.as_millis().saturating_sub(i64::try_from(wanted.window.millis()).unwrap_or(i64::MAX));
    let span = SpanMs { start: since_ms.saturating_sub(NOT_BORN_MS), end: release.start.as_millis() - 1 };
    let collector = &collector.joined([service.matchers.clone()], span)?;
    let (every, before_ms) = (Units::all(), release.start.as_millis());
    let question = |check| Question {
        tenant,
        check,
        filling: &service,
        units: &every,
        unit_names: &policy.unit,
        grid: Grid { start_ms: before_ms, step_ms: step(release), n: 1 },
    };
    let lasts = i64::try_from(phase.at_most.millis() + policy.warm_up.millis()).unwrap_or(i64::MAX);
    let wanted = Wanted { since_ms, before_ms, lived_ms: lasts, at_most: wanted.at_most, refused };
    // Each source knows the pods that it has series of.
    let mut by_source: BTreeMap<Option<&str>, Vec<Event>> = BTreeMap::new();
    for check in needed {
        let events = match by_source.entry(check.source.as_deref()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                unknown.insert(collect::events(collector.lives(&question(check), span)?, &wanted))
            }
        };
        let scale = match sides.get(&check.name).and_then(|sides| sides.baseline.as_ref()) {
            Some(Data::Values(series)) => {
                Scale::of_pods(check, series.iter().flat_map(|series| series.v.iter().flatten().copied()))
            }
            _ => Scale::Linear,
        };
        found.insert(check.name.clone(), collector.births(&question(check), events, scale, before_ms)?);
    }
    found.retain(|_, births| !births.is_empty());
    Ok(found)
}

/// Finds the units that the matchers of the canary, and of fresh pods, have shown since the release started.
pub(super) fn new_units(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    end_ms: i64,
    (canary, fresh): (&mut BTreeSet<String>, &mut BTreeSet<String>),
) -> Result<(), LookError> {
    cohort_units(collector, tenant, release, &release.request.canary, end_ms, canary)?;
    if let Some(cohort) = &release.request.fresh {
        cohort_units(collector, tenant, release, cohort, end_ms, fresh)?;
    }
    Ok(())
}

pub(super) fn cohort_units(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    cohort: &CohortRequest,
    end_ms: i64,
    known: &mut BTreeSet<String>,
) -> Result<(), LookError> {
    let names = &release.policy.policy.unit;
    let start = release.start.as_millis();
    let matchers = cohort::matchers(&cohort.matchers)
        .map_err(|e| CollectError::Query { query: cohort.matchers.clone(), detail: e.to_string() })?;
    let everywhere = collector.everywhere(tenant, &release.policy.policy)?;
    // Where only `where` tells the sides' records apart, series are of both.
    if cohort.matchers != release.request.baseline.matchers {
        for one in &everywhere {
            one.metric_units(tenant, &matchers, names, SpanMs { start, end: end_ms - 1 }, known)?;
        }
    }
    let reads_logs = release.policy.policy.phases.iter().flat_map(|phase| &phase.checks).any(reads_logs);
    let range = TimeRange::new(release.start, Timestamp::from_millis(end_ms));
    if let (true, Ok(range)) = (reads_logs, range) {
        let search = cohort.filter.as_deref().unwrap_or("*");
        for one in &everywhere {
            one.record_units(tenant, (search, matchers.clone()), names, range, known)?;
        }
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
    fresh_units: &BTreeSet<String>,
) -> Result<BTreeMap<String, Sides>, LookError> {
    let phase = &release.policy.policy.phases[phase_idx];
    let pre_ms = i64::try_from(release.policy.policy.pre_period.millis()).unwrap_or(i64::MAX);
    let n = (pre_ms / step(release)).min(HISTORY_MAX);
    let mut out = BTreeMap::new();
    if n == 0 {
        return Ok(out);
    }
    let start_ms = release.start.as_millis() - n * step(release);
    let grid = Grid { start_ms, step_ms: step(release), n: usize::try_from(n).unwrap_or(0) };
    let request = &release.request;
    let span = SpanMs { start: start_ms.saturating_sub(MEMBER_MS), end: grid.end_ms() - 1 };
    let collector = &joined(collector, release, phase_idx, span)?;
    let filling = |side| filling(release, phase, phase_idx, side);
    let baseline = match &request.baseline.pre_matchers {
        Some(matchers) => filling(Side::Baseline).with_matchers(matchers.clone()),
        None => filling(Side::Baseline),
    };
    let not_new = Units::AllBut(canary_units | fresh_units);
    // What the canary's units did before: the old version on the same hosts.
    let (canary, was_canary) = match &request.canary.pre_matchers {
        Some(matchers) => (filling(Side::Canary).with_matchers(matchers.clone()), Units::all()),
        None => (filling(Side::Baseline), Units::Only(canary_units.clone())),
    };
    for check in &phase.checks {
        let ask = |filling: &Filling, units: &Units| {
            let unit_names = &release.policy.policy.unit;
            let question = Question { tenant, check, filling, units, unit_names, grid };
            match &check.kind {
                CheckKind::Users { users } => collector.users_before(&question, users),
                _ => collector.collect(&question),
            }
        };
        let sides = match (&check.kind, &request.canary.pre_matchers) {
            // Users have no host of their own: what they were worth is what they did on all of them.
            (CheckKind::Users { .. }, None) => {
                Sides { baseline: ask(&baseline, &Units::all())?, canary: None }
            }
            // What the canary's units did stands in for a baseline.
            _ if phase.is_before => Sides { baseline: None, canary: ask(&canary, &was_canary)? },
            _ => Sides { baseline: ask(&baseline, &not_new)?, canary: ask(&canary, &was_canary)? },
        };
        out.insert(check.name.clone(), sides);
    }
    Ok(out)
}

/// A collector that finds what lacks the labels of a release's cohorts by the members that they have in a span.
pub(super) fn joined(
    collector: &Collector,
    release: &Release,
    phase_idx: usize,
    span: SpanMs,
) -> Result<Collector, LookError> {
    let phase = &release.policy.policy.phases[phase_idx];
    let request = &release.request;
    let scoped = Side::BOTH.map(|side| filling(release, phase, phase_idx, side).matchers);
    let all = [Some(&request.baseline), Some(&request.canary), request.fresh.as_ref()];
    let own = all.into_iter().flatten().flat_map(|cohort| {
        [Some(&cohort.matchers), cohort.pre_matchers.as_ref()].into_iter().flatten().cloned()
    });
    Ok(collector.joined(scoped.into_iter().chain(own), span)?)
}

fn filling(release: &Release, phase: &Phase, phase_idx: usize, side: Side) -> Filling {
    let cohort = match side {
        Side::Baseline => &release.request.baseline,
        Side::Canary => &release.request.canary,
    };
    let interval = release.policy.policy.interval.to_string();
    Filling::new(side, cohort, phase, release.phases[phase_idx].scope(), &interval)
}

/// Fills for the fresh pods, which serve beside the baseline; nothing for checks that are not compared with them.
fn fresh_filling(release: &Release, phase: &Phase, phase_idx: usize, check: &Check) -> Option<Filling> {
    let compares = matches!(check.kind, CheckKind::Mean { .. } | CheckKind::Distribution { .. });
    let cohort = release.request.fresh.as_ref().filter(|_| compares && check.by.is_none())?;
    let interval = release.policy.policy.interval.to_string();
    Some(Filling::new(Side::Baseline, cohort, phase, release.phases[phase_idx].scope(), &interval))
}

/// Reads the intervals since the scope last moved and returns what is new in them.
///
/// - `foreign`: units of other canaries of the service, which are no baseline.
fn read(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    memory: &Memory,
    (interval, foreign): (usize, &BTreeSet<String>),
) -> Result<BTreeMap<String, Rows>, LookError> {
    let phase = &release.policy.policy.phases[memory.phase];
    let start = phase_start_ms(&release.phases[memory.phase]);
    let base = memory.base.min(interval);
    let grid = Grid {
        start_ms: start + base as i64 * step(release),
        step_ms: step(release),
        n: interval - base + 1,
    };
    let unit_names = &release.policy.policy.unit;
    let not_new = Units::AllBut(&(&memory.canary_units | &memory.fresh_units) | foreign);
    let not_canary = Units::AllBut(memory.canary_units.clone());
    let mut out = BTreeMap::new();
    for check in &phase.checks {
        let ask = |filling: &Filling, units: &Units, booked: Option<&Data>| {
            let question = Question { tenant, check, filling, units, unit_names, grid };
            let read = collector.collect(&question)?;
            Ok::<_, LookError>(read.map(|read| match (read, booked) {
                (Data::Users(read), known) => {
                    let known = known
                        .and_then(|known| if let Data::Users(known) = known { Some(known) } else { None });
                    Data::Users(pinned::news_of_users(known, read, users_at(check, grid)))
                }
                // The first rows of a side are all that it has so far, the warm-up's among them.
                (read, None) => read,
                (read, Some(booked)) => pinned::news(Some(booked), read, interval - base),
            }))
        };
        let booked = memory.booked.get(&check.name);
        let run = memory.data.get(&check.name).map(|data| &data.run);
        let is_users = matches!(check.kind, CheckKind::Users { .. });
        // Users are held against all that looks were given of them, the rest against what they were given of this scope.
        let known = if is_users { run } else { booked.map(|booked| &booked.sides) };
        let of_side = |side| filling(release, phase, memory.phase, side);
        let rows = Rows {
            sides: Sides {
                baseline: match phase.is_before {
                    true => None,
                    false => ask(
                        &of_side(Side::Baseline),
                        &not_new,
                        known.and_then(|known| known.baseline.as_ref()),
                    )?,
                },
                canary: ask(
                    &of_side(Side::Canary),
                    &Units::all(),
                    known.and_then(|known| known.canary.as_ref()),
                )?,
            },
            fresh: match fresh_filling(release, phase, memory.phase, check) {
                Some(filling) => ask(&filling, &not_canary, booked.and_then(|b| b.fresh.as_ref()))?,
                None => None,
            },
        };
        out.insert(check.name.clone(), rows);
    }
    Ok(out)
}

fn users_at(check: &Check, grid: Grid) -> UsersAt {
    let is_ever =
        matches!(&check.kind, CheckKind::Users { users: Users::Logs { value: UserValue::Ever(_), .. } });
    UsersAt { base_ms: grid.start_ms, last_ms: grid.end_ms() - grid.step_ms, is_ever }
}

/// The kind of a check by its name, which says how its data is written.
fn kind_of<'a>(phase: &'a Phase, check: &str) -> Result<&'a str, LookError> {
    let found = phase.checks.iter().find(|c| c.name == check).map(|c| c.kind.word());
    found.ok_or_else(|| LookError::Pinned(format!("no check is called {check:?}")))
}

fn encode<'a>(phase: &Phase, all: impl Iterator<Item = (&'a String, &'a Sides)>) -> PinnedData {
    let side = |data: &Option<Data>, kind: &str| data.as_ref().map(|data| DataJson::from_data(data, kind));
    let sides = |(check, sides): (&String, &Sides)| {
        let kind = kind_of(phase, check).ok()?;
        let json = SidesJson { baseline: side(&sides.baseline, kind), canary: side(&sides.canary, kind) };
        Some((check.clone(), json))
    };
    all.filter_map(sides).collect()
}

/// Reads pinned data of a phase's checks.
pub(super) fn decode_all(phase: &Phase, all: PinnedData) -> Result<BTreeMap<String, Sides>, LookError> {
    let mut read = BTreeMap::new();
    for (check, json) in all {
        let sides = decode(phase, &check, json)?;
        read.insert(check, sides);
    }
    Ok(read)
}

fn decode(phase: &Phase, check: &str, json: SidesJson) -> Result<Sides, LookError> {
    let kind = kind_of(phase, check)?;
    let side = |json: Option<DataJson>, path: &str| json.map(|json| json.into_data(kind, path)).transpose();
    Ok(Sides { baseline: side(json.baseline, "baseline")?, canary: side(json.canary, "canary")? })
}
