//! Reads log records of one side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use greylight_query::record::record_json;
use greylight_store::model::{Matcher, TenantId, TimeRange, Timestamp};
use greylight_store::read::{
    CountGroup, GroupBy, Intervals, LogOrder, LogQuery as Search, LogSelect, PageRequest,
};
use indexmap::IndexMap;

use super::metrics::{Booked, Cells};
use super::{CollectError, Collector, Grid, Question};
use crate::judge::{Data, Pattern, PatternCounts, Values};
use crate::policy::{LogQuery, Severity, Source};
use crate::release::cohort::{self, Filling, Units, unit_of};

/// Patterns that are compared at most; more are a sign that the text is free, and the rarest go.
const PATTERNS_MAX: usize = 5000;
/// Records that a verdict shows of one pattern.
const EXAMPLES: usize = 3;

impl Collector {
    /// Counts the records of a log query by a field, if one is named, and by unit; nothing where the cohort has none.
    pub(super) fn log_counts(
        &self,
        q: &Question<'_>,
        query: &LogQuery,
        by: Option<&str>,
    ) -> Result<Cells, CollectError> {
        let by: Vec<GroupBy> = by.iter().map(|name| GroupBy::Field((*name).to_owned())).collect();
        let mut cells = Cells::new();
        for (key, counts) in self.counted(q, &query.query, &query.matchers, &by)? {
            let value = key.more.into_iter().next().unwrap_or_default();
            let unit = key.units.into_iter().next().unwrap_or_default();
            let units = cells.entry(value).or_default();
            let booked = units.entry(unit).or_insert_with(|| Booked::new(q.grid.n));
            for (i, n) in counts.into_iter().enumerate().filter(|(_, n)| *n > 0) {
                booked.sums[i] += n as f64;
                booked.present[i] = true;
            }
        }
        Ok(cells)
    }

    /// Collects a field's numbers.
    pub(super) fn values(&self, q: &Question<'_>, query: &LogQuery) -> Result<Option<Data>, CollectError> {
        let Some(field) = &query.field else {
            return Err(CollectError::Unsupported(
                "values from logs need the field that holds the number".into(),
            ));
        };
        if let Some(by) = &q.check.by {
            return self.values_by(q, query, field, &by.name);
        }
        let t_ms = q.grid.starts();
        let mut units = IndexMap::new();
        // One question a unit, since the units that are left out cannot be named in a query.
        for (unit, more) in self.log_units(q, &query.matchers)? {
            let mut select = self.select_logs(q, &query.query, &query.matchers)?;
            select.matchers.extend(more);
            let numbers = self.logs.numbers(q.tenant, &select, intervals(q.grid), field, &self.budget())?;
            // Sorted: a pinned list must not depend on the order in which files were read.
            let sorted = |mut row: Vec<f64>| {
                row.sort_by(f64::total_cmp);
                (!row.is_empty()).then_some(row)
            };
            let values: Vec<Option<Vec<f64>>> = numbers.values.into_iter().map(sorted).collect();
            if values.iter().any(Option::is_some) {
                units.insert(unit, Values { t_ms: t_ms.clone(), values, units: IndexMap::new() });
            }
        }
        if units.is_empty() {
            return Ok(None);
        }
        let mut all = Values::of_units(t_ms, units);
        if all.units.keys().all(String::is_empty) {
            all.units.clear();
        }
        Ok(Some(Data::Raw(all)))
    }

    /// Counts the templates of a cohort's records.
    pub(super) fn patterns(
        &self,
        q: &Question<'_>,
        logs: &Source,
        severity: Option<Severity>,
        trials: Option<&Source>,
    ) -> Result<Option<Data>, CollectError> {
        let Some((search, matchers)) = searched(logs) else { return Ok(None) };
        let rows = self.counted(q, search, matchers, &[GroupBy::Template, GroupBy::Severity])?;
        let mut records = vec![0.0; q.grid.n];
        let mut patterns: BTreeMap<String, (Severity, Vec<f64>)> = BTreeMap::new();
        for (key, counts) in rows {
            records.iter_mut().zip(&counts).for_each(|(sum, n)| *sum += *n as f64);
            let level = key.more.get(1).and_then(|word| Severity::from_word(word));
            if severity.is_some_and(|least| level.is_none_or(|level| level < least)) {
                continue;
            }
            let template = key.more.into_iter().next().unwrap_or_default();
            let level = level.unwrap_or(Severity::Info);
            let entry = patterns.entry(template).or_insert_with(|| (level, vec![0.0; q.grid.n]));
            entry.0 = entry.0.max(level);
            entry.1.iter_mut().zip(&counts).for_each(|(sum, n)| *sum += *n as f64);
        }
        let Some((present, trials)) = self.exposure(q, trials, &records)? else { return Ok(None) };
        let mask = |v: &[f64]| present.iter().zip(v).map(|(&p, &n)| p.then_some(n)).collect::<Vec<_>>();
        let mut named: Vec<(String, Pattern)> = Vec::new();
        for (id, (level, counts)) in patterns {
            let text = self.template_text(q.tenant, &id);
            let (severity, counts) = (Some(level.word().into()), mask(&counts));
            named.push((id, Pattern { text, severity, counts, ..Pattern::default() }));
        }
        let total = |p: &Pattern| p.counts.iter().flatten().sum::<f64>();
        if named.len() > PATTERNS_MAX {
            named.sort_by(|a, b| total(&b.1).total_cmp(&total(&a.1)).then_with(|| a.0.cmp(&b.0)));
            named.truncate(PATTERNS_MAX);
        }
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let patterns: IndexMap<String, Pattern> = named.into_iter().collect();
        let trials = trials.map(|t| mask(&t));
        Ok(Some(Data::Patterns(PatternCounts {
            t_ms: q.grid.starts(),
            records: mask(&records),
            trials,
            patterns,
        })))
    }

