//! A source of metrics in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use greylight_store::append::MetricMetadata;
use greylight_store::model::{Labels, Matcher, TenantId};
use greylight_store::read::{Budget, MetricSource, ReadError, Samples, Select, Selection, SpanMs};

/// Series with their samples; every tenant sees the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    series: BTreeMap<Labels, (Vec<i64>, Vec<f64>)>,
    pub(crate) metadata: Vec<MetricMetadata>,
}

impl Memory {
    /// Adds samples; a later value for one time takes the place of the earlier one.
    pub(crate) fn add(&mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        let (t_ms, values) = self.series.entry(labels).or_default();
        for (t, v) in samples {
            match t_ms.binary_search(&t) {
                Ok(at) => values[at] = v,
                Err(at) => {
                    t_ms.insert(at, t);
                    values.insert(at, v);
                }
            }
        }
    }

    fn matching(&self, sets: &[Vec<Matcher>], span: SpanMs) -> Vec<&Labels> {
        let hit = |labels: &Labels| sets.is_empty() || sets.iter().any(|set| set.iter().all(|m| m.matches_labels(labels)));
        let inside = |t_ms: &[i64]| t_ms.iter().any(|t| *t >= span.start && *t <= span.end);
        self.series.iter().filter(|(l, (t, _))| hit(l) && inside(t)).map(|(l, _)| l).collect()
    }
}

#[derive(Debug)]
struct Found {
    labels: Vec<Labels>,
    samples: Vec<(Vec<i64>, Vec<f64>)>,
}

impl Selection for Found {
    fn series(&self) -> &[Labels] {
        &self.labels
    }

    fn read(
        &self,
        series: Range<usize>,
        budget: &Budget,
        sink: &mut dyn FnMut(usize, Samples<'_>),
    ) -> Result<(), ReadError> {
        for i in series {
            let (t_ms, values) = &self.samples[i];
            budget.charge_samples(t_ms.len())?;
            sink(i, Samples { t_ms, values });
        }
        Ok(())
    }

    fn missing(&self) -> Vec<String> {
        Vec::new()
    }
}

impl MetricSource for Memory {
    fn select(&self, _: &TenantId, select: &Select<'_>, budget: &Budget) -> Result<Box<dyn Selection>, ReadError> {
        let mut found = Found { labels: Vec::new(), samples: Vec::new() };
        for (labels, (t_ms, values)) in &self.series {
            if !select.matchers.iter().all(|m| m.matches_labels(labels)) {
                continue;
            }
            let from = t_ms.partition_point(|t| *t < select.span.start);
            let to = t_ms.partition_point(|t| *t <= select.span.end);
            if from < to {
                found.labels.push(labels.clone());
                found.samples.push((t_ms[from..to].to_vec(), values[from..to].to_vec()));
            }
        }
        budget.charge_series(found.labels.len())?;
        Ok(Box::new(found))
    }

    fn label_names(
        &self,
        _: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        _: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        let found = self.matching(sets, span);
        let names: std::collections::BTreeSet<String> =
            found.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>()).collect();
        Ok(names.into_iter().collect())
    }

    fn label_values(
        &self,
        _: &TenantId,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        _: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        let found = self.matching(sets, span);
        let values: std::collections::BTreeSet<String> =
            found.iter().filter_map(|l| l.get(name).map(str::to_owned)).collect();
        Ok(values.into_iter().collect())
    }

    fn metadata(&self, _: &TenantId, name: Option<&str>) -> Result<Vec<MetricMetadata>, ReadError> {
        Ok(self.metadata.iter().filter(|m| name.is_none_or(|n| n == m.name)).cloned().collect())
    }
}
