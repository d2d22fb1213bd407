//! Chooses the checks that both cohorts have data for, and makes a policy of them.

use std::collections::BTreeSet;

use greylight_store::model::{ErrorKind, Problem, TenantId, Timestamp};
use greylight_store::read::SpanMs;
use serde_json::{Map, Value, json};

use super::exposed::{Exposed, INSTANCE, shared_units};
use super::fill::{self, Terms, Unfilled};
use super::{DEFAULT, LIBRARY, Offer, Way};
use crate::collect::{CollectError, Collector, Grid, Question};
use crate::judge::Data;
use crate::policy::{self, Check, CheckKind, Distribution, Policy, Queries, Source, Vote};
use crate::release::cohort::{self, Filling, Side, Units};
use crate::release::request::NewRelease;

/// Width of the intervals that are looked at.
const STEP_MS: i64 = 60_000;
/// How many of them, up to now, or to half an hour into a release that began earlier.
const INTERVALS: i64 = 60;
const INTO_RELEASE_MS: i64 = 30 * STEP_MS;
/// A canary that has been there for less may still begin to show what the baseline shows.
const YOUNG_MS: i64 = 5 * STEP_MS;
/// How long the baseline goes on in a unit after the canary's first sample there where they share it.
const SHARED_MS: i64 = STEP_MS;
/// Where the canary's units were there before, their history is long enough for go: 180 intervals, and an hour's grace.
const HISTORY_MS: [i64; 2] = [240 * STEP_MS, 180 * STEP_MS];
/// The part of the baseline's values that lies within `$within`.
const WITHIN: f64 = 0.9;
/// Names that one sentence lists.
const NAMES_SHOWN: usize = 12;
/// Why a way that reads metrics is none for cohorts of one `match`.
const SAME_SERIES: &str = "both cohorts have one `match`, so only log records tell them apart";
/// What records and series without a check's label are called in its data.
const NO_VALUE: &str = "(none)";

/// The release that a policy is wanted for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) request: &'a NewRelease,
    pub(crate) now: Timestamp,
}

/// A policy made of packs.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// An ordinary policy.
    pub(crate) document: Value,
    /// `{ "taken": [..], "left": [..] }`: which checks it has and which it has not, and why.
    pub(crate) report: Value,
}

/// A check that fits, and how it was found.
#[derive(Clone, Debug)]
struct Taken {
    pack: &'static str,
    offer: &'static Offer,
    source: String,
    document: Map<String, Value>,
    check: Check,
    /// What a reader should know beside the reason for the margin.
    notes: Vec<&'static str>,
}

/// Why a way cannot be taken.
#[derive(Clone, Debug)]
enum Miss {
    /// A side has none of this.
    Absent(Side, String),
    /// Something else.
    Other(String),
}

/// What a trial comes to, where the store could be read.
type Trial<T> = Result<Result<T, Miss>, CollectError>;

/// Makes a policy of the checks that both cohorts have data for; blocks while it reads.
pub(crate) fn choose(collector: &Collector, asked: &Asked<'_>) -> Result<Chosen, Problem> {
    let frame = policy::from_document(&frame_with(json!([probe_phase(&[])])), Queries::Required);
    let frame = frame.map_err(|e| Problem::new(ErrorKind::Internal, e))?;
    let mut chooser = Chooser::new(collector, asked, &frame).map_err(|e| unread(&e))?;
    chooser.count_requests().map_err(|e| unread(&e))?;
    let (taken, left) = chooser.take().map_err(|e| unread(&e))?;
    if taken.is_empty() {
        return Err(chooser.nothing_fits());
    }
    let unit = if chooser.is_shared() {
        frame.unit.iter().filter(|name| *name != INSTANCE).cloned().collect()
    } else {
        frame.unit.clone()
    };
    let has_history = chooser.has_history(&unit).map_err(|e| unread(&e))?;
    composed(taken, left, &unit, has_history)
}

fn unread(error: &CollectError) -> Problem {
    let kind = match error {
        CollectError::Read(read) => read.kind(),
        CollectError::Query { .. } | CollectError::Unsupported(_) => ErrorKind::Invalid,
    };
    Problem::new(kind, format!("what the cohorts show cannot be read: {error}"))
        .field("policy")
        .value(DEFAULT)
}