    /// Finds the newest records of a template, as log searches give them.
    pub(crate) fn examples(
        &self,
        q: &Question<'_>,
        logs: &Source,
        template: &str,
    ) -> Result<Vec<serde_json::Value>, CollectError> {
        let Some((search, matchers)) = searched(logs) else { return Ok(Vec::new()) };
        let search = if search.trim() == "*" {
            format!("pattern:{template}")
        } else {
            format!("({search}) AND pattern:{template}")
        };
        let select = self.select_logs(q, &search, matchers)?;
        let page = PageRequest { order: LogOrder::NewestFirst, limit: EXAMPLES, after: None };
        let found = self.at(q)?.logs.search(q.tenant, &select, &page, &self.budget())?;
        Ok(found.records.iter().map(record_json).collect())
    }

    /// Says in which intervals the side was there, and its exposure where the policy names one.
    #[expect(clippy::type_complexity, reason = "two columns of one table, used in one place")]
    fn exposure(
        &self,
        q: &Question<'_>,
        trials: Option<&Source>,
        records: &[f64],
    ) -> Result<Option<(Vec<bool>, Option<Vec<f64>>)>, CollectError> {
        if let Some(source) = trials {
            let Some(cells) = self.cells(q, source)? else { return Ok(None) };
            let mut sum = Booked::new(q.grid.n);
            cells.values().flat_map(BTreeMap::values).for_each(|booked| sum.add(booked));
            return Ok(Some((sum.present, Some(sum.sums))));
        }
        // A silent log is no missing data while the units are up; where no metric says so, records must.
        let up = self.up(q)?;
        let present: Vec<bool> = match &up {
            Some(units) => (0..q.grid.n).map(|i| units.values().any(|booked| booked.present[i])).collect(),
            None => records.iter().map(|&n| n > 0.0).collect(),
        };
        Ok(present.contains(&true).then_some((present, None)))
    }

    /// Returns the units that records of a cohort showed within a span.
    ///
    /// - `search`: what tells the cohort's records from others of these matchers; `*` where nothing does.
    pub(crate) fn record_units(
        &self,
        tenant: &TenantId,
        (search, matchers): (&str, Vec<Matcher>),
        unit_names: &[String],
        range: TimeRange,
        known: &mut BTreeSet<String>,
    ) -> Result<(), CollectError> {
        let by: Vec<GroupBy> = unit_names.iter().cloned().map(GroupBy::Field).collect();
        let select =
            LogSelect { query: Search::parse(search).map_err(|e| wrong(search, &e))?, matchers, range };
        let counts = self.logs.count(tenant, &select, Intervals::one(range), &by, &self.budget())?;
        known.extend(counts.groups.into_iter().filter(|g| g.total() > 0).filter_map(|g| first(g.key)));
        Ok(())
    }

    /// Counts the records of a cohort that a query finds by the texts of fields, "" for those without one.
    pub(crate) fn records_by(
        &self,
        tenant: &TenantId,
        filling: &Filling,
        search: &str,
        fields: &[String],
        grid: Grid,
    ) -> Result<Vec<CountGroup>, CollectError> {
        let search = filling.fill_log_query(search);
        let query = Search::parse(&search).map_err(|e| wrong(&search, &e))?;
        let matchers = cohort::matchers(&filling.matchers).map_err(|e| wrong(&filling.matchers, &e))?;
        let select = LogSelect { query, matchers, range: range(grid) };
        let by: Vec<GroupBy> = fields.iter().cloned().map(GroupBy::Field).collect();
        Ok(self.logs.count(tenant, &select, intervals(grid), &by, &self.budget())?.groups)
    }

