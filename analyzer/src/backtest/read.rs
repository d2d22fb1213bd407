//! Reads the history of a cohort once, check by check, unit by unit, a day at a time.

use std::collections::{BTreeMap, BTreeSet};

use greylight_store::model::{TenantId, TimeRange, Timestamp};
use greylight_store::read::SpanMs;

use super::history::{Feed, History, Start, Track};
use super::plan::{Plan, Stopped};
use super::request::NewBacktest;
use crate::collect::{self, CollectError, Collector, Event, Grid, Question, Wanted};
use crate::judge::{self, BirthData, Counts, Data, Histogram, Scale, Series};
use crate::policy::{Check, CheckKind, Distribution, Phase, Source, ValueQuery};
use crate::release::cohort::{self, Filling, Side, Units};
use crate::release::pinned;
use crate::release::request::CohortRequest;

/// Intervals that are read at once: a day of minutes.
const CHUNK: usize = 1440;
/// Longest range in intervals: a month of minutes.
pub(super) const INTERVALS_MAX: usize = 50_000;
/// Units that a cohort may have: each has a copy of every check's data.
const UNITS_MAX: usize = 200;
/// Numbers that one backtest may hold, about half a gigabyte.
const NUMBERS_MAX: u64 = 30_000_000;
/// How long before the range a pod's samples tell that it did not start in it.
const NOT_BORN_MS: i64 = 3600 * 1000;

/// What the history is read by.
pub(super) struct Reader<'a> {
    pub(super) collector: &'a Collector,
    pub(super) tenant: &'a TenantId,
    pub(super) asked: &'a NewBacktest,
    pub(super) plan: &'a Plan,
    /// Versions that were refused: their pods are no good ones.
    pub(super) refused: BTreeSet<String>,
    /// Called with how many parts of the work are done, and of how many.
    pub(super) progress: &'a dyn Fn(usize, usize),
    pub(super) is_cancelled: &'a dyn Fn() -> bool,
}

/// What one check of one phase asks of the store.
struct Asked<'a> {
    check: &'a Check,
    filling: Filling,
}