struct Chooser<'a> {
    collector: Collector,
    asked: &'a Asked<'a>,
    unit_names: &'a [String],
    grid: Grid,
    start_ms: i64,
    sides: [Exposed; 2],
    /// The canary may still begin to show what it has not shown yet.
    is_young: bool,
    terms: Terms,
}

impl<'a> Chooser<'a> {
    fn new(collector: &Collector, asked: &'a Asked<'a>, frame: &'a Policy) -> Result<Self, CollectError> {
        let request = asked.request;
        let now_ms = asked.now.as_millis();
        let start_ms = request.start.map_or(now_ms, Timestamp::as_millis);
        // Up to and with this very millisecond.
        let end_ms = now_ms.min(start_ms.saturating_add(INTO_RELEASE_MS)) + 1;
        let grid = Grid { start_ms: end_ms - INTERVALS * STEP_MS, step_ms: STEP_MS, n: INTERVALS as usize };
        let interval = frame.interval.to_string();
        let cohorts = [&request.baseline, &request.canary].map(|cohort| cohort.matchers.clone());
        let collector = collector.joined(cohorts, grid.span())?;
        let see = |side, cohort| {
            let filling = Filling::new(side, cohort, &frame.phases[0], None, &interval);
            Exposed::see(&collector, asked.tenant, side, filling, &frame.unit, grid)
        };
        let sides = [see(Side::Baseline, &request.baseline)?, see(Side::Canary, &request.canary)?];
        let is_young = sides[1].first_ms().is_none_or(|first| first > end_ms - YOUNG_MS);
        Ok(Self {
            collector,
            asked,
            unit_names: &frame.unit,
            grid,
            start_ms,
            sides,
            is_young,
            terms: Terms::new(),
        })
    }

    /// Tells whether the cohorts share instances, or may once the canary shows itself.
    fn is_shared(&self) -> bool {
        let [baseline, canary] = &self.sides;
        shared_units(baseline, canary, SHARED_MS) || (self.is_young && baseline.names_machines)
    }

    /// Tells whether the canary's units ran the old version long enough before.
    fn has_history(&self, unit_names: &[String]) -> Result<bool, CollectError> {
        let request = self.asked.request;
        if request.canary.pre_matchers.is_some() {
            return Ok(true);
        }
        let before = request.baseline.pre_matchers.as_ref().unwrap_or(&request.baseline.matchers);
        let matchers = cohort::matchers(before)
            .map_err(|e| CollectError::Query { query: before.clone(), detail: e.to_string() })?;
        let [start, end] = HISTORY_MS.map(|before| self.start_ms.saturating_sub(before));
        let mut was = BTreeSet::new();
        let span = SpanMs { start, end };
        self.collector.metric_units(self.asked.tenant, &matchers, unit_names, span, &mut was)?;
        Ok(self.sides[1].units.keys().any(|unit| was.contains(unit)))
    }

    /// Finds how requests are counted.
    fn count_requests(&mut self) -> Result<(), CollectError> {
        let mut is_first = true;
        for role in &LIBRARY.roles {
            let Some(found) = self.way_to_count(&role.ways)? else { continue };
            for (name, value) in found {
                if is_first {
                    self.terms.insert(name.clone(), value.clone());
                }
                self.terms.insert(format!("{}_{name}", role.role), value);
            }
            is_first = false;
        }
        Ok(())
    }

    fn way_to_count(&self, ways: &[super::RoleWay]) -> Result<Option<Map<String, Value>>, CollectError> {
        for way in ways {
            for terms in with_each(&Terms::new(), &way.each) {
                let Ok(texts) = fill::fill_map(&way.texts, &terms) else { continue };
                let Some(requests) = texts.get("requests") else { continue };
                if self.is_there(requests)?.is_ok() {
                    return Ok(Some(texts));
                }
            }
        }
        Ok(None)
    }