    /// Counts records by unit and further keys, without the units that are left out.
    pub(super) fn counted(
        &self,
        q: &Question<'_>,
        search: &str,
        matchers: &str,
        more: &[GroupBy],
    ) -> Result<Vec<(Key, Vec<u64>)>, CollectError> {
        let select = self.select_logs(q, search, matchers)?;
        let mut by = more.to_vec();
        by.extend(q.unit_names.iter().cloned().map(GroupBy::Field));
        let counts = self.logs.count(q.tenant, &select, intervals(q.grid), &by, &self.budget())?;
        let rows = counts.groups.into_iter().filter_map(|mut group| {
            let unit = first(group.key.split_off(more.len()));
            let kept = q.units.keep(unit.as_deref());
            kept.then(|| (Key { more: group.key, units: unit.into_iter().collect() }, group.counts))
        });
        Ok(rows.collect())
    }

    fn select_logs(&self, q: &Question<'_>, search: &str, matchers: &str) -> Result<LogSelect, CollectError> {
        let search = q.filling.fill_log_query(search);
        let query = Search::parse(&search).map_err(|e| wrong(&search, &e))?;
        let matchers = self.log_matchers(q, matchers)?;
        let range = range(q.grid);
        Ok(LogSelect { query, matchers, range })
    }

    pub(super) fn log_matchers(
        &self,
        q: &Question<'_>,
        matchers: &str,
    ) -> Result<Vec<Matcher>, CollectError> {
        let filled = q.filling.fill(if matchers.trim().is_empty() { "$cohort" } else { matchers });
        let inner = filled.trim().trim_start_matches('{').trim_end_matches('}');
        cohort::matchers(inner)
            .map_err(|e| CollectError::Query { query: filled.clone(), detail: e.to_string() })
    }

    /// Lists each unit that is kept with matchers that select it; no matcher where no stream names a unit and all are kept.
    fn log_units(
        &self,
        q: &Question<'_>,
        matchers: &str,
    ) -> Result<BTreeMap<String, Vec<Matcher>>, CollectError> {
        let matchers = self.log_matchers(q, matchers)?;
        let streams = self.logs.streams(q.tenant, &[matchers], range(q.grid), &self.budget())?;
        let mut kept: BTreeMap<String, Vec<Matcher>> = BTreeMap::new();
        for labels in &streams {
            let name = q.unit_names.iter().find(|name| labels.get(name).is_some());
            if let (Some(name), Some(unit)) = (name, unit_of(labels, q.unit_names))
                && q.units.keep(Some(unit))
            {
                kept.insert(unit.to_string(), vec![Matcher::equal(name, unit)]);
            } else if name.is_none() && q.units.keep(None) {
                kept.insert(
                    String::new(),
                    q.unit_names.iter().map(|name| Matcher::equal(name, "")).collect(),
                );
            }
        }
        if *q.units == Units::all() && kept.keys().all(String::is_empty) {
            return Ok(BTreeMap::from([(String::new(), Vec::new())]));
        }
        Ok(kept)
    }

    fn template_text(&self, tenant: &TenantId, id: &str) -> String {
        let text = id.parse().ok().and_then(|id| self.logs.template_text(tenant, id));
        text.unwrap_or_else(|| id.to_string())
    }
}

/// The log query and the matchers of a `patterns` check, whose matchers may stand alone.
pub(super) fn searched(logs: &Source) -> Option<(&str, &str)> {
    match logs {
        Source::Logs(query) => Some((&query.query, &query.matchers)),
        Source::Selectors(selectors) => Some(("*", selectors.first().map_or("", String::as_str))),
        Source::Given => None,
    }
}

/// What a count belongs to.
pub(super) struct Key {
    pub(super) more: Vec<String>,
    /// The unit, where the record names one.
    units: Vec<String>,
}

impl Key {
    /// The unit, "" where the record names none.
    pub(super) fn unit(self) -> String {
        self.units.into_iter().next().unwrap_or_default()
    }
}

fn first(texts: Vec<String>) -> Option<String> {
    texts.into_iter().find(|text| !text.is_empty())
}

fn wrong(query: &str, error: &dyn std::fmt::Display) -> CollectError {
    CollectError::Query { query: query.to_string(), detail: error.to_string() }
}

fn intervals(grid: Grid) -> Intervals {
    let step = Duration::from_millis(u64::try_from(grid.step_ms).unwrap_or(1));
    Intervals { start: Timestamp::from_millis(grid.start_ms), step, n: grid.n }
}

fn range(grid: Grid) -> TimeRange {
    let (start, end) = (Timestamp::from_millis(grid.start_ms), Timestamp::from_millis(grid.end_ms()));
    TimeRange::new(start, end).expect("a grid holds at least one interval")
}