impl Reader<'_> {
    /// Reads all that the plan's checks need.
    ///
    /// # Errors
    /// [`Stopped`] where it was ended, or the cohort or its data is too large.
    pub(super) fn read(&self) -> Result<History, Stopped> {
        let step_ms = self.plan.interval_ms();
        let (start_ms, end_ms) = edges(self.asked, step_ms);
        let n = usize::try_from((end_ms - start_ms) / step_ms).unwrap_or(0);
        let names = self.unit_names();
        let units = self.units(&names, start_ms, end_ms)?;
        let mut history = History { start_ms, step_ms, n, units, ..History::default() };
        let mut all: Vec<Asked<'_>> = Vec::new();
        let mut feeds: Vec<Vec<Feed>> = Vec::new();
        for phase in &self.plan.policy.phases {
            let mut own = Vec::new();
            for check in &phase.checks {
                if let Some(feed) = fed_otherwise(check) {
                    own.push(feed);
                    continue;
                }
                let filling = self.filling(phase);
                // A policy-level check is the same in each phase but for the scope.
                let is_same = |one: &Asked<'_>| one.check == check && one.filling == filling;
                let known = all.iter().position(is_same);
                own.push(Feed::Track(known.unwrap_or_else(|| {
                    all.push(Asked { check, filling });
                    all.len() - 1
                })));
            }
            feeds.push(own);
        }
        let events = self.events(&history, &names)?;
        let mut wrong: BTreeMap<usize, String> = BTreeMap::new();
        let mut n_numbers = 0;
        for (idx, asked) in all.iter().enumerate() {
            let at = |part: usize, n_parts: usize| (self.progress)(idx * n_parts + part, all.len() * n_parts);
            let track = match self.track(asked, &history, &names, &events, (&at, n_numbers))? {
                Ok(track) => track,
                Err(why) => {
                    wrong.insert(idx, why);
                    Track::default()
                }
            };
            n_numbers += numbers(&track);
            history.tracks.push(track);
        }
        let explained = |feed: Feed| match &feed {
            Feed::Track(idx) => wrong.get(idx).cloned().map_or(feed, Feed::Nowhere),
            Feed::Others | Feed::Nowhere(_) => feed,
        };
        history.checks = feeds.into_iter().map(|own| own.into_iter().map(explained).collect()).collect();
        history.starts = starts(&history, &events);
        Ok(history)
    }

    /// Reads one check's data of the whole history, or says why it cannot be read.
    ///
    /// - `at`: told which part is read, and of how many.
    /// - `n_before`: numbers that the checks before it hold.
    fn track(
        &self,
        asked: &Asked<'_>,
        history: &History,
        names: &[String],
        events: &[Event],
        (at, n_before): (&dyn Fn(usize, usize), u64),
    ) -> Result<Result<Track, String>, Stopped> {
        let mut track = Track {
            units: vec![None; history.units.len()],
            births: Vec::new(),
            tells_units: matches!(asked.check.kind, CheckKind::Ratio { .. }),
        };
        let step_ms = history.step_ms;
        for (part, first) in (0..history.n).step_by(CHUNK).enumerate() {
            at(part, history.n.div_ceil(CHUNK));
            self.check_cancelled()?;
            let start_ms = history.start_ms + first as i64 * step_ms;
            let grid = Grid { start_ms, step_ms, n: CHUNK.min(history.n - first) };
            let rows = match self.part(asked, grid, names, &history.units) {
                Ok(rows) => rows,
                Err(error) => return Ok(Err(format!("its data cannot be read: {error}"))),
            };
            for (unit, rows) in rows {
                pinned::append(&mut track.units[unit], rows);
            }
            if n_before + numbers(&track) > NUMBERS_MAX {
                let text = format!(
                    "with the check {:?} it holds more than {NUMBERS_MAX} numbers; take a shorter range, fewer units or \
                     a longer interval",
                    asked.check.name
                );
                return Err(Stopped::Unfit { field: "range", text });
            }
        }
        if track.units.iter().all(Option::is_none) {
            let queries = judge::queries(asked.check);
            let filled: Vec<String> = queries.iter().map(|query| asked.filling.fill(query)).collect();
            return Ok(Err(format!("no unit of the cohort has data in the range: {}", filled.join(", "))));
        }
        let end_ms = history.start_ms + history.n as i64 * step_ms;
        Ok(match self.births(asked, &track, events, names, end_ms) {
            Ok(births) => Ok(Track { births, ..track }),
            Err(error) => Err(format!("earlier starts cannot be read: {error}")),
        })
    }

    fn check_cancelled(&self) -> Result<(), Stopped> {
        if (self.is_cancelled)() { Err(Stopped::Cancelled) } else { Ok(()) }
    }

    /// Labels that name a unit.
    fn unit_names(&self) -> Vec<String> {
        match &self.asked.split_by {
            Some(label) => vec![label.clone()],
            None => self.plan.policy.unit.clone(),
        }
    }

    fn cohort(&self) -> CohortRequest {
        CohortRequest {
            name: String::new(),
            matchers: self.asked.matchers.clone(),
            pre_matchers: None,
            vars: self.asked.vars.clone(),
            filter: self.asked.filter.clone(),
        }
    }

    /// Both sides are of the released version, where the baseline is.
    fn filling(&self, phase: &Phase) -> Filling {
        Filling::new(Side::Baseline, &self.cohort(), phase, None, &self.plan.policy.interval.to_string())
    }

    /// Finds the cohort's units.
    fn units(&self, names: &[String], start_ms: i64, end_ms: i64) -> Result<Vec<String>, Stopped> {
        let wrong =
            |error: &dyn std::fmt::Display| Stopped::Unfit { field: "match", text: error.to_string() };
        let matchers = cohort::matchers(&self.asked.matchers).map_err(|e| wrong(&e))?;
        let mut known = BTreeSet::new();
        let everywhere = self.collector.everywhere(self.tenant, &self.plan.policy).map_err(|e| wrong(&e))?;
        let mut from = start_ms;
        while from < end_ms {
            self.check_cancelled()?;
            let to = end_ms.min(from + CHUNK as i64 * self.plan.interval_ms());
            let span = SpanMs { start: from, end: to - 1 };
            for one in &everywhere {
                one.metric_units(self.tenant, &matchers, names, span, &mut known).map_err(|e| wrong(&e))?;
            }
            from = to;
        }
        let checks = self.plan.policy.phases.iter().flat_map(|phase| &phase.checks);
        let range = TimeRange::new(Timestamp::from_millis(start_ms), Timestamp::from_millis(end_ms));
        if let (true, Ok(range)) = (checks.into_iter().any(|check| reads_logs(&check.kind)), range) {
            let filter = self.asked.filter.as_deref().unwrap_or("*");
            for one in &everywhere {
                let found =
                    one.record_units(self.tenant, (filter, matchers.clone()), names, range, &mut known);
                found.map_err(|e| wrong(&e))?;
            }
        }
        if known.is_empty() {
            let text = format!(
                "selects nothing in the range that has the label {}; name another with split_by",
                names.join(" or ")
            );
            return Err(Stopped::Unfit { field: "match", text });
        }
        if known.len() > UNITS_MAX {
            let text = format!(
                "selects {} units, more than {UNITS_MAX}; select fewer, as by zone, or split_by another label",
                known.len()
            );
            return Err(Stopped::Unfit { field: "match", text });
        }
        Ok(known.into_iter().collect())
    }

    /// Reads one check's data of some intervals, apart by unit.
    fn part(
        &self,
        asked: &Asked<'_>,
        grid: Grid,
        names: &[String],
        known: &[String],
    ) -> Result<Vec<(usize, Data)>, CollectError> {
        let ask = |units: &Units| {
            self.collector.collect(&Question {
                tenant: self.tenant,
                check: asked.check,
                filling: &asked.filling,
                units,
                unit_names: names,
                grid,
            })
        };
        if tells_units(asked.check) {
            let Some(data) = ask(&Units::all())? else { return Ok(Vec::new()) };
            let by_unit = apart(data).into_iter();
            return Ok(by_unit
                .filter_map(|(unit, data)| Some((known.binary_search(&unit).ok()?, data)))
                .collect());
        }
        let mut found = Vec::new();
        for (idx, unit) in known.iter().enumerate() {
            let mut data = ask(&Units::Only(BTreeSet::from([unit.clone()])))?;
            // All of it is this unit's.
            if let Some(Data::Raw(values)) = &mut data {
                values.units.clear();
            }
            found.extend(data.map(|data| (idx, data)));
        }
        Ok(found)
    }

    /// Finds starts of the cohort's pods that can serve as placebos, where the policy asks for them.
    fn events(&self, history: &History, names: &[String]) -> Result<Vec<Event>, Stopped> {
        let Some(wanted) = &self.plan.policy.births else { return Ok(Vec::new()) };
        let phase = &self.plan.policy.phases[0];
        let Some(check) = phase.checks.first() else { return Ok(Vec::new()) };
        let filling = self.filling(phase);
        let end_ms = history.start_ms + history.n as i64 * history.step_ms;
        let lived = self.plan.n_release() as i64 * history.step_ms;
        let wanted = Wanted {
            since_ms: history.start_ms,
            before_ms: end_ms,
            lived_ms: lived,
            at_most: wanted.at_most,
            refused: self.refused.clone(),
        };
        let question = Question {
            tenant: self.tenant,
            check,
            filling: &filling,
            units: &Units::all(),
            unit_names: names,
            grid: Grid { start_ms: history.start_ms, step_ms: history.step_ms, n: 1 },
        };
        let span = SpanMs { start: history.start_ms - NOT_BORN_MS, end: end_ms - 1 };
        self.check_cancelled()?;
        let lives = self.collector.lives(&question, span);
        let lives = lives.map_err(|error| Stopped::Unfit { field: "match", text: error.to_string() })?;
        Ok(collect::events(lives, &wanted))
    }

    /// Reads what starts showed, for checks that compare new pods with them.
    fn births(
        &self,
        asked: &Asked<'_>,
        track: &Track,
        events: &[Event],
        names: &[String],
        end_ms: i64,
    ) -> Result<Vec<BirthData>, CollectError> {
        let tells_pods = matches!(
            asked.check.kind,
            CheckKind::Mean { .. } | CheckKind::Ratio { .. } | CheckKind::Distribution { .. }
        );
        if !tells_pods || asked.check.by.is_some() || events.is_empty() {
            return Ok(Vec::new());
        }
        let values = track.units.iter().flatten().filter_map(|data| match data {
            Data::Values(series) => Some(series),
            _ => None,
        });
        let scale = match asked.check.kind {
            CheckKind::Mean { .. } => {
                let values = values.flatten().flat_map(|one| one.v.iter().flatten().copied());
                Scale::of_pods(asked.check, values)
            }
            _ => Scale::Linear,
        };
        let every = Units::all();
        let question = Question {
            tenant: self.tenant,
            check: asked.check,
            filling: &asked.filling,
            units: &every,
            unit_names: names,
            grid: Grid { start_ms: end_ms, step_ms: self.plan.interval_ms(), n: 1 },
        };
        self.collector.births(&question, events, scale, end_ms)
    }
}