    /// Tells whether both sides have series of a selector or records of a log query.
    fn is_there(&self, what: &Value) -> Trial<()> {
        if what.is_string() && self.is_of_records() {
            return Ok(Err(Miss::Other(SAME_SERIES.to_owned())));
        }
        for exposed in &self.sides {
            let (tenant, grid) = (self.asked.tenant, self.grid);
            let (found, shown) = match what {
                Value::String(selector) => {
                    (exposed.has_series(&self.collector, tenant, selector, grid)?, series_named(selector))
                }
                other => {
                    let query = other["logs"].as_str().unwrap_or("*");
                    (exposed.has_records(&self.collector, tenant, query, grid)?, records_named(query))
                }
            };
            if !found && !self.may_come(exposed) {
                return Ok(Err(Miss::Absent(exposed.side, shown)));
            }
        }
        Ok(Ok(()))
    }

    /// Tells whether the cohorts have one `match`, so that only log queries tell them apart.
    fn is_of_records(&self) -> bool {
        let request = self.asked.request;
        request.baseline.matchers == request.canary.matchers
    }

    fn may_come(&self, exposed: &Exposed) -> bool {
        exposed.side == Side::Canary && self.is_young
    }

    /// Takes of each check the first way that fits; the rest is left, each with why.
    fn take(&self) -> Result<(Vec<Taken>, Vec<Value>), CollectError> {
        let (mut taken, mut left): (Vec<Taken>, Vec<Value>) = (Vec::new(), Vec::new());
        for pack in &LIBRARY.packs {
            for offer in &pack.checks {
                let leave = |why: String| json!({ "pack": pack.pack, "check": offer.name, "why": why });
                if let Some(other) = taken.iter().find(|one| offer.unless.contains(&one.offer.name)) {
                    left.push(leave(format!("{:?} is taken in its place", other.offer.name)));
                    continue;
                }
                let n_means =
                    taken.iter().filter(|one| matches!(one.check.kind, CheckKind::Mean { .. })).count();
                if offer.check.get("kind").is_some_and(|kind| kind == "composite") && n_means < 2 {
                    left.push(leave(format!("it adds up mean checks, and {n_means} of them are taken")));
                    continue;
                }
                match self.first_way(&pack.pack, offer)? {
                    Ok(one) => taken.push(one),
                    Err(misses) => left.push(leave(in_words(misses))),
                }
            }
        }
        Ok((taken, left))
    }

    fn first_way(
        &self,
        pack: &'static str,
        offer: &'static Offer,
    ) -> Result<Result<Taken, Vec<Miss>>, CollectError> {
        let mut misses = Vec::new();
        for way in &offer.from {
            for terms in with_each(&self.terms, &way.each) {
                match self.way(pack, offer, way, terms)? {
                    Ok(taken) => return Ok(Ok(taken)),
                    Err(miss) => misses.push(miss),
                }
            }
        }
        Ok(Err(misses))
    }

    fn way(&self, pack: &'static str, offer: &'static Offer, way: &Way, mut terms: Terms) -> Trial<Taken> {
        let mut needs = way.needs.clone();
        if let Some(within) = &way.within {
            let bound = match filled(fill::fill(within, &terms)) {
                Ok(within) => self.bound(&within)?,
                Err(miss) => Err(miss),
            };
            match bound {
                Ok(bound) => terms.insert("within".to_owned(), Value::String(bound)),
                Err(miss) => return Ok(Err(miss)),
            };
            // Buckets are told apart by a text, which both sides must write alike.
            needs.extend(way.data.get("events").filter(|events| events.is_string()).cloned());
        }
        for need in needs {
            match filled(fill::fill(&need, &terms)) {
                Ok(need) => match self.is_there(&need)? {
                    Ok(()) => {}
                    Err(miss) => return Ok(Err(miss)),
                },
                Err(miss) => return Ok(Err(miss)),
            }
        }
        let filled = filled(fill::fill_map(&way.data, &terms))
            .and_then(|data| Ok((data, filled(fill::fill_text(&way.source, &terms))?)));
        let (data, source) = match filled {
            Ok(filled) => filled,
            Err(miss) => return Ok(Err(miss)),
        };
        let mut document = Map::from_iter([("name".to_owned(), Value::from(offer.name.clone()))]);
        document.extend(offer.check.clone());
        document.extend(data);
        let check = match parsed_check(&document) {
            Ok(check) => check,
            Err(why) => return Ok(Err(Miss::Other(why))),
        };
        if self.is_of_records() && reads_series(&check) {
            return Ok(Err(Miss::Other(SAME_SERIES.to_owned())));
        }
        let mut notes = Vec::new();
        if check.kind != CheckKind::Composite {
            for exposed in &self.sides {
                match self.has_data(exposed, &check, way.values_max)? {
                    Ok(true) => {}
                    Ok(false) if self.may_come(exposed) => {
                        notes.push("the canary has only just begun and does not show it yet");
                    }
                    Ok(false) => {
                        let what = terms.get("each").and_then(Value::as_str);
                        return Ok(Err(Miss::Absent(exposed.side, what_of(&document, what, &source))));
                    }
                    Err(miss) => return Ok(Err(miss)),
                }
            }
        }
        Ok(Ok(Taken { pack, offer, source, document, check, notes }))
    }

