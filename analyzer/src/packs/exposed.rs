//! What a cohort shows in the store, where packs look for it.

use std::collections::{BTreeMap, BTreeSet};

use greylight_store::model::TenantId;
use greylight_store::read::Select;

use crate::collect::{CollectError, Collector, Grid, parsed, present};
use crate::release::cohort::{Filling, Side, unit_of};

/// The label that names a service's own process, or the agent or proxy that tells of it.
pub(super) const INSTANCE: &str = "instance";
/// Metric names that an error lists of a cohort.
const NAMES_SHOWN: usize = 12;

/// One cohort, as it showed itself lately.
#[derive(Clone, Debug)]
pub(super) struct Exposed {
    pub(super) side: Side,
    pub(super) filling: Filling,
    /// First and last time of each unit, in epoch milliseconds; "" for what names none.
    pub(super) units: BTreeMap<String, (i64, i64)>,
    /// Whether the units of records, or of container metrics, are those who collected them: machines that may serve
    /// both cohorts.
    pub(super) names_machines: bool,
    metrics: BTreeSet<String>,
    has_records: bool,
}

impl Exposed {
    /// Looks at all that a cohort's matchers select.
    pub(super) fn see(
        collector: &Collector,
        tenant: &TenantId,
        side: Side,
        filling: Filling,
        unit_names: &[String],
        grid: Grid,
    ) -> Result<Self, CollectError> {
        let matchers = parsed(&format!("{{{}}}", filling.matchers))?;
        let mut seen = Self {
            side,
            filling,
            units: BTreeMap::new(),
            names_machines: false,
            metrics: BTreeSet::new(),
            has_records: false,
        };
        let budget = collector.budget();
        let selection =
            collector.metrics.select(tenant, &Select { matchers: &matchers, span: grid.span() }, &budget)?;
        let series = selection.series();
        selection.read(0..series.len(), &budget, &mut |i, samples| {
            let mut times = present(samples).map(|at| samples.t_ms[at]);
            let Some(first) = times.next() else { return };
            let last = times.next_back().unwrap_or(first);
            seen.metrics.insert(series[i].metric_name().to_owned());
            let is_machine = series[i].metric_name().starts_with("container_");
            let by_name = |name: &String| name == INSTANCE && series[i].get(name).is_some();
            let named = unit_names.iter().find(|name| series[i].get(name).is_some());
            seen.names_machines |= is_machine && named.is_some_and(by_name);
            seen.note(unit_of(&series[i], unit_names).unwrap_or(""), first, last);
        })?;
        for group in collector.records_by(tenant, &seen.filling, "*", unit_names, grid)? {
            let at = |i: usize| grid.start_ms + i as i64 * grid.step_ms;
            let is_some = |n: &u64| *n > 0;
            if let (Some(first), Some(last)) =
                (group.counts.iter().position(is_some), group.counts.iter().rposition(is_some))
            {
                let named = group.key.iter().zip(unit_names).find(|(text, _)| !text.is_empty());
                seen.has_records = true;
                seen.names_machines |= named.is_some_and(|(_, name)| name == INSTANCE);
                seen.note(named.map_or("", |(text, _)| text), at(first), at(last));
            }
        }
        Ok(seen)
    }

    fn note(&mut self, unit: &str, first: i64, last: i64) {
        let known = self.units.entry(unit.to_owned()).or_insert((first, last));
        *known = (known.0.min(first), known.1.max(last));
    }

    /// Returns the time of the first sample or record.
    pub(super) fn first_ms(&self) -> Option<i64> {
        self.units.values().map(|(first, _)| *first).min()
    }

    /// Tells whether a selector of a policy finds a sample.
    pub(super) fn has_series(
        &self,
        collector: &Collector,
        tenant: &TenantId,
        selector: &str,
        grid: Grid,
    ) -> Result<bool, CollectError> {
        let matchers = parsed(&self.filling.fill(selector))?;
        let budget = collector.budget();
        let selection =
            collector.metrics.select(tenant, &Select { matchers: &matchers, span: grid.span() }, &budget)?;
        let mut found = false;
        for i in 0..selection.series().len() {
            selection
                .read(i..i + 1, &budget, &mut |_, samples| found |= present(samples).next().is_some())?;
            if found {
                break;
            }
        }
        Ok(found)
    }

    /// Tells whether a log query of a policy finds a record.
    pub(super) fn has_records(
        &self,
        collector: &Collector,
        tenant: &TenantId,
        query: &str,
        grid: Grid,
    ) -> Result<bool, CollectError> {
        if !self.has_records {
            return Ok(false);
        }
        let counted = collector.records_by(tenant, &self.filling, query, &[], grid)?;
        Ok(counted.iter().any(|group| group.total() > 0))
    }

    /// Says in words what there is, for a team whose service fits no pack.
    pub(super) fn in_words(&self) -> String {
        let mut names: Vec<&str> = self.metrics.iter().map(String::as_str).collect();
        let more = names.len().saturating_sub(NAMES_SHOWN);
        names.truncate(NAMES_SHOWN);
        let metrics = match (names.is_empty(), more) {
            (true, _) => "no series".to_owned(),
            (false, 0) => format!("the series {}", names.join(", ")),
            (false, more) => format!("the series {} and {more} more", names.join(", ")),
        };
        let logs = if self.has_records { "log records" } else { "no log records" };
        format!("{{{}}} shows {metrics}, and {logs}", self.filling.matchers)
    }
}

/// Units that both cohorts share: the baseline went on in them after the canary had begun, so they tell nothing apart.
pub(super) fn shared_units(baseline: &Exposed, canary: &Exposed, by_ms: i64) -> bool {
    canary.units.iter().filter(|(unit, _)| !unit.is_empty()).any(|(unit, (first, _))| {
        baseline.units.get(unit).is_some_and(|(_, last)| *last > first.saturating_add(by_ms))
    })
}