/// Returns the first and the last edge inside of the range.
pub(super) fn edges(asked: &NewBacktest, step_ms: i64) -> (i64, i64) {
    let (start, end) = (asked.start.as_millis(), asked.end.as_millis());
    let first = start.div_euclid(step_ms) + i64::from(start.rem_euclid(step_ms) > 0);
    (first * step_ms, end.div_euclid(step_ms) * step_ms)
}

/// Says where a check's data is that is not read, or why it cannot be tested on a part of a cohort.
fn fed_otherwise(check: &Check) -> Option<Feed> {
    let text = match &check.kind {
        CheckKind::Users { .. } => {
            "users come to any unit, so which of them a placebo canary would have seen cannot be told"
        }
        CheckKind::Composite => return Some(Feed::Others),
        CheckKind::Mean { value: ValueQuery::LogQl(_) } => "a value in LogQL is not judged yet",
        _ => return None,
    };
    Some(Feed::Nowhere(text.to_owned()))
}

fn reads_logs(kind: &CheckKind) -> bool {
    let is_logs = |source: &Source| matches!(source, Source::Logs(_));
    match kind {
        CheckKind::Ratio { events, trials } => is_logs(events) || is_logs(trials),
        CheckKind::Count { events } => is_logs(events),
        CheckKind::Distribution { data } => matches!(data, Distribution::Values(_)),
        CheckKind::Patterns { .. } => true,
        CheckKind::Mean { .. } | CheckKind::Users { .. } | CheckKind::Composite => false,
    }
}