    /// Tells whether a side has data as the judge would read it.
    fn has_data(&self, exposed: &Exposed, check: &Check, values_max: Option<usize>) -> Trial<bool> {
        let question = Question {
            tenant: self.asked.tenant,
            check,
            filling: &exposed.filling,
            units: &Units::all(),
            unit_names: self.unit_names,
            grid: self.grid,
        };
        match self.collector.collect(&question) {
            Ok(Some(Data::By(values))) if values_max.is_some_and(|max| values.len() > max) => {
                let by = check.by.as_ref().map_or("", |by| by.name.as_str());
                let text = format!("{by} has {} values, more than {}", values.len(), values_max.unwrap_or(0));
                Ok(Err(Miss::Other(text)))
            }
            Ok(data) => Ok(Ok(data.as_ref().is_some_and(has_values))),
            Err(error @ CollectError::Read(_)) => Err(error),
            Err(error) => Ok(Err(Miss::Other(error.to_string()))),
        }
    }

    /// Finds the bound within which most of the baseline's values lie.
    fn bound(&self, within: &Value) -> Trial<String> {
        let (kind, absent) = match within {
            Value::String(selector) => {
                let kind = json!({ "kind": "ratio", "events": selector, "trials": selector, "by": "le" });
                (kind, series_named(selector))
            }
            query => {
                let shown = records_named(query["logs"].as_str().unwrap_or("*"));
                (json!({ "kind": "distribution", "values": query }), shown)
            }
        };
        let mut document = Map::from_iter([("name".into(), json!("within")), ("vote".into(), json!("none"))]);
        document.extend(kind.as_object().cloned().unwrap_or_default());
        let check = match parsed_check(&document) {
            Ok(check) => check,
            Err(why) => return Ok(Err(Miss::Other(why))),
        };
        let [baseline, _] = &self.sides;
        let question = Question {
            tenant: self.asked.tenant,
            check: &check,
            filling: &baseline.filling,
            units: &Units::all(),
            unit_names: self.unit_names,
            grid: self.grid,
        };
        let found = match self.collector.collect(&question) {
            Ok(Some(Data::By(buckets))) => Ok(bucket_bound(&buckets)),
            Ok(Some(Data::Raw(values))) => {
                Ok(number_bound(values.values.into_iter().flatten().flatten().collect()))
            }
            Ok(_) => Err(Miss::Absent(Side::Baseline, absent.clone())),
            Err(error @ CollectError::Read(_)) => return Err(error),
            Err(error) => Err(Miss::Other(error.to_string())),
        };
        Ok(found.and_then(|bound| {
            let text = format!("no bound of {absent} has nine of ten values below it");
            bound.ok_or(Miss::Other(text))
        }))
    }

    fn nothing_fits(&self) -> Problem {
        let packs: Vec<&str> = LIBRARY.packs.iter().map(|pack| pack.pack.as_str()).collect();
        let [baseline, canary] = self.sides.each_ref().map(Exposed::in_words);
        let text = format!(
            "no pack fits: {} were tried (docs/packs.md lists the names that they look for); over the last hour the \
             baseline {baseline}; the canary {canary}; correct the cohorts' matchers, or write a policy",
            packs.join(", ")
        );
        Problem::new(ErrorKind::Invalid, text).field("policy").value(DEFAULT)
    }
}

