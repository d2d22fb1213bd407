//! Tells whether an interval's data is whole before the policy's delay has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use greylight_query::promql;
use greylight_store::model::{Matcher, TimeRange, Timestamp};
use greylight_store::read::{Select, SpanMs};

use super::logs::searched;
use super::metrics::{bucket_selector, parsed, present};
use super::{CollectError, Collector, Question};
use crate::policy::{CheckKind, Distribution, Source, Users, ValueQuery};
use crate::release::cohort::unit_of;

/// Whether each unit that a source shows has something after the interval's end.
type Seen = BTreeMap<String, bool>;

impl Collector {
    /// Tells whether every unit of a side has something after the grid's end in each source that the
    /// check reads.
    ///
    /// What arrives in order is whole up to what arrived last, so the interval can be looked at. The
    /// grid is the last few intervals: units that show nothing in it say nothing. A check whose sources
    /// show no unit at all is never whole: its data may be still on the way.
    pub(crate) fn is_whole(&self, q: &Question<'_>, now: Timestamp) -> Result<bool, CollectError> {
        self.at(q)?.is_whole_here(q, now)
    }

    fn is_whole_here(&self, q: &Question<'_>, now: Timestamp) -> Result<bool, CollectError> {
        let sources = sources(q)?;
        let samples = sources.selectors.iter().map(|matchers| self.later_samples(q, matchers, now));
        let records = sources.logs.iter().map(|matchers| self.later_records(q, matchers, now));
        let mut any = false;
        for seen in samples.chain(records) {
            let seen = seen?;
            if seen.values().any(|is_later| !is_later) {
                return Ok(false);
            }
            any |= !seen.is_empty();
        }
        Ok(any)
    }

    fn later_samples(
        &self,
        q: &Question<'_>,
        matchers: &[Matcher],
        now: Timestamp,
    ) -> Result<Seen, CollectError> {
        let budget = self.budget();
        let span = SpanMs { start: q.grid.start_ms, end: now.as_millis().max(q.grid.end_ms()) };
        let selection = self.metrics.select(q.tenant, &Select { matchers, span }, &budget)?;
        let mut seen = Seen::new();
        self.each_kept(q, &*selection, &budget, |i, samples| {
            let Some(unit) = unit_of(&selection.series()[i], q.unit_names) else { return };
            if let Some(at) = present(samples).next_back() {
                *seen.entry(unit.to_string()).or_default() |= samples.t_ms[at] >= q.grid.end_ms();
            }
        })?;
        Ok(seen)
    }

    /// Any record of the cohort counts: the events that the check counts may be rare.
    fn later_records(&self, q: &Question<'_>, matchers: &str, now: Timestamp) -> Result<Seen, CollectError> {
        let (start, end) = (Timestamp::from_millis(q.grid.start_ms), Timestamp::from_millis(q.grid.end_ms()));
        let until =
            now.saturating_add(Duration::from_nanos(1)).max(end.saturating_add(Duration::from_nanos(1)));
        let mut seen: Seen =
            self.units_with_records(q, matchers, start, end)?.into_iter().map(|unit| (unit, false)).collect();
        for unit in self.units_with_records(q, matchers, end, until)? {
            seen.insert(unit, true);
        }
        Ok(seen)
    }

    fn units_with_records(
        &self,
        q: &Question<'_>,
        matchers: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<BTreeSet<String>, CollectError> {
        let range = TimeRange::new(start, end).expect("the end lies after the start");
        let mut units = BTreeSet::new();
        let search = q.filling.fill_log_query("*");
        let records = (search.as_str(), self.log_matchers(q, matchers)?);
        self.record_units(q.tenant, records, q.unit_names, range, &mut units)?;
        units.retain(|unit| q.units.keep(Some(unit)));
        Ok(units)
    }
}

/// What a check reads, each part once: a ratio's events and trials are often records of one log.
#[derive(Default)]
struct Sources {
    selectors: Vec<Vec<Matcher>>,
    logs: BTreeSet<String>,
}

impl Sources {
    fn select(&mut self, matchers: Vec<Matcher>) {
        if !self.selectors.contains(&matchers) {
            self.selectors.push(matchers);
        }
    }

    fn add(&mut self, q: &Question<'_>, source: &Source) -> Result<(), CollectError> {
        match source {
            Source::Selectors(selectors) => {
                for selector in selectors {
                    self.select(parsed(&q.filling.fill(selector))?);
                }
            }
            Source::Logs(query) => {
                self.logs.insert(query.matchers.clone());
            }
            Source::Given => {}
        }
        Ok(())
    }
}

fn sources(q: &Question<'_>) -> Result<Sources, CollectError> {
    let mut all = Sources::default();
    match &q.check.kind {
        CheckKind::Ratio { events, trials } => {
            all.add(q, events)?;
            all.add(q, trials)?;
        }
        CheckKind::Count { events } => all.add(q, events)?,
        CheckKind::Mean { value: ValueQuery::PromQl(query) } => {
            let query = q.filling.fill(query);
            let parsed = promql::Query::parse(&query)
                .map_err(|e| CollectError::Query { query, detail: e.to_string() })?;
            parsed.expr().selectors().into_iter().for_each(|one| all.select(one.matchers.clone()));
        }
        CheckKind::Distribution { data: Distribution::Histogram(names) } => {
            for name in names {
                let name = q.filling.fill(name);
                all.select(parsed(&name)?);
                all.select(parsed(&bucket_selector(&name))?);
            }
        }
        CheckKind::Distribution { data: Distribution::Values(query) } => {
            all.logs.insert(query.matchers.clone());
        }
        CheckKind::Patterns { logs, trials, .. } => {
            all.logs.extend(searched(logs).map(|(_, matchers)| matchers.to_string()));
            trials.iter().try_for_each(|trials| all.add(q, trials))?;
        }
        CheckKind::Users { users: Users::Logs { query, .. } } => {
            all.logs.insert(query.matchers.clone());
        }
        CheckKind::Mean { .. }
        | CheckKind::Distribution { .. }
        | CheckKind::Users { .. }
        | CheckKind::Composite => {}
    }
    Ok(all)
}