/// Tells whether one read of all units says what each of them showed.
fn tells_units(check: &Check) -> bool {
    match &check.kind {
        CheckKind::Ratio { .. } | CheckKind::Mean { .. } => true,
        CheckKind::Distribution { data } => matches!(data, Distribution::Histogram(_)),
        _ => false,
    }
}

/// Takes data of several units apart.
fn apart(data: Data) -> BTreeMap<String, Data> {
    match data {
        Data::Counts(Counts { units, .. }) => {
            units.into_iter().map(|(unit, own)| (unit, Data::Counts(own))).collect()
        }
        Data::Histogram(Histogram { units, .. }) => {
            units.into_iter().map(|(unit, own)| (unit, Data::Histogram(own))).collect()
        }
        Data::Values(all) => {
            let mut units: BTreeMap<String, Vec<Series>> = BTreeMap::new();
            all.into_iter().for_each(|one| units.entry(one.instance.clone()).or_default().push(one));
            units.into_iter().map(|(unit, own)| (unit, Data::Values(own))).collect()
        }
        Data::By(values) => {
            let mut units: BTreeMap<String, indexmap::IndexMap<String, Data>> = BTreeMap::new();
            for (value, data) in values {
                for (unit, own) in apart(data) {
                    units.entry(unit).or_default().insert(value.clone(), own);
                }
            }
            units.into_iter().map(|(unit, own)| (unit, Data::By(own))).collect()
        }
        Data::Raw(_) | Data::Patterns(_) | Data::Users(_) => BTreeMap::new(),
    }
}

/// Counts the numbers that a track holds.
fn numbers(track: &Track) -> u64 {
    track.units.iter().flatten().map(|data| data.n_rows().saturating_mul(width(data))).sum()
}

/// Numbers in a row of some data.
fn width(data: &Data) -> u64 {
    match data {
        Data::Counts(_) => 3,
        Data::Values(_) => 2,
        Data::Histogram(histogram) => histogram.le.len() as u64 + 1,
        Data::Raw(_) | Data::Patterns(_) | Data::Users(_) => 1,
        Data::By(values) => values.values().map(width).max().unwrap_or(1),
    }
}

/// Turns events of births into places among the units.
fn starts(history: &History, events: &[Event]) -> Vec<Start> {
    let place = |unit: &String| history.units.binary_search(unit).ok();
    let start = |event: &Event| {
        let at_ms = event.births.iter().map(|birth| birth.life.first_ms).min()?;
        let pods = event.births.iter().filter_map(|birth| {
            Some((place(&birth.life.unit)?, birth.peers.iter().filter_map(place).collect()))
        });
        Some(Start { event: at_ms.to_string(), at_ms, pods: pods.collect() })
    };
    events.iter().filter_map(start).collect()
}