/// The terms, once for each entry of a list in the place of `$each`; as they are where there is none.
fn with_each<'t>(terms: &'t Terms, each: &'t [String]) -> impl Iterator<Item = Terms> + 't {
    let of = |entry: &String| {
        let mut terms = terms.clone();
        terms.insert("each".to_owned(), Value::String(entry.clone()));
        // An entry may be a selector: then it holds what the policy fills.
        terms
    };
    let alone = each.is_empty().then(|| terms.clone());
    alone.into_iter().chain(each.iter().map(of))
}

fn filled<T>(filled: Result<T, Unfilled>) -> Result<T, Miss> {
    filled.map_err(|unfilled| {
        Miss::Other(match unfilled {
            Unfilled::LogQuery(name) => {
                format!("{name} are counted in log records, which a query of metrics cannot read")
            }
            Unfilled::Unknown(_) => "no counter of requests by a known name".to_owned(),
        })
    })
}

/// A phase that holds these checks.
fn probe_phase(checks: &[&Map<String, Value>]) -> Value {
    let probe = json!({ "name": "probe", "kind": "composite" });
    let checks = if checks.is_empty() { json!([probe]) } else { json!(checks) };
    json!({ "name": "probe", "lasts": { "at_most": "1h" }, "checks": checks })
}

fn frame_with(phases: Value) -> Value {
    let mut document = LIBRARY.frame.clone();
    document["phases"] = phases;
    document
}

/// Reads one check by the ordinary parser.
fn parsed_check(document: &Map<String, Value>) -> Result<Check, String> {
    let policy = policy::from_document(&frame_with(json!([probe_phase(&[document])])), Queries::Required);
    let mut policy = policy.map_err(|e| e.to_string())?;
    Ok(policy.phases.swap_remove(0).checks.swap_remove(0))
}

/// Tells whether a check reads metrics.
fn reads_series(check: &Check) -> bool {
    let is_logs = |source: &Source| matches!(source, Source::Logs(_));
    match &check.kind {
        CheckKind::Ratio { events, trials } => !is_logs(events) || !is_logs(trials),
        CheckKind::Distribution { data } => !matches!(data, Distribution::Values(_)),
        CheckKind::Count { .. } | CheckKind::Mean { .. } => true,
        CheckKind::Patterns { .. } | CheckKind::Users { .. } | CheckKind::Composite => false,
    }
}

fn has_values(data: &Data) -> bool {
    match data {
        Data::Counts(counts) => counts.exposure.iter().any(Option::is_some),
        Data::Values(series) => series.iter().any(|series| series.v.iter().any(Option::is_some)),
        Data::Histogram(histogram) => histogram.counts.iter().any(Option::is_some),
        Data::Raw(values) => values.values.iter().any(Option::is_some),
        Data::Patterns(patterns) => patterns.records.iter().any(Option::is_some),
        Data::Users(users) => !users.users.is_empty(),
        Data::By(values) => values.iter().any(|(value, data)| value != NO_VALUE && has_values(data)),
    }
}

/// The least bound of cumulated buckets with most of the values below it, as its label is written.
fn bucket_bound(buckets: &indexmap::IndexMap<String, Data>) -> Option<String> {
    let total = |data: &Data| match data {
        Data::Counts(counts) => counts.exposure.iter().flatten().sum::<f64>(),
        _ => 0.0,
    };
    let mut bounds: Vec<(f64, &String, f64)> =
        buckets.iter().filter_map(|(le, data)| Some((le.parse::<f64>().ok()?, le, total(data)))).collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = bounds.last().map(|(_, _, n)| *n).filter(|n| *n > 0.0)?;
    // A bound that holds every value tells nothing of those that come near it: a lower one does, if it holds most.
    let (whole, parts): (Vec<_>, Vec<_>) =
        bounds.into_iter().filter(|(le, ..)| le.is_finite()).partition(|(_, _, n)| *n >= all);
    let most = parts.iter().find(|(_, _, n)| *n >= WITHIN * all);
    let half = parts.last().filter(|(_, _, n)| *n >= all / 2.0);
    most.or(half).or(whole.first()).map(|(_, le, _)| (*le).clone())
}

/// The quantile of numbers, rounded up to two digits, so that it reads well.
fn number_bound(mut numbers: Vec<f64>) -> Option<String> {
    numbers.retain(|number| number.is_finite());
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    let at = ((numbers.len() as f64 * WITHIN).ceil() as usize).saturating_sub(1).min(last);
    let number = numbers[at];
    if number <= 0.0 {
        return None;
    }
    // By powers of ten of the unit in the second digit: dividing keeps 0.25 what it is.
    let digits = 1 - number.log10().floor() as i32;
    let scale = 10_f64.powi(digits.abs());
    let rounded = if digits >= 0 {
        (number * scale - 1e-9).ceil() / scale
    } else {
        (number / scale - 1e-9).ceil() * scale
    };
    Some(rounded.to_string())
}

/// What a check reads, for people.
fn what_of(document: &Map<String, Value>, each: Option<&str>, source: &str) -> String {
    let reads = ["trials", "histogram", "values", "logs", "events"].iter().find_map(|key| document.get(*key));
    match (document.get("by"), each, reads) {
        (Some(by), _, _) => format!("values of {}", by.as_str().unwrap_or_default()),
        (None, _, Some(Value::String(selector))) => series_named(selector),
        (None, _, Some(query)) if query["logs"].is_string() => {
            records_named(query["logs"].as_str().unwrap_or_default())
        }
        (None, Some(each), _) => series_named(each),
        (None, None, _) => source.to_owned(),
    }
}

fn series_named(selector: &str) -> String {
    selector.replace(", $cohort", "").replace("{$cohort}", "")
}

fn records_named(query: &str) -> String {
    if query == "*" { "log records".to_owned() } else { format!("log records {query}") }
}

/// Puts together why no way fits.
fn in_words(misses: Vec<Miss>) -> String {
    let (mut absent, mut others) = ([Vec::new(), Vec::new()], Vec::new());
    for miss in misses {
        let (list, text) = match miss {
            Miss::Absent(Side::Baseline, what) => (&mut absent[0], what),
            Miss::Absent(Side::Canary, what) => (&mut absent[1], what),
            Miss::Other(text) => (&mut others, text),
        };
        if !list.contains(&text) {
            list.push(text);
        }
    }
    let listed = |mut names: Vec<String>, side: &str| {
        let more = names.len().saturating_sub(NAMES_SHOWN);
        names.truncate(NAMES_SHOWN);
        let more = if more > 0 { format!(", nor {more} other names") } else { String::new() };
        (!names.is_empty()).then(|| format!("no {}{more} on the {side}", names.join(", ")))
    };
    let [baseline, canary] = absent;
    let sentences = others.into_iter().chain(listed(canary, "canary")).chain(listed(baseline, "baseline"));
    sentences.collect::<Vec<_>>().join("; ")
}

/// Whether go of a check waits for a history of both sides.
fn needs_history(check: &Check) -> bool {
    matches!(check.kind, CheckKind::Mean { .. } | CheckKind::Distribution { .. })
}

/// Makes the policy's document of what was taken.
fn composed(
    mut taken: Vec<Taken>,
    left: Vec<Value>,
    unit: &[String],
    has_history: bool,
) -> Result<Chosen, Problem> {
    let is_full = |one: &Taken| one.check.vote == Vote::Full;
    // New units have no history, without which such checks may never go. They must not hold up those that can.
    let can_go = taken.iter().any(|one| is_full(one) && !needs_history(&one.check));
    if !has_history && can_go {
        for one in taken.iter_mut().filter(|one| is_full(one) && needs_history(&one.check)) {
            one.document.insert("vote".to_owned(), json!("veto"));
            one.check.vote = Vote::Veto;
            one.notes.push(
                "the canary's units have no history: go does not wait for it, and it refuses where earlier starts, fresh \
                 pods or enough old ones say how new ones behave",
            );
        }
    }
    let mut phases: Vec<(Value, Vec<Taken>)> = Vec::new();
    let mut waiting: Vec<Taken> = Vec::new();
    for phase in LIBRARY.frame["phases"].as_array().into_iter().flatten() {
        let (own, others) = taken.into_iter().partition(|one: &Taken| phase["name"] == one.offer.phase);
        taken = others;
        waiting.extend::<Vec<Taken>>(own);
        // A phase that cannot go would be the last one: its checks join the next that can.
        if waiting.iter().any(is_full) {
            phases.push((phase.clone(), std::mem::take(&mut waiting)));
        }
    }
    match phases.last_mut() {
        Some((_, checks)) => checks.extend(waiting),
        None => {
            let last = LIBRARY.frame["phases"].as_array().and_then(|phases| phases.last());
            phases.push((last.cloned().unwrap_or(Value::Null), waiting));
        }
    }
    // What adds up the means of a phase must come behind them.
    for (_, checks) in &mut phases {
        checks.sort_by_key(|one| one.check.kind == CheckKind::Composite);
    }
    let report: Vec<Value> = phases
        .iter()
        .flat_map(|(phase, checks)| checks.iter().map(move |one| taken_json(one, &phase["name"])))
        .collect();
    let documents = phases.into_iter().map(|(mut phase, checks)| {
        phase["checks"] = checks.into_iter().map(|one| Value::Object(one.document)).collect();
        phase
    });
    let mut document = frame_with(documents.collect());
    document["unit"] = json!(unit);
    policy::from_document(&document, Queries::Required)
        .map_err(|e| Problem::new(ErrorKind::Internal, format!("the packs make no policy: {e}")))?;
    Ok(Chosen { document, report: json!({ "taken": report, "left": left }) })
}

fn taken_json(one: &Taken, phase: &Value) -> Value {
    let reads = ["events", "trials", "histogram", "values", "value", "logs"];
    let reads: Map<String, Value> =
        reads.iter().filter_map(|key| Some(((*key).to_owned(), one.document.get(*key)?.clone()))).collect();
    json!({
        "pack": one.pack, "check": one.offer.name, "phase": phase, "source": one.source, "reads": reads,
        "vote": one.check.vote.word(), "margin": one.document.get("margin"), "why": one.offer.why,
        "note": (!one.notes.is_empty()).then(|| one.notes.join("; ")),
    })
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::judge::Counts;

    #[test]
    fn the_bound_of_buckets_holds_nine_of_ten_and_not_all() {
        let check = |cumulated: &[(&str, f64)], want: Option<&str>| {
            let of = |n: f64| Data::Counts(Counts { exposure: vec![Some(n)], ..Counts::default() });
            let buckets: IndexMap<String, Data> =
                cumulated.iter().map(|(le, n)| ((*le).to_owned(), of(*n))).collect();
            assert_eq!(bucket_bound(&buckets).as_deref(), want, "{cumulated:?}");
        };
        check(&[("+Inf", 100.0), ("0.1", 50.0), ("1.0", 99.0), ("0.5", 91.0)], Some("0.5"));
        check(&[("0.1", 70.0), ("0.5", 100.0), ("+Inf", 100.0)], Some("0.1"));
        check(&[("0.1", 20.0), ("0.5", 100.0), ("+Inf", 100.0)], Some("0.5"));
        check(&[("0.1", 20.0), ("+Inf", 100.0)], None);
        check(&[("0.1", 0.0), ("+Inf", 0.0)], None);
    }

    #[test]
    fn the_bound_of_numbers_has_two_digits() {
        let check = |numbers: &[f64], want: Option<&str>| {
            assert_eq!(number_bound(numbers.to_vec()).as_deref(), want, "{numbers:?}");
        };
        check(&[0.132; 10], Some("0.14"));
        check(&[0.25; 3], Some("0.25"));
        check(&[1234.0], Some("1300"));
        check(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1000.0], Some("9"));
        check(&[0.0; 4], None);
        check(&[], None);
    }

    #[test]
    fn what_is_absent_is_told_by_side_once() {
        let absent = |side, what: &str| Miss::Absent(side, what.to_owned());
        let misses = vec![
            absent(Side::Baseline, "a"),
            absent(Side::Canary, "b"),
            absent(Side::Baseline, "a"),
            Miss::Other("c".to_owned()),
        ];
        assert_eq!(in_words(misses), "c; no b on the canary; no a on the baseline");
        let many = (0..15).map(|n| absent(Side::Canary, &format!("m{n}"))).collect();
        assert!(in_words(many).ends_with("m11, nor 3 other names on the canary"));
    }
}
